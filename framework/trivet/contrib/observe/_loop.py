"""How late the event loop is: what a task that is ready has to wait.

This file owns that measurement. A task sleeps, and looks how late it was woken: at moments that have nothing to do with
what else is going on, so that what it sees is what anybody would meet who came at any time. To time each turn of the
loop instead, by an instrument of Trio's, would miss nothing and cost a tenth of a small request. What blocks the loop
seldom is found by who looks for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio

from ._meter import Histogram

LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""

INTERVAL: Final = 0.5
"""Seconds between two looks, on average: a loop that is idle hardly notices, nor does a test whose clock jumps."""

_GOLDEN: Final = 0.6180339887498949
"""Multiples of it, less their whole part, are spread evenly and never in step with anything: with what happens once a
second, for example."""


class LoopLag:
    """Looks how late the loop is."""

    def __init__(self) -> None:
        self.seen = Histogram(LAGS)

    async def look(self) -> None:
        """Do so until cancelled."""
        turn = 0.0
        while True:
            turn = (turn + _GOLDEN) % 1.0
            due = trio.current_time() + INTERVAL * (0.5 + turn)
            await trio.sleep_until(due)
            self.seen.add(max(0.0, trio.current_time() - due))


@asynccontextmanager
async def running() -> AsyncGenerator[LoopLag]:
    """Look while inside."""
    lag = LoopLag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.look)
        yield lag
        nursery.cancel_scope.cancel()
