"""What an ASGI application may send in answer to one HTTP request: the checks of the in-memory server.

This file owns one decision: whether a message is one that every server can carry, as `wsgiref.validate` does
for WSGI. It is a plain state machine. It knows nothing of Trio, of pipes or of who reads the response.

The source of a rule stands beside it: ASGI is the HTTP specification 2.5, section numbers are RFC 9110's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, cast

from trivet.asgi import Message, RawHeaders

__all__ = ["ProtocolViolation", "ResponseRules"]

# RFC 9110 5.6.2 (token), in lower case: ASGI has header names lower-cased, whatever the HTTP version.
NAME_CHARACTERS = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")

# RFC 9110 5.5: CR, LF and NUL end or split a header; a proxy may read another one behind them.
FORBIDDEN_IN_VALUES = (b"\r", b"\n", b"\0")


class ProtocolViolation(AssertionError):
    """The application broke the ASGI specification: some server would refuse or garble its response.

    Raised from the application's `send` and again in the test, where the application cannot hide it.
    """


class ResponseRules:
    """The messages of one response, in their order.

    Args:
        method: the request's method; the answer to HEAD and to CONNECT has rules of its own.
    """

    __slots__ = ("_declared", "_method", "_sent", "_status", "stage")

    def __init__(self, method: str) -> None:
        self._method = method
        self._status = 0
        # Bytes that content-length promised; None when the application leaves the framing to the server.
        self._declared: int | None = None
        self._sent = 0
        self.stage: Literal["head", "body", "over"] = "head"

    @property
    def bodiless(self) -> bool:
        """Whether the server drops the content of this response (RFC 9110 6.4.1)."""
        return self._method == "HEAD" or self._status in (204, 304)

    def check(self, message: Message) -> None:
        """Accept the next message or refuse it.

        Raises:
            ProtocolViolation: the message may not be sent now, or not at all; the state is what it was
                before.
        """
        if not isinstance(message, dict):
            raise ProtocolViolation(f"send() takes a dict, not {_kind(message)}: {message!r}")
        kind = message.get("type")
        if self.stage == "over":
            raise ProtocolViolation(
                f"{kind!r} after the response was over.\n"
                "The message with more_body=False (its default) is the last one of a response."
            )
        if kind == "http.response.start":
            self._check_start(message)
        elif kind == "http.response.body":
            self._check_body(message)
        else:
            raise ProtocolViolation(
                f"{kind!r} is not a message that this server takes: its scope offers no such extension.\n"
                "An HTTP response is one http.response.start, then http.response.body, once or more."
            )

    def _check_start(self, message: Message) -> None:
        if self.stage != "head":
            raise ProtocolViolation(
                f"http.response.start ({message.get('status')}) after http.response.start ({self._status}).\n"
                "A response has one head; what was sent cannot be taken back."
            )
        status = message.get("status")
        # bool is an int to isinstance(), and http.HTTPStatus is one that servers do take.
        if not isinstance(status, int) or isinstance(status, bool):
            raise ProtocolViolation(f"status is {status!r}; it must be an int")
        if not 200 <= status <= 599:
            raise ProtocolViolation(
                f"status {status} is not the status of a final response: 200 to 599.\n"
                "Interim (1xx) responses are the server's to send (RFC 9110 15.2)."
            )
        if message.get("trailers"):
            raise ProtocolViolation("trailers=True, but this server's scope does not offer http.response.trailers")
        headers = checked_headers(message.get("headers", ()))
        self._declared = self._declared_length(status, headers)
        self._status = status
        self.stage = "body"

    def _declared_length(self, status: int, headers: RawHeaders) -> int | None:
        lengths = {value for name, value in headers if name == b"content-length"}
        if not lengths:
            return None
        if status == 204:
            raise ProtocolViolation("content-length on a 204, which has no content (RFC 9110 8.6)")
        if len(lengths) > 1:
            raise ProtocolViolation(f"content-length says {sorted(lengths)}: which one? (RFC 9110 8.6)")
        (length,) = lengths
        if not length.isdigit():
            raise ProtocolViolation(f"content-length is {length!r}; it must be decimal digits (RFC 9110 8.6)")
        # The length of a HEAD or 304 is that of the response which is not sent (RFC 9110 8.6).
        return None if self._method == "HEAD" or status == 304 else int(length)

    def _check_body(self, message: Message) -> None:
        if self.stage == "head":
            raise ProtocolViolation("http.response.body before http.response.start: a response begins with its head")
        body: object = message.get("body", b"")
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise ProtocolViolation(f"body is {_kind(body)}; it must be bytes:  body=text.encode()")
        more = message.get("more_body", False)
        if not isinstance(more, bool):
            raise ProtocolViolation(f"more_body is {more!r}; it must be True or False")
        # A memoryview's length counts items, not bytes.
        size = body.nbytes if isinstance(body, memoryview) else len(body)
        if size and self._status in (204, 304):
            raise ProtocolViolation(f"{size} bytes of content with a {self._status}, which has none (RFC 9110 6.4.1)")
        self._check_length(size, more)
        self._sent += size
        if not more:
            self.stage = "over"

    def _check_length(self, size: int, more: bool) -> None:
        if self._declared is None:
            return
        total = self._sent + size
        if total > self._declared or (not more and total < self._declared):
            what = "more" if total > self._declared else "less"
            raise ProtocolViolation(
                f"content-length says {self._declared} bytes, the body has {what}: {total}.\n"
                "The client would take the next response for a part of this one, or wait for the rest."
            )


def checked_headers(headers: object) -> RawHeaders:
    """The headers of a message, as a list of pairs of bytes.

    Raises:
        ProtocolViolation: one of them is not what ASGI or HTTP has as a header.
    """
    kind = _kind(headers)
    if not isinstance(headers, Iterable) or isinstance(headers, (bytes, str, dict)):
        raise ProtocolViolation(
            f'headers is {kind}; it must be an iterable of pairs of bytes:  [(b"content-type", b"text/plain")]'
        )
    checked: RawHeaders = []
    for header in cast(Iterable[object], headers):
        if not isinstance(header, (tuple, list)) or len(cast("list[object]", header)) != 2:
            raise ProtocolViolation(f"header {header!r} is not a pair (name, value)")
        name, value = cast("list[object]", header)
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ProtocolViolation(f"header ({name!r}, {value!r}) is not a pair of bytes: encode it as latin-1")
        _check_header(name, value)
        checked.append((name, value))
    return checked


def _check_header(name: bytes, value: bytes) -> None:
    if name != name.lower():
        raise ProtocolViolation(f"header name {name!r} is not in lower case, as ASGI has it: {name.lower()!r}")
    if not name or not NAME_CHARACTERS.issuperset(name):
        raise ProtocolViolation(f"header name {name!r} is not a token (RFC 9110 5.6.2)")
    if any(character in value for character in FORBIDDEN_IN_VALUES):
        raise ProtocolViolation(f"header {name!r} has CR, LF or NUL in its value {value!r} (RFC 9110 5.5)")
    if value != value.strip(b" \t"):
        raise ProtocolViolation(f"header {name!r} has white space around its value {value!r} (RFC 9110 5.5)")
    if name == b"transfer-encoding":
        raise ProtocolViolation("transfer-encoding is the server's to choose (ASGI, 'Response Start'): leave it out")


def _kind(value: object) -> str:
    return type(value).__name__
