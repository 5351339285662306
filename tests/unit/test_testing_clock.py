"""`HoldClock`, step by step."""

from __future__ import annotations

from math import inf

import trio
from trio.testing import MockClock

from trivet.testing._clock import HoldClock


def set_busy(limiter: trio.CapacityLimiter, busy: bool) -> None:
    if busy:
        limiter.acquire_on_behalf_of_nowait(limiter)
    else:
        limiter.release_on_behalf_of(limiter)


async def test_two_holders_give_the_clock_back() -> None:
    """Whoever lets go first, the clock stands while either limiter is busy, and jumps again afterwards."""
    task = trio.lowlevel.current_task()
    for first_to_end in (0, 1):
        clock = MockClock(autojump_threshold=0.5)
        limiters = [trio.CapacityLimiter(1), trio.CapacityLimiter(1)]
        holders = [HoldClock(clock, [limiter]) for limiter in limiters]

        def step() -> float:
            for holder in holders:  # noqa: B023 - called within this round only
                holder.after_task_step(task)
            return clock.autojump_threshold  # noqa: B023

        assert step() == 0.5
        for limiter in limiters:
            set_busy(limiter, True)
            assert step() == inf
        set_busy(limiters[first_to_end], False)
        assert step() == inf
        set_busy(limiters[1 - first_to_end], False)
        assert step() == 0.5


async def test_clock_that_does_not_jump_is_left_alone() -> None:
    """There is nothing to hold, and nothing to give back: the test may switch autojump on meanwhile."""
    clock = MockClock()
    limiter = trio.CapacityLimiter(1)
    holder = HoldClock(clock, [limiter])
    set_busy(limiter, True)
    holder.after_task_step(trio.lowlevel.current_task())
    clock.autojump_threshold = 0
    holder.release()
    assert clock.autojump_threshold == 0
