"""How a response is written in HTTP/1.1 (RFC 9112). This file owns the bytes of its head and the framing of its body.

Sans-I/O: it turns what the application said into bytes, and refuses what would put the connection out of step. Held
back until the first part of the body is known, a head gets the best framing: a body that comes in one part has a
`Content-Length`, whether the application set one or not.

    the application's body                       HTTP/1.1                HTTP/1.0
    none may be sent (HEAD, 204, 304)            no framing fields, but for what the application says of HEAD and 304
    `Content-Length` set, or all in one part     that length             that length
    several parts, no length                     chunked                 ended by closing
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any, Final

import msgspec

from trivet.asgi import Answer
from trivet.errors import TrivetError

from ._http1_head import RequestHead


class ResponseFault(TrivetError):
    """The application sent what no response can hold. Nothing of the message has gone out."""


_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(200, 600)
}
# The version of a response is ours, also to a client of 1.0 (RFC 9110 section 6.2).

BODILESS: Final = (204, 304)
"""A response with one of these ends with its head (RFC 9112 section 6.3, rule 1)."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN: Final = re.compile(rb"[\r\n\0]")
_DIGITS: Final = re.compile(rb"[0-9]{1,19}")

PLAIN, LENGTH, CODING, CONNECTION, DATE = range(5)
_KINDS: Final = {
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"keep-alive": CODING,  # hop by hop, and ours: dropped, as a transfer coding is
    b"proxy-connection": CODING,
    b"date": DATE,
}

# Fields repeat: the same content type, the same few lengths. What has been checked and written once is looked up.
_LINES: dict[tuple[bytes, bytes], tuple[bytes, int, int]] = {}
_LINES_KEPT: Final = 2048
_LINE_KEPT: Final = 128

_JOINED: Final = 65_536
"""Copying so much takes as long as a system call."""


def _line(field: Any) -> tuple[bytes, int, int]:
    """A field of the application's as a line, what it means to us, and the number in it if that is a length.

    Raises:
        ResponseFault: it would end the line, or is no field at all.
    """
    name, value = field
    name, value = bytes(name), bytes(value)
    if not _TOKEN.fullmatch(name):
        raise ResponseFault(f"the response header name {name!r} is no token (RFC 9110 section 5.1)")
    if _FORBIDDEN.search(value):
        raise ResponseFault(f"the response header {name.decode()} holds a line break or NUL: {value!r}")
    kind = _KINDS.get(name.lower(), PLAIN)
    if kind == LENGTH and not _DIGITS.fullmatch(value):
        raise ResponseFault(f"the response's Content-Length is {value!r}, which is no number of bytes")
    line = name + b": " + value + b"\r\n"
    made = line, kind, int(value) if kind == LENGTH else 0
    if len(_LINES) < _LINES_KEPT and len(line) <= _LINE_KEPT:
        _LINES[name, value] = made
    return made


