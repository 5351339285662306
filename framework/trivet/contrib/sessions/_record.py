"""What is kept of a session, in a cookie or in a store: two times and the contents.

This file owns the form of it and how long it is good. Times are seconds since 1970 of whatever machine wrote it. Plain
functions and values: it knows neither cookies nor stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

_HEAD: Final = Struct(">BII")
_VERSION: Final = 1

SKEW: Final = 60.0
"""Seconds that another machine's clock may be ahead of ours. What comes from later than that is refused: it would
be good for longer than it should."""

OFTEN: Final = 0.1
"""Of `idle`: how far it may have run before it is counted anew, so that not every request writes."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept."""

    began: int
    used: int
    """When it was written last."""
    contents: bytes

    def encoded(self) -> bytes:
        """As bytes."""
        return _HEAD.pack(_VERSION, self.began, self.used) + self.contents


def decoded(data: bytes) -> Record | None:
    """The record that `data` is; `None`: it is none of this version."""
    if len(data) < _HEAD.size or data[0] != _VERSION:
        return None
    _, began, used = _HEAD.unpack_from(data)
    return Record(began, used, data[_HEAD.size :])


@dataclass(frozen=True, slots=True)
class Span:
    """How long sessions last, in seconds."""

    lifetime: float
    """Since it began, or went on under another identifier."""
    idle: float | None
    """Since it was used last."""

    def left(self, record: Record, now: float) -> float:
        """Seconds for which it is still good, unless it is used before; not more than 0: it is over."""
        if max(record.began, record.used) > now + SKEW:
            return 0.0
        left = record.began + self.lifetime - now
        return left if self.idle is None else min(left, record.used + self.idle - now)

    def is_due(self, record: Record, now: float) -> bool:
        """Whether it should be written though it has not changed, or it would be over as if nobody used it."""
        return self.idle is not None and now - record.used >= self.idle * OFTEN
