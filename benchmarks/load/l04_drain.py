"""L4: SIGTERM while keep-alive clients wait for their answers. Nothing that was accepted is lost, and each is told."""

from __future__ import annotations

import signal
import time
from typing import Final

import trio

from ._figures import Figure, Report, Scenario, Setting, at_most, exactly, told
from ._server import serving
from ._traffic import Traffic

SLEEP: Final = 0.5
SLACK: Final = 0.5
PATIENCE: Final = 5.0


async def run(setting: Setting, report: Report) -> None:
    """The clients start one after the other, so that the signal finds their requests at all stages."""
    async with serving(setting) as server, trio.open_nursery() as nursery:
        traffic = Traffic(server.port, f"/sleep/{SLEEP}")
        for _ in range(setting.size):
            nursery.start_soon(traffic.keep_alive)
            await trio.sleep(SLEEP / setting.size)
        await trio.sleep(2 * SLEEP + 0.1)
        signalled = time.monotonic()
        server.signal(signal.SIGTERM)
        code = await server.ended()
        took = time.monotonic() - signalled
        traffic.stopped = True
        # Each sees the end of its connection: a request that is still on its way would be in no account.
        nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
    before = [request for request in traffic.requests if request.sent <= signalled <= request.ended]
    # In the order of their ends, so that the last of each connection stays.
    last = {request.connection: request for request in traffic.requests if request.outcome == "answered"}
    untold = [request for request in last.values() if request.ended > signalled and not request.closes]
    raced = [request for request in traffic.requests if request.sent > signalled and request.outcome == "lost"]
    # Nearly all of them: between two requests a client waits for nothing.
    report(Figure("requests on their way at the signal", len(before), least=setting.size // 2, counted=True))
    report(exactly("of them without a whole 200", sum(request.status != 200 for request in before)))
    report(exactly("connections whose last answer is not `connection: close`", len(untold)))
    report(told("requests sent after it on an open connection, lost", len(raced)))
    report(exactly("exit code", -1 if code is None else code))
    report(at_most("until the exit", took, SLEEP + SLACK, "s"))


SCENARIO = Scenario("L4", "SIGTERM under keep-alive load", 50, 10, run)
