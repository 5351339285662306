"""The access log: one line a request on the logger `trivet.access`, at INFO.

This file owns its shape. A request whose client left is logged as 499 (nginx's code, never sent). Nothing is formatted
when nobody listens.
"""

from __future__ import annotations

import logging

import trio

from ._request import Request

log = logging.getLogger("trivet.access")


def listened_to() -> bool:
    """Whether anybody wants the log: to be asked once for each request."""
    return log.isEnabledFor(logging.INFO)


def record(request: Request) -> None:
    """Log a request that is over."""
    if not listened_to():
        return
    reason = request.ended
    status = 499 if reason == "disconnected" else request._status
    milliseconds = (trio.current_time() - request._began) * 1000
    # ascii(): a path may hold control characters once decoded, and a line of the log must stay one line.
    log.info(
        "%s %s %d %s %.1fms", request.method, ascii(request.path)[1:-1], status, reason or "failed", milliseconds,
        extra={"status": status, "reason": reason, "duration_ms": milliseconds, "method": request.method},
    )  # fmt: skip
