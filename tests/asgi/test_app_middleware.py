"""Middleware: its order, its task, its time, what it sees and may do; and ASGI middleware around everything."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
import trio
import trio.testing
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware

from trivet import App, Depends, HTTPError, Next, Request, RequestCancelled, Response, Router, Sink, Stream, Text
from trivet.errors import RegistrationError
from trivet.testing import TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


def noting(log: list[str], name: str) -> Any:
    async def middleware(request: Request, call_next: Next) -> Response:
        log.append(f"{name} >")
        response = await call_next(request)
        log.append(f"< {name} {response.status}")
        return response

    return middleware


async def test_outer_levels_come_first_and_within_a_level_the_first_is_outermost() -> None:
    """App, router, route; options before decorators; whatever the order of registration."""
    log: list[str] = []
    app = App(middleware=[noting(log, "app1")])
    outer, inner = Router(middleware=[noting(log, "outer")]), Router()
    outer.mount("/i", inner)
    app.mount("/o", outer)

    @inner.get("/x", middleware=[noting(log, "route1"), noting(log, "route2")])
    async def handler() -> str:
        log.append("handler")
        return ""

    @app.get("/plain")
    async def plain() -> str:
        return ""

    inner.middleware(noting(log, "inner"))
    app.middleware(noting(log, "app2"))
    async with TestClient(app) as client:
        await client.get("/o/i/x")
        names = ["app1", "app2", "outer", "inner", "route1", "route2"]
        assert log == [f"{n} >" for n in names] + ["handler"] + [f"< {n} 200" for n in names[::-1]]
        log.clear()
        await client.get("/plain")
        assert log == ["app1 >", "app2 >", "< app2 200", "< app1 200"]


async def test_it_runs_in_the_requests_task_and_context_goes_both_ways() -> None:
    """A context variable set before is seen by the handler and providers, and one set there is seen after."""
    app, variable, tasks = App(), contextvars.ContextVar[str]("variable", default="unset"), set[Any]()

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        tasks.add(trio.lowlevel.current_task())
        variable.set("from middleware")
        response = await call_next(request)
        response.headers["x-variable"] = variable.get()
        return response

    async def provider() -> str:
        tasks.add(trio.lowlevel.current_task())
        return variable.get()

    @app.get("/")
    async def handler(seen: Annotated[str, Depends(provider)]) -> str:
        tasks.add(trio.lowlevel.current_task())
        variable.set("from handler")
        return seen

    async with TestClient(app) as client:
        response = await client.get("/")
    assert (response.text, response.headers["x-variable"]) == ("from middleware", "from handler")
    assert len(tasks) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ok", 200),
        ("/bug", 500),
        ("/error", 418),
        ("/slow", 503),
        ("/missing", 404),
        ("/unfit?n=x", 422),
        ("/ok/", 307),
    ],
)
@both_servers
async def test_call_next_always_returns_a_response(
    path: str, status: int, link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Errors, a deadline that passed and paths without a route are responses, never exceptions."""
    app, seen = App(timeout=2), list[tuple[int, str | None]]()

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        seen.append((response.status, request.ended))
        response.headers["x-seen"] = "1"
        return response

    @app.get("/ok")
    async def ok() -> str:
        return ""

    @app.get("/bug")
    async def bug() -> str:
        raise KeyError

    @app.get("/error")
    async def error() -> str:
        raise HTTPError(418)

    @app.get("/slow")
    async def slow() -> None:
        await trio.sleep(10)

    @app.get("/unfit")
    async def unfit(n: int) -> None: ...

    async with TestClient(app, link=link) as client:
        response = await client.get(path)
    assert (response.status_code, response.headers["x-seen"]) == (status, "1")
    assert seen == [(status, "deadline" if status == 503 else None)]


