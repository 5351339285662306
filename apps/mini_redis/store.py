"""One database: keys, their values, and until when they are; this file owns what a change is, and who hears of it.

It knows no command, no client and no clock but the one that it is given, which counts milliseconds of the world's time:
a log that is read after a restart must mean the same moments. There is no lock. Whatever has no `await` in it runs
alone in Trio, so a command is atomic because it is a plain function; tokio's mini-redis needs a mutex for the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Final, Protocol, TypeAlias

Clock: TypeAlias = Callable[[], int]
"""Milliseconds since 1970."""

Record: TypeAlias = Callable[[int, tuple[bytes, ...]], None]
"""Takes a change, as a command that repeats it, and the number of the database."""

RecordAll: TypeAlias = Callable[[int, list[bytes], list[bytes]], None]
"""Takes keys that were set, and their values."""

SLACK: Final = 64
"""How much rubbish is left lying however little there is beside it."""


class Watcher(Protocol):
    """Who has said WATCH."""

    def touched(self) -> None:
        """A key has changed."""


class Store:
    """A database.

    Args:
        number: which, from 0.
        clock: what time it is.

    Attributes:
        record: what each change is told; `None` while nobody keeps a log, or while it is being read.
        record_all: what several are told, then.
        earlier: called when a key is to expire before all others.
        changes: how many there have been. Who shows the keys looks at it now and then.
        expired: how many keys have.
        until: when keys expire, of those that do.
        values: all of them, with those that have expired; to be read, and only where `until` is looked at as well.
        watchers: who watches which key.
    """

    __slots__ = (
        "_heap",
        "_roll",
        "changes",
        "clock",
        "earlier",
        "expired",
        "number",
        "record",
        "record_all",
        "until",
        "values",
        "watchers",
    )

    def __init__(self, number: int, clock: Clock) -> None:
        self.number = number
        self.clock = clock
        self.record: Record | None = None
        self.record_all: RecordAll | None = None
        self.earlier: Callable[[], None] = _nobody
        self.changes = 0
        self.expired = 0
        self.until: dict[bytes, int] = {}
        self.watchers: dict[bytes, set[Watcher]] = {}
        self.values: dict[bytes, bytes] = {}
        self._heap: list[tuple[int, bytes]] = []  # of `until`, with rubbish where that has changed
        self._roll = Roll()

    def __len__(self) -> int:
        """With those that have expired and nobody has noticed, as redis-server counts."""
        return len(self.values)

    # ---- reading

    def get(self, key: bytes) -> bytes | None:
        """The value, unless there is none (any more)."""
        if key in self.until and self.until[key] <= self.clock():
            self._expire(key)
            return None
        return self.values.get(key)

    def present(self) -> Iterator[bytes]:
        """Those that are there now. Nothing may change while it is gone through."""
        now = self.clock()
        until = self.until
        return (key for key in self.values if key not in until or until[key] > now)

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """About `count` keys, and the cursor of the next ones; 0 is the beginning, and the end."""
        cursor, keys = self._roll.part(cursor, count, self.values)
        return cursor, [key for key in keys if self.get(key) is not None]

    # ---- changing

    def put(self, key: bytes, value: bytes, until: int | None = None, keep: bool = False) -> None:
        """Set a key, without an end, with this one, or with the one that it has."""
        if key not in self.values:
            self._roll.add(key, self.values)
        self.values[key] = value
        if until is not None:
            self._set_until(key, until)
        elif self.until and not keep:
            self.until.pop(key, None)
        self.changes += 1
        if self.watchers:
            self._touch(key)
        if self.record is not None:
            if until is not None:
                self.record(self.number, (b"SET", key, value, b"PXAT", b"%d" % until))
            elif keep and key in self.until:
                self.record(self.number, (b"SET", key, value, b"KEEPTTL"))
            else:
                self.record(self.number, (b"SET", key, value))

    def put_all(self, keys: list[bytes], values: list[bytes]) -> bool:
        """Set several keys, without an end, if none has one, and nobody watches; whether that has been done."""
        if self.until or self.watchers:
            return False
        known = self.values
        for key, value in zip(keys, values, strict=True):
            if key not in known:
                self._roll.add(key, known)
            known[key] = value
        self.changes += len(keys)
        if self.record_all is not None:
            self.record_all(self.number, keys, values)
        return True

    def append(self, key: bytes, more: bytes) -> int:
        """Set what the value ends with; returns its length. It is recorded as what it is, not as the whole value."""
        value = (self.get(key) or b"") + more  # first of all, for if the old one has expired, that is recorded
        record, self.record = self.record, None
        try:
            self.put(key, value, keep=True)
        finally:
            self.record = record
        if record is not None:
            record(self.number, (b"APPEND", key, more))
        return len(value)

    def remove(self, key: bytes) -> bool:
        """Delete a key; whether it was there."""
        if self.get(key) is None:
            return False
        self._drop(key)
        return True

    def expire(self, key: bytes, until: int) -> None:
        """Give a key that is there an end; one that is past deletes it."""
        if until <= self.clock():
            self._drop(key)
            return
        self._set_until(key, until)
        self._changed(key, b"PEXPIREAT", key, b"%d" % until)

    def persist(self, key: bytes) -> bool:
        """Take its end from a key; whether it had one."""
        if self.get(key) is None or key not in self.until:
            return False
        del self.until[key]
        self._changed(key, b"PERSIST", key)
        return True

    def clear(self) -> None:
        """Delete all."""
        for key in [key for key in self.watchers if key in self.values]:
            self._touch(key)
        self.values.clear()
        self.until.clear()
        self._heap.clear()
        self._roll = Roll()
        self.changes += 1
        if self.record is not None:
            self.record(self.number, (b"FLUSHDB",))

    # ---- time

    def next_end(self) -> int | None:
        """When the next key expires, if one does."""
        while self._heap:
            end, key = self._heap[0]
            if self.until.get(key) == end:
                return end
            heappop(self._heap)
        return None

    def purge(self, limit: int) -> int:
        """Delete what has expired, `limit` keys at most; returns how many."""
        now = self.clock()
        count = 0
        while count < limit and (end := self.next_end()) is not None and end <= now:
            self._expire(self._heap[0][1])
            count += 1
        return count

    def _set_until(self, key: bytes, until: int) -> None:
        self.until[key] = until
        first = self._heap[0][0] if self._heap else None
        heappush(self._heap, (until, key))
        if len(self._heap) > 2 * len(self.until) + SLACK:
            self._heap = [(end, name) for name, end in self.until.items()]
            heapify(self._heap)
        if first is None or until < first:
            self.earlier()

    def _expire(self, key: bytes) -> None:
        self.expired += 1
        self._drop(key)

    def _drop(self, key: bytes) -> None:
        del self.values[key]
        self.until.pop(key, None)
        self._changed(key, b"DEL", key)

    def _changed(self, key: bytes, *command: bytes) -> None:
        self.changes += 1
        if self.watchers:
            self._touch(key)
        if self.record is not None:
            self.record(self.number, command)

    def _touch(self, key: bytes) -> None:
        for watcher in self.watchers.get(key, ()):
            watcher.touched()


class Roll:
    """The keys in the order in which they came, so that SCAN can go on where it stopped.

    A dict cannot be entered in the middle, and the cursor must be a number that means something without the server
    remembering it: it is the serial number of the next key. redis-server walks its hash table in an order that survives
    when that grows; here a key that is deleted stays on the roll until there are too many of those.
    """

    __slots__ = ("_keys", "_next", "_serials")

    def __init__(self) -> None:
        self._next = 1
        self._keys: list[bytes] = []
        self._serials: list[int] = []

    def add(self, key: bytes, alive: dict[bytes, bytes]) -> None:
        """Note a key that was not there before."""
        if len(self._keys) > 2 * len(alive) + SLACK:
            self._forget(alive)
        self._keys.append(key)
        self._serials.append(self._next)
        self._next += 1

    def part(self, cursor: int, count: int, alive: dict[bytes, bytes]) -> tuple[int, list[bytes]]:
        """The keys from a cursor on, and the cursor behind them."""
        begin = bisect_left(self._serials, cursor)
        end = begin + count
        following = self._serials[end] if end < len(self._serials) else 0
        return following, list(dict.fromkeys(key for key in self._keys[begin:end] if key in alive))

    def _forget(self, alive: dict[bytes, bytes]) -> None:
        last = {key: serial for key, serial in zip(self._keys, self._serials, strict=True) if key in alive}
        ordered = sorted(last.items(), key=lambda pair: pair[1])
        self._keys = [key for key, _ in ordered]
        self._serials = [serial for _, serial in ordered]


def _nobody() -> None:
    pass
