"""Several calls at once: who wins, who is cancelled, in which order results come, and that nothing outlives them."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.harness import Golden
from trivet.contrib.concurrency import (
    HedgeBudget,
    Partial,
    first_of,
    hedged,
    iter_bounded,
    map_bounded,
    partial_after,
    partial_at,
)

LOGGER = "trivet.contrib.concurrency"


class Calls:
    """Calls that take so long, and what has become of them."""

    def __init__(self) -> None:
        self.begun: list[object] = []
        self.ended: list[object] = []
        """Those that returned, failed or were cancelled and had finished with that."""
        self.most = 0
        """How many there were at a time."""

    async def __call__(self, seconds: float, value: Any = None, cleanup: float = 0) -> Any:
        self.begun.append(value)
        self.most = max(self.most, len(self.begun) - len(self.ended))
        try:
            await trio.sleep(seconds)
            if isinstance(value, BaseException):
                raise value
            return value
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(cleanup)
            self.ended.append(value)


async def fail_late(seconds: float, error: Exception) -> NoReturn:
    """Fail when it is cancelled, after so long."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        raise error


async def fail_in_a_nursery(error: BaseException) -> None:
    """Be cancelled, and fail at that, in a nursery of its own: a group of both."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(_fail_when_cancelled, error)


async def _fail_when_cancelled(error: BaseException) -> NoReturn:
    try:
        await trio.sleep_forever()
    finally:
        raise error


async def test_the_first_that_succeeds_counts(autojump_clock: MockClock) -> None:
    """The others are cancelled, and have ended when it returns."""
    calls = Calls()
    value = await first_of(partial(calls, 3, "a", cleanup=0.5), partial(calls, 1, "b"), partial(calls, 2, "c"))
    assert value == "b"
    assert trio.current_time() == 1.5
    assert set(calls.ended) == {"a", "b", "c"}


async def test_of_two_that_succeed_at_once_one_counts(autojump_clock: MockClock) -> None:
    """And it is not an error."""
    calls = Calls()
    assert await first_of(partial(calls, 1, "a"), partial(calls, 1, "b")) in ("a", "b")
    assert set(calls.ended) == {"a", "b"}


async def test_one_that_swallows_its_cancellation_does_not_win(autojump_clock: MockClock) -> None:
    """What it returns then is dropped."""

    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return "late"

    assert await first_of(stubborn, partial(Calls(), 1, "early")) == "early"


async def test_a_failure_beside_a_success_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it came before the success or after it: nothing is lost, and nobody is disturbed."""
    early, late, in_a_group = ValueError("early"), ValueError("late"), ValueError("in a group")
    calls = Calls()
    with caplog.at_level(logging.WARNING, LOGGER):
        value = await first_of(
            partial(calls, 1, early),
            partial(calls, 2, "won"),
            partial(fail_late, 1, late),
            partial(fail_in_a_nursery, in_a_group),
        )
    assert value == "won"
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert len(logged) == 3
    for error in logged:
        assert error in (early, late) or (isinstance(error, ExceptionGroup) and error.exceptions == (in_a_group,))


