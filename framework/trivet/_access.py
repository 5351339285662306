"""The access log of an application: one line for each request and each WebSocket, on `trivet.access`, at INFO.

This file owns who writes it. `trivet run` does, for every application, and a trivet application in it only says why the
request ended; so does one that is mounted in another. Under any other server the outermost trivet application writes
the lines of all it serves, as soon as the logger is enabled. Nothing is made when nobody listens.
"""

from __future__ import annotations

import logging

import trio

from ._groups import leaves
from ._logline import Entry
from ._outbound import noted
from ._request import Request
from .asgi import ACCESS, Access, ASGIApp, Reason, Receive, Scope, Send

log = logging.getLogger("trivet.access")


def listened_to() -> bool:
    """Whether anybody wants the log: to be asked once for each request."""
    return log.isEnabledFor(logging.INFO)


def record(request: Request) -> None:
    """Tell whoever writes the line of this request how it ended."""
    access: Access | None = request.scope.get(ACCESS)
    if access is not None:
        access.outcome = request.ended or "failed"
        access.request_id = request.id


async def logged(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run `app`, the outermost application, for one request, and write its line."""
    entry = Entry.of(scope, trio.current_time())
    outcome: Reason = "failed"
    try:
        await app({**scope, ACCESS: entry}, receive, noted(send, entry))
        # An application that ends in silence before its response does so because nobody is there to read it.
        outcome = "returned" if entry.complete else "disconnected"
    except BaseException as error:
        if not leaves(error, (trio.Cancelled,)):
            outcome = "drained"
        if not entry.status:
            entry.status = 503 if outcome == "drained" else 500  # the server's answer, as hypercorn has it
        if entry.outcome == "returned" and not entry.complete:
            entry.outcome = None  # it was not the application's handler that failed, but something around it
        raise
    finally:
        entry.write(log, outcome, trio.current_time())
