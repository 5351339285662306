"""The trace that the calls of a request belong to: who continues it, where one begins, and whose word counts."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider

from tests.harness import Serve
from trivet import App, Depends, Next, Request, Response, Sink, Stream, WebSocket
from trivet.contrib import observe
from trivet.contrib.client import Client, Trace, traced
from trivet.testing import TestClient

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = "0af7651916cd43dd8448eb211c80319c"
BEGUN = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00")


class Upstream(httpx.AsyncBaseTransport):
    """Notes which trace each call said that it belongs to, and which state."""

    def __init__(self) -> None:
        self.told: list[str | None] = []
        self.states: list[str | None] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.told.append(request.headers.get("traceparent"))
        self.states.append(request.headers.get("tracestate"))
        await trio.lowlevel.checkpoint()
        return httpx.Response(200)


def asking(upstream: Upstream, **options: Any) -> App:
    """An application that calls in many ways, and asks for no trace but where the path says so."""

    @asynccontextmanager
    async def open_client() -> AsyncGenerator[Client]:
        async with Client(transport=upstream, base_url="http://upstream", retry=None) as client:
            yield client

    opened = Annotated[Client, Depends(open_client, scope="app")]

    @asynccontextmanager
    async def asked(client: opened) -> AsyncGenerator[None]:
        await client.get("/")
        yield
        await client.get("/")

    app = App(**options)

    @app.get("/handler")
    async def handler(client: opened) -> None:
        await client.get("/")
        await client.get("/")

    @app.get("/dependency", dependencies=[Depends(asked)])
    async def dependency() -> None:
        await trio.lowlevel.checkpoint()

    @app.get("/children")
    async def children(client: opened) -> None:
        async with trio.open_nursery() as outer:
            async with trio.open_nursery() as inner:
                inner.start_soon(client.get, "/")
            outer.start_soon(client.get, "/")

    @app.get("/thread")
    def thread(client: opened) -> None:
        trio.from_thread.run(client.get, "/")
        trio.from_thread.run(client.get, "/")

    @app.get("/stream")
    async def stream(client: opened) -> Stream:
        await client.get("/")

        async def feed(sink: Sink) -> None:
            await client.get("/")

        return Stream(feed)

    @app.websocket("/socket")
    async def socket(ws: WebSocket, client: opened) -> None:
        await client.get("/")
        await ws.send("x")
        await client.get("/")

    @app.get("/task")
    async def task(client: opened) -> None:
        app.tasks.start_soon(client.get, "/")
        app.tasks.start_soon(client.get, "/")

    app.get("/traced/task", dependencies=[Depends(traced)])(task)

    @app.get("/seen")
    async def seen(client: opened, trace: Annotated[Trace, Depends(traced)]) -> str:
        await client.get("/")
        return trace.traceparent

    @app.get("/own")
    async def own(client: opened) -> None:
        await client.get("/", headers={"traceparent": "own"})

    return app


@pytest.mark.parametrize("way", ["handler", "dependency", "children", "thread", "stream", "seen", "traced/task"])
async def test_the_trace_of_a_request_goes_on_as_it_came(way: str, serve: Serve) -> None:
    """Whoever calls for it, and without being asked to; the next request on the connection has one of its own."""
    upstream = Upstream()
    async with serve(asking(upstream)) as client:
        headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]
        await client.get(f"/{way}", headers=headers)
        await client.get(f"/{way}")
        await trio.testing.wait_all_tasks_blocked()
    half = len(upstream.told) // 2
    assert half >= 1
    assert upstream.told[:half] == [PARENT] * half
    assert upstream.states[:half] == ["a=1,b=2"] * half
    (begun,) = set(upstream.told[half:])
    assert begun is not None
    assert BEGUN.fullmatch(begun)
    assert upstream.states[half:] == [None] * half


async def test_a_trace_begins_where_there_is_none(serve: Serve) -> None:
    """One for all calls of a request, and another for the next."""
    upstream = Upstream()
    async with serve(asking(upstream)) as client:
        for _ in range(2):
            await client.get("/handler")
    one, same, two, too = upstream.told
    assert (one, two) == (same, too)
    assert one != two
    assert one is not None
    assert BEGUN.fullmatch(one)


async def test_a_websocket_has_one_trace(autojump_clock: trio.testing.MockClock) -> None:
    """That of its handshake."""
    upstream = Upstream()
    headers = {"traceparent": PARENT}
    async with TestClient(asking(upstream)) as client, client.websocket("/socket", headers=headers) as ws:
        assert await ws.receive() == "x"
        await trio.testing.wait_all_tasks_blocked()
    assert upstream.told == [PARENT, PARENT]


async def test_what_the_handler_sees_is_what_is_told(serve: Serve) -> None:
    """Also where it begins here."""
    upstream = Upstream()
    async with serve(asking(upstream)) as client:
        seen = [(await client.get("/seen", headers=headers)).text for headers in ({"traceparent": PARENT}, {})]
    assert seen == upstream.told
    assert seen[0] == PARENT


async def test_a_task_that_outlives_the_request_has_a_trace_of_its_own(serve: Serve) -> None:
    """Each call of it, unless the route is `traced`."""
    upstream = Upstream()
    async with serve(asking(upstream)) as client:
        await client.get("/task", headers={"traceparent": PARENT})
        await trio.testing.wait_all_tasks_blocked()
    assert len({PARENT, *upstream.told}) == 3


async def test_middleware_and_a_mounted_application_have_the_trace_of_the_request(serve: Serve) -> None:
    """As it came over the wire."""
    upstream = Upstream()
    inner = asking(upstream)

    @inner.middleware
    async def calls(request: Request, call_next: Next) -> Response:
        async with Client(transport=upstream) as client:
            await client.get("http://upstream/")
            response = await call_next(request)
            await client.get("http://upstream/")
        return response

    outer = App()
    outer.mount("/inner", inner)
    async with serve(outer) as client:
        await client.get("/inner/handler", headers={"traceparent": PARENT})
        await client.get("/inner/handler")
    assert upstream.told[:4] == [PARENT] * 4
    assert len(set(upstream.told)) == 2


async def test_what_a_call_says_by_itself_counts(serve: Serve) -> None:
    """A header of the call's own is left alone."""
    upstream = Upstream()
    async with serve(asking(upstream)) as client:
        await client.get("/own", headers={"traceparent": PARENT, "tracestate": "a=1"})
    assert upstream.told == ["own"]
    assert upstream.states == [None]


