"""From what a handler returns to a response."""

from __future__ import annotations

import enum
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from trivet._response import Response, Text
from trivet._results import JSON, to_response
from trivet._stream import Sink, Stream
from trivet.errors import HTTPError, ResponseError


class Point(msgspec.Struct):
    x: int


@dataclass
class Pair:
    a: int


class Color(enum.StrEnum):
    RED = "red"


class Size(enum.Enum):
    SMALL = 1


class Answer(NamedTuple):
    status: int
    value: str


class Word(str):
    __slots__ = ()


TEXT = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
JSON_TYPE = "application/json"


@pytest.mark.parametrize(
    ("value", "media_type", "body"),
    [
        ("héllo", TEXT, "héllo".encode()),
        ("", TEXT, b""),
        (Word("w"), TEXT, b"w"),
        (Color.RED, TEXT, b"red"),
        (b"\x00", OCTETS, b"\x00"),
        (bytearray(b"a"), OCTETS, b"a"),
        (memoryview(b"a"), OCTETS, b"a"),
        ({"a": 1}, JSON_TYPE, b'{"a":1}'),
        ([1, "a", None], JSON_TYPE, b'[1,"a",null]'),
        (Point(1), JSON_TYPE, b'{"x":1}'),
        (Pair(1), JSON_TYPE, b'{"a":1}'),
        (5, JSON_TYPE, b"5"),
        (1.5, JSON_TYPE, b"1.5"),
        (True, JSON_TYPE, b"true"),
        (Size.SMALL, JSON_TYPE, b"1"),
        (date(2030, 1, 2), JSON_TYPE, b'"2030-01-02"'),
        (uuid.UUID(int=0), JSON_TYPE, b'"00000000-0000-0000-0000-000000000000"'),
        (frozenset([1]), JSON_TYPE, b"[1]"),
        ({1: "a"}, JSON_TYPE, b'{"1":"a"}'),
    ],
)
@pytest.mark.parametrize("status", [None, 201])
def test_a_plain_value_is_text_octets_or_json(value: object, media_type: str, body: bytes, status: int | None) -> None:
    """The route's status applies to each."""
    response = to_response(value, status)
    assert (response.status, response.headers.get("content-type"), response.body) == (
        status or 200,
        media_type,
        body,
    )


@pytest.mark.parametrize(("status", "sent"), [(None, 204), (204, 204), (201, 201), (404, 404), (304, 304)])
def test_none_is_204_or_the_status_with_no_content(status: int | None, sent: int) -> None:
    """The status stands; the body is empty."""
    response = to_response(None, status)
    assert (response.status, response.body) == (sent, b"")
    assert "content-type" not in response.headers


def test_a_response_is_itself_whatever_the_route_s_status() -> None:
    """`status=` applies to plain values."""
    response = Text("x", status=202)
    assert to_response(response, 201) is response
    assert response.status == 202


@pytest.mark.parametrize(
    ("value", "status", "body", "headers"),
    [
        ((201, "a"), 201, b"a", {"content-type": TEXT}),
        ((201, {"a": 1}), 201, b'{"a":1}', {"content-type": JSON_TYPE}),
        ((404, None), 404, b"", {}),
        ((204, None), 204, b"", {}),
        ((201, None, {"location": "/a"}), 201, b"", {"location": "/a"}),
        ((201, "a", {"X-A": "1"}), 201, b"a", {"content-type": TEXT, "x-a": "1"}),
        ((201, "a", None), 201, b"a", {"content-type": TEXT}),
        ((200, "a", {"content-type": "text/csv"}), 200, b"a", {"content-type": "text/csv"}),
        ((HTTPStatus.CREATED, [1]), 201, b"[1]", {"content-type": JSON_TYPE}),
        (Answer(202, "a"), 202, b"a", {"content-type": TEXT}),
    ],
)
def test_a_tuple_is_status_value_and_headers(value: object, status: int, body: bytes, headers: dict[str, str]) -> None:
    """Its status wins over the route's."""
    response = to_response(value, 299)
    assert (response.status, response.body, dict(response.headers)) == (status, body, headers)


def test_a_response_in_a_tuple_is_changed_on_a_copy() -> None:
    """It may be shared by requests."""
    original = JSON({"a": 1}, headers={"x-a": "1"})
    response = to_response((201, original, {"x-a": "2"}))
    assert type(response) is JSON
    assert (response.status, response.headers["x-a"]) == (201, "2")
    assert (original.status, original.headers["x-a"]) == (200, "1")


@pytest.mark.parametrize(
    "value",
    [
        (),
        ("a",),
        (200,),
        ("a", "b"),
        (True, "a"),
        ("200", "a"),
        (200.0, "a"),
        (None, "a"),
        (200, "a", {}, 1),
        (1.5, 2.5, 3.5),
    ],
)
def test_a_tuple_of_another_form_is_refused_with_the_remedy(value: object) -> None:
    """A list is the way to send items."""
    with pytest.raises(ResponseError, match=r"return list\(value\)"):
        to_response(value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (("a", 200), "The status comes first:  return 200, value"),
        ((200, (201, "a")), "a tuple within a tuple"),
        ((200, "a", [("x", "1")]), "are a mapping, not list"),
        ((200, "a", "x: 1"), "are a mapping, not str"),
        ((99, "a"), "99 cannot be the status"),
        ((101, Text("a")), "1xx is for the server to send"),
        ((1, 2), "1 cannot be the status"),
    ],
)
def test_a_tuple_that_cannot_be_sent_is_refused(value: object, message: str) -> None:
    """Nothing of it is guessed."""
    with pytest.raises(ResponseError) as caught:
        to_response(value)
    assert message in str(caught.value)


