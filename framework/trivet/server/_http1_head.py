"""From the bytes of one request head to what a server has to know of it. This file owns that step, and its speed.

llhttp (through httptools) reads the head; what it lets through and we do not is refused here. Which of the two found
the fault makes no difference to a client: `_http1_refusal` reads a bad head again and says what is wrong with it.
What llhttp 9 lets through with all leniency off, as tried: several spaces in a request line, a lone LF or CR before it,
HTTP/0.9, HTTP/2.0 and RTSP, `GET *`, fragments, userinfo, `gzip, chunked`, chunked on HTTP/1.0, any Host or none.

Nothing here reads a socket or knows of a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from trivet.asgi import RawHeaders

from ._http1_begun import Begun as Begun
from ._http1_begun import find_end as find_end
from ._http1_begun import skip
from ._http1_refusal import CRLF, METHODS, diagnose, is_host, split_absolute
from ._http1_refusal import Refused as Refused
from ._http1_request import RequestHead as RequestHead
from ._limits import Limits

_DECISIVE: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"))
"""The fields that decide how the connection goes on."""

_KEEP: Final = (b"keep-alive", b"Keep-Alive")
"""What browsers and most libraries send as Connection, which says nothing new on HTTP/1.1."""

_FRAGMENT: Final = ord("#")
_CR: Final = ord("\r")
"""As numbers: bytes look for one ten times as fast as for bytes of length one.

A CR is in the target if the first line has no version. llhttp takes that for HTTP/0.9, and the second for a field."""

_KNOWN_HOSTS: Final = 64
"""How many valid Host values are remembered; a server has few, and one that has many only checks more often."""

_KEPT: Final = 512
_KEPT_SIZE: Final = 1024
"""How many sections of fields are remembered, and up to which size of head."""

_PERSONAL: Final = frozenset((b"cookie", b"authorization", b"proxy-authorization"))
"""They differ between users, so remembering them would push out the others; and they are nobody else's to keep."""

_TARGET: Final = bytes(byte for byte in range(0x21, 0x7F) if byte != _FRAGMENT)


class _Fields:
    """What llhttp calls: gathers the fields of one head. A Python method is faster here than a bound C one."""

    __slots__ = ("decisive", "headers")

    def __init__(self) -> None:
        self.headers: RawHeaders = []
        self.decisive: dict[bytes, bytes] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        value = value.strip()  # llhttp leaves trailing whitespace, and has refused all but space and tab
        self.headers.append((name, value))
        if name in _DECISIVE:
            decisive = self.decisive
            # Joined as RFC 9110 section 5.3 joins lists. For the fields that are none, the comma makes them invalid.
            decisive[name] = decisive[name] + b", " + value if name in decisive else value