async def test_calls_of_no_request_begin_a_trace_each() -> None:
    """A script's, or a service's."""
    upstream = Upstream()
    async with Client(transport=upstream) as client:
        await client.get("http://upstream/")
        await client.get("http://upstream/")
    one, two = upstream.told
    assert one is not None
    assert BEGUN.fullmatch(one)
    assert one != two


async def test_the_attempts_of_a_call_are_of_one_trace(autojump_clock: trio.testing.MockClock) -> None:
    """They are one call."""
    told: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(request.headers["traceparent"])
        return httpx.Response(503)

    async with Client(transport=httpx.MockTransport(answer)) as client:
        await client.get("http://upstream/")
    assert len(told) == 3
    assert len(set(told)) == 1


async def test_who_is_not_our_own_is_told_of_no_trace() -> None:
    """`propagate=False`."""
    upstream = Upstream()
    async with Client(transport=upstream, propagate=False) as client:
        await client.get("http://upstream/")
    assert upstream.told == [None]


async def test_a_span_that_is_open_is_what_is_told(serve: Serve) -> None:
    """Its own id, below the trace that the request came with; the handler sees the same trace, also where it begins."""
    upstream, provider = Upstream(), TracerProvider()
    app = asking(upstream)
    app.wrap(observe.opentelemetry, tracer_provider=provider)
    async with serve(app) as client:
        for headers in ({"traceparent": PARENT}, {}):
            seen = Trace((await client.get("/seen", headers=headers)).text)
            told = upstream.told.pop()
            assert told is not None
            assert Trace(told).trace_id == seen.trace_id
            assert told != PARENT
            assert (seen.trace_id == TRACE) == bool(headers)
            assert int(told[-2:], 16) & 1  # it is recorded


@pytest.mark.parametrize(
    ("values", "goes_on"),
    [
        ([PARENT], True),
        ([PARENT.replace("-01", "-ff")], True),
        (["cc" + PARENT[2:] + "-what-comes-later"], True),
        (["cc" + PARENT[2:] + "what"], False),
        ([PARENT + "-more"], False),
        (["ff" + PARENT[2:]], False),
        ([PARENT.upper()], False),
        ([PARENT, PARENT], False),
        ([PARENT.replace(TRACE, "0" * 32)], False),
        ([PARENT.replace("b7ad6b7169203331", "0" * 16)], False),
        ([PARENT[:-1]], False),
        ([""], False),
    ],
)
async def test_where_it_is_malformed_a_trace_begins(values: list[str], goes_on: bool) -> None:
    """Without the state that came with it (W3C Trace Context, sections 3.2.2 and 3.3)."""
    upstream = Upstream()
    async with TestClient(asking(upstream)) as client:
        headers = [*(("traceparent", value) for value in values), ("tracestate", "a=1")]
        await client.get("/seen", headers=headers)
    (told,), (state,) = upstream.told, upstream.states
    assert told is not None
    assert (told == values[0]) == goes_on
    assert state == ("a=1" if goes_on else None)
    assert goes_on or (BEGUN.fullmatch(told) and TRACE not in told)
