"""L5: SIGTERM while clients do nothing, wait, listen, or do not read. None of them can hold the exit."""

from __future__ import annotations

import signal
import time
from typing import Final

from ._client import Connection, get, open_many
from ._figures import Report, Scenario, Setting, at_most, exactly
from ._server import serving

DRAIN: Final = 3.0
SLACK: Final = 0.5

# What each client asks for, and how many times the scenario's size there are of them.
CASES: Final[dict[str, tuple[bytes, int]]] = {
    "idle": (b"", 1),
    "asleep": (get("/sleep/30"), 1),
    "listening": (get("/sse"), 1),
    "not reading": (get("/big/1024"), 1),
    "not reading, ten times as many": (get("/big/1024"), 10),
}


async def run(setting: Setting, report: Report) -> None:
    """A server for each case."""
    drain = DRAIN / setting.haste
    for name, (request, factor) in CASES.items():
        count = setting.size * factor
        async with serving(setting, "--drain-timeout", str(drain)) as server:

            async def greet(connection: Connection, request: bytes = request) -> None:
                if request:
                    await connection.send(request)

            connections = await open_many(count, server.port, greet, receive_buffer=4096)
            _, stats = await server.quiet(within=5, live=count if request else 0)
            began = time.monotonic()
            server.signal(signal.SIGTERM)
            code = await server.ended()
            took = time.monotonic() - began
            for connection in connections:
                connection.close()
            report(exactly(f"{name}: live handlers before", stats.live, count if request else 0))
            report(at_most(f"{name}: until the exit", took, drain + SLACK, "s"))
            report(exactly(f"{name}: exit code", -1 if code is None else code))


SCENARIO = Scenario("L5", "SIGTERM with clients that do not go away", 20, 3, run)
