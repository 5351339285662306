"""The server's end of one in-memory WebSocket: the `scope`, `receive` and `send` that the application gets.

This file owns one decision: what a server does with what the application sends and with a client that leaves, in
two flavours, as `_connection` does for requests. A plain server is shaped like stock hypercorn 0.18: the code and
the reason of a client's close are lost (1006), the end is told once, a close waits until fewer than ten messages are
unread, a `send` to nobody succeeds, and one that waits for the client cannot be interrupted.
"""

from __future__ import annotations

from math import inf
from typing import Final, Literal

import trio

from trivet.asgi import EXTENSION, Message, RawHeaders, Scope
from trivet.errors import ClientDisconnected

from ._connection import MemoryLink, only_disconnect
from ._pipes import WINDOW
from ._rules import ProtocolViolation, checked_headers
from ._socket_pipe import MessagePipe
from ._socket_rules import SocketRules

__all__ = ["SocketConnection"]

QUEUE: Final = 10  # messages that the application has not received: hypercorn's Config.max_app_queue_size
MANY: Final = 1 << 30

DENIAL: Final = "websocket.http.response"

NORMAL, ABNORMAL, INTERNAL = 1000, 1006, 1011


class SocketConnection:
    """One WebSocket.

    Args:
        scope: its scope; the extensions are added here.
        draining: the server's.
        linked: whether the server knows trivet.
    """

    def __init__(self, scope: Scope, draining: trio.Event, *, linked: bool) -> None:
        self.scope = scope
        self.label = f"WEBSOCKET {scope['path']}"
        self.linked = linked
        self.rules = SocketRules(scope["subprotocols"])
        self.link = MemoryLink(draining, self.cut)
        self.cancel_scope = trio.CancelScope()
        self.up: MessagePipe[Message] = MessagePipe(QUEUE, WINDOW)
        self.up.add({"type": "websocket.connect"}, 0)
        self.down: MessagePipe[str | bytes] = MessagePipe(MANY, WINDOW)
        # The answer to the handshake: 101, or the response that refuses it.
        self.answered = trio.Event()
        self.status = 0
        self.headers: RawHeaders = []
        self.body = b""
        self.subprotocol: str | None = None
        # How it was closed, by whichever side, as the client sees it.
        self.code: int | None = None
        self.reason = ""
        # The client has closed, or is gone.
        self.client_over = False
        # The server gave the client up because it did not read.
        self.dropped = False
        # The application was told of the end by the message that a plain server sends once.
        self._told = False
        self._disconnect: Message = {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}
        self.returned = trio.Event()
        self.error: Exception | None = None
        self.violation: ProtocolViolation | None = None
        self.reported = False
        scope["extensions"] = {DENIAL: {}, EXTENSION: self.link} if linked else {DENIAL: {}}

    # --- the application's side

    async def receive(self) -> Message:
        """The application's `receive`."""
        message = await self.up.take()
        if message is not None:
            return message
        if self._told and not self.linked:
            await trio.sleep_forever()
        self._told = True
        return self._disconnect

    async def send(self, message: Message) -> None:
        """The application's `send`.

        Raises:
            ProtocolViolation: the message is not one that may be sent now.
            ClientDisconnected: the client has left or was dropped (linked only).
        """
        # No other task runs before the message is on its way: several may send, and what was sent first comes first.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.client_over and self.linked:
            raise ClientDisconnected(f"the client of {self.label} {'was dropped' if self.dropped else 'left'}")
        try:
            self.rules.check(message)
        except ProtocolViolation as violation:
            self.violation = self.violation or violation
            raise
        if not self.client_over:
            await self._SENDERS[message["type"]](self, message)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _accept(self, message: Message) -> None:
        self.subprotocol = message.get("subprotocol")
        self._answer(101, checked_headers(message.get("headers", ())))

    async def _send(self, message: Message) -> None:
        text: str | None = message.get("text")
        data = message["bytes"] if text is None else text
        size = len(data) if text is None else len(text.encode())  # a lone surrogate fails here, as in a server
        while self.linked and self.down.blocked:
            # One write is under way at a time. A `send` that is cancelled before its own has sent nothing.
            await self._wait_for_the_client()
            if self.down.ended:
                raise ClientDisconnected(f"{self.label} was closed before the message could be sent")
        self.down.add(data, size)
        # Hypercorn shields its writes (trio/tcp_server.py, protocol_send).
        with trio.CancelScope(shield=not self.linked):
            await self._wait_for_the_client()

    async def _wait_for_the_client(self) -> None:
        timeout = self.link.send_timeout if self.linked else None
        while self.down.full:
            with trio.move_on_after(inf if timeout is None else timeout) as patience:
                await self.down.progress()
            if patience.cancelled_caught:
                self.dropped = True
                self.leave()
                raise ClientDisconnected(f"the client of {self.label} was dropped")

    async def _close(self, message: Message) -> None:
        if not self.answered.is_set():
            self._answer(403, [])
        code, reason = message.get("code", NORMAL), message.get("reason") or ""
        self._closed(code, reason)
        if not self.linked:
            with trio.CancelScope(shield=True):
                await self.up.room()
        self._end_up(code if self.linked else NORMAL, reason if self.linked else "")

    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        self.headers = checked_headers(message.get("headers", ()))

    async def _body(self, message: Message) -> None:
        self.body += message.get("body", b"")
        if self.rules.stage == "over":
            self._answer(self.status, self.headers)
            self._closed(ABNORMAL, "")
            self._end_up(NORMAL, "")

    _SENDERS: Final = {
        "websocket.accept": _accept,
        "websocket.send": _send,
        "websocket.close": _close,
        "websocket.http.response.start": _start,
        "websocket.http.response.body": _body,
    }

    def _answer(self, status: int, headers: RawHeaders) -> None:
        self.status, self.headers = status, headers
        self.answered.set()

    def _closed(self, code: int, reason: str) -> None:
        """It is over as the client sees it; the first call counts."""
        if self.code is None:
            self.code, self.reason = code, reason
        self.link.close()
        self.down.end()

    def _end_up(self, code: int, reason: str) -> None:
        """It is over as the application sees it; the first call counts."""
        if not self.up.ended:
            self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self.up.end()

    # --- the client's side

    async def push(self, data: str | bytes) -> None:
        """Hand up a message; wait while too many are unread."""
        await self.up.room()
        kind = "text" if isinstance(data, str) else "bytes"
        self.up.add({"type": "websocket.receive", kind: data}, len(data))

    def close(self, code: int, reason: str) -> None:
        """The client closes."""
        self._over(code, reason)
        self._closed(code, reason)

    def leave(self) -> None:
        """The client is gone, in both directions, at once."""
        if not self.client_over:
            self._over(ABNORMAL, "")
            self._closed(ABNORMAL, "")
            self.down.end(discard=True)
            self.answered.set()

    def _over(self, code: int, reason: str) -> None:
        if not self.client_over:
            self.client_over = True
            over = self.up.ended
            self._end_up(code if self.linked else ABNORMAL, reason if self.linked else "")
            if not over:
                self.link.closed_with = code, reason
                self.link.stop("disconnected")

    # --- the server's side

    def cut(self) -> None:
        """End it where it is."""
        self._end_up(ABNORMAL, "")
        self._closed(ABNORMAL, "")

    def stop(self, reason: Literal["drained"]) -> None:
        """Ask the application to stop; a plain server has no way but to cancel its call."""
        if self.linked:
            self.link.stop(reason)
        else:
            self.cancel_scope.cancel(reason="the server's graceful timeout is over")

    def over(self, error: Exception | None, *, answer: bool) -> None:
        """The application's call is over.

        Args:
            error: what escaped it.
            answer: whether an error is answered, as a server does, and the test's to see in no other way.
        """
        expected = self.client_over or self.cancel_scope.cancel_called
        if error is None and not self.answered.is_set() and not expected:
            error = ProtocolViolation(f"the application returned without an answer to {self.label}")
        if error is not None and not (self.client_over and only_disconnect(error)):
            self.error = error
            self.reported = answer
        if not self.answered.is_set():
            self._answer(500, [])
        self._end_up(ABNORMAL, "")
        self._closed(INTERNAL, "")
        self.returned.set()