class HeadParser:
    """Parses one head after the other, of any connections: it keeps nothing between two heads. One is enough."""

    __slots__ = ("_feed", "_fields", "_hosts", "_known", "_limits", "_max_fields", "_plain_size")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._max_fields = limits.head_fields
        # A head that fits into the request line's limit has a request line that does.
        self._plain_size = min(limits.request_line, limits.head_size)
        self._hosts: set[bytes | None] = set()  # None is never in it; `parse` asks for it where Host is missing
        self._known: dict[bytes, RawHeaders] = {}
        self._fields = _Fields()
        self._renew()

    def _renew(self) -> None:
        """Forget llhttp's state: it would take what follows for a body, another protocol, or data after the end."""
        self._feed: Callable[[bytes], None] = HttpRequestParser(self._fields).feed_data

    def parse(self, head: bytes) -> RequestHead:
        """Read a head.

        Args:
            head: exactly one, with the empty line that ends it, as `find_end` delimits it.

        Raises:
            Refused: it is not a request that we serve.
        """
        size = len(head)
        # Eight thousand fields fit into 32 KiB, and llhttp calls us for each, four milliseconds in all: measured first.
        if size > 2048 and (size > self._limits.head_size or head.count(CRLF) > self._max_fields + 2):
            return self._again(head, None)
        fields = self._fields
        headers: RawHeaders = []
        fields.headers = headers
        decisive = fields.decisive
        decisive.clear()
        try:
            self._feed(head)
            method, target, rest = head.split(b" ", 2)
            name = METHODS[method]
        except HttpParserUpgrade:
            return self._upgrade(head, fields)
        except (HttpParserError, ValueError, KeyError) as error:
            return self._again(head, error)
        if (
            decisive.get(b"host") not in self._hosts
            or (len(decisive) > 1 and not (len(decisive) == 2 and decisive.get(b"connection") in _KEEP))
            or not rest.startswith(b"HTTP/1.1\r\n")
            or target[:1] != b"/"
            or _FRAGMENT in target
            or _CR in target
            or len(headers) > self._max_fields
            or size > self._plain_size
            or head.find(b"\r\n\r\n") != size - 4
        ):
            return self._carefully(head, fields)
        if size <= _KEPT_SIZE:
            self._keep(head, headers)
        raw_path, _, query = target.partition(b"?")
        return RequestHead(name, target, raw_path, query, headers)

    def known(self, data: bytes) -> RequestHead | None:
        """`parse`, for one whole head whose fields are, byte for byte, those of an earlier one.

        A client on a kept-alive connection sends the same fields with each request, and so does each instance of the
        same program: reading them again could only have the same outcome. The request line is read in any case.

        Returns:
            None: it takes `find_end` and `parse`; `data` may be anything.
        """
        end = data.find(CRLF)
        headers = self._known.get(data[end:])
        if headers is None:
            return None
        parts = data[:end].split(b" ")
        if len(parts) != 3 or parts[2] != b"HTTP/1.1":
            return None
        name = METHODS.get(parts[0])
        target = parts[1]
        if name is None or target[:1] != b"/" or target.translate(None, _TARGET) or len(data) > self._plain_size:
            return None
        raw_path, _, query = target.partition(b"?")
        return RequestHead(name, target, raw_path, query, headers.copy())

    def _keep(self, head: bytes, headers: RawHeaders) -> None:
        known = self._known
        if any(name in _PERSONAL for name, _ in headers):
            return
        if len(known) >= _KEPT:
            known.clear()
        known[head[head.find(CRLF) :]] = headers.copy()

    def _upgrade(self, head: bytes, fields: _Fields) -> RequestHead:
        """A head after which llhttp expects another protocol: it has been read to its end."""
        if head.split(b" ", 1)[0] in METHODS:
            return self._carefully(head, fields)
        return self._again(head, None)

    def _again(self, head: bytes, error: Exception | None) -> RequestHead:
        """Read a head without the empty lines before it, or refuse it."""
        self._renew()
        bare = head[skip(head, 0) :]
        if len(bare) < len(head) and not bare.startswith(CRLF):
            return self.parse(bare)
        raise diagnose(head, self._limits, f"The request head is malformed: {error}.") from None

    def _carefully(self, head: bytes, fields: _Fields) -> RequestHead:
        """All that is not the plain GET of `parse`. The method is known."""
        self._renew()
        limits = self._limits
        line = head.partition(CRLF)[0]
        parts = line.split(b" ")
        if (
            len(parts) != 3
            or len(fields.headers) > limits.head_fields
            or len(line) > limits.request_line
            or len(head) > limits.head_size
            or head.find(b"\r\n\r\n") != len(head) - 4
        ):
            raise diagnose(head, limits, "The request head is malformed.")
        method, target, version = parts
        headers, decisive = fields.headers, fields.decisive
        modern = version == b"HTTP/1.1"
        host = decisive.get(b"host")
        coding, length = decisive.get(b"transfer-encoding"), decisive.get(b"content-length", b"0")
        if (
            not (modern or version == b"HTTP/1.0")
            or (modern if host is None else not self._knows(host))
            or (coding is not None and (coding.lower() != b"chunked" or not modern or b"content-length" in decisive))
            or not (length.isdigit() and len(length) < 19)
        ):
            raise diagnose(head, limits, "The request head is malformed.")
        authority, raw_path, query = self._split(head, method, target)
        if authority is not None:
            headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
        options = _tokens(decisive[b"connection"]) if b"connection" in decisive else []
        keep = b"close" not in options and (modern or b"keep-alive" in options)
        made = RequestHead(METHODS[method], target, raw_path, query, headers)
        made.version = "1.1" if modern else "1.0"
        made.keep_alive = keep
        made.length = int(length) if coding is None else None
        made.expect = modern and b"100-continue" in _tokens(decisive.get(b"expect", b""))
        made.upgrade = decisive.get(b"upgrade", b"").lower() if modern and b"upgrade" in options else b""
        return made

    def _split(self, head: bytes, method: bytes, target: bytes) -> tuple[bytes | None, bytes, bytes]:
        """Authority (of a whole URI, else `None`), path and query of a target."""
        if _FRAGMENT not in target:
            if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
                path, _, query = target.partition(b"?")
                return None, path, query
            absolute = split_absolute(target)
            if absolute and absolute[1] and is_host(absolute[1]):
                return absolute[1], absolute[2] or b"/", absolute[3] or b""
        raise diagnose(head, self._limits, "The request target is malformed.")

    def _knows(self, host: bytes) -> bool:
        if host not in self._hosts:
            if not is_host(host):
                return False
            if len(self._hosts) >= _KNOWN_HOSTS:
                self._hosts.clear()
            if len(host) < 256:
                self._hosts.add(host)
        return True


def _tokens(value: bytes) -> list[bytes]:
    """The members of a list of tokens (RFC 9110 section 5.6.1), in lower case."""
    return [token.strip(b" \t") for token in value.lower().split(b",")]
