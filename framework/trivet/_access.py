"""The access log of an application: one line for each request and each WebSocket, on `trivet.access`, at INFO.

This file owns who writes it, and what a request looked like from outside if the application has not said. `trivet run`
writes it, for every application, and a trivet application in it only says why the request ended; so does one that is
mounted in another. Under any other server the outermost trivet application writes the lines of all it serves, as soon
as the logger is enabled. Nothing is made when nobody listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeAlias

import trio

from ._fence import stopped_by_server
from ._groups import leaves
from ._inbound import noted_receive
from ._logline import Entry
from ._outbound import noted
from ._request import Request
from .asgi import ACCESS, Access, ASGIApp, Reason, Receive, Scope, Send

log = logging.getLogger("trivet.access")

PREFIX: Final = "trivet.prefix"
"""The key in the scope of a mounted application of where it is mounted, below whoever is outermost."""

Done: TypeAlias = Callable[[Entry, Reason, float], object]
"""What becomes of an entry when its request is over: with what it looked like from outside, and when that was."""


def listened_to() -> bool:
    """Whether anybody wants the log: to be asked once for each request."""
    return log.isEnabledFor(logging.INFO)


def record(request: Request) -> None:
    """Tell whoever keeps the books of this request how it ended.

    To be called when it is known, before the end of the response is sent, for a tracer may take that for the end of
    the request; and again when the request is over, for what was not known then.
    """
    access: Access | None = request.scope.get(ACCESS)
    if access is not None:
        access.outcome = request.ended or "failed"
        if access.request_id is None:
            access.request_id = request.id
        if request.route is not None:
            access.route = request.scope.get(PREFIX, "") + request.route.path


async def logged(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run `app`, the outermost application, for one request, and write its line."""
    entry = Entry.of(scope, trio.current_time())
    await accounted(app, scope, receive, noted(send, entry), entry, _write)


def _write(entry: Entry, outcome: Reason, now: float) -> None:
    entry.write(log, outcome, now)


async def accounted(app: ASGIApp, scope: Scope, receive: Receive, send: Send, entry: Entry, done: Done) -> None:
    """Run `app` for one request, and call `done` with its entry; `send` notes in it what goes out."""
    outcome: Reason = "failed"
    try:
        await app({**scope, ACCESS: entry}, noted_receive(receive, entry), send)
        if entry.complete:
            outcome = "returned"
        elif entry.left:  # it ended in silence because nobody is there to read it
            outcome = "disconnected"
        elif not entry.status:
            entry.status = 500  # the server's answer
    except BaseException as error:
        if not leaves(error, (trio.Cancelled,)) and stopped_by_server(scope):
            outcome = "drained"
        if not entry.status:
            entry.status = 503 if outcome == "drained" else 500  # the server's answer, as hypercorn has it
        if entry.outcome == "returned" and not entry.complete:
            entry.outcome = None  # it was not the application's handler that failed, but something around it
        raise
    finally:
        done(entry, outcome, trio.current_time())
