"""How a request gets its places from the limits of its route, and what becomes of one that gets none.

This file owns when places are taken and given back. Who gets one is decided by `_limit`, which knows no requests; how
long one may wait, and who is told why it ended, is the scope's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

import trio

from ._answer import Answerer, Catchers
from ._delivery import open_file
from ._file import File
from ._limit import Limit
from ._request import Request
from ._resolve import Run
from ._response import Response
from ._scope import RequestScope
from ._stream import Stream
from .errors import RequestCancelled

log = logging.getLogger("trivet")

Core: TypeAlias = Callable[[Request], Awaitable[Response]]


async def limited(
    limits: Sequence[Limit], core: Core, answerer: Answerer, catchers: Catchers, request: Request
) -> Response:
    """`core` with a place of each limit, which a stream keeps until the request is over."""
    try:
        await admit(limits, request)
    except RequestCancelled as error:
        return await answerer.answer(error, request, catchers)
    keeps = False
    try:
        response = await core(request)
        keeps = isinstance(response, Stream)
        return response
    finally:
        _note_answer(request)
        if not keeps:
            release(request)


async def placed(limits: Sequence[Limit], response: Stream | File, request: Request) -> Response:
    """What a handler has returned that was over in no time: a stream or a file, which needs places as others do.

    If there are none it is not sent, as that of a HEAD request is not: whoever returns a stream cannot count on it. A
    file is opened here, which is all that it takes until its answer is ready.

    Raises:
        RequestCancelled: there are none.
        Exception: as `open_file`.
    """
    await admit(limits, request)
    try:
        return await request._scope.call(open_file, response, request) if isinstance(response, File) else response
    finally:
        _note_answer(request)


async def limited_run(limits: Sequence[Limit], run: Run, request: Request, scope: RequestScope) -> object:
    """The same for a WebSocket, which keeps its places to its end."""
    await admit(limits, request)
    return await run(request, scope)


def release(request: Request) -> None:
    """Give back the places that a request has, the innermost first."""
    slots = request._slots
    if slots:
        now = trio.current_time()
        while slots:
            limit, began = slots.pop()
            limit._leave(began, now)


def _note_answer(request: Request) -> None:
    now = trio.current_time()
    for limit, began in request._slots or ():
        limit._answered(began, now, request._scope.reason)


async def admit(limits: Sequence[Limit], request: Request) -> None:
    """Take a place of each limit, the outermost first.

    Raises:
        RequestCancelled: there is none, or the request has ended while it waited.
    """
    if request._slots:  # a middleware tries again, and has not sent the stream that it got
        release(request)
    slots = request._slots = []
    try:
        for limit in limits:
            now = trio.current_time()
            if not limit._take(now):
                await _wait(limit, request, now)
                now = trio.current_time()
            slots.append((limit, now))
    except BaseException:
        release(request)
        raise


async def _wait(limit: Limit, request: Request, now: float) -> None:
    """Wait for a place of this limit."""
    scope = request._scope
    if scope.reason is None and (patience := limit._patience(scope.deadline - now, now)):
        request._ends_with_client()
        try:
            if scope.reason is None and await scope.wait_turn(now + patience, _park, limit):
                return
        finally:
            request._for_client = False  # what has begun may have to be finished
    scope.cancel("shed")
    raise _turned_away(limit, request) if scope.reason == "shed" else scope.stopped()


def _turned_away(limit: Limit, request: Request) -> RequestCancelled:
    now = trio.current_time()
    error = RequestCancelled("shed", retry_after=limit._turn_away(now))
    unsaid = limit._unsaid(now)
    if unsaid:
        # As text now: a handler that writes later would show another moment.
        log.warning("turned away by %s: %d since the last line, now %s", repr(limit), unsaid, ascii(request.path))
    return error


async def _park(limit: Limit) -> None:
    """Stand in the queue until there is a place.

    Cancellation: either it has a place, and returns, or it is out of the queue.
    """
    waiter = limit._join(partial(trio.lowlevel.reschedule, trio.lowlevel.current_task()))

    def abort(_: object) -> trio.lowlevel.Abort:
        limit._quit(waiter)
        return trio.lowlevel.Abort.SUCCEEDED

    await trio.lowlevel.wait_task_rescheduled(abort)
