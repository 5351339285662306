"""Time limits for a piece of the server's own work: a read, a write, an answer.

This file owns those small shapes, none of which depends on the state of a request. What limits the
application's code is in `_scope`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar, TypeVarTuple

import trio

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
