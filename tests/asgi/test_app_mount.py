"""Applications below ours: any ASGI application at a prefix, with its own lifespan, state and paths."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket as StarletteWebSocket

from trivet import App, Request, Router
from trivet._lifespan import mounted as run_mounted
from trivet.errors import RouteConflict
from trivet.testing import LifespanFailed, TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


class Plain:
    """An ASGI application that keeps its scopes and answers 200; it has no lifespan."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"plain"})


class Living:
    """An ASGI application with a lifespan of its own, which misbehaves as told."""

    def __init__(self, log: list[str], *, fails: str = "") -> None:
        self.log = log
        self.fails = fails
        self.state: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.state = scope["state"]
            await Plain()(scope, receive, send)
            return
        assert (await receive())["type"] == "lifespan.startup"
        if self.fails == "startup":
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        if self.fails == "raise":
            raise KeyError("before it answered")
        self.log.append("mounted up")
        scope["state"]["own"] = "mounted's"
        await send({"type": "lifespan.startup.complete"})
        if self.fails == "crash":
            raise KeyError("while it runs")
        assert (await receive())["type"] == "lifespan.shutdown"
        self.log.append("mounted down")
        if self.fails == "shutdown":
            await send({"type": "lifespan.shutdown.failed", "message": "cannot flush"})
            return
        await send({"type": "lifespan.shutdown.complete"})


@pytest.mark.parametrize("root_path", ["", "/root"])
@pytest.mark.parametrize("target", ["/sub", "/sub/", "/sub/a/b", "/sub/a%2Fb", "/sub//a", "/sub/%zz", "/sub/a?q=%zz"])
async def test_root_path_gains_the_prefix_and_path_stays_whole(root_path: str, target: str) -> None:
    """Everything at and below the prefix goes there as it came, whatever the method."""
    app, plain = App(), Plain()
    app.mount("/sub", plain)
    async with TestClient(app, root_path=root_path) as client:
        raw = (root_path + target).encode()
        if b"%zz" in raw.partition(b"?")[0]:
            # What cannot be split into segments is refused before it is anybody's.
            assert (await client.get("/", extensions={"target": raw})).status_code == 400
            return
        for method in ("GET", "HEAD", "FOO", "OPTIONS"):
            response = await client.request(method, "/", extensions={"target": raw})
            assert response.status_code == 200
            scope = plain.scopes.pop()
            assert scope["root_path"] == root_path + "/sub"
            assert scope["raw_path"] == raw.partition(b"?")[0]
            assert scope["path"].startswith(root_path + "/sub")
            assert scope["method"] == method


@pytest.mark.parametrize("target", ["/subway", "/su", "/", "/x/sub", "/SUB"])
async def test_only_whole_segments_of_the_prefix_count(target: str) -> None:
    """What merely begins like the prefix is not below it."""
    app, plain = App(), Plain()
    app.mount("/sub", plain)
    async with TestClient(app) as client:
        assert (await client.get(target)).status_code == 404
    assert plain.scopes == []


@pytest.mark.parametrize("mounted_first", [True, False])
async def test_routes_below_the_prefix_win_and_longer_prefixes_too(mounted_first: bool) -> None:
    """A mount takes what no route takes; of two mounts the longer one, in any order; it takes all methods."""
    app, short, long = App(), Plain(), Plain()

    def routes() -> None:
        @app.get("/sub/route")
        async def handler() -> str:
            return "route"

    def mounts() -> None:
        app.mount("/sub", short)
        app.mount("/sub/deep", long)

    for register in (mounts, routes) if mounted_first else (routes, mounts):
        register()
    async with TestClient(app) as client:
        assert (await client.get("/sub/route")).text == "route"
        assert (await client.get("/sub/other")).text == "plain"
        assert len(short.scopes) == 1
        assert (await client.get("/sub/deep/x")).text == "plain"
        assert len(long.scopes) == 1
        assert (await client.post("/sub/route")).text == "plain"
        assert len(short.scopes) == 2


async def test_a_mounted_application_below_a_router() -> None:
    """Prefixes add up through routers."""
    app, router, plain = App(), Router(), Plain()
    app.mount("/a", router)
    router.mount("/b", plain)
    async with TestClient(app) as client:
        await client.get("/a/b/c")
    assert plain.scopes[0]["root_path"] == "/a/b"


def test_two_mounts_at_one_prefix_conflict() -> None:
    """The message names the lines that mount them."""
    app = App()
    app.mount("/sub", Plain())
    with pytest.raises(
        RouteConflict, match=r"(?s)Plain \(.*test_app_mount\.py:\d+\).*Plain \(.*test_app_mount\.py:\d+"
    ):
        app.mount("/sub", Plain())


# ---- lifespan


