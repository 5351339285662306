"""Sends the response of one request: whole, early (an upload is still coming), or as a stream.

This file owns the order of the end of a request: the reason is settled *before* the last message, because hypercorn
reports a disconnect from inside its own final send; dependencies leave before a whole answer and after a stream's last
chunk; a stream that fails is cut. The only module that calls `send` is `_outbound`, the only one that opens scopes is
`_scope`; this one says which when.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

import trio

from ._access import record
from ._answer import Answerer, Catchers
from ._delivery import open_file
from ._eventsink import LiveEventSink
from ._eventstream import EventStream
from ._fence import stopped_by_server
from ._file import File
from ._groups import fatal, leaves
from ._options import Resolved
from ._outbound import Outbound, ResponseCut, cut_quietly
from ._request import Request
from ._response import Response
from ._scope import TooLate, bounded, cancelled_from_outside
from ._sink import StreamSink, close_unsent, declared_length, feed
from ._stream import Stream
from .asgi import ACCESS, RawHeaders
from .errors import HTTPError, RequestCancelled, ResponseError

log = logging.getLogger("trivet")

Respond: TypeAlias = Callable[[Request], Awaitable[Response]]

A_WHILE: Final = 0.1
"""Seconds."""

LINGER: Final = 2.0
"""Seconds that we go on reading an upload that is not wanted after its answer was sent. Closing at once would make the
client's kernel discard the answer (RFC 9112 section 9.6); nginx's `lingering_timeout` is 5 s between two reads."""

PARTING: Final = 1.0
"""Seconds for the last words of an event stream that a drain has stopped: the server is about to go."""


class Target:
    """What serves a request: a route, or the application's answer where there is none."""

    __slots__ = ("immediate", "options", "respond")

    immediate: bool
    """Nothing of it can suspend: there is nothing to watch for while it runs."""

    options: Resolved
    """The options in force."""

    respond: Respond
    """Handler and middleware; it never raises but for a cancellation from further out."""


async def serve(target: Target, request: Request, outbound: Outbound, answerer: Answerer) -> None:
    """Let `target` answer the request, send what it answers, and end the request.

    Raises:
        ResponseCut: a stream failed, and the server has no other way to learn it.
        trio.Cancelled: a scope further out was cancelled; what could be sent has been sent.
    """
    scope = request._scope
    try:
        response = await target.respond(request)
    except BaseException as stopped:
        if leaves(stopped, (trio.Cancelled,)):
            raise
        response = await _instead(stopped, request, answerer, target.options.catchers)
    if not target.immediate and _stopped_from_outside(request):
        # What the handler returned all the same still counts, and is sent under a shield.
        if stopped_by_server(request.scope):
            scope.cancel("drained")
        elif not isinstance(response, Stream | File):
            scope.cancel("returned")
    if isinstance(response, File):
        response = await _opened(response, request, answerer, target.options.catchers)
    if isinstance(response, Stream):
        replacement = await _stream(response, request, outbound, answerer, target.options.catchers)
        if replacement is None:
            return
        response = replacement
    elif scope.frames:  # a middleware put this in the place of a stream
        error = await scope.leave(None)
        if error is not None:
            response = await _instead(error, request, answerer, target.options.catchers)
    try:
        status, headers = response.start(request.method)
    except (ResponseError, ValueError) as refused:
        response = answerer.refused(refused, request)
        status, headers = response.start(request.method)
    headers = request._with_own(headers)
    body = b"" if request.method == "HEAD" else response.body
    reason = scope.reason
    request._status = status
    if reason is None or reason == "shed":  # nothing of it was cancelled
        scope.cancel(request._failed or "returned")
        if ACCESS in request.scope:
            record(request)  # before the last message
        if request._unread:
            await scope.alongside(request._incoming.discard, _early, status, headers, body, request, outbound)
        else:
            await outbound.whole(status, headers, body)
    elif reason != "disconnected":
        record(request)
        # A deadline or a drain. If the cancellation came from further out (hypercorn's graceful_timeout), the answer
        # still goes out, shielded, and the cancellation goes on at the next checkpoint.
        patience = request._options.send_timeout
        if patience is not None and request._unread:
            patience += LINGER  # else a `send_timeout` shorter than that would cut an answer that is out already
        if not await scope.shielded(patience, _stopped, status, headers, body, request, outbound):
            _cut(request)
        if trio.current_effective_deadline() == -math.inf:
            await trio.lowlevel.checkpoint()


