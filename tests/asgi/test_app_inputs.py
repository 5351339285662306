"""Inputs: what a handler is given, and which answer a request gets that cannot be bound."""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx
import msgspec
import pytest
import trio
import trio.testing

from trivet import App, Body, Depends, Form, HTTPError, Next, Request, Response, Sink, Stream
from trivet.asgi import ASGIApp, Receive, Scope, Send
from trivet.errors import RegistrationError
from trivet.testing import TestClient

if TYPE_CHECKING:
    from decimal import Decimal

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


class Color(Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: int
    y: int = 0


# ---- query


def queries() -> App:
    app = App()

    @app.get("/required")
    async def required(a: int, b: str) -> str:
        return repr((a, b))

    @app.get("/optional")
    async def optional(a: int | None, b: int | None = 5, c: str = "c") -> str:
        return repr((a, b, c))

    @app.get("/lists")
    async def lists(
        a: list[int],
        b: set[str] = {"d"},  # noqa: B006 - it is what is tested
        c: tuple[bool, ...] = (),
        d: frozenset[date] | None = None,
    ) -> str:
        return repr((a, b, c, d))

    @app.get("/types")
    async def types(
        color: Color = Color.RED,
        kind: Literal["a", 1] = "a",
        n: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1,
        flag: bool = False,
        day: date | None = None,
        f: float = 1,
    ) -> str:
        return repr((color.name, kind, n, flag, day and day.isoformat(), f))

    @app.get("/mutable")
    async def mutable(a: list[int] = [1]) -> str:  # noqa: B006
        a.append(2)
        return repr(a)

    return app


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/required?a=1&b=x", "(1, 'x')"),
        ("/required?b=&a=-5", "(-5, '')"),
        ("/required?a=1&b=x&unknown=1&unknown=2", "(1, 'x')"),
        ("/required?a=%31&b=%C3%BC+%2B", "(1, 'ü +')"),
        ("/optional", "(None, 5, 'c')"),
        ("/optional?a=1&b=2&c=", "(1, 2, '')"),
        ("/lists?a=1", "([1], {'d'}, (), None)"),
        ("/lists?a=1&a=2&a=1&b=x&c=true&c=false", "([1, 2, 1], {'x'}, (True, False), None)"),
        ("/types", "('RED', 'a', 1, False, None, 1)"),
        ("/types?color=red&kind=1&n=9&flag=true&day=2024-02-29&f=1e3", "('RED', 1, 9, True, '2024-02-29', 1000.0)"),
    ],
)
async def test_query_parameters_are_bound(target: str, expected: str) -> None:
    """Scalars, optionals, lists and defaults come from the query by name and type."""
    async with TestClient(queries()) as client:
        response = await client.get(target)
    assert (response.status_code, response.text) == (200, expected)


@pytest.mark.parametrize(
    ("target", "faults"),
    [
        ("/required", {"a": "is required", "b": "is required"}),
        ("/required?a=x", {"a": "must be an integer", "b": "is required"}),
        ("/required?a=1&a=2&b=x&b=x", {"a": "is given more than once", "b": "is given more than once"}),
        ("/required?a=&b=", {"a": "must be an integer"}),
        ("/required?a=nan&b=", {"a": "must be an integer"}),
        ("/required?A=1&b=x", {"a": "is required"}),
        ("/required?a=99999999999999999999&b=", {"a": "must be an integer of at most 18 digits"}),
        (
            "/optional?a=x&b=y&c=1&c=2",
            {"a": "must be an integer", "b": "must be an integer", "c": "is given more than once"},
        ),
        ("/lists", {"a": "is required"}),
        ("/lists?a=1&a=x&c=1", {"a": "must be an integer", "c": "must be true or false"}),
        (
            "/types?color=blue&kind=b&n=10&flag=yes&day=today&f=inf",
            {
                "color": "must be one of: red",
                "kind": "must be one of: a, 1",
                "n": "must be at most 9",
                "flag": "must be true or false",
                "day": "must be a date (YYYY-MM-DD)",
                "f": "must be a number",
            },
        ),
    ],
)
@both_servers
async def test_all_faults_of_a_query_are_in_one_422(target: str, faults: dict[str, str], link: bool) -> None:
    """Every parameter that does not fit is named with its reason; the input is not echoed."""
    async with TestClient(queries(), link=link) as client:
        response = await client.get(target)
    assert response.status_code == 422
    problem = response.json()
    assert problem["title"] == "Unprocessable Content"
    assert {each["name"]: each["reason"] for each in problem["errors"]} == faults
    assert {each["in"] for each in problem["errors"]} == {"query"}


