"""What an exception out of an application means. This file owns two distinctions: is it more than a cancellation, and
is it a failure, or only the echo of a client that has left."""

from __future__ import annotations

import logging
from typing import cast

import trio

log = logging.getLogger("trivet.server")


def fault_in(error: BaseException) -> BaseException | None:
    """`error` without the `trio.Cancelled` in it; None if it is nothing but that, and must be raised again."""
    if isinstance(error, trio.Cancelled):
        return None
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)[1]
    return error


class ClientGone(OSError):
    """Raised by `send` once the client has left (ASGI 2.4)."""


def is_echo(fault: BaseException) -> bool:
    """Whether `fault` is `ClientGone`, or what a framework makes of it: Starlette raises its ClientDisconnect."""
    cause: BaseException | None = fault
    while cause is not None and not isinstance(cause, ClientGone):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def report(fault: BaseException, method: str, path: str) -> None:
    """Log that the application ended a request with `fault`."""
    # repr: a path may hold line breaks, and a log line must stay one line.
    if is_echo(fault):
        level = logging.DEBUG if isinstance(fault, ClientGone) else logging.INFO
        log.log(level, "%s %r ended with %s, for its client has left", method, path, type(fault).__name__)
    else:
        log.error("the application failed on %s %r", method, path, exc_info=fault)
