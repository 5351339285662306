"""Clients on real sockets: one that sends bytes, and one that does what `trivet.testing.Exchange` does.

This file owns one decision: how each way of leaving looks in TCP. `leave()` closes the socket (FIN; RST when
something was unread), `reset()` is RST in any case, `half_close()` is FIN with the reading side open, and a
client that stops reading has a small receive buffer, so that the server's writes stall soon.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpx
import trio

from tests.harness.websockets import SocketWebSocket

__all__ = ["Address", "Peer", "SocketClient", "SocketExchange", "connect"]

Address = tuple[str, int]

SMALL_BUFFER = 4096
"""Bytes; the kernel doubles it. What a server can write before it notices that nobody reads."""


class Peer:
    """One raw connection.

    Args:
        stream: the connection.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    async def send(self, data: bytes) -> None:
        """Send bytes, as they are."""
        await self.stream.send_all(data)

    async def read_until_eof(self, seconds: float = 5) -> bytes:
        """Read until the server closes; a reset ends it too.

        Raises:
            trio.TooSlowError: the server did not within `seconds`.
        """
        data = bytearray()
        with trio.fail_after(seconds):
            try:
                while chunk := await self.stream.receive_some(65536):
                    data += chunk
            except trio.BrokenResourceError:
                pass  # a reset: what came before it is what counts
        return bytes(data)

    async def read_until_idle(self, seconds: float = 0.2) -> bytes:
        """Read until nothing has come for `seconds`, or until the server closes."""
        data = bytearray()
        while True:
            with trio.move_on_after(seconds) as idle:
                chunk = await self.stream.receive_some(65536)
                if not chunk:
                    return bytes(data)
                data += chunk
            if idle.cancelled_caught:
                return bytes(data)

    async def read_until(self, end: bytes, seconds: float = 5) -> bytes:
        """Read until `end` has come.

        Raises:
            trio.TooSlowError: it did not within `seconds`.
            EOFError: the server closed first.
        """
        data = bytearray()
        with trio.fail_after(seconds):
            while end not in data:
                chunk = await self.stream.receive_some(65536)
                if not chunk:
                    raise EOFError(f"closed before {end!r}: {bytes(data)!r}")
                data += chunk
        return bytes(data)

    def half_close(self) -> None:
        """End our half; read on."""
        self.stream.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Be gone with a reset (RST), whatever is on its way."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.leave()

    def leave(self) -> None:
        """Close the socket."""
        self.stream.socket.close()


@asynccontextmanager
async def connect(address: Address, *, small_buffer: bool = False) -> AsyncGenerator[Peer]:
    """Connect to a server; closed at the end.

    Args:
        address: host and port.
        small_buffer: receive little before the server's writes stall.
    """
    with trio.fail_after(5):
        stream = await _open(address, small_buffer=small_buffer)
    try:
        yield Peer(stream)
    finally:
        stream.socket.close()


async def _open(address: Address, *, small_buffer: bool) -> trio.SocketStream:
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if small_buffer:
        # Before connect(): the window is negotiated there.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    await sock.connect(address)
    return trio.SocketStream(sock)


class SocketClient(httpx.AsyncClient):
    """`httpx.AsyncClient` with the `open` of `trivet.testing.TestClient`.

    Args:
        address: the server's host and port.
        options: httpx's.
    """

    def __init__(self, address: Address, **options: Any) -> None:
        self.address = address
        # A request has its own connection, as in memory.
        limits = httpx.Limits(max_keepalive_connections=0)
        super().__init__(base_url=f"http://{address[0]}:{address[1]}", trust_env=False, limits=limits, **options)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        target: str | bytes,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        json: Any = None,
        params: dict[str, str] | None = None,
        upload: bool = False,
        small_buffer: bool = False,
    ) -> AsyncGenerator[SocketExchange]:
        """Begin a request by hand, as `TestClient.open` does; `content` in one piece only.

        `small_buffer` is for those that will `stop_reading()`.
        """
        raw = target if isinstance(target, bytes) else None
        url = "/" if isinstance(target, bytes) else target
        request = self.build_request(method, url, headers=headers, content=content, json=json, params=params)
        if upload and "content-length" not in httpx.Headers(headers):
            request.headers.pop("content-length", None)
            request.headers["transfer-encoding"] = "chunked"
        async with connect(self.address, small_buffer=small_buffer) as peer:
            exchange = SocketExchange(peer)
            await exchange.begin(request, raw or request.url.raw_path, upload=upload)
            yield exchange

    @asynccontextmanager
    async def websocket(
        self,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        small_buffer: bool = False,
    ) -> AsyncGenerator[SocketWebSocket]:
        """A WebSocket, as `TestClient.websocket` gives it."""
        request = self.build_request("GET", path, headers=headers, params=params)
        with trio.fail_after(5):
            stream = await _open(self.address, small_buffer=small_buffer)
        async with SocketWebSocket(stream, request, subprotocols) as ws:
            yield ws


