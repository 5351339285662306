"""L1: thousands of idle keep-alive connections. What each costs, and whether one more request notices them."""

from __future__ import annotations

import time
from typing import Final

from ._client import Connection, ask, get, open_many
from ._figures import Report, Scenario, Setting, at_most, exactly, told
from ._server import Server, serving

KIB_EACH: Final = 24
REQUEST_MS: Final = 20
SECOND_ROUND_PERCENT: Final = 5
REQUESTS: Final = 100


async def run(setting: Setting, report: Report) -> None:
    """Open them all, ask beside them, close them all; then open them all again."""
    async with serving(setting, "--keep-alive", "600") as server:
        await _leave(server, await _open(server, 50))
        before, descriptors = server.memory(), (await server.stats()).descriptors
        began = time.monotonic()
        connections = await _open(server, setting.size)
        report(told("opened, each with one request", time.monotonic() - began, "s"))
        first = server.memory()
        report(at_most("memory per connection", (first - before) / 1024 / setting.size, KIB_EACH, "KiB"))
        report(at_most("a request beside them, p99 of 100", await _latency(server) * 1000, REQUEST_MS, "ms"))
        report(exactly("connections that do not answer again", await _silent(connections)))
        report(told("released after they left", await _leave(server, connections), "s"))
        _, stats = await server.released(descriptors, within=10)
        report(exactly("sockets left", max(0, stats.descriptors - descriptors)))
        connections = await _open(server, setting.size)
        growth = (server.memory() - first) / first * 100
        report(at_most("memory added by a second round", growth, SECOND_ROUND_PERCENT, "%"))
        await _leave(server, connections)


async def _open(server: Server, count: int) -> list[Connection]:
    async def greet(connection: Connection) -> None:
        await connection.send(get("/"))
        await connection.answer()

    return await open_many(count, server.port, greet)


async def _latency(server: Server) -> float:
    times: list[float] = []
    for _ in range(REQUESTS):
        began = time.monotonic()
        await ask(server.port, "/")
        times.append(time.monotonic() - began)
    return sorted(times)[-2]


async def _silent(connections: list[Connection]) -> int:
    """Ask again on a hundred of them; returns how many do not answer."""
    silent = 0
    for connection in connections[:: max(1, len(connections) // 100)]:
        try:
            await connection.send(get("/"))
            silent += (await connection.answer()).status != 200
        except Exception:
            silent += 1
    return silent


async def _leave(server: Server, connections: list[Connection]) -> float:
    """Close them all; returns how long the server kept their sockets."""
    descriptors = (await server.stats()).descriptors
    for connection in connections:
        connection.close()
    return (await server.released(descriptors - len(connections), within=30))[0]


SCENARIO = Scenario("L1", "idle keep-alive connections", 10_000, 100, run)
