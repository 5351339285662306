"""One request over HTTP/2, by hand: what `SocketClient.open` gives over HTTP/1.1.

This file owns one decision: what leaving means in HTTP/2. The stream is reset, and the connection stays.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.harness.sockets import Address, Peer, connect

STREAM = 1


class Http2Exchange:
    """A request on a connection of its own, which a client begins with prior knowledge (RFC 9113 section 3.3)."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self._h2 = h2.connection.H2Connection(config=config)
        self._status: int | None = None
        self._body = bytearray()
        self.complete = False
        self.truncated = False

    async def begin(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Send the head."""
        self._h2.initiate_connection()
        pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "localhost")]
        self._h2.send_headers(STREAM, [*pseudo, *headers.items()])
        await self._flush()

    async def send_body(self, chunk: bytes) -> None:
        """Send a part of the body, as fast as the server's windows allow."""
        while chunk:
            room = min(self._h2.local_flow_control_window(STREAM), self._h2.max_outbound_frame_size)
            if room:
                self._h2.send_data(STREAM, chunk[:room])
                chunk = chunk[room:]
                await self._flush()
            else:
                await self._take()

    async def end_body(self) -> None:
        """Say that the body is complete."""
        self._h2.end_stream(STREAM)
        await self._flush()

    async def head(self) -> int:
        """Wait for the head, and return the status."""
        while self._status is None:
            await self._take()
        return self._status

    async def read(self) -> bytes:
        """The body, as far as it came; see `truncated`."""
        while not (self.complete or self.truncated):
            await self._take()
        return bytes(self._body)

    def leave(self) -> None:
        """Reset the stream."""
        self._h2.reset_stream(STREAM, h2.errors.ErrorCodes.CANCEL)
        # A few bytes, which always find room: leaving does not wait.
        os.write(self._peer.stream.socket.fileno(), self._h2.data_to_send())

    async def _flush(self) -> None:
        await self._peer.send(self._h2.data_to_send())

    async def _take(self) -> None:
        data = await self._peer.stream.receive_some(65_536)
        if not data:
            self.truncated = True
            if self._status is None:
                raise EOFError("the server closed without an answer")
            return
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self._status = int(dict(event.headers or ())[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self._body += event.data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, STREAM)
            elif isinstance(event, h2.events.StreamEnded):
                self.complete = True
            elif isinstance(event, h2.events.StreamReset):
                self.truncated = not self.complete
        await self._flush()


@asynccontextmanager
async def http2(address: Address, method: str, path: str, headers: Mapping[str, str]) -> AsyncGenerator[Http2Exchange]:
    """Begin a request; the connection is closed at the end."""
    async with connect(address) as peer:
        exchange = Http2Exchange(peer)
        await exchange.begin(method, path, headers)
        yield exchange
