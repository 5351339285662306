"""`TestClient` serves applications that are not ours, unchanged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from quart import request as quart_request
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from trivet.testing import TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


class Marking(BaseHTTPMiddleware):
    """Starlette's own kind of middleware, which runs the application in a task of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-marked"] = "yes"
        return response


@both_servers
async def test_starlette(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Lifespan, bodies, middleware and a stream that is left in the middle."""
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        log.append("up")
        yield {"name": "state"}
        log.append("down")

    async def size(request: Request) -> Response:
        return JSONResponse([request.state.name, len(await request.body())])

    async def stream(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            for number in range(100):
                await trio.sleep(1)
                yield b"%d" % number

        return StreamingResponse(chunks())

    middleware = [Middleware(GZipMiddleware, minimum_size=1), Middleware(Marking)]
    routes = [Route("/size", size, methods=["POST"]), Route("/stream", stream)]
    app = Starlette(routes=routes, middleware=middleware, lifespan=lifespan)
    async with TestClient(app, link=link) as client:
        response = await client.post("/size", content=b"x" * 200_000)
        assert (response.json(), response.headers["x-marked"]) == (["state", 200_000], "yes")
        assert response.headers["content-encoding"] == "gzip"
        start = trio.current_time()
        async with client.open("GET", "/stream", headers={"accept-encoding": "identity"}) as exchange:
            assert await exchange.receive() == b"0"
            exchange.leave()
            await exchange.wait_returned()
        assert trio.current_time() - start < 5
    assert log == ["up", "down"]


@both_servers
async def test_quart_trio(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Bodies, a handler that fails, and one that quart-trio cancels when the client leaves."""
    app = QuartTrio(__name__)
    log: list[str] = []

    @app.post("/echo")
    async def echo() -> bytes:
        return bytes(await quart_request.get_data())

    @app.get("/slow")
    async def slow() -> str:
        try:
            await trio.sleep(50)
        except trio.Cancelled:
            log.append("cancelled")
            raise
        return "slept"

    @app.get("/fail")
    async def fail() -> str:
        raise KeyError

    async with TestClient(app, link=link) as client:
        assert len((await client.post("/echo", content=b"x" * 200_000)).content) == 200_000
        assert (await client.get("/slow")).text == "slept"
        async with client.open("GET", "/slow") as exchange:
            await trio.sleep(1)
            exchange.leave()
            await exchange.wait_returned()
        assert log == ["cancelled"]
        assert (await client.get("/fail")).status_code == 500