@both_servers
async def test_its_lifespan_runs_within_ours_and_its_state_is_its_own(link: bool) -> None:
    """Up after ours, down before it; its requests see its state and not ours."""
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[dict[str, str]]:
        log.append("up")
        yield {"ours": "x"}
        log.append("down")

    app, living = App(lifespan=lifespan), Living(log)
    app.mount("/sub", living)

    @app.get("/ours")
    async def ours(request: Request) -> list[str]:
        return sorted(request.state)

    async with TestClient(app, link=link) as client:
        assert log == ["up", "mounted up"]
        await client.get("/sub/")
        assert living.state == {"own": "mounted's"}
        living.state["changed"] = 1
        await client.get("/sub/")
        assert living.state == {"own": "mounted's"}
        assert (await client.get("/ours")).json() == ["ours"]
    assert log == ["up", "mounted up", "mounted down", "down"]


@pytest.mark.parametrize("mounted", [Plain(), Living([], fails="raise")], ids=["none", "raises"])
@both_servers
async def test_an_application_without_lifespan_is_tolerated(mounted: Any, link: bool) -> None:
    """One that raises before it has answered has none, as ASGI says."""
    app = App()
    app.mount("/sub", mounted)
    async with TestClient(app, link=link) as client:
        assert (await client.get("/sub/")).text == "plain"


