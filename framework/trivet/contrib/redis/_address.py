"""Where a Redis is, as a URL says it, and how a connection to there is opened.

This file owns which URLs are taken, and the socket. What is said over it is coredis' business.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import anyio
from anyio.abc import ByteStream, SocketAttribute
from coredis.connection import BaseConnection, Location, TCPLocation, UnixDomainSocketLocation

from trivet.errors import RegistrationError

Opener: TypeAlias = Callable[[], Awaitable[BaseConnection]]
"""Opens a socket, and makes of it what is still to be run."""

PORT: Final = 6379

_WRITE: Final = (
    'Write  Redis("redis://localhost:6379/0"),  with a password  redis://:secret@host,  over TLS  rediss://host,  or '
    "by a socket  unix:///run/redis.sock"
)

_ESCAPE: Final = (
    "Escape what is no letter or digit in the password:  from urllib.parse import quote\n"
    "Redis(f\"redis://:{quote(password, safe='')}@localhost:6379\")"
)

_KEEPALIVE: Final = {
    getattr(socket, name): seconds
    for name, seconds in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
}
"""Thirty seconds after the other machine has gone, one who only listens is told; by default it would be two hours."""


class _Connection(BaseConnection):
    """coredis' connection, over a socket that is open already: what it makes for itself beforehand it closes only if
    it came to be connected."""

    def __init__(self, stream: ByteStream, location: Location, **options: Any) -> None:
        super().__init__(location, **options)
        self._opened = stream

    async def _connect(self) -> ByteStream:
        return self._opened

    def describe(self) -> str:
        return f"Connection<{self.location}>"


def parse(url: object, ssl_context: ssl.SSLContext | None) -> tuple[str, Opener]:
    """What a URL says.

    Returns:
        The place, for messages: without the password; and what opens a connection to it.

    Raises:
        RegistrationError: it is none that is understood.
    """
    if not isinstance(url, str):
        shown = "None (is it in the environment?)" if url is None else f"a {type(url).__name__}"
        raise RegistrationError(f"{shown} is not the URL of a Redis.\n{_WRITE}")
    parts = _split(url)
    options: dict[str, Any] = {
        "username": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "db": _database(parts),
    }
    if parts.scheme == "unix":
        return _by_path(unquote(parts.path), options)
    context = None
    if parts.scheme == "rediss":
        # coredis' own does not compare the name in the certificate with the host's.
        context = ssl.create_default_context() if ssl_context is None else ssl_context
    return _by_name(unquote(parts.hostname or "localhost"), _port(parts), context, options)


def _split(url: str) -> SplitResult:
    """Take it apart. What is refused is not shown: there may be a password in it, whole or in part."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise RegistrationError(f"the URL of a Redis cannot be read.\n{_ESCAPE}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise RegistrationError(f"the URL of a Redis begins with redis://, rediss:// or unix://.\n{_WRITE}")
    # A password may have ended early what stands before the @: its rest would be a host, a path or an option.
    by_path = parts.scheme == "unix"
    if by_path and parts.netloc.rpartition("@")[2]:
        raise RegistrationError(
            "the URL of a Redis has something between unix:// and the path of a socket, as  unix:///run/redis.sock  "
            f"has not.\n{_ESCAPE}"
        )
    if (parts.netloc or not by_path) and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise RegistrationError(f"the URL of a Redis has an @ behind its first /, ? or #.\n{_ESCAPE}")
    return parts


def _by_path(path: str, options: dict[str, Any]) -> tuple[str, Opener]:
    location = UnixDomainSocketLocation(path)

    async def opened() -> BaseConnection:
        return _Connection(await anyio.connect_unix(path), location, **options)

    return path, opened


def _by_name(host: str, port: int, context: ssl.SSLContext | None, options: dict[str, Any]) -> tuple[str, Opener]:
    location = TCPLocation(host, port)

    async def opened() -> BaseConnection:
        if context is None:
            stream: ByteStream = await anyio.connect_tcp(host, port)
        else:
            stream = await anyio.connect_tcp(host, port, ssl_context=context, tls_standard_compatible=False)
        sock = stream.extra(SocketAttribute.raw_socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in _KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, seconds)
        return _Connection(stream, location, **options)

    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", opened


def _database(parts: SplitResult) -> int:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    number = query.pop("db", "") or ("" if parts.scheme == "unix" else parts.path.strip("/")) or "0"
    if query:
        raise RegistrationError(
            f"the URL of a Redis has no option {next(iter(query))!r}: all but db are Redis(url, ...)'s own.\n{_WRITE}"
        )
    if not (number.isascii() and number.isdigit()):
        raise RegistrationError(f"{number!r} is not the number of a database.\n{_WRITE}")
    return int(number)


def _port(parts: SplitResult) -> int:
    try:
        return parts.port or PORT
    except ValueError:
        raise RegistrationError(f"the port is not a number from 1 to 65535.\n{_WRITE}") from None
