"""Errors: which response each becomes, who catches it, what a group leads to, and what is logged."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from trivet import App, Depends, HTTPError, Next, Request, RequestCancelled, Response, Router, Sink, Stream, Text
from trivet.errors import InvalidInput, RegistrationError, TrivetError
from trivet.testing import TestClient


def raising(error: Callable[[], BaseException], **options: Any) -> App:
    """An app whose handler raises what `error` makes."""
    app = App(**options)

    @app.get("/")
    async def handler() -> None:
        raise error()

    return app


async def get(app: App, **options: Any) -> httpx.Response:
    async with TestClient(app, **options) as client:
        return await client.get("/")


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The types of the errors that were logged with a traceback."""
    return sorted(record.exc_info[0].__name__ for record in caplog.records if record.exc_info and record.exc_info[0])


# ---- the form


async def test_an_http_error_is_a_problem() -> None:
    """Status, title, detail, instance, members and headers, as RFC 9457 has them, safe in a browser."""
    response = await get(raising(lambda: HTTPError(409, "in use", headers={"x-a": "1"}, users=["ann"])))
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-a"] == "1"
    problem = response.json()
    assert problem.pop("instance").startswith("urn:uuid:")
    assert problem == {"type": "about:blank", "title": "Conflict", "status": 409, "detail": "in use", "users": ["ann"]}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (lambda: HTTPError(404), 404),
        (lambda: HTTPError(401), 401),
        (lambda: HTTPError(503, "later"), 503),
        (lambda: HTTPError(599), 599),
        (lambda: InvalidInput(422, "no"), 422),
        (trio.TooSlowError, 504),
        (lambda: httpx.ReadTimeout("x"), 504),
        (lambda: httpx.ConnectTimeout("x"), 504),
        (lambda: httpx.ConnectError("x"), 502),
        (lambda: httpx.RemoteProtocolError("x"), 502),
        (lambda: KeyError("x"), 500),
        (TimeoutError, 500),
        (lambda: TrivetError("x"), 500),
        (AssertionError, 500),
        (KeyboardInterrupt, 500),
        (lambda: SystemExit(3), 500),
        (GeneratorExit, 500),
        (StopAsyncIteration, 500),
        (RecursionError, 500),
        (lambda: BaseException("odd"), 500),
    ],
)
@pytest.mark.parametrize("link", [True, False])
async def test_every_error_has_a_status(error: Callable[[], BaseException], status: int, link: bool) -> None:
    """What is not foreseen is 500 and says nothing; the server lives and answers the next request."""
    async with TestClient(raising(error), link=link) as client:
        for _ in range(2):
            response = await client.get("/")
            assert response.status_code == status
            assert response.json()["status"] == status
            if status == 500:
                assert "detail" not in response.json()
            if status == 401:
                assert response.headers["www-authenticate"] == "Bearer"


async def test_debug_shows_the_traceback() -> None:
    """With `debug=True` a bug is shown; a foreseen error is not."""
    response = await get(raising(lambda: KeyError("the key"), debug=True))
    assert response.json()["detail"] == "KeyError: 'the key'"
    assert any("test_app_errors.py" in line for line in response.json()["traceback"])
    response = await get(raising(lambda: HTTPError(503), debug=True))
    assert "traceback" not in response.json()


@pytest.mark.parametrize("status", [200, 399, 600, 0])
def test_an_http_error_has_an_error_status(status: int) -> None:
    """Anything but 400 to 599 is refused where it is made, with the remedy."""
    with pytest.raises(ValueError, match=f"return {status}, value"):
        HTTPError(status)


async def test_an_http_error_that_cannot_be_sent_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    """Members that msgspec cannot encode, and headers that HTTP cannot carry, are 500."""
    assert (await get(raising(lambda: HTTPError(404, x=object())))).status_code == 500
    assert (await get(raising(lambda: HTTPError(404, headers={"x-a": "a\nb"})))).status_code == 500
    assert errors_in(caplog) == ["ResponseError", "ValueError"]


# ---- anywhere