@pytest.mark.parametrize("query", [b"a=%zz", b"a=%", b"a=%C3", b"%ff=1", b"a=\xff", b"&".join([b"x=1"] * 1001)])
async def test_a_malformed_query_is_400(query: bytes) -> None:
    """Bad escapes, bytes that are not UTF-8 and too many fields are 400."""
    async with TestClient(queries()) as client:
        response = await client.get("/", extensions={"target": b"/optional?" + query})
        assert response.status_code == 400
        # A handler that asks for no query parameter is not bothered.
        assert (await client.get("/", extensions={"target": b"/nothing?" + query})).status_code == 404


async def test_defaults_are_copied() -> None:
    """A handler that changes its default changes nothing for the next request."""
    async with TestClient(queries()) as client:
        assert [(await client.get("/mutable")).text for _ in range(2)] == ["[1, 2]", "[1, 2]"]


@pytest.mark.parametrize("what", ["query", "cookie", "header"])
async def test_floods_are_linear(what: str) -> None:
    """Many fields are read in proportion to their number: the operations are counted, not timed."""
    app = App()
    operations = 0

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal operations
            operations += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    @app.get("/")
    async def handler(request: Request, a: str = "") -> int:
        for _ in range(200):
            request.headers.get(Counted("x-none"))
            request.cookies.get(Counted("none"))
            request.query.get(Counted("none"))
        return operations

    counts: list[int] = []
    async with TestClient(app) as client:
        for size in (10, 900):
            operations = 0
            many = "&".join(f"k{i}=v" for i in range(size)) if what == "query" else ""
            headers = [("cookie", "; ".join(f"k{i}=v" for i in range(size)))] if what == "cookie" else []
            headers = [(f"x-{i}", "v") for i in range(size)] if what == "header" else headers
            response = await client.get(f"/?{many}", headers=headers)
            assert response.status_code == 200
            counts.append(response.json())
    assert counts[1] <= counts[0] + 200


# ---- injected objects and annotations


async def test_request_and_nursery_come_by_type() -> None:
    """Whatever the parameter is called."""
    app = App()

    @app.get("/{a}")
    async def handler(r: Request, a: int, n: trio.Nursery) -> str:
        assert isinstance(n, trio.Nursery)
        return f"{r.method} {a}"

    async with TestClient(app) as client:
        assert (await client.get("/5")).text == "GET 5"


async def test_annotations_of_a_class_defined_in_the_same_function() -> None:
    """A handler inside a function may name what is defined beside it, though annotations are strings here."""

    class Local(msgspec.Struct):
        a: int

    app = App()

    @app.post("/")
    async def handler(local: Local, color: Color = Color.RED) -> int:
        return local.a

    async with TestClient(app) as client:
        assert (await client.post("/", json={"a": 7})).json() == 7


def test_an_annotation_under_type_checking_fails_with_the_remedy() -> None:
    """A name that does not exist at run time is an error at registration that says what to do."""

    async def handler(price: Decimal) -> None: ...

    with pytest.raises(RegistrationError, match=r"(?s)'Decimal' cannot be resolved.*import it at run time"):
        App().get("/")(handler)


async def test_callables_of_all_kinds_can_be_handlers() -> None:
    """Methods, callable objects, partials and positional-only parameters are bound like functions."""
    import functools

    class Group:
        def __init__(self, name: str) -> None:
            self.name = name

        async def method(self, a: int) -> str:
            return f"{self.name} {a}"

        async def __call__(self, a: int) -> str:
            return f"call {self.name} {a}"

    async def positional(a: int, /, b: str = "b") -> str:
        return f"{a} {b}"

    async def configured(database: object, a: int, mode: str) -> str:
        return f"{database} {a} {mode}"

    app = App()
    app.get("/method/{a}")(Group("g").method)
    app.get("/object/{a}")(Group("g"))
    app.get("/positional/{a}")(positional)
    app.get("/partial/{a}")(functools.partial(configured, "db", mode="m"))
    async with TestClient(app) as client:
        assert (await client.get("/method/1")).text == "g 1"
        assert (await client.get("/object/1")).text == "call g 1"
        assert (await client.get("/positional/1?b=x")).text == "1 x"
        assert (await client.get("/partial/1?mode=other")).text == "db 1 m"


