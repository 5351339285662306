"""The ASGI rules of the in-memory server, as tables: what passes and what is refused."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from trivet.asgi import Message
from trivet.testing._rules import ProtocolViolation, ResponseRules


def start(status: Any = 200, headers: Any = (), **more: Any) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(content: Any = b"", **more: Any) -> Message:
    return {"type": "http.response.body", "body": content, **more}


def length(size: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % size)]


PASS: list[tuple[str, list[Message]]] = [
    ("GET", [start(), body()]),
    ("GET", [{"type": "http.response.start", "status": 200}, {"type": "http.response.body"}]),
    ("GET", [start(HTTPStatus.NOT_FOUND), body(b"no")]),
    ("GET", [start(599), body(bytearray(b"no"))]),
    ("GET", [start(), body(b"a", more_body=True), body(b"", more_body=True), body(b"b", more_body=False)]),
    ("GET", [start(headers=length(3)), body(b"ab", more_body=True), body(b"c")]),
    ("GET", [start(headers=length(8)), body(memoryview(bytearray(8)).cast("I"))]),
    ("GET", [start(headers=iter([[b"x-a", b"1"], (b"x-a", b"\xff")])), body()]),
    ("GET", [start(headers=length(0) + length(0)), body()]),
    ("HEAD", [start(headers=length(3)), body()]),
    ("HEAD", [start(headers=length(3)), body(b"abc")]),
    ("GET", [start(204), body()]),
    ("GET", [start(304, length(3)), body()]),
    ("GET", [start(headers=[(b"connection", b"close")]), body()]),
]

REFUSE: list[tuple[str, list[Any], str]] = [
    # the order of messages
    ("GET", [body()], "before http.response.start"),
    ("GET", [start(), start()], "A response has one head"),
    ("GET", [start(), body(), body()], "after the response was over"),
    ("GET", [start(), body(), start()], "after the response was over"),
    # what a message is
    ("GET", [None], "takes a dict, not NoneType"),
    ("GET", [{}], "None is not a message"),
    ("GET", [{"type": "http.response.push"}], "offers no such extension"),
    ("GET", [{"type": "websocket.accept"}], "offers no such extension"),
    # the status
    ("GET", [start("200")], "status is '200'; it must be an int"),
    ("GET", [start(True)], "status is True; it must be an int"),
    ("GET", [{"type": "http.response.start"}], "status is None"),
    ("GET", [start(100)], "Interim"),
    ("GET", [start(101)], "Interim"),
    ("GET", [start(600)], "200 to 599"),
    ("GET", [start(trailers=True)], "does not offer http.response.trailers"),
    # headers
    ("GET", [start(headers={b"a": b"b"})], "headers is dict"),
    ("GET", [start(headers=None)], "headers is NoneType"),
    ("GET", [start(headers=b"a: b")], "headers is bytes"),
    ("GET", [start(headers=[b"a"])], "not a pair"),
    ("GET", [start(headers=[(b"a", b"b", b"c")])], "not a pair"),
    ("GET", [start(headers=[("a", b"b")])], "not a pair of bytes"),
    ("GET", [start(headers=[(b"a", 1)])], "not a pair of bytes"),
    ("GET", [start(headers=[(b"X-A", b"b")])], "not in lower case, as ASGI has it: b'x-a'"),
    ("GET", [start(headers=[(b"", b"b")])], "not a token"),
    ("GET", [start(headers=[(b":status", b"b")])], "not a token"),
    ("GET", [start(headers=[(b"x a", b"b")])], "not a token"),
    ("GET", [start(headers=[(b"x-\xff", b"b")])], "not a token"),
    ("GET", [start(headers=[(b"a", b"b\r\nset-cookie: c")])], "CR, LF or NUL"),
    ("GET", [start(headers=[(b"a", b"b\n")])], "CR, LF or NUL"),
    ("GET", [start(headers=[(b"a", b"\0")])], "CR, LF or NUL"),
    ("GET", [start(headers=[(b"a", b" b")])], "white space"),
    ("GET", [start(headers=[(b"transfer-encoding", b"chunked")])], "the server's to choose"),
    # the length
    ("GET", [start(headers=length(3)), body(b"abcd")], "the body has more: 4"),
    ("GET", [start(headers=length(3)), body(b"ab", more_body=True), body(b"cd", more_body=True)], "more: 4"),
    ("GET", [start(headers=length(3)), body(b"ab")], "the body has less: 2"),
    ("GET", [start(headers=length(3)), body(b"ab", more_body=True), body()], "the body has less: 2"),
    ("GET", [start(headers=length(1) + length(2))], "which one"),
    ("GET", [start(headers=[(b"content-length", b"-1")])], "decimal digits"),
    ("GET", [start(headers=[(b"content-length", b"+1")])], "decimal digits"),
    ("GET", [start(204, length(0))], "a 204, which has no content"),
    # the body
    ("GET", [start(), body("text")], "body is str; it must be bytes"),
    ("GET", [start(), body(None)], "body is NoneType"),
    ("GET", [start(), body(more_body=1)], "more_body is 1"),
    ("GET", [start(204), body(b"a")], "1 bytes of content with a 204"),
    ("GET", [start(304), body(b"a")], "1 bytes of content with a 304"),
]


@pytest.mark.parametrize(("method", "messages"), PASS)
def test_good_response_passes(method: str, messages: list[Message]) -> None:
    """A response that every server can carry is not refused."""
    rules = ResponseRules(method)
    for message in messages:
        rules.check(message)
    assert rules.stage == "over"


@pytest.mark.parametrize(("method", "messages", "reason"), REFUSE)
def test_bad_response_is_refused(method: str, messages: list[Any], reason: str) -> None:
    """The last of the messages is refused, for the reason given; the state stays what it was."""
    rules = ResponseRules(method)
    *before, last = messages
    for message in before:
        rules.check(message)
    stage = rules.stage
    with pytest.raises(ProtocolViolation) as caught:
        rules.check(last)
    assert reason in str(caught.value)
    assert stage == rules.stage


@pytest.mark.parametrize(
    ("method", "status", "bodiless"),
    [("GET", 200, False), ("HEAD", 200, True), ("GET", 204, True), ("POST", 304, True), ("POST", 205, False)],
)
def test_which_responses_have_no_content(method: str, status: int, bodiless: bool) -> None:
    """HEAD, 204 and 304 have none."""
    rules = ResponseRules(method)
    rules.check(start(status))
    assert bodiless == rules.bodiless
