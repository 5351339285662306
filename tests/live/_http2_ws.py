"""A WebSocket over HTTP/2 (RFC 8441): what `SocketWebSocket` is over HTTP/1.1, with which it shares what a test does.

This file owns the stream: the handshake is an extended CONNECT, frames are DATA, and the end is END_STREAM or a reset.
Frames are wsproto's, HTTP/2 is h2's, as a client with prior knowledge has it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import httpx
import trio
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Event

from tests.harness.websockets import SocketWebSocket
from tests.live._inprocess import Served
from trivet.testing import WebSocketRefused

STREAM = 1


class Http2WebSocket(SocketWebSocket):
    """A WebSocket on a connection of its own. `ended` is how the server has ended the stream: `END_STREAM`, `RST`."""

    _protocol: Any

    async def _open(self) -> None:
        self.ended: list[str] = []
        self._offered = False
        self._status = 0
        self._body = bytearray()
        self._held: int | None = None
        # h2 knows no `:protocol` in what it sends itself.
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(config=config)
        self._h2.initiate_connection()
        await self._flush()
        while not self._offered:
            assert await self._take(), "the server offers no WebSockets over HTTP/2"
        pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "localhost")]
        fields = [(":path", self._request.url.raw_path.decode()), ("sec-websocket-version", "13")]
        if self._subprotocols:
            fields.append(("sec-websocket-protocol", ", ".join(self._subprotocols)))
        own = ("host", "connection", "upgrade")
        fields += [(name, value) for name, value in self._request.headers.items() if name not in own]
        self._protocol = Connection(ConnectionType.CLIENT)
        self._h2.send_headers(STREAM, pseudo + fields)
        await self._flush()
        while not self._status:
            assert await self._take(), "the server has closed"
        self.subprotocol = self.headers.get("sec-websocket-protocol")
        if self._status != 200:
            while not self.ended:
                assert await self._take()
            raise WebSocketRefused(httpx.Response(self._status, headers=self.headers, content=bytes(self._body)))

    # --- the wire

    async def _flush(self) -> None:
        await self.stream.send_all(self._h2.data_to_send())

    async def _write(self, event: Any) -> None:
        await self.write_raw(self._protocol.send(event))
        if isinstance(event, CloseConnection) and "END_STREAM" in self.ended and "RST" not in self.ended:
            self._h2.end_stream(STREAM)
            await self._flush()

    async def write_raw(self, data: bytes) -> None:
        while data and not self.ended:
            room = min(self._h2.local_flow_control_window(STREAM), self._h2.max_outbound_frame_size)
            if room:
                self._h2.send_data(STREAM, data[:room])
                data = data[room:]
                await self._flush()
            elif not await self._take():
                return

    async def _event(self) -> Event | None:
        while not self._events:
            if self._body:
                self._protocol.receive_data(bytes(self._body))
                self._body.clear()
                self._events.extend(self._protocol.events())
            elif self.ended or not await self._take():
                return None
        return self._events.popleft()

    async def _take(self) -> bool:
        """Take what comes next; False at the end of the connection."""
        data = await self.stream.receive_some(65_536)
        for event in self._h2.receive_data(data) if data else ():
            self._on(event)
        await self._flush()
        return bool(data)

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            offer = event.changed_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
            self._offered |= offer is not None and offer.new_value == 1
        elif isinstance(event, h2.events.ResponseReceived):
            self.headers = httpx.Headers(event.headers or [])
            self._status = int(self.headers[":status"])
        elif isinstance(event, h2.events.DataReceived):
            self._body += event.data or b""
            length = event.flow_controlled_length or 0
            if self._held is None:
                self._h2.acknowledge_received_data(length, STREAM)
            else:
                self._held += length
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.append("END_STREAM")
        elif isinstance(event, h2.events.StreamReset):
            self.ended.append("RST")

    # --- what a test does

    def reset(self) -> None:
        """Be gone without a close: this stream alone, the connection stays."""
        self._h2.reset_stream(STREAM, h2.errors.ErrorCodes.CANCEL)
        os.write(self.stream.socket.fileno(), self._h2.data_to_send())  # a few bytes, which always find room

    async def how_ended(self) -> str:
        """How the server has ended the stream first: `END_STREAM`, or `RST`."""
        while not self.ended:
            assert await self._take(), "the connection was closed"
        return self.ended[0]

    def hold_window(self) -> None:
        """Let the server send no more than the window that is open now, though we go on taking what comes."""
        self._held = 0

    async def open_window(self) -> None:
        """Open it again, by what was taken."""
        held, self._held = self._held, None
        self._h2.acknowledge_received_data(held or 0, STREAM)
        await self._flush()

    async def end(self) -> None:
        """End our half of the stream, without a close frame."""
        self._h2.end_stream(STREAM)
        await self._flush()


@asynccontextmanager
async def http2_websocket(
    served: Served, path: str, *, subprotocols: tuple[str, ...] = ()
) -> AsyncGenerator[Http2WebSocket]:
    """Open one; closed at the end."""
    request = httpx.Request("GET", f"http://127.0.0.1:{served.port}{path}")
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with Http2WebSocket(stream, request, subprotocols) as ws:
        yield ws
