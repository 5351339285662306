"""L8: downloads of a gibibyte that nobody reads. Each costs a buffer, not a gibibyte, and ends by itself."""

from __future__ import annotations

import time
from typing import Final

import trio

from ._client import Connection, get, open_many
from ._figures import MEBIBYTE, Report, Scenario, Setting, at_most, exactly
from ._server import MemoryPeak, serving

MIB_EACH: Final = 0.25
WRITE_TIMEOUT: Final = 10.0
SLACK: Final = 2.0


async def run(setting: Setting, report: Report) -> None:
    """The clients take 4 KiB of kernel buffer, ask, and do not read."""
    async with serving(setting) as server:
        stats = await server.stats()
        before, descriptors = server.memory(), stats.descriptors
        peak = MemoryPeak(server)

        async def greet(connection: Connection) -> None:
            await connection.send(get("/big/1024"))

        async with trio.open_nursery() as nursery:
            await nursery.start(peak.watch)
            connections = await open_many(setting.size, server.port, greet, receive_buffer=4096)
            opened = time.monotonic()
            _, stats = await server.quiet(within=2, live=setting.size)
            began = stats.live
            limit = WRITE_TIMEOUT / setting.haste + SLACK
            _, stats = await server.quiet(within=3 * limit)
            took = time.monotonic() - opened
            nursery.cancel_scope.cancel()
        report(exactly("downloads that began", began, setting.size))
        report(at_most("memory of each", (peak.bytes - before) / MEBIBYTE / setting.size, MIB_EACH, "MiB"))
        report(exactly("downloads that did not end", stats.live))
        report(at_most("until the last was given up", took, limit, "s"))
        _, stats = await server.released(descriptors, within=2)
        report(exactly("sockets left", max(0, stats.descriptors - descriptors)))
        for connection in connections:
            connection.close()


SCENARIO = Scenario("L8", "downloads that nobody reads", 200, 5, run)
