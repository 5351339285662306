"""One application task: what is answered when the application does not.

This file owns the meaning of an application's end. It returned, raised, or was cut off: the client gets what it sent,
else 500 or 503, and nothing it raises goes further than this.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from trivet.asgi import ASGIApp

from ._faults import ClientGone, fault_in, report
from ._seam import Stream

ANSWER_SECONDS = 1.0
"""For the last answer of a request that is cut."""


async def run_application(app: ASGIApp, stream: Stream, ended: Callable[[Stream], object]) -> None:
    """Run `app` for one request, see to the end of its response, then call `ended`.

    Raises only what cancels it.
    """
    try:
        await _call(app, stream)
        await stream.application_done(500)
    except trio.Cancelled:
        with trio.move_on_after(ANSWER_SECONDS, shield=True):
            await stream.application_done(503)
        raise
    finally:
        ended(stream)


async def _call(app: ASGIApp, stream: Stream) -> None:
    try:
        await app(stream.scope, stream.receive, stream.app_send)
    except BaseException as error:
        # KeyboardInterrupt and SystemExit too: signals are received elsewhere, so that here they are a handler's own.
        fault = fault_in(error)
        if fault is None:
            raise
        if stream.outcome == "returned" and not isinstance(fault, ClientGone):  # else there was a reason before
            stream.outcome = "failed"
        report(fault, stream.scope.get("method", "websocket"), stream.scope["path"])
