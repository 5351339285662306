"""Who reads and who answers: a leader and its followers.

This file owns the tasks of the HTTP/1.1 connections. One task at a time, the leader, waits for all sockets and reads
them. What needs a task, mostly a request for the application, it does itself, there and then: an application that
answers without waiting costs no switch of tasks, which would be a third of such a request. While it does, a follower
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

from ._poller import ROUNDS, Poller

IDLE: Final = 1000
"""Followers that are kept: waking one takes a third of the time of starting one, and sleeping it takes 3 KiB."""


AT_ONCE: Final = 32
"""Requests that the leader takes to the application before other tasks have their turn."""


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
        self._left = 0  # of `AT_ONCE`
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
                    if hand.work is not None:
                        work, hand.work = hand.work, None
                        try:
                            await work.work(scope)
                        finally:
                            self.busy -= 1
                    elif self._vacant:
                        self._vacant = False
                        self._leader = hand
                        await self._lead(hand, scope)
                    elif len(self._idle) < IDLE:
                        await self._park(hand)
                        continue
                    else:
                        return
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

    async def _lead(self, hand: _Hand, scope: trio.CancelScope) -> None:
        """Read, and do what is found, until another has taken the lead, or `scope` is cancelled."""
        poller = self._poller
        assert poller is not None
        poll = poller.poll
        try:
            while True:
                events = poll()
                if not events:
                    await poller.wait()
                    continue
                self._left = AT_ONCE
                for _ in range(ROUNDS):
                    if not await self._serve(events, hand, scope):
                        return
                    if poller.woken or self._left <= 0:
                        poller.woken = False
                        break
                    events = poll()
                    if not events:
                        break
                # While there is something to do the descriptor need not be waited for, which takes two system calls.
                await trio.lowlevel.checkpoint()
        finally:
            self._reading = False
            if self._leader is hand:
                self._vacant = True

    async def _serve(self, events: list[tuple[int, int]], hand: _Hand, scope: trio.CancelScope) -> bool:
        """Read what is ready; whether to go on. What is left then the next leader finds ready still."""
        assert self._poller is not None
        read, now = self._poller.read, trio.current_time()
        self._reading = True
        for fd, event in events:
            read(fd, event, now)
            work = self._due
            if work is not None:
                self._due = None
                self._reading = False
                if self._called is None:
                    self._call()
                self._vacant = True
                self._left -= 1
                try:
                    await work.work(scope)
                finally:
                    self.busy -= 1
                if self._leader is not hand:
                    return False
                self._vacant = False
                if scope.cancel_called:
                    return False
                if self._stained():
                    await self._clean(hand)
                self._reading = True
        self._reading = False
        return True

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
