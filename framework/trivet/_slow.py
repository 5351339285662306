"""A bounded queue for one consumer, and what is done when the consumer is slower than what comes.

This file owns the four policies and what is counted. It must not know what the items are, who the consumer is, or how
long a producer may be kept waiting: who waits bounds that.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, Literal, TypeAlias, TypeVar, get_args

import trio

T = TypeVar("T")

Policy: TypeAlias = Literal["block", "drop_oldest", "drop_new", "disconnect"]
"""What becomes of an item that finds the queue full. `block`: its producer waits. `drop_oldest`: it takes the place of
the oldest, for those who want the latest. `drop_new`: it is lost, for those who want no gap in the middle.
`disconnect`: the consumer is given up; one that comes back and asks for what it missed loses nothing."""

POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)


class SlowQueue(Generic[T]):
    """A queue of at most `size` items between any number of producers and one consumer.

    Args:
        size: items, at least 1.
        policy: what becomes of an item when there are `size` already.
    """

    __slots__ = ("_closed", "_consumer", "_items", "_producers", "dropped", "overflowed", "policy", "size", "taken")

    size: int
    policy: Policy

    taken: int
    """Items that the queue has accepted, those included that `drop_oldest` has thrown away later."""

    dropped: int
    """Items that the consumer has not had and never will."""

    overflowed: bool
    """It was closed because an item found it full, under `disconnect`."""

    def __init__(self, size: int, policy: Policy) -> None:
        self.size = size
        self.policy = policy
        self.taken = 0
        self.dropped = 0
        self.overflowed = False
        self._items: deque[T] = deque()
        self._closed = False
        self._consumer = trio.lowlevel.ParkingLot()
        self._producers = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T) -> bool:
        """Put an item without waiting: for who has thousands of queues to fill.

        Returns:
            Whether the item was taken. Not so: it was dropped, and counted; or, under `disconnect`, the queue has
            overflowed with it, and is closed, what it held is dropped too.

        Raises:
            trio.WouldBlock: it is full, under `block`: call `put`.
            trio.ClosedResourceError: it is closed.
        """
        if self._closed:
            raise trio.ClosedResourceError
        if len(self._items) >= self.size:
            if self.policy == "block":
                raise trio.WouldBlock
            self.dropped += 1
            if self.policy == "drop_new":
                return False
            if self.policy == "disconnect":
                self.overflowed = True
                self.discard()
                return False
            self._items.popleft()
        self.taken += 1
        self._items.append(item)
        if self._consumer:
            self._consumer.unpark()
        return True

    async def put(self, item: T) -> bool:
        """Put an item; under `block` it waits while the queue is full.

        Returns:
            As `offer`.

        Raises:
            trio.ClosedResourceError: it is closed, or was closed meanwhile.

        Cancellation: a checkpoint; the item has not been put then.
        """
        await trio.lowlevel.checkpoint()
        while self.policy == "block" and len(self._items) >= self.size and not self._closed:
            await self._producers.park()
        return self.offer(item)

    async def get(self) -> T:
        """The next item; waits for one.

        Raises:
            trio.EndOfChannel: it is closed, and what was in it has been taken; see `overflowed`.

        Cancellation: a checkpoint; no item is lost.
        """
        await self.ready()
        return self.take()

    async def ready(self) -> None:
        """Wait until there is something to `take`: for a consumer that must wait for something else too.

        Raises:
            trio.EndOfChannel: as `get`.

        Cancellation: a checkpoint.
        """
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._closed:
                raise trio.EndOfChannel
            await self._consumer.park()

    def take(self) -> T:
        """The next item, which must be there."""
        item = self._items.popleft()
        if self._producers:
            self._producers.unpark()
        return item

    def take_all(self) -> list[T]:
        """What is in it, without waiting."""
        items = list(self._items)
        self._items.clear()
        self._producers.unpark_all()
        return items

    def close(self) -> None:
        """Take no more items; the consumer has what is left. Idempotent."""
        self._closed = True
        self._consumer.unpark_all()
        self._producers.unpark_all()

    def discard(self) -> None:
        """Close it, and drop what is left: the consumer is gone."""
        self.dropped += len(self._items)
        self._items.clear()
        self.close()