def _stopped_from_outside(request: Request) -> bool:
    """Whether hypercorn's graceful_timeout has passed, or middleware's time, unseen by a handler that was shielded."""
    if request._scope.frames or trio.current_time() - request._began <= A_WHILE:
        return False  # it is too unlikely to look through all scopes each time
    return trio.current_effective_deadline() == -math.inf


async def _stopped(status: int, headers: RawHeaders, body: bytes, request: Request, outbound: Outbound) -> None:
    if request._unread:
        await request._scope.alongside(request._incoming.discard, _early, status, headers, body, request, outbound)
    else:
        await outbound.whole(status, headers, body)


async def _early(status: int, headers: RawHeaders, body: bytes, request: Request, outbound: Outbound) -> None:
    """Answer before the upload has been read; `discard` runs beside it.

    The body goes out whole, but its end is held back until the upload is over or `LINGER` has passed: the client has
    its answer (the length is known) and time to read it.
    """
    await outbound.start(status, headers)
    if body:
        await outbound.body(body)
    await _end_after_upload(request, outbound)


async def _stream(
    stream: Stream, request: Request, outbound: Outbound, answerer: Answerer, catchers: Catchers
) -> Response | None:
    """Feed a stream and leave its dependencies; returns a whole response when there is one to send instead."""
    scope = request._scope
    error: BaseException | None = None
    headers: RawHeaders = []
    try:
        status, headers = stream.start(request.method)
        if scope.reason is not None:
            # A whole value would count, however late; this one has not begun, and must not now. The dependencies learn
            # why, and there is still time for a 503.
            raise scope.stopped()
        await trio.lowlevel.checkpoint_if_cancelled()
        if request._before_stream is not None:
            await scope.call(request._prepare_stream)
        headers = request._with_own(headers)
    except BaseException as refused:  # noqa: BLE001 - dependencies see it, then it becomes the response
        error, status = refused, 500
    if error is not None or request.method == "HEAD":
        await close_unsent(stream, request)
        error = await scope.leave(error)
        if error is not None:
            return await _instead(error, request, answerer, catchers)
        scope.cancel("returned")
        if scope.reason == "disconnected":
            return None
        request._status = status
        record(request)
        if request._unread:
            await scope.alongside(request._incoming.discard, _early, status, headers, b"", request, outbound)
        else:
            await outbound.start(status, headers)
            await outbound.body(b"", more=False)
        return None
    request._status = status
    request._ends_with_client()
    sink = StreamSink(request, outbound, declared_length(headers))
    events = LiveEventSink(stream, request, sink) if isinstance(stream, EventStream) else None
    try:
        await outbound.start(status, headers)
        if events is None:
            await scope.feed(feed, stream, sink)
        else:
            await scope.feed(events.run)
        sink.check_complete()
    except BaseException as failure:  # noqa: BLE001 - dependencies see it, then it is logged and the stream cut
        error = failure
    if not sink.began or stream.replaces is not None:
        await close_unsent(stream, request, sent=sink.began)
    error = await scope.leave(error)
    await _end_stream(error, request, outbound, events)
    return None