@pytest.mark.parametrize(
    "place",
    ["handler", "provider", "entering", "leaving", "thread", "thread entering", "before", "after", "catcher", "child"],
)
@pytest.mark.parametrize("link", [True, False])
async def test_an_http_error_works_anywhere(place: str, link: bool) -> None:
    """Raised in a handler, a provider, a middleware, a catcher or a child task, it is the answer."""
    app = App()
    error = HTTPError(418, place)

    def at(here: str) -> None:
        if here == place:
            raise error

    async def provider() -> None:
        at("provider")

    def in_thread() -> None:
        at("thread")

    @contextmanager
    def in_threads() -> Any:
        at("thread entering")
        yield

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        at("entering")
        yield
        at("leaving")

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        at("before")
        response = await call_next(request)
        at("after")
        return response

    @app.catch(KeyError)
    async def catcher(request: Request, exc: KeyError) -> None:
        at("catcher")

    @app.get("/", dependencies=[Depends(provider), Depends(in_thread), Depends(in_threads), Depends(manager)])
    async def handler(nursery: trio.Nursery) -> str:
        at("handler")
        if place == "catcher":
            raise KeyError

        async def child() -> None:
            at("child")

        nursery.start_soon(child)
        return "fine"

    response = await get(app, link=link)
    assert (response.status_code, response.json()["detail"]) == (418, place)


# ---- catchers


class Base(Exception):
    pass


class Derived(Base):
    pass


def answering(text: str) -> Any:
    async def catcher(request: Request, exc: Exception) -> tuple[int, str]:
        return 400, f"{text} {type(exc).__name__}"

    return catcher


async def caught(error: Callable[[], BaseException], **where: list[Any]) -> str:
    """The answer with catchers for what is listed, by level."""
    app, router = App(), Router()

    @router.get("/")
    async def handler() -> None:
        raise error()

    app.mount("", router)
    for level, name in ((app, "app"), (router, "router")):
        for what in where.get(name, []):
            level.catch(what)(answering(f"{name}:{getattr(what, '__name__', what)}"))
    response = await get(app)
    return response.text if response.status_code == 400 else str(response.status_code)


CAUGHT: list[tuple[Callable[[], BaseException], dict[str, list[Any]], str]] = [
    (Derived, {"app": [Derived]}, "app:Derived Derived"),
    (Derived, {"app": [Base]}, "app:Base Derived"),
    (Derived, {"app": [Base, Derived]}, "app:Derived Derived"),
    (Derived, {"app": [Derived], "router": [Base]}, "router:Base Derived"),  # the nearest level
    (Derived, {"app": [500]}, "app:500 HTTPError"),
    (Derived, {"app": [500, Base]}, "app:Base Derived"),  # a class before a status
    (Derived, {"app": [500, Exception]}, "app:500 HTTPError"),  # that says something
    (Derived, {"app": [Base], "router": [500]}, "router:500 HTTPError"),
    (Derived, {"app": [Exception]}, "app:Exception Derived"),
    (Derived, {"app": [404]}, "500"),
    (Derived, {"app": [HTTPError]}, "500"),
    (Derived, {}, "500"),
    (lambda: HTTPError(404), {"app": [404]}, "app:404 HTTPError"),
    (lambda: HTTPError(404), {"app": [HTTPError]}, "app:HTTPError HTTPError"),
    (lambda: HTTPError(404), {"app": [HTTPError, 404]}, "app:404 HTTPError"),
    (lambda: HTTPError(404), {"app": [404], "router": [HTTPError]}, "router:HTTPError HTTPError"),
    (lambda: HTTPError(404), {"app": [Exception, 500]}, "404"),  # Exception sees bugs only
    (lambda: HTTPError(500), {"app": [Exception]}, "500"),
    (lambda: HTTPError(500), {"app": [500]}, "app:500 HTTPError"),
    (lambda: InvalidInput(422, "x"), {"app": [InvalidInput, 422]}, "app:InvalidInput InvalidInput"),
    (lambda: InvalidInput(422, "x"), {"app": [HTTPError]}, "app:HTTPError InvalidInput"),
    (trio.TooSlowError, {"app": [504]}, "app:504 HTTPError"),
    (trio.TooSlowError, {"app": [trio.TooSlowError]}, "app:TooSlowError TooSlowError"),
    (trio.TooSlowError, {"app": [Exception]}, "504"),
    (lambda: httpx.ReadTimeout("x"), {"app": [httpx.HTTPError]}, "app:HTTPError ReadTimeout"),
    (lambda: httpx.ReadTimeout("x"), {"app": [504]}, "app:504 HTTPError"),
    (KeyboardInterrupt, {"app": [Exception]}, "500"),
    (KeyboardInterrupt, {"app": [KeyboardInterrupt]}, "app:KeyboardInterrupt KeyboardInterrupt"),
    (KeyboardInterrupt, {"app": [BaseException]}, "app:BaseException KeyboardInterrupt"),
    (lambda: BaseExceptionGroup("", [KeyError()]), {"app": [KeyError]}, "app:KeyError KeyError"),
]


