"""What a WebSocket can be asked beside its messages: all that its handshake can, and how it ends.

This file owns which of a request's attributes a WebSocket has as well. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from ._handshake import Handshake
from ._headers import Headers
from ._owner import RouteInfo
from ._query import QueryParams
from ._request_head import Address
from .asgi import Notice, Scope


class SocketHead:
    """The head of a WebSocket. Each attribute is the one of `Request`."""

    __slots__ = ("_handshake",)

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake

    @property
    def app(self) -> Any:
        """The application."""
        return self._handshake.app

    @property
    def scope(self) -> Scope:
        """The ASGI scope."""
        return self._handshake.scope

    @property
    def route(self) -> RouteInfo | None:
        """The route that matched."""
        return self._handshake.route

    @property
    def path_params(self) -> Mapping[str, Any]:
        """The converted path fields by name."""
        return self._handshake.path_params

    @property
    def path(self) -> str:
        """The path, percent-decoded; for display and logs."""
        return self._handshake.path

    @property
    def raw_path(self) -> bytes:
        """The path as sent, percent-encoded, without query."""
        return self._handshake.raw_path

    @property
    def url(self) -> str:
        """The URL as the client sees it, `ws://` or `wss://`, as far as `Host` and the server's scheme tell."""
        return self._handshake.url

    @property
    def query(self) -> QueryParams:
        """The query parameters.

        Raises:
            InvalidInput: 400, the query string is malformed.
        """
        return self._handshake.query

    @property
    def headers(self) -> Headers:
        """The header fields of the handshake, case-insensitive."""
        return self._handshake.headers

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies by name."""
        return self._handshake.cookies

    @property
    def client(self) -> Address | None:
        """The peer; `None` where there is none to tell (a Unix socket)."""
        return self._handshake.client

    @property
    def id(self) -> str:
        """A UUID of this WebSocket: in the log beside each error."""
        return self._handshake.id

    @property
    def state(self) -> MutableMapping[str, Any]:
        """What the lifespan yielded, copied for this WebSocket: write to it freely."""
        return self._handshake.state

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the client offers, the one it likes best first."""
        offered: Sequence[str] = self._handshake.scope.get("subprotocols") or ()
        return offered

    # ---- the end

    @property
    def deadline(self) -> float:
        """When the handler is stopped, on Trio's clock: at first if it has not accepted, then if there was no message
        for `idle_timeout`, and in the end if it goes on after the close; `math.inf`: never."""
        return self._handshake.deadline

    def time_left(self) -> float:
        """Seconds until `deadline`, never negative."""
        return self._handshake.time_left()

    @property
    def draining(self) -> Notice:
        """Set when the server stops taking new work: say goodbye now, and leave the handler."""
        return self._handshake.draining

    def url_for(self, target: Callable[..., Any] | str, /, **params: object) -> str:
        """The path of a route, by handler or name, with the prefix that this application is mounted at.

        Raises:
            LookupError: no such route; the message has the nearest name.
            TypeError: a parameter is missing or unknown.
            ValueError: a value cannot be spelt so that the route matches it.
        """
        return self._handshake.url_for(target, **params)
