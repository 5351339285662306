"""What a drain does to WebSockets: it ends them at once, unless they may finish."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Annotated, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trivet import App, Depends, HTTPError, RequestCancelled, Router, WebSocket, WebSocketClosed
from trivet.testing import TestClient, WebSocketRefused

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


def drain(client: TestClient) -> None:
    """As the server says it; where it cannot, the lifespan of the application does."""
    client.drain()
    client.app.draining.set()  # type: ignore[attr-defined]


@both_servers
async def test_a_drain_ends_an_open_websocket_at_once(link: bool, autojump_clock: MockClock) -> None:
    """With 1001; its handler is stopped where it is, and its dependency cleans up and knows why."""
    app, log = App(), list[Any]()

    @asynccontextmanager
    async def resource() -> AsyncGenerator[None]:
        try:
            yield
        except RequestCancelled as error:
            log.append(error.reason)
            raise

    @app.websocket("/")
    async def handler(ws: WebSocket, used: Annotated[None, Depends(resource)]) -> None:
        await ws.accept()
        try:
            await trio.sleep_forever()
        finally:
            log.append(ws.ended)

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        await wait_all_tasks_blocked()
        began = trio.current_time()
        drain(client)
        assert await ws.wait_closed() == (1001, "")
        assert trio.current_time() == began
    assert log == ["drained", "drained"]


@both_servers
async def test_one_that_may_finish_is_told_and_goes_on(link: bool, autojump_clock: MockClock) -> None:
    """With `on_drain="finish"`, of the router; it says goodbye in its own time."""
    router, app = Router(on_drain="finish"), App()

    @router.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.draining.wait()
        await trio.sleep(3)
        await ws.send("bye")

    app.mount("", router)
    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        await wait_all_tasks_blocked()
        began = trio.current_time()
        drain(client)
        assert await ws.receive() == "bye"
        assert trio.current_time() == began + 3
        assert await ws.wait_closed() == (1001, "")


@both_servers
async def test_what_was_sent_comes_before_the_close(link: bool, autojump_clock: MockClock) -> None:
    """Also what the client has not read yet, and the message that is just being sent."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        for number in count():  # the second is more than a client that does not read has room for
            await ws.send(f"{number:>40000}")

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        await wait_all_tasks_blocked()
        drain(client)
        await wait_all_tasks_blocked()
        assert [str(message).strip() async for message in ws] == ["0", "1"]
        assert (ws.close_code, ws.close_reason) == (1001, "")


@both_servers
async def test_a_handshake_is_refused_when_it_would_be_accepted(link: bool, autojump_clock: MockClock) -> None:
    """With 503, so that a proxy tries another server; its own refusal counts as ever, and is not cut short."""
    app, log = App(), list[str]()

    @app.websocket("/{verdict}")
    async def handler(ws: WebSocket, verdict: str) -> None:
        await ws.draining.wait()
        await trio.sleep(1)
        if verdict == "no":
            raise HTTPError(401, "who are you?")
        await ws.accept()
        log.append("accepted")

    statuses: dict[str, int] = {}

    async def opens(client: TestClient, verdict: str) -> None:
        with pytest.raises(WebSocketRefused) as caught:
            await client.websocket(f"/{verdict}").__aenter__()
        statuses[verdict] = caught.value.status

    async with TestClient(app, link=link) as client, trio.open_nursery() as nursery:
        nursery.start_soon(opens, client, "yes")
        nursery.start_soon(opens, client, "no")
        await wait_all_tasks_blocked()
        drain(client)
    assert (statuses, log) == ({"yes": 503, "no": 401}, [])


@both_servers
async def test_one_that_may_finish_is_accepted_during_the_drain(link: bool) -> None:
    """It is told at once."""
    app = App(on_drain="finish")

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.draining.wait()
        await ws.send("bye")

    async with TestClient(app, link=link) as client:
        drain(client)
        async with client.websocket("/") as ws:
            assert await ws.receive() == "bye"


async def test_an_acceptance_that_is_under_way_is_followed_by_1001() -> None:
    """The drain begins between its two ends."""
    app, accepting, go = App(), trio.Event(), trio.Event()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep_forever()

    def slowly(inner: Any) -> Any:
        async def around(scope: Any, receive: Any, send: Any) -> None:
            async def delayed(message: Any) -> None:
                if message["type"] == "websocket.accept":
                    accepting.set()
                    await go.wait()
                await send(message)

            await inner(scope, receive, delayed)

        return around

    app.wrap(slowly)
    async with TestClient(app) as client, trio.open_nursery() as nursery:

        async def begin() -> None:
            await accepting.wait()
            client.drain()
            await wait_all_tasks_blocked()
            go.set()

        nursery.start_soon(begin)
        async with client.websocket("/") as ws:
            assert await ws.wait_closed() == (1001, "")


@both_servers
async def test_what_is_closed_has_the_time_that_it_had(link: bool, autojump_clock: MockClock) -> None:
    """A handler that writes down what it has got is not stopped for a drain that begins meanwhile."""
    app, log = App(cleanup_grace=5), list[str]()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        async for _ in ws:
            pass
        await trio.sleep(1)
        log.append("written")

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        await ws.send("x")
        await ws.close()
        await wait_all_tasks_blocked()
        drain(client)
        await ws.wait_returned()
    assert log == ["written"]


async def test_all_are_ended_by_one_task(autojump_clock: MockClock) -> None:
    """None of them has one of its own to wait with."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep_forever()

    async with TestClient(app) as client:
        sockets = [client.websocket("/") for _ in range(20)]
        before = trio.lowlevel.current_statistics().tasks_living
        for ws in sockets:
            await ws.__aenter__()
        assert trio.lowlevel.current_statistics().tasks_living == before + 20
        client.drain()
        for ws in sockets:
            assert await ws.wait_closed() == (1001, "")


async def test_an_application_without_lifespan_is_told_as_well() -> None:
    """As one that Starlette mounts: each of its WebSockets has a watcher then."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive()
        except WebSocketClosed:
            raise AssertionError("it is stopped before it is closed") from None

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await app(scope, receive, send)
            return
        for _ in range(2):
            message = await receive()
            await send({"type": f"{message['type']}.complete"})

    async with TestClient(outer) as client, client.websocket("/") as ws:
        client.drain()
        assert await ws.wait_closed() == (1001, "")
