"""Where the body of a request ends. This file owns the framing of HTTP/1.1 bodies: sized and chunked.

Both kinds take bytes as they come and give the body's, plus what stands behind it: the next request. Nothing here
reads a socket. The chunked grammar is ours rather than llhttp's because it has to be strict: no chunk extensions (a
departure from RFC 9112 section 7.1.1, on purpose: nobody sends them but who wants two recipients to disagree), no
whitespace, no bare LF.
"""

from __future__ import annotations

import re
from typing import Final

from ._http1_refusal import CRLF, Refused, trailer_fault

TRAILER_SIZE: Final = 8192
"""Bytes of the trailer section, which nobody reads; nginx's and Apache's limit for one line."""

JOINED: Final = 65_536
"""Bytes up to which the chunks of one read are joined: one message to the application costs more than the copy."""

_HEX = rb"[0-9A-Fa-f]{1,16}"
_first_size = re.compile(rb"(" + _HEX + rb")\r\n").match
_next_size = re.compile(rb"\r\n(" + _HEX + rb")\r\n").match
_may_be_first = re.compile(rb"(?:" + _HEX + rb"\r?)?").fullmatch
_may_be_next = re.compile(rb"(?:\r(?:\n(?:" + _HEX + rb"\r?)?)?)?").fullmatch


class Sized:
    """A body whose Content-Length is known.

    Args:
        length: bytes.
        limit: bytes that are allowed; `None`: no bound.

    Raises:
        Refused: 413, at once, if it is longer than allowed.

    Attributes:
        complete: the body has ended.
    """

    __slots__ = ("_left", "complete")

    def __init__(self, length: int, limit: int | None) -> None:
        if limit is not None and length > limit:
            raise _too_large(limit)
        self._left = length
        self.complete = not length

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take what was read; return the body's part of it (not copied if it is all) and what follows the body."""
        left = self._left
        size = len(data)
        if size < left:
            self._left = left - size
            return ([data] if data else []), b""
        self._left = 0
        self.complete = True
        # Slicing bytes from end to end gives the same object.
        return ([data[:left]] if left else []), data[left:]


class Chunked:
    """A body that is `Transfer-Encoding: chunked`.

    Args:
        limit: bytes of content that are allowed; `None`: no bound.

    Attributes:
        complete: the last chunk and the trailer section have ended.
    """

    __slots__ = ("_first", "_held", "_left", "_limit", "_total", "_trailed", "_trailers", "complete")

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._total = 0
        self._left = 0
        self._first = True
        self._trailers = False
        self._trailed = 0
        self._held = b""
        self.complete = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take what was read; return the content in it, and what follows the body.

        Raises:
            Refused: 400 if the framing is not exactly RFC 9112's (without extensions), 413 as soon as a chunk is
                announced that goes beyond the limit, 431 for trailers larger than `TRAILER_SIZE`.
        """
        if self.complete:
            return [], data
        if self._held:
            data = self._held + data
            self._held = b""
        parts: list[bytes] = []
        at, size = 0, len(data)
        while not self._trailers:
            if self._left:
                part = data[at : at + self._left]
                if not part:
                    break
                parts.append(part)
                self._left -= len(part)
                at += len(part)
                if self._left:
                    break
            found = (_first_size if self._first else _next_size)(data, at)
            if found is None:
                self._held = self._unfinished(data[at : at + 32])
                break
            at = found.end()
            self._announce(int(found[1], 16))
        rest = self._trailer(data[at:]) if self._trailers else b""
        if len(parts) > 1 and size <= JOINED:
            parts = [b"".join(parts)]
        return parts, rest

    def _announce(self, length: int) -> None:
        """A chunk begins; one of length zero is the last."""
        self._first = False
        self._left = length
        self._trailers = not length
        self._total += length
        if self._limit is not None and self._total > self._limit:
            raise _too_large(self._limit)

    def _unfinished(self, line: bytes) -> bytes:
        """The beginning of a chunk's head, to be read again with what follows it."""
        if (_may_be_first if self._first else _may_be_next)(line):
            return line
        if not self._first and not b"\r\n".startswith(line[:2]):
            raise Refused(400, "A chunk is longer than its size says: CR LF must follow its data.")
        if b";" in line:
            raise Refused(400, "Chunk extensions are refused: they are of no use but to hide a request.")
        raise Refused(400, "A chunk must begin with its size: 1 to 16 hexadecimal digits, then CR LF.")

    def _trailer(self, data: bytes) -> bytes:
        """Skip the trailer section line by line; return what follows the body."""
        at = 0
        while True:
            end = data.find(CRLF, at)
            if end == at:
                self.complete = True
                return data[end + 2 :]
            # A CR at the end may be the first half of the line's end.
            line = data[at:end] if end >= 0 else data[at:].removesuffix(b"\r")
            if self._trailed + len(line) + 2 * (end >= 0) > TRAILER_SIZE:
                raise Refused(431, f"The trailers of the request are larger than {TRAILER_SIZE} bytes.")
            if fault := trailer_fault(line, end >= 0):
                raise fault
            if end < 0:
                self._held = data[at:]
                return b""
            self._trailed += len(line) + 2
            at = end + 2


def _too_large(limit: int) -> Refused:
    return Refused(413, f"The body of the request is larger than {limit} bytes.")
