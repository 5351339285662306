"""The client in an application: what becomes of its errors, and of the trace of the request that it works for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
import trio

from tests.harness import Serve
from trivet import App, Depends, Sink, Stream
from trivet.contrib.client import Client, Trace, traced
from trivet.testing import TestClient

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def upstream(seconds: float = 0.0, status: int = 200) -> httpx.MockTransport:
    """Says what it was told, after some time."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await trio.sleep(seconds)
        names = ("traceparent", "tracestate", "x-request-timeout-ms")
        told = {name: request.headers[name] for name in names if name in request.headers}
        return httpx.Response(status, json=told)

    return httpx.MockTransport(answer)


def asking(transport: httpx.AsyncBaseTransport, **options: Any) -> App:
    """An application with one client, which asks whom it is given."""

    @asynccontextmanager
    async def open_client() -> AsyncGenerator[Client]:
        async with Client(transport=transport, base_url="http://upstream") as client:
            yield client

    opened = Annotated[Client, Depends(open_client, scope="app")]
    app = App(timeout=10, **options)

    @app.get("/", dependencies=[Depends(traced)])
    async def ask(client: opened) -> Any:
        return (await client.get("/")).json()

    @app.get("/child")
    async def child(client: opened, trace: Annotated[Trace | None, Depends(traced)], nursery: trio.Nursery) -> Any:
        told: list[Any] = []
        done = trio.Event()

        async def one() -> None:
            told.append((await client.get("/")).json().get("traceparent"))
            done.set()

        nursery.start_soon(one)
        await done.wait()
        return [*told, trace and trace.trace_id]

    @app.get("/stream", dependencies=[Depends(traced)])
    async def stream(client: opened) -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send((await client.get("/")).content)

        return Stream(feed)

    @app.get("/untraced")
    async def untraced(client: opened) -> Any:
        return (await client.get("/")).json()

    @app.get("/own", dependencies=[Depends(traced)])
    async def own(client: opened) -> Any:
        return (await client.get("/", headers={"traceparent": "own"})).json()

    return app


async def test_an_upstream_that_is_too_slow_is_504(autojump_clock: trio.testing.MockClock) -> None:
    """A little before the request's own deadline, so that it is known who was slow: else it would be 503."""
    async with TestClient(asking(upstream(seconds=60))) as client:
        began = trio.current_time()
        response = await client.get("/untraced")
        assert response.status_code == 504
        assert trio.current_time() - began == pytest.approx(9.95)


async def test_an_upstream_that_cannot_be_reached_is_502(autojump_clock: trio.testing.MockClock) -> None:
    """After as many attempts as there may be."""
    count = 0

    def broken(request: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        raise httpx.ConnectError("refused")

    async with TestClient(asking(httpx.MockTransport(broken))) as client:
        assert (await client.get("/untraced")).status_code == 502
    assert count == 3


async def test_a_chain_of_deadlines_only_shrinks(autojump_clock: trio.testing.MockClock) -> None:
    """What a trusted peer says counts for the calls that are made meanwhile."""
    async with TestClient(asking(upstream(), trusted=["127.0.0.1"])) as client:
        for said, told in (("2000", "1950"), ("60000", "9950")):
            response = await client.get("/", headers={"x-request-timeout-ms": said})
            assert response.json() == {"x-request-timeout-ms": told}


async def test_a_trace_goes_on_as_it_came(serve: Serve) -> None:
    """In the handler, in what it starts, and in a stream; the next request on the connection has its own, or none."""
    async with serve(asking(upstream())) as client:
        headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]
        for path in ("/", "/stream"):
            response = await client.get(path, headers=headers)
            assert response.json()["traceparent"] == PARENT
            assert response.json()["tracestate"] == "a=1,b=2"
            assert "traceparent" not in (await client.get("/untraced", headers=headers)).json()
            assert "traceparent" not in (await client.get(path)).json()
        assert (await client.get("/own", headers=headers)).json()["traceparent"] == "own"


async def test_children_of_the_handler_are_part_of_it(autojump_clock: trio.testing.MockClock) -> None:
    """And the trace can be told, for the log."""
    async with TestClient(asking(upstream())) as client:
        response = await client.get("/child", headers={"traceparent": PARENT})
        assert response.json() == [PARENT, "0af7651916cd43dd8448eb211c80319c"]


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
        ([PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32)], False),
        ([PARENT.replace("b7ad6b7169203331", "0" * 16)], False),
        ([PARENT[:-1]], False),
        ([""], False),
    ],
)
async def test_what_is_malformed_does_not_go_on(values: list[str], goes_on: bool) -> None:
    """Nor does its state (W3C Trace Context, section 3.3)."""
    async with TestClient(asking(upstream())) as client:
        headers = [*(("traceparent", value) for value in values), ("tracestate", "a=1")]
        told = (await client.get("/", headers=headers)).json()
        assert (told.get("traceparent"), told.get("tracestate")) == ((values[0], "a=1") if goes_on else (None, None))
