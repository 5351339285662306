"""A WebSocket, as handlers and providers see it.

This file owns what is received and sent. How a WebSocket is opened and closed is `_ws_life`'s, how a JSON message is
read `_ws_json`'s.

Sending is thin: a room sends one message to thousands of these, one by one. It takes no lock, as every server keeps the
messages of several tasks apart; only the acceptance at first use is waited for by all but the first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self, TypeVar, final, overload

import trio

from ._encode import encode
from ._handshake import Handshake
from ._outbound import SocketOutbound
from ._results import JSON, UNENCODABLE
from ._scope import TooLate, bounded
from ._ws_close import UNSUPPORTED
from ._ws_json import JSONMessages, from_json
from ._ws_life import OPEN, SocketLife
from ._ws_scope import SocketScope
from .errors import InvalidMessage, WebSocketClosed

T = TypeVar("T")


@final
class WebSocket(SocketLife):
    """One WebSocket. Ask for it by type: `async def room(ws: WebSocket)`.

    It is accepted at first use, or by `accept`. One task at a time receives; any number send.
    """

    __slots__ = ("_patience", "_unlinked")

    def __init__(self, handshake: Handshake, scope: SocketScope, out: SocketOutbound) -> None:
        super().__init__(handshake, scope, out)
        # Seconds for each send; a server with a Link sees to that itself.
        self._unlinked = handshake._link is None
        self._patience = handshake._options.send_timeout if self._unlinked else None

    # ---- receiving

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            WebSocketClosed: it is closed, and all that came before has been received.
            trio.BusyResourceError: another task is receiving.

        Cancellation: a checkpoint; no message is lost.
        """
        if self._state is not OPEN:
            await self._ready(sending=False)
        message = await self._in.read()
        if message is None:
            raise await self._closed_error()
        if self._scope.watches_silence:
            self._scope.active()
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketClosed:
            raise StopAsyncIteration from None

    @overload
    def iter(self, as_type: type[T], /) -> AsyncIterator[T]: ...
    @overload
    def iter(self, as_type: Any, /) -> AsyncIterator[Any]: ...  # a union is no `type` to mypy; msgspec does the same
    def iter(self, as_type: Any, /) -> AsyncIterator[Any]:
        """The messages, each as `receive_json` has it: `async for order in ws.iter(Order)`."""
        return JSONMessages(self, as_type)

    async def receive_text(self) -> str:
        """The next message, which is to be a text.

        Raises:
            InvalidMessage: it is binary. Let out of the handler, it closes the WebSocket with 1003.
            WebSocketClosed, trio.BusyResourceError: as `receive`.
        """
        message = await self.receive()
        if not isinstance(message, str):
            raise InvalidMessage(UNSUPPORTED, 400, "this takes texts, not binary messages")
        return message

    async def receive_bytes(self) -> bytes:
        """The next message, which is to be binary. Errors are those of `receive_text`."""
        message = await self.receive()
        if isinstance(message, str):
            raise InvalidMessage(UNSUPPORTED, 400, "this takes binary messages, not texts")
        return message

    @overload
    async def receive_json(self, /) -> Any: ...
    @overload
    async def receive_json(self, as_type: type[T], /) -> T: ...
    @overload
    async def receive_json(self, as_type: Any, /) -> Any: ...
    async def receive_json(self, as_type: Any = Any, /) -> Any:
        """The next message, text or binary, from JSON to `as_type`.

        Raises:
            InvalidMessage: it is not JSON, or does not fit. Let out of the handler, it closes the WebSocket with 1007.
            WebSocketClosed, trio.BusyResourceError: as `receive`.
        """
        return from_json(await self.receive(), as_type)

    # ---- sending

    async def send(self, data: str | bytes) -> None:
        """Send a message: a text, or a binary one.

        It has been handed to the server when this returns, which waits as long as the client reads no faster.

        Raises:
            WebSocketClosed: it is closed, or the client has not read for `send_timeout`.
            TypeError: this is neither text nor bytes.

        Cancellation: a checkpoint; the message has been sent whole, or not at all.
        """
        if self._unlinked:
            # hypercorn's send returns at once when the client has left, and who would tell us never had a turn.
            await trio.lowlevel.checkpoint()
        if self._state is not OPEN:
            await self._ready(sending=True)
        kind = type(data)
        if kind is not str and kind is not bytes:
            data = _sendable(data)
        try:
            if self._patience is None:
                await self._out.message(data)
            else:
                await bounded(self._patience, self._out.message, data)
        except TooLate:
            self._give_up(f"the client has not read for {self._patience:g} seconds")
            raise await self._closed_error() from None
        except OSError:
            self._when_closed()  # the server says it by an error, before it tells us
            raise await self._closed_error() from None
        if self._scope.watches_silence:
            self._scope.active()

    async def send_json(self, value: object) -> None:
        """Send a value as JSON, in a text.

        Raises:
            ResponseError: it cannot be encoded.
            WebSocketClosed: as `send`.
        """
        try:
            text = encode(value).decode()
        except UNENCODABLE:
            JSON(value)  # which says what is wrong with it
            raise
        await self.send(text)


def _sendable(data: object) -> str | bytes:
    if isinstance(data, str):
        return data
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    if isinstance(data, memoryview):
        return data.tobytes()
    raise TypeError(
        f"ws.send() takes str or bytes, not {type(data).__name__}.\nSend a value as JSON:  await ws.send_json(value)"
    )
