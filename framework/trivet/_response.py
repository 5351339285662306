"""A response as a value: what a handler, a catcher or middleware holds and changes until it is sent.

This file owns its parts and how they belong together. What HTTP can carry is for `_response_head` to say,
which values become which response for `_results`, and sending is for those above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from datetime import datetime, timedelta
from typing import ClassVar, TypeVar, cast

from ._cookies import SameSite, serialize_cookie, serialize_removal
from ._headers import MutableHeaders
from ._response_head import Field, checked_status, content_type, final_head
from .asgi import RawHeaders
from .errors import ResponseError

TEXT: Field = (b"content-type", b"text/plain; charset=utf-8")
_HTML: Field = (b"content-type", b"text/html; charset=utf-8")
_BYTES: Field = (b"content-type", b"application/octet-stream")

SMALL = 1024
# Formatting a number costs a third of `start`; most bodies are small.
LENGTHS: tuple[Field, ...] = tuple((b"content-length", b"%d" % length) for length in range(SMALL))

_R = TypeVar("_R", bound="Response")


class Response:
    """A whole response: status, header and body.

    Nothing in it is final until it is sent; status, headers, cookies and body may be changed by whoever holds
    it (middleware, say). One that is kept and returned more than once is shared by those requests, changes
    included.

    Args:
        content: the body; text is encoded as UTF-8.
        status: 200 to 599.
        headers: the header fields; a `Content-Type` among them wins over `media_type`.
        media_type: of the content; `charset=utf-8` is added to a `text/` type when the content is text. Text
            is `text/plain` and bytes are `application/octet-stream` if it is not given; an empty body has no
            type.

    Raises:
        ResponseError: `status` is not 200 to 599.
        ValueError: a header or the media type has something that cannot be sent.
        TypeError: `content` is neither text nor bytes.
    """

    __slots__ = ("_headers", "_type", "body", "status")

    body: bytes
    status: int
    _type: Field | None  # Content-Type while `_headers` is None; afterwards it stands among them
    _headers: MutableHeaders | None  # made when somebody asks for it

    # Content-Type when the constructor is not told: of text, and of bytes that are not empty.
    _text_type: ClassVar[Field] = TEXT
    _bytes_type: ClassVar[Field] = _BYTES

    def __init__(
        self,
        content: str | bytes = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        if isinstance(content, str):
            self.body = content.encode()
            self._type = self._text_type if media_type is None else content_type(media_type, text=True)
        else:
            self.body = _octets(content)
            if media_type is not None:
                self._type = content_type(media_type)
            else:
                self._type = self._bytes_type if self.body else None
        self.status = checked_status(status)
        self._headers = None
        if headers is not None:
            self._update(headers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}, {len(self.body)} bytes>"

    @property
    def headers(self) -> MutableHeaders:
        """The header fields, to be read and changed until the response is sent.

        `Content-Type` is among them and may be replaced or deleted; `Content-Length` is only if it was set by
        hand.
        """
        headers = self._headers
        if headers is None:
            headers = self._headers = MutableHeaders()
            if self._type is not None:
                headers.raw.append(self._type)
        return headers

    def set_cookie(
        self,
        name: str,
        value: str = "",
        *,
        max_age: float | timedelta | None = None,
        expires: datetime | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Ask the browser to keep a cookie.

        Args:
            name: a token; the prefixes `__Host-` and `__Secure-` bind the browser to their rules.
            value: sent as it is: printable ASCII without blanks, quotes, commas, semicolons and backslashes.
            max_age: seconds (or a `timedelta`) to keep it; without it and `expires`, until the browser is
                closed.
            expires: when to forget it; with a time zone. `max_age` wins where both are given.
            path: the part of the site that gets it back; `None`: the directory of the request's path.
            domain: the domain that gets it back with all its subdomains; `None`: this host only.
            secure: only over HTTPS.
            httponly: hidden from scripts.
            samesite: `"lax"`: not on requests that other sites make in the background; `"strict"`: on none
                that start there; `"none"`: on all, which asks for `secure`; `None`: what the browser thinks
                best.
            partitioned: kept apart for each site that embeds this one (CHIPS); asks for `secure`.

        Raises:
            ValueError: a browser would drop the cookie, or HTTP cannot carry it; the message has the remedy.
        """
        cookie = serialize_cookie(
            name,
            value,
            max_age=max_age,
            expires=expires,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )
        self.headers.add("set-cookie", cookie)

    def delete_cookie(
        self,
        name: str,
        *,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Ask the browser to forget a cookie.

        `path`, `domain` and `partitioned` must be those it was set with: they are part of its identity. The
        arguments are those of `set_cookie`; a name with a prefix is `Secure` by itself.

        Raises:
            ValueError: as `set_cookie`.
        """
        cookie = serialize_removal(
            name,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )
        self.headers.add("set-cookie", cookie)

    def start(self, method: str) -> tuple[int, RawHeaders]:
        """The head as it goes out; changes nothing, so that it may be asked for again.

        The answer to HEAD has the head of the answer to GET, and its body is not sent; a handler of its own
        for HEAD may set a `Content-Length` with an empty body. 204 and 304 have no `Content-Length` and no
        `Content-Type`.

        Args:
            method: of the request.

        Returns:
            The status, and a new list of the fields with their names in lower case.

        Raises:
            ResponseError: HTTP cannot carry it: a status outside 200 to 599, content with 204, 205 or 304, a
                `Content-Length` that is not the body's, `Transfer-Encoding`.
        """
        body = self.body
        # What nearly every response is: 200, and nobody touched its header.
        if self._headers is None and type(body) is bytes and self.status == 200:
            length = len(body)
            field = LENGTHS[length] if length < SMALL else (b"content-length", b"%d" % length)
            return 200, [field] if self._type is None else [self._type, field]
        if not isinstance(body, bytes):
            raise ResponseError(
                f"the body of a response was replaced by {type(body).__name__}; it is bytes.\n"
                "Encode it:  response.body = text.encode()"
            )
        return final_head(self.status, self._fields(), len(body), method)

    def _fields(self) -> Iterable[Field]:
        if self._headers is not None:
            return self._headers.raw
        return () if self._type is None else (self._type,)

    def _update(self, headers: Mapping[str, str]) -> None:
        fields = self.headers
        for name, value in headers.items():
            fields[name] = value


class Text(Response):
    """Plain text. The arguments are those of `Response`; the media type is `text/plain`."""

    __slots__ = ()
    _bytes_type = TEXT


class HTML(Response):
    """A page. The arguments are those of `Response`; the media type is `text/html`. Nothing is escaped."""

    __slots__ = ()
    _text_type = _HTML
    _bytes_type = _HTML


def with_status(response: _R, status: int, headers: Mapping[str, str] | None) -> _R:
    """A copy of a response with another status and more header fields; the original may be shared."""
    copied = copy(response)
    copied.status = checked_status(status)
    if response._headers is not None:
        copied._headers = response._headers.copy()
    if headers is not None:
        copied._update(headers)
    return copied


def _octets(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, (bytearray, memoryview)):
        return bytes(cast(bytearray, content))
    raise TypeError(
        f"the content of a response is str or bytes, not {type(content).__name__}.\n"
        "To send a value as JSON:  return JSON(value)\n"
        "To send a body bit by bit:  return Stream(feed)"
    )
