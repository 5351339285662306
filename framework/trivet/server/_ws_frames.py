"""The frames of a WebSocket (RFC 6455 section 5) as bytes. This file owns how one is written, and what a mask is.

Sans-I/O: it knows neither sockets nor messages. A server's frames are not masked, so that one is a short header and the
payload as it is: sending takes no library in between.
"""

from __future__ import annotations

import struct
from typing import Final

from trivet.errors import TrivetError

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

FIN: Final = 0x80
RSV1: Final = 0x40
"""The first frame of a compressed message (RFC 7692 section 6)."""

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
"""Not on the wire: a close frame without a code."""

ABNORMAL: Final = 1006
"""Not on the wire: no close frame at all."""

INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011

MAX_CONTROL: Final = 125
MAX_REASON: Final = MAX_CONTROL - 2

_UNSENDABLE: Final = frozenset((1004, NO_CODE, ABNORMAL, 1015))
_SHORT: Final = {first: [bytes((first, size)) for size in range(126)] for first in (FIN | TEXT, FIN | BINARY)}
_MEDIUM: Final = struct.Struct("!BBH").pack
_LONG: Final = struct.Struct("!BBQ").pack

_FEW: Final = 512
"""Up to here a mask is fastest as one long integer; beyond, a table for each of its bytes is three times as fast."""

_XOR: Final = [bytes(one ^ other for one in range(256)) for other in range(256)]


class Violation(Exception):
    """The client broke the protocol, or a limit.

    Args:
        code: what the connection is closed with.
        reason: said to the client; at most `MAX_REASON` bytes.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class WebSocketFault(TrivetError):
    """The application sent what no WebSocket can carry. Nothing of it has gone out."""


def is_code(code: int) -> bool:
    """Whether a close frame may carry `code`: registered with IANA, or private (RFC 6455 section 7.4)."""
    return (1000 <= code <= 1014 and code not in _UNSENDABLE) or 3000 <= code <= 4999


def header(first: int, size: int) -> bytes:
    """What stands before a payload of `size` bytes; `first`: the opcode, and `FIN`."""
    if size < 126:
        return _SHORT[first][size] if first in _SHORT else bytes((first, size))
    return _MEDIUM(first, 126, size) if size < 65_536 else _LONG(first, 127, size)


def control(opcode: int, payload: bytes = b"") -> bytes:
    """A whole ping, pong or close."""
    return bytes((FIN | opcode, len(payload))) + payload


def closing(code: object, reason: object = "") -> bytes:
    """A close frame.

    Args:
        code: to be said.
        reason: for people who look for a fault; cut after 123 bytes, behind a whole character.

    Raises:
        WebSocketFault: no close frame may carry `code`.
    """
    if not isinstance(code, int) or isinstance(code, bool) or not is_code(code):
        raise WebSocketFault(
            f"the application closed with the code {code!r}; a close frame carries 1000 to 1014 (not 1004 to 1006) or,"
            f' for reasons of your own, 3000 to 4999:  {{"type": "websocket.close", "code": 4000}}'
        )
    said = str(reason or "").encode("utf-8", "replace")
    if len(said) > MAX_REASON:
        said = said[:MAX_REASON].decode("utf-8", "ignore").encode()
    return control(CLOSE, code.to_bytes(2, "big") + said)


def close_of(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame that came.

    Raises:
        Violation: it says what none may.
    """
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not is_code(code):
        raise Violation(PROTOCOL_ERROR, "no such close code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(INVALID_DATA, "the reason is not UTF-8") from None


def unmasked(mask: bytes, data: bytes) -> bytes:
    """`data`, which begins with the first byte of `mask`, without it (or with it: it is its own inverse)."""
    size = len(data)
    if size <= _FEW:
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
        return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")
    clear = bytearray(data)
    for at in range(4):
        clear[at::4] = clear[at::4].translate(_XOR[mask[at]])
    return bytes(clear)
