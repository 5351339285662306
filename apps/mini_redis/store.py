"""One database: keys, their values, and until when they are; this file owns what a change is, and who hears of it.

It knows no command, no client and no clock but the one that it is given, which counts milliseconds of the world's time:
a log that is read after a restart must mean the same moments. There is no lock. Whatever has no `await` in it runs
alone in Trio, so a command is atomic because it is a plain function; tokio's mini-redis needs a mutex for the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeAlias

from .ends import Ends
from .roll import Roll

Clock: TypeAlias = Callable[[], int]
"""Milliseconds since 1970."""

Record: TypeAlias = Callable[[int, tuple[bytes, ...]], None]
"""Takes a change, as a command that repeats it, and the number of the database."""

RecordAll: TypeAlias = Callable[[int, list[bytes], list[bytes]], None]
"""Takes keys that were set, and their values."""

LOOK: Final = 100
"""Ends that were put off of which so many are forgotten in one go."""


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
        "_ends",
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
        self._ends = Ends(self.until)
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
        cursor, keys = self._roll.part(cursor, count)
        return cursor, [key for key in keys if self.get(key) is not None]

    # ---- changing

    def put(self, key: bytes, value: bytes, until: int | None = None, keep: bool = False) -> None:
        """Set a key, without an end, with this one, or with the one that it has."""
        if key not in self.values:
            self._roll.add(key)
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
                self._roll.add(key)
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
        self._ends.clear()
        self._roll = Roll()
        self.changes += 1
        if self.record is not None:
            self.record(self.number, (b"FLUSHDB",))

    # ---- time

    def next_end(self) -> int | None:
        """Until when no key expires; `None`: none does. Too early, if a great many ends were put off."""
        return self._ends.first(LOOK)

    def purge(self, limit: int) -> int:
        """Delete what has expired, looking at so many ends at most; returns at how many it has looked."""
        seen, keys = self._ends.over(self.clock(), limit)
        for key in keys:
            self._expire(key)
        return seen

    def _set_until(self, key: bytes, until: int) -> None:
        if self._ends.add(key, until):
            self.earlier()

    def _expire(self, key: bytes) -> None:
        self.expired += 1
        self._drop(key)

    def _drop(self, key: bytes) -> None:
        del self.values[key]
        self.until.pop(key, None)
        self._roll.drop(key, len(self.values))
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


def _nobody() -> None:
    pass
