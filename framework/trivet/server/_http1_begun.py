"""Where a request head ends, and whether one that has not ended can still become a good one.

This file owns the looking at heads that are not whole. A client may send byte by byte, so what came is looked at once,
and `Begun` remembers how far. It counts, and reads the request line as soon as that is whole; the grammar of the fields
has to wait for the whole head, which `HeadParser` reads. Nothing here reads a socket or knows of a connection.
"""

from __future__ import annotations

from typing import Final

from ._http1_refusal import CRLF, head_too_large, line_fault, line_too_long, stray_fault, too_many_fields
from ._limits import Limits

EMPTY_LINES: Final = 8
"""Empty lines that are tolerated before a request line (RFC 9112 section 2.2 demands one)."""

_END: Final = b"\r\n\r\n"


def find_end(buffer: bytes | bytearray, start: int, limits: Limits) -> int:
    """Where the head that begins at `start` ends. Looks at all that came; `Begun` goes on from there.

    Args:
        buffer: what was read.
        start: where the head begins, or the empty lines that may stand before it.
        limits: of the connection.

    Returns:
        The index behind the head's empty line; -1: it has not come yet.

    Raises:
        Refused: what came cannot become a head that `HeadParser` takes. A whole head is not looked into.
    """
    first = skip(buffer, start) if buffer[start : start + 1] == b"\r" else start
    end = buffer.find(_END, first)
    return end + 4 if end >= 0 else Begun(limits, start).find_end(buffer)


def skip(buffer: bytes | bytearray, start: int) -> int:
    """The index behind the empty lines that are tolerated before a request line."""
    for _ in range(EMPTY_LINES):
        if not buffer.startswith(CRLF, start):
            break
        start += 2
    return start


class Begun:
    """The beginning of one head, as far as it has been looked at.

    Args:
        limits: of the connection.
        start: as of the function `find_end`.
    """

    __slots__ = ("_begin", "_limits", "_lines", "_seen", "_start")

    def __init__(self, limits: Limits, start: int = 0) -> None:
        self._limits = limits
        self._begin = start
        self._start = start  # where the request line begins
        self._seen = start  # all before has been looked at; never between the CR and the LF of a line's end
        self._lines = 0  # that have ended, the request line included

    def find_end(self, buffer: bytes | bytearray) -> int:
        """As the function, but what was in `buffer` the last time is not looked at again.

        Args:
            buffer: what was read: the same bytes as the last time, and more.
        """
        if self._seen - self._start < 2:  # perhaps there were only empty lines
            self._start = self._seen = skip(buffer, self._begin)
        end = buffer.find(_END, max(self._start, self._seen - 3))
        if end >= 0:
            return end + 4
        self._check(buffer)
        return -1

    def _check(self, buffer: bytes | bytearray) -> None:
        """Refuse what cannot become a good head, rather than wait for the rest of it."""
        limits, start = self._limits, self._start
        size = len(buffer) - start
        line = None if self._lines else self._first_line(buffer)
        if size > limits.head_size:
            raise head_too_large(limits)
        new = bytes(buffer[self._seen :]).removesuffix(b"\r")
        if fault := stray_fault(new):
            raise fault
        if line is not None and (fault := line_fault(line, limits)):
            raise fault
        self._seen += len(new)
        self._lines += new.count(CRLF)
        if self._lines > limits.head_fields + 1:
            raise too_many_fields(limits)

    def _first_line(self, buffer: bytes | bytearray) -> bytes | None:
        """The request line, if it has ended now."""
        limits, start = self._limits, self._start
        reach = min(len(buffer), start + limits.head_size + 1)
        end = buffer.find(CRLF, self._seen, reach)
        # A CR at the end may be the first half of the line's end.
        length = (end if end >= 0 else reach - buffer.endswith(b"\r", start, reach)) - start
        if length > limits.request_line:
            raise line_too_long(limits)
        return bytes(buffer[start:end]) if end >= 0 else None
