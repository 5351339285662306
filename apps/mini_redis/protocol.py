"""Requests of RESP, out of bytes however they were split; this file owns where one ends, and how large it may be.

It knows neither sockets nor what a request means. Both protocol versions send requests alike: an array of bulk strings,
or a line for people with telnet (`inline.py`).

Two parsers, one format. Most reads hold whole, small requests: one `split` at the line ends, in C, cuts up all of them,
and a length that is right proves that its cut was right (a value may contain line ends). Whatever does not fit, goes to
the second one, which resumes where it stopped and never looks at a byte twice. tokio's mini-redis looks whether a frame
is whole, then parses it, again from its beginning with each read: that is quadratic for large values in small pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .inline import UnbalancedQuotes, split_line
from .pipeline import COUNTS, LENGTHS, columns_of, of_one_shape

LINE: Final = 64 * 1024
"""Bytes of a line, as in redis-server (`PROTO_INLINE_MAX_SIZE`)."""

OVERHEAD: Final = 64
"""What an argument takes beside its bytes; else a million empty ones would count as nothing."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a request may be."""

    bulk: int = 64 * 1024 * 1024
    """Bytes of one argument (`proto-max-bulk-len`; redis-server: 512 MB)."""
    count: int = 1024 * 1024
    """Arguments, as in redis-server."""
    request: int = 128 * 1024 * 1024
    """Bytes of all of them."""
    arrays: bool = False
    """Whether nothing but arrays of something will do: in a log, nobody types."""


class Requests:
    """The requests of one connection.

    Args:
        bounds: how large they may be.

    Attributes:
        error: what was wrong with the last request, in redis-server's words; nothing is taken after it. It is not
            raised, because the requests before it are to be answered.
        held: bytes of what has begun and has not ended.
    """

    __slots__ = ("_arguments", "_bounds", "_buffer", "_left", "_length", "_scanned", "_size", "error", "held")

    def __init__(self, bounds: Bounds = Bounds()) -> None:
        self.error: str | None = None
        self.held = 0
        self._bounds = bounds
        self._buffer = bytearray()
        self._scanned = 0  # up to here there is no line end
        self._arguments: list[bytes] = []
        self._left = 0  # arguments that the request still lacks
        self._length: int | None = None  # of the argument that is being read
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether a request has begun and has not ended."""
        return bool(self._buffer or self._left)

    def forget(self) -> None:
        """Give up what has begun, and its memory: nothing more comes."""
        self._buffer = bytearray()
        self._arguments = []
        self._left = self.held = 0

    def feed(self, data: bytes) -> Sequence[list[bytes]]:
        """Take what came; return the requests that are whole now, none of them empty."""
        if self.error is not None:
            return []
        found: list[list[bytes]] = []
        if not self._left and not self._buffer:
            if (alike := of_one_shape(data)) is not None:
                return alike
            parts = data.split(b"\r\n")
            if (alike := columns_of(parts)) is not None:
                return alike
            data = _whole(data, parts, found)
            if not data:
                return found
        self._buffer += data
        position = 0
        while self.error is None:
            step = self._argument(position, found) if self._left else self._begin(position, found)
            if step == position:
                break
            position = step
        del self._buffer[:position]
        self._scanned = max(0, self._scanned - position)
        self.held = len(self._buffer)
        if self._left:
            self.held += self._size - (self._length or 0)  # which was announced, and is not there yet
        return found

    def _begin(self, position: int, found: list[list[bytes]]) -> int:
        """The first line of a request. Returns where it goes on, or `position` if more must come."""
        buffer = self._buffer
        if position == len(buffer):
            return position
        if buffer[position] != 0x2A:
            if self._bounds.arrays:
                self.error = f"expected '*', got {bytes(buffer[position : position + 1])!r}"
                return position
            return self._inline(position, found)
        end = self._line_end(position, "mbulk count string")
        if end < 0:
            return position
        count = number_of(bytes(buffer[position + 1 : end]))
        if count is None or count > self._bounds.count or (self._bounds.arrays and count < 1):
            self.error = "invalid multibulk length"
        elif count > 0:  # none: redis-server passes over it as well
            self._left = count
            self._size = 0
            self._arguments = []
        return end + 2

    def _argument(self, position: int, found: list[list[bytes]]) -> int:
        """The head of an argument, or its bytes. Returns where it goes on, or `position` if more must come."""
        buffer = self._buffer
        if self._length is None:
            return self._argument_head(position)
        end = position + self._length
        if len(buffer) < end + 2:
            return position
        # redis-server skips the two bytes unseen. Here a length that is wrong is noticed.
        if not buffer.startswith(b"\r\n", end):
            self.error = "expected CRLF after a bulk string"
            return position
        self._arguments.append(bytes(memoryview(buffer)[position:end]))
        self._length = None
        self._left -= 1
        if not self._left:
            found.append(self._arguments)
            self._arguments = []
        return end + 2

    def _argument_head(self, position: int) -> int:
        buffer = self._buffer
        end = self._line_end(position, "bulk count string")
        if end < 0:
            return position
        if buffer[position] != 0x24:
            self.error = f"expected '$', got '{chr(buffer[position])}'"
            return position
        length = number_of(bytes(buffer[position + 1 : end]))
        if length is None or not 0 <= length <= self._bounds.bulk:
            self.error = "invalid bulk length"
            return position
        self._size += length + OVERHEAD
        if self._size > self._bounds.request:
            self.error = "too big request"
        self._length = length
        return end + 2

    def _inline(self, position: int, found: list[list[bytes]]) -> int:
        buffer = self._buffer
        end = buffer.find(b"\n", max(position, self._scanned))
        if (len(buffer) if end < 0 else end) - position > LINE:
            self.error = "too big inline request"
            return position
        if end < 0:
            self._scanned = len(buffer)
            return position
        try:
            arguments = split_line(bytes(buffer[position:end]))
        except UnbalancedQuotes:
            self.error = "unbalanced quotes in request"
            return position
        if arguments:
            found.append(arguments)
        return end + 1

    def _line_end(self, position: int, what: str) -> int:
        buffer = self._buffer
        end = buffer.find(b"\r\n", max(position, self._scanned))
        if (len(buffer) if end < 0 else end) - position > LINE:
            self.error = f"too big {what}"
            return -1
        if end < 0:
            self._scanned = max(0, len(buffer) - 1)  # its last byte may be the first half of the line end
        return end


def _whole(data: bytes, parts: list[bytes], found: list[list[bytes]]) -> bytes:
    """Add the whole, small requests that `data`, cut into `parts`, begins with; return the rest."""
    last = len(parts) - 1  # behind the last line end
    at = 0
    lengths = LENGTHS.get
    while at < last:
        count = COUNTS.get(parts[at])
        if count is None:
            break
        end = at + 1 + 2 * count
        if end > last:
            break
        arguments = parts[at + 2 : end : 2]
        if list(map(lengths, parts[at + 1 : end : 2])) != list(map(len, arguments)):
            break  # too long, or a value with a line end in it, or wrong
        found.append(arguments)
        at = end
    return b"\r\n".join(parts[at:]) if at else data


def number_of(text: bytes) -> int | None:
    """A signed number of 64 bits, written as redis-server writes it: no plus, no space, no leading zero."""
    if len(text) > 20:
        return None
    if text.isdigit() and len(text) < 19 and (text[0] != 0x30 or len(text) == 1):
        return int(text)  # what most are
    try:
        number = int(text)
    except ValueError:
        return None
    if b"%d" % number != text or (len(text) > 18 and not -(1 << 63) <= number < 1 << 63):
        return None
    return number
