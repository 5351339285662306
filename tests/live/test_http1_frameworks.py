"""Starlette, FastAPI, Litestar and quart-trio, as they are: what each of them does with a server works on this one.

One small application in each, all with the same paths: JSON, an upload that is counted as it comes, a stream,
server-sent events without end, work in the background, a bug; and a lifespan around them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import fastapi
import litestar
import litestar.background_tasks
import litestar.response
import pytest
import quart
import quart_trio
import starlette.applications
import starlette.background
import starlette.requests
import starlette.responses
import starlette.routing
import trio

from tests.live._http1 import CLOSE, answers, chunked, get, site, sized

pytestmark = [pytest.mark.live, pytest.mark.slow]


class Seen:
    """What an application did."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.worked, self.ticks_over = trio.Event(), trio.Event()

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        self.events.append("startup")
        yield
        self.events.append("shutdown")

    async def parts(self) -> AsyncIterator[bytes]:
        for number in range(20):
            await trio.lowlevel.checkpoint()
            yield b"%02d" % number

    async def ticks(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: tick\n\n"
                await trio.sleep(0.01)
        finally:
            self.events.append("ticks over")
            self.ticks_over.set()

    async def work(self) -> None:
        await trio.sleep(0.01)
        self.events.append("worked")
        self.worked.set()


async def count(chunks: AsyncIterator[bytes]) -> int:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
    return size


SSE = "text/event-stream"


def starlette_app(seen: Seen) -> Any:
    responses = starlette.responses

    async def root(request: starlette.requests.Request) -> Any:
        return responses.JSONResponse({"query": request.query_params["q"]})

    async def upload(request: starlette.requests.Request) -> Any:
        return responses.JSONResponse({"size": await count(request.stream())})

    async def stream(request: starlette.requests.Request) -> Any:
        return responses.StreamingResponse(seen.parts())

    async def sse(request: starlette.requests.Request) -> Any:
        return responses.StreamingResponse(seen.ticks(), media_type=SSE)

    async def background(request: starlette.requests.Request) -> Any:
        return responses.JSONResponse({}, background=starlette.background.BackgroundTask(seen.work))

    def thread(request: starlette.requests.Request) -> Any:
        return responses.JSONResponse({"thread": True})

    async def bug(request: starlette.requests.Request) -> Any:
        raise RuntimeError("a bug")

    handlers: list[Any] = [root, upload, stream, sse, background, thread, bug]
    routes = [
        starlette.routing.Route("/" if handler is root else f"/{handler.__name__}", handler, methods=["GET", "POST"])
        for handler in handlers
    ]
    return starlette.applications.Starlette(routes=routes, lifespan=seen.lifespan)


def fastapi_app(seen: Seen) -> Any:
    app = fastapi.FastAPI(lifespan=seen.lifespan)

    @app.get("/")
    async def root(q: str) -> dict[str, str]:
        return {"query": q}

    @app.post("/upload")
    async def upload(request: fastapi.Request) -> dict[str, int]:
        return {"size": await count(request.stream())}

    @app.get("/stream")
    async def stream() -> Any:
        return starlette.responses.StreamingResponse(seen.parts())

    @app.get("/sse")
    async def sse() -> Any:
        return starlette.responses.StreamingResponse(seen.ticks(), media_type=SSE)

    @app.get("/background")
    async def background(tasks: fastapi.BackgroundTasks) -> dict[str, str]:
        tasks.add_task(seen.work)
        return {}

    @app.get("/thread")
    def thread() -> dict[str, bool]:
        return {"thread": True}

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("a bug")

    return app


def litestar_app(seen: Seen) -> Any:
    @litestar.get("/")
    async def root(request: litestar.Request[Any, Any, Any]) -> dict[str, str]:
        return {"query": request.query_params["q"]}

    @litestar.post("/upload", status_code=200)
    async def upload(request: litestar.Request[Any, Any, Any]) -> dict[str, int]:
        return {"size": await count(request.stream())}

    @litestar.get("/stream")
    async def stream() -> litestar.response.Stream:
        return litestar.response.Stream(seen.parts())

    @litestar.get("/sse")
    async def sse() -> litestar.response.Stream:
        return litestar.response.Stream(seen.ticks(), media_type=SSE)

    @litestar.get("/background")
    async def background() -> litestar.Response[dict[str, str]]:
        return litestar.Response({}, background=litestar.background_tasks.BackgroundTask(seen.work))

    @litestar.get("/thread", sync_to_thread=True)
    def thread() -> dict[str, bool]:
        return {"thread": True}

    @litestar.get("/bug")
    async def bug() -> None:
        raise RuntimeError("a bug")

    return litestar.Litestar(
        [root, upload, stream, sse, background, thread, bug], lifespan=[seen.lifespan], openapi_config=None
    )


def quart_app(seen: Seen) -> Any:
    app = quart_trio.QuartTrio(__name__)

    life = seen.lifespan()

    @app.before_serving
    async def start() -> None:
        await life.__aenter__()

    @app.after_serving
    async def stop() -> None:
        await life.__aexit__(None, None, None)

    @app.get("/")
    async def root() -> Any:
        return {"query": quart.request.args["q"]}

    @app.post("/upload")
    async def upload() -> Any:
        return {"size": await count(quart.request.body)}

    @app.get("/stream")
    async def stream() -> Any:
        return seen.parts()

    @app.get("/sse")
    async def sse() -> Any:
        response = await quart.make_response(seen.ticks(), {"content-type": SSE})
        response.timeout = None  # type: ignore[union-attr]
        return response

    @app.get("/background")
    async def background() -> Any:
        app.add_background_task(seen.work)
        return {}

    @app.get("/thread")
    def thread() -> Any:
        return {"thread": True}

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("a bug")

    return app


APPS: dict[str, Callable[[Seen], Any]] = {
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "litestar": litestar_app,
    "quart-trio": quart_app,
}


# Starlette does not close the generator of a response that it gives up; Trio does, and warns.
LEFT_TO_THE_COLLECTOR = pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")


@pytest.mark.parametrize("name", APPS)
async def test_a_framework_runs_unchanged(name: str) -> None:
    """All of the list, pipelined where it can be, then the lifespan's end."""
    seen = Seen()
    app = APPS[name](seen)
    body = b"x" * 300_000
    async with site(app, lifespan=app, fails=True) as served:
        assert seen.events == ["startup"]
        asked = [
            get(b"/?q=a%20b"),
            sized(body, path=b"/upload"),
            chunked(body[:100_000], body[100_000:], path=b"/upload"),
            get(b"/stream"),
            get(b"/thread"),
            get(b"/missing"),
            get(b"/", method=b"DELETE"),
            get(b"/background"),
            get(b"/?q=last", CLOSE),
        ]
        found = answers(await served.exchange(b"".join(asked)))
        assert [answer.status for answer in found] == [200, 200, 200, 200, 200, 404, 405, 200, 200]
        values = [json.loads(found[at].body) for at in (0, 1, 2, 4, 7, 8)]
        size = {"size": len(body)}
        assert values == [{"query": "a b"}, size, size, {"thread": True}, {}, {"query": "last"}]
        assert found[3].body == b"".join(b"%02d" % number for number in range(20))
        with trio.fail_after(9):
            await seen.worked.wait()
        assert answers(await served.exchange(get(b"/bug", CLOSE)))[0].status == 500
    assert seen.events == ["startup", "worked", "shutdown"]


@LEFT_TO_THE_COLLECTOR
@pytest.mark.parametrize("name", APPS)
async def test_a_framework_notices_that_the_client_left(name: str) -> None:
    """Server-sent events end soon after their reader has gone, and an upload that is cut costs nothing."""
    seen = Seen()
    app = APPS[name](seen)
    async with site(app, lifespan=app, fails=True) as served:
        async with served.connect() as wire:
            await wire.send(get(b"/sse"))
            for _ in range(3):
                await wire.until(b"data: tick\n\n")
        with trio.fail_after(9):
            await seen.ticks_over.wait()
        assert served.errors == []
        async with served.connect() as wire:
            await wire.send(sized(b"x" * 10_000, path=b"/upload", claim=1_000_000))
            await wire.settle()
    assert seen.events == ["startup", "ticks over", "shutdown"]


@LEFT_TO_THE_COLLECTOR
@pytest.mark.parametrize("name", APPS)
async def test_events_without_end_do_not_hold_up_the_stop(name: str) -> None:
    """The server stops though somebody listens."""
    seen = Seen()
    app = APPS[name](seen)
    options = {"drain_timeout": 0.1, "cleanup_grace": 0.5}
    async with site(app, lifespan=app, fails=True, options=options) as served, served.connect() as wire:
        await wire.send(get(b"/sse"))
        await wire.until(b"data: tick\n\n")
        served.served.stop.set()
        served.stopped = True
        assert b"data: tick" in await wire.rest()
    assert seen.events == ["startup", "ticks over", "shutdown"]
