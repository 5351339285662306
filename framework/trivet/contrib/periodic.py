"""What is done again and again: `async for tick in every(60): ...`, mostly in a service.

This file owns when the next time is: on a grid that begins with the first one, so that it does not drift with what the
body takes; and never while the body runs, so that two never overlap. A time that has passed by then is skipped and
counted, not made up for: who is late would be late for ever. (Trio's `trio_util.periodic` skips as well, but neither
counts nor jitters.) The clock is Trio's, so a test's `MockClock` works; a night in which the machine sleeps is skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import random as chance

import trio

from trivet.asgi import Notice

__all__ = ["Tick", "every"]


@dataclass(frozen=True, slots=True)
class Tick:
    """One time of `every`."""

    number: int
    """1, 2, 3, ..."""

    due: float
    """When it was due, on Trio's clock, jitter included."""

    skipped: int
    """How many times were skipped just before it, because the body took too long."""


class every:  # noqa: N801 - it is called, and its name reads as a word of the loop
    """The times at which something is done every so many seconds, for `async for`.

        async for tick in every(60, jitter=5):
            await refresh()

    Args:
        period: seconds from one time to the next.
        at_once: the first time is now; else it is after the first period.
        jitter: seconds that each time may be late, by chance, so that what many processes do does not come all at once.
            It does not add up.
        until: there is no time after this has happened, and who waits for the next one waits no more: `app.draining`,
            for a service that has a `drain_timeout` to finish what it does.
        random: gives a number from 0 to 1, as `random.random` does.

    Raises:
        ValueError: `period` is no number of seconds above 0, or `jitter` is not less than it.

    Cancellation: while it waits, as `trio.sleep` is. Whoever breaks out of the loop leaves nothing behind.
    """

    def __init__(
        self,
        period: float,
        *,
        at_once: bool = True,
        jitter: float = 0.0,
        until: Notice | None = None,
        random: Callable[[], float] = chance,
    ) -> None:
        if not 0 < period < math.inf:
            raise ValueError(f"every({period!r}) does not say how many seconds are between two times: every(60)")
        if not 0 <= jitter < period:
            raise ValueError(
                f"jitter={jitter!r} is not from 0 to less than the {period:g} seconds between two times, "
                "which might change places:\nWrite fewer seconds, every(60, jitter=5)"
            )
        self.period = period
        self.ticks = 0
        """How many times there were."""
        self.skipped = 0
        """How many were skipped, of all."""
        self._jitter = jitter
        self._until = until
        self._chance = random
        self._place = 0 if at_once else 1  # on the grid
        self._start: float | None = None

    def __aiter__(self) -> every:
        return self

    async def __anext__(self) -> Tick:
        """Wait for the next time.

        Raises:
            StopAsyncIteration: `until` has happened.
        """
        now = trio.current_time()
        if self._start is None:
            self._start = now
        first = self._start + self._chance() * self._jitter
        late = now - (first + self._place * self.period)
        skipped = math.ceil(late / self.period) if late > 0 else 0
        due = first + (self._place + skipped) * self.period
        if self._until is None:
            await trio.sleep_until(due)
        else:
            with trio.move_on_at(due):
                await self._until.wait()
            if self._until.is_set():
                raise StopAsyncIteration
        self._place += skipped + 1  # not before: a time whose wait was cancelled is still to come
        self.skipped += skipped
        self.ticks += 1
        return Tick(self.ticks, due, skipped)
