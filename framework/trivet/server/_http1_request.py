"""A request's head as a value: what a server knows of a request before it is answered. This file reads no bytes."""

from __future__ import annotations

from typing import Protocol

from trivet.asgi import RawHeaders, Scope


class Owner(Protocol):
    """The connection that a head came on."""

    def scope_of(self, head: RequestHead, /) -> Scope:
        """Make the ASGI scope of this request."""
        ...


class RequestHead:
    """A request's head, checked. `trivet.asgi.Head`, once it has an owner.

    Attributes:
        method: as sent; one of `METHODS`.
        raw_path: the path without query, percent-encoded; starts with a slash, or is `*` for `OPTIONS *`.
        query_string: what follows the first question mark.
        target: the request target as sent.
        version: "1.1" or "1.0".
        headers: names in lower case, values stripped. If the target is a whole URI, Host has been replaced by its
            authority, as RFC 9112 section 3.2.2 demands of an origin server.
        keep_alive: whether the client lets the connection serve another request.
        length: bytes of the body, 0 if there is none; `None`: chunked.
        expect: the client waits for `100 Continue` before it sends the body.
        body: the whole body, if it came with the head and the direct door is asked; else empty.
        upgrade: the protocols asked for, in lower case; empty if none. Never on HTTP/1.0 (RFC 9110 section 7.8).
        owner: the connection it came on, which sets this.
    """

    # Defaults in the class: what most heads have, so that only the others set it. No __slots__, on purpose.

    version = "1.1"
    keep_alive = True
    length: int | None = 0
    expect = False
    body = b""
    upgrade = b""
    owner: Owner
    _scope: Scope | None = None

    def __init__(self, method: str, target: bytes, raw_path: bytes, query_string: bytes, headers: RawHeaders) -> None:
        self.method = method
        self.target = target
        self.raw_path = raw_path
        self.query_string = query_string
        self.headers = headers

    def scope(self) -> Scope:
        """The ASGI scope; the same dictionary at each call."""
        if self._scope is None:
            self._scope = self.owner.scope_of(self)
        return self._scope

    def forget(self) -> None:
        """Let go of the scope: it leads to the request's `Link`, which leads back here, and only the collector would
        free them."""
        self._scope = None