# ---- dependencies


async def test_dependencies_are_bound_like_handlers_and_run_once() -> None:
    """A provider takes path, query and other providers; whoever asks again is given the same value."""
    app, calls = App(), list[str]()

    async def base(request: Request, q: int = 1) -> int:
        calls.append("base")
        return q

    def threaded(base: Annotated[int, Depends(base)], name: str) -> str:
        calls.append("threaded")
        return f"{name}{base}"

    class Made:
        def __init__(self, text: Annotated[str, Depends(threaded)], n: Annotated[int, Depends(base)]) -> None:
            self.text, self.n = text, n

    @app.get("/{name}")
    async def handler(made: Annotated[Made, Depends(Made)], name: str, n: Annotated[int, Depends(base)]) -> str:
        return f"{made.text} {made.n} {n} {name}"

    async with TestClient(app) as client:
        assert (await client.get("/x?q=3")).text == "x3 3 3 x"
        assert calls == ["base", "threaded"]
        response = await client.get("/x?q=bad")
        assert response.json()["errors"][0]["name"] == "q"


async def test_managers_are_entered_and_left_in_order() -> None:
    """Dependencies are left in reverse order of entering, in the request's task, `@contextmanager`s in threads."""
    app, log = App(), list[Any]()

    @asynccontextmanager
    async def outer() -> AsyncIterator[str]:
        task = trio.lowlevel.current_task()
        log.append("outer in")
        yield "outer"
        assert task is trio.lowlevel.current_task()
        log.append("outer out")

    @contextmanager
    def inner(o: Annotated[str, Depends(outer)]) -> Iterator[str]:
        assert threading.current_thread() is not threading.main_thread()
        log.append("inner in")
        try:
            yield "inner"
        except KeyError:
            log.append("inner error")
            raise
        finally:
            log.append("inner out")

    @app.get("/")
    async def handler(i: Annotated[str, Depends(inner)], fail: bool = False) -> str:
        log.append(i)
        if fail:
            raise KeyError
        return "x"

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "x"
        assert log == ["outer in", "inner in", "inner", "inner out", "outer out"]
        log.clear()
        assert (await client.get("/?fail=true")).status_code == 500
        assert log == ["outer in", "inner in", "inner", "inner error", "inner out"]


async def test_a_provider_of_dependencies_types_the_path_field() -> None:
    """A field that only a router's dependency takes is converted as that says."""
    app, seen = App(), list[Any]()

    async def owner(id: int) -> None:  # noqa: A002
        seen.append(id)

    @app.get("/{id}", dependencies=[Depends(owner)])
    async def handler() -> str:
        return ""

    async with TestClient(app) as client:
        assert (await client.get("/5")).status_code == 200
        assert (await client.get("/x")).status_code == 404
    assert seen == [5]


# ---- bodies


