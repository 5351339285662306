"""How long the event loop is busy without looking at the outside: what a task that is ready may have to wait.

This file owns that measurement. It times every turn of the loop, from the end of a wait for I/O to the begin of the
next, so that no blocked loop is missed, however short; a task that sleeps and looks how late it is would see only what
happens while it sleeps, and wake an idle process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final

import trio

from ._meter import Histogram

LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds."""


class LoopLag(trio.abc.Instrument):
    """Counts the turns of the loop by how long they take."""

    def __init__(self) -> None:
        self.turns = Histogram(LAGS)
        self._began = perf_counter()

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins."""
        self._began = perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        """A turn is over."""
        self.turns.add(perf_counter() - self._began)


@asynccontextmanager
async def running() -> AsyncGenerator[LoopLag]:
    """Measure while inside."""
    lag = LoopLag()
    trio.lowlevel.add_instrument(lag)
    try:
        yield lag
    finally:
        trio.lowlevel.remove_instrument(lag)
