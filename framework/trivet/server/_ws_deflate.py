"""permessage-deflate (RFC 7692): what is agreed upon, and messages in and out of it. This file owns the extension.

Each message stands alone (`no_context_takeover`, both ways): a window for each direction of each connection is 300 KiB
that an idle client would hold, as against 10 KiB for all the rest of it. What comes is inflated bit by bit, against a
bound: half a megabyte can inflate to half a gigabyte.

zlib is the standard library's. wsproto's extension inflates a frame at once, whatever it becomes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from ._ws_frames import INVALID_DATA, TOO_BIG, Violation

NAME: Final = "permessage-deflate"

_TAIL: Final = b"\x00\x00\xff\xff"
"""What ends each flush of a compressor; the sender leaves it out (RFC 7692 section 7.2.1)."""

_BEHIND_THE_END: Final = (_TAIL, b"\x00" + _TAIL)
"""A sender may end its data as a whole, and then has to add one byte (RFC 7692 section 7.2.3.4)."""

_WINDOW: Final = 15
_BITS: Final = {str(bits): bits for bits in range(8, 16)}
_LEAST: Final = 9
"""zlib inflates a window of 256 bytes, but cannot be told to keep to one."""

_SMALL: Final = 4096
"""Up to here a window of 4 KiB compresses as well, and takes an eighth of the time to set up."""


def agree(offers: str) -> tuple[str, int] | None:
    """Choose from what a client offers.

    Args:
        offers: its Sec-WebSocket-Extensions.

    Returns:
        The field of our answer, and the bits of the window that it lets us use; None: nothing that we can do.
    """
    for name, parameters in _offers(offers):
        if name == NAME:
            bits = _window(parameters)
            if bits is not None:
                said = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
                if "server_max_window_bits" in parameters:
                    said += f"; server_max_window_bits={bits}"
                return said, bits
    return None


def _offers(text: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    for offer in text.split(","):
        name, *rest = (part.strip() for part in offer.split(";"))
        parameters: dict[str, str | None] = {}
        for part in rest:
            key, equals, value = part.partition("=")
            key = key.strip().lower()
            if key in parameters:
                name = ""  # twice the same: declined (RFC 7692 section 7.1)
            parameters[key] = value.strip().strip('"') if equals else None
        yield name.lower(), parameters


def _window(parameters: dict[str, str | None]) -> int | None:
    """The bits of our window; None: an offer that has to be declined."""
    bits = _WINDOW
    for key, value in parameters.items():
        if key in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
        elif key in ("server_max_window_bits", "client_max_window_bits"):
            if value is None and key == "client_max_window_bits":
                continue  # it can keep to a smaller one, if we wish
            if value not in _BITS:
                return None
            if key == "server_max_window_bits":
                bits = _BITS[value]
                if bits < _LEAST:
                    return None
        else:
            return None
    return bits


def deflated(data: bytes, bits: int) -> bytes:
    """The payload of a compressed message."""
    small = len(data) <= _SMALL
    maker = zlib.compressobj(wbits=-min(bits, 12), memLevel=5) if small else zlib.compressobj(wbits=-bits)
    return maker.compress(data) + maker.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]


class Inflater:
    """One compressed message on its way in.

    Args:
        limit: bytes that it may inflate to.
    """

    __slots__ = ("_came", "_left", "_limit", "_made")

    def __init__(self, limit: int) -> None:
        self._made = zlib.decompressobj(-_WINDOW)
        self._left = limit
        self._limit = limit
        self._came = 0

    def add(self, data: bytes, *, last: bool) -> bytes:
        """What a part of it becomes.

        Raises:
            Violation: more than the limit, or no compressed data.
        """
        self._came += len(data)
        # Empty blocks inflate to nothing for ever; an honest message hardly grows.
        if self._came > self._limit + (self._limit >> 8) + 64:
            raise Violation(TOO_BIG, "the message is too big")
        if last:
            data += _TAIL
        try:
            # One more than may be: that it is there at all says that the message is too big.
            out = self._made.decompress(data, self._left + 1)
        except zlib.error:
            raise Violation(INVALID_DATA, "the compressed data is malformed") from None
        if len(out) > self._left:
            raise Violation(TOO_BIG, "the message is too big")
        if self._made.eof:
            # At once, not at the end of the message: zlib copies all of it again for each part that comes.
            rest = self._made.unused_data
            if rest not in _BEHIND_THE_END if last else len(rest) > 1:
                raise Violation(INVALID_DATA, "there is more behind the end of the compressed data")
        self._left -= len(out)
        return out
