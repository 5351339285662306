"""The ASGI scope of a request of HTTP/1.1. This file owns what is in it (ASGI HTTP 2.4, "HTTP Connection Scope")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from trivet.asgi import Scope

if TYPE_CHECKING:
    from ._http1_head import RequestHead
    from ._http1_service import HTTP1Service
    from ._transport import Transport

_ASGI: Final = {"version": "3.0", "spec_version": "2.4"}


def scope_of(service: HTTP1Service, transport: Transport, head: RequestHead) -> Scope:
    """Make the scope, but for the `Link`, which the request's exchange adds."""
    raw_path = head.raw_path
    path = raw_path.decode("ascii")
    return {
        "type": "http",
        "asgi": _ASGI.copy(),
        "http_version": head.version,
        "method": head.method,
        "scheme": "https" if transport.tls else "http",
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": head.query_string,
        "root_path": service.root_path,
        "headers": head.headers,
        "client": transport.client,
        "server": transport.local,
        "state": service.lifespan_state.copy(),
        "extensions": {},
    }
