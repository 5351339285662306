"""Where the source of a stream sends to: the sink, as a request has it.

This file owns what a sink takes, that a body is as long as its head has promised, and how an iterable is looped over.
What becomes of a stream that fails is `_respond`'s to say.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from typing import cast

import msgspec
import trio

from ._outbound import Outbound
from ._request import Request
from ._results import JSON
from ._scope import TooLate, bounded
from ._stream import Stream
from .asgi import RawHeaders
from .errors import ClientDisconnected, ResponseError


class StreamSink:
    """Where a stream's source sends to; see `trivet.Sink`."""

    __slots__ = ("_declared", "_outbound", "_request", "began")

    began: bool
    """The source is being looped over, which sees to its end."""

    def __init__(self, request: Request, outbound: Outbound, declared: int | None) -> None:
        self._request = request
        self._outbound = outbound
        self._declared = declared
        self.began = False

    async def send(self, chunk: str | bytes) -> None:
        """Send a part of the body.

        It has been handed to the server when this returns, which waits as long as the client reads no faster.

        Raises:
            ClientDisconnected: the client left, or stopped reading for `send_timeout`.
            ResponseError: more was sent than the `Content-Length` that was set.

        Cancellation: the chunk may have been sent or not; the stream cannot go on.
        """
        data = _octets(chunk)
        request, outbound = self._request, self._outbound
        if request._gone:
            raise ClientDisconnected("the client left")
        if self._declared is not None and outbound.sent + len(data) > self._declared:
            raise ResponseError(
                f"the stream sends more than its Content-Length of {self._declared} bytes.\n"
                "Set no Content-Length: the server frames a stream by itself."
            )
        if not data:
            await trio.lowlevel.checkpoint()
            return
        await self._write(data)

    async def flush(self) -> None:
        """Let the head out, if a server holds it back for the first part of the body."""
        await self._write(b"")

    async def _write(self, data: bytes) -> None:
        request, outbound = self._request, self._outbound
        if request._link is not None or request._options.send_timeout is None:
            await outbound.body(data)  # a server with a Link sees to the time that a write takes
            return
        try:
            await bounded(request._options.send_timeout, outbound.body, data)
        except TooLate:
            request._scope.cancel("disconnected")
            raise ClientDisconnected(f"the client has not read for {request._options.send_timeout:g} seconds") from None

    async def send_json(self, value: object) -> None:
        """Send a value as a line; otherwise as `send`."""
        await self.send(_line(value) + b"\n")

    def check_complete(self) -> None:
        """Refuse to end a body short of its `Content-Length`."""
        if self._declared is not None and self._outbound.sent != self._declared:
            raise ResponseError(
                f"the stream ended after {self._outbound.sent} of its Content-Length of {self._declared} bytes."
            )


async def feed(stream: Stream, sink: StreamSink) -> None:
    """Write the body of a stream.

    Raises:
        BaseException: what its source raised.
    """
    items = stream.items
    if items is not None:
        sink.began = True
        await pour(items, sink.send_json if stream.lines else sink.send)
    else:
        await stream.feed(sink)


async def pour(source: AsyncIterable[object], give: Callable[..., Awaitable[object]]) -> None:
    """Give away each item of `source`, and close it if that can be done.

    What takes it runs in this task. A generator runs in another one: the scopes and the nurseries that it holds over a
    `yield` are so around nothing of ours, and it is closed where it was opened.
    """
    iterator = aiter(source)
    if isinstance(iterator, AsyncGenerator):
        await _pour_generator(cast("AsyncGenerator[object]", iterator), give)
        return
    try:
        async for item in iterator:
            await give(item)
    finally:
        aclose: Callable[[], Awaitable[object]] | None = getattr(source, "aclose", None)
        if aclose is not None:
            await aclose()  # noqa: ASYNC102 - cancelled, it closes by force, as all of Trio's do


async def close_unsent(stream: Stream, request: Request, *, sent: bool = False) -> None:
    """Close the iterable of a stream that nobody loops over, and those of streams that it was made from: who fills a
    channel further out would wait for a reader for ever.

    It has `cleanup_grace` for that, and what it raises is logged: the response is another one.

    Args:
        stream: the stream.
        request: the one that it was for.
        sent: its own has been looped over, and is closed.

    Cancellation: none reaches what is closed.
    """
    replaced, stream.replaces = stream.replaces, None
    if not sent:
        aclose: Callable[[], Awaitable[object]] | None = getattr(stream.items, "aclose", None)
        if aclose is not None:
            try:
                await request._scope.in_grace(aclose)
            except TooLate:
                pass  # it is in the log
            except Exception as error:  # noqa: BLE001 - what is sent is another response
                request._scope.report(f"the source of a stream that was not sent, request {request.id}", error)
    if replaced is not None:
        await close_unsent(replaced, request, sent=replaced.source is stream.source)


async def _pour_generator(generator: AsyncGenerator[object], give: Callable[..., Awaitable[object]]) -> None:
    ended = False

    @trio.as_safe_channel
    async def to_its_end() -> AsyncGenerator[object]:
        nonlocal ended
        async with aclosing(generator):
            async for item in generator:
                yield item  # noqa: ASYNC119 - the channel closes it
        ended = True

    async with to_its_end() as items:
        async for item in items:
            await give(item)
    if not ended:  # the channel closes without a word then, and half a body would pass for the whole
        raise ResponseError(
            f"the generator {getattr(generator, '__qualname__', generator)}() was cancelled at a `yield`, by a scope "
            "of its own: a deadline that passed\nwhile an item was sent. Let a function send, within that scope:\n"
            "    async def feed(sink: Sink) -> None:\n"
            "        with trio.move_on_after(5):\n"
            "            await sink.send(chunk)"
        )


def declared_length(headers: RawHeaders) -> int | None:
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None


def _line(value: object) -> bytes:
    """A value as one line of JSON; only what is JSON already (`msgspec.Raw`) can have a line break, between tokens."""
    data = JSON(value).body
    if b"\n" not in data and b"\r" not in data:
        return data
    try:
        return msgspec.json.format(data, indent=-1)
    except msgspec.DecodeError as error:
        raise ResponseError(
            f"sink.send_json() was given something in a msgspec.Raw that is no JSON, and has a line break: {error}.\n"
            "To send a text as a line of JSON:  await sink.send_json(text)"
        ) from error


def _octets(chunk: object) -> bytes:
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytes | bytearray):
        return bytes(chunk)
    if isinstance(chunk, memoryview):
        return chunk.tobytes()
    raise ResponseError(  # bytes() would take a number for a length, and send that many zeros
        f"sink.send() takes str or bytes, not {type(chunk).__name__}.\n"
        "To send a value as a line of JSON:  await sink.send_json(value)\n"
        'Of an iterable, each item is one with:  Stream(source, media_type="application/jsonl")'
    )
