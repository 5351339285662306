"""The vocabulary of ASGI 3, as far as trivet speaks it, and the one extension that trivet adds.

This file owns names, not behaviour. It knows nothing of Trio, of hypercorn or of the application.

The `trivet` scope extension
----------------------------
A server that knows trivet puts a `Link` at `scope["extensions"]["trivet"]` of each `http`, `websocket` and `lifespan`
scope. It tells the application what ASGI cannot say: that the client has left while nobody reads `receive`, that a
drain has begun, and it lets the application say what ASGI cannot ask: how long a write may make no progress, and that
a response must be cut rather than ended. An application that finds no `Link` falls back on what plain ASGI offers.

The direct door
---------------
A request that is answered without waiting needs no task, no scope dictionary and no channel. An application that is
served itself (not inside of ASGI middleware) may have a method `__trivet_door__() -> Door | None`, which the server
calls once, after startup. A server that knows it shows each request's head to the `Door` first, unless the head
announces a body that has not come with it. ASGI stays the door for all that the direct one declines, and for all
others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Literal, Protocol, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

ACCEPTANCE_FIELDS: Final = frozenset(
    (
        b"upgrade",
        b"connection",
        b"sec-websocket-accept",
        b"sec-websocket-protocol",
        b"sec-websocket-extensions",
        b"content-length",
        b"transfer-encoding",
    )
)
"""Fields of a WebSocket's acceptance that the server writes (RFC 6455 section 4.2.2), so that the headers of
`websocket.accept` have none of them. hypercorn itself stops at some."""

Reason = Literal["returned", "failed", "deadline", "disconnected", "drained", "shed"]
"""Why a request ended.

- `returned`: the handler returned and the response went out.
- `failed`: an exception decided the response.
- `deadline`: `timeout` passed.
- `disconnected`: the client left.
- `drained`: the server stopped and the drain time was over.
- `shed`: a limit turned the request away before it ran.
"""

EXTENSION = "trivet"
"""The key of the `Link` in `scope["extensions"]`."""


ACCESS = "trivet.access"
"""The key in the scope of what the access log will say of this request, an `Access`: there if and only if somebody
further out writes the line, a server that knows trivet or an outer trivet application."""


class Access(Protocol):
    """What the application of a request adds to its line in the access log."""

    outcome: Reason | None
    """Why the request ended. Unless it is told, the server says what it saw."""

    request_id: str | None
    """By which the application's own log knows the request. `None` asks for it: to make one takes time."""

    route: str | None
    """The pattern of the route that took it, prefixes included; `None`: none did. Told, as the outcome is, before the
    end of the response is sent."""


AtOnce: TypeAlias = Callable[[str, int, float], object]
"""Counts an answer of one route that was made at once, by the direct door: its method, status, and seconds."""


class Meter(Protocol):
    """Counts the requests of an application.

    A handler with the attribute `__trivet_meter__`, a function without arguments that makes a `Meter`, has the
    application that it is registered in measured, all of it, whatever the handler itself is for. The application makes
    one when its table is frozen, and keeps it as `app.meter`; where several handlers ask, these functions are equal.
    Everything is called in the task that serves.
    """

    def route(self, path: str, /) -> AtOnce:
        """What counts the requests of a route that are answered at once: asked for once, when the table is frozen."""
        ...

    def began(self, websocket: bool, /) -> None:
        """A request has begun that will not be answered at once; `ended` follows."""
        ...

    def ended(
        self,
        websocket: bool,
        method: str,
        route: str | None,
        status: int,
        outcome: Reason,
        to_head: float | None,
        duration: float,
        /,
    ) -> None:
        """It is over.

        Args:
            websocket: whether it was one.
            method: as sent.
            route: the pattern that took it, prefixes included; `None`: none did.
            status: as in the access log: 499 if the client left.
            outcome: likewise.
            to_head: seconds until the head of the response was handed over; `None`: there was none.
            duration: seconds until the end.
        """
        ...


METER = "__trivet_meter__"
"""The attribute of a handler that has its application measured: see `Meter`."""


class Notice(Protocol):
    """Something that happens at most once and can be waited for: `trio.Event`, without importing Trio here."""

    def is_set(self) -> bool:
        """Whether it has happened."""
        ...

    async def wait(self) -> None:
        """Return when it has happened; a checkpoint in any case."""
        ...


