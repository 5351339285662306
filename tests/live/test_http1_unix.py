"""HTTP/1.1 over a unix socket, as behind a proxy on the same machine. No addresses; and its end looks different."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.config import Config

from tests.live._http1 import CLOSE, get, read_body, reply, sized
from tests.live._inprocess import Told, http, read_all
from trivet.server import serve

pytestmark = [pytest.mark.live, pytest.mark.slow]


@asynccontextmanager
async def connected(app: Any, path: Path) -> AsyncGenerator[trio.SocketStream]:
    """A client of a server of `app` on a unix socket."""
    config = Config()
    config.bind = [f"unix:{path / 'socket'}"]
    async with trio.open_nursery() as nursery:
        assert await nursery.start(serve, app, config) == config.bind
        with trio.fail_after(10):
            async with await trio.open_unix_socket(path / "socket") as client:
                yield client
        nursery.cancel_scope.cancel()


async def test_a_request_is_answered(tmp_path: Path) -> None:
    """The scope says that there are no addresses."""
    seen: list[Any] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["server"]))
        await reply(send)

    async with connected(http(handler), tmp_path) as client:
        await client.send_all(get(b"/", CLOSE))
        assert (await read_all(client)).endswith(b"ok")
    assert seen == [(None, None)]


@pytest.mark.parametrize("how", ["close", "half"])
async def test_who_leaves_is_noticed(tmp_path: Path, how: str) -> None:
    """At once, whether or not the client could still read."""
    told = Told()
    async with connected(http(told.app), tmp_path) as client:
        await client.send_all(get())
        await told.began.wait()
        await (client.aclose() if how == "close" else client.send_eof())
        await told.event.wait()
    assert told.reasons == ["disconnected"]


async def test_a_body_is_whole_though_its_client_has_gone(tmp_path: Path) -> None:
    """More of it than we read ahead is still in the kernel when the client closes."""
    size = 150_000
    bodies: list[bytes | None] = []
    closed, read = trio.Event(), trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await closed.wait()
        bodies.append(await read_body(receive))
        read.set()

    async with connected(http(handler), tmp_path) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * size)
        await client.send_all(sized(bytes(size)))
        await client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        closed.set()
        await read.wait()
    assert [body and len(body) for body in bodies] == [size]
