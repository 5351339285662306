"""What a process knows of a topic: which message comes next, and whether one is missing.

This file owns that. It knows neither Redis nor Trio: it is told what was heard and what was read, and says what to give
to subscribers.

A chain is read, then heard: what was read says where it begins, and each message that is heard must be the one behind
the last. What is heard before that is held. If one does not follow, the chain is broken, and must be read again from
the last one on; so it must when the connection was lost. It does not matter how often it is read, or what is heard
twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ._topic_store import Row

HELD: Final = 10_000
"""Messages that are held while a chain is read. Above that it is read again: what is missing then is a gap."""


class Chain:
    """Of one topic. It begins broken."""

    __slots__ = ("_asked", "_held", "_shift", "last", "whole")

    def __init__(self) -> None:
        self.last: int | None = None
        """Where the last message stands in Redis; `None`: nothing was read yet."""
        self.whole = False
        """Whether the next message is given as soon as it is heard."""
        self._shift = 0
        self._held: list[Row] = []
        self._asked = 0
        """How many of them were heard before it was asked for what is read next."""

    def place(self, position: int) -> int:
        """A position in Redis as one that subscribers' hub counts by: those never go back, as Redis' own may when it
        has lost its last data."""
        return position + self._shift

    def tear(self) -> None:
        """From now on messages are held, until it was read again."""
        self.whole = False

    def heard(self, row: Row) -> bool:
        """Take a message that was told. Returns whether it is to be given."""
        if not self.whole:
            if len(self._held) < HELD:
                self._held.append(row)
            return False
        assert self.last is not None
        if row.position <= self.last:
            return False
        if row.before != self.last:
            self.whole = False
            self._held = [row]
            return False
        self.last = row.position
        return True

    def ask(self) -> int | None:
        """Note that it is going to be read. Returns behind which position: `None` for the first time."""
        self._asked = len(self._held)
        return self.last

    def read(self, last: int, rows: Iterable[Row]) -> tuple[Sequence[Row], bool]:
        """Take what was read since it was asked for, and what has been heard meanwhile.

        Args:
            last: the topic's last position in Redis at that moment.
            rows: behind `self.last`, in their order; they may begin before it.

        Returns:
            What is to be given, and whether something was heard before that is not there: Redis has lost it. If a
            message is still missing then, it is not whole, and has to be read again.
        """
        before = self.last
        found = [] if before is None else [row for row in rows if row.position > before]
        if before is not None and last < before:
            self._shift += before - last
        self.last, self.whole = last, True
        asked, meanwhile = self._held[: self._asked], self._held[self._asked :]
        self._held, self._asked = [], 0
        lost = any(row.position > last for row in asked)
        return found + [row for row in meanwhile if self.heard(row)], lost