async def test_if_all_fail_all_are_raised(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """In a group, in the order in which they failed; so they are not logged as well."""
    calls, first, second = Calls(), ValueError("first"), KeyError("second")
    with caplog.at_level(logging.WARNING, LOGGER), pytest.raises(ExceptionGroup, match="none of 2 calls") as caught:
        await first_of(partial(calls, 2, second), partial(calls, 1, first))
    assert caught.value.exceptions == (first, second)
    assert caplog.records == []


async def _drained(fn: Callable[[], Awaitable[object]]) -> None:
    async with iter_bounded(lambda _: fn(), range(5), limit=2) as results:
        async for _ in results:
            raise AssertionError("there is none")


RUNNING: dict[str, Callable[[Callable[[], Awaitable[object]]], Awaitable[object]]] = {
    "first_of": lambda fn: first_of(fn, fn),
    "hedged": lambda fn: hedged(fn, after=0.5),
    "map_bounded": lambda fn: map_bounded(lambda _: fn(), range(5), limit=2),
    "iter_bounded": _drained,
    "partial_at": lambda fn: partial_at(math.inf, {"a": fn, "b": fn}),
}


@pytest.mark.parametrize("name", RUNNING)
async def test_who_is_cancelled_leaves_nothing_behind(name: str, autojump_clock: MockClock) -> None:
    """Whoever calls: all calls have ended before the cancelled scope is left, and no other result comes out."""
    calls = Calls()
    with trio.move_on_after(1) as scope:
        await RUNNING[name](partial(calls, 10, cleanup=0.25))
    assert scope.cancelled_caught
    assert trio.current_time() == 1.25
    assert len(calls.begun) == len(calls.ended) == 2


@pytest.mark.parametrize("name", RUNNING)
async def test_an_interrupt_is_no_failure_of_a_call(name: str, autojump_clock: MockClock) -> None:
    """It comes out at once, as it would out of any nursery, and the other calls are cancelled."""
    calls = Calls()
    kinds = iter([KeyboardInterrupt()])

    async def interrupted() -> None:
        await calls(1 if (error := next(kinds, None)) else 10, error)

    with pytest.raises(BaseExceptionGroup) as caught:
        await RUNNING[name](interrupted)
    assert caught.group_contains(KeyboardInterrupt)
    assert trio.current_time() == 1
    assert len(calls.begun) == len(calls.ended) == 2


@pytest.mark.parametrize("name", ["first_of", "partial_at"])
async def test_an_interrupt_in_a_group_with_its_cancellation(name: str, autojump_clock: MockClock) -> None:
    """It is not taken for a failure either."""
    with trio.move_on_after(1), pytest.raises(BaseExceptionGroup) as caught:
        await RUNNING[name](partial(fail_in_a_nursery, KeyboardInterrupt()))
    assert caught.group_contains(KeyboardInterrupt)


@pytest.mark.parametrize("name", ["first_of", "hedged", "partial_at"])
async def test_failures_are_logged_when_the_caller_is_cancelled(
    name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody else would hear of them."""
    error = ValueError("while it was cancelled")
    kinds = iter([partial(fail_late, 0, error), trio.sleep_forever])
    with caplog.at_level(logging.WARNING, LOGGER), trio.move_on_after(1) as scope:
        await RUNNING[name](lambda: next(kinds)())  # noqa: PLW0108 - each call is another
    assert scope.cancelled_caught
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error]


@pytest.mark.parametrize("name", ["first_of", "partial_at"])
async def test_a_failure_in_a_group_does_not_hide_its_cancellation(
    name: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The two are taken apart: one is logged, and the caller sees that it was cancelled."""
    error = ValueError("while it was cancelled")
    with caplog.at_level(logging.DEBUG, LOGGER), trio.move_on_after(1) as scope:
        await RUNNING[name](partial(fail_in_a_nursery, error))
    assert scope.cancelled_caught
    assert len(caplog.records) == 2


async def test_failures_that_are_alike_are_told_of_once_in_a_while(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A mirror that is down fails for every request: with its traceback once in ten seconds, with how many more did;
    the others at DEBUG. A failure of another kind or place is another, however the texts differ."""
    numbers = itertools.count()

    async def down() -> str:
        raise OSError(next(numbers))

    with caplog.at_level(logging.DEBUG, LOGGER):
        for _ in range(25):
            assert await first_of(down, partial(Calls(), 1, "won")) == "won"
        await first_of(partial(Calls(), 0, OSError("elsewhere")), partial(Calls(), 1, "won"))
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage().partition(": ")[2] for record in told] == [
        "OSError(0)",
        "OSError(10); 9 more like it since the last line",
        "OSError(20); 9 more like it since the last line",
        "OSError('elsewhere')",
    ]
    assert all(record.exc_info for record in caplog.records)
    assert len(caplog.records) == 26


IN_TIME: dict[str, Callable[[Calls], Awaitable[object]]] = {
    "first_of": lambda calls: first_of(partial(calls, 9, "late", cleanup=0.5), partial(calls, 1, "there")),
    "hedged": lambda calls: hedged(partial(_slower_first, calls, iter([9, 0.5])), after=0.5),
    "partial_at": lambda calls: partial_at(
        1, {"a": partial(calls, 9, "late", cleanup=0.5), "b": partial(calls, 0.5, "b")}
    ),
}


async def _slower_first(calls: Calls, seconds: Iterator[float]) -> object:
    return await calls(next(seconds), "there", cleanup=0.25)


@pytest.mark.parametrize("name", IN_TIME)
async def test_what_was_there_in_time_is_not_lost_while_losers_end(name: str, autojump_clock: MockClock) -> None:
    """The caller's deadline passes between the two; it is for what comes next."""
    calls = Calls()
    values: list[object] = []
    with trio.move_on_after(1.1) as scope:
        values.append(await IN_TIME[name](calls))
        await trio.lowlevel.checkpoint()
    assert values == [Partial({"b": "b"}, {}, ("a",)) if name == "partial_at" else "there"]
    assert scope.cancelled_caught
    assert trio.current_time() > 1.1
    assert len(calls.begun) == len(calls.ended) == 2


async def test_if_all_fail_that_counts_however_late(autojump_clock: MockClock) -> None:
    """The caller's cancellation has stopped none of them, and they are what is raised."""
    error = ValueError("while it was cancelled")
    with trio.move_on_after(1), pytest.raises(ExceptionGroup) as caught:
        await first_of(partial(fail_late, 0, error))
    assert caught.value.exceptions == (error,)


@pytest.mark.parametrize(
    ("took", "expected", "at", "calls"),
    [
        ([0.5], "1st", 0.5, 1),
        ([5, 0.5], "2nd", 1.5, 2),
        ([1.2, 5], "1st", 1.2, 2),
    ],
)
async def test_a_late_answer_gets_a_second_try(
    took: list[float], expected: str, at: float, calls: int, autojump_clock: MockClock
) -> None:
    """Only a late one; then the first to succeed counts, whichever that is."""
    made = Calls()
    tries = iter(zip(took, ("1st", "2nd"), strict=False))

    async def fetch(path: str) -> str:
        assert path == "/x"
        seconds, name = next(tries)
        value: str = await made(seconds, name)
        return value

    assert await hedged(fetch, "/x", after=1) == expected
    assert trio.current_time() == at
    assert len(made.begun) == len(made.ended) == calls


async def test_what_fails_early_has_failed(autojump_clock: MockClock) -> None:
    """A hedge is no retry; and the error is the call's own, in no group."""
    calls, error = Calls(), ValueError("at once")
    with pytest.raises(ValueError, match="at once") as caught:
        await hedged(calls, 0.5, error, after=1)
    assert caught.value is error
    assert len(calls.begun) == 1


async def test_if_one_of_two_fails_the_other_counts(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged."""
    calls, error = Calls(), ValueError("no")
    tries = iter([(1.5, error), (2, "yes")])
    with caplog.at_level(logging.WARNING, LOGGER):
        assert await hedged(lambda: calls(*next(tries)), after=1) == "yes"
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [error]


async def test_if_both_fail_the_first_failure_is_raised(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As it is, so that who expects it from a plain call finds it; the other is logged."""
    calls, one, two = Calls(), ValueError("one"), KeyError("two")
    tries = iter([(3, two), (1, one)])
    with caplog.at_level(logging.WARNING, LOGGER), pytest.raises(ValueError, match="one") as caught:
        await hedged(lambda: calls(*next(tries)), after=1)
    assert caught.value is one
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [two]


async def test_a_budget_bounds_second_tries(autojump_clock: MockClock) -> None:
    """When all are slow, `burst` have one at once; then one of every `1 / share` calls."""
    budget = HedgeBudget(share=0.25, burst=3)
    calls = Calls()
    for _ in range(3 + 8):
        await hedged(calls, 2, after=1, budget=budget)
    # The second and third call put half a token back, so that it takes two more until there is a whole one.
    assert (budget.calls, budget.hedges, budget.refused) == (11, 5, 6)
    assert len(calls.begun) == 11 + 5


@given(share=st.floats(0.01, 1), burst=st.integers(1, 20), slow=st.lists(st.booleans(), max_size=200))
def test_a_budget_is_never_exceeded(share: float, burst: int, slow: list[bool]) -> None:
    """Whatever calls there are, no more than `burst` and a share of them have a second try; and fast ones save up."""
    budget = HedgeBudget(share=share, burst=burst)
    for index, late in enumerate(slow, 1):
        budget.earn()
        if late:
            budget.spend()
        assert budget.hedges <= burst + index * share + 1e-6
        assert budget.hedges + budget.refused == sum(slow[:index])
    for _ in range(math.ceil(1 / share)):
        budget.earn()
    assert budget.spend()


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers()), max_size=30), st.integers(1, 8), st.sampled_from([0, 1, 3])
)
def test_map_keeps_the_order_and_the_limit(items: list[tuple[int, int]], limit: int, reading: int) -> None:
    """Whatever each call takes, and however slow the results are read."""

    async def main() -> None:
        calls, lazily = Calls(), Calls()
        assert await map_bounded(lambda item: calls(*item), items, limit=limit) == [value for _, value in items]
        assert calls.most == min(limit, len(items))
        read: list[int] = []
        async with iter_bounded(lambda item: lazily(*item), items, limit=limit) as results:
            async for value in results:
                read.append(value)
                assert len(lazily.begun) <= len(read) + limit
                await trio.sleep(reading)
        assert read == [value for _, value in items]
        assert lazily.most <= limit

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_map_goes_on_beside_a_slow_item(autojump_clock: MockClock) -> None:
    """One slow call holds up nobody but who waits for all of them."""
    calls = Calls()
    assert await map_bounded(lambda item: calls(*item), [(5, 0), *[(1, n) for n in range(1, 6)]], limit=2) == [
        0, 1, 2, 3, 4, 5
    ]  # fmt: skip
    assert trio.current_time() == 5


async def test_a_failure_ends_a_map(autojump_clock: MockClock) -> None:
    """The other calls are cancelled, the items left are not looked at, and the error is in a group."""
    calls, error = Calls(), ValueError("no")
    drawn: list[int] = []

    def items() -> Iterator[tuple[float, object]]:
        for n in range(100):
            drawn.append(n)
            yield (1, error) if n == 1 else (2, n)

    with pytest.raises(ExceptionGroup) as caught:
        await map_bounded(lambda item: calls(*item), items(), limit=3)
    assert caught.value.exceptions == (error,)
    assert len(calls.begun) == len(calls.ended) == 3
    assert drawn == [0, 1, 2, 3]
    assert trio.current_time() == 1


async def test_a_failure_ends_an_iteration(autojump_clock: MockClock) -> None:
    """Also while the block does something else."""
    calls, error = Calls(), ValueError("no")
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the block is what raises
        async with iter_bounded(lambda item: calls(*item), [(1, "a"), (2, error), (9, "c")], limit=3) as results:
            assert await anext(results) == "a"
            await trio.sleep(100)
    assert caught.value.exceptions == (error,)
    assert trio.current_time() == 2
    assert len(calls.ended) == 3


async def test_an_iteration_is_left_early(autojump_clock: MockClock) -> None:
    """Of endless items: calls at work are cancelled, and have ended when the block is left."""
    calls = Calls()
    numbers = iter(range(1_000_000))
    async with iter_bounded(lambda n: calls(1, n, cleanup=0.5), numbers, limit=2) as results:
        async for value in results:
            if value == 2:
                break
    assert len(calls.begun) == len(calls.ended) <= 5
    assert next(numbers) <= 7


async def test_an_iteration_has_an_end(autojump_clock: MockClock) -> None:
    """And stays there; one of nothing ends at once."""
    async with iter_bounded(partial(Calls(), 1), ["a"], limit=2) as results:
        assert [value async for value in results] == ["a"]
        assert [value async for value in results] == []
    async with iter_bounded(partial(Calls(), 1), [], limit=2) as results:
        assert [value async for value in results] == []


async def test_what_is_there_at_the_deadline(autojump_clock: MockClock) -> None:
    """Each call is in one of three, in the order of the calls."""
    calls, error = Calls(), ValueError("no")
    page = await partial_at(
        trio.current_time() + 2,
        {
            "late": partial(calls, 3, "late", cleanup=0.5),
            "b": partial(calls, 1.5, "b"),
            "failed": partial(calls, 1, error),
            "a": partial(calls, 1, "a"),
            "never": trio.sleep_forever,
        },
    )
    assert list(page.results.items()) == [("b", "b"), ("a", "a")]
    assert page.failed == {"failed": error}
    assert page.missing == ("late", "never")
    assert not page.complete
    assert trio.current_time() == 2.5
    assert len(calls.ended) == 4


async def test_a_call_knows_the_deadline(autojump_clock: MockClock) -> None:
    """It surrounds each call, so a client can tell it to whom it asks, and give up in time; the nearest one counts."""

    async def until() -> float:
        return trio.current_effective_deadline()

    with trio.move_on_after(10):  # from 0
        page = await partial_at(3, {"near": until})
        assert page.results == {"near": 3}
        page = await partial_at(30, {"far": until})
        assert page.results == {"far": 10}


async def test_all_before_the_deadline(autojump_clock: MockClock) -> None:
    """It is not waited for."""
    page = await partial_after(10, {1: partial(Calls(), 1, "a"), 2: partial(Calls(), 2, "b")})
    assert page.results == {1: "a", 2: "b"}
    assert page.complete
    assert trio.current_time() == 2
    assert (await partial_after(10, {})).complete
    assert trio.current_time() == 2


async def test_one_that_ends_while_it_is_cancelled(autojump_clock: MockClock) -> None:
    """Has returned, or failed, all the same."""
    error = ValueError("late")

    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        return "here"

    page = await partial_after(1, {"result": stubborn, "failed": partial(fail_late, 0, error)})
    assert (page.results, page.failed, page.missing) == ({"result": "here"}, {"failed": error}, ())


REFUSED: dict[str, Callable[[], object]] = {
    "first_of_nothing": lambda: trio.run(first_of),
    "hedged_after": lambda: trio.run(partial(hedged, trio.sleep, 1, after=-1)),
    "hedged_after_nan": lambda: trio.run(partial(hedged, trio.sleep, 1, after=math.nan)),
    "map_limit": lambda: trio.run(partial(map_bounded, trio.sleep, [1], limit=0)),
    "iter_limit": lambda: iter_bounded(trio.sleep, [1], limit=2.5),  # type: ignore[arg-type]
    "budget_share": lambda: HedgeBudget(share=5),
    "budget_burst": lambda: HedgeBudget(burst=0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(name: str, golden: Golden) -> None:
    """With what came, and what to write."""
    with pytest.raises(ValueError, match=r"Write|Give") as caught:
        REFUSED[name]()
    golden(f"contrib/concurrency_{name}", str(caught.value))


CALLED: dict[str, Callable[[Callable[[], Awaitable[str]]], Awaitable[object]]] = {
    "first_of": lambda called: first_of(called, partial(Calls(), 1, "a")),
    "hedged": lambda called: hedged(called, after=1),
    "partial_at": lambda called: partial_at(1, {"a": called}),
    "partial_after": lambda called: partial_after(1, {"a": called}),
    "map_bounded": lambda called: map_bounded(called, ["/a"], limit=2),
    "iter_bounded": lambda called: iter_bounded(called, ["/a"], limit=2).__aenter__(),
}


@pytest.mark.parametrize("name", CALLED)
async def test_what_has_been_called_already_is_refused(name: str, golden: Golden) -> None:
    """As `asyncio.gather` takes it: it is told at once, and is no failure among others, nor a warning."""

    async def fetch(url: str) -> str:
        return url

    called: Any = fetch("/a")
    with pytest.raises(TypeError) as caught:
        await CALLED[name](called)
    golden(f"contrib/concurrency_called_{name}", str(caught.value))
