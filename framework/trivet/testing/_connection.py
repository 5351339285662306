"""The server's end of one in-memory exchange: the `scope`, `receive` and `send` that the application gets.

This file owns one decision: what a server does with what the application sends and with a client that leaves,
in two flavours. A server that knows trivet (`linked`) puts a `Link` into the scope, raises from `send` when
the client has left (ASGI 2.4) and drops a client that stops reading. A plain one is shaped like stock
hypercorn 0.18: ten messages of queue, a single `http.disconnect` that also follows a normal response, a
`send` that succeeds whatever happened to the client and that cannot be interrupted while the client does not
read.

It does not know how the test drives its end (`_exchange`), nor who runs the application (`_server`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Final, Literal, cast

import trio

from trivet.asgi import EXTENSION, Message, Reason, Scope
from trivet.errors import ClientDisconnected

from ._pipes import Download, Upload
from ._rules import ProtocolViolation, ResponseRules, checked_headers

__all__ = ["Connection", "MemoryLink"]

SEND_TIMEOUT: Final = 10.0
"""Seconds without progress after which a write gives up, where the application says nothing."""

LINKED_QUEUE: Final = 1
PLAIN_QUEUE: Final = 10  # hypercorn's Config.max_app_queue_size


class MemoryLink:
    """`trivet.asgi.Link` in memory, of a request's scope or the lifespan's."""

    __slots__ = (
        "_abort",
        "_attached",
        "_closed",
        "_reasons",
        "cleanup_grace",
        "closed_with",
        "drain_timeout",
        "draining",
        "send_timeout",
    )

    drain_timeout: float
    cleanup_grace: float
    """Both: what the application asks for in its lifespan. Taken and not used: `TestClient` has its own."""

    debug: Final = False
    """Read in the lifespan: no operator asks for it here, so that an app's own `debug` is what is tested."""

    def __init__(self, draining: trio.Event, abort: Callable[[], object]) -> None:
        self.draining = draining
        self.send_timeout: float | None = SEND_TIMEOUT
        # Of a WebSocket: see `SocketLink`.
        self.closed_with: tuple[int, str] | None = None
        self._abort = abort
        self._attached: Callable[[Reason], object] | None = None
        # Why the request should stop, each once: one that outlives its client can be drained later.
        self._reasons: list[Reason] = []
        # The last body message was taken: nobody is told anything from then on.
        self._closed = False

    def attach(self, cancel: Callable[[Reason], object]) -> None:
        """Call `cancel` when the request should stop, at once when it should have already."""
        if self._closed:
            return
        self._attached = cancel
        for reason in self._reasons:
            cancel(reason)

    def detach(self) -> None:
        """Call nobody any more."""
        self._attached = None

    def abort(self) -> None:
        """Cut the response."""
        self._abort()

    def stop(self, reason: Reason) -> None:
        """Tell the application to stop; the server's side of `attach`."""
        if reason not in self._reasons and not self._closed:
            self._reasons.append(reason)
            if self._attached is not None:
                self._attached(reason)

    def close(self) -> None:
        """The last body message was taken."""
        self._closed = True
        self._attached = None


