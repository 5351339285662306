"""The life of a WebSocket: handshake, open, closed, and what leads from one to the next.

This file owns those states, who may wait for what in each, and that a close is in-band: what came before it is still
received. When the handler is stopped is `_ws_scope`'s to know; messages are `_websocket`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import trio

from ._handshake import Handshake
from ._headers import MutableHeaders
from ._options import SEND_TIMEOUT
from ._outbound import SocketOutbound
from ._ws_close import ABNORMAL, check_close
from ._ws_head import SocketHead
from ._ws_scope import SocketScope
from .asgi import ACCEPTANCE_FIELDS, RawHeaders, Reason
from .errors import ResponseError, WebSocketClosed


class State(Enum):
    """How far a WebSocket is."""

    HANDSHAKE = "handshake"
    ACCEPTING = "accepting"
    OPEN = "open"
    CLOSED = "closed"


OPEN: Final = State.OPEN


class SocketLife(SocketHead):
    """A WebSocket without its messages."""

    __slots__ = ("_accepting", "_in", "_out", "_own", "_scope", "_state", "subprotocol")

    subprotocol: str | None
    """The one that was accepted."""

    def __init__(self, handshake: Handshake, scope: SocketScope, out: SocketOutbound) -> None:
        super().__init__(handshake)
        self._scope = scope
        self._in = handshake.messages
        self._out = out
        self._state = State.HANDSHAKE
        self.subprotocol = None
        # How we have closed it, or given it up.
        self._own: WebSocketClosed | None = None
        # Set when the acceptance is out; None but in between.
        self._accepting: trio.Event | None = None
        handshake.closed = self._when_closed

    def __repr__(self) -> str:
        return f"<WebSocket {self.path!a} {self._state.value}>"

    # ---- the handshake

    async def accept(self, subprotocol: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Accept the handshake. Needed only to choose a subprotocol, to add headers, or to say when.

        `timeout` ends here.

        Args:
            subprotocol: one of `subprotocols`.
            headers: of the answer, beside those that providers have added to it.

        Raises:
            ResponseError: the client has not offered this subprotocol.
            ValueError: a header that cannot be sent, or that is the server's to set.
            RuntimeError: it has been accepted already, at first use perhaps.
            WebSocketClosed: the client has left.

        Cancellation: it is accepted or not, never in between.
        """
        if subprotocol is not None and subprotocol not in self.subprotocols:
            offered = ", ".join(map(repr, self.subprotocols)) or "none"
            raise ResponseError(
                f"the client has not offered the subprotocol {subprotocol!r}, but {offered}: it would have to close.\n"
                "Choose one that it has:  chosen = next((each for each in ws.subprotocols if each in KNOWN), None)"
            )
        if self._state is OPEN or self._state is State.ACCEPTING:
            raise RuntimeError(
                "this WebSocket has been accepted already: it is at first use.\n"
                "Call `await ws.accept(...)` before receiving and sending."
            )
        fields = MutableHeaders()
        for name, value in (headers or {}).items():
            fields[name] = value
        await self._accept(subprotocol, fields.raw)

    async def _accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        if self._state is State.HANDSHAKE and self._ends_with_drain:
            self._scope.cancel("drained")  # 503: a proxy tries another server, and no page sees any of it
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._state is not State.HANDSHAKE:
            raise await self._closed_error()
        headers = self._handshake._with_own(headers)
        check_acceptance(headers)
        self._state = State.ACCEPTING
        self._accepting = trio.Event()
        done = False
        try:
            # Half an acceptance would be neither: whoever cancels has to wait for as long as a write may take.
            done = await self._scope.shielded(self._last_patience, self._out.accept, subprotocol, headers)
        except OSError:
            pass  # the client has left
        finally:
            self._state = OPEN if done else State.HANDSHAKE
            self._accepting.set()
            self._accepting = None
        if not done:
            self._when_closed()
            raise await self._closed_error()
        self.subprotocol = subprotocol
        self._scope.accepted(self._handshake._options.idle_timeout)
        if self._handshake._left:  # it has said what it had to say while we were told that the acceptance is out
            self._when_closed()
        elif self._ends_with_drain:
            self._drain_begins()

    async def _ready(self, *, sending: bool) -> None:
        """What has to be done before a message can go either way: at first use, and after the last."""
        while self._state is not OPEN:
            if self._state is State.HANDSHAKE:
                await self._accept(None, [])
            elif self._accepting is not None:
                await self._accepting.wait()
            elif sending or self._own is not None:
                await trio.lowlevel.checkpoint()
                raise await self._closed_error()
            else:
                return  # what came before the close is still received

    # ---- the end

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it. What is received or sent from now on raises `WebSocketClosed`; a second close does nothing.

        Before it was accepted this refuses the handshake, with 403; to say more, raise an `HTTPError`.

        Args:
            code: 1000, all is done; 3000 to 4999, whatever you agree on with your clients; or another of those that may
                be sent (RFC 6455 section 7.4).
            reason: for people, at most 123 bytes.

        Raises:
            ValueError: this code may not be sent, or the reason is too long.

        Cancellation: it is closed or not, never in between.
        """
        check_close(code, reason)
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._accepting is not None:
            await self._accepting.wait()
        if self._state is State.CLOSED:
            await trio.lowlevel.checkpoint()
            return
        await self._close(code, reason)

    async def _close(self, code: int, reason: str) -> None:
        self._state = State.CLOSED
        self._own = WebSocketClosed(code, reason)
        if self._handshake._options.on_disconnect != "finish":
            self._scope.closed()
        try:
            await self._scope.shielded(self._last_patience, self._send_close, code, reason)
        except OSError:
            pass  # the client has closed, too

    async def _send_close(self, code: int, reason: str) -> None:
        if self._handshake._link is not None:
            await self._out.close(code, reason)
        else:  # hypercorn tells us of the end from inside of this, and waits while more than ten messages are unread
            await self._scope.alongside(self._in.discard, self._out.close, code, reason)

    @property
    def close_code(self) -> int | None:
        """What it was closed with, by whichever side; `None` while it is open. 1006: the connection broke."""
        if self._own is not None:
            return self._own.code
        return self._in.code if self._in.gone or self._state is State.CLOSED else None

    @property
    def close_reason(self) -> str:
        """The reason that came with the code; often empty."""
        return self._in.reason if self._own is None else self._own.reason

    @property
    def ended(self) -> Reason | None:
        """Why the handler ended or is being stopped; `None` while it goes on, after a close too."""
        return self._scope.ending

    # ---- for the floors above: the package's own, not a handler's

    @property
    def _last_patience(self) -> float:
        """Seconds for what must not be cancelled halfway."""
        patience = self._handshake._options.send_timeout
        return SEND_TIMEOUT if patience is None else patience

    async def _finish(self, code: int, reason: str = "") -> None:
        """Close, unless it is closed: the handler has ended."""
        if self._state is not State.CLOSED:
            await self._close(code, reason)

    async def _refuse(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Refuse the handshake with a response."""
        self._state = State.CLOSED
        try:
            await self._scope.shielded(self._last_patience, self._out.refuse, status, headers, body)
        except OSError:
            pass  # the client has left

    def _when_closed(self) -> None:
        """The client has left: called once, synchronously, by whoever notices."""
        if self._state is State.ACCEPTING:
            return  # `_accept` looks when it knows whether there is anything to close
        before, self._state = self._state, State.CLOSED
        policy = self._handshake._options.on_disconnect
        if before is State.CLOSED or policy == "finish":
            return
        if before is OPEN and policy is None:
            self._scope.closed()
        else:
            self._scope.cancel("disconnected")

    @property
    def _ends_with_drain(self) -> bool:
        """Whether the server drains, and the handler is not to outlive that."""
        return self._handshake._options.on_drain == "cancel" and self.draining.is_set()

    def _drain_begins(self) -> None:
        """The server drains: called once, synchronously, from any task.

        A handshake is let go on, to its refusal perhaps, and looks when it accepts; what is closed has its own time.
        """
        if self._state is OPEN and self._ends_with_drain:
            self._scope.cancel("drained")

    def _give_up(self, reason: str) -> None:
        """The client may be there, and does not matter any more."""
        self._own = WebSocketClosed(ABNORMAL, reason)
        self._state = State.CLOSED
        self._scope.cancel("disconnected")

    async def _closed_error(self) -> WebSocketClosed:
        if self._own is not None:
            return WebSocketClosed(self._own.code, self._own.reason)
        if self._handshake._left:  # the server has the close for us, behind what has not been received
            await self._in.find_end()
        return WebSocketClosed(self._in.code, self._in.reason)


def check_acceptance(headers: RawHeaders) -> None:
    """Refuse headers that would make another handshake of it, while it can still be answered with a response.

    Raises:
        ValueError: there is one.
    """
    for name, _ in headers:
        if name in ACCEPTANCE_FIELDS:
            remedy = (
                "Choose one that the client offers:  await ws.accept(subprotocol=ws.subprotocols[0])"
                if name == b"sec-websocket-protocol"
                else "Leave it out."
            )
            raise ValueError(
                f"{name.decode()!r} is a header of a WebSocket's acceptance that the server sets.\n{remedy}"
            )
