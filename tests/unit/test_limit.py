"""Limits as plain data: who gets a place, in which order, how many, and after how long to ask again."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import DataObject, data, floats, integers, sampled_from

from trivet import Limit
from trivet._aimd import Aimd
from trivet._damping import QUIET
from trivet._limit import Waiter
from trivet._limit_checks import check_order
from trivet.errors import RegistrationError


class LimitMachine(RuleBasedStateMachine):
    """Requests that come, wait, are served, give up and leave, beside a model with a list."""

    @initialize(concurrent=integers(1, 4), queue=integers(0, 4))
    def begin(self, concurrent: int, queue: int) -> None:
        self.limit = Limit(concurrent, queue)
        self.now = 0.0
        self.number = 0
        self.shed = 0
        self.running: dict[int, float] = {}
        self.queue: deque[tuple[int, Waiter]] = deque()

    def woken(self, number: int) -> Callable[[], None]:
        def wake() -> None:
            first, _ = self.queue.popleft()
            assert first == number, "somebody was served out of turn"
            self.running[number] = self.now

        return wake

    @rule(seconds=floats(0.01, 3))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def arrive(self) -> None:
        """A request with all the time that it needs: place, queue, or 503, in this order."""
        self.number += 1
        if self.limit._take(self.now):
            assert len(self.running) < self.limit.concurrent
            assert not self.queue, "somebody was served before those who waited"
            self.running[self.number] = self.now
            return
        assert len(self.running) == self.limit.concurrent
        if self.limit._patience(math.inf, self.now):
            assert len(self.queue) < self.limit.queue
            self.queue.append((self.number, self.limit._join(self.woken(self.number))))
        else:
            assert len(self.queue) == self.limit.queue
            assert self.limit._turn_away(self.now) >= 1
            self.shed += 1

    @precondition(lambda self: self.running)
    @rule(source=data())
    def leave(self, source: DataObject) -> None:
        """One that was served is over; its place goes to the first who waits."""
        number = source.draw(sampled_from(sorted(self.running)))
        began = self.running.pop(number)
        waiting = len(self.queue)
        self.limit._leave(began, self.now)
        assert len(self.queue) == max(0, waiting - 1)

    @precondition(lambda self: self.queue)
    @rule(source=data())
    def give_up(self, source: DataObject) -> None:
        """One that waits leaves the queue, wherever it stands."""
        entry = source.draw(sampled_from(list(self.queue)))
        self.queue.remove(entry)
        self.limit._quit(entry[1])

    @invariant()
    def counts_are_right(self) -> None:
        """What the limit says is what is so, and no place is lost."""
        if not hasattr(self, "limit"):
            return
        limit = self.limit
        assert (limit.running, limit.waiting, limit.shed) == (len(self.running), len(self.queue), self.shed)
        assert limit.running <= limit.concurrent
        assert limit.running == limit.concurrent or not limit.waiting


LimitMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
test_a_limit_counts_and_keeps_the_order = LimitMachine.TestCase


def busy(concurrent: int, queue: int, held: float, wait: float | None = None) -> Limit:
    """A limit whose places are all taken, and are taken for `held` seconds as a rule."""
    limit = Limit(concurrent, queue, wait)
    assert limit._take(0)
    limit._leave(0, held)
    for _ in range(concurrent):
        assert limit._take(0)
    return limit


@pytest.mark.parametrize(
    ("waiting", "held", "left", "patience"),
    [
        (0, 4, 2.0, 2.0),  # two places, four seconds each: one is free every two seconds
        (0, 4, 1.9, 0.0),
        (1, 4, 4.0, 4.0),
        (1, 4, 3.9, 0.0),
        (1, 4, math.inf, 5.0),  # for `wait` at most
        (2, 4, math.inf, 5.0),  # that would be six seconds, if they are four each: they need not be
        (2, 4, 5.9, 0.0),
        (2, 4, 6.0, 5.0),
        (3, 0.1, math.inf, 0.0),  # the queue is full
        (0, 4, -1.0, 0.0),
        (0, 0, 0.1, 0.1),  # nothing is known yet
        (0, 0, 0.0, 0.0),
    ],
)
def test_who_would_wait_too_long_does_not_wait(waiting: int, held: float, left: float, patience: float) -> None:
    """The estimate is Little's law. It is held against the time that is left; `wait` is waited, whatever it says."""
    limit = busy(2, 3, held, wait=5)
    for _ in range(waiting):
        limit._join(lambda: None)
    assert limit._patience(left, 0) == patience