@pytest.mark.parametrize(("error", "where", "expected"), CAUGHT, ids=range(len(CAUGHT)))
async def test_the_nearest_and_most_specific_catcher_is_asked(
    error: Callable[[], BaseException], where: dict[str, list[Any]], expected: str
) -> None:
    """Levels first, then the class and its bases, then the status, then classes that say nothing."""
    assert await caught(error, **where) == expected


async def test_a_catcher_for_a_status_sees_what_was_raised_as_the_cause() -> None:
    """`catch(500)` is given an `HTTPError`; the bug itself is its `__cause__`."""
    app, seen = raising(lambda: KeyError("x")), list[BaseException | None]()

    @app.catch(500)
    async def on(request: Request, exc: HTTPError) -> tuple[int, str]:
        seen.append(exc.__cause__)
        return 500, "sorry"

    assert (await get(app)).text == "sorry"
    assert isinstance(seen[0], KeyError)


async def test_catchers_cover_requests_that_no_route_takes() -> None:
    """404, 405 and 400 pass through the application's catchers, and keep their headers if these want."""
    app = App()

    @app.post("/")
    async def post() -> None: ...

    @app.catch(404)
    async def missing(request: Request, exc: HTTPError) -> tuple[int, str]:
        assert request.route is None
        return 404, f"no {request.path}"

    @app.catch(405)
    async def method(request: Request, exc: HTTPError) -> tuple[int, str, Any]:
        return 405, "not so", exc.headers

    @app.catch(400)
    async def bad(request: Request, exc: HTTPError) -> tuple[int, str]:
        return 400, exc.detail

    async with TestClient(app) as client:
        assert (await client.get("/x")).text == "no /x"
        response = await client.get("/")
        assert (response.text, response.headers["allow"]) == ("not so", "POST, OPTIONS")
        response = await client.get("/", extensions={"target": b"/%zz"})
        assert response.text.startswith("The path is malformed")


BASIC = 'Basic realm="staff"'


@pytest.mark.parametrize(
    ("error", "name", "value"),
    [
        (HTTPError(401, headers={"WWW-Authenticate": BASIC}), "www-authenticate", BASIC),
        (HTTPError(405, headers={"allow": "PUT"}), "allow", "PUT"),
        (HTTPError(408), "connection", "close"),
    ],
)
async def test_what_http_asks_of_a_status_is_there_whatever_a_catcher_does(
    error: HTTPError, name: str, value: str
) -> None:
    """It returns a page of its own, one that it keeps, or raises another error; what it says itself stands."""
    kept = Response("kept", status=error.status)
    app = App()

    @app.get("/{way}")
    async def handler(way: str) -> None:
        raise error

    @app.catch(error.status)
    async def on(request: Request, exc: HTTPError) -> object:
        match request.path:
            case "/kept":
                return kept
            case "/raised":
                raise HTTPError(exc.status, "in other words")
            case "/own":
                return exc.status, "own", {name: "own"}
            case "/other":
                return 409, "other"
        return exc.status, "page"

    async with TestClient(app) as client:
        found = {way: await client.get(f"/{way}") for way in ("page", "kept", "raised", "own", "other")}
    assert [(way, each.status_code, each.headers.get(name)) for way, each in found.items()] == [
        ("page", error.status, value),
        ("kept", error.status, value),
        ("raised", error.status, value),
        ("own", error.status, "own"),
        ("other", 409, None),
    ]
    assert found["raised"].json()["detail"] == "in other words"
    assert name not in kept.headers  # it is everybody's, and another path has other methods