def bodies(**options: Any) -> App:
    app = App(**options)

    @app.post("/point")
    async def point(point: Point) -> int:
        return point.x

    @app.post("/list")
    async def points(points: list[Point]) -> int:
        return len(points)

    @app.post("/optional")
    async def optional(point: Point | None = None, tags: list[str] = []) -> str:  # noqa: B006
        return repr(point)

    @app.post("/default")
    async def default(items: dict[str, int] = {"a": 1}) -> int:  # noqa: B006
        items[f"k{len(items)}"] = 2
        return len(items)

    @app.post("/json")
    async def by_hand(request: Request) -> int:
        return (await request.json(Point)).x

    @app.post("/raw")
    async def raw(request: Request) -> int:
        assert await request.body() is await request.body()
        return len(await request.body())

    @app.post("/stream")
    async def stream(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @app.post("/ignored")
    async def ignored() -> str:
        return "ignored"

    return app


@both_servers
async def test_json_bodies_are_bound(link: bool) -> None:
    """A model, a list of models, an optional one, and the same by hand."""
    async with TestClient(bodies(), link=link) as client:
        assert (await client.post("/point", json={"x": 3})).json() == 3
        assert (await client.post("/list", json=[{"x": 3}] * 5000)).json() == 5000
        assert (await client.post("/optional", json={"x": 3})).text == "Point(x=3, y=0)"
        assert (await client.post("/optional")).text == "None"
        assert (await client.post("/json", json={"x": 4})).json() == 4
        assert (await client.post("/raw", content=b"x" * 100_000)).json() == 100_000
        assert (await client.post("/stream", content=b"x" * 100_000)).json() == 100_000
        assert (await client.post("/ignored", content=b"x" * 100_000)).text == "ignored"
        assert [(await client.post("/default")).json() for _ in range(2)] == [2, 2]


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("path", ["/point", "/json"])
@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b"\xff", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"x": 1}', {}, 415),
        (b'{"x": 1}', {"content-type": "text/plain"}, 415),
        (b'{"x": 1}', {"content-type": "application/json; charset=latin-1"}, 415),
        (b'{"x": 1}', JSON | {"content-encoding": "gzip"}, 415),
        (b"{}", JSON, 422),
        (b'{"x": 1}' + b" " * 3_000_000, JSON, 413),
    ],
)
@both_servers
async def test_bodies_that_cannot_be_bound(
    path: str, content: bytes, headers: dict[str, str], status: int, link: bool
) -> None:
    """400 malformed, 413 too large, 415 not JSON, 422 misfit: by parameter and by hand."""
    async with TestClient(bodies(), link=link) as client:
        response = await client.post(path, content=content, headers=headers)
        assert response.status_code == status
        assert response.json()["status"] == status


async def test_all_faults_of_a_body_are_in_one_422() -> None:
    """Each is named by a JSON Pointer."""
    async with TestClient(bodies()) as client:
        response = await client.post("/list", json=[{"x": 1}, {"x": "a", "y": "b"}, {}])
    assert response.status_code == 422
    assert [(each["in"], each["name"]) for each in response.json()["errors"]] == [
        ("body", "/1/x"),
        ("body", "/1/y"),
        ("body", "/2/x"),
    ]


