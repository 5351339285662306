"""L10: thousands of WebSockets say one thing and vanish."""

from __future__ import annotations

import time
from typing import Final

from ._client import Connection, open_many
from ._figures import Report, Scenario, Setting, at_most, exactly, told
from ._server import Server, serving

APP: Final = "benchmarks.load.app:websockets"
KIB_EACH: Final = 32
GONE: Final = 1.0
HANDSHAKE: Final = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
)
HELLO: Final = b"\x81\x82\0\0\0\0hi"
ECHO: Final = b"\x81\x02hi"


async def run(setting: Setting, report: Report) -> None:
    """Open, echo once, then all are gone at once, without a closing handshake."""
    async with serving(setting, app=APP) as server:
        wrong, warm = await _open(server, 20)
        await _vanish(server, warm)
        before, descriptors = server.memory(), (await server.stats()).descriptors
        began = time.monotonic()
        wrong, connections = await _open(server, setting.size)
        report(told("opened, each with one echo", time.monotonic() - began, "s"))
        report(exactly("echoes that were wrong", wrong))
        report(exactly("live handlers", (await server.stats()).live, setting.size))
        each = (server.memory() - before) / 1024 / setting.size
        report(at_most("memory per WebSocket", each, KIB_EACH, "KiB"))
        took, live = await _vanish(server, connections)
        report(exactly("live handlers after they vanished", live))
        report(at_most("until the last was gone", took, GONE, "s"))
        _, stats = await server.released(descriptors, within=5)
        report(exactly("sockets left", max(0, stats.descriptors - descriptors)))


async def _open(server: Server, count: int) -> tuple[int, list[Connection]]:
    wrong = 0

    async def greet(connection: Connection) -> None:
        nonlocal wrong
        await shake_hands(connection)
        await connection.send(HELLO)
        echo = await connection.at_least(len(ECHO))
        wrong += echo != ECHO

    connections = await open_many(count, server.port, greet)
    return wrong, connections


async def _vanish(server: Server, connections: list[Connection]) -> tuple[float, int]:
    began = time.monotonic()
    for connection in connections:
        connection.close()
    _, stats = await server.quiet(within=10)
    return time.monotonic() - began, stats.live


async def shake_hands(connection: Connection, path: bytes = b"/", fields: bytes = b"") -> bytes:
    """Become a WebSocket; returns the head of the answer.

    Raises:
        RuntimeError: the server would not.
    """
    await connection.send(HANDSHAKE % (path, fields))
    head = b""
    while b"\r\n\r\n" not in head:
        data = await connection.receive(4096)
        if not data:
            break
        head += data
    if not head.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(f"no WebSocket: {head[:200]!r}")
    return head


SCENARIO = Scenario("L10", "WebSockets vanish", 2000, 40, run)
