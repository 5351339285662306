"""Keeps a mock clock still while a worker thread runs, and lets it jump where nothing else would end the test.

This file owns one decision: when `trio.testing.MockClock` may jump. A thread looks idle to Trio, so that with
`autojump_threshold=0` a handler's ten milliseconds in a thread let an hour pass and every deadline with it. And a clock
that only the test moves stands for good once the test itself waits: for the application to stop, which takes time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

import trio
import trio.testing
from trio.testing import MockClock

__all__ = ["STANDS", "HoldClock"]

STILL: Final = 0.5
"""Real seconds without a step of any task, after which one may say that they wait for the clock."""

STANDS: Final = (
    "the end of `async with TestClient(app)` waits for time to pass, and the clock of this test stands.\n"
    "What waits is a service that has a drain_timeout, a task of app.tasks, a request, or a cleanup that sleeps.\n"
    "Let the clock jump for that, as the last line of the block:  mock_clock.autojump_threshold = 0"
)


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

    async def stands(self) -> bool:
        """Return once nothing has moved for a while that time would move; `False`: the clock moves by itself.

        No clock jumps while somebody waits like this, so it is not waited for one that would.
        """
        while self._threshold is None and self._clock.rate == 0 and self._clock.autojump_threshold == inf:
            await trio.testing.wait_all_tasks_blocked(STILL)
            deadline = trio.lowlevel.current_statistics().seconds_to_next_deadline
            if deadline < inf and not any(limiter.borrowed_tokens for limiter in self.limiters):
                return self._clock.autojump_threshold == inf
        return False

    def go_on(self) -> None:
        """Let the clock jump, until it is told to `stand`."""
        self._clock.autojump_threshold = 0

    def stand(self) -> None:
        """Let it stand again."""
        self.release()
        self._clock.autojump_threshold = inf

    def release(self) -> None:
        """Give the clock back as it was."""
        if self._threshold is not None:
            self._clock.autojump_threshold = self._threshold
            self._threshold = None
