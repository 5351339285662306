"""What handlers return, as it goes out; and what HTTP cannot carry."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from enum import Enum
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import httpx
import msgspec
import pydantic
import pytest

from trivet import HTML, JSON, App, Depends, HTTPError, Redirect, Request, Response, Sink, Stream, Text
from trivet.testing import TestClient


class Point(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Data:
    a: int


class Color(Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    n: int = pydantic.Field(alias="count")


class Pair(NamedTuple):
    status: int
    text: str


async def returning(value: Any, *, method: str = "GET", link: bool = True, **options: Any) -> httpx.Response:
    """The response to a handler that returns `value`."""
    app = App()

    @app.route("/", methods=["GET", "POST"], **options)
    async def handler() -> Any:
        return value() if callable(value) else value

    async with TestClient(app, link=link) as client:
        return await client.request(method, "/")


RESULTS: list[tuple[Any, int, str | None, bytes]] = [
    ("text", 200, "text/plain; charset=utf-8", b"text"),
    ("", 200, "text/plain; charset=utf-8", b""),
    ("ü", 200, "text/plain; charset=utf-8", "ü".encode()),
    (b"bytes", 200, "application/octet-stream", b"bytes"),
    (bytearray(b"x"), 200, "application/octet-stream", b"x"),
    (memoryview(b"x"), 200, "application/octet-stream", b"x"),
    (None, 204, None, b""),
    ({"a": 1}, 200, "application/json", b'{"a":1}'),
    ([1, 2], 200, "application/json", b"[1,2]"),
    (1, 200, "application/json", b"1"),
    (True, 200, "application/json", b"true"),
    (1.5, 200, "application/json", b"1.5"),
    (Point(1), 200, "application/json", b'{"x":1}'),
    (Data(1), 200, "application/json", b'{"a":1}'),
    (Model(count=1), 200, "application/json", b'{"count":1}'),
    ([Model(count=1)], 200, "application/json", b'[{"count":1}]'),
    (Color.RED, 200, "application/json", b'"red"'),
    (date(2024, 1, 2), 200, "application/json", b'"2024-01-02"'),
    (UUID(int=0), 200, "application/json", b'"00000000-0000-0000-0000-000000000000"'),
    ({1}, 200, "application/json", b"[1]"),
    ((201, "made"), 201, "text/plain; charset=utf-8", b"made"),
    ((202, None), 202, None, b""),
    ((404, {"a": 1}), 404, "application/json", b'{"a":1}'),
    ((200, [1], {"x-a": "1"}), 200, "application/json", b"[1]"),
    ((418, Text("tea")), 418, "text/plain; charset=utf-8", b"tea"),
    (Pair(201, "a named tuple is a tuple"), 201, "text/plain; charset=utf-8", b"a named tuple is a tuple"),
    (Response(b"x", status=299), 299, "application/octet-stream", b"x"),
    (Response("x", media_type="text/css"), 200, "text/css; charset=utf-8", b"x"),
    (HTML("<p>"), 200, "text/html; charset=utf-8", b"<p>"),
    (JSON(None), 200, "application/json", b"null"),
    (JSON((1, 2)), 200, "application/json", b"[1,2]"),
    (JSON("x", media_type="application/ld+json"), 200, "application/ld+json", b'"x"'),
    (Redirect("/x"), 303, None, b""),
]
# A name without an address: the processes that share a run compare their lists of tests.
NAMES = [repr(result[0]).partition(" at 0x")[0][:40] for result in RESULTS]


@pytest.mark.parametrize(("value", "status", "media_type", "body"), RESULTS, ids=NAMES)
@pytest.mark.parametrize("link", [True, False])
async def test_a_result_becomes_a_response(
    value: Any, status: int, media_type: str | None, body: bytes, link: bool
) -> None:
    """Each kind of value has its status, type and body; the length is counted."""
    response = await returning(lambda: value, link=link)
    assert (response.status_code, response.content) == (status, body)
    assert response.headers.get("content-type") == media_type
    assert response.headers.get("content-length") == (None if status == 204 else str(len(body)))


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("x", 201),
        ({"a": 1}, 201),
        (b"x", 201),
        (None, 201),
        ((202, "x"), 202),
        (Text("x"), 200),
        (JSON(1, status=203), 203),
    ],
)
async def test_the_routes_status_applies_to_plain_values(value: Any, status: int) -> None:
    """`status=` is the status of what has none of its own."""
    assert (await returning(lambda: value, status=201)).status_code == status


async def test_status_headers_and_cookies_work_until_it_is_sent() -> None:
    """A response can be changed after it was made, by the handler and by middleware."""
    app = App()

    @app.middleware
    async def around(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-outer"] = "1"
        response.headers.add("x-many", "b")
        response.set_cookie("b", "2")
        response.status += 1
        return response

    @app.get("/")
    async def handler() -> Response:
        response = Text("x")
        response.status = 201
        response.headers.add("x-many", "a")
        response.set_cookie("a", "1")
        response.delete_cookie("c")
        return response

    async with TestClient(app) as client:
        response = await client.get("/")
    assert response.status_code == 202
    assert response.headers.get_list("x-many") == ["a", "b"]
    cookies = response.headers.get_list("set-cookie")
    assert [cookie.partition(";")[0].partition("=")[0] for cookie in cookies] == ["a", "c", "b"]


class Unencodable:
    pass


def poisoned(name: str, value: str) -> Any:
    def make() -> Response:
        response = Text("x")
        response.headers[name] = value
        return response

    return make


def changed(**attributes: Any) -> Any:
    def make() -> Response:
        response = Text("x")
        for name, value in attributes.items():
            setattr(response, name, value)
        return response

    return make


REFUSED = [
    poisoned("x-a", "a\r\nset-cookie: x=1"),
    poisoned("x-a", "a\nb"),
    poisoned("x-a", "a\rb"),
    poisoned("x-a", "a\0b"),
    poisoned("x-a", "\u20ac"),
    poisoned("x a", "b"),
    poisoned("x-a:", "b"),
    poisoned("", "b"),
    poisoned("content-length", "2"),
    poisoned("content-length", "0"),
    poisoned("content-length", "x"),
    poisoned("content-length", "-1"),
    poisoned("transfer-encoding", "chunked"),
    lambda: (200, "x", {"x-a": "a\nb"}),
    lambda: (200, "x", ["x-a"]),
    lambda: (100, "x"),
    lambda: (101, None),
    lambda: (99, None),
    lambda: (600, None),
    lambda: (204, "x"),
    lambda: (304, "x"),
    lambda: (205, {"a": 1}),
    lambda: Response("x", status=204),
    lambda: Response("x", status=199),
    lambda: Stream(lambda sink: sink.send(""), status=204),
    changed(status=150),
    changed(status="200"),
    changed(status=None),
    changed(status=204),
    changed(body="text"),
    Unencodable,
    lambda: {"a": Unencodable()},
    lambda: {"a": "\ud800"},
    lambda: "\ud800",
    lambda: (1, 2, 3, 4),
    lambda: (),
    lambda: ("a", "b"),
    lambda: (200, (1, 2)),
    lambda: ValueError("returned"),
    lambda: HTTPError(404),
    lambda: Redirect("//evil.com"),
    lambda: Redirect("/a\r\nb: c"),
    lambda: (number for number in range(3)),
    lambda: Stream([b"x"]),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("value", REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("link", [True, False])
async def test_what_http_cannot_carry_is_500_before_anything_is_sent(
    value: Any, link: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """CR, LF, NUL, 1xx, a wrong length, a body on 204: a clean 500, and the log says what was wrong."""
    response = await returning(value, link=link)
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "set-cookie" not in response.headers
    assert response.json()["title"] == "Internal Server Error"
    assert "detail" not in response.json()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert response.json()["instance"].removeprefix("urn:uuid:") in errors[0].getMessage()


async def test_a_coroutine_that_was_not_awaited_is_explained(caplog: pytest.LogCaptureFixture) -> None:
    """The common mistake has the remedy in the log."""

    async def other() -> str:
        return "x"

    app = App()

    @app.get("/")
    async def handler() -> Any:
        return other()

    async with TestClient(app) as client:
        assert (await client.get("/")).status_code == 500
    assert "return await function()" in caplog.text


async def test_a_response_that_cannot_be_sent_is_answered_below_middleware() -> None:
    """What conversion refuses is a 500 that middleware and catchers see."""
    app, seen = App(), list[int]()

    @app.middleware
    async def around(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        seen.append(response.status)
        return response

    @app.catch(500)
    async def page(request: Request, exc: HTTPError) -> Response:
        return HTML("sorry", status=500)

    @app.get("/")
    async def handler() -> Any:
        return Unencodable()

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "sorry"
    assert seen == [500]


async def test_a_whole_answer_is_made_after_its_dependencies_have_left() -> None:
    """A failed commit is an error, not a lie, and middleware sees it as what it is."""
    app, seen = App(), list[int]()

    @app.middleware
    async def around(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        seen.append(response.status)
        return response

    @asynccontextmanager
    async def commit() -> AsyncIterator[None]:
        yield
        raise HTTPError(409, "somebody else was first")

    @app.get("/")
    async def handler(d: Annotated[None, Depends(commit)]) -> str:
        return "done"

    async with TestClient(app) as client:
        response = await client.get("/")
    assert (response.status_code, response.json()["detail"]) == (409, "somebody else was first")
    assert seen == [409]


async def test_a_stream_is_sent_as_it_comes() -> None:
    """Chunks arrive one by one, text encoded, empty ones nothing; the type and headers are the stream's."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            for chunk in ("a", b"b", "", "ü"):
                await sink.send(chunk)

        return Stream(feed, media_type="text/plain", headers={"x-a": "1"})

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        assert await exchange.head() == (200, exchange.headers)
        assert exchange.headers["content-type"] == "text/plain; charset=utf-8"
        assert [await exchange.receive() for _ in range(4)] == [b"a", b"b", "ü".encode(), None]
        assert exchange.complete


@pytest.mark.parametrize(("declared", "sent"), [("1", 2), ("3", 2)])
async def test_a_stream_that_breaks_its_content_length_is_cut(declared: str, sent: int) -> None:
    """A length that is not kept never looks whole."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            for _ in range(sent):
                await sink.send("x")

        return Stream(feed, headers={"content-length": declared})

    async with TestClient(app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")
