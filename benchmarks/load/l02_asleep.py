"""L2: thousands of handlers that sleep at the same time. All answer, at about the same time, and each costs little."""

from __future__ import annotations

import time
from typing import Final

import trio

from ._client import Gone, ask
from ._figures import Figure, Report, Scenario, Setting, at_most, exactly
from ._server import MemoryPeak, Server, serving

SLEEP: Final = 10.0
WALL: Final = 20.0
KIB_EACH: Final = 32


async def run(setting: Setting, report: Report) -> None:
    """One connection each; `Connection: close`, as most such clients come once."""
    async with serving(setting) as server:
        await _sleepers(server, 50, 0.1)
        before = server.memory()
        peak = MemoryPeak(server)
        began = time.monotonic()
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                try:
                    most = max(most, (await server.stats()).live)
                except (OSError, Gone, trio.TooSlowError):
                    pass  # so many are being opened that it has to wait: it asks again
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            await nursery.start(peak.watch)
            nursery.start_soon(look)
            answered = await _sleepers(server, setting.size, SLEEP / setting.haste)
            nursery.cancel_scope.cancel()
        wall = time.monotonic() - began
        report(exactly("not answered with 200", setting.size - answered))
        # Fewer, if opening them takes longer than the first of them sleeps: then it is another scenario.
        report(Figure("asleep at the same time", most, least=setting.size))
        report(at_most("until the last answer", wall, WALL / setting.haste, "s"))
        report(at_most("memory per handler", (peak.bytes - before) / 1024 / setting.size, KIB_EACH, "KiB"))
        report(exactly("live handlers at the end", (await server.quiet(within=5))[1].live))


async def _sleepers(server: Server, count: int, seconds: float) -> int:
    """How many are answered."""
    answered = 0

    async def one() -> None:
        nonlocal answered
        try:
            answer = await ask(server.port, f"/sleep/{seconds}", within=60)
        except (OSError, Gone, trio.TooSlowError):
            return  # counted by its absence
        answered += answer.status == 200

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return answered


SCENARIO = Scenario("L2", "handlers asleep at the same time", 5000, 100, run)
