"""The task tree followed by several at once: a request that is turned away from its queue, and what a drain stops."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.harness import SocketClient
from tests.harness.serving import address_of
from tests.live._inprocess import Served, get, serving
from trivet import App, Limit, Next, Request, Response, WebSocket
from trivet.contrib import observe

pytestmark = [pytest.mark.live, pytest.mark.slow]


class Viewer:
    """Somebody who has the page open, and what was seen last."""

    def __init__(self) -> None:
        self.ended: dict[str, str] = {}
        self.lines: dict[str, dict[str, Any]] = {}
        self._changed = trio.Event()

    async def follow(self, served: Served, task_status: trio.TaskStatus[None]) -> None:
        """Be told until the server is gone."""
        async with await served.connect() as stream:
            await stream.send_all(get(b"/observe/tasks/events"))
            received = b""
            async for data in stream:
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: "):
                        self._see(json.loads(line[6:]))
                        task_status.started()
                        task_status = trio.TASK_STATUS_IGNORED

    def _see(self, told: dict[str, Any]) -> None:
        self.ended = {each["name"]: each["reason"] for each in told["ended"]}
        self.lines = {node["name"]: node for node in _nodes(told["tree"]) if node["kind"] in ("request", "websocket")}
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, seen: Callable[[Viewer], bool]) -> None:
        """Return when that is to be seen."""
        while not seen(self):
            await self._changed.wait()


def _nodes(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [tree, *(node for child in tree.get("children", ()) for node in _nodes(child))]


@asynccontextmanager
async def viewed(app: App) -> AsyncGenerator[tuple[Served, list[Viewer]]]:
    """The application on a server, and two who look at it until it has stopped, which does not wait for them."""
    viewers = [Viewer(), Viewer()]
    async with serving(app, options={"drain_timeout": 50}) as served, trio.open_nursery() as nursery:
        for viewer in viewers:
            await nursery.start(viewer.follow, served)
        yield served, viewers
        served.stop.set()
        nursery.cancel_scope.deadline = trio.current_time() + 20
    assert not nursery.cancel_scope.cancelled_caught


async def test_a_request_in_a_queue_is_seen_to_be_turned_away() -> None:
    """By both who look: what it waits for, and then why it has ended."""
    app = App()
    app.mount("/observe", observe.router("tasks"))

    async def through(request: Request, call_next: Next) -> Response:
        return await call_next(request)

    limit = Limit(1, queue=2, wait=1, name="desk")
    limit._take(trio.current_time())  # by somebody who never gives it back

    @app.get("/work", limit=limit)
    @app.get("/inside", limit=limit, middleware=[through])
    async def work() -> None:
        await trio.sleep_forever()

    async with viewed(app) as (served, viewers), trio.open_nursery() as nursery:
        for path in (b"/work", b"/inside"):
            nursery.start_soon(served.request, get(path, close=True))
        for viewer in viewers:
            for name in ("GET /work", "GET /inside"):
                await viewer.until(lambda viewer, name=name: name in viewer.lines)
                assert viewer.lines[name]["waits"] == "a place of its limit desk"
                assert not viewer.lines[name].get("own")
        for viewer in viewers:
            await viewer.until(lambda viewer: viewer.ended == {"GET /work": "shed", "GET /inside": "shed"})


async def test_what_a_drain_stops_is_seen_while_it_waits_for_the_rest() -> None:
    """A WebSocket is closed at once; who looks is told why, for as long as another request goes on."""
    app, done = App(), trio.Event()
    app.mount("/observe", observe.router("tasks"))

    @app.websocket("/ws")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    @app.get("/work")
    async def work() -> None:
        await done.wait()

    async with viewed(app) as (served, viewers), await served.connect() as stream:
        await stream.send_all(get(b"/work"))
        async with SocketClient(address_of(f"http://127.0.0.1:{served.port}")) as client, client.websocket("/ws") as ws:
            await ws.send("hello")
            for viewer in viewers:
                await viewer.until(lambda viewer: {"GET /work", "WebSocket /ws"} <= set(viewer.lines))
            served.stop.set()
            for viewer in viewers:
                await viewer.until(lambda viewer: viewer.ended.get("WebSocket /ws") == "drained")
                assert "GET /work" in viewer.lines
        done.set()
