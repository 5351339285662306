"""The server's half of the `trivet` scope extension: what `trivet.asgi.Link` promises, kept.

This file owns when an application is told that its request should stop. It knows neither sockets nor hypercorn: a
protocol calls `client_left`, `drain_over` and `response_taken`; an application calls what `Link` names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from trivet.asgi import Reason

log = logging.getLogger("trivet.server")


class RequestLink:
    """The `Link` of one HTTP request or one WebSocket."""

    # Defaults in the class, so that a request sets only what it must: no __slots__, on purpose.

    attached = False
    """Whether `attach` was ever called: who never asks to be told is cancelled instead."""

    closed_with: tuple[int, str] | None = None
    """See `trivet.asgi.SocketLink.closed_with`."""

    _cancel: Callable[[Reason], object] | None = None
    _left = False
    _drained = False

    _over = False
    """The response is taken: from here on there is nothing to stop."""

    def __init__(self, draining: trio.Event, send_timeout: float | None, abort: Callable[[], object]) -> None:
        self.draining = draining
        self.send_timeout = send_timeout
        self._abort = abort

    def __deepcopy__(self, memo: object) -> RequestLink:
        """Itself: middleware that copies scopes deeply (hypercorn's ProxyFixMiddleware) means the same request."""
        return self

    def attach(self, cancel: Callable[[Reason], object]) -> None:
        """See `trivet.asgi.Link.attach`."""
        self.attached = True
        if self._over:
            return
        self._cancel = cancel
        if self._left:
            cancel("disconnected")
        if self._drained:
            cancel("drained")

    def detach(self) -> None:
        """See `trivet.asgi.Link.detach`."""
        self._cancel = None

    def abort(self) -> None:
        """See `trivet.asgi.Link.abort`."""
        self._abort()

    def client_left(self) -> None:
        """The client is gone, or has ended its half of the connection."""
        if not self._left:
            self._left = True
            self._tell("disconnected")

    def drain_over(self) -> None:
        """The drain time has passed and this request is still there."""
        if not self._drained:
            self._drained = True
            self._tell("drained")

    def _tell(self, reason: Reason) -> None:
        if self._cancel is not None:
            try:
                self._cancel(reason)
            except Exception:
                # It runs in whatever task noticed, often one that serves all connections: what it raises ends here.
                log.exception("the callback of a request that was to be told %r failed", reason)

    def response_taken(self) -> None:
        """The application has handed over the last of its response: never tell it anything again."""
        self._over = True
        self._cancel = None


class LifespanLink:
    """The `LifespanLink` of `trivet.asgi`: where application and server agree on the shutdown."""

    __slots__ = ("_hurried", "cleanup_grace", "debug", "drain_timeout", "draining", "send_timeout", "stop")

    def __init__(
        self,
        draining: trio.Event,
        send_timeout: float | None,
        *,
        drain_timeout: float,
        cleanup_grace: float,
        debug: bool,
    ) -> None:
        self.draining = draining
        self.send_timeout = send_timeout
        self.drain_timeout = drain_timeout
        self.cleanup_grace = cleanup_grace
        self.debug = debug
        self.stop: Callable[[], object] = lambda: None
        """What `abort` does; the server sets it."""
        self._hurried: list[Callable[[Reason], object]] = []  # of mounted applications, too

    def __deepcopy__(self, memo: object) -> LifespanLink:
        """Itself, as `RequestLink`."""
        return self

    def attach(self, cancel: Callable[[Reason], object]) -> None:
        """See `trivet.asgi.LifespanLink`."""
        self._hurried.append(cancel)

    def detach(self) -> None:
        """Whoever has attached is over when the lifespan is."""

    def hurry(self) -> None:
        """The operator will not wait any longer for what goes on in the background."""
        for each in self._hurried:
            each("drained")

    def abort(self) -> None:
        """Stop the server: drain, run the shutdown, and end with a failure."""
        self.stop()
