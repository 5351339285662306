"""What an ASGI application may send for one WebSocket: the checks of the in-memory server.

This file owns one decision: whether a message is one that every server can carry. It is a plain state machine, as
`_rules` is for responses. The source of a rule stands beside it: ASGI is the WebSocket specification 2.5, section
numbers are RFC 6455's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trivet.asgi import ACCEPTANCE_FIELDS, Message

from ._rules import ProtocolViolation, ResponseRules, checked_headers

__all__ = ["SocketRules"]

Stage = Literal["handshake", "denial", "open", "over"]

START, BODY = "websocket.http.response.start", "websocket.http.response.body"

MAY_BE_SENT = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""Section 7.4; 1004 to 1006 and 1015 stand for what was not sent."""

REASON_MAX = 123  # bytes: a control frame holds 125, of which the code takes two (section 5.5)


class SocketRules:
    """The messages for one WebSocket, in their order.

    Args:
        offered: the subprotocols of the client.
    """

    __slots__ = ("_denial", "_offered", "stage")

    def __init__(self, offered: Sequence[str]) -> None:
        self._offered = offered
        self._denial = ResponseRules("GET")
        self.stage: Stage = "handshake"

    def check(self, message: Message) -> None:
        """Accept the next message or refuse it.

        Raises:
            ProtocolViolation: the message may not be sent now, or not at all; the state is what it was before.
        """
        if not isinstance(message, dict):
            raise ProtocolViolation(f"send() takes a dict, not {type(message).__name__}: {message!r}")
        kind = message.get("type")
        if kind in (START, BODY) and self.stage in ("handshake", "denial"):
            self._denial.check({**message, "type": str(kind).removeprefix("websocket.")})
            self.stage = "over" if self._denial.stage == "over" else "denial"
        elif kind == "websocket.accept" and self.stage == "handshake":
            self._check_accept(message)
            self.stage = "open"
        elif kind == "websocket.send" and self.stage == "open":
            _check_send(message)
        elif kind == "websocket.close" and self.stage in ("handshake", "open"):
            _check_close(message)
            self.stage = "over"
        else:
            raise ProtocolViolation(
                f"{kind!r} is not a message that may be sent now: this WebSocket is in stage {self.stage!r}.\n"
                "It is accepted, then sent to, then closed; or refused, by a close before it was accepted."
            )

    def _check_accept(self, message: Message) -> None:
        chosen = message.get("subprotocol")
        if chosen is not None and chosen not in self._offered:
            raise ProtocolViolation(f"subprotocol {chosen!r} was not offered (4.2.2): there were {self._offered!r}")
        for name, _ in checked_headers(message.get("headers", ())):
            if name == b"sec-websocket-protocol":
                raise ProtocolViolation("the subprotocol is not a header of websocket.accept (ASGI): say subprotocol=")
            if name in ACCEPTANCE_FIELDS:
                raise ProtocolViolation(f"{name.decode()!r} is the server's to set, not a header of websocket.accept")


def _check_send(message: Message) -> None:
    text, octets = message.get("text"), message.get("bytes")
    if (text is None) == (octets is None):
        raise ProtocolViolation("websocket.send has exactly one of text and bytes")
    if text is not None and not isinstance(text, str):
        raise ProtocolViolation(f"text is {type(text).__name__}; it must be str")
    if octets is not None and not isinstance(octets, bytes):
        raise ProtocolViolation(f"bytes is {type(octets).__name__}; it must be bytes")


def _check_close(message: Message) -> None:
    code, reason = message.get("code", 1000), message.get("reason")
    if not isinstance(code, int) or code not in MAY_BE_SENT:
        raise ProtocolViolation(f"code {code!r} may not be sent (7.4)")
    if reason is not None and not isinstance(reason, str):
        raise ProtocolViolation(f"reason is {type(reason).__name__}; it must be str")
    if len((reason or "").encode()) > REASON_MAX:
        raise ProtocolViolation(f"reason is longer than {REASON_MAX} bytes (5.5): {reason!r}")