class Connection:
    """One request and its response.

    Args:
        scope: the request's scope; the extension is added here.
        draining: the server's.
        linked: whether the server knows trivet.
    """

    def __init__(self, scope: Scope, draining: trio.Event, *, linked: bool) -> None:
        self.scope = scope
        self.label = f"{scope['method']} {scope['path']}"
        self.linked = linked
        self.upload = Upload(LINKED_QUEUE if linked else PLAIN_QUEUE, latched=linked)
        self.download = Download()
        self.rules = ResponseRules(scope["method"])
        self.link = MemoryLink(draining, self._abort)
        # Ends the application's call from outside, as a server does whose patience is over.
        self.cancel_scope = trio.CancelScope()
        # The client is gone in both directions. The other flags: `client_over` after half_close() too.
        self.client_gone = False
        self.client_over = False
        # The application called abort(): what it sends later is ignored.
        self.aborted = False
        # The server gave the client up because it did not read.
        self.dropped = False
        # The application's call is over.
        self.returned = trio.Event()
        # What escaped the application, and the first rule it broke. `reported`: the test has seen them.
        self.error: Exception | None = None
        self.violation: ProtocolViolation | None = None
        self.reported = False
        if linked:
            scope["extensions"] = {EXTENSION: self.link}

    # --- the application's side

    async def receive(self) -> Message:
        """The application's `receive`."""
        return await self.upload.take()

    async def send(self, message: Message) -> None:
        """The application's `send`.

        Raises:
            ProtocolViolation: the message is not one that may be sent now.
            ClientDisconnected: the client has left or was dropped (linked only).
        """
        await trio.lowlevel.checkpoint()
        if self.aborted:
            return
        try:
            self.rules.check(message)
        except ProtocolViolation as violation:
            self.violation = self.violation or violation
            raise
        self._refuse_if_gone()
        self._put_on_the_wire(message)
        # Hypercorn shields its writes (trio/tcp_server.py, protocol_send).
        with trio.CancelScope(shield=not self.linked):
            await self._wait_for_the_client()
        if self.rules.stage == "over":
            await self._end()
        self._refuse_if_gone()

    def _put_on_the_wire(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.download.start(int(message["status"]), checked_headers(message.get("headers", ())))
            return
        if self.rules.stage == "over":
            # Nobody stops a request whose last message was taken, even if the client is slow to read it.
            self.link.close()
        if not self.rules.bodiless:
            self.download.add(bytes(message.get("body", b"")))

    async def _wait_for_the_client(self) -> None:
        timeout = self.link.send_timeout if self.linked else None
        while self.download.stalled and not self.client_gone:
            with trio.move_on_after(inf if timeout is None else timeout) as patience:
                await self.download.wait_progress()
            if patience.cancelled_caught:
                self.dropped = True
                self.leave()

    async def _end(self) -> None:
        self.download.finish("complete")
        if self.linked:
            self.upload.disconnect()
        else:
            await self.upload.disconnect_when_room()

    def _refuse_if_gone(self) -> None:
        if self.client_gone and self.linked and self.download.end != "complete":
            what = "stopped reading and was dropped" if self.dropped else "left"
            raise ClientDisconnected(f"the client of {self.label} {what}")

    def _abort(self) -> None:
        self.aborted = True
        self.link.close()
        self.cut()

    # --- the client's side

    def half_close(self) -> None:
        """The client has ended its half. Every server takes that for leaving, though it may read on."""
        self.client_over = True
        self.upload.disconnect()
        self.link.stop("disconnected")

    def leave(self) -> None:
        """The client is gone, in both directions, at once."""
        if not self.client_gone:
            self.client_gone = True
            self.download.discard()
            self.half_close()

    # --- the server's side

    def cut(self) -> None:
        """End the response where it is; the client sees that it is incomplete."""
        self.upload.disconnect()
        self.download.finish("truncated")

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
            answer: whether to answer an error with 500, as a server does.
        """
        if error is None and self.rules.stage == "head" and self._owes_an_answer:
            error = ProtocolViolation(f"the application returned without an answer to {self.label}")
        if error is not None and not (self.client_over and only_disconnect(error)):
            self.error = error
        if self.error is not None and self.rules.stage == "head" and answer and self._owes_an_answer:
            self.download.start(500, [(b"content-length", b"0"), (b"connection", b"close")])
            self.download.finish("complete")
            self.reported = True
        self.link.close()
        # A response that ASGI has no word for ending early: the application returns or raises in the middle
        # of it.
        self.cut()
        self.returned.set()

    @property
    def _owes_an_answer(self) -> bool:
        return not (self.client_over or self.aborted or self.cancel_scope.cancel_called)


def only_disconnect(error: BaseException) -> bool:
    """Whether an error says only that the client has left: what ASGI 2.4 lets an application pass on."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(only_disconnect(leaf) for leaf in group.exceptions)
    return any(isinstance(link, ClientDisconnected) for link in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