def as_http2(app: ASGIApp) -> ASGIApp:
    """The application, as it is served where a head need not say that a body follows."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = [field for field in scope["headers"] if field[0] not in (b"content-length", b"transfer-encoding")]
            scope = {**scope, "http_version": "2", "headers": headers}
        await app(scope, receive, send)

    return served


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("served", [None, as_http2], ids=["chunked", "http2"])
@pytest.mark.parametrize("middleware", [False, True], ids=["", "read-before"])
@both_servers
async def test_an_empty_body_is_no_body(
    served: Callable[[ASGIApp], ASGIApp] | None, middleware: bool, link: bool
) -> None:
    """Where only reading tells, a default stands for a body that turns out to be empty, and for no other."""
    app = bodies()
    for method in ("DELETE", "POST"):

        @app.route("/any", methods=[method])
        async def optional(point: Point | None = None) -> str:
            return repr(point)

    @app.post("/form")
    async def form(name: Annotated[str, Form()] = "nobody") -> str:
        return name

    @app.post("/octets")
    async def octets(data: Annotated[bytes, Body()] = b"none") -> bytes:
        return data

    if middleware:

        @app.middleware
        async def reads(request: Request, call_next: Next) -> Response:
            await request.body()
            return await call_next(request)

    table: list[tuple[str, str, tuple[bytes, ...], dict[str, str], str | int]] = [
        ("DELETE", "/any", (), {}, "None"),
        ("DELETE", "/any", (b'{"x"', b": 1}"), JSON, "Point(x=1, y=0)"),
        ("POST", "/any", (), {}, "None"),
        ("POST", "/any", (b"", b""), JSON, "None"),
        ("POST", "/any", (b'{"x"', b": 1}"), JSON, "Point(x=1, y=0)"),
        ("POST", "/any", (b"1",), {}, 415),
        ("POST", "/any", (b" ",), JSON, 400),
        ("POST", "/form", (), {}, "nobody"),
        ("POST", "/form", (b"name=", b"a"), {"content-type": "application/x-www-form-urlencoded"}, "a"),
        ("POST", "/form", (b"name=a",), {}, 415),
        ("POST", "/octets", (), {}, "none"),
        ("POST", "/octets", (b"", b"a", b"b"), {}, "ab"),
        ("POST", "/point", (), JSON, 400),
    ]
    async with TestClient(served(app) if served else app, link=link) as client:
        for method, path, parts, headers, expected in table:
            response = await client.request(method, path, content=chunks(*parts), headers=headers)
            seen = response.text if isinstance(expected, str) else response.status_code
            assert (method, path, parts, seen) == (method, path, parts, expected)


@both_servers
async def test_a_body_that_may_come_is_waited_for_within_bounds(
    link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """408 by `body_timeout`, and by the deadline; the client that leaves meanwhile is noticed."""
    ended: list[str | None] = []

    @asynccontextmanager
    async def watched(request: Request) -> AsyncIterator[None]:
        try:
            yield
        finally:
            ended.append(request.ended)

    app = App(timeout=5, body_timeout=2, on_disconnect="cancel", dependencies=[Depends(watched)])

    @app.post("/")
    async def optional(point: Point | None = None) -> None: ...

    app.post("/patient", body_timeout=None)(optional)

    async with TestClient(app, link=link) as client:
        for path in ("/", "/patient"):
            async with client.open("POST", path, headers={"transfer-encoding": "chunked"}, upload=True) as exchange:
                assert (await exchange.head())[0] == 408
        async with client.open("POST", "/", headers={"transfer-encoding": "chunked"}, upload=True) as exchange:
            await trio.testing.wait_all_tasks_blocked()
            exchange.leave()
        await trio.sleep(10)
    assert ended == [None, "deadline", "disconnected"]


async def test_a_body_that_a_middleware_has_read_is_there_for_the_handler() -> None:
    """It is read once and kept; an optional body is not taken for missing."""
    app = bodies()

    @app.middleware
    async def signed(request: Request, call_next: Next) -> Response:
        response = await call_next(request) if await request.body() else Response(status=400)
        response.headers["x-length"] = str(len(await request.body()))
        return response

    async with TestClient(app) as client:
        for path, text in {"/point": "3", "/optional": "Point(x=3, y=0)", "/json": "3"}.items():
            response = await client.post(path, json={"x": 3})
            assert (response.text, response.headers["x-length"]) == (text, "7")


@both_servers
async def test_the_head_is_read_before_the_body(link: bool) -> None:
    """A query that does not fit and a provider that refuses answer without a byte of the body: 401 beats 413."""
    app = App(max_body=10)

    async def auth() -> None:
        raise HTTPError(401)

    @app.post("/auth", dependencies=[Depends(auth)])
    async def authorized(point: Point) -> None: ...

    @app.post("/query")
    async def query(point: Point, a: int) -> None: ...

    async with TestClient(app, link=link) as client:
        assert (await client.post("/auth", content=b"x" * 1000)).status_code == 401
        assert (await client.post("/query", content=b"x" * 1000)).status_code == 422
        assert (await client.post("/query?a=1", content=b"x" * 1000, headers=JSON)).status_code == 413


@both_servers
async def test_a_provider_that_needs_the_body_runs_after_those_that_do_not(link: bool) -> None:
    """Whatever the order of parameters: head-only dependencies first, the body once, then the rest."""
    app, log = App(), list[str]()

    async def checked(point: Point) -> Point:
        log.append("checked")
        return point

    async def auth(request: Request) -> None:
        log.append("auth")

    @app.post("/")
    async def handler(p: Annotated[Point, Depends(checked)], a: Annotated[None, Depends(auth)]) -> int:
        return p.x

    async with TestClient(app, link=link) as client:
        assert (await client.post("/", json={"x": 8})).json() == 8
    assert log == ["auth", "checked"]


@pytest.mark.parametrize("path", ["/point", "/json", "/raw", "/stream"])
@both_servers
async def test_a_body_over_the_limit_is_413_while_it_streams(
    path: str, link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Without a length the bytes are counted as they come; the answer does not wait for the rest."""
    app = bodies(max_body=100_000)
    async with (
        TestClient(app, link=link) as client,
        client.open("POST", path, headers=JSON, upload=True) as exchange,
        trio.open_nursery() as nursery,
    ):

        async def endless() -> None:
            # With a pause, without which the clock could not jump over the time that the rest of an upload is read.
            while await exchange.send_body(b"x" * 50_000):  # noqa: ASYNC110 - it sends, and polls nothing
                await trio.sleep(0.01)

        nursery.start_soon(endless)
        status, _ = await exchange.head()
        body = await exchange.read()
        nursery.cancel_scope.cancel()
    assert status == 413
    assert json.loads(body)["detail"] == "the body is larger than 100000 bytes"


