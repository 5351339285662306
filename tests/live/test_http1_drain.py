"""What the drain of trivet's own protocol does beyond that of hypercorn's, which `test_server_life` tests with it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import pytest
import trio

from tests.live._http1 import get, reply
from tests.live._inprocess import http, read_all, serving

pytestmark = [pytest.mark.live, pytest.mark.slow]


async def test_who_is_connected_when_the_drain_begins_is_answered() -> None:
    """What waits in the kernel's queue has been told that it is connected, and may have sent its request."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send)

    async def check(client: trio.SocketStream) -> None:
        assert (await read_all(client)).endswith(b"ok")

    async with serving(http(handler)) as served:
        served.stop.set()
        with ExitStack() as stack:
            # More than are accepted at a time, and none of them before the server's next step.
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(300)]
            for client in clients:
                client.sendall(get())
            async with trio.open_nursery() as nursery:
                for client in clients:
                    client.setblocking(False)
                    nursery.start_soon(check, trio.SocketStream(trio.socket.from_stdlib_socket(client)))
