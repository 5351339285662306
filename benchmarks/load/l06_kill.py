"""L6: kill -9 of one of two workers under load. The other goes on, a new one comes, nobody is refused."""

from __future__ import annotations

import os
import signal
import time
from typing import Final

import trio

from ._figures import Figure, Report, Scenario, Setting, at_most, exactly, told
from ._server import serving
from ._traffic import Traffic

REPLACED: Final = 2.0
PATIENCE: Final = 15.0


async def run(setting: Setting, report: Report) -> None:
    """Half of the clients keep their connection, half open one for each request."""
    async with serving(setting, "--workers", "2") as server, trio.open_nursery() as nursery:
        workers = await server.workers(2)
        traffic = Traffic(server.port, "/sleep/0.1")
        for number in range(setting.size):
            nursery.start_soon(traffic.fresh if number % 2 else traffic.keep_alive)
        with trio.fail_after(PATIENCE):
            await _until_all_answer(traffic, set(workers))
        killed = time.monotonic()
        os.kill(workers[0], signal.SIGKILL)
        with trio.move_on_after(PATIENCE):
            while workers[0] in server.children():  # noqa: ASYNC110
                await trio.sleep(0.005)
            await _until_all_answer(traffic, set(await server.workers(2)))
        await trio.sleep(1.0)
        traffic.stopped = True
        await trio.sleep(0.3)
        now = server.children()
        nursery.cancel_scope.cancel()
    after = [request for request in traffic.requests if request.outcome == "answered" and request.sent > killed]
    replaced = min((request.ended for request in after if request.pid not in workers), default=float("inf"))
    survivor = sum(request.pid == workers[1] and request.ended < replaced for request in after)
    report(exactly("refused", traffic.count("refused")))
    report(exactly("answered otherwise than with 200", traffic.failed()))
    report(at_most("until the replacement answers", replaced - killed, REPLACED, "s"))
    report(Figure("answers by the other worker until then", survivor, least=1))
    report(exactly("workers at the end", len(now), 2))
    report(exactly("the other worker is still there", int(workers[1] in now), 1))
    report(told("lost with the worker (one for each of its connections)", traffic.count("lost", after=killed)))
    last = max((request.ended for request in traffic.requests if request.outcome == "lost"), default=killed)
    report(told("last loss after the kill", last - killed, "s"))


async def _until_all_answer(traffic: Traffic, workers: set[int]) -> None:
    """A worker is a process for a while before it serves."""
    while not workers <= {request.pid for request in traffic.requests}:  # noqa: ASYNC110
        await trio.sleep(0.02)


SCENARIO = Scenario("L6", "kill -9 of one of two workers under load", 20, 6, run)
