"""From the bytes that a WebSocket client sends to messages, pings and closes. This file owns that step, and its limits.

Sans-I/O. It reads no further than it is asked to: what an application does not take is not taken apart, and whoever
holds it stops reading the socket. A message whose size is announced beyond the limit ends at its header; any other when
it gets there. What it refuses, `Violation` says, with the code that the client is to be told.

An unfragmented message that has arrived whole, as nearly all do, is unmasked and decoded in one step each; the others
go through the long way, part by part, so that text that is no UTF-8 is found out as soon as its bytes are here.
"""

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

from ._ws_deflate import Inflater
from ._ws_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    INVALID_DATA,
    MAX_CONTROL,
    PING,
    PONG,
    PROTOCOL_ERROR,
    RSV1,
    TEXT,
    TOO_BIG,
    Violation,
    unmasked,
)

_WHOLE_BINARY: Final = FIN | BINARY
_WHOLE: Final = (FIN | TEXT, _WHOLE_BINARY)
_OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_utf8: Final = codecs.getincrementaldecoder("utf-8")


class Control(NamedTuple):
    """A ping, a pong or a close."""

    opcode: int
    payload: bytes


class Decoder:
    """What a client sends.

    Args:
        limit: bytes of a message, inflated if it is compressed.
        deflates: whether messages may be compressed.
    """

    __slots__ = (
        "_at", "_buffer", "_deflates", "_fin", "_inflater", "_left", "_limit", "_mask", "_opcode", "_parts", "_text",
    )  # fmt: skip

    def __init__(self, limit: int, *, deflates: bool = False) -> None:
        self._limit = limit
        self._deflates = deflates
        self._buffer = b""
        self._at: int = 0  # what is before has been read
        # The frame that has begun:
        self._left = -1  # of its payload; -1: none has
        self._mask = b""
        self._fin = False
        # The message that has begun:
        self._opcode = 0
        self._parts: bytearray | None = None  # None: none has
        self._inflater: Inflater | None = None
        self._text: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._buffer = self._buffer[self._at :] + data if self._at < len(self._buffer) else data
        self._at = 0

    def next(self) -> str | bytes | Control | None:
        """The next message, ping, pong or close; None: it takes more bytes.

        Raises:
            Violation: there is none, nor ever will be.
        """
        while True:
            if self._left >= 0:
                message = self._go_on()
                if message is not None or self._left >= 0:
                    return message
                continue
            buffer, at = self._buffer, self._at
            if len(buffer) - at < 2:
                return None
            first, size = buffer[at], buffer[at + 1] - 128
            if first & 0x7F not in (TEXT, BINARY) or self._parts is not None or size < 0:
                self._check(first, size)
            start = at + 6
            if size > MAX_CONTROL:
                start = at + (8 if size == 126 else 14)
                if len(buffer) < start - 4:
                    return None
                size = self._long(size, int.from_bytes(buffer[at + 2 : start - 4], "big"))
            if first & CLOSE:
                if len(buffer) < start + size:
                    return None
                self._at = start + size
                return Control(first & 0x0F, unmasked(buffer[start - 4 : start], buffer[start : start + size]))
            self._check_size(first, size)
            if len(buffer) < start:
                return None
            end = start + size
            if end <= len(buffer) and first in _WHOLE:
                self._at = end
                data = unmasked(buffer[start - 4 : start], buffer[start:end])
                return data if first == _WHOLE_BINARY else _decoded(data)
            self._at = start
            self._begin(first, size, buffer[start - 4 : start])

    # The header ------------------------------------------------------------------------------------------------------

    def _check(self, first: int, size: int) -> None:
        """Refuse a frame by its first two bytes."""
        opcode = first & 0x0F
        if size < 0:
            raise Violation(PROTOCOL_ERROR, "a client masks its frames")
        if opcode not in _OPCODES:
            raise Violation(PROTOCOL_ERROR, "no such opcode")
        compressed = self._deflates and opcode in (TEXT, BINARY)
        if first & (0x30 if compressed else 0x70):
            raise Violation(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode & CLOSE:
            if not first & FIN:
                raise Violation(PROTOCOL_ERROR, "a control frame is not fragmented")
            if size > MAX_CONTROL:
                raise Violation(PROTOCOL_ERROR, "a control frame has 125 bytes at most")
        elif (opcode == CONTINUATION) is (self._parts is None):
            raise Violation(PROTOCOL_ERROR, "a frame is out of order")

    def _long(self, kind: int, size: int) -> int:
        if size < (126 if kind == 126 else 65_536) or size >> 63:
            raise Violation(PROTOCOL_ERROR, "a length is in its shortest form")
        return size

    def _check_size(self, first: int, size: int) -> None:
        if self._inflater is None and not first & RSV1:
            if size + (0 if self._parts is None else len(self._parts)) > self._limit:
                raise Violation(TOO_BIG, "the message is too big")
        elif size > 2 * self._limit + 64:  # what it becomes is counted as it does
            raise Violation(TOO_BIG, "the message is too big")

    # The long way ----------------------------------------------------------------------------------------------------

    def _begin(self, first: int, size: int, mask: bytes) -> None:
        self._left = size
        self._mask = mask
        self._fin = first >= FIN
        if self._parts is None:
            self._opcode = first & 0x0F
            self._parts = bytearray()
            self._text = _utf8() if self._opcode == TEXT else None
            self._inflater = Inflater(self._limit) if first & RSV1 else None

    def _go_on(self) -> str | bytes | None:
        """Take what there is of a frame's payload; the message, if that completes it."""
        data = self._buffer[self._at : self._at + self._left]
        size = len(data)
        if not size and self._left:
            return None
        self._at += size
        self._left -= size
        data = unmasked(self._mask, data)
        if self._left:
            turn = size % 4
            self._mask = self._mask[turn:] + self._mask[:turn]
            self._add(data, last=False)
            return None
        self._left = -1
        last = self._fin
        self._add(data, last=last)
        if not last:
            return None
        whole = bytes(self._parts or b"")
        self._parts = self._inflater = self._text = None
        return whole if self._opcode == BINARY else _decoded(whole)

    def _add(self, data: bytes, *, last: bool) -> None:
        parts = self._parts
        assert parts is not None
        if self._inflater is not None:
            data = self._inflater.add(data, last=last)
        if self._text is not None:
            try:
                self._text.decode(data, last)
            except UnicodeDecodeError:
                raise Violation(INVALID_DATA, "the text is not UTF-8") from None
        parts += data


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Violation(INVALID_DATA, "the text is not UTF-8") from None
