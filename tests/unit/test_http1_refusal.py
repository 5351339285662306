"""What the access log may say of a request whose head was refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.server._http1_refusal import line_of

UNREAD = "", b"", ""


@pytest.mark.parametrize(
    ("came", "line"),
    [
        (b"GET /a?secret HTTP/1.1\r\nA: secret\r\n", ("GET", b"/a", "1.1")),
        (b"\r\n\r\nGET /a HTTP/1.0\r\n", ("GET", b"/a", "1.0")),
        (b"PRI * HTTP/2.0\r\n\r\nSM", ("PRI", b"*", "2.0")),
        (b"GET http://u:secret@h/a?secret HTTP/1.1\r\n", ("GET", b"/a", "1.1")),
        (b"GET http://u:secret@h HTTP/1.1\r\n", ("GET", b"/", "1.1")),
        (b"CONNECT u:secret@h:1 HTTP/1.1\r\n", ("CONNECT", b"", "1.1")),
        (b"GET secret HTTP/1.1\r\n", ("GET", b"", "1.1")),
        (b"GET /a\x00b HTTP/1.1\r\n", ("GET", b"/a\x00b", "1.1")),
        (b"GET /a b HTTP/1.1\r\n", ("GET", b"/a", "")),
        (b"GET /a HTTP/1.1", ("GET", b"/a", "")),
        (b"GET /a\r\n", ("GET", b"/a", "")),
        (b"GET /a\nCookie:secret\n", ("GET", b"/a", "")),
        (b"GET /a\rCookie:secret", ("GET", b"/a", "")),
        (b"GET /a?sec", ("GET", b"/a", "")),
        (b"GET /a", ("GET", b"", "")),
        (b"GET http://h/a", ("GET", b"", "")),
        (b"GET /" + b"a" * 95 + b" HTTP/1.1\r\n", ("GET", b"", "")),
        (b"GET ", ("GET", b"", "")),
        (b"GET", UNREAD),
        (b"", UNREAD),
        (b"\r\n", UNREAD),
        (b"\x16\x03\x01 /a HTTP/1.1\r\n", UNREAD),
        (b"A" * 33 + b" /a HTTP/1.1\r\n", UNREAD),
        (b"Cookie: /secret HTTP/1.1\r\n", UNREAD),
    ],
)
def test_what_can_be_read_of_a_refused_request(came: bytes, line: tuple[str, bytes, str]) -> None:
    """As far as it goes, and nothing that could be a secret."""
    assert line_of(came, 100) == line


@given(st.binary(), st.integers(0, 30))
def test_any_bytes_can_be_looked_at(came: bytes, limit: int) -> None:
    """None of them raises; a path is one that a client sent as such."""
    method, path, version = line_of(came, limit)
    assert method.encode() in came
    assert path in came
    assert version.encode() in came