class SocketExchange:
    """What `trivet.testing.Exchange` does, over a socket: the part that a client can see.

    Args:
        peer: the connection; this request is its first.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._http = h11.Connection(h11.CLIENT)
        self._head: h11.Response | None = None
        self._reading = True
        self._eof = False
        self.complete = False
        self.truncated = False

    async def begin(self, request: httpx.Request, target: bytes, *, upload: bool) -> None:
        """Send the head, and the body unless it is sent by hand."""
        headers = [(name, value) for name, value in request.headers.raw]
        await self._send(h11.Request(method=request.method, target=target, headers=headers))
        if not upload:
            if request.content:
                await self._send(h11.Data(data=request.content))
            await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self.peer.send(data)

    async def send_body(self, chunk: bytes) -> bool:
        """Send a part of the body."""
        try:
            await self._send(h11.Data(data=chunk))
        except trio.BrokenResourceError:
            return False
        return True

    async def end_body(self) -> None:
        """Say that the body is complete."""
        await self._send(h11.EndOfMessage())

    async def head(self) -> tuple[int, httpx.Headers]:
        """Wait for the head.

        Raises:
            httpx.RemoteProtocolError: the server closed the connection before it.
        """
        while self._head is None:
            event = await self._event()
            if event is None:
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
            if isinstance(event, h11.Response):
                self._head = event
        return self.status, self.headers

    @property
    def status(self) -> int:
        """The status; after `head()`."""
        return self._got_head.status_code

    @property
    def headers(self) -> httpx.Headers:
        """The headers; after `head()`."""
        return httpx.Headers(list(self._got_head.headers.raw_items()))

    @property
    def _got_head(self) -> h11.Response:
        if self._head is None:
            raise RuntimeError("the response has no head yet; wait for it:  await exchange.head()")
        return self._head

    async def receive(self) -> bytes | None:
        """The next bytes of the body, in whatever pieces the network has them; None at the end."""
        if not self._reading:
            raise RuntimeError("this exchange does not read:  exchange.start_reading()")
        if self._head is None:
            await self.head()
        event = None if self.complete or self.truncated else await self._event()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            self.complete = True
        elif not self.complete:
            self.truncated = True
        return None

    async def read(self) -> bytes:
        """All that is left of the body; see `truncated` for whether it is whole."""
        body = bytearray()
        while (chunk := await self.receive()) is not None:
            body += chunk
        return bytes(body)

    async def _event(self) -> h11.Event | None:
        """The next event; None when the server closed in the middle."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                if self._eof:
                    return None
                raise
            if event is h11.NEED_DATA:
                try:
                    data = await self.peer.stream.receive_some(65536)
                except trio.BrokenResourceError:
                    return None
                self._eof = not data
                self._http.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                continue
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                return None
            else:
                assert not isinstance(event, type)
                return event

    def leave(self) -> None:
        """Close the socket."""
        self.peer.leave()

    def half_close(self) -> None:
        """End our half; read on."""
        self.peer.half_close()

    def stop_reading(self) -> None:
        """Read no more."""
        self._reading = False

    def start_reading(self) -> None:
        """Read again."""
        self._reading = True
