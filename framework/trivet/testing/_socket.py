"""One WebSocket, driven by hand: the client's end of an in-memory connection.

This file owns one decision: what a test can do to a WebSocket, and what it is told. Made by `TestClient.websocket`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec
import trio

from trivet._ws_close import ABNORMAL, NO_STATUS, check_close
from trivet.errors import WebSocketClosed

from ._async_with import AsyncWith
from ._called import Called
from ._server import MemoryServer
from ._socket_connection import SocketConnection

__all__ = ["TestWebSocket", "WebSocketRefused"]


class WebSocketRefused(Exception):
    """The application refused the handshake; `response` is its answer."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.status_code} {response.text}".rstrip())
        self.response = response

    @property
    def status(self) -> int:
        """The status; 403 if the application only closed."""
        return self.response.status_code


class TestWebSocket(AsyncWith, Called):
    """A WebSocket of an application under test, as its client sees it.

    `async with client.websocket("/room") as ws` waits for the acceptance; its end closes with 1000, or leaves, if the
    block failed. It does not wait for the handler to be done: see `wait_returned`.
    """

    # pytest would take it for a class of tests.
    __test__ = False
    _entered = 'async with client.websocket("/") as ws'

    def __init__(
        self,
        server: MemoryServer,
        connect: Callable[[], SocketConnection],
        accepted: Callable[[httpx.Response], object],
    ) -> None:
        self._server = server
        self._connect = connect
        # Told of the answer to the handshake, for the client's cookies.
        self._accepted = accepted
        self._begun: SocketConnection | None = None
        self._left = False

    @property
    def _connection(self) -> SocketConnection:
        if self._begun is None:
            raise RuntimeError("this WebSocket is not open:  async with client.websocket(path) as ws: ...")
        return self._begun

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            WebSocketRefused: the application did not accept.
            ProtocolViolation: it broke a rule of ASGI.
            Exception: what escaped it, unless `raise_app_exceptions=False`.
        """
        connection = self._begun = self._connect()
        try:
            await connection.answered.wait()
            self._raise_violation()
            if connection.status != 101:
                await self._refused()
        except BaseException:
            self.leave()
            raise
        self._accepted(self._response())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, or leave if the block failed."""
        if error is not None:
            self.leave()
        elif not self._left and self._connection.code is None:
            self._connection.close(1000, "")
        await (trio.lowlevel.checkpoint if error is None else trio.lowlevel.cancel_shielded_checkpoint)()

    async def _refused(self) -> None:
        connection = self._connection
        if connection.status == 500 and connection.rules.stage != "over":  # the server's: the application is over
            await connection.returned.wait()
            if connection.error is not None and self._server.raise_app_exceptions:
                connection.reported = True
                raise connection.error
        raise WebSocketRefused(self._response()) from connection.error

    def _response(self) -> httpx.Response:
        connection = self._connection
        return httpx.Response(connection.status, headers=connection.headers, content=connection.body)

    # --- what was agreed

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the application chose."""
        return self._connection.subprotocol

    @property
    def headers(self) -> httpx.Headers:
        """The headers of the acceptance."""
        return httpx.Headers(self._connection.headers)

    # --- messages

    async def send(self, data: str | bytes) -> None:
        """Send a message; return when the server has taken it.

        It waits while the application does not receive, and ten messages are unread: back-pressure. What is sent when
        the application has closed already is lost, as a real client's is.

        Raises:
            UnicodeEncodeError: a text has a lone surrogate, which no frame can carry.
        """
        self._refuse_if_left()
        if isinstance(data, str):
            data.encode()
        await self._connection.push(data)

    async def send_json(self, value: object) -> None:
        """Send a value as JSON, in a text."""
        await self.send(msgspec.json.encode(value).decode())

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            trivet.WebSocketClosed: the application has closed, and all that came before has been received.
            ProtocolViolation: it broke a rule of ASGI.
            RuntimeError: after `stop_reading()`.
        """
        self._refuse_if_left()
        if not self._connection.down.reading:
            raise RuntimeError("this WebSocket does not read:  ws.start_reading()")
        message = await self._connection.down.take()
        if message is None:
            self._raise_violation()
            raise WebSocketClosed(self._connection.code or ABNORMAL, self._connection.reason)
        return message

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

    async def ping(self) -> None:
        """Return when a ping would have its pong: when the server has read what was sent before it."""
        self._refuse_if_left()
        await self._connection.up.room()

    # --- the end

    @property
    def close_code(self) -> int | None:
        """What it was closed with, by whichever side; `None` while it is open."""
        return self._connection.code

    @property
    def close_reason(self) -> str:
        """The reason that came with the code."""
        return self._connection.reason

    async def wait_closed(self) -> tuple[int, str]:
        """Read to the end; the code and the reason it was closed with."""
        async for _ in self:
            pass
        return self._connection.code or ABNORMAL, self._connection.reason

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close. What the application has sent before it heard of it may still be received.

        Args:
            code: `None`: none is sent, as by a page's `ws.close()`; the application sees 1005.
            reason: at most 123 bytes.

        Raises:
            ValueError: no client can send this code, or the reason is too long.
        """
        self._refuse_if_left()
        if code == ABNORMAL:
            raise ValueError("1006 stands for a connection that broke: it is never sent.\nBreak it:  ws.leave()")
        if code is not None:
            check_close(code, reason)
        elif reason:
            raise ValueError("a close without a code has no reason.\nSend both:  await ws.close(4000, reason)")
        self._connection.close(NO_STATUS if code is None else code, reason)
        await trio.lowlevel.checkpoint()

    def leave(self) -> None:
        """Be gone at once, without a close: the application sees 1006."""
        self._left = True
        if self._begun is not None:
            self._begun.leave()

    def stop_reading(self) -> None:
        """Read no more: no write of the server's makes progress from now on, however small."""
        self._connection.down.read(False)

    def start_reading(self) -> None:
        """Read again."""
        self._connection.down.read(True)

    @property
    def dropped(self) -> bool:
        """Whether the server gave us up because we did not read."""
        return self._connection.dropped

    @property
    def _call(self) -> SocketConnection:
        return self._connection

    def _refuse_if_left(self) -> None:
        if self._left:
            raise trio.ClosedResourceError("this client has left; it reads nothing any more")
