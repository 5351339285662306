"""How a WebSocket may be closed: which codes may be sent, which one an error stands for, and how long a reason is.

This file owns RFC 6455 section 7.4. It sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .errors import HTTPError, InvalidMessage

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
UNSUPPORTED: Final = 1003
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
"""This and the one before are never sent: there was no code in the close; there was no close."""
INVALID_DATA: Final = 1007
POLICY: Final = 1008
INTERNAL: Final = 1011

REASON_MAX: Final = 123
"""Bytes: a control frame holds 125, of which the code takes two (RFC 6455 section 5.5)."""

# 1012 to 1014 are in IANA's registry; 1004 to 1006 and 1015 are reserved, and all else below 3000 is nobody's yet.
_MAY_BE_SENT: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


def check_close(code: int, reason: str) -> None:
    """Refuse what a close frame cannot carry.

    Raises:
        ValueError: the code is reserved or unknown, or the reason is too long.
        TypeError: the reason is no text.
    """
    if not (isinstance(code, int) and (code in _MAY_BE_SENT or 3000 <= code <= 4999)):
        raise ValueError(
            f"{code!r} is not a code that a WebSocket may be closed with (RFC 6455 section 7.4).\n"
            'Write 1000 if all is done, or a code of your own, from 4000 to 4999:  await ws.close(4000, "too late")'
        )
    if not isinstance(reason, str):
        raise TypeError(
            f'the reason of a close is text, not {type(reason).__name__}; for none, leave it out or write "".\n'
            'Write  await ws.close(4000, "too late")'
        )
    size = len(reason.encode())
    if size > REASON_MAX:
        raise ValueError(
            f"the reason has {size} bytes; a close has room for {REASON_MAX}.\nSend it as a message, and close then."
        )


def outcome(status: int, errors: Sequence[BaseException]) -> tuple[int, str]:
    """The code and the reason that an error closes with.

    Args:
        status: of the response that it would be over HTTP.
        errors: what it consists of.
    """
    code = {4: POLICY, 5: INTERNAL}.get(status // 100, NORMAL)
    for error in errors:
        if isinstance(error, HTTPError) and error.status == status:
            return error.code if isinstance(error, InvalidMessage) else code, fitting(error.detail)
    return code, ""


def fitting(reason: str) -> str:
    """As much of a text as a close has room for."""
    data = reason.encode("utf-8", "replace")
    return data.decode() if len(data) <= REASON_MAX else data[: REASON_MAX - 3].decode("utf-8", "ignore") + "…"
