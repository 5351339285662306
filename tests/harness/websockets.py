"""A WebSocket client on a real socket: what `trivet.testing.TestWebSocket` does, as far as a client can see it.

This file owns one decision: what each of a test's steps is on the wire. Frames are wsproto's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError

from trivet import WebSocketClosed
from trivet.testing import WebSocketRefused

__all__ = ["SocketWebSocket"]


class SocketWebSocket:
    """One WebSocket.

    Args:
        stream: the connection; closed at the end.
        request: the handshake, as httpx has it.
        subprotocols: what is offered.
    """

    def __init__(self, stream: trio.SocketStream, request: httpx.Request, subprotocols: Sequence[str]) -> None:
        self.stream = stream
        self._request = request
        self._subprotocols = list(subprotocols)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: deque[Event] = deque()
        self._pongs: list[bytes] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.subprotocol: str | None = None
        self.headers = httpx.Headers()

    async def __aenter__(self) -> Self:
        try:
            with trio.fail_after(5):
                await self._open()
        except BaseException:
            self.leave()
            raise
        return self

    async def _open(self) -> None:
        left_to_wsproto = (b"host", b"connection", b"upgrade")
        fields = [
            (name, value)
            for name, value in self._request.headers.raw
            if name.lower() not in left_to_wsproto and not name.lower().startswith(b"sec-websocket-")
        ]
        target = self._request.url.raw_path.decode("ascii")
        host = self._request.url.netloc.decode("ascii")
        await self._write(Request(host=host, target=target, extra_headers=fields, subprotocols=self._subprotocols))
        event = await self._event()
        if isinstance(event, AcceptConnection):
            self.subprotocol = event.subprotocol
            self.headers = httpx.Headers(list(event.extra_headers))
            return
        assert isinstance(event, RejectConnection), event
        body = b""
        more = event.has_body
        while more:
            part = await self._event()
            assert isinstance(part, RejectData), part
            body, more = body + bytes(part.data), not part.body_finished
        raise WebSocketRefused(httpx.Response(event.status_code, headers=list(event.headers), content=body))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None and self.close_code is None and self.stream.socket.fileno() >= 0:
            await self.close()
            with trio.move_on_after(5):
                await self.wait_closed()
        self.leave()
        await trio.lowlevel.checkpoint()

    # --- the wire

    async def _write(self, event: Event) -> None:
        await self.stream.send_all(self._protocol.send(event))

    async def _event(self) -> Event | None:
        """The next event; None at the end of the connection."""
        while not self._events:
            try:
                data = await self.stream.receive_some(65_536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self._protocol.receive_data(data)
            self._events.extend(self._protocol.events())
        return self._events.popleft()

    async def write_raw(self, data: bytes) -> None:
        """Send bytes, as they are."""
        await self.stream.send_all(data)

    # --- what a test does

    async def send(self, data: str | bytes) -> None:
        """Send a message."""
        try:
            await self._write(TextMessage(data=data) if isinstance(data, str) else BytesMessage(data=data))
        except (trio.BrokenResourceError, LocalProtocolError):
            pass  # the server has closed; what it said is still to be read

    async def send_json(self, value: object) -> None:
        """Send a value as JSON."""
        await self.send(msgspec.json.encode(value).decode())

    async def receive(self) -> str | bytes:
        """The next message; raises `trivet.WebSocketClosed` at the end."""
        parts: list[Any] = []
        while self.close_code is None:
            event = await self._event()
            if isinstance(event, Message):
                parts.append(event.data)
                if event.message_finished:
                    return ("" if isinstance(parts[0], str) else b"").join(parts)
            elif isinstance(event, CloseConnection):
                self.close_code, self.close_reason = int(event.code), event.reason or ""
                try:
                    await self._write(event.response())
                except (trio.BrokenResourceError, LocalProtocolError):
                    pass  # it has closed the connection already, or answers our own close
            elif isinstance(event, Ping):
                await self._write(event.response())
            elif isinstance(event, Pong):
                self._pongs.append(bytes(event.payload))
            else:
                assert event is None, event
                self.close_code = 1006
        raise WebSocketClosed(self.close_code, self.close_reason)

    async def receive_json(self) -> Any:
        """The next message, from JSON."""
        return msgspec.json.decode(await self.receive())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketClosed:
            raise StopAsyncIteration from None

    async def wait_closed(self) -> tuple[int, str]:
        """Read to the end; the code and the reason it was closed with."""
        async for _ in self:
            pass
        assert self.close_code is not None
        return self.close_code, self.close_reason

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close; the answer is read by `wait_closed`."""
        try:
            await self._write(CloseConnection(code=code, reason=reason))
        except (trio.BrokenResourceError, LocalProtocolError):
            pass  # the server was faster

    def leave(self) -> None:
        """Be gone without a close."""
        self.stream.socket.close()
