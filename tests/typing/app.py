"""What type checkers must conclude about code that uses trivet. Never run: pyright and mypy, both strict, check it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, assert_type

import msgspec
import trio

from trivet import (
    HTML,
    JSON,
    App,
    Body,
    Cookie,
    Depends,
    Event,
    EventSink,
    EventStream,
    File,
    Form,
    Header,
    HTTPError,
    Limit,
    Next,
    Query,
    Reason,
    Redirect,
    Request,
    RequestCancelled,
    Response,
    Router,
    Sink,
    Stream,
    Text,
    UploadFile,
)
from trivet.asgi import ASGIApp, Notice, Receive, Scope, Send
from trivet.contrib.static import StaticFiles


class Item(msgspec.Struct):
    name: str


@asynccontextmanager
async def lifespan(app: App) -> AsyncGenerator[Mapping[str, Any]]:
    yield {"db": 1}


@asynccontextmanager
async def lifespan_of_nothing(app: App) -> AsyncGenerator[None]:
    yield


app = App(timeout=10, on_disconnect="finish", lifespan=lifespan, slash="strict", tags=["a"], max_body=None)
App(lifespan=lifespan_of_nothing)
App(limit=Limit.adaptive(0.5, most=100, queue=10, wait=1.5))
App(limit=20)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
assert_type(Limit(20, 50, wait=2).concurrent, int)
App(timeout="10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
App(timeot=10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
App(on_disconnect="stop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Router(debug=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

# ---- decorators return the handler unchanged, types and all


@app.get("/{name}", timeout=2, status=201, name="hello")
async def hello(name: str, excited: bool = False) -> str:
    return name


@app.post("/items")
async def create(item: Item, request: Request, nursery: trio.Nursery) -> tuple[int, Item]:
    return 201, item


@app.put("/items")
@app.patch("/items/{id}")
@app.route("/brew", methods=["BREW"])
def threaded(id: int) -> dict[str, int]:  # noqa: A002
    return {"id": id}


async def check_decorators() -> None:
    assert_type(await hello("x"), str)
    assert_type(await hello(name="x", excited=True), str)
    assert_type(threaded(1), dict[str, int])
    await hello(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await hello()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@app.get("/x", timeot=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
async def unknown_option() -> None: ...


class Group:
    async def method(self, a: int) -> str:
        return ""

    async def __call__(self) -> bytes:
        return b""


assert_type(app.get("/method")(Group().method), Callable[[int], Any]) if False else None
app.get("/object")(Group())

# ---- dependencies


async def user(request: Request) -> str:
    return ""


@asynccontextmanager
async def session(name: Annotated[str, Depends(user)]) -> AsyncGenerator[Item]:
    yield Item(name)


@contextmanager
def blocking() -> Generator[int]:
    yield 1


@app.get("/dependencies", dependencies=[Depends(user)])
async def dependent(
    a: Annotated[Item, Depends(session)], b: Annotated[int, Depends(blocking)], c: Annotated[Item, Depends(Item)]
) -> str:
    assert_type(a, Item)
    assert_type(b, int)
    return a.name


@app.get("/pooled")
def scoped(
    a: Annotated[Item, Depends(session, scope="handler")], b: Annotated[int, Depends(blocking, scope="app")]
) -> bytes:
    assert_type(a, Item)
    assert_type(b, int)
    return b""


def check_dependencies(item: Item) -> None:
    # Handlers and providers are what they were: called by hand, they take and give what they say.
    assert_type(scoped(item, 5), bytes)
    scoped(item, "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with blocking() as number:
        assert_type(number, int)
    with app.override(user, lambda: "somebody") as override:
        override.undo()


async def check_providers(request: Request) -> None:
    assert_type(await user(request), str)
    async with session("x") as item:
        assert_type(item, Item)
    assert_type(await dependent(item, 1, item), str)


Depends(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Depends(user, scope="session")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
app.override(user, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# ---- markers


@app.post("/marked")
async def marked(
    item: Annotated[Item, Query()],
    photo: UploadFile,
    more: list[UploadFile],
    title: Annotated[str, Form(alias="t", max_parts=10)],
    session: Annotated[str | None, Cookie()] = None,
    user_agent: Annotated[list[str], Header()] = [],  # noqa: B006
) -> int:
    assert_type(item, Item)
    assert_type(session, str | None)
    assert_type(user_agent, list[str])
    assert_type(photo.filename, str)
    assert_type(photo.size, int)
    assert_type(await photo.read(), bytes)
    async for piece in more[0]:
        assert_type(piece, bytes)
    return photo.size


async def check_marked(item: Item, photo: UploadFile) -> None:
    assert_type(await marked(item, photo, [photo], "x"), int)
    await marked(item, photo, [photo], 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


Query("page")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Body(alias="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Form(max_files="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# ---- the request


async def of_request(request: Request) -> None:
    assert_type(request.method, str)
    assert_type(request.path, str)
    assert_type(request.raw_path, bytes)
    assert_type(request.url, str)
    assert_type(request.headers["x"], str)
    assert_type(request.headers.get("x"), str | None)
    assert_type(request.query.getlist("x"), list[str])
    assert_type(request.cookies, Mapping[str, str])
    assert_type(await request.body(), bytes)
    assert_type(await request.json(Item), Item)
    assert_type(await request.json(list[Item]), list[Item])
    assert_type(await request.json(), Any)
    async for chunk in request.stream():
        assert_type(chunk, bytes)
    form = await request.form(max_files=3)
    assert_type(form["x"], str | UploadFile)
    assert_type(form.getlist("x"), list[str | UploadFile])
    request.response_headers["x-a"] = "1"
    assert_type(request.deadline, float)
    assert_type(request.time_left(), float)
    assert_type(request.ended, Reason | None)
    assert_type(request.draining, Notice)
    assert_type(request.url_for(hello, name="x"), str)
    assert_type(request.url_for("hello", name="x"), str)
    if request.client is not None:
        assert_type(request.client.host, str)
        assert_type(request.client.port, int)
    if request.route is not None:
        assert_type(request.route.path, str)
    request.method.nothing  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore


# ---- results


def results() -> None:
    assert_type(JSON(Item("x")), JSON[Item])
    assert_type(JSON([1]), JSON[list[int]])
    response: Response = Text("x", status=201, headers={"a": "b"})
    response = HTML("x")
    response = Redirect("/")
    response.headers["x-a"] = "1"
    response.headers["x-a"] = 1  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
    response.set_cookie("a", "b", max_age=5, samesite="strict")
    response.set_cookie("a", samesite="no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(response.status, int)
    covariant: JSON[object] = JSON(Item("x"))
    del covariant
    Stream([b"x"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def feed(sink: Sink) -> None:
    await sink.send("text")
    await sink.send(b"bytes")
    await sink.send(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@app.get("/stream")
async def streaming() -> Stream:
    return Stream(feed, media_type="text/plain")


async def rows() -> AsyncIterator[Item]:
    yield Item("x")


async def feed_events(sink: EventSink) -> None:
    await sink.send("text")
    await sink.send(Item("x"))
    await sink.send(Event(Item("x"), event="e", id=7, retry=2.5, comment="c"))
    assert_type(sink.last_event_id, str | None)
    assert_type(sink.dropped, int)
    sink.dropped = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    Event("x", id=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(Event("x").json(Item), Item)


@app.get("/events")
async def streaming_events() -> EventStream | None:
    Stream(feed_events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventStream(feed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventStream(feed_events, slow="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventStream(rows)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventStream(rows(), slow="drop_oldest", buffer=1, heartbeat=None, on_drain="finish")
    Stream(rows(), media_type="application/jsonl")
    return EventStream(feed_events)


def errors() -> None:
    error = HTTPError(409, "in use", headers={"a": "b"}, users=["ann"])
    assert_type(error.status, int)
    HTTPError("409")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(RequestCancelled("deadline").reason, Reason)
    RequestCancelled("bored")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# ---- middleware, catchers, tasks, ASGI


@app.middleware
async def timing(request: Request, call_next: Next) -> Response:
    response = await call_next(request)
    assert_type(response, Response)
    return response


assert_type(timing, Callable[[Request, Next], Any]) if False else None


async def check_middleware(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> None:
    assert_type(await timing(request, call_next), Response)


@app.middleware  # type: ignore[type-var]
def not_async(request: Request, call_next: Next) -> Response:  # pyright: ignore[reportArgumentType]
    raise NotImplementedError


@app.catch(KeyError)
async def missing(request: Request, exc: KeyError, /) -> tuple[int, str]:
    return 404, str(exc)


@app.catch(404)
async def not_found(request: Request, exc: HTTPError, /) -> Response:
    return Text("x", status=exc.status)


async def check_catchers(request: Request) -> None:
    assert_type(await missing(request, KeyError()), tuple[int, str])


async def work(n: int, text: str) -> None: ...


def tasks() -> None:
    app.tasks.start_soon(work, 1, "x")
    app.tasks.start_soon(work, 1, "x", timeout=3, name="work")
    app.tasks.start_soon(work, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# ---- services


@app.service
async def plain_service() -> None: ...


@app.service(name="other", restart="always", backoff=0.5, max_backoff=10, max_restarts=None, drain_timeout=3)
async def named_service(n: Annotated[int, Depends(lambda: 1)], *, task_status: trio.TaskStatus[None]) -> str:
    task_status.started()
    return ""


assert_type(app.services[0].name, str)
assert_type(app.services[0].since, float | None)
assert_type(app.services[0].error, str | None)


@app.service  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue]
def blocking_service() -> None: ...


@app.service(restart="sometimes")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore
async def strange_service() -> None: ...


async def check_services() -> None:
    assert_type(await plain_service(), None)
    assert_type(await named_service(1, task_status=trio.TASK_STATUS_IGNORED), str)


class Wrapper:
    def __init__(self, app: ASGIApp, *, level: int = 1) -> None: ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


app.wrap(Wrapper, level=2)
app.mount("/api", Router())
app.mount("/asgi", Wrapper(app))
served: ASGIApp = app
assert_type(app.url_for(hello, name="x"), str)


# ---- files and preconditions


@app.get("/file")
async def file(request: Request, modified: datetime) -> Response:
    assert_type(request.check(etag='"1"', modified=modified), Response | None)
    request.check('"1"')  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    return request.check() or File("a.txt", download=True, filename="b.txt", headers={"cache-control": "no-store"})


static = StaticFiles(Path("public"), index=None, cache_control="max-age=1", timeout=3, tags=["a"])
static.get("/more/{name}")(hello)
app.mount("/static", static)
StaticFiles("public", debug=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
