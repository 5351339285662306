"""One async function over many items: so many at a time, the results in the order of the items.

This file owns the bound and the order. It does not know where items come from or what the function does; a failure is
the nursery's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, TypeVar

import trio

from ._failures import refuse_called

A = TypeVar("A")
T = TypeVar("T")


async def map_bounded(fn: Callable[[A], Awaitable[T]], items: Iterable[A], *, limit: int) -> list[T]:
    """Call `fn(item)` for each item, at most `limit` at a time, and return the results in the items' order.

        pages = await map_bounded(fetch, urls, limit=8)

    Items are taken out of `items` as there is room, one ahead, so it may be a generator.

    Args:
        fn: an async function of one item.
        items: what it is called with.
        limit: how many calls there are at a time. To share a bound with other requests, let `fn` enter a
            `trio.CapacityLimiter` of the application as well.

    Raises:
        ExceptionGroup: what a call raises, or the iteration; the other calls are cancelled, as in any nursery.
        ValueError: `limit` is not a whole number from 1 on.
        TypeError: `fn` is a coroutine.

    Cancellation: all calls are cancelled, and waited for; the results are lost.
    """
    room = _room("map_bounded", fn, limit)
    results: dict[int, T] = {}

    async def run(index: int, item: A) -> None:
        results[index] = await fn(item)
        room.release()

    async with trio.open_nursery() as nursery:
        for index, item in enumerate(items):
            await room.acquire()
            nursery.start_soon(run, index, item)
    return [results[index] for index in range(len(results))]


def iter_bounded(
    fn: Callable[[A], Awaitable[T]], items: Iterable[A], *, limit: int
) -> AbstractAsyncContextManager[AsyncIterator[T]]:
    """As `map_bounded`, but the results are read one by one, each as soon as it and those before it are there:

        async with iter_bounded(fetch, urls, limit=8) as pages:
            async for page in pages:
                await sink.send(page)

    At most `limit` calls are at work or have a result that is not read yet, so a slow reader holds the calls up, and an
    endless `items` is fine. It is a context manager, because the calls need an owner: leave the block early, by a
    `break` and its end, a `return` or an error, and those at work are cancelled and waited for. One task reads.

    Args:
        fn: as for `map_bounded`.
        items: as for `map_bounded`.
        limit: as for `map_bounded`.

    Raises:
        ExceptionGroup: out of the block, as out of any nursery: what a call raises, the iteration, or the block itself.
            The block is cancelled when a call fails.
        ValueError: `limit` is not a whole number from 1 on.
        TypeError: `fn` is a coroutine.

    Cancellation: all calls are cancelled, and waited for.
    """
    return _iterated(fn, items, _room("iter_bounded", fn, limit))


@asynccontextmanager
async def _iterated(
    fn: Callable[[A], Awaitable[T]], items: Iterable[A], room: trio.Semaphore
) -> AsyncGenerator[AsyncIterator[T]]:
    results = _Results[T](room)

    async def feed() -> None:
        for item in items:
            await room.acquire()
            nursery.start_soon(run, item, results.expect())
        results.finish()

    async def run(item: A, place: _Place[T]) -> None:
        place.value.append(await fn(item))
        place.filled.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        yield results
        nursery.cancel_scope.cancel(reason="no more results are wanted")


class _Place(Generic[T]):
    """Where the result of one item will be."""

    def __init__(self) -> None:
        self.filled = trio.Event()
        self.value: list[T] = []


class _Results(Generic[T]):
    """The results in order: there is always one place more than items, which is the end's once there are no more."""

    def __init__(self, room: trio.Semaphore) -> None:
        self._room = room
        self._places = deque([_Place[T]()])

    def expect(self) -> _Place[T]:
        """Make a place for the next item's result."""
        self._places.append(_Place())
        return self._places[-2]

    def finish(self) -> None:
        """Say that there are no more items."""
        self._places[-1].filled.set()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        place = self._places[0]
        await place.filled.wait()
        if not place.value:
            raise StopAsyncIteration
        self._places.popleft()
        self._room.release()
        return place.value.pop()


def _room(name: str, fn: object, limit: object) -> trio.Semaphore:
    refuse_called(name, fn)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(
            f"{name}(..., limit={limit!r}): the limit is not a whole number from 1 on.\n"
            f"Write  {name}(fetch, urls, limit=8)"
        )
    return trio.Semaphore(limit, max_value=limit)
