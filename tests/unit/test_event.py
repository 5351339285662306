"""One event over the wire: written so that every client reads it back, and refused where none could."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from functools import partial
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from tests.harness import Golden
from trivet import Event, EventStream, Stream
from trivet._event import RETRY_MAX
from trivet.errors import ResponseError
from trivet.testing._events import EventParser


class Colour(StrEnum):
    RED = "r\ned"


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (Event("text"), b"data: text\n\n"),
        (Event(""), b"data: \n\n"),
        (Event(" a"), b"data:  a\n\n"),
        (Event("a\nb\rc\r\nd\n"), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (Event("a\x0b\x0c\x1c\x85\u2028b"), "data: a\x0b\x0c\x1c\x85\u2028b\n\n".encode()),
        (Event("id: 1\n\ndata: x"), b"data: id: 1\ndata: \ndata: data: x\n\n"),
        (Event("a\0b"), b"data: a\0b\n\n"),
        (Event(Colour.RED), b"data: r\ndata: ed\n\n"),
        (Event(0), b"data: 0\n\n"),
        (Event(False), b"data: false\n\n"),
        (Event({"a": "b\n"}), b'data: {"a":"b\\n"}\n\n'),
        (Event([]), b"data: []\n\n"),
        (Event(msgspec.Raw(b'{"made": 1}')), b'data: {"made": 1}\n\n'),
        (Event(id=""), b"id: \n\n"),
        (Event(id=7), b"id: 7\n\n"),
        (Event("x", event=""), b"data: x\n\n"),
        (Event(retry=0), b"retry: 0\n\n"),
        (Event(retry=RETRY_MAX), b"retry: 2147483000\n\n"),
        (Event(retry=1.2345), b"retry: 1234\n\n"),
        (Event(comment=""), b": \n\n"),
        (Event(comment="a\nb"), b": a\n: b\n\n"),
        (
            Event("d", event="e", id="i", retry=1, comment="c"),
            b": c\nid: i\nevent: e\nretry: 1000\ndata: d\n\n",
        ),
    ],
)
def test_an_event_is_written_so_that_it_reads_back(event: Event, wire: bytes) -> None:
    """Data is split where a browser would break it, at CR, LF and CRLF, and nowhere else."""
    assert event.wire == wire


# From the standard: WHATWG HTML 9.2.6 and its examples.
@pytest.mark.parametrize(
    ("body", "events", "last"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event("YHOO\n+2\n10")], ""),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [Event("first event", id="1"), Event("second event", id=""), Event(" third event")],
            "",
        ),
        (b"data\n\ndata\ndata\n\ndata:", [Event(""), Event("\n")], ""),
        (b"data:test\n\ndata: test\n\n", [Event("test"), Event("test")], ""),
        (b"\xef\xbb\xbfdata: a\r\rdata: b\r\n\r\n", [Event("a"), Event("b")], ""),
        (b"data: a\r\ndata: b\r\nid: 1\r\n\r\n", [Event("a\nb", id="1")], "1"),
        ("retry: \uff11\ndata: x\n\n".encode(), [Event("x")], ""),
        (b"id: 5\nevent: lost\n\ndata: x\n\n", [Event("x")], "5"),
        (b"id: 5\n\nid: a\0b\nretry: 1x\nretry: -1\nnobody: y\ndata: x\n\n", [Event("x")], "5"),
        (b"id: 5\ndata: never ended\n", [], ""),
        (b"event: a\nevent: b\nretry: 10\ndata: \xff\n\n", [Event("\ufffd", event="b", retry=0.01)], ""),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_a_stream_is_read_as_the_standard_says(body: bytes, events: list[Event], last: str, size: int) -> None:
    """What the test client makes of a body, in whatever pieces it comes."""
    parser = EventParser()
    got = [event for start in range(0, len(body), size) for event in parser.feed(body[start : start + size])]
    assert (got, parser.last_event_id) == (events, last)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n\0: \u2028\ufeff"))
LINES = TEXTS.filter(lambda text: not set(text) & set("\r\n\0"))
EVENTS = st.builds(
    Event,
    TEXTS
    | st.recursive(st.none() | st.integers(0, 9) | st.text("a\r\n"), st.lists).filter(lambda value: value is not None),
    event=st.none() | LINES,
    id=st.none() | LINES,
    retry=st.none() | st.integers(0, 10**9).map(lambda number: number / 1000),
    comment=st.none() | TEXTS,
)


@given(st.lists(EVENTS, max_size=5), st.integers(1, 50))
def test_any_events_are_read_back_as_they_were_sent(events: list[Event], size: int) -> None:
    """Whatever is in their fields, and however the body is cut; a line break of any kind reads as LF."""
    parser = EventParser()
    body = b"".join(event.wire for event in events)
    got = [event for start in range(0, len(body), size) for event in parser.feed(body[start : start + size])]
    assert [(event.data, event.event, event.id, event.retry) for event in got] == [
        (_unified(event.data), event.event, event.id, event.retry) for event in events
    ]
    ids = [event.id for event in events if event.id is not None]
    assert parser.last_event_id == (ids[-1] if ids else "")
    comments = [line for event in events if event.comment is not None for line in _unified(event.comment).split("\n")]
    assert parser.comments == comments


def _unified(text: str | None) -> str:
    assert text is not None
    return text.replace("\r\n", "\n").replace("\r", "\n")


ANY = st.text(st.characters() | st.sampled_from("\r\n\0\ud800\udfff"), max_size=6)


@given(ANY, ANY, ANY, ANY)
def test_what_cannot_be_read_back_is_refused(data: str, event: str, id: str, comment: str) -> None:  # noqa: A002
    """CR, LF and NUL in the one-line fields, and a lone surrogate anywhere: nothing else is, and all of that is."""
    bad = any(char in text for text in (event, id) for char in "\r\n\0") or any(
        0xD800 <= ord(char) < 0xE000 for text in (data, event, id, comment) for char in text
    )
    try:
        Event(data, event=event, id=id, comment=comment)
    except ValueError:
        assert bad
    else:
        assert not bad


async def feed(sink: Any) -> None: ...


async def ticks(sink: Any) -> AsyncIterator[int]:
    yield 1


def plain(sink: Any) -> None: ...


async def deaf() -> None: ...


async def pair(room: str, sink: Any) -> None: ...


async def pair_with_default(sink: Any, room: str = "") -> None: ...


async def anything(*args: Any) -> None: ...


class Source:
    async def deaf(self) -> None: ...

    async def feed(self, sink: Any) -> None: ...

    @classmethod
    async def of_class(cls, sink: Any) -> None: ...


@pytest.mark.parametrize("source", [pair_with_default, anything, Source().feed, Source.of_class, partial(pair, "tea")])
def test_whatever_can_be_called_with_a_sink_is_a_source(source: Any) -> None:
    """How many arguments a source takes is looked at as Python would: bound, filled in, with a default."""
    assert EventStream(source).source == source


WRONG: dict[str, Callable[[], Any]] = {
    "nothing": Event,
    "id_break": lambda: Event("x", id="1\ndata: forged"),
    "event_nul": lambda: Event("x", event="a\0" + "b" * 100),
    "id_type": lambda: Event("x", id=1.5),  # type: ignore[arg-type]
    "event_type": lambda: Event("x", event=b"x"),  # type: ignore[arg-type]
    "event_zero": lambda: Event("x", event=0),  # type: ignore[arg-type]
    "id_bool": lambda: Event("x", id=True),
    "id_long": lambda: Event("x", id="a\nb"),
    "data_coroutine": lambda: Event(deaf()),
    "retry_huge": lambda: Event(retry=1e300),
    "retry_huge_int": lambda: Event(retry=10**400),
    "retry_nan": lambda: Event(retry=math.nan),
    "retry_bool": lambda: Event(retry=True),
    "comment_type": lambda: Event(comment=b"x"),  # type: ignore[arg-type]
    "data_bytes": lambda: Event(b"data: x\n\n"),
    "data_object": lambda: Event(object()),
    "data_surrogate": lambda: Event("a\ud800"),
    "retry_negative": lambda: Event(retry=-1),
    "retry_infinite": lambda: Event(retry=math.inf),
    "retry_type": lambda: Event(retry="3"),  # type: ignore[arg-type]
    "changed": lambda: setattr(Event("x"), "data", "y"),
    "stream_heartbeat": lambda: EventStream(feed, heartbeat=0),
    "stream_heartbeat_type": lambda: EventStream(feed, heartbeat="15"),  # type: ignore[arg-type]
    "stream_slow": lambda: EventStream(feed, slow="drop"),  # type: ignore[arg-type]
    "stream_buffer": lambda: EventStream(feed, slow="drop_new", buffer=0),
    "stream_buffer_type": lambda: EventStream(feed, buffer=1.5),  # type: ignore[arg-type]
    "stream_on_drain": lambda: EventStream(feed, on_drain="wait"),  # type: ignore[arg-type]
    "stream_source": lambda: EventStream([Event("x")]),  # type: ignore[arg-type]
    "stream_generator": lambda: EventStream(ticks),  # type: ignore[arg-type]
    "stream_called": lambda: EventStream(feed(None)),  # type: ignore[arg-type]
    "stream_no_sink": lambda: EventStream(deaf),  # type: ignore[arg-type]
    "stream_no_sink_of_method": lambda: Stream(Source().deaf),  # type: ignore[arg-type]
    "stream_two_arguments": lambda: EventStream(pair),  # type: ignore[arg-type]
    "stream_not_async": lambda: EventStream(plain).feed(None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_the_message_shows_what_came_and_the_remedy(name: str, golden: Golden) -> None:
    """A wrong event is an error at the line that makes it."""
    with pytest.raises((ValueError, TypeError, ResponseError, AttributeError)) as caught:
        WRONG[name]()
    golden(f"events/{name}", f"{type(caught.value).__name__}: {caught.value}")


def test_an_event_is_a_value() -> None:
    """Equal to one that is sent alike, shown as it is made, and read as JSON."""
    assert Event({"a": 1}, id=1) == Event('{"a":1}', id="1")
    assert len({Event("x"), Event("x"), Event("y")}) == 2
    assert Event("x") != "x"
    assert repr(Event({"a": 1}, event="e", retry=2)) == """Event('{"a":1}', event='e', retry=2)"""
    assert Event({"a": 1}).json() == {"a": 1}
    assert Event([1]).json(list[int]) == [1]
    with pytest.raises(msgspec.ValidationError):
        Event([1]).json(list[str])
    with pytest.raises(msgspec.DecodeError):
        Event(comment="x").json()