@both_servers
async def test_call_next_returns_499_when_the_client_has_left(
    link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Middleware may still count and log; nothing is sent."""
    app, seen = App(), list[tuple[int, str | None]]()

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        await trio.sleep(1)  # it has its grace
        seen.append((response.status, request.ended))
        return response

    @app.get("/")
    async def handler() -> None:
        await trio.sleep(100)

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await trio.sleep(5)
        exchange.leave()
        await exchange.wait_returned()
    assert seen == [(499, "disconnected")]
    assert trio.current_time() < 10


async def test_not_found_and_wrong_method_pass_through_the_apps_middleware_only() -> None:
    """A router's middleware is around its routes; what no route takes is the application's."""
    log: list[str] = []
    app, router = App(middleware=[noting(log, "app")]), Router(middleware=[noting(log, "router")])

    @router.get("/x")
    async def handler() -> str:
        return ""

    app.mount("/r", router)
    async with TestClient(app) as client:
        await client.get("/r/y")
        await client.post("/r/x")
        await client.options("/r/x")
    assert log == ["app >", "< app 404", "app >", "< app 405", "app >", "< app 204"]


@both_servers
async def test_before_call_next_it_is_under_the_deadline(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """A middleware that waits too long before the handler is stopped: 503, and outer middleware sees it."""
    log: list[str] = []
    app = App(timeout=2, middleware=[noting(log, "outer")])

    @app.middleware
    async def slow(request: Request, call_next: Next) -> Response:
        await trio.sleep(10)
        raise AssertionError("unreachable")

    @app.get("/")
    async def handler() -> str:
        raise AssertionError("unreachable")

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).status_code == 503
    assert log == ["outer >", "< outer 503"]
    assert trio.current_time() == pytest.approx(2)


@pytest.mark.parametrize(("seconds", "status"), [(4, 200), (20, 503)])
@both_servers
async def test_after_call_next_it_has_the_cleanup_grace(
    seconds: float, status: int, link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """The deadline does not stop its second half, `cleanup_grace` does: an overrun is 503, never 200."""
    app = App(timeout=2, cleanup_grace=5)

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        await trio.sleep(seconds)
        return response

    @app.get("/")
    async def handler() -> str:
        await trio.sleep(1)
        return "x"

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).status_code == status
    assert trio.current_time() == pytest.approx(1 + min(seconds, 5))


async def test_it_may_answer_by_itself_replace_or_ask_again() -> None:
    """Without `call_next`, with another response, or with a second call after an error."""
    app, calls = App(), list[int]()

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        if request.path == "/own":
            return Text("own", status=202)
        response = await call_next(request)
        if response.status == 503:
            response = await call_next(request)
        if request.path == "/replace":
            return Text("replaced")
        return response

    @app.get("/{x}")
    async def handler(x: str) -> str:
        calls.append(1)
        if x == "again" and len(calls) == 1:
            raise HTTPError(503)
        return x

    async with TestClient(app) as client:
        assert (await client.get("/again")).text == "again"
        assert len(calls) == 2
        assert (await client.get("/own")).status_code == 202
        assert (await client.get("/replace")).text == "replaced"
        assert len(calls) == 3


@both_servers
async def test_replacing_a_stream_leaves_its_dependencies(link: bool) -> None:
    """A stream that a middleware drops is not fed, and what it held open is left before the answer."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def held() -> AsyncIterator[None]:
        log.append("enter")
        yield
        log.append("leave")

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        assert isinstance(response, Stream)
        return Text("instead")

    @app.get("/")
    async def handler(h: Annotated[None, Depends(held)]) -> Stream:
        async def feed(sink: Sink) -> None:
            log.append("fed")

        return Stream(feed)

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).text == "instead"
    assert log == ["enter", "leave"]


@both_servers
async def test_a_stream_can_be_wrapped(link: bool) -> None:
    """A middleware may put a stream of its own around the source."""
    app = App()

    @app.middleware
    async def shout(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        assert isinstance(response, Stream)
        source = response.source

        class Loud:
            def __init__(self, sink: Sink) -> None:
                self.sink = sink

            async def send(self, chunk: str | bytes) -> None:
                await self.sink.send(chunk.upper())

        response.source = lambda sink: source(Loud(sink))
        return response

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("quiet")

        return Stream(feed)

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).text == "QUIET"