async def _opened(file: File, request: Request, answerer: Answerer, catchers: Catchers) -> Response:
    """What is sent for a file that was not opened where it was returned: by a handler that runs in one step, by a
    middleware, or by a catcher, which may have it as the page for a request that has ended."""
    scope = request._scope
    while True:
        try:
            if scope.reason is None:
                return await scope.call(open_file, file, request)
            return await scope.in_grace(open_file, file, request)
        except TooLate:
            error: BaseException = scope.stopped()
        except BaseException as failure:  # noqa: BLE001 - it becomes the response
            error = failure
        if not leaves(error, (trio.Cancelled,)):
            return await _instead(error, request, answerer, catchers)
        if request._failed:  # it was the page for an error, and the catchers have had their say
            if isinstance(error, HTTPError) and error.status in (403, 404):
                # The application's fault now, which must not hide what the page was for behind a 404.
                return answerer.refused(error, request)
            return answerer.plain(error, request)
        response = await answerer.answer(error, request, catchers)
        if not isinstance(response, File):
            return response
        file = response


async def _page(file: File, request: Request) -> Response | None:
    """The file that a catcher has in the place of what cannot be sent; `None`: it cannot be sent either, or is more
    than a page."""
    try:
        response = await request._scope.in_grace(open_file, file, request)
    except Exception as error:
        log.error("%r cannot be sent, request %s", file, request.id, exc_info=error)
        return None
    return None if isinstance(response, Stream) else response


async def _instead(error: BaseException, request: Request, answerer: Answerer, catchers: Catchers) -> Response:
    """The whole response in place of one that cannot be sent. Raises a cancellation of somebody's in between."""
    if not leaves(error, (trio.Cancelled,)):
        if not stopped_by_server(request.scope):  # who has an answer of their own
            request._scope.cancel("failed")
            raise error
        # Nothing but a cancellation that is not ours: the server is being stopped. It goes on when the answer is out.
        request._scope.cancel("drained")
        error = RequestCancelled("drained")
    if not (request._failed and isinstance(error, RequestCancelled)):
        response: Response | None = await answerer.answer(error, request, catchers)
        if isinstance(response, File):
            response = await _page(response, request)
        if isinstance(response, Stream):
            await close_unsent(response, request)
        elif response is not None:
            return response
    # The stream was itself what a catcher or a middleware made of this error: nothing of theirs can be fed any more.
    return answerer.plain(error, request)


async def _end_stream(
    error: BaseException | None, request: Request, outbound: Outbound, events: LiveEventSink | None
) -> None:
    """End a stream, or cut it. One of events is whole wherever it ends."""
    scope = request._scope
    if error is None:
        scope.cancel("returned")
        record(request)
        if scope.reason == "disconnected":
            return
        if events is not None and (last_words := events.last_words()):
            await outbound.body(last_words)
        if request._unread:
            await scope.alongside(request._incoming.discard, _end_after_upload, request, outbound)
        else:
            await outbound.body(b"", more=False)
        return
    outside = cancelled_from_outside(error)
    if scope.reason is None:
        scope.cancel("drained" if outside and stopped_by_server(request.scope) else "failed")
    record(request)
    if scope.reason == "failed" and leaves(error, (trio.Cancelled,)):
        log.error(
            "%s %s failed after its head was sent: the response is cut, request %s",
            request.method, ascii(request.path), request.id, exc_info=error,
        )  # fmt: skip
    ended = False
    if events is not None and scope.reason == "drained" and not fatal(error):
        last_words = events.last_words()
        if last_words is not None:
            ended = await scope.shielded(PARTING, partial(outbound.body, last_words, more=False))
    if outside or fatal(error):
        if not ended:
            cut_quietly(request.scope, request._link)
        raise error
    if not ended and scope.reason != "disconnected":
        _cut(request)


async def _end_after_upload(request: Request, outbound: Outbound) -> None:
    try:
        await bounded(LINGER, request._incoming.wait_complete)
    except TooLate:
        pass
    await outbound.body(b"", more=False)


def _cut(request: Request) -> None:
    """Make the client see that the response is incomplete."""
    if not cut_quietly(request.scope, request._link):
        raise ResponseCut("the response was cut: its body is incomplete")
