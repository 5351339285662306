"""Keeps a mock clock still while a worker thread runs.

This file owns one decision: when `trio.testing.MockClock` may jump. A thread looks idle to Trio, so that with
`autojump_threshold=0` a handler's ten milliseconds in a thread let an hour pass and every deadline with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import trio
from trio.testing import MockClock

__all__ = ["HoldClock"]


class HoldClock(trio.abc.Instrument):
    """Switches autojump off while a limiter has lent tokens: one counter is read per limiter and task step.

    A thread's token is given back in Trio's own thread, in a task step, so that there is no moment at which
    the thread has ended, its token is back, and nobody looks.

    Args:
        clock: the clock of this run.
        limiters: those that the threads to wait for run under.
    """

    def __init__(self, clock: MockClock, limiters: Sequence[trio.CapacityLimiter]) -> None:
        self._clock = clock
        self.limiters = limiters
        # The threshold to give back; None while the clock is not held.
        self._threshold: float | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Hold or release the clock; called by Trio."""
        busy = any(limiter.borrowed_tokens for limiter in self.limiters)
        if not busy:
            self.release()
        # Infinite: autojump is off, or another HoldClock of this run (a client within a client) holds it.
        # When that one lets go, the next step holds again.
        elif self._threshold is None and self._clock.autojump_threshold < inf:
            self._threshold = self._clock.autojump_threshold
            self._clock.autojump_threshold = inf

    def release(self) -> None:
        """Give the clock back as it was."""
        if self._threshold is not None:
            self._clock.autojump_threshold = self._threshold
            self._threshold = None