class Link(Protocol):
    """What a server that knows trivet lets the application of one scope see and do.

    A `Link` belongs to one scope (one request, one WebSocket, or the lifespan) and is used from its task only, but for
    `cancel`, which the server calls from wherever it notices.
    """

    @property
    def draining(self) -> Notice:
        """Set when the server stops taking new work. The same object for all scopes of a server."""
        ...

    send_timeout: float | None
    """Seconds within which each write must make progress, else the server drops the client; `None`: no bound.

    Written by the application before its first `send`; the server's own default stands until then."""

    def attach(self, cancel: Callable[[Reason], object]) -> None:
        """Ask to be told when this request should stop.

        The server calls `cancel("disconnected")` when the client leaves and `cancel("drained")` when the drain time is
        over: each at most once, synchronously, from any task; at once, inside `attach`, if it has happened already. A
        request that outlives its client may so be told `drained` after `disconnected`. It does so even while
        `receive` has unread messages queued. It never calls it after `detach`, nor after the last body message was
        taken. Who has never attached when the drain time is over is cancelled (`trio.Cancelled`) instead of told.
        """
        ...

    def detach(self) -> None:
        """Take `attach` back: the application no longer wants to be stopped."""
        ...

    def abort(self) -> None:
        """Cut the response: the client must see that it is incomplete (a closed connection, a reset stream).

        Nothing is sent after it; what the application sends later is ignored.
        """
        ...


class SocketLink(Link, Protocol):
    """The `Link` of a WebSocket."""

    @property
    def closed_with(self) -> tuple[int, str] | None:
        """The code and the reason of the client's close, or 1006 and none if the connection broke.

        There from before `cancel("disconnected")` is called, or that is about a client whose last messages have not
        been read: then once they are.
        """
        ...


class LifespanLink(Link, Protocol):
    """The `Link` of the lifespan scope: application and server agree here on how the server stops.

    The application may set `drain_timeout` and `cleanup_grace` until it sends `lifespan.startup.complete`; where the
    operator has chosen a value (`trivet run --drain-timeout`), that value stands and what is set here is ignored.
    The end of a lifespan is the message `lifespan.shutdown`. What is attached is told `drained`, after it or before, if
    the operator will not wait any longer (a second SIGTERM): what the application still waits for is to be stopped.
    Several may attach: each application that is mounted in another has the same link. `abort` asks the server to stop
    as on SIGTERM, but to end with a failure: for a service that gives up.

    The message of `lifespan.startup.failed` and `lifespan.shutdown.failed` is shown to the operator by the server: the
    application need not log it.
    """

    drain_timeout: float
    """Seconds for which requests may go on once the server stops, before they are told `drained`."""

    cleanup_grace: float
    """Seconds for which a request that was told may still clean up, before it is cancelled outright."""

    @property
    def debug(self) -> bool:
        """Whether the operator asked for it (`trivet run --debug`)."""
        ...


class Head(Protocol):
    """A request's head, as the direct door sees it. It lives as long as the request, no longer."""

    @property
    def method(self) -> str:
        """The method, as sent."""
        ...

    @property
    def raw_path(self) -> bytes:
        """The path, percent-encoded, without query: ASGI's `raw_path`. Starts with a slash."""
        ...

    @property
    def query_string(self) -> bytes:
        """What follows the question mark; empty if there is none."""
        ...

    @property
    def headers(self) -> RawHeaders:
        """The fields, names in lower case."""
        ...

    @property
    def body(self) -> bytes:
        """The body, whole; empty if there is none."""
        ...

    def scope(self) -> Scope:
        """The ASGI scope of this request; the same dictionary at each call, and for the application later."""
        ...


Answer: TypeAlias = tuple[int, RawHeaders, bytes]
"""A whole response: status, fields (`Content-Length` among them where the status allows one), body (empty for HEAD)."""


class Door(Protocol):
    """Answers a request at once, or not at all. See "The direct door" above."""

    def __call__(self, head: Head, /) -> Answer | ASGIApp | None:
        """Called by the server in whatever task reads the socket, in a context (`contextvars`) of its own.

        It must not block, and nothing that it runs may suspend or look at the task it is in. What it raises, the server
        answers with 500 and logs.

        Returns:
            The response; or an ASGI application that answers this one request in a task, in the place of the one being
            served (what has been done already is not done again); or None: serve it as any other.
        """
        ...
