"""Who reads and who answers: a leader and its followers.

This file owns the tasks of the HTTP/1.1 connections. One task at a time, the leader, waits for all sockets and reads
them. What needs a task, mostly a request for the application, it does itself, there and then: an application that
answers without waiting costs no switch of tasks, which would be a tenth of such a request. While it does, a follower
is on its way, in the scheduler's next turn. If the application waits for something, the follower finds the lead
vacant and takes it; if not, it goes back to sleep. Who has lost the lead becomes a follower when its work is over.

    leader: poll, read -> work -> poll, read -> work that waits ...................... -> follower
    follower:             called, not needed -> called, the lead is vacant: poll, read -> work -> ...

The pattern is Leader/Followers (Schmidt, O'Ryan, Kircher and Pyarali, "Pattern-Oriented Software Architecture",
volume 2, 2000). Without a poller, nobody leads: connections have tasks of their own that read, and ask for others.

It knows neither HTTP nor connections: `Work` is all it sees of them.
"""

from __future__ import annotations

import contextvars
from typing import Final, Protocol

import trio
from trio.lowlevel import Abort

from ._poller import LEAVES, ROUNDS, Poller

IDLE: Final = 1000
"""Followers that are kept: waking one takes half the time of starting one, and asleep it takes 3 KiB."""

AT_ONCE: Final = 32
"""Requests that the leader takes to the application before other tasks have their turn."""


FAREWELL: Final = 1 / 16
"""What a look at the sockets counts for if it finds that clients leave, for that takes little time."""


class Work(Protocol):
    """What may have to wait."""

    async def work(self, scope: trio.CancelScope) -> None:
        """Do it. Raises nothing but what cancels it.

        Args:
            scope: cancels it, and nothing else, until it returns.
        """
        ...


class _Hand:
    """One task of the crew."""

    __slots__ = ("task", "work")

    def __init__(self, work: Work | None) -> None:
        self.work = work  # to be done; None: it is called to lead
        self.task: trio.lowlevel.Task | None = None  # once it runs


class Crew:
    """The tasks.

    Args:
        poller: None where there is none.
        context: of context variables, in which all work begins.
    """

    def __init__(self, poller: Poller | None, context: contextvars.Context) -> None:
        self._poller = poller
        self._context = context
        self._idle: dict[_Hand, None] = {}  # parked; the last one is called first, for it is warm
        self._leader: _Hand | None = None
        self._vacant = poller is not None
        """The leader's work waits for something, or there is no leader: whoever comes by takes the lead."""
        self._called: _Hand | None = None  # a follower on its way
        self._reading = False  # the leader is in the middle of it: what it finds to do, it does itself
        self._due: Work | None = None  # found just now
        self._events: list[tuple[int, int]] = []  # still to be read, the next one last
        self._now = 0.0  # on Trio's clock, when they were polled
        self._polled = 0.0  # how often, in this turn
        self._left = AT_ONCE  # of what may be done in this turn
        self._nursery: trio.Nursery | None = None
        self.busy = 0
        """How many do something that was found, or are about to."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as self._nursery:
            if self._poller is not None:
                self._spawn(_Hand(None))
            task_status.started()
            await trio.sleep_forever()

    def cancel(self) -> None:
        """Cancel all work, and read no more."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    def take_on(self, work: Work) -> None:
        """Have `work` done, once, from the next possible moment on."""
        self.busy += 1
        if self._reading and self._due is None:
            self._due = work
        elif self._idle:
            hand = self._idle.popitem()[0]
            hand.work = work
            self._resume(hand)
        else:
            self._spawn(_Hand(work))

    # The tasks -------------------------------------------------------------------------------------------------------

    def _call(self) -> None:
        """Have a follower look, in the scheduler's next turn, whether it is to lead."""
        if self._idle:
            self._called = self._idle.popitem()[0]
            self._resume(self._called)
        else:
            self._called = _Hand(None)
            self._spawn(self._called)

    def _spawn(self, hand: _Hand) -> None:
        assert self._nursery is not None
        # In our context: who asks may be in that of a request.
        self._context.copy().run(self._nursery.start_soon, self._live, hand)

    def _resume(self, hand: _Hand) -> None:
        assert hand.task is not None
        trio.lowlevel.reschedule(hand.task)

    async def _live(self, hand: _Hand) -> None:
        hand.task = trio.lowlevel.current_task()
        while True:
            with trio.CancelScope() as scope:
                while not scope.cancel_called:  # by who meant the work before
                    if hand is self._called:
                        self._called = None
                    work = hand.work
                    if work is not None:
                        hand.work = None
                    elif self._leader is hand or self._vacant:
                        work = self._lead(hand)
                        if work is None:
                            await self._rest()
                            continue
                    elif len(self._idle) < IDLE:
                        await self._park(hand)
                        continue
                    else:
                        return
                    # Nothing of the leading is on the stack, for it would stay there as long as the work waits.
                    try:
                        await work.work(scope)
                    finally:
                        del work
                        self.busy -= 1
                    if self._stained():
                        await self._clean(hand)

    async def _park(self, hand: _Hand) -> None:
        assert hand.task is not None
        hand.task.context = self._context.copy()  # in force when it is resumed
        self._idle[hand] = None

        def unpark(_: object) -> Abort:
            self._idle.pop(hand, None)
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(unpark)

    # Leading ---------------------------------------------------------------------------------------------------------

    def _lead(self, hand: _Hand) -> Work | None:
        """Read, until there is something to be done, which is returned, or it is the turn of others."""
        poller = self._poller
        assert poller is not None
        self._vacant = False
        if self._leader is not hand:
            self._leader = hand
            self._events = []  # from before the work: descriptors may mean something else now
        events, now, read = self._events, self._now, poller.read
        self._reading = True
        while True:
            while events:
                fd, event = events.pop()
                read(fd, event, now)
                due = self._due
                if due is not None:
                    self._due = None
                    self._reading = False
                    self._left -= 1
                    self._vacant = True
                    if self._called is None:
                        self._call()
                    return due
            if poller.woken or self._left <= 0 or self._polled >= ROUNDS:
                break
            self._now = now = trio.current_time()
            events = self._events = poller.poll()
            if not events:
                break
            events.reverse()  # the first to come is the first to be read
            # When thousands leave at once, all handlers are to be stopped before the first of them cleans up.
            self._polled += FAREWELL if events[-1][1] & LEAVES else 1
        self._reading = False
        return None

    async def _rest(self) -> None:
        """Let others have their turn; if nothing was found in this one, until there is something to be read."""
        poller = self._poller
        assert poller is not None
        polled, self._polled = self._polled, 0.0
        self._left = AT_ONCE
        poller.woken = False
        if polled:
            # While there is something to do the descriptor need not be waited for, which takes two system calls.
            await trio.lowlevel.checkpoint()
        else:
            await poller.wait()

    # Context variables -----------------------------------------------------------------------------------------------

    def _stained(self) -> bool:
        """Whether the work has set a context variable, which the next must not see."""
        try:
            return contextvars.copy_context() != self._context  # nearly always the same object underneath
        except Exception:  # noqa: BLE001 - of a value's `__eq__`
            return True

    async def _clean(self, hand: _Hand) -> None:
        assert hand.task is not None
        hand.task.context = self._context.copy()  # in force from this task's next step on
        await trio.lowlevel.checkpoint()
