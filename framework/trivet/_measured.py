"""An application that is measured: what its `Meter` is told of each request, and who tells it.

This file owns that. Requests that are answered at once, by the direct door, are counted there (`_door`), for anything
around it would close it. All others are accounted for as in the access log, around the whole application, so that both
have the same words; what ASGI middleware answers is counted as well. It does not know what becomes of the figures.

An application without a meter runs nothing of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import trio

from ._access import accounted
from ._instant import Unfinished
from ._logline import Entry
from ._outbound import noted, noted_socket
from .asgi import ACCESS, METER, Access, ASGIApp, Meter, Reason, Receive, Scope, Send
from .errors import RegistrationError

Finish: TypeAlias = Callable[[Scope, Receive, Send, Unfinished], Awaitable[None]]


class Asked(NamedTuple):
    """A route that asks for a meter, as a rule a page of metrics, and what makes the meter."""

    path: str
    make: Callable[[], Meter]


def asking(path: str, handler: Callable[..., Any], first: Asked | None) -> Asked | None:
    """Who asks for the meter of an application, once this handler is registered.

    Args:
        path: of the handler's route.
        handler: it has the attribute `METER`, or not.
        first: who has asked before.

    Raises:
        RegistrationError: both do, and not for the same.
    """
    make = getattr(handler, METER, None)
    if make is None:
        return first
    if first is not None and make != first.make:
        raise RegistrationError(
            "an application is measured once, and two routes ask for it in different ways:\n"
            f"    {first.path}  asks for  {first.make!r}\n    {path}  asks for  {make!r}\n"
            "Give both the same options, or leave one of them out."
        )
    return first or Asked(path, make)


def finishing(finish: Finish, meter: Meter) -> Finish:
    """`finish`, measured: what the direct door has begun."""

    async def finished(scope: Scope, receive: Receive, send: Send, unfinished: Unfinished) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await finish(scope, receive, send, unfinished)

        await measured(app, meter, scope, receive, send, began=unfinished.began)

    return finished


def measured(
    app: ASGIApp, meter: Meter, scope: Scope, receive: Receive, send: Send, *, began: float | None = None
) -> Awaitable[None]:
    """Run `app` for one scope, and tell `meter`; what is known is told to whoever else keeps books, further out.

    It is a function that returns what is to be awaited, for a frame less in each request.

    Args:
        app: the application, with all that is around it.
        meter: of the application.
        scope: of anything, the lifespan too.
        receive: ASGI's.
        send: ASGI's.
        began: on Trio's clock, if it was not just now.
    """
    kind = scope["type"]
    if kind not in ("http", "websocket"):
        return app(scope, receive, send)
    socket = kind == "websocket"
    outer: Access | None = scope.get(ACCESS)
    entry = Entry.of(scope, trio.current_time() if began is None else began)

    if outer is None:
        entry.request_id = ""  # nobody wants it

    def done(entry: Entry, outcome: Reason, now: float) -> None:
        outcome, status = entry.ended(outcome)
        headed = entry.headed
        to_head = None if headed is None else headed - entry.began
        meter.ended(socket, entry.method, entry.route, status, outcome, to_head, now - entry.began)
        if outer is not None:
            entry.tell(outer)

    meter.began(socket)
    noting = noted_socket(send, entry) if socket else noted(send, entry)
    return accounted(app, scope, receive, noting, entry, done)