@asynccontextmanager
async def connection() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("holds", ["nursery", "scope"])
@pytest.mark.parametrize("result", ["stream", "stream with dependency", "whole with dependency"])
async def test_a_nursery_over_a_stream_with_open_dependencies_is_an_error_that_names_both(
    holds: str, result: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It cannot be closed before them nor after; with nothing open, or a whole answer, it is fine."""
    app = App()

    @app.middleware
    async def limiting(request: Request, call_next: Next) -> Response:
        if holds == "nursery":
            async with trio.open_nursery() as nursery:
                response = await call_next(request)
                nursery.cancel_scope.cancel()
            return response
        with trio.fail_after(3):
            return await call_next(request)

    async def feed(sink: Sink) -> None:
        await sink.send("fed")

    @app.get("/stream")
    async def stream() -> Stream:
        return Stream(feed)

    @app.get("/stream with dependency")
    async def held(c: Annotated[None, Depends(connection)]) -> Stream:
        return Stream(feed)

    @app.get("/whole with dependency")
    async def whole(c: Annotated[None, Depends(connection)]) -> str:
        return "fed"

    async with TestClient(app) as client:
        response = await client.get(f"/{result}")
    if result == "stream with dependency":
        assert response.status_code == 500
        assert "limiting" in caplog.text
        assert "connection" in caplog.text
        assert "Make the nursery or the scope a dependency" in caplog.text
    else:
        assert response.text == "fed"


async def test_call_next_with_another_request_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """There is one request; the message says which middleware."""
    app = App()

    @app.middleware
    async def around(request: Request, call_next: Next) -> Response:
        other: Any = object()
        return await call_next(other)

    async with TestClient(app) as client:
        assert (await client.get("/")).status_code == 500
    assert "around" in caplog.text
    assert "call_next(request)" in caplog.text


@pytest.mark.parametrize("result", [None, "text", (200, "x")])
async def test_a_middleware_that_returns_no_response_is_a_bug_that_says_so(
    result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The usual mistake is a missing `return`."""
    app = App()

    @app.middleware
    async def forgetful(request: Request, call_next: Next) -> Response:
        await call_next(request)
        return result  # type: ignore[no-any-return]

    async with TestClient(app) as client:
        assert (await client.get("/")).status_code == 500
    assert "forgetful" in caplog.text
    assert "return await call_next(request)" in caplog.text


def sync(request: Request, call_next: Next) -> None: ...


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


async def one(request: Request) -> None: ...


@pytest.mark.parametrize("fn", [sync, asgi, one, CORSMiddleware, "x", None])
def test_what_is_no_middleware_is_refused_where_it_is_registered(fn: Any) -> None:
    """As a decorator and as an option, of app, router and route; `app.wrap` is shown for ASGI's."""
    match = r"(?s)not a middleware.*app\.wrap\("
    with pytest.raises(RegistrationError, match=match):
        App().middleware(fn)
    with pytest.raises(RegistrationError, match=match):
        App(middleware=[fn])
    with pytest.raises(RegistrationError, match=match):
        Router(middleware=[fn])

    async def handler() -> None: ...

    with pytest.raises(RegistrationError, match=match):
        Router().get("/", middleware=[fn])(handler)


def test_the_decorator_returns_the_middleware() -> None:
    """It can be called and tested by itself."""

    async def around(request: Request, call_next: Next) -> Response:
        return await call_next(request)

    assert App().middleware(around) is around


# ---- ASGI middleware


def wrapped(*middleware: tuple[Any, dict[str, Any]]) -> App:
    app = App(timeout=5)
    for each, options in middleware:
        app.wrap(each, **options)

    @app.get("/text")
    async def text() -> str:
        return "x" * 5000

    @app.get("/count")
    async def count(request: Request) -> int:
        session = request.scope["session"]
        session["n"] = session.get("n", 0) + 1
        return session["n"]  # type: ignore[no-any-return]

    @app.post("/echo")
    async def echo(request: Request) -> bytes:
        return await request.body()

    @app.get("/stream")
    async def stream(fail: bool = False, wait: float = 0) -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("a" * 2000)
            await trio.sleep(wait)
            if fail:
                raise KeyError("midway")
            await sink.send("b" * 2000)

        return Stream(feed, media_type="text/plain")

    @app.get("/slow")
    async def slow() -> None:
        await trio.sleep(60)

    return app


CORS = (CORSMiddleware, {"allow_origins": ["https://a.example"], "allow_methods": ["PUT"]})
GZIP = (GZipMiddleware, {"minimum_size": 500})
SESSION = (SessionMiddleware, {"secret_key": "s"})


class Base(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-base"] = "1"
        return response


BASE = (Base, dict[str, Any]())
ALL = [CORS, GZIP, SESSION, BASE]


@both_servers
async def test_cors_unchanged(link: bool) -> None:
    """Starlette's answers preflights, which no route would take, and marks responses, errors too."""
    async with TestClient(wrapped(CORS), link=link) as client:
        headers = {"origin": "https://a.example", "access-control-request-method": "PUT"}
        preflight = await client.options("/text", headers=headers)
        assert (preflight.status_code, preflight.headers["access-control-allow-methods"]) == (200, "PUT")
        for path in ("/text", "/missing"):
            response = await client.get(path, headers={"origin": "https://a.example"})
            assert response.headers["access-control-allow-origin"] == "https://a.example"


@both_servers
async def test_gzip_unchanged(link: bool) -> None:
    """Whole bodies and streams are compressed, HEAD and small ones are not."""
    async with TestClient(wrapped(GZIP), link=link) as client:
        response = await client.get("/text")
        assert (response.headers["content-encoding"], response.text) == ("gzip", "x" * 5000)
        response = await client.get("/stream")
        assert (response.headers["content-encoding"], len(response.text)) == ("gzip", 4000)
        assert "content-encoding" not in (await client.get("/missing")).headers


@both_servers
async def test_sessions_unchanged(link: bool) -> None:
    """The signed cookie goes out and comes back."""
    async with TestClient(wrapped(SESSION), link=link) as client:
        assert [(await client.get("/count")).json() for _ in range(3)] == [1, 2, 3]


@both_servers
async def test_all_of_them_together(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """The stack serves texts, uploads, streams and timeouts, with the lifespan passing through it."""
    async with TestClient(wrapped(*ALL), link=link) as client:
        response = await client.get("/text", headers={"origin": "https://a.example"})
        assert response.text == "x" * 5000
        assert response.headers["x-base"] == "1"
        assert response.headers["access-control-allow-origin"] == "https://a.example"
        assert (await client.post("/echo", content=b"y" * 200_000)).content == b"y" * 200_000
        assert len((await client.get("/stream?wait=10")).text) == 4000
        assert (await client.get("/slow")).status_code == 503


@pytest.mark.parametrize("stack", [[], [GZIP], [BASE], [GZIP, BASE], [BASE, GZIP], ALL], ids=lambda s: str(len(s)))
@both_servers
async def test_a_truncated_stream_stays_truncated(stack: list[Any], link: bool) -> None:
    """A stream that fails midway is cut, though the middleware between would end it as if it were whole."""
    async with TestClient(wrapped(*stack), link=link, raise_app_exceptions=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/stream?fail=true")
        assert len((await client.get("/stream")).text) == 4000


def plain_wrapper(app: Any, *, name: str, log: list[str]) -> Any:
    async def wrapper(scope: Any, receive: Any, send: Any) -> None:
        log.append(f"{name} {scope['type']}")
        await app(scope, receive, send)

    return wrapper


async def test_the_first_wrapped_is_outermost_and_sees_everything() -> None:
    """Lifespan, routes, misses and mounted applications; functions serve as well as classes."""
    log: list[str] = []

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body"})
        else:
            raise NotImplementedError

    app = wrapped((plain_wrapper, {"name": "a", "log": log}), (plain_wrapper, {"name": "b", "log": log}))
    app.mount("/m", mounted)
    async with TestClient(app) as client:
        assert log == ["a lifespan", "b lifespan"]
        for path in ("/text", "/missing", "/m/x"):
            log.clear()
            await client.get(path)
            assert log == ["a http", "b http"]


@pytest.mark.parametrize(
    ("middleware", "options"),
    [
        (CORSMiddleware, {"allow_origin": ["*"]}),
        (SessionMiddleware, {}),
        (plain_wrapper, {"name": "a"}),
        ("GZipMiddleware", {}),
        (lambda: None, {}),
    ],
)
def test_wrap_refuses_options_that_the_middleware_does_not_take(middleware: Any, options: dict[str, Any]) -> None:
    """It would fail at startup else, or at the first request of a server without lifespan."""
    with pytest.raises(RegistrationError, match=r"app\.wrap\("):
        App().wrap(middleware, **options)


async def test_request_cancelled_is_what_a_catcher_sees_through_the_stack(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Timeouts are mapped inside; ASGI middleware sees a plain response."""
    app = wrapped(BASE)

    @app.catch(RequestCancelled)
    async def on(request: Request, exc: RequestCancelled) -> tuple[int, str]:
        return 503, exc.reason

    async with TestClient(app) as client:
        response = await client.get("/slow")
    assert (response.text, response.headers["x-base"]) == ("deadline", "1")
