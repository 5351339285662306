"""Streams: what may be their source."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest

from trivet._response import with_status
from trivet._stream import Sink, Stream
from trivet.errors import ResponseError


class Kept:
    def __init__(self) -> None:
        self.chunks: list[str | bytes] = []

    async def send(self, chunk: str | bytes) -> None:
        self.chunks.append(chunk)

    async def send_json(self, value: object) -> None:
        raise NotImplementedError


async def feed(sink: Sink) -> None:
    await sink.send("a")
    await sink.send(b"b")


async def feed_more(text: str, sink: Sink) -> None:
    await sink.send(text)


class Feeder:
    async def __call__(self, sink: Sink) -> None:
        await sink.send("called")

    async def method(self, sink: Sink) -> None:
        await sink.send("method")


def make(sink: Sink) -> Awaitable[None]:
    return feed_more("made", sink)


@pytest.mark.parametrize(
    ("source", "chunks"),
    [
        (feed, ["a", b"b"]),
        (functools.partial(feed_more, "partial"), ["partial"]),
        (lambda sink: feed_more("lambda", sink), ["lambda"]),
        (Feeder(), ["called"]),
        (Feeder().method, ["method"]),
        (make, ["made"]),
    ],
)
async def test_whatever_returns_something_to_wait_for_is_a_source(source: Any, chunks: list[str | bytes]) -> None:
    """Async functions, bound, partial or wrapped, as with `nursery.start_soon`."""
    sink = Kept()
    await Stream(source).feed(sink)
    assert sink.chunks == chunks


async def agen_source(sink: Sink) -> AsyncIterator[bytes]:
    yield b"a"


def gen_source() -> Iterator[bytes]:
    yield b"a"


async def no_sink() -> None:
    pass


@pytest.mark.parametrize(
    ("source", "came"),
    [
        (lambda: agen_source, "agen_source() is a generator: it has a `yield`"),
        (lambda: gen_source, "gen_source() is a generator: it has a `yield`"),
        (lambda: functools.partial(agen_source, Kept()), "partial() is a generator"),
        (gen_source, "gen_source() is a generator: loop over it"),
        (lambda: feed(Kept()), "feed() was called already"),
        (lambda: [b"a"], "this is list: loop over it"),
        (lambda: iter([b"a"]), "this is list_iterator: loop over it"),
        (lambda: b"a", "this is bytes"),
        (lambda: None, "this is NoneType"),
    ],
)
def test_what_cannot_be_a_source_is_refused_with_the_remedy(source: Any, came: str) -> None:
    """A generator would be left in another task, whenever the garbage collector comes around."""
    with pytest.raises(TypeError) as caught:
        Stream(source())
    message = str(caught.value)
    assert came in message
    assert message.endswith(
        "\n    async def feed(sink: Sink) -> None:\n        await sink.send(chunk)\n\n    return Stream(feed)"
    )


def test_a_plain_function_is_refused_when_it_is_called() -> None:
    """Only its result shows what it is: a plain function may return a coroutine."""

    def plain(sink: Sink) -> None:
        pass

    with pytest.raises(TypeError, match=r"plain\(\) returned NoneType"):
        Stream(plain).feed(Kept())  # type: ignore[arg-type]


def test_a_source_without_a_parameter_fails_when_the_stream_is_made() -> None:
    """In the handler, before anything has been sent."""
    with pytest.raises(TypeError, match="takes no argument"):
        Stream(no_sink)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stream", "fields"),
    [
        (Stream(feed), [(b"content-type", b"application/octet-stream")]),
        (Stream(feed, media_type="text/plain"), [(b"content-type", b"text/plain; charset=utf-8")]),
        (
            Stream(feed, headers={"content-length": "2", "x-a": "1"}),
            [
                (b"content-type", b"application/octet-stream"),
                (b"x-a", b"1"),
                (b"content-length", b"2"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_stream_has_a_length_only_if_it_was_told(
    stream: Stream, fields: list[tuple[bytes, bytes]], method: str
) -> None:
    """Nobody else knows it."""
    assert stream.start(method) == (200, fields)


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_stream_where_there_can_be_no_content_is_refused(status: int) -> None:
    """Before the source is called."""
    with pytest.raises(ResponseError, match="has a stream"):
        Stream(feed, status=status).start("HEAD")


@pytest.mark.parametrize("name", ["content-length", "transfer-encoding"])
def test_a_wrong_framing_of_a_stream_is_refused(name: str) -> None:
    """A length that is no number, a coding of its own."""
    with pytest.raises(ResponseError):
        Stream(feed, headers={name: "chunked"}).start("GET")


def test_a_copy_keeps_the_source() -> None:
    """A tuple's status is put on a copy, of streams too."""
    copied = with_status(Stream(feed, media_type="text/plain"), 201, {"x-a": "1"})
    assert copied.source is feed
    assert copied.start("GET") == (
        201,
        [(b"content-type", b"text/plain; charset=utf-8"), (b"x-a", b"1")],
    )
    assert repr(copied) == "<Stream 201>"
