"""Several calls and one deadline: what is there by then, what has failed, and what is missing.

This file owns the sorting of calls into these three. It does not know what a page does without one of them.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from ._failures import kept, log_failures, refuse_called, stop

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Partial(Generic[K, T]):
    """What has become of several calls by a deadline; each is in one of the three, in the order of the calls.

    Attributes:
        results: what was returned.
        failed: what was raised. Bugs are in it as well as what you expect: look at it, or log it.
        missing: those that had not ended, and were cancelled.
    """

    results: dict[K, T]
    failed: dict[K, Exception]
    missing: tuple[K, ...]

    @property
    def complete(self) -> bool:
        """Whether all calls have returned."""
        return not self.failed and not self.missing


async def partial_at(deadline: float, calls: Mapping[K, Callable[[], Awaitable[T]]]) -> Partial[K, T]:
    """Run all calls side by side until the deadline, and return what there is then; or before, if all have ended.

        page = await partial_at(request.deadline - 0.1, {"news": partial(fetch, "news"), "ads": partial(fetch, "ads")})

    Args:
        deadline: on Trio's clock (`trio.current_time()`), as for `trio.move_on_at`.
        calls: async functions without arguments, by whatever names them in the result.

    Raises:
        BaseExceptionGroup: only what is no failure of a call: KeyboardInterrupt, SystemExit.
        TypeError: a coroutine is among the functions.

    The deadline surrounds each call, so that `trio.current_effective_deadline()`, which a client tells whom it asks, is
    this one unless another is nearer. The failure of one call leaves the others alone. One that returns although it was
    cancelled has returned, and one that raises then has failed.

    Cancellation: all calls are cancelled, and waited for; then failures are logged at WARNING
    (`trivet.contrib.concurrency`). So it is when a deadline outside, the request's, is earlier than this one: there is
    no partial result. From this deadline on there is one, however long the calls that were late take to end.
    """
    refuse_called("partial_at", *calls.values())
    return await _partial(deadline, calls)


async def partial_after(seconds: float, calls: Mapping[K, Callable[[], Awaitable[T]]]) -> Partial[K, T]:
    """As `partial_at`, with a deadline so many seconds from now.

    page = await partial_after(0.5, {"news": partial(fetch, "news"), "ads": partial(fetch, "ads")})
    """
    refuse_called("partial_after", *calls.values())
    return await _partial(trio.current_time() + seconds, calls)


async def _partial(deadline: float, calls: Mapping[K, Callable[[], Awaitable[T]]]) -> Partial[K, T]:
    results: dict[K, T] = {}
    failed: dict[K, Exception] = {}
    all_ended = trio.Event()

    async def run(key: K, fn: Callable[[], Awaitable[T]]) -> None:
        # Around each call as well, so that it knows how long it has: a client tells that to whom it asks.
        with trio.CancelScope(deadline=deadline), kept(lambda error: failed.__setitem__(key, error)):
            results[key] = await fn()
        if len(results) + len(failed) == len(calls):
            all_ended.set()

    try:
        async with trio.open_nursery() as nursery:
            for key, fn in calls.items():
                nursery.start_soon(run, key, fn)
            with trio.move_on_at(deadline if calls else -math.inf):
                await all_ended.wait()
            stop(nursery.cancel_scope, "the deadline of a partial result has passed")
    except BaseException:
        log_failures("a call failed, and its result was not waited for", failed.values())
        raise
    return Partial(
        {key: results[key] for key in calls if key in results},
        {key: failed[key] for key in calls if key in failed},
        tuple(key for key in calls if key not in results and key not in failed),
    )
