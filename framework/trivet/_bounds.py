"""Time limits and companions for a piece of the server's own work: a read, a write, an answer, a pump.

This file owns those small shapes, none of which depends on the state of a request. What limits the
application's code is in `_scope`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar, TypeVarTuple

import trio

from ._leaving import as_group, without

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class TooLate(Exception):
    """`bounded` gave up. Internal: the caller says what that means (a 408, a client that is dropped)."""


async def bounded(seconds: float | None, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Await `fn(*args)`, but no longer than `seconds`; `None`: no limit, and no cost.

    Returns:
        What `fn` returned, however late: a chunk that was read must not be lost.

    Raises:
        TooLate: `fn` was cancelled because the time was over.
        trio.Cancelled: a scope further out was cancelled. Never stands for the time being over, so that a
            caller can tell "no progress" from "this request is to stop".
    """
    if seconds is None:
        return await fn(*args)
    with trio.CancelScope(relative_deadline=seconds):
        return await fn(*args)
    raise TooLate(seconds)


async def shielded(seconds: float | None, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> bool:
    """Await `fn(*args)` out of reach of any cancellation, but no longer than `seconds`; `None`: no limit.

    For the answer to a request that was cancelled: the scope around it has fired and would stop the answer as
    well.

    Returns:
        Whether `fn` ran to its end. If not, what it sent is incomplete and the connection cannot be used
        again: otherwise the next answer is taken for this one's.
    """
    with trio.CancelScope(relative_deadline=inf if seconds is None else seconds, shield=True) as scope:
        await fn(*args)
    return not scope.cancelled_caught


async def alongside(background: Callable[[], Awaitable[object]], fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Await `fn(*args)` in this task while `background()` runs in a child, which is cancelled when `fn` is
    done.

    Returns:
        What `fn` returned, also when a cancellation from further out arrived while the child was ending.

    Raises:
        BaseException: what `fn` raised, as it is: no group around it. What `background` raised likewise, and
            `fn` is cancelled then. Both in one group, if both failed.
    """
    failure: BaseException | None = None
    ended: list[T] = []
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(background)
            try:
                ended.append(await fn(*args))
            except BaseException as exc:  # noqa: BLE001  # raised below, not in the nursery's group
                error = exc
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as exc:
        failure = without(exc, trio.Cancelled)
    group = as_group(failure)
    if group is not None and len(group.exceptions) == 1:
        failure = group.exceptions[0]
    if failure is not None:
        # It cancelled `fn`. If somebody further out did so as well, the next checkpoint will say it again.
        error = without(error, trio.Cancelled)
        error = failure if error is None else BaseExceptionGroup("a request and its companion", [error, failure])
    if error is None:
        return ended[0]
    try:
        raise error
    finally:
        del error, failure, group  # a traceback's frame that holds its own exception is a cycle
