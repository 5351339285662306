"""What providers do before a stream begins: `request.before_stream`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.harness import Serve
from trivet import App, Depends, EventSink, EventStream, HTTPError, Next, Request, RequestCancelled, Response, Sink
from trivet import Stream as StreamResponse
from trivet.testing import TestClient

log: list[str] = []


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    log.clear()


@asynccontextmanager
async def counted(request: Request) -> AsyncGenerator[None]:
    """Notes when each of its parts runs, and puts a field into the head at the last moment."""

    async def before() -> None:
        await trio.lowlevel.checkpoint()
        log.append("before")
        request.response_headers["x-log"] = " ".join(log)

    request.before_stream(before)
    try:
        yield
    except RequestCancelled as stopped:
        log.append(stopped.reason)
        raise
    except HTTPError as error:
        log.append(str(error.status))
        raise
    log.append("left")


async def feed(sink: Sink) -> None:
    log.append("feed")
    await sink.send(b"chunk")


async def test_it_runs_between_the_handler_and_the_head(serve: Serve) -> None:
    """After handler and middleware, before the stream and its head; HEAD has the same head; dependencies leave last."""
    app = App()

    @app.middleware
    async def noted(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        log.append("middleware")
        return response

    @app.get("/stream", dependencies=[Depends(counted)])
    async def stream() -> StreamResponse:
        log.append("handler")
        return StreamResponse(feed)

    @app.get("/events", dependencies=[Depends(counted)])
    async def events() -> EventStream:
        async def one(sink: EventSink) -> None:
            log.append("feed")
            await sink.send("x")

        log.append("handler")
        return EventStream(one)

    async with serve(app) as client:
        for path in ("/stream", "/events"):
            log.clear()
            response = await client.get(path)
            assert response.headers["x-log"] == "handler middleware before"
            assert log == ["handler", "middleware", "before", "feed", "left"]
        log.clear()
        response = await client.head("/stream")
        assert response.headers["x-log"] == "handler middleware before"
        assert log == ["handler", "middleware", "before", "left"]


async def test_a_whole_response_has_none_of_it() -> None:
    """Nor has an error, or a stream that a middleware replaced: dependencies leave before those anyway."""
    app = App()

    @app.middleware
    async def replacing(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        return Response("instead") if request.path == "/replaced" else response

    @app.get("/whole", dependencies=[Depends(counted)])
    async def whole() -> str:
        return "x"

    @app.get("/fails", dependencies=[Depends(counted)])
    async def fails() -> None:
        raise HTTPError(409)

    @app.get("/replaced", dependencies=[Depends(counted)])
    async def replaced() -> StreamResponse:
        return StreamResponse(feed)

    async with TestClient(app) as client:
        for path, status, left in [("/whole", 200, "left"), ("/fails", 409, "409"), ("/replaced", 200, "left")]:
            log.clear()
            response = await client.get(path)
            assert (response.status_code, log) == (status, [left])


async def test_an_error_is_answered_in_the_place_of_the_stream(serve: Serve) -> None:
    """The head is not out: the client has the status, dependencies see the error, and what comes after is not done."""
    app = App()

    async def refusing(request: Request) -> None:
        async def refuse() -> None:
            raise HTTPError(507, "full")

        async def never() -> None:
            log.append("never")

        request.before_stream(refuse)
        request.before_stream(never)

    @app.get("/", dependencies=[Depends(counted), Depends(refusing)])
    async def stream() -> StreamResponse:
        return StreamResponse(feed)

    async with serve(app) as client:
        response = await client.get("/")
        assert (response.status_code, response.json()["detail"]) == (507, "full")
        assert log == ["before", "507"]
        assert response.headers["x-log"] == "before"


async def test_the_deadline_stops_it(autojump_clock: MockClock) -> None:
    """It is the request's work: 503 at the deadline, and it is not begun when that has passed."""
    app = App(timeout=5)

    async def slow(request: Request) -> None:
        async def sleep() -> None:
            log.append("begun")
            await trio.sleep(10)

        request.before_stream(sleep)

    @app.get("/slow", dependencies=[Depends(counted), Depends(slow)])
    async def stream() -> StreamResponse:
        return StreamResponse(feed)

    @app.get("/late", dependencies=[Depends(counted), Depends(slow)])
    async def late() -> StreamResponse:
        with trio.CancelScope(shield=True):
            await trio.sleep(6)
        return StreamResponse(feed)

    async with TestClient(app) as client:
        for path, seconds, noted in [("/slow", 5, ["before", "begun", "deadline"]), ("/late", 6, ["deadline"])]:
            log.clear()
            start = trio.current_time()
            assert (await client.get(path)).status_code == 503
            assert trio.current_time() - start == pytest.approx(seconds)
            assert log == noted