@pytest.mark.parametrize("length", ["100001", "1000000000000", "9" * 400])
@both_servers
async def test_an_announced_length_over_the_limit_is_413_at_once(length: str, link: bool) -> None:
    """Nothing is read of a body that says that it is too large."""
    app = bodies(max_body=100_000)
    async with (
        TestClient(app, link=link) as client,
        client.open("POST", "/raw", headers={"content-length": length}, upload=True) as exchange,
    ):
        assert (await exchange.head())[0] == 413


async def test_the_limit_is_inclusive_and_the_nearest_wins() -> None:
    """A body of exactly `max_body` bytes passes; a route may set its own, or none."""
    app = App(max_body=10)

    @app.post("/app")
    async def by_app(request: Request) -> int:
        return len(await request.body())

    @app.post("/route", max_body=20)
    async def by_route(request: Request) -> int:
        return len(await request.body())

    @app.post("/none", max_body=None)
    async def without(request: Request) -> int:
        return len(await request.body())

    async with TestClient(app) as client:
        for path, size, status in [
            ("/app", 10, 200), ("/app", 11, 413), ("/route", 20, 200), ("/route", 21, 413), ("/none", 5_000_000, 200),
        ]:  # fmt: skip
            assert (await client.post(path, content=b"x" * size)).status_code == status