def lines_of(headers: Iterable[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Fields of the application's: name in lower case, and line.

    Raises:
        ResponseFault: one cannot be sent.
    """
    for field in headers:
        line = _line(field)[0]
        yield line.partition(b":")[0].lower(), line


def check_status(status: object) -> None:
    """Refuse what is no status of a response. `http.HTTPStatus` is one.

    Raises:
        ResponseFault: it is none. 1xx would take the connection out of step; 101 is not ours to give.
    """
    if status not in _STATUS_LINES or not isinstance(status, int):
        raise ResponseFault(f"the application answered with the status {status!r}; a response has 200 to 599")


class ResponseWriter:
    """One response, part by part. The caller keeps the order: nothing behind the last part.

    Args:
        head: of the request.
        status: of the response.
        headers: the application's.
        closes: whether the connection has to be closed behind it, whatever is in it.

    Raises:
        ResponseFault: it cannot be sent.
    """

    __slots__ = ("_bodiless", "_chunked", "_dated", "_left", "_lines", "_version", "closes", "status")

    def __init__(self, head: RequestHead, status: int, headers: Iterable[Any], *, closes: bool) -> None:
        check_status(status)
        self._version = head.version
        self._left: int | None = None  # bytes still owed to the `Content-Length`
        self._bodiless = status in BODILESS or head.method == "HEAD"
        self._chunked = False
        self._dated = False
        self.closes = closes or not head.keep_alive
        """Whether the connection must be closed after this response."""
        self.status = status
        lines = [_STATUS_LINES[status]]
        for field in headers:
            try:
                line, kind, number = _LINES[field]
            except (KeyError, TypeError):  # TypeError: ASGI allows lists, which do not hash
                line, kind, number = _line(field)
            if kind == PLAIN:
                lines.append(line)
            else:
                self._special(kind, line, number, lines)
        self._lines: list[bytes] | None = lines  # the head, while it is held back

    @property
    def sent(self) -> bool:
        """Whether the head has been given out."""
        return self._lines is None

    @property
    def ends_with_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return self.sent and self._left is None and not self._chunked and not self._bodiless

    def _special(self, kind: int, line: bytes, length: int, lines: list[bytes]) -> None:
        if kind == LENGTH:
            if self._left is not None:
                if self._left != length:
                    raise ResponseFault(f"the response has two Content-Lengths, {self._left} and {length}")
                return
            if self.status != 204:  # RFC 9110 section 8.6
                self._left = length
                lines.append(line)
        elif kind == DATE:
            self._dated = True
            lines.append(line)
        elif kind == CONNECTION and b"close" in line.lower():
            self.closes = True

    def body(self, data: bytes, more: bool, tail: bytes, undated: bytes) -> tuple[bytes, ...]:
        """A part of the body as what the connection has to send, behind the head if that has been held back.

        Several pieces where joining them would copy much; none where there is nothing to send.

        Args:
            data: of any length.
            more: whether another part follows.
            tail: the fields that the server adds, with `Date`, and the empty line.
            undated: the same without `Date`.

        Raises:
            ResponseFault: more or less than the `Content-Length` says. Nothing of this part has gone out; a head that
                was held back can still be replaced.
            TypeError: `data` is no bytes; nothing of it has gone out either.
        """
        memoryview(data)  # TypeError: it is text, or the like; in the middle of writing it would be too late
        left = None if self._bodiless else self._left
        if left is not None and (len(data) > left or (not more and len(data) < left)):
            raise ResponseFault(
                "the response's body does not have the length that its Content-Length says "
                f"(at a part of {len(data)} bytes, with {left} to come)"
            )
        lines = self._lines
        if lines is None:
            return _joined(self._frame(data, more))
        self._choose_framing(data, more, lines)
        lines.append(undated if self._dated else tail)
        self._lines = None
        return _joined((*lines, *self._frame(data, more)))

    def _choose_framing(self, data: bytes, more: bool, lines: list[bytes]) -> None:
        if self._left is None and not self._bodiless:
            if not more:
                self._left = len(data)
                lines.append(b"content-length: %d\r\n" % len(data))
            elif self._version == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.closes = True
        if self.closes:
            lines.append(b"connection: close\r\n")
        elif self._version == "1.0":
            lines.append(b"connection: keep-alive\r\n")

    def _frame(self, data: bytes, more: bool) -> tuple[bytes, ...]:
        if self._bodiless:
            return ()
        if self._left is not None:
            self._left -= len(data)
            return (data,)
        if self._chunked:
            chunk = (b"%x\r\n" % len(data), data, b"\r\n") if data else ()
            return chunk if more else (*chunk, LAST_CHUNK)
        return (data,)


def _joined(pieces: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """One piece where that is cheaper than another system call."""
    if sum(map(len, pieces)) <= _JOINED:
        return (b"".join(pieces),)
    return tuple(piece for piece in pieces if piece)


def whole_of(status: int, headers: Iterable[Any], body: bytes, method: str, tail: bytes) -> bytes | None:
    """A response in one part, on a connection that stays open; None where it takes a `ResponseWriter`.

    Raises:
        ResponseFault: it cannot be sent.
    """
    line = _STATUS_LINES.get(status)
    if line is None or status == 204 or status == 304 or method == "HEAD" or len(body) > _JOINED:
        return None
    lines = [line]
    measured = False
    for field in headers:
        try:
            line, kind, number = _LINES[field]
        except (KeyError, TypeError):  # TypeError: ASGI allows lists, which do not hash
            line, kind, number = _line(field)
        if kind:
            # The `Content-Length` that this body has; everything else is worth a closer look.
            if kind != LENGTH or measured or number != len(body):
                return None
            measured = True
        lines.append(line)
    if not measured:
        lines.append(b"content-length: %d\r\n" % len(body))
    lines.append(tail)
    lines.append(body)
    return b"".join(lines)


def answer_of(head: RequestHead, answer: Answer, closes: bool, tails: tuple[bytes, bytes]) -> tuple[bytes, bool]:
    """An answer of the direct door as bytes, and whether the connection closes behind it.

    Raises:
        ResponseFault: it cannot be sent.
    """
    status, headers, body = answer
    if head.keep_alive and not closes and head.version == "1.1":
        data = whole_of(status, headers, body, head.method, tails[0])
        if data is not None:
            return data, False
    writer = ResponseWriter(head, status, headers, closes=closes)
    return b"".join(writer.body(body, False, *tails)), writer.closes


def refusal(status: int, detail: str, tail: bytes, method: str) -> tuple[bytes, int]:
    """What the server answers by itself, before it closes: a problem (RFC 9457); and the size of its body.

    Args:
        status: of the answer.
        detail: of the problem; may be empty.
        tail: the fields that the server adds, and the empty line.
        method: of the request, if it is known: HEAD is not answered with a body (RFC 9110 section 9.3.2).
    """
    problem = {"type": "about:blank", "title": _PHRASES.get(status, ""), "status": status, "detail": detail}
    body = msgspec.json.encode({name: value for name, value in problem.items() if value})
    again = b"retry-after: 1\r\n" if status == 503 else b""  # it stops; another one, or the next, does not
    head = b"%bcontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n%b%b" % (
        _STATUS_LINES[status], len(body), again, tail,
    )  # fmt: skip
    return (head, 0) if method == "HEAD" else (head + body, len(body))