@pytest.mark.parametrize(
    ("waiting", "now", "expected"),
    [
        (0, 0.0, 2.0),
        (0, 1.5, 0.5),
        (0, 2.0, 0.0),
        (0, 9.0, 0.0),  # it is overdue, and comes any moment
        (2, 0.0, 6.0),
        (2, 1.5, 4.5),
        (2, 9.0, 4.0),  # those after it are not overdue with it
        (2, -1e9, 6.0),  # the clock of a test began anew
    ],
)
def test_the_estimate_knows_how_long_a_place_is_awaited_already(waiting: int, now: float, expected: float) -> None:
    """Who comes when the place is nearly free is not told that it was taken just now."""
    limit = busy(2, 3, held=4)
    for _ in range(waiting):
        limit._join(lambda: None)
    assert (limit._patience(expected + 0.1, now), limit._patience(expected - 0.1, now)) == (expected + 0.1, 0.0)
    assert limit._turn_away(now) == max(1, math.ceil(expected))


def test_that_nobody_waits_may_be_said_twice() -> None:
    """`wait=0` beside a queue of none, as settings of a deployment have it; no other place for it."""
    assert not Limit(1, queue=0, wait=0)._patience(math.inf, 0)
    assert not Limit.adaptive(1, queue=0, wait=0.0)._patience(math.inf, 0)
    for queue, wait in ((0, False), (5, 0), (0, 0.1)):
        with pytest.raises(RegistrationError):
            Limit(1, queue, wait)
    with pytest.raises(RegistrationError):
        Limit.adaptive(0)


@pytest.mark.parametrize(
    ("waiting", "held", "seconds"),
    [
        (0, 0.0, 1), (0, 0.01, 1), (0, 2.0, 1), (0, 2.1, 2), (3, 2.1, 5), (3, 2.0, 4),
        (0, 118.5, 60), (0, 120.5, 60), (3, 1e30, 60),
    ],
)  # fmt: skip
def test_retry_after_is_in_whole_seconds_rounded_up(waiting: int, held: float, seconds: int) -> None:
    """It is when who came now would have its turn; never zero, which says "at once", and a minute at most."""
    limit = busy(2, 3, held)
    for _ in range(waiting):
        limit._join(lambda: None)
    assert limit._turn_away(0) == seconds


def test_how_long_places_are_taken_is_smoothed() -> None:
    """One that took long changes the estimate by a tenth, and a change that lasts arrives."""
    limit = busy(1, 5, held=1)
    limit._leave(0, 11)
    assert limit._held == pytest.approx(2)
    for _ in range(100):
        limit._take(0)
        limit._leave(0, 5)
    assert limit._held == pytest.approx(5, rel=0.01)


def test_streams_that_last_do_not_make_the_queue_look_long() -> None:
    """Nine of ten places are taken for an hour; the tenth is free every tenth of a second, and that is what counts."""
    limit = Limit(10, queue=20)
    for _ in range(10):
        limit._take(0)
    limit._leave(0, 3600)
    assert limit._take(3600)
    now = 3600.0
    for _ in range(100):
        limit._leave(now, now + 0.1)
        now += 0.1
        assert limit._take(now)
    limit._leave(0, now)
    limit._take(now)
    assert limit._held > 300
    assert limit._patience(0.2, now) > 0
    assert limit._turn_away(now) == 1


def test_requests_that_end_together_do_not_make_the_queue_look_long() -> None:
    """Places are given back all at once, every second: the last in the queue has its turn then, not after ten."""
    limit = Limit(10, queue=10)
    for now in range(5):
        for _ in range(10):
            assert limit._take(now)
        for _ in range(10):
            limit._leave(now, now + 1)
    for _ in range(10):
        limit._take(5)
    for _ in range(9):
        limit._join(lambda: None)
    assert limit._patience(1.1, 5) > 0


def test_the_log_is_told_once_in_a_while() -> None:
    """The first at once, the others together, and none is counted twice."""
    limit = Limit(1)
    said: list[int] = []
    for now in (0.0, 1.0, QUIET - 0.1, QUIET, QUIET + 1, 3 * QUIET):
        limit._turn_away(now)
        said.append(limit._unsaid(now))
    assert said == [1, 0, 0, 3, 0, 2]


