"""L7: SIGHUP under load. All workers are replaced, and no client notices."""

from __future__ import annotations

import signal
import time
from typing import Final

import trio

from ._figures import Report, Scenario, Setting, exactly, told
from ._server import serving
from ._traffic import Traffic

PATIENCE: Final = 20.0


async def run(setting: Setting, report: Report) -> None:
    """Half of the clients keep their connection, half open one for each request."""
    async with serving(setting, "--workers", "2") as server, trio.open_nursery() as nursery:
        before = await server.workers(2)
        traffic = Traffic(server.port, "/sleep/0.1")
        for number in range(setting.size):
            nursery.start_soon(traffic.fresh if number % 2 else traffic.keep_alive)
        await trio.sleep(2.0)
        began = time.monotonic()
        server.signal(signal.SIGHUP)
        with trio.move_on_after(PATIENCE):
            while len(now := server.children()) != 2 or set(now) & set(before):  # noqa: ASYNC110
                await trio.sleep(0.05)
        took = time.monotonic() - began
        await trio.sleep(1.0)
        traffic.stopped = True
        await trio.sleep(0.3)
        nursery.cancel_scope.cancel()
    new = {request.pid for request in traffic.requests if request.pid} - set(before)
    report(told("requests answered meanwhile", traffic.count("answered", after=began)))
    report(exactly("refused", traffic.count("refused")))
    report(exactly("answered otherwise than with 200", traffic.failed()))
    report(exactly("errors on fresh connections", traffic.count("lost", fresh=True)))
    report(exactly("workers replaced", len(set(before) - set(now)), 2))
    report(exactly("new workers that answered", len(new), 2))
    report(told("errors on reused connections", traffic.count("lost", fresh=False)))
    report(told("until both were replaced", took, "s"))


SCENARIO = Scenario("L7", "SIGHUP under load", 20, 6, run)
