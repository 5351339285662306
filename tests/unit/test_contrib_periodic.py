"""`every`: it neither drifts nor overlaps, and skips what it is late for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from trivet.contrib.periodic import Tick, every


def times(period: float, body: Sequence[float], **options: Any) -> tuple[list[float], every, list[Tick]]:
    """When the bodies begin, of which each takes so many seconds, counted from the first `async for`."""
    begun: list[float] = []
    ticks: list[Tick] = []
    schedule = every(period, **options)

    async def main() -> None:
        start = trio.current_time()
        async for tick in schedule:
            ticks.append(tick)
            begun.append(trio.current_time() - start)
            if len(begun) == len(body):
                return
            await trio.sleep(body[len(begun) - 1])

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return begun, schedule, ticks


@pytest.mark.parametrize(
    ("body", "options", "begun", "skipped"),
    [
        ([0, 0, 0], {}, [0, 10, 20], [0, 0, 0]),
        ([3, 9, 1, 1], {}, [0, 10, 20, 30], [0, 0, 0, 0]),
        ([0, 0, 0], {"at_once": False}, [10, 20, 30], [0, 0, 0]),
        ([10, 0, 0], {}, [0, 10, 20], [0, 0, 0]),
        ([11, 0, 0], {}, [0, 20, 30], [0, 1, 0]),
        ([45, 0, 25, 0], {}, [0, 50, 60, 90], [0, 4, 0, 2]),
        ([45, 0], {"at_once": False}, [10, 60], [0, 4]),
        ([0, 0, 0], {"jitter": 4, "random": lambda: 0.5}, [2, 12, 22], [0, 0, 0]),
        ([9, 0], {"jitter": 4, "random": lambda: 0.5}, [2, 12], [0, 0]),
        ([13, 0], {"jitter": 4, "random": lambda: 0.5}, [2, 22], [0, 1]),
    ],
)
def test_when_it_is_time(body: list[float], options: Any, begun: list[float], skipped: list[int]) -> None:
    """On a grid that begins with the loop, whatever the bodies take; what they take too long for is skipped."""
    actual, schedule, ticks = times(10, body, **options)
    assert actual == begun
    assert [tick.skipped for tick in ticks] == skipped
    assert [tick.number for tick in ticks] == list(range(1, len(begun) + 1))
    assert (schedule.ticks, schedule.skipped) == (len(begun), sum(skipped))


@pytest.mark.parametrize(
    ("happens", "options", "begun", "ended"),
    [
        (0, {}, [], 0),
        (5, {}, [0], 5),  # while it waits
        (21, {}, [0, 10, 20], 23),  # while the body runs, which is not cut off
        (23, {}, [0, 10, 20], 23),
        (5, {"at_once": False}, [], 5),
        (1, {"jitter": 4, "random": lambda: 0.5}, [], 1),
    ],
)
async def test_it_ends_when_something_has_happened(
    happens: float, options: Any, begun: list[float], ended: float, autojump_clock: trio.testing.MockClock
) -> None:
    """Between two bodies, and without waiting for the next time."""
    event, start, actual = trio.Event(), trio.current_time(), list[float]()

    async def tell() -> None:
        await trio.sleep(happens)
        event.set()

    async with trio.open_nursery() as nursery:
        if happens:
            nursery.start_soon(tell)
        else:
            event.set()
        async for _ in every(10, until=event, **options):
            actual.append(trio.current_time() - start)
            await trio.sleep(3)
    assert actual == begun
    assert trio.current_time() - start == ended


async def test_a_time_that_has_come_is_taken_while_nothing_has_happened(autojump_clock: trio.testing.MockClock) -> None:
    """Also one that is late; a wait that was cancelled is still to come."""
    schedule, event, start = every(10, until=trio.Event()), trio.Event(), trio.current_time()
    await anext(schedule)
    with trio.move_on_after(4):
        await anext(schedule)
    await trio.sleep(31)
    tick = await anext(schedule)
    assert (trio.current_time() - start, tick.number, tick.skipped) == (40, 2, 3)
    assert not event.is_set()


@given(st.floats(0.001, 1e6), st.lists(st.floats(0, 1e7), min_size=2, max_size=8), st.booleans(), st.floats(0, 0.99))
def test_all_times_of_the_grid_are_met_or_counted(
    period: float, body: list[float], at_once: bool, jitter: float
) -> None:
    """Of any period and any bodies: none is lost, none comes twice, none comes before its time."""
    begun, schedule, ticks = times(period, body, at_once=at_once, jitter=period * jitter, random=lambda: 1.0)
    places = [(tick.due - ticks[0].due) / period for tick in ticks]
    expected = [float(sum(1 + each.skipped for each in ticks[1:n])) for n in range(1, len(ticks) + 1)]
    assert places == pytest.approx(expected, abs=1e-3)
    assert schedule.skipped == sum(each.skipped for each in ticks)
    assert begun == sorted(begun)


def test_it_can_be_cancelled_and_left() -> None:
    """While it waits, as any sleep; what was waited for is still to come, in another loop."""

    async def main() -> None:
        schedule = every(10)
        with trio.move_on_after(25) as scope:
            async for _ in schedule:
                pass
        assert scope.cancelled_caught
        assert schedule.ticks == 3
        async for tick in schedule:
            assert (tick.number, tick.skipped, trio.current_time()) == (4, 0, 30)
            break

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("period", "options"),
    [
        (0, {}), (-1, {}), (float("inf"), {}), (float("nan"), {}), (10, {"jitter": 10}), (10, {"jitter": -1}),
        (10, {"jitter": float("nan")}),
    ],
)  # fmt: skip
def test_what_is_no_period(period: float, options: Any) -> None:
    """It is refused where it is written, with the remedy."""
    with pytest.raises(ValueError, match=r"every\(60"):
        every(period, **options)
