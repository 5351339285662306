"""The ASGI scope of a request of HTTP/1.1. This file owns what is in it (ASGI HTTP & WebSocket 2.4, "HTTP Connection
Scope" and "WebSocket Connection Scope")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from trivet.asgi import Scope

if TYPE_CHECKING:
    from ._http1_head import RequestHead
    from ._http1_service import HTTP1Service
    from ._transport import Transport


def template_of(root_path: str) -> dict[str, Any]:
    """What is the same in the scopes of a server."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "root_path": root_path,
    }


def scope_of(service: HTTP1Service, transport: Transport, head: RequestHead) -> Scope:
    """Make the scope, but for the `Link`, which the request's exchange adds."""
    raw_path = head.raw_path
    path = raw_path.decode("ascii")
    scope = service.template.copy()
    scope["asgi"] = scope["asgi"].copy()
    scope["method"] = head.method
    scope["path"] = unquote(path) if "%" in path else path
    scope["raw_path"] = raw_path
    scope["query_string"] = head.query_string
    scope["headers"] = head.headers
    scope["client"] = transport.client
    scope["server"] = transport.local
    scope["state"] = service.lifespan_state.copy()
    scope["extensions"] = {}
    if head.version != "1.1":
        scope["http_version"] = head.version
    if transport.tls:
        scope["scheme"] = "https"
    return scope


def websocket_scope_of(
    service: HTTP1Service, transport: Transport, head: RequestHead, subprotocols: list[str]
) -> dict[str, Any]:
    """The same for a WebSocket. `subprotocols`: those that the client offers."""
    scope = {**service.template}
    del scope["method"]
    return {
        **scope,
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "scheme": "wss" if transport.tls else "ws",
        "path": unquote(head.raw_path.decode("ascii")),
        "raw_path": head.raw_path,
        "query_string": head.query_string,
        "headers": head.headers,
        "client": transport.client,
        "server": transport.local,
        "subprotocols": subprotocols,
        "state": service.lifespan_state.copy(),
        "extensions": {"websocket.http.response": {}},
    }