async def test_what_http_leaves_open_is_a_catchers_own() -> None:
    """`Retry-After` goes out if it takes the error's headers over."""
    app = raising(lambda: HTTPError(503, headers={"retry-after": "5"}))

    @app.catch(503)
    async def on(request: Request, exc: HTTPError) -> tuple[int, str]:
        return 503, "later"

    assert "retry-after" not in (await get(app)).headers


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        (None, 204, ""),
        ("x", 200, "x"),
        ((418, "x"), 418, "x"),
        (Text("x", status=299), 299, "x"),
        ({"a": 1}, 200, '{"a":1}'),
    ],
)
async def test_a_catcher_returns_any_result(result: Any, status: int, text: str) -> None:
    """What a catcher returns is converted as a handler's result is, but for the route's status."""
    app = App()

    @app.catch(KeyError)
    async def on(request: Request, exc: KeyError) -> Any:
        return result

    @app.get("/", status=201)
    async def handler() -> None:
        raise KeyError

    response = await get(app)
    assert (response.status_code, response.text) == (status, text)


async def test_a_catcher_may_stream() -> None:
    """A catcher's stream is sent like any other."""
    app = raising(KeyError)

    @app.catch(KeyError)
    async def on(request: Request, exc: KeyError) -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("streamed")

        return Stream(feed)

    assert (await get(app)).text == "streamed"


