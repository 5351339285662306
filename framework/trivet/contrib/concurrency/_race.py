"""The first call of several that succeeds.

This file owns who wins and what becomes of the others: they are cancelled and waited for. It does not know what the
calls do; `_failures` says which errors count as failures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar, TypeVarTuple

import trio

from ._budget import HedgeBudget
from ._failures import kept, log_failures, refuse_called, stop

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Race(Generic[T]):
    """Calls side by side, in a nursery that is left when one has succeeded, or all have failed.

    Entered, it starts calls; left, it has waited for all of them, and failures that nobody takes out are logged.
    """

    def __init__(self) -> None:
        self.won: list[T] = []
        """The value of the first that succeeded, as the only item."""
        self.failures: list[Exception] = []
        """Of those that failed, in that order."""
        self.ended = trio.Event()
        """One of them has ended, either way."""

    async def run(self, scope: trio.CancelScope, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> None:
        """Run one call; if it succeeds, the others in `scope` are cancelled."""
        with kept(self.failures.append):
            value = await fn(*args)
            if not self.won:
                self.won.append(value)
                stop(scope, "another call was first")
        self.ended.set()

    def __enter__(self) -> Race[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        log_failures("a call failed beside others", self.failures)


async def first_of(*fns: Callable[[], Awaitable[T]]) -> T:
    """Run all of them, and return the value of the first that succeeds; the others are cancelled and waited for.

        await first_of(partial(fetch, mirror_a), partial(fetch, mirror_b))

    A value that comes too late is dropped, so a call should not return what has to be closed: let it read the answer,
    and close the connection itself.

    Args:
        fns: async functions without arguments, as `functools.partial` makes them.

    Raises:
        ExceptionGroup: all have failed; each failure is in it, in the order in which they came. A handler may let it
            escape: of several errors a bug decides the response before a 5xx, and that before a 4xx.
        ValueError: there are none.
        TypeError: a coroutine is among them.

    Failures beside a success are logged at WARNING (`trivet.contrib.concurrency`).

    Cancellation: all are cancelled, and waited for. If one has succeeded before, its value is returned.
    """
    refuse_called("first_of", *fns)
    if not fns:
        raise ValueError(
            "first_of() was given nothing to run.\nGive it async functions:  await first_of(partial(fetch, a), ...)\n"
            "or, of a list,  await first_of(*calls)  when there is at least one."
        )
    with Race[T]() as race:
        async with trio.open_nursery() as nursery:
            for fn in fns:
                nursery.start_soon(race.run, nursery.cancel_scope, fn)
        if not race.won:
            failures, race.failures = race.failures, []
            raise ExceptionGroup(f"none of {len(fns)} calls succeeded", failures)
        return race.won[0]


async def hedged(fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, after: float, budget: HedgeBudget | None = None) -> T:
    """Call `fn(*args)`, and once more if that has not ended `after` seconds later; the first to succeed counts.

    "Hedged requests" of Dean and Barroso, "The Tail at Scale" (2013): of an answer that is late, a second try is mostly
    early. It is for calls that may be made twice, such as a GET, and it is no retry: what fails before `after` has
    failed.

    Args:
        fn: an async function; `functools.partial` gives it keyword arguments. What it returns should not have to be
            closed: one of two values is dropped.
        args: its arguments.
        after: seconds; a little more than most calls take, such as their 95th percentile.
        budget: shared by the calls of one service, so that second tries do not double its load when all of it is slow;
            `None`: each call may have one.

    Raises:
        Exception: what `fn` raises, as if it had been called plainly, never in a group of ours. If both fail, it is the
            failure that came first; the other is logged at WARNING (`trivet.contrib.concurrency`), as is one beside a
            success.
        ValueError: `after` is not a number of seconds.
        TypeError: `fn` is a coroutine.

    Cancellation: both are cancelled, and waited for. If one has succeeded before, its value is returned.
    """
    refuse_called("hedged", fn)
    if not after >= 0:
        raise ValueError(f"after={after!r} is not a number of seconds.\nWrite  after=0.1")
    if budget is not None:
        budget.earn()
    with Race[T]() as race:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(race.run, nursery.cancel_scope, fn, *args)
            with trio.move_on_after(after):
                await race.ended.wait()
            if not race.ended.is_set() and (budget is None or budget.spend()):
                nursery.start_soon(race.run, nursery.cancel_scope, fn, *args)
        if not race.won:
            raise race.failures.pop(0)
        return race.won[0]
