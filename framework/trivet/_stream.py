"""A response whose body is written bit by bit.

This file owns what may be the source of a stream: an async function that is given a sink, or something to iterate over
with `async for`. It calls nothing by itself, and does not know how a sink sends or who iterates.

A function is the better source of the two: what it opens (a nursery, a cancel scope, a file) is left where it was
opened, in the same task. A generator would be left whenever the garbage collector comes around, in another task (PEP
525, PEP 789); so one that is given here runs in a task of its own, and is closed there.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from types import CodeType
from typing import Any, Final, Protocol, TypeAlias, cast

from ._response import Response
from ._response_head import content_type, final_head
from .asgi import RawHeaders

LINES: Final = frozenset({"application/jsonl", "application/x-ndjson"})
"""The media types of JSON Lines: what FastAPI sends, and what axum does."""

_REMEDY = """
    async def feed(sink: {sink}) -> None:
        await sink.send({item})

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

    async def send_json(self, value: object) -> None:
        """Send a value as one line of JSON Lines; otherwise as `send`.

        Raises:
            ResponseError: msgspec cannot encode the value.
        """
        ...


Source: TypeAlias = Callable[[Any], Awaitable[object]] | AsyncIterable[object]
"""Of any stream: what the sink is, or what may come out of the iterable, is for the class of the stream to say."""


class Stream(Response):
    """A response whose body is written by an async function, or comes out of an async iterable.

    A function is called when the head is ready, in the request's task. When it returns the body is complete; when it
    raises, or is cancelled, the response is cut so that the client can see that something is missing. It is not called
    for HEAD. An iterable is looped over, with the same ends; its `aclose` is called, if it has one, also where
    nothing is sent: for HEAD, and when a middleware returns something else. An async generator runs in a task of its
    own meanwhile.

    Args:
        source: `async def feed(sink: Sink) -> None`. To give it more, use a closure or `functools.partial`. Or an async
            iterable of chunks; of values, if `media_type` is that of JSON Lines.
        status: 200 to 599, but not 204, 205 or 304.
        headers: the header fields. A `Content-Length` must be the number of bytes that will be written.
        media_type: of the content; `charset=utf-8` is added to a `text/` type. With `application/jsonl` or
            `application/x-ndjson` each item of an iterable is encoded as a line, text too; a function calls
            `sink.send_json`.

    Raises:
        TypeError: the source is a function with a `yield` in it, an iterable that is not async, a coroutine that was
            called already, or cannot be called.
        ResponseError, ValueError: as `Response`.
    """

    __slots__ = ("lines", "replaces", "source")

    source: Source

    lines: bool
    """Each item of an iterable is a value, and becomes a line of JSON."""

    replaces: Stream | None
    """What a middleware was given, and has returned this one for. It may be what this one reads, so that nobody knows
    before the end whether it was sent."""

    def __init__(
        self,
        source: Callable[[Sink], Awaitable[object]] | AsyncIterable[object],
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/octet-stream",
    ) -> None:
        self.source = checked_source(source, "Stream", "Sink")
        self.replaces = None
        super().__init__(status=status)
        self._type = content_type(media_type, text=True)
        self.lines = media_type.partition(";")[0].strip().lower() in LINES
        if headers is not None:
            self._update(headers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}>"

    @property
    def items(self) -> AsyncIterable[object] | None:
        """What is to be looped over; `None`: the source is a function."""
        source: object = self.source
        return cast("AsyncIterable[object]", source) if isinstance(source, AsyncIterable) else None

    def start(self, method: str) -> tuple[int, RawHeaders]:
        """The head as it goes out; `Content-Length` only if it was set by hand. See `Response.start`."""
        return final_head(self.status, self._fields(), None, method)

    def feed(self, sink: Any) -> Awaitable[object]:
        """Call the source, a function, and make sure of getting something to wait for.

        Raises:
            TypeError: the source is a plain function.
        """
        source = cast("Callable[[Any], Awaitable[object]]", self.source)
        feeding: object = source(sink)
        if not isinstance(feeding, Awaitable):
            name = type(self).__name__
            raise TypeError(
                f"the source of a stream must be an async function; {_name(source)} returned "
                f"{type(feeding).__name__}.{_remedy(name, 'EventSink' if name == 'EventStream' else 'Sink')}"
            )
        return feeding  # pyright: ignore[reportUnknownVariableType]


def checked_source(source: Source, name: str, sink: str) -> Source:
    """The source, if it may be one.

    Args:
        source: what the user gave.
        name: of the response class, for the message.
        sink: of the class of its sink.

    Raises:
        TypeError: it may not; the message shows the remedy.
    """
    came = _refusal(source)
    if came is None:
        return source
    _close(source)
    raise TypeError(
        f"the source of {name} is an async function of one argument, the sink, or an async iterable; {came}."
        f"{_remedy(name, sink)}"
    )


def _remedy(name: str, sink: str) -> str:
    return _REMEDY.format(name=name, sink=sink, item="chunk" if sink == "Sink" else "event")


def _refusal(source: object) -> str | None:
    """What `source` is, as the user would say it; `None` when it is fine."""
    code = getattr(source, "__code__", None)
    if code is not None and code.co_flags & inspect.CO_COROUTINE:
        if code.co_argcount == 1 and not hasattr(source, "__self__"):  # by far the most, for each request
            return None
        return _arguments(source, code)
    if inspect.isasyncgenfunction(source):
        return (
            f"{_name(source)} is a generator: it has a `yield`, where it should call `await sink.send(...)`.\n"
            "Or call it, and pass what that gives"
        )
    if inspect.isgeneratorfunction(source):
        return f"{_name(source)} is a generator: it has a `yield`, where it should call `await sink.send(...)`"
    if inspect.iscoroutine(source):
        return f"{_name(source)} was called already: pass the function itself, without parentheses"
    if isinstance(source, AsyncIterable):
        return None
    if inspect.isgenerator(source):
        return f"{_name(source)} is a generator: loop over it in such a function, and send each item"
    if not callable(source):
        return f"this is {type(source).__name__}: loop over it in such a function, and send each item"
    return None


def _arguments(source: Any, code: CodeType) -> str | None:
    """What is wrong with how many arguments an async function takes; `None`: it can be given a sink."""
    bound = hasattr(source, "__self__")
    taken = code.co_argcount - bound
    required = taken - len(getattr(source, "__defaults__", None) or ())
    if taken < 1 and not code.co_flags & inspect.CO_VARARGS:
        return f"{_name(source)} takes no argument"
    if required > 1:
        names = ", ".join(code.co_varnames[bound : bound + required])
        return f"{_name(source)} takes {required}: {names}. Fill in all but the sink with functools.partial"
    return None


def _close(source: object) -> None:
    if inspect.iscoroutine(source):
        source.close()  # else Python warns that it was never awaited, which the message says better


def _name(source: object) -> str:
    return f"{getattr(source, '__qualname__', type(source).__name__)}()"
