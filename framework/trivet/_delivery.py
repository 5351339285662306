"""Opens the file that a response is, and reads it while it is sent, without ever holding up the event loop.

This file owns how a request waits for a disk: each step is one trip to a worker thread, of one piece, behind a limiter
of its own, and is given up when the request is cancelled. A disk that hangs so costs the slots of `app.file_limiter`
until it answers, and no more: handlers have other threads, and who waits for a slot still has a deadline. Which bytes
are sent is `_file`'s to say; the order of the end of a request is `_respond`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import trio

from ._descriptor import Descriptor
from ._file import PIECE, File, prepare
from ._headers import Headers
from ._request import Request
from ._response import Response
from ._stream import Sink, Stream
from .errors import ResponseError

T = TypeVar("T")


class Delivery(Stream):
    """A file that is open, as the stream of its bytes; made for one request, and never by applications."""

    __slots__ = ()

    def __init__(self, head: Response, descriptor: Descriptor, length: int, limiter: trio.CapacityLimiter) -> None:
        super().__init__(partial(_feed, descriptor, length, limiter), status=head.status)
        self._headers = head.headers


async def open_file(file: File, request: Request) -> Response:
    """What is sent for `file`: a whole response, or a `Delivery`, whose file is closed by `release`.

    Raises:
        Exception: as `_file.prepare`.

    Cancellation: at once, even while the disk does not answer; the thread closes what it opens.
    """
    descriptor = Descriptor()
    if request._descriptors is None:
        request._descriptors = []
    request._descriptors.append(descriptor)
    limiter: trio.CapacityLimiter = request.app.file_limiter
    response, length = await _in_thread(limiter, _prepare, file, request.method, request.headers, descriptor)
    return Delivery(response, descriptor, length, limiter) if length else response


def release(descriptors: list[Descriptor]) -> None:
    """Close what a request has opened and not read to its end.

    In a thread that nobody waits for: to close the last descriptor of a large file that was removed is to wait for the
    disk once more.
    """
    for descriptor in descriptors:
        if not descriptor.closed:
            trio.lowlevel.start_thread_soon(descriptor.close, _ignore)


def _prepare(file: File, method: str, headers: Headers, descriptor: Descriptor) -> tuple[Response, int]:
    length = 0
    try:
        with descriptor.used():
            response, length = prepare(file, method, headers, descriptor)
            return response, length
    finally:
        if not length:
            descriptor.close()


async def _feed(descriptor: Descriptor, length: int, limiter: trio.CapacityLimiter, sink: Sink) -> None:
    left = length
    while left:
        piece = await _in_thread(limiter, _read, descriptor, left)
        if not piece:
            raise ResponseError(
                f"a file ended {left} bytes short of the {length} that were promised: it was truncated while it was "
                "sent.\nLet whoever writes it write another one and put that in its place:  os.replace(new, path)"
            )
        left -= len(piece)
        await sink.send(piece)


def _read(descriptor: Descriptor, left: int) -> bytes:
    with descriptor.used():
        piece = descriptor.read(min(left, PIECE))
        if len(piece) == left:
            descriptor.close()  # when this block is left
        return piece


async def _in_thread(limiter: trio.CapacityLimiter, fn: Callable[..., T], *args: Any) -> T:
    return await trio.to_thread.run_sync(partial(fn, *args), abandon_on_cancel=True, limiter=limiter)


def _ignore(_: object) -> None:
    """What closing came to: nobody is there to be told."""
