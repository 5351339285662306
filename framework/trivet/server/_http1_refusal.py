"""Why a request is refused before an application sees it. This file owns the strict grammar and what it tells a client.

It is asked only when something is wrong already, so it reads the head once more, slowly, line by line, and names the
first fault. It knows neither llhttp nor connections: bytes and limits in, a status and a sentence out.

We are stricter than a recipient has to be (RFC 9112 allows to repair some of it), because two recipients that repair
differently see different requests in the same bytes, and that is what request smuggling lives on.
"""

from __future__ import annotations

import re
from typing import Final

from ._limits import Limits

CRLF: Final = b"\r\n"

_NAMES: Final = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"),
    *("COPY", "LOCK", "UNLOCK", "MKCOL", "MOVE", "PROPFIND", "PROPPATCH", "SEARCH", "BIND"),
    *("REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE", "MKCALENDAR", "M-SEARCH"),
    *("NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "LINK", "UNLINK", "SOURCE"),
)
METHODS: Final = {name.encode(): name for name in _NAMES}
"""What llhttp knows, without CONNECT (we are no proxy) and RTSP's."""

_METHOD_SHOWN: Final = 32
"""Bytes of a word that the log takes for a method; IANA's longest has 17."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_is_token = re.compile(_TOKEN).fullmatch
_is_version = re.compile(rb"HTTP/\d\.\d").fullmatch
_is_field = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*").fullmatch
_is_target = re.compile(rb"[\x21\x22\x24-\x7e]+").fullmatch
_is_authority = re.compile(
    # RFC 3986 section 3.2.2 without the comma, which would join two Host fields into a valid one.
    rb"(?:\[[0-9A-Fa-f:.]{2,}\]|\[[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+;=:-]+\]"
    rb"|(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?"
).fullmatch
split_absolute = re.compile(rb"(?i:https?)://([^/?]*)(/[^?]*)?(?:\?(.*))?").fullmatch


class Refused(Exception):
    """The bytes of a client are no request that we serve. The connection is closed after the answer.

    Attributes:
        status: of the answer: 400, 413, 414, 426, 431, 501 or 505.
        detail: what came and what would be right, for the body of the answer.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


def is_host(value: bytes) -> bool:
    """Whether a Host field holds an authority without userinfo, or nothing (RFC 9110 section 7.2)."""
    return not value or _is_authority(value) is not None


def is_authority(value: bytes) -> bool:
    """Whether this can stand in an `http` URI: as `is_host`, but never empty (RFC 9110 section 4.2.1)."""
    return _is_authority(value) is not None


def line_of(came: bytes, limit: int) -> tuple[str, bytes, str]:
    """Method, path and HTTP version of a request that was refused; each empty where it cannot be read.

    For the access log, which must hold neither a query, nor the userinfo of a whole URI, nor a header, nor what is no
    request at all. What may go on behind what came is not known.

    Args:
        came: what was read of the head.
        limit: how many bytes of it are looked at.
    """
    line, ended, _ = came[:limit].lstrip(CRLF).replace(b"\r", b"\n").partition(b"\n")
    method, space, rest = line.partition(b" ")
    if not space or len(method) > _METHOD_SHOWN or not _is_token(method):
        return "", b"", ""
    target, space, version = rest.partition(b" ")
    path, query, _ = target.partition(b"?")
    if absolute := split_absolute(target):
        path = absolute[2] or b"/"
    known = (path.startswith(b"/") or path == b"*") and (space or query or ended)
    return method.decode(), path if known else b"", version[5:].decode() if ended and _is_version(version) else ""


def diagnose(head: bytes, limits: Limits, reason: str) -> Refused:
    """The first fault of a head that was found wanting.

    Args:
        head: from the request line to the empty line, both included.
        limits: of the connection.
        reason: what to say if the grammar here finds no fault: the parser's own words.
    """
    line, _, fields = head.partition(CRLF)
    if len(line) > limits.request_line:
        return line_too_long(limits)
    if len(head) > limits.head_size:
        return head_too_large(limits)
    if fault := stray_fault(head):
        return fault
    if fault := line_fault(line, limits):
        return fault
    if not head.endswith(b"\r\n\r\n") or head.index(b"\r\n\r\n") != len(head) - 4:
        return Refused(400, "The request head must end with its first empty line.")
    lines = fields[: -len(CRLF)].split(CRLF)[:-1]
    return _fields(lines, limits) or _host(line, lines) or _framing(line, lines) or Refused(400, reason)


def trailer_fault(line: bytes, ended: bool) -> Refused | None:
    """What is wrong with one trailer line of a chunked body, without its CR LF; if it has not `ended`, so far."""
    if fault := stray_fault(line, "trailer section"):
        return fault
    if ended and not _is_field(line):
        return Refused(400, f"The trailer line {_show(line)} is not 'name: value'.")
    return None


def line_too_long(limits: Limits) -> Refused:
    """414."""
    return Refused(414, f"The request line is longer than {limits.request_line} bytes.")


