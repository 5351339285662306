"""The request that opens a WebSocket: its handshake is a GET like any other (RFC 6455 section 4.1).

This file owns that: providers and catchers that were written for requests, security schemes and limits among them, work
for WebSockets as they are, and are given this. What the server says about the connection meanwhile, the client has left
or the drain is over, comes here and goes to whom it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._options import Resolved
from ._owner import Owner, RouteInfo
from ._request import Request
from ._scope import RequestScope
from ._ws_inbound import SocketInbound
from .asgi import Reason, Receive, Scope


class Handshake(Request):
    """The handshake of one WebSocket, as a request without body."""

    _body = b""

    def __init__(
        self,
        app: Owner,
        scope: Scope,
        receive: Receive,
        path_params: Mapping[str, Any],
        route: RouteInfo | None,
        options: Resolved,
        request_scope: RequestScope,
        began: float,
    ) -> None:
        # ASGI has none for a WebSocket. Over HTTP/2 it is CONNECT (RFC 8441), which says nothing to an application.
        scope["method"] = "GET"
        super().__init__(app, scope, receive, path_params, route, options, request_scope, began)
        self.messages = SocketInbound(receive, self._on_disconnect)
        """What comes in."""
        self.closed: Callable[[], object] | None = None
        """The WebSocket's own: it decides who is stopped when."""

    def __repr__(self) -> str:
        return f"<Handshake {self.path!a}>"

    async def watch(self) -> None:
        """See `Request`."""
        await self.messages.watch()

    def _stop(self, reason: Reason) -> None:
        if reason == "disconnected":
            self._left = True
            self.messages.told(getattr(self._link, "closed_with", None))  # a server's may be older
        if reason == "disconnected" and self.closed is not None:
            self.closed()
        else:
            self._scope.cancel(reason)