@pytest.mark.parametrize("path", ["/point", "/raw"])
@both_servers
async def test_a_body_without_progress_is_408(path: str, link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """`body_timeout` is about progress: each part resets it; the connection is not used again."""
    app = bodies(body_timeout=3, timeout=60)
    async with TestClient(app, link=link) as client, client.open("POST", path, headers=JSON, upload=True) as exchange:
        for _ in range(3):
            await exchange.send_body(b"[")
            await trio.sleep(2)
        start = trio.current_time()
        status, headers = await exchange.head()
        assert (status, headers["connection"]) == (408, "close")
        assert trio.current_time() - start == pytest.approx(1)


@both_servers
async def test_a_deadline_while_waiting_for_the_body_is_408(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """When the client was what we waited for, the timeout is its own."""
    app = bodies(body_timeout=None, timeout=5)
    async with TestClient(app, link=link) as client, client.open("POST", "/raw", upload=True) as exchange:
        await exchange.send_body(b"x")
        status, headers = await exchange.head()
        assert (status, headers["connection"]) == (408, "close")
        assert trio.current_time() == pytest.approx(5)


@both_servers
async def test_a_deadline_after_the_body_is_503(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """When the handler was slow, it is not the client's fault."""
    app = App(timeout=5)

    @app.post("/")
    async def handler(request: Request) -> None:
        await request.body()
        await trio.sleep(10)

    async with TestClient(app, link=link) as client:
        assert (await client.post("/", content=b"x")).status_code == 503


async def test_what_request_tells_of_its_head() -> None:
    """Headers without regard to case, cookies, query, url and state."""
    app, seen = App(), dict[str, Any]()

    @app.get("/a b")
    async def handler(request: Request) -> None:
        seen.update(
            header=request.headers["X-NAME"], many=request.headers.getlist("x-many"), cookies=dict(request.cookies),
            query=request.query.multi_items(), url=request.url, id=request.id == request.id, ended=request.ended,
        )  # fmt: skip

    async with TestClient(app, cookies={"c": "1"}) as client:
        await client.get("/a%20b?q=1&q=2", headers=[("x-name", "v"), ("x-many", "1"), ("x-many", "2")])
    assert seen == {
        "header": "v", "many": ["1", "2"], "cookies": {"c": "1"}, "query": [("q", "1"), ("q", "2")],
        "url": "http://testserver/a%20b?q=1&q=2", "id": True, "ended": None,
    }  # fmt: skip


# ---- threads


async def test_a_def_handler_runs_in_a_worker_thread_with_context() -> None:
    """The loop goes on meanwhile; context variables are seen; errors are mapped."""
    app, variable = App(), contextvars.ContextVar[str]("variable")

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        variable.set("seen")
        return await call_next(request)

    @app.get("/{n}")
    def handler(n: int) -> str:
        assert threading.current_thread() is not threading.main_thread()
        if n:
            raise HTTPError(418)
        return variable.get()

    async with TestClient(app) as client:
        assert (await client.get("/0")).text == "seen"
        assert (await client.get("/1")).status_code == 418


@both_servers
async def test_a_thread_cannot_be_stopped_so_its_value_follows(
    link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """The deadline passes, the thread goes on, its slot stays taken, and the value counts when it comes."""
    app = App(timeout=1)
    running, go_on = threading.Event(), threading.Event()

    @app.get("/")
    def handler() -> str:
        running.set()
        go_on.wait(10)
        return "late"

    @app.get("/checks")
    def checks() -> str:
        while True:
            trio.from_thread.check_cancelled()

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        while not running.is_set():
            await trio.testing.wait_all_tasks_blocked()
        assert app.thread_limiter.borrowed_tokens == 1
        trio.lowlevel.current_clock().jump(5)  # type: ignore[attr-defined]
        await trio.testing.wait_all_tasks_blocked()
        assert app.thread_limiter.borrowed_tokens == 1
        go_on.set()
        assert (await exchange.head())[0] == 200
        assert await exchange.read() == b"late"
        assert app.thread_limiter.borrowed_tokens == 0


async def test_a_thread_that_checks_is_stopped() -> None:
    """`trio.from_thread.check_cancelled()` lets a `def` handler end at the deadline."""
    app = App(timeout=0.01)

    @app.get("/")
    def checks() -> str:
        while True:
            trio.from_thread.check_cancelled()

    async with TestClient(app) as client:
        assert (await client.get("/")).status_code == 503


# ---- nurseries


def nurseries() -> App:
    app = App(timeout=5)

    @app.get("/join")
    async def join(nursery: trio.Nursery, seconds: float) -> str:
        nursery.start_soon(trio.sleep, seconds)
        return "joined"

    @app.get("/fail")
    async def fail(nursery: trio.Nursery) -> str:
        async def child() -> None:
            await trio.sleep(1)
            raise HTTPError(409)

        nursery.start_soon(child)
        return "never"

    @app.get("/stream")
    async def stream(nursery: trio.Nursery) -> Stream:
        sender, receiver = trio.open_memory_channel[str](0)

        async def produce() -> None:
            async with sender:
                for word in ("a", "b", "c"):
                    await trio.sleep(4)  # past the timeout in all
                    await sender.send(word)

        async def feed(sink: Sink) -> None:
            async for word in receiver:
                await sink.send(word)

        nursery.start_soon(produce)
        return Stream(feed)

    return app


@both_servers
async def test_children_are_joined_within_the_timeout(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """The answer waits for the children of the injected nursery; the deadline cuts them: 503."""
    async with TestClient(nurseries(), link=link) as client:
        start = trio.current_time()
        assert (await client.get("/join?seconds=3")).text == "joined"
        assert trio.current_time() - start == pytest.approx(3)
        start = trio.current_time()
        assert (await client.get("/join?seconds=30")).status_code == 503
        assert trio.current_time() - start == pytest.approx(5)


@both_servers
async def test_a_childs_failure_is_the_requests(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """A child that raises after the handler returned decides the response."""
    async with TestClient(nurseries(), link=link) as client:
        assert (await client.get("/fail")).status_code == 409


@both_servers
async def test_a_streams_nursery_lives_until_its_end(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """With a stream the children go on, past the timeout, and are joined after the last chunk."""
    async with TestClient(nurseries(), link=link) as client:
        assert (await client.get("/stream")).text == "abc"


async def test_nurseries_are_one_per_request(autojump_clock: trio.testing.MockClock) -> None:
    """A child that fails in one request leaves another alone."""
    responses: list[httpx.Response] = []
    async with TestClient(nurseries()) as client, trio.open_nursery() as nursery:

        async def ask(path: str) -> None:
            responses.append(await client.get(path))

        nursery.start_soon(ask, "/fail")
        nursery.start_soon(ask, "/join?seconds=2")
    assert [response.status_code for response in responses] == [409, 200]


# ---- a body is whole or an error


@both_servers
async def test_a_body_of_which_a_part_is_gone_is_an_error(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """What is left after a read that was given up, or after a stream, must not pass for the whole body."""
    app = App(max_body=None)

    @app.post("/given-up")
    async def given_up(request: Request) -> bytes:
        with trio.move_on_after(1):
            await request.body()
        return await request.body()

    @app.post("/streamed")
    async def streamed(request: Request) -> bytes:
        async for _ in request.stream():
            break
        return await request.body()

    async with TestClient(app, link=link) as client:
        for path in ("/given-up", "/streamed"):
            async with client.open("POST", path, upload=True) as exchange:
                await exchange.send_body(b"first")
                await trio.sleep(3)
                await exchange.send_body(b"second")
                await exchange.end_body()
                assert (await exchange.head())[0] == 500


@both_servers
async def test_a_body_can_be_read_again(link: bool) -> None:
    """What a middleware has read with `body` is there for everybody, as a stream too, and empty bodies stay empty."""
    app = App()

    @app.middleware
    async def signed(request: Request, call_next: Next) -> Response:
        await request.body()
        return await call_next(request)

    @app.post("/")
    async def handler(request: Request) -> list[str]:
        chunks = [chunk.decode() async for chunk in request.stream()]
        return ["".join(chunks), (await request.body()).decode()]

    async with TestClient(app, link=link) as client:
        for content in ("", "x", "text" * 50_000):
            assert (await client.post("/", content=content)).json() == [content, content]


@both_servers
async def test_two_tasks_cannot_read_one_body(link: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Trio's rule for streams. One would wait for a message that never comes, and the client get the blame: 408."""
    app = App()

    @app.post("/")
    async def handler(request: Request) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(request.body)
            nursery.start_soon(request.body)
        return "both"

    async with TestClient(app, link=link) as client, client.open("POST", "/", upload=True) as exchange:
        await exchange.send_body(b"first")
        assert (await exchange.head())[0] == 500
    assert "BusyResourceError: another task is reading the body" in caplog.text


# ---- who asks


async def test_a_parameter_has_one_fault_however_many_ask_for_it() -> None:
    """The handler and its dependencies share the query's parameters; the client sent each once."""
    app = App()

    async def offset(page: int, size: int = 10) -> int:
        return page * size

    @app.get("/")
    async def handler(page: int, start: Annotated[int, Depends(offset)], size: str) -> list[Any]:
        return [page, start, size]

    async with TestClient(app) as client:
        assert (await client.get("/?page=2&size=5")).json() == [2, 10, "5"]
        errors = (await client.get("/?page=x")).json()["errors"]
    assert [(each["name"], each["reason"]) for each in errors] == [
        ("page", "must be an integer"),
        ("size", "is required"),
    ]


async def test_callables_that_cannot_be_hashed() -> None:
    """An instance of a plain dataclass is a good handler and a good provider, and each is itself."""

    @dataclass
    class Always:
        value: int

        async def __call__(self) -> int:
            return self.value

    app = App()
    one, other = Always(1), Always(1)
    app.get("/one")(one)
    app.get("/other")(other)

    @app.get("/both")
    async def both(a: Annotated[int, Depends(one)], b: Annotated[int, Depends(Always(2))]) -> list[int]:
        return [a, b]

    assert (app.url_for(one), app.url_for(other)) == ("/one", "/other")
    async with TestClient(app) as client:
        assert (await client.get("/one")).json() == 1
        assert (await client.get("/both")).json() == [1, 2]
