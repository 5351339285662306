"""A response whose body is written bit by bit.

This file owns what may be the source of a stream: an async function that is given a sink. A generator is
    refused,
because what it opens (a nursery, a cancel scope, a file) would be left whenever the garbage collector comes
around, in another task (PEP 525, PEP 789); a function is called, and returns. It calls nothing by itself and
does not know how a sink sends.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

from ._response import Response
from ._response_head import content_type, final_head
from .asgi import RawHeaders

_REMEDY = """
    async def feed(sink: Sink) -> None:
        await sink.send(chunk)

    return {name}(feed)"""


class Sink(Protocol):
    """Where a stream's source writes."""

    async def send(self, chunk: str | bytes) -> None:
        """Hand a chunk to the server; text is encoded as UTF-8.

        Returns when the server has taken the chunk: not when the client has read it.

        Raises:
            ClientDisconnected: the client left.

        Cancellation: a checkpoint; the stream is cut short when it is cancelled, by the client's leaving say.
        """
        ...


Source: TypeAlias = Callable[[Sink], Awaitable[object]]


class Stream(Response):
    """A response whose body is written by an async function.

    The source is called when the head has been sent, in the request's task. When it returns the body is
    complete; when it raises, or is cancelled, the response is cut so that the client can see that something
    is missing. It is not called for HEAD.

    Args:
        source: `async def feed(sink: Sink) -> None`. To give it more, use a closure or `functools.partial`.
        status: 200 to 599, but not 204, 205 or 304.
        headers: the header fields. A `Content-Length` must be the number of bytes that will be written.
        media_type: of the content; `charset=utf-8` is added to a `text/` type.

    Raises:
        TypeError: the source is a generator, an iterable, a coroutine that was called already, or cannot be
            called.
        ResponseError, ValueError: as `Response`.
    """

    __slots__ = ("source",)

    source: Source

    def __init__(
        self,
        source: Source,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/octet-stream",
    ) -> None:
        self.source = checked_source(source, "Stream")
        super().__init__(status=status)
        self._type = content_type(media_type, text=True)
        if headers is not None:
            self._update(headers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}>"

    def start(self, method: str) -> tuple[int, RawHeaders]:
        """The head as it goes out; `Content-Length` only if it was set by hand. See `Response.start`."""
        return final_head(self.status, self._fields(), None, method)

    def feed(self, sink: Sink) -> Awaitable[object]:
        """Call the source, and make sure of getting something to wait for.

        Raises:
            TypeError: the source is a plain function.
        """
        feeding: object = self.source(sink)
        if not isinstance(feeding, Awaitable):
            raise TypeError(
                f"the source of a stream must be an async function; {_name(self.source)} returned "
                f"{type(feeding).__name__}.{_REMEDY.format(name=type(self).__name__)}"
            )
        return feeding  # pyright: ignore[reportUnknownVariableType]


def checked_source(source: Source, name: str) -> Source:
    """The source, if it may be one.

    Args:
        source: what the user gave.
        name: of the response class, for the message.

    Raises:
        TypeError: it may not; the message shows the remedy.
    """
    came = _refusal(source)
    if came is None:
        return source
    _close(source)
    raise TypeError(
        f"the source of {name} is an async function of one argument, the sink; {came}.{_REMEDY.format(name=name)}"
    )


def _refusal(source: object) -> str | None:
    """What `source` is, as the user would say it; `None` when it is fine."""
    code = getattr(source, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_COROUTINE:
        return None
    if inspect.isasyncgenfunction(source) or inspect.isgeneratorfunction(source):
        return f"{_name(source)} is a generator: it has a `yield`, where it should call `await sink.send(chunk)`"
    if inspect.iscoroutine(source):
        return f"{_name(source)} was called already: pass the function itself, without parentheses"
    if inspect.isasyncgen(source) or inspect.isgenerator(source):
        return f"{_name(source)} is a generator: loop over it in such a function, and send each chunk"
    if not callable(source):
        return f"this is {type(source).__name__}: loop over it in such a function, and send each chunk"
    return None


def _close(source: object) -> None:
    if inspect.iscoroutine(source):
        source.close()  # else Python warns that it was never awaited, which the message says better


def _name(source: object) -> str:
    return f"{getattr(source, '__qualname__', type(source).__name__)}()"
