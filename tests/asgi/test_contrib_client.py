"""The client in an application: what becomes of its errors, and of the time that a request has."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
import trio

from trivet import App, Depends
from trivet.contrib.client import Client
from trivet.testing import TestClient


def upstream(seconds: float = 0.0, status: int = 200) -> httpx.MockTransport:
    """Says what it was told, after some time."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await trio.sleep(seconds)
        return httpx.Response(status, json=request.headers.get("x-request-timeout-ms"))

    return httpx.MockTransport(answer)


def asking(transport: httpx.AsyncBaseTransport, **options: Any) -> App:
    """An application with one client, which asks whom it is given."""

    @asynccontextmanager
    async def open_client() -> AsyncGenerator[Client]:
        async with Client(transport=transport, base_url="http://upstream") as client:
            yield client

    opened = Annotated[Client, Depends(open_client, scope="app")]
    app = App(timeout=10, **options)

    @app.get("/")
    async def ask(client: opened) -> Any:
        return (await client.get("/")).json()

    return app


async def test_an_upstream_that_is_too_slow_is_504(autojump_clock: trio.testing.MockClock) -> None:
    """A little before the request's own deadline, so that it is known who was slow: else it would be 503."""
    async with TestClient(asking(upstream(seconds=60))) as client:
        began = trio.current_time()
        response = await client.get("/")
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
        assert (await client.get("/")).status_code == 502
    assert count == 3


async def test_a_chain_of_deadlines_only_shrinks(autojump_clock: trio.testing.MockClock) -> None:
    """What a trusted peer says counts for the calls that are made meanwhile."""
    async with TestClient(asking(upstream(), trusted=["127.0.0.1"])) as client:
        for said, told in (("2000", "1950"), ("60000", "9950")):
            response = await client.get("/", headers={"x-request-timeout-ms": said})
            assert response.text == told