def test_a_tuple_with_a_header_that_cannot_be_sent_is_refused() -> None:
    """As at any other place that sets one."""
    with pytest.raises(ValueError, match=r"RFC 9110 section 5\.5"):
        to_response((200, "a", {"x-a": "1\r\n"}))


class Thing:
    pass


class Model(pydantic.BaseModel):
    n: int = pydantic.Field(1, alias="count")
    color: Color = Color.RED

    @pydantic.computed_field
    def double(self) -> int:
        return 2 * self.n


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Page(msgspec.Struct):
    first: Model
    others: list[Model]


async def coroutine() -> str:
    return "a"


async def agen() -> AsyncIterator[str]:
    yield "a"


def gen() -> Iterator[str]:
    yield "a"


def cycle() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


async def feed(sink: Sink) -> None:
    await sink.send("a")


@pytest.mark.parametrize(
    ("make", "messages"),
    [
        (Thing, ["test_results.Thing cannot be sent as JSON", 'return {"name": value.name}']),
        (lambda: {"a": Thing()}, ["of type dict cannot be sent", "type Thing is unsupported"]),
        (lambda: {"a": feed}, ["of type dict cannot be sent", "function is unsupported"]),
        (coroutine, ["of type coroutine cannot be sent", "return await function()"]),
        (agen, ["of type async_generator cannot be sent", "return Stream(feed)"]),
        (gen, ["of type generator cannot be sent", "return Stream(feed)"]),
        (lambda: HTTPError(404), ["trivet.HTTPError", "raise HTTPError(404)"]),
        (lambda: Model.model_construct(n=Thing()), ["test_results.Model", "value.model_dump_json()"]),
        (lambda: Model, ["ModelMetaclass", "return function()"]),
        (lambda: feed, ["of type function cannot be sent", "return function()"]),
        (lambda: Point, ["StructMeta", "return function()"]),
        (cycle, ["of type list cannot be sent as JSON"]),
        (lambda: {"a": "\ud800"}, ["of type dict cannot be sent as JSON"]),
        (lambda: {(1, 2): "a"}, ["of type dict cannot be sent as JSON"]),
        (lambda: {"a": Text("x")}, ["of type dict cannot be sent as JSON"]),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_type_and_the_remedy(make: Any, messages: list[str]) -> None:
    """A likely mistake has a remedy of its own."""
    with pytest.raises(ResponseError) as caught:
        to_response(make())
    for message in messages:
        assert message in str(caught.value)
    assert caught.value.__cause__ is not None


MODEL = b'{"count":1,"color":"red","double":2}'


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (Model(), MODEL),
        ([Model(), Model()], b"[%b,%b]" % (MODEL, MODEL)),
        ({"a": Model(), "b": 1}, b'{"a":%b,"b":1}' % MODEL),
        (Page(Model(), [Model()]), b'{"first":%b,"others":[%b]}' % (MODEL, MODEL)),
        ((200, Model()), MODEL),
        (JSON(Model()), MODEL),
        (Numbers([1, 2]), b"[1,2]"),
        ([], b"[]"),
    ],
)
def test_models_of_pydantic_are_written_by_pydantic(value: object, body: bytes) -> None:
    """Wherever they stand: by alias, with what is computed, whether one is the first of its class or not."""
    for _ in range(2):
        response = to_response(value)
        assert response.start("GET")[1][0] == (b"content-type", b"application/json")
        assert response.body == body


def test_json_has_the_options_of_a_response() -> None:
    """And encodes at the line that makes it."""
    response: JSON[Point] = JSON(Point(1), status=201, headers={"x-a": "1"}, media_type="application/vnd.api+json")
    assert response.start("GET") == (
        201,
        [(b"content-type", b"application/vnd.api+json"), (b"x-a", b"1"), (b"content-length", b"7")],
    )
    assert JSON[int](5).body == b"5"
    with pytest.raises(ResponseError):
        JSON(Thing())
    with pytest.raises(ResponseError):
        JSON(1, status=100)


@pytest.mark.parametrize(("value", "body"), [(None, b"null"), ("a", b'"a"'), ((1, 2), b"[1,2]"), (b"a", b'"YQ=="')])
def test_json_sends_what_would_be_read_otherwise(value: object, body: bytes) -> None:
    """It takes its value as it is."""
    assert to_response(JSON(value)).body == body


@pytest.mark.parametrize(("value", "body"), [(float("nan"), b"null"), (float("inf"), b"null"), (2**70, b"%d" % 2**70)])
def test_numbers_that_json_lacks_are_still_json(value: object, body: bytes) -> None:
    """`NaN` in a body is what other parsers choke on (RFC 8259 section 6)."""
    assert to_response(value).body == body


def test_a_stream_is_a_response() -> None:
    """It goes through untouched, and takes a tuple's status."""
    stream = Stream(feed)
    assert to_response(stream, 201) is stream
    assert isinstance(to_response((206, stream)), Response)
