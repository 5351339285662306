"""The keys in the order in which they came; this file owns where SCAN goes on, and when a key that is gone is let go.

It knows no values and no clock. Whatever it does costs no more with a million keys than with a thousand, but for moving
a list's pointers: nothing is done to all keys at once, for everybody would wait for whoever was just setting one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

PART: Final = 128
"""Keys that are looked through in one go."""

EACH: Final = 64
"""Bytes that a place takes, beside its key."""

SLACK: Final = 64 * EACH
"""How many may be wasted however few keys there are."""


class Part(NamedTuple):
    """A piece of the roll: for each key its serial number."""

    serials: list[int]
    keys: list[bytes]


class Roll:
    """The roll.

    A dict cannot be entered in the middle, and the cursor must be a number that means something without the server
    remembering it: it is the serial number of the next key. redis-server walks its hash table in an order that survives
    when that grows.

    A key that is deleted keeps its place, and has it again if it comes back before that has been cleaned up. So each
    key stands here once, and how many places are wasted is known.
    """

    __slots__ = ("_firsts", "_gone", "_next", "_parts", "_swept", "_wasted")

    def __init__(self) -> None:
        self._next = 1
        self._parts = [Part([], [])]
        self._firsts = [0]  # no key of the part has a serial below it
        self._gone: set[bytes] = set()
        self._wasted = 0  # bytes
        self._swept = 0

    def __len__(self) -> int:
        """Places, with those that are wasted."""
        return sum(len(part.keys) for part in self._parts)

    def add(self, key: bytes) -> None:
        """Note a key that was not there before."""
        if key in self._gone:
            self._gone.remove(key)
            self._wasted -= EACH + len(key)
            return
        serials, keys = self._parts[-1]
        if len(keys) >= PART:
            serials, keys = part = Part([], [])
            self._parts.append(part)
            self._firsts.append(self._next)
        serials.append(self._next)
        keys.append(key)
        self._next += 1

    def drop(self, key: bytes, left: int) -> None:
        """Note that a key is gone; so many are left.

        Once a fifth of the places is wasted, each key that goes has one part cleaned up. That gives back more than
        one place, so that it is seldom done.
        """
        self._gone.add(key)
        self._wasted += EACH + len(key)
        if self._wasted > left * EACH // 4 + SLACK:
            self._sweep()

    def part(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """About `count` keys from a cursor on, and the cursor behind them; 0 is the beginning, and the end."""
        found: list[bytes] = []
        first = max(0, bisect_right(self._firsts, cursor) - 1)
        for at in range(first, len(self._parts)):
            serials, keys = self._parts[at]
            begin = bisect_left(serials, cursor)
            end = begin + count - len(found)
            found += keys[begin:end]
            if end < len(serials):
                return serials[end], found
        return 0, found

    def _sweep(self) -> None:
        """Take what is gone out of the next part, from the end to the beginning, and the part out if little is left."""
        self._swept = at = (self._swept or len(self._parts)) - 1
        serials, keys = self._parts[at]
        gone = self._gone.intersection(keys)
        if gone:
            self._gone -= gone
            self._wasted -= EACH * len(gone) + sum(map(len, gone))
            left = [(serial, key) for serial, key in zip(serials, keys, strict=True) if key not in gone]
            serials[:] = [serial for serial, _ in left]
            keys[:] = [key for _, key in left]
        if at and len(keys) + len(self._parts[at - 1].keys) <= PART:
            before = self._parts[at - 1]
            before.serials.extend(serials)
            before.keys.extend(keys)
            del self._parts[at], self._firsts[at]