def test_it_shows_its_state() -> None:
    """In a log or a debugger."""
    limit = busy(2, 3, held=1)
    limit._join(lambda: None)
    limit._turn_away(0)
    assert repr(limit) == "<Limit: 2 of 2 running, 1 of 3 waiting, 1 shed>"


# ---- order


def test_limits_that_wait_for_each_other_are_refused() -> None:
    """A cycle of any length; a limit may stand at any place of a chain."""
    a, b, c = Limit(1), Limit(1), Limit(1)
    check_order([("/1", (a, b, c)), ("/2", (a, c)), ("/3", (b,)), ("/4", ())])
    for routes in ([("/x", (a, b)), ("/y", (b, a))], [("/x", (a, b)), ("/y", (b, c)), ("/z", (c, a))]):
        with pytest.raises(RegistrationError, match="taken in different orders") as caught:
            check_order(routes)
        assert all(repr(path) in str(caught.value) for path, _ in routes)


# ---- the adaptive limit


def rounds(aimd: Aimd, count: int, took: float, *, full: bool = True) -> int:
    """As many rounds of answers, one after the other."""
    now = 1000.0
    for _ in range(count):
        for _ in range(max(10, aimd.value)):
            if full:
                aimd.reached()
            now += 100
            aimd.answered(now - took, now)
    return aimd.value


def test_it_grows_by_one_a_round_while_answers_are_in_time() -> None:
    """Additive increase, up to the greatest."""
    assert rounds(Aimd(1.0, 20, 1, 100), 5, took=1.0) == 25
    assert rounds(Aimd(1.0, 20, 1, 22), 5, took=1.0) == 22


def test_it_does_not_grow_while_it_is_not_reached() -> None:
    """A quiet server learns nothing about how much it could bear."""
    assert rounds(Aimd(1.0, 20, 1, 100), 5, took=0.1, full=False) == 20


def test_it_shrinks_to_nine_tenths_when_answers_are_late() -> None:
    """Multiplicative decrease, without waiting for the end of the round, down to the least."""
    aimd = Aimd(1.0, 20, 5, 100)
    for answer in range(3):
        assert aimd.value == 20
        aimd.answered(answer, answer + 1.1)
    assert aimd.value == 18
    assert rounds(Aimd(1.0, 20, 5, 100), 40, took=1.1) == 5


def test_a_tenth_may_be_late() -> None:
    """A target is one for nine in ten: two of twenty do not shrink it."""
    aimd = Aimd(1.0, 20, 1, 100)
    for answer in range(20):
        aimd.reached()
        aimd.answered(answer, answer + (2.0 if answer in (3, 9) else 0.5))
    assert aimd.value == 21


def test_what_began_before_a_change_says_nothing_of_it() -> None:
    """Else all that was under way would shrink it, each time by a tenth."""
    aimd = Aimd(1.0, 20, 1, 100)
    for _ in range(20):
        aimd.answered(0.0, 10.0)
    assert aimd.value == 18


def test_a_request_that_ran_out_of_time_is_late() -> None:
    """However short its time was: else a limit would grow while every answer is a 503."""
    aimd = Aimd(1.0, 20, 1, 100)
    for answer in range(3):
        aimd.reached()
        aimd.answered(answer, answer + 0.3, "deadline")
    assert aimd.value == 18


def test_a_client_that_leaves_early_says_nothing() -> None:
    """It was not answered in time; one that leaves late was not either, and that is known."""
    aimd = Aimd(1.0, 20, 1, 100)
    for answer in range(100):
        aimd.reached()
        aimd.answered(answer, answer + 0.3, "disconnected")
    assert aimd.value == 20
    for answer in range(3):
        aimd.answered(answer, answer + 1.1, "disconnected")
    assert aimd.value == 18


def test_a_limit_that_shrinks_to_what_runs_is_full_from_then_on() -> None:
    """What is measured between two places that are given back begins then, not when it was full last."""
    limit = Limit.adaptive(1.0, initial=20)
    for _ in range(18):
        assert limit._take(1000.0)
    for _ in range(3):
        limit._answered(1000.0, 1002.0, None)
    assert (limit.concurrent, limit.running) == (18, 18)
    limit._leave(1000.0, 1003.0)
    assert limit._gap == 1.0
