"""The append-only log: changes as the commands that repeat them, in RESP, so that a redis-server can read it too.

This file owns what stands in it, and up to where it is whole. It knows no file: what is to be written is `pending`.

Effects are written, not what was asked: `SET k v EX 10` becomes `SET k v PXAT` with the moment, `INCR` the value that
it made, and a key that expires is deleted. So a log says the same whenever it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final

from .protocol import Bounds, Requests

SET: Final = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"


class Damaged(Exception):
    """The log has something in its middle that cannot be read. A torn end is not that."""


def written(words: Iterable[bytes]) -> bytes:
    """A request, as clients write it."""
    parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


class Log:
    """What is to be written.

    Attributes:
        pending: what has not been taken.
        position: bytes recorded since the start, taken or not.
        when_pending: called when something is, and was not before.
    """

    __slots__ = ("_changes", "_database", "_together", "pending", "position", "when_pending")

    def __init__(self) -> None:
        self.pending: list[bytes] = []
        self.position = 0
        self.when_pending: Callable[[], None] = _nobody
        self._database = -1
        self._together = False
        self._changes = 0

    def record(self, database: int, words: tuple[bytes, ...]) -> None:
        """Note a change."""
        self._changes += 1
        self._select(database)
        self._add(written(words))

    def record_all(self, database: int, keys: list[bytes], values: list[bytes]) -> None:
        """Note that keys were set, in a fifth of the time that they take one by one."""
        self._changes += len(keys)
        self._select(database)
        pairs = zip(keys, values, strict=True)
        self._add(b"".join([SET % (len(key), key, len(value), value) for key, value in pairs]))

    def _select(self, database: int) -> None:
        if database != self._database:
            self._database = database
            self._add(written([b"SELECT", b"%d" % database]))

    @contextmanager
    def together(self) -> Generator[None]:
        """Changes of which a log that was torn has all or none. A block within another is a part of it."""
        if self._together:
            yield
            return
        self._together = True
        begin, changes = len(self.pending), self._changes
        try:
            yield
        finally:
            self._together = False
            if self._changes - changes > 1:
                multi = written([b"MULTI"])
                self.pending.insert(begin, multi)  # nothing is taken meanwhile: no command waits
                self.position += len(multi)
                self._add(written([b"EXEC"]))

    def take(self) -> bytes:
        """What is pending, which is the caller's now."""
        data = b"".join(self.pending)
        self.pending.clear()
        return data

    def _add(self, data: bytes) -> None:
        if not self.pending:
            self.when_pending()
        self.pending.append(data)
        self.position += len(data)


def _nobody() -> None:
    pass


class Reader:
    """Changes, out of the bytes of a log.

    Attributes:
        whole: up to where it is; what stands behind that was being written when the power went.
        before: for each change of the last piece, up to where the log is whole without it.
    """

    def __init__(self) -> None:
        self.whole = 0
        self.before: list[int] = []
        self._position = 0
        self._requests = Requests(Bounds(arrays=True))
        self._group: list[list[bytes]] | None = None

    def feed(self, data: bytes) -> list[list[bytes]]:
        """Take what stands next; return the changes that are whole.

        Raises:
            Damaged: this is no log, or one in which something was changed.
        """
        changes: list[list[bytes]] = []
        self.before = []
        for words in self._requests.feed(data):
            self._position += len(written(words))
            name = words[0].upper()
            if name == b"MULTI":
                self._group = []
            elif name == b"EXEC":
                changes += self._group or []
                self._group = None
            elif self._group is not None:
                self._group.append(words)
            else:
                changes.append(words)
            if self._group is None:
                self.before += [self.whole] * (len(changes) - len(self.before))
                self.whole = self._position
        if self._requests.error is not None:
            raise Damaged(f"after byte {self._position}: {self._requests.error}")
        return changes
