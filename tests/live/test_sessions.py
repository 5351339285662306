"""What becomes of the session of a request that is cancelled, over sockets: nothing, and no cookie."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Annotated

import pytest
import trio

from tests.harness import SocketClient, connect, serving
from tests.harness.serving import SocketServer
from trivet import App, Depends
from trivet.contrib.sessions import MemoryStore, Session, Sessions

pytestmark = pytest.mark.live

SERVERS = pytest.mark.parametrize("server", ["hypercorn", "trivet"])


class Noting(MemoryStore):
    """Notes down what it is asked to write."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    async def set(self, key: str, value: bytes, ttl: float, *, replace: bool = False) -> bool:
        self.written += 1
        return await super().set(key, value, ttl, replace=replace)


class Site:
    """Sessions in a cookie and in a store, both of which a handler changes that does not end by itself."""

    def __init__(self) -> None:
        self.store = Noting()
        self.app = App()
        self.arrived = trio.Event()
        self.left = trio.Event()
        signed, stored = Sessions(secret="x" * 32, name="signed"), Sessions(store=self.store, name="stored")

        async def change(
            one: Annotated[Session, Depends(signed)], other: Annotated[Session, Depends(stored)], how: str
        ) -> None:
            one["changed"] = other["changed"] = True
            one.rotate()
            other.rotate()
            if how == "returns":
                return
            self.arrived.set()
            try:
                await trio.sleep_forever()
            finally:
                self.left.set()

        self.app.get("/late/{how}", timeout=0.05)(change)
        self.app.get("/{how}")(change)


@SERVERS
async def test_whose_deadline_has_passed_is_given_no_cookie(server: SocketServer) -> None:
    """503, and nothing is written; the same one that returns in time has both cookies."""
    site = Site()
    async with serving(server, site.app) as client:
        response = await client.get("/late/waits")
        assert (response.status_code, response.headers.get_list("set-cookie")) == (503, [])
        assert response.headers["cache-control"] == "private"
        assert (site.store.written, len(site.store)) == (0, 0)
        response = await client.get("/late/returns")
        assert len(response.headers.get_list("set-cookie")) == 2
        assert (site.store.written, len(site.store)) == (1, 1)


@SERVERS
async def test_for_whoever_has_left_nothing_is_written(server: SocketServer) -> None:
    """The browser that comes back has the session that it had."""
    site = Site()
    async with serving(server, site.app) as client:
        await client.get("/returns")
        kept = dict(site.store._kept)
        assert len(kept) == 1
        async with client.open("GET", "/waits", headers={"cookie": cookie_field(client)}) as exchange:
            await site.arrived.wait()
            exchange.leave()
            with trio.fail_after(5):
                await site.left.wait()
    # Also when the server has ended, and so the request.
    assert (site.store.written, site.store._kept) == (1, kept)


@SERVERS
async def test_who_is_cancelled_by_a_drain_is_given_no_cookie(server: SocketServer) -> None:
    """503, as the server stops, with nothing for the browser to keep; the store has what it had."""
    site = Site()
    async with AsyncExitStack() as stack:
        async with serving(server, site.app, drain_timeout=0.05, cleanup_grace=0.2) as client:
            await client.get("/returns")
            kept = dict(site.store._kept)
            peer = await stack.enter_async_context(connect(client.address))
            field = cookie_field(client).encode()
            await peer.send(b"GET /waits HTTP/1.1\r\nHost: x\r\nCookie: " + field + b"\r\nConnection: close\r\n\r\n")
            with trio.fail_after(5):
                await site.arrived.wait()
        received = await peer.read_until_eof()
    assert b" 503 " in received.partition(b"\r\n")[0]
    assert b"set-cookie" not in received.lower()
    assert (site.store.written, site.store._kept) == (1, kept)


def cookie_field(client: SocketClient) -> str:
    """What the browser would send."""
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())