@both_servers
async def test_its_startup_failure_is_ours(link: bool) -> None:
    """We do not start without it, say why, and what had started is left."""
    log: list[str] = []
    app = App()
    app.mount("/first", Living(log))
    app.mount("/sub", Living(log, fails="startup"))
    with pytest.raises(LifespanFailed, match=r"(?s)the application mounted at /sub did not start: no database"):
        async with TestClient(app, link=link):
            pass
    assert log in (["mounted up"], ["mounted up", "mounted down"])


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("shutdown", "did not stop cleanly: cannot flush"),
        ("crash", "the lifespan of the application mounted at /sub failed"),
    ],
)
async def test_what_fails_later_is_logged_and_we_go_on(
    fails: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A mounted application that breaks takes nothing else with it."""
    app = App()
    app.mount("/sub", Living([], fails=fails))

    @app.get("/")
    async def handler() -> str:
        return "here"

    async with TestClient(app) as client:
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.get("/")).text == "here"
    assert message in caplog.text


# ---- real ones


def starlette(log: list[str]) -> Starlette:
    async def page(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(f"{request.url.path} {request.url_for('page', name='x').path} {request.state.db}")

    async def echo(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def socket(websocket: StarletteWebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        log.append("starlette up")
        yield {"db": "its db"}
        log.append("starlette down")

    routes = [
        Route("/page/{name}", page, name="page"),
        Route("/echo", echo, methods=["POST"]),
        WebSocketRoute("/ws", socket),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


@both_servers
async def test_a_starlette_application(link: bool) -> None:
    """Routes, its own url_for, state, body, 404 and lifespan work at a prefix."""
    log: list[str] = []
    app = App()
    app.mount("/star", starlette(log))
    async with TestClient(app, link=link) as client:
        assert (await client.get("/star/page/a")).text == "/star/page/a /star/page/x its db"
        assert (await client.post("/star/echo", content=b"x" * 100_000)).text == "100000"
        response = await client.get("/star/missing")
        assert (response.status_code, response.text) == (404, "Not Found")
        assert (await client.get("/missing")).headers["content-type"] == "application/problem+json"
        assert log == ["starlette up"]
    assert log == ["starlette up", "starlette down"]


async def test_websockets_reach_a_mounted_application_and_are_refused_elsewhere() -> None:
    """The scope is passed on whole; where nothing is mounted the handshake is refused."""
    app = App()
    app.mount("/star", starlette([]))

    async def connect(path: str) -> list[str]:
        sent: list[str] = []
        events = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])

        async def receive() -> Any:
            return next(events)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "root_path": "", "headers": [],
            "query_string": b"", "scheme": "ws", "client": None, "server": None, "subprotocols": [], "extensions": {},
            "http_version": "1.1",
        }  # fmt: skip
        await app(scope, receive, send)
        return sent

    assert await connect("/star/ws") == ["websocket.accept", "websocket.close"]
    assert await connect("/elsewhere") == ["websocket.close"]


@both_servers
async def test_a_quart_trio_application(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """The way over for Quart users: both under one server, each with its own lifespan."""
    quart = QuartTrio(__name__)
    log: list[str] = []

    @quart.before_serving
    async def up() -> None:
        log.append("quart up")

    @quart.after_serving
    async def down() -> None:
        log.append("quart down")

    @quart.route("/sleep")
    async def sleep() -> str:
        await trio.sleep(2)
        return "slept"

    @quart.route("/echo", methods=["POST"])
    async def echo() -> bytes:
        from quart import request

        return await request.get_data()  # type: ignore[no-any-return]

    app = App()
    app.mount("/quart", quart)

    @app.get("/trivet")
    async def ours() -> str:
        return "ours"

    async with TestClient(app, link=link) as client:
        assert (await client.get("/quart/sleep")).text == "slept"
        assert (await client.post("/quart/echo", content=b"x" * 1000)).content == b"x" * 1000
        assert (await client.get("/quart/none")).status_code == 404
        assert (await client.get("/trivet")).text == "ours"
        assert log == ["quart up"]
    assert log == ["quart up", "quart down"]


@both_servers
async def test_another_trivet_application(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Its own options, catchers, state and tasks hold; url_for has the prefix; its 404 is its own."""
    done: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[dict[str, str]]:
        yield {"inner": "state"}

    inner = App(timeout=3, lifespan=lifespan, drain_timeout=1, cleanup_grace=1)

    @inner.get("/here/{x}")
    async def here(request: Request, x: str) -> str:
        return f"{request.path} {request.url_for(here, x=x)} {request.state['inner']}"

    @inner.get("/slow")
    async def slow() -> None:
        await trio.sleep(10)

    @inner.get("/dir/")
    async def directory() -> str:
        return ""

    @inner.get("/")
    async def front() -> str:
        return "front"

    @inner.get("/task")
    async def task() -> None:
        async def run() -> None:
            await trio.sleep(0.5)
            done.append("task")

        inner.tasks.start_soon(run)

    @inner.catch(404)
    async def missing(request: Request, exc: Any) -> tuple[int, str]:
        return 404, f"inner {request.path}"

    outer = App(timeout=30)
    outer.mount("/in", inner)
    async with TestClient(outer, link=link, root_path="/root") as client:
        assert (await client.get("/root/in/here/a%20b")).text == "/root/in/here/a b /root/in/here/a%20b state"
        assert (await client.get("/root/in/none")).text == "inner /root/in/none"
        assert (await client.get("/root/in/")).text == "front"
        assert (await client.get("/root/in")).headers["location"] == "/root/in/"
        assert (await client.get("/root/in/dir")).headers["location"] == "/root/in/dir/"
        start = trio.current_time()
        assert (await client.get("/root/in/slow")).status_code == 503
        assert trio.current_time() - start == pytest.approx(3)
        assert (await client.get("/root/in/task")).status_code == 204
    assert done == ["task"]


async def test_the_outer_application_decides_how_the_server_stops() -> None:
    """A mounted application's drain time is not the server's."""
    outer, inner = App(drain_timeout=60, cleanup_grace=7), App(drain_timeout=1, cleanup_grace=1)
    outer.mount("/in", inner)
    links: list[Any] = []

    async def spying(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            links.append(scope["extensions"]["trivet"])
        await outer(scope, receive, send)

    async with TestClient(spying):
        assert (links[0].drain_timeout, links[0].cleanup_grace) == (60, 7)


async def test_a_truncated_stream_of_a_mounted_application_stays_truncated(caplog: pytest.LogCaptureFixture) -> None:
    """The cut goes through to the server, middleware of the outer application or not."""
    import httpx
    from starlette.middleware.gzip import GZipMiddleware

    from trivet import Sink, Stream

    caplog.set_level(logging.CRITICAL)
    for wrap in (True, False):
        for link in (True, False):
            outer, inner = App(), App()
            outer.mount("/in", inner)
            if wrap:
                outer.wrap(GZipMiddleware)

            @inner.get("/")
            async def handler() -> Stream:
                async def feed(sink: Sink) -> None:
                    await sink.send("x" * 2000)
                    raise KeyError

                return Stream(feed, media_type="text/plain")

            async with TestClient(outer, link=link, raise_app_exceptions=False) as client:
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get("/in/")


@both_servers
async def test_those_that_have_started_shut_down_when_another_one_cannot_start(link: bool) -> None:
    """They get their `lifespan.shutdown`, and our own lifespan sees the error itself, in no group."""
    seen: list[str] = []

    async def first(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        seen.append((await receive())["type"])
        await trio.lowlevel.checkpoint()  # it has the time to clean up
        await send({"type": "lifespan.shutdown.complete"})
        seen.append("complete")

    async def second(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            seen.append(f"{type(error).__name__}: {error}")
            raise

    app = App(lifespan=lifespan)
    app.mount("/first", first)
    app.mount("/second", second)
    with pytest.raises(LifespanFailed):
        async with TestClient(app, link=link):
            pass
    assert seen == [
        "lifespan.shutdown",
        "complete",
        "MountedStartupFailed: the application mounted at /second did not start: no database",
    ]


async def test_what_fails_while_the_whole_is_cancelled_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    """A mounted application stands around what comes after it, and hides no error of that."""
    log: list[str] = []

    async def body() -> None:
        async with run_mounted(Living(log), {"type": "lifespan"}, "/below"):
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), trio.move_on_after(1):
        await body()
    assert log == ["mounted up"]
