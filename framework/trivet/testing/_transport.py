"""httpx's transport: its requests go to the in-memory server.

This file owns one decision: how what httpx knows (a request, a response that streams, timeouts) becomes an
exchange, and back. httpx's own ASGI transport is not used: it buffers the whole response, runs no lifespan,
and its clients never leave.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

import httpx
import trio

from trivet.asgi import Scope
from trivet.contrib._response import ClosingResponse

from ._exchange import Exchange
from ._server import MemoryServer
from ._socket_connection import SocketConnection

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["MemoryTransport"]


class MemoryTransport(httpx.AsyncBaseTransport):
    """Hands httpx's requests to the in-memory server.

    Args:
        server: the server.
        client: the peer's address in the scope.
        root_path: the scope's `root_path`.
    """

    def __init__(self, server: MemoryServer, *, client: tuple[str, int], root_path: str) -> None:
        self._server = server
        self._client = client
        self._root_path = root_path

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and wait for the head of its response."""
        timeout = _read_timeout(request)
        exchange = self.begin(request)
        try:
            with _read_within(timeout, request):
                status, headers = await exchange.head()
        except BaseException:
            exchange.leave()
            raise
        return ClosingResponse(
            status,
            headers=headers,
            body=Body(exchange, timeout, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def begin(self, request: httpx.Request, *, upload: bool = False) -> Exchange:
        """Hand a request to the server.

        Args:
            request: what httpx built.
            upload: whether the body is sent by hand.
        """
        exchange = Exchange(self._server, self._server.connect(self._scope(request)))
        if not upload:
            exchange.upload(_content(request))
        return exchange

    def begin_socket(self, request: httpx.Request, subprotocols: Sequence[str]) -> SocketConnection:
        """Hand the handshake of a WebSocket to the server.

        Args:
            request: what httpx built.
            subprotocols: what is offered.
        """
        scope = self._scope(request)
        del scope["method"]
        scheme = {"http": "ws", "https": "wss"}.get(request.url.scheme, request.url.scheme)
        scope.update({"type": "websocket", "scheme": scheme, "subprotocols": list(subprotocols)})
        return self._server.connect_socket(scope)

    def _scope(self, request: httpx.Request) -> Scope:
        url = request.url
        target: bytes = request.extensions.get("target", url.raw_path)
        path, _, query = target.partition(b"?")
        port = url.port or {"https": 443}.get(url.scheme, 80)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4" if self._server.linked else "2.1"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            # As hypercorn decodes it: bytes that are not UTF-8 become U+FFFD.
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": self._root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self._client,
            "server": (url.host, port),
            "extensions": {},
        }


class Body(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """A response's body, chunk by chunk as the application sends it."""

    def __init__(self, exchange: Exchange, timeout: float | None, request: httpx.Request) -> None:
        self._exchange = exchange
        self._timeout = timeout
        self._request = request

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself: a body is read once."""
        return self

    async def __anext__(self) -> bytes:
        """The next chunk.

        Raises:
            httpx.RemoteProtocolError: the response was cut.
            httpx.ReadTimeout: nothing came in time.
        """
        with _read_within(self._timeout, self._request):
            chunk = await self._exchange.receive()
            await self._exchange.read_whole(chunk)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Leave."""
        self._exchange.leave()


def _content(request: httpx.Request) -> bytes | AsyncIterable[bytes]:
    try:
        return request.content
    except httpx.RequestNotRead:
        return cast("httpx.AsyncByteStream", request.stream)


def _read_timeout(request: httpx.Request) -> float | None:
    timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
    return timeouts.get("read")


@contextmanager
def _read_within(seconds: float | None, request: httpx.Request) -> Generator[None]:
    with trio.move_on_after(inf if seconds is None else seconds) as patience:
        yield
    if patience.cancelled_caught:
        raise httpx.ReadTimeout(f"nothing within {seconds:g} s", request=request)
