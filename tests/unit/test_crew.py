"""Leader and followers, over a poller that a test plays: who does what, in which context, cancelled by whom."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trivet.server import _crew
from trivet.server._crew import FAREWELL, Crew
from trivet.server._poller import LEAVES, ROUNDS

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Job:
    """Something to be done."""

    def __init__(self, do: Callable[[trio.CancelScope], Awaitable[object]]) -> None:
        self.do = do
        self.task: trio.lowlevel.Task | None = None
        self.outcome = "not begun"

    async def work(self, scope: trio.CancelScope) -> None:
        self.task = trio.lowlevel.current_task()
        self.outcome = "begun"
        try:
            await self.do(scope)
        except trio.Cancelled:
            self.outcome = "cancelled"
            raise
        self.outcome = "done"


class Sockets:
    """A poller: what is ready is a job, which whoever reads it finds."""

    woken = False

    def __init__(self) -> None:
        self.ready: list[Job] = []
        self.arrival = trio.Event()
        self.crew: Crew
        self.readers: list[trio.lowlevel.Task] = []

    def add(self, *jobs: Job) -> None:
        self.ready += jobs
        self.arrival.set()

    def poll(self) -> list[tuple[int, int]]:
        return [(id(job), 0) for job in self.ready]

    def read(self, fd: int, event: int, now: float) -> None:
        self.readers.append(trio.lowlevel.current_task())
        self.crew.take_on(self.ready.pop(0))

    async def wait(self) -> None:
        self.arrival = trio.Event()
        await self.arrival.wait()


@asynccontextmanager
async def crew(sockets: Sockets | None) -> AsyncGenerator[Crew]:
    poller: Any = sockets
    made = Crew(poller, contextvars.copy_context())
    if sockets is not None:
        sockets.crew = made
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        yield made
        await trio.testing.wait_all_tasks_blocked()
        made.cancel()


async def nothing(scope: trio.CancelScope) -> None:
    pass


async def pass_by(scope: trio.CancelScope) -> None:
    await trio.lowlevel.checkpoint()


async def sleep(scope: trio.CancelScope) -> None:
    await trio.sleep_forever()


async def test_what_does_not_wait_is_done_by_who_reads() -> None:
    """No other task is started or woken for it but the one follower that stands by."""
    sockets = Sockets()
    async with crew(sockets) as made:
        jobs = [Job(nothing) for _ in range(5)]
        sockets.add(*jobs)
        await trio.testing.wait_all_tasks_blocked()
        assert {job.outcome for job in jobs} == {"done"}
        assert {job.task for job in jobs} == set(sockets.readers)
        assert len(set(sockets.readers)) == 1
        assert (made.busy, len(made._idle)) == (0, 1)


async def test_who_waits_loses_the_lead() -> None:
    """The others are read and answered meanwhile; who comes back is one who can be called."""
    sockets, gate = Sockets(), trio.Event()
    async with crew(sockets) as made:
        waiting = [Job(lambda _: gate.wait()) for _ in range(3)]
        quick = [Job(nothing) for _ in range(3)]
        sockets.add(*[job for pair in zip(waiting, quick, strict=True) for job in pair])
        await trio.testing.wait_all_tasks_blocked()
        assert [job.outcome for job in waiting] == ["begun"] * 3
        assert [job.outcome for job in quick] == ["done"] * 3
        assert len({job.task for job in waiting}) == 3
        assert made.busy == 3
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (made.busy, len(made._idle)) == (0, 4)  # one of which has stood by; and one leads
        tasks = {job.task for job in (*waiting, *quick)}
        again = Job(nothing)
        sockets.add(again)
        await trio.testing.wait_all_tasks_blocked()
        assert again.task in tasks


async def test_one_that_only_passes_through_the_scheduler() -> None:
    """A checkpoint is enough to lose the lead, in whatever order the scheduler takes its tasks."""
    for _ in range(50):
        sockets = Sockets()
        async with crew(sockets) as made:
            jobs = [Job(pass_by) for _ in range(20)]
            sockets.add(*jobs)
            await trio.testing.wait_all_tasks_blocked()
            assert {job.outcome for job in jobs} == {"done"}
            late = Job(nothing)
            sockets.add(late)
            await trio.testing.wait_all_tasks_blocked()
            assert (late.outcome, made.busy) == ("done", 0)


async def test_a_context_variable_ends_with_what_has_set_it() -> None:
    """Whether or not that has waited, and whoever does the next."""
    seen: list[str] = []

    async def at_once(_: object) -> None:
        seen.append(variable.get())
        variable.set("mine")

    async def slowly(_: object) -> None:
        await at_once(_)
        await trio.lowlevel.checkpoint()
        assert variable.get() == "mine"

    sockets = Sockets()
    async with crew(sockets) as made:
        for _ in range(3):
            sockets.add(Job(at_once), Job(slowly), Job(at_once), Job(at_once))
            await trio.testing.wait_all_tasks_blocked()
            made.take_on(Job(slowly))
            made.take_on(Job(at_once))
            await trio.testing.wait_all_tasks_blocked()
    assert seen == ["unset"] * 18


async def test_a_value_that_cannot_be_compared() -> None:
    """Counts as one that was changed."""

    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    odd: contextvars.ContextVar[Odd] = contextvars.ContextVar("odd")
    token = odd.set(Odd())
    seen: list[bool] = []

    async def set_another(_: object) -> None:
        seen.append(odd.get() is first)
        odd.set(Odd())

    first, sockets = odd.get(), Sockets()
    async with crew(sockets):
        sockets.add(Job(set_another), Job(set_another))
        await trio.testing.wait_all_tasks_blocked()
    odd.reset(token)
    assert seen == [True, True]


async def test_who_cancels_one_cancels_nothing_else() -> None:
    """Neither what the same task does next, nor the reading; even if it came too late."""
    scopes: list[trio.CancelScope] = []

    async def wait(scope: trio.CancelScope) -> None:
        scopes.append(scope)
        await trio.sleep_forever()

    async def cancelled_at_its_end(scope: trio.CancelScope) -> None:
        scope.cancel()

    sockets = Sockets()
    async with crew(sockets) as made:
        stuck, late = Job(wait), Job(cancelled_at_its_end)
        others = [Job(pass_by) for _ in range(4)]
        sockets.add(stuck, others[0], late, others[1])
        await trio.testing.wait_all_tasks_blocked()
        scopes[0].cancel()
        made.take_on(Job(cancelled_at_its_end))
        made.take_on(others[2])
        sockets.add(others[3])
        await trio.testing.wait_all_tasks_blocked()
        assert (stuck.outcome, late.outcome) == ("cancelled", "done")
        assert [job.outcome for job in others] == ["done"] * 4


async def test_a_leader_that_is_cancelled_before_a_follower_has_come() -> None:
    """In the same turn of the scheduler: somebody leads all the same."""

    async def cancel_and_wait(scope: trio.CancelScope) -> None:
        scope.cancel()
        await trio.sleep_forever()

    for _ in range(50):
        sockets = Sockets()
        async with crew(sockets):
            cut, other = Job(cancel_and_wait), Job(nothing)
            sockets.add(cut, other)
            await trio.testing.wait_all_tasks_blocked()
            assert (cut.outcome, other.outcome) == ("cancelled", "done")


async def test_without_a_poller_tasks_are_kept_for_what_is_asked() -> None:
    """Up to a number."""
    gate = trio.Event()
    async with crew(None) as made:
        jobs = [Job(lambda _: gate.wait()) for _ in range(_crew.IDLE + 10)]
        for job in jobs:
            made.take_on(job)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert {job.outcome for job in jobs} == {"done"}
        assert (made.busy, len(made._idle)) == (0, _crew.IDLE)
        again = Job(nothing)
        made.take_on(again)
        await trio.testing.wait_all_tasks_blocked()
        assert again.task in {job.task for job in jobs}


async def test_cancelled_as_a_whole() -> None:
    """What is being done is cancelled; what is to be done hears of it at its first checkpoint."""
    sockets = Sockets()
    begun = [Job(sleep) for _ in range(2)]
    async with crew(sockets) as made:
        sockets.add(*begun)
        await trio.testing.wait_all_tasks_blocked()
    assert [job.outcome for job in begun] == ["cancelled"] * 2
    assert made.busy == 0


class Endless:
    """A poller that always has one more socket to be read, at which nothing is to be done."""

    def __init__(self, event: int) -> None:
        self.event = event
        self.read_in_turn = [0]

    @property
    def woken(self) -> bool:
        return False

    @woken.setter
    def woken(self, value: bool) -> None:
        self.read_in_turn.append(0)  # a turn begins

    def poll(self) -> list[tuple[int, int]]:
        return [(0, self.event)]

    def read(self, fd: int, event: int, now: float) -> None:
        self.read_in_turn[-1] += 1

    async def wait(self) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize(("event", "most"), [(0, ROUNDS), (LEAVES, ROUNDS / FAREWELL)])
async def test_who_leaves_is_heard_before_others_have_their_turn(event: int, most: float) -> None:
    """So that all handlers are stopped before the first of them cleans up; but not for ever."""
    poller: Any = Endless(event)
    made = Crew(poller, contextvars.copy_context())
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        for _ in range(100):  # turns of the loop, of which each may read
            await trio.lowlevel.checkpoint()
        made.cancel()
    assert poller.read_in_turn[:3] == [most] * 3
