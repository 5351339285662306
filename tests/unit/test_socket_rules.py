"""The ASGI rules of the in-memory server for WebSockets, as tables: what passes and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from trivet.testing._rules import ProtocolViolation
from trivet.testing._socket_rules import SocketRules


def ws(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"websocket.{kind}", **fields}


ACCEPT, CLOSE = ws("accept"), ws("close")
START, BODY = ws("http.response.start", status=401, headers=[(b"x-a", b"b")]), ws("http.response.body", body=b"no")

PASS: list[list[Any]] = [
    [ACCEPT],
    [ACCEPT, CLOSE],
    [ws("accept", subprotocol="a", headers=[(b"set-cookie", b"a=b")]), ws("send", text=""), ws("send", bytes=b"")],
    [ws("accept", subprotocol=None), ws("send", text="x", bytes=None), ws("close", code=4999, reason="x" * 123)],
    [ACCEPT, ws("close", code=3000, reason=None)],
    [CLOSE],
    [START, BODY],
    [START, {**BODY, "more_body": True}, BODY],
]

REFUSED: list[tuple[list[Any], Any, str]] = [
    ([], None, "takes a dict"),
    ([], ws("send", text="x"), "stage 'handshake'"),
    ([], BODY, "before http.response.start"),
    ([], {"type": "http.response.start", "status": 200}, "stage 'handshake'"),
    ([], ws("accept", subprotocol="c"), "was not offered"),
    ([], ws("accept", headers=[(b"sec-websocket-protocol", b"a")]), "say subprotocol="),
    ([], ws("accept", headers=[(b"connection", b"close")]), "the server's to set"),
    ([], ws("accept", headers=[(b"x-a", b"a\r\nb")]), "CR, LF or NUL"),
    ([], {**START, "status": 101}, "final response"),
    ([ACCEPT], ACCEPT, "stage 'open'"),
    ([ACCEPT], START, "stage 'open'"),
    ([ACCEPT], ws("send"), "exactly one"),
    ([ACCEPT], ws("send", text="x", bytes=b"x"), "exactly one"),
    ([ACCEPT], ws("send", text=b"x"), "must be str"),
    ([ACCEPT], ws("send", bytes=memoryview(b"x")), "must be bytes"),
    ([ACCEPT], ws("close", code=1005), "may not be sent"),
    ([ACCEPT], ws("close", code="1000"), "may not be sent"),
    ([ACCEPT], ws("close", reason=b"x"), "must be str"),
    ([ACCEPT], ws("close", reason="é" * 62), "longer than 123"),
    ([ACCEPT, CLOSE], CLOSE, "stage 'over'"),
    ([ACCEPT, CLOSE], ws("send", text="x"), "stage 'over'"),
    ([CLOSE], ACCEPT, "stage 'over'"),
    ([START], CLOSE, "stage 'denial'"),
    ([START, BODY], BODY, "stage 'over'"),
]


@pytest.mark.parametrize("messages", PASS)
def test_what_passes(messages: list[Any]) -> None:
    """Accepted or refused, either in one of the two ways that there are."""
    rules = SocketRules(["a", "b"])
    for message in messages:
        rules.check(message)


@pytest.mark.parametrize(("before", "message", "why"), REFUSED)
def test_what_is_refused(before: list[Any], message: Any, why: str) -> None:
    """With a reason, and without changing what may be sent next."""
    rules = SocketRules(["a", "b"])
    for each in before:
        rules.check(each)
    stage = rules.stage
    with pytest.raises(ProtocolViolation, match=why):
        rules.check(message)
    assert rules.stage == stage