@pytest.mark.parametrize("link", [True, False])
async def test_a_catchers_stream_for_a_request_that_was_stopped_is_a_plain_503(
    link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """When the time is over no stream can be fed; the request is answered all the same, and caught once."""
    app, calls = App(timeout=1), list[str]()

    @app.catch(RequestCancelled)
    async def on(request: Request, exc: RequestCancelled) -> Stream:
        calls.append(exc.reason)

        async def feed(sink: Sink) -> None:
            await sink.send("streamed")

        return Stream(feed)

    @app.get("/")
    async def handler() -> None:
        await trio.sleep(5)

    response = await get(app, link=link)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert calls == ["deadline"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyError, 500),
        (lambda: HTTPError(409), 409),
        (lambda: HTTPError(507), 507),
        (trio.TooSlowError, 504),
        (SystemExit, 500),
        (KeyboardInterrupt, 500),
    ],
)
async def test_a_catcher_that_fails(
    error: Callable[[], BaseException], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in a catcher is 500, both errors are logged; an HTTPError is its answer, and nobody catches it again.

    An error that a catcher translates by `raise HTTPError` is no bug, and not logged as one.
    """
    app = raising(lambda: ValueError("first"))

    @app.catch(ValueError)
    async def on(request: Request, exc: ValueError) -> None:
        raise error()

    @app.catch(409)
    async def never(request: Request, exc: HTTPError) -> str:
        raise AssertionError("a catcher's own error is not caught")

    @app.catch(500)
    async def nor(request: Request, exc: HTTPError) -> str:
        raise AssertionError("a catcher's own error is not caught")

    async with TestClient(app) as client:
        for _ in range(2):
            assert (await client.get("/")).status_code == status
    names = {409: set[str](), 507: set[str](), 504: {"ValueError"}}.get(status, {"ValueError", type(error()).__name__})
    assert set(errors_in(caplog)) == names


@pytest.mark.parametrize("result", [object(), (99, "x"), (204, "x"), "\ud800"])
async def test_a_catcher_that_returns_what_cannot_be_sent(result: Any) -> None:
    """It is a bug of the catcher: 500."""
    app = raising(KeyError)

    @app.catch(KeyError)
    async def on(request: Request, exc: KeyError) -> Any:
        return result

    assert (await get(app)).status_code == 500


async def test_a_catcher_has_the_cleanup_grace(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A catcher that does not end is stopped after `cleanup_grace`: the bug stays a bug, and the log says which."""
    app = raising(KeyError, cleanup_grace=3)

    @app.catch(KeyError)
    async def stuck(request: Request, exc: KeyError) -> None:
        await trio.sleep_forever()

    start = trio.current_time()
    assert (await get(app)).status_code == 500
    assert trio.current_time() - start == 3
    assert "stuck ran for longer than cleanup_grace = 3 s" in caplog.text


@pytest.mark.parametrize("what", [200, 600, 0, "404", object, int, KeyError()])
def test_catch_takes_an_error_or_an_error_status(what: Any) -> None:
    """Anything else is refused where it is registered."""
    with pytest.raises(RegistrationError, match="catch"):
        App().catch(what)


def test_two_catchers_for_one_error_on_one_level_are_refused() -> None:
    """Which of two would win is nobody's guess; both are named."""
    app = App()
    app.catch(404)(answering("a"))
    with pytest.raises(RegistrationError, match=r"(?s)two catchers for 404.*test_app_errors\.py:\d+.*test_app_errors"):
        app.catch(404)(answering("b"))


def sync_catcher(request: Request, exc: Exception) -> None: ...


async def one_argument(exc: Exception) -> None: ...


@pytest.mark.parametrize("fn", [sync_catcher, one_argument, "x", None])
def test_what_is_no_catcher_is_refused(fn: Any) -> None:
    """A catcher is an async function of two arguments; the remedy is shown."""
    with pytest.raises(RegistrationError, match=r"(?s)not a catcher.*async def on\(request: Request, exc"):
        App().catch(404)(fn)


# ---- groups

H = HTTPError
GROUPS: list[tuple[str, list[Any], int, list[str]]] = [
    # what it shows, leaves (a list nests), the status, what is logged with a traceback
    ("a single leaf unwraps", [KeyError()], 500, ["KeyError"]),
    ("a single leaf with a status unwraps", [H(404)], 404, []),
    ("nested groups unwrap", [[[H(404)]]], 404, []),
    ("all alike", [H(404), H(404)], 404, []),
    ("mixed 4xx: the lowest", [H(422), H(404), H(409)], 404, []),
    ("mixed 4xx in the other order", [H(409), H(404), H(422)], 404, []),
    ("5xx beats 4xx", [H(404), H(503)], 503, []),
    ("mixed 5xx: the lowest", [H(503), H(502)], 502, []),
    ("a bug beats 4xx", [H(404), KeyError()], 500, ["KeyError"]),
    ("a bug beats 5xx of lower rank", [H(503), KeyError(), H(500)], 500, ["KeyError"]),
    ("a bug nested deep is not masked", [H(404), [H(503), [KeyError()]]], 500, ["KeyError"]),
    ("all bugs are logged", [KeyError(), ValueError(), [TypeError()]], 500, ["KeyError", "TypeError", "ValueError"]),
    ("foreseen errors count by their status", [trio.TooSlowError(), httpx.ConnectError("x")], 502, []),
    ("a bug from below Exception", [GeneratorExit(), H(404)], 500, ["GeneratorExit"]),
]


def group(leaves: list[Any]) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("group", [group(leaf) if isinstance(leaf, list) else leaf for leaf in leaves])


@pytest.mark.parametrize(("leaves", "status", "logged"), [g[1:] for g in GROUPS], ids=[g[0] for g in GROUPS])
@pytest.mark.parametrize("backwards", [False, True])
async def test_which_leaf_of_a_group_decides(
    leaves: list[Any], status: int, logged: list[str], backwards: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug beats 5xx beats 4xx, within a class the lowest status; the order is nothing; every bug is logged."""
    response = await get(raising(lambda: group(leaves[::-1] if backwards else leaves)))
    assert (response.status_code, response.json()["status"]) == (status, status)
    assert errors_in(caplog) == logged


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_bug_beats_an_error_500_that_was_meant(backwards: bool) -> None:
    """Both answer 500; it is the bug that is shown."""
    leaves = [HTTPError(500, "meant"), KeyError("bug")]
    response = await get(raising(lambda: group(leaves[::-1] if backwards else leaves), debug=True))
    assert response.json()["detail"] == "KeyError: 'bug'"


async def test_each_leaf_meets_its_catcher_once() -> None:
    """Catchers are asked leaf by leaf; a bug that nobody caught still beats what they made."""
    app, seen = App(), list[str]()

    @app.catch(KeyError)
    async def on(request: Request, exc: KeyError) -> tuple[int, str]:
        seen.append(exc.args[0])
        return 400, "caught"

    @app.get("/")
    async def handler(bug: bool) -> None:
        raise ExceptionGroup("", [KeyError("a"), ExceptionGroup("", [KeyError("b")]), *([ValueError()] if bug else [])])

    async with TestClient(app) as client:
        assert (await client.get("/?bug=false")).text == "caught"
        assert sorted(seen) == ["a", "b"]
        assert (await client.get("/?bug=true")).status_code == 500
        assert sorted(seen) == ["a", "a", "b", "b"]


@pytest.mark.parametrize("child_error", [KeyError("x"), HTTPError(409)])
@pytest.mark.parametrize("link", [True, False])
async def test_a_group_with_cancellation_is_what_is_left_of_it(child_error: Exception, link: bool) -> None:
    """A child that fails cancels its siblings; their Cancelled is no failure of its own."""
    app = App()

    @app.get("/")
    async def handler() -> None:
        async def fail() -> None:
            raise child_error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    response = await get(app, link=link)
    assert response.status_code == getattr(child_error, "status", 500)


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["handler", "catcher", "middleware"])
async def test_a_group_with_keyboard_interrupt_is_not_mapped(fatal: type[BaseException], where: str) -> None:
    """Ctrl-C that lands in a nursery ends the process, as Trio means it: the group goes up to the server unchanged."""
    app, sent = App(), list[Any]()
    error = BaseExceptionGroup("x", [KeyError(), BaseExceptionGroup("y", [fatal()])])

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        if where == "middleware":
            raise error
        return await call_next(request)

    @app.catch(ValueError)
    async def on(request: Request, exc: ValueError) -> None:
        raise error

    @app.get("/")
    async def handler() -> None:
        raise error if where == "handler" else ValueError

    async def receive() -> Any:
        await trio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": [], "query_string": b"",
        "http_version": "1.1", "root_path": "", "scheme": "http", "client": None, "server": None, "extensions": {},
    }  # fmt: skip
    with pytest.raises(BaseExceptionGroup) as caught:
        await app(scope, receive, send)
    assert caught.group_contains(fatal)
    assert sent == []


# ---- the log


async def test_bugs_are_logged_with_their_request_and_the_clients_faults_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A bug is an ERROR with the id of `instance`, a 5xx a WARNING, a 4xx only at DEBUG."""
    caplog.set_level(logging.INFO, "trivet")
    problem = (await get(raising(KeyError))).json()
    (record,) = [each for each in caplog.records if each.name == "trivet"]
    assert record.levelno == logging.ERROR
    assert problem["instance"] == f"urn:uuid:{record.getMessage().rpartition(' ')[2]}"
    caplog.clear()
    await get(raising(lambda: HTTPError(503)))
    assert [each.levelno for each in caplog.records if each.name == "trivet"] == [logging.WARNING]
    caplog.clear()
    await get(raising(lambda: HTTPError(404)))
    assert [each for each in caplog.records if each.name == "trivet"] == []


@pytest.mark.parametrize(
    # what is raised, what is caught, the catcher's answer, and how it is logged
    ("raised", "caught", "answer", "level"),
    [
        (KeyError, KeyError, 409, "DEBUG"),
        (KeyError, LookupError, 404, "DEBUG"),
        (KeyError, KeyError, 200, "DEBUG"),
        (KeyError, KeyError, 500, "WARNING"),
        (KeyError, KeyError, 507, "WARNING"),
        (KeyError, Exception, 409, "ERROR"),
        (KeyError, 500, 409, "ERROR"),
        (KeyError, ValueError, 409, "ERROR"),
        (lambda: HTTPError(503), 503, 200, "DEBUG"),
        (lambda: HTTPError(503), HTTPError, 502, "WARNING"),
        (lambda: HTTPError(404), 404, 500, "WARNING"),
        (lambda: HTTPError(404), HTTPError, 200, "DEBUG"),
        (lambda: ExceptionGroup("", [KeyError(), HTTPError(404)]), KeyError, 409, "DEBUG DEBUG"),
        (KeyError, Exception, 503, "ERROR"),
        (lambda: ExceptionGroup("", [KeyError(), ValueError()]), KeyError, 409, "DEBUG ERROR"),
        (lambda: ExceptionGroup("", [KeyError(), ValueError()]), KeyError, 503, "WARNING ERROR"),
    ],
)
async def test_what_was_foreseen_is_logged_as_what_it_is_answered_with(
    raised: Callable[[], BaseException], caught: Any, answer: int, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception with a catcher of its own is no bug; a catcher of everything leaves every bug one."""
    app = raising(raised)

    @app.catch(caught)
    async def on(request: Request, exc: Exception) -> tuple[int, str]:
        return answer, "caught"

    caplog.set_level(logging.DEBUG, "trivet")
    await get(app)
    records = [record for record in caplog.records if record.name == "trivet"]
    assert " ".join(record.levelname for record in records) == level
    assert all("/" in record.getMessage() for record in records)
    assert all(record.exc_info is None for record in records if record.levelname == "WARNING")


async def test_what_happens_to_all_at_once_is_one_line(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Warnings that differ in nothing but their request, ten seconds long; bugs and other routes are told of each."""
    app, numbers = App(timeout=1), count(1)

    @app.get("/late/{n}")
    @app.get("/later/{n}")
    async def late(n: int) -> None:
        await trio.sleep(2)

    @app.get("/slow")
    async def slow() -> None:
        await trio.lowlevel.checkpoint()
        raise trio.TooSlowError(f"number {next(numbers)}")

    @app.get("/says/{what}")
    async def says(what: str) -> None:
        raise HTTPError(503, what)

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError

    caplog.set_level(logging.INFO, "trivet")
    async with TestClient(app) as client:
        async with trio.open_nursery() as nursery:
            for path in [f"/late/{n}" for n in range(20)] + ["/later/1", "/says/a", "/says/b", "/says/a"]:
                nursery.start_soon(client.get, path)
        for path in ("/slow", "/slow", "/bug", "/bug"):
            await client.get(path)
        await trio.sleep(10)
        for path in ("/late/20", "/slow"):
            await client.get(path)
    told = [record.getMessage() for record in caplog.records if record.name == "trivet"]
    slow_said = "'504 Something this server waited for took too long.', from 'TooSlowError: number N'"
    said = [re.sub(r"number \d+", "number N", line) for line in told]
    said = [re.sub(r"request [-0-9a-f]+", "R", line) for line in said]
    assert sorted(re.sub(r"/late/\d+", "/late/N", line) for line in said) == [
        "GET '/bug' failed, R",
        "GET '/bug' failed, R",
        "GET '/late/N': '503 The request took too long.', R",
        "GET '/late/N': '503 The request took too long.', R; 19 more like it since the last line",
        "GET '/later/1': '503 The request took too long.', R",
        "GET '/says/a': '503 a', R",
        "GET '/says/b': '503 b', R",
        f"GET '/slow': {slow_said}, R",
        f"GET '/slow': {slow_said}, R; 1 more like it since the last line",
    ]


async def test_a_failure_that_was_foreseen_can_be_found_by_its_request(caplog: pytest.LogCaptureFixture) -> None:
    """The warning says what was raised, what became of it, and for which request; all in one line."""
    app = raising(lambda: KeyError("a\nb"))
    ids: list[str] = []

    @app.catch(KeyError)
    async def full(request: Request, exc: KeyError) -> tuple[int, str]:
        ids.append(request.id)
        return 507, "full"

    await get(app)
    (record,) = [each for each in caplog.records if each.name == "trivet"]
    assert record.getMessage() == f"GET '/': KeyError('a\\nb'), answered with 507, request {ids[0]}"


async def test_a_line_of_the_log_stays_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Control characters in a path cannot forge a line."""
    app = App()

    @app.get("/{x}")
    async def handler(x: str) -> None:
        raise KeyError

    caplog.set_level(logging.DEBUG, "trivet")
    async with TestClient(app) as client:
        await client.get("/a%0AERROR%20forged%1B%5B31m")
        await client.get("/b/%0Aforged")
    assert not any("\n" in record.getMessage() or "\x1b" in record.getMessage() for record in caplog.records)


async def test_the_access_log_has_one_line_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    """Method, path, status and reason, for what was not found as well."""
    caplog.set_level(logging.INFO, "trivet.access")
    async with TestClient(raising(KeyError)) as client:
        await client.get("/")
        await client.get("/x?secret=1")
    lines = [record.getMessage().split()[1:5] for record in caplog.records if record.name == "trivet.access"]
    assert lines == [["GET", "/", "500", "failed"], ["GET", "/x", "404", "failed"]]
