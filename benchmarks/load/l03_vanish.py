"""L3: thousands of clients vanish while their handlers sleep. All are cancelled at once, and all clean up."""

from __future__ import annotations

import time
from typing import Final

from ._client import Connection, get, open_many
from ._figures import Report, Scenario, Setting, at_most, exactly, told
from ._server import serving

LAST_CANCEL_MS: Final = 500


async def run(setting: Setting, report: Report) -> None:
    """Half of them close, half reset."""
    async with serving(setting) as server:
        descriptors = (await server.stats()).descriptors

        async def greet(connection: Connection) -> None:
            await connection.send(get("/careful/60"))

        connections = await open_many(setting.size, server.port, greet)
        _, stats = await server.quiet(within=20, live=setting.size)
        report(exactly("handlers that began", stats.live, setting.size))
        # CLOCK_MONOTONIC is the same in all processes of a machine: the server's times compare with ours.
        began = time.monotonic()
        for number, connection in enumerate(connections):
            if number % 2:
                connection.reset()
            else:
                connection.close()
        report(told("closing them took the client", (time.monotonic() - began) * 1000, "ms"))
        _, stats = await server.quiet(within=20)
        report(exactly("live handlers", stats.live))
        report(exactly("handlers cancelled", stats.cancelled, setting.size))
        took = (stats.last_cancelled - began) * 1000
        report(at_most("last cancel after the first close", took, LAST_CANCEL_MS, "ms"))
        # The last of them are still cleaning up.
        _, stats = await server.until(lambda stats: stats.cleaned == stats.left == setting.size, within=5)
        report(exactly("shielded cleanups that ran", stats.cleaned, setting.size))
        report(exactly("dependencies told 'disconnected'", stats.left, setting.size))
        _, stats = await server.released(descriptors, within=5)
        report(exactly("sockets left", max(0, stats.descriptors - descriptors)))


SCENARIO = Scenario("L3", "clients vanish in the middle of a handler", 2000, 40, run)
