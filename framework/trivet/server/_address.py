"""How the address of a socket is written: in a scope, and in a URL. This file owns both forms."""

from __future__ import annotations

import socket
from typing import Any

import trio
from hypercorn.config import Config, Sockets


def endpoint(family: int, name: Any) -> tuple[str, int] | None:
    """ASGI's `client` or `server` for what `getpeername` or `getsockname` returned; None for a unix socket."""
    return (name[0], name[1]) if family in (socket.AF_INET, socket.AF_INET6) else None


def ends_of(sock: trio.socket.SocketType) -> tuple[tuple[str, int] | None, tuple[str, int] | None] | None:
    """Both ends of a connection, the client's first; None: the client left between accept and here."""
    try:
        return endpoint(sock.family, sock.getpeername()), endpoint(sock.family, sock.getsockname())
    except OSError:
        return None


def urls_of(sockets: Sockets, config: Config) -> list[str]:
    """Where the sockets can be reached."""
    urls: list[str] = []
    for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
        scheme = "https" if sock in sockets.secure_sockets and config.ssl_enabled else "http"
        name = sock.getsockname()
        address = endpoint(sock.family, name)
        if address is None:
            urls.append(f"unix:{name}")
        else:
            host, port = address
            urls.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    return urls