def head_too_large(limits: Limits) -> Refused:
    """431, for bytes."""
    return Refused(431, f"The request head is larger than {limits.head_size} bytes.")


def too_many_fields(limits: Limits) -> Refused:
    """431, for lines."""
    return Refused(431, f"The request has more than {limits.head_fields} header fields.")


def stray_fault(head: bytes, part: str = "request head") -> Refused | None:
    """Bytes that no part of a head may hold. Some recipients end a line at a bare CR or LF, some do not."""
    if b"\0" in head:
        return Refused(400, f"The {part} holds a NUL byte.")
    pairs = head.count(CRLF)
    if head.count(b"\n") != pairs or head.count(b"\r") != pairs:
        return Refused(400, f"A line of the {part} must end with CR LF; a bare CR or LF is refused.")
    return None


def line_fault(line: bytes, limits: Limits) -> Refused | None:
    """What is wrong with a request line, without its CR LF."""
    if len(line) > limits.request_line:
        return line_too_long(limits)
    parts = line.split(b" ")
    if len(parts) != 3:
        return Refused(
            400, f"The request line must be 'METHOD target HTTP/1.1', with single spaces, not {_show(line)}."
        )
    method, target, version = parts
    if not _is_token(method):
        return Refused(400, f"The method {_show(method)} is not a token (RFC 9110 section 5.6.2).")
    if not _is_version(version):
        return Refused(400, f"The request line must end with HTTP/1.1 or HTTP/1.0, not {_show(version)}.")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        return Refused(505, f"{_show(version)} is not spoken here; HTTP/1.1 and HTTP/1.0 are.")
    if method not in METHODS:
        hint = " Methods are case-sensitive." if method.upper() in METHODS else ""
        return Refused(501, f"The method {_show(method)} is not implemented.{hint}")
    return _target(method, target)


def _target(method: bytes, target: bytes) -> Refused | None:
    if not _is_target(target):
        return Refused(400, "The request target holds a byte that must be percent-encoded, or a fragment (#).")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return None
    absolute = split_absolute(target)
    if absolute is None:
        return Refused(400, f"The request target must be a path that starts with a slash, not {_show(target)}.")
    if not is_authority(absolute[1]):
        return Refused(400, f"The authority {_show(absolute[1])} of the request target is not host[:port].")
    return None


def _fields(lines: list[bytes], limits: Limits) -> Refused | None:
    if len(lines) > limits.head_fields:
        return too_many_fields(limits)
    for line in lines:
        if _is_field(line):
            continue
        name, colon, _ = line.partition(b":")
        if line.startswith((b" ", b"\t")):
            return Refused(400, "A header field is folded over several lines, which RFC 9112 section 5.2 forbids.")
        if not colon:
            return Refused(400, f"The header line {_show(line)} has no colon.")
        if name.endswith((b" ", b"\t")):
            return Refused(400, f"There is whitespace between the header name {_show(name.strip())} and its colon.")
        if not _is_token(name):
            return Refused(400, f"The header name {_show(name)} is not a token (RFC 9110 section 5.6.2).")
        return Refused(400, f"The value of the header {_show(name)} holds a control character.")
    return None


def _values(lines: list[bytes], name: bytes) -> list[bytes]:
    pairs = (line.split(b":", 1) for line in lines)
    return [value.strip(b" \t") for found, value in pairs if found.lower() == name]


def _host(line: bytes, lines: list[bytes]) -> Refused | None:
    hosts = _values(lines, b"host")
    if len(hosts) > 1:
        return Refused(400, "The request has more than one Host field.")
    if hosts and not is_host(hosts[0]):
        return Refused(400, f"The Host field must be host[:port], not {_show(hosts[0])}.")
    if not hosts and line.endswith(b"1.1"):
        return Refused(400, "An HTTP/1.1 request must have a Host field (RFC 9112 section 3.2).")
    return None


def _framing(line: bytes, lines: list[bytes]) -> Refused | None:
    lengths, codings = _values(lines, b"content-length"), _values(lines, b"transfer-encoding")
    if lengths and codings:
        return Refused(400, "The request has both Content-Length and Transfer-Encoding.")
    if len(lengths) > 1:
        return Refused(400, "The request has more than one Content-Length field.")
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) < 19):
        return Refused(400, f"Content-Length must be a decimal number of bytes, not {_show(lengths[0])}.")
    if codings and line.endswith(b"1.0"):
        return Refused(400, "Transfer-Encoding is not defined for HTTP/1.0 (RFC 9112 section 6.1).")
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
        return Refused(400, f"Transfer-Encoding must be 'chunked', not {_show(b', '.join(codings))}.")
    return None


def _show(came: bytes) -> str:
    """What came, short and printable: the answer must not carry a client's control characters into a log."""
    text = repr(came[:60])[1:]
    return text if len(came) <= 60 else f"{text} and so on"
