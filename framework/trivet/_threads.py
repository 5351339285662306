"""Which worker threads plain functions run in, and who waits for them.

This file owns that: the application's limiter bounds handlers and providers; what ends something never waits behind
them. A thread cannot be stopped, so nobody leaves one behind: a cancellation is felt when it has returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar

import trio

T = TypeVar("T")

EXITS: Final = trio.CapacityLimiter(math.inf)
"""What the second halves of `@contextmanager` providers run under: they must not wait for a slot that handlers hold.

There are never more of them than open requests; with a bound they would starve behind slow handlers until their grace
is over, and a transaction would be left to the garbage collector. Files are closed under it as well."""


async def in_thread(fn: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    """Run `fn` in a worker thread and wait for it even when cancelled: a thread cannot be stopped, and its slot of the
    limiter stays taken until it returns. `trio.from_thread.check_cancelled()` lets `fn` stop by itself."""
    return await trio.to_thread.run_sync(fn, limiter=limiter)


class InThread:
    """A `@contextmanager` whose two halves run in worker threads (not always the same one)."""

    __slots__ = ("_limiter", "_manager")

    def __init__(self, manager: AbstractContextManager[Any], limiter: trio.CapacityLimiter) -> None:
        self._manager = manager
        self._limiter = limiter

    async def __aenter__(self) -> Any:
        return await in_thread(self._manager.__enter__, self._limiter)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return bool(await in_thread(partial(self._manager.__exit__, kind, error, traceback), EXITS))
