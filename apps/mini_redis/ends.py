"""Which keys expire next; this file owns the order of their ends, and when an end that was put off is forgotten.

It knows no values and no clock. Whatever it does costs no more with a million keys than with a thousand, but for a
heap's logarithm: nothing is done to all of them at once, for everybody would wait for whoever was just setting one.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final, TypeAlias

End: TypeAlias = tuple[int, bytes]
"""A moment, and the key that expires then."""

SLACK: Final = 64
"""How many may be rubbish however few keys expire."""

STEP: Final = 4
"""Ends that are looked through with each that is added. There are twice as many as keys: half as often as a key is
given an end it is to be done, until there is no rubbish left."""


class Ends:
    """The ends of keys.

    An end cannot be found in a heap, so what was put off stays in it, as rubbish. Once that is as much as there
    are keys, what counts moves to another heap, a few with each end that is added.

    Args:
        counting: of each key that expires, the moment that counts. It is known by what it is, not by what it equals: a
            key that is given one end, then another, and then the first again, has two that are equal. As a dict of
            plain numbers it is none of the garbage collector's business, which looks through all others.
    """

    __slots__ = ("_counting", "_heap", "_rest")

    def __init__(self, counting: dict[bytes, int]) -> None:
        self._counting = counting
        self._heap: list[End] = []
        self._rest: list[End] = []  # a heap as well, of what is to be looked through

    def __len__(self) -> int:
        """How many there are, with the rubbish."""
        return len(self._heap) + len(self._rest)

    def add(self, key: bytes, until: int) -> bool:
        """Give a key an end; whether it is before all others."""
        heap = self._earlier()
        earliest = not heap or until < heap[0][0]
        self._counting[key] = until
        heappush(self._heap, (until, key))
        if self._rest:
            self._move()
        elif len(self._heap) > 2 * len(self._counting) + SLACK:
            # The list that is empty now, and no new one: the garbage collector looks through what is new most often.
            self._heap, self._rest = self._rest, self._heap
        return earliest

    def first(self, limit: int) -> int | None:
        """Until when no key expires; `None`: none does. It takes so much rubbish out of the way at most, and if that is
        not enough, the moment is too early."""
        for _ in range(limit):
            heap = self._earlier()
            if not heap:
                return None
            if self._counts(heap[0]):
                break
            heappop(heap)
        heap = self._earlier()
        return heap[0][0] if heap else None

    def over(self, now: int, limit: int) -> tuple[int, list[bytes]]:
        """Take out so many ends at most that have come; how many there were, and the keys for which they counted."""
        keys: list[bytes] = []
        for taken in range(limit):
            heap = self._earlier()
            if not heap or heap[0][0] > now:
                return taken, keys
            end = heappop(heap)
            if self._counts(end):
                keys.append(end[1])
        return limit, keys

    def clear(self) -> None:
        """Forget all; `counting` is the caller's."""
        self._heap.clear()
        self._rest.clear()

    def _counts(self, end: End) -> bool:
        return self._counting.get(end[1]) is end[0]

    def _earlier(self) -> list[End]:
        """The heap that has the first end of both; an empty one if there is none."""
        heap, rest = self._heap, self._rest
        return rest if rest and (not heap or rest[0] < heap[0]) else heap

    def _move(self) -> None:
        heap, rest, counting = self._heap, self._rest, self._counting
        for _ in range(min(STEP, len(rest))):
            end = rest.pop()  # without its last element, a heap is still one
            if counting.get(end[1]) is end[0]:
                heappush(heap, end)
