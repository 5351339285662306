"""What a client and the log see is the same by whichever way a request comes: direct, ASGI in one step, ASGI at length.

Each request of a table goes all three ways. The long way is the one that requests which may wait take; somebody who
reads the access log makes sure of it.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet import HTML, JSON, App, Body, Depends, HTTPError, Redirect, Request, Response, Sink, Stream, Text
from trivet._app import Endpoint
from trivet._damping import Damper
from trivet.asgi import Answer, Door, Message, RawHeaders, Reason, Scope


class Color(Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: int


class Mine(Exception):
    pass


class Hopeless:
    pass


class Short(str):
    pass


class Ring(list[Any]):
    pass


async def feed(sink: Sink) -> None:
    await sink.send(b"one")
    await sink.send(b"two")


async def broken(sink: Sink) -> None:
    await sink.send(b"one")
    raise Mine("midway")


def cookies() -> Response:
    response = Text("hi")
    response.set_cookie("a", "b", max_age=5)
    response.delete_cookie("c")
    return response


def changed(body: Any = b"x", **headers: str) -> Response:
    response = Response(b"x")
    response.body = body
    response.headers.update(headers)
    return response


VALUES: list[Callable[[], Any]] = [
    lambda: "text",
    lambda: "",
    lambda: "ü",
    lambda: "\ud800",
    lambda: Short("sub"),
    lambda: b"bytes",
    lambda: bytearray(b"x"),
    lambda: None,
    lambda: {"a": 1},
    dict,
    lambda: [1, 2],
    lambda: ["x" * 1019],
    lambda: ["x" * 1020],
    lambda: ["x" * 1021],
    lambda: ["x" * 70_000],
    lambda: 1,
    lambda: True,
    lambda: 1.5,
    lambda: Point(1),
    lambda: Color.RED,
    lambda: UUID(int=0),
    lambda: {1},
    lambda: (201, "made"),
    lambda: (202, None),
    lambda: (404, {"a": 1}),
    lambda: (200, [1], {"x-a": "1"}),
    lambda: (418, Text("tea")),
    lambda: (200, "x", {"bad\n": "1"}),
    lambda: (204, "content"),
    lambda: (304, b""),
    lambda: (99, "x"),
    lambda: (1, 2, 3, 4),
    lambda: (200, (1, 2)),
    lambda: JSON(None),
    lambda: HTML("<p>", status=299),
    lambda: Redirect("/there"),
    lambda: Response(status=204),
    lambda: Response(status=304, headers={"content-length": "5", "etag": '"x"'}),
    lambda: Response(status=401),
    lambda: Response(b"x", headers={"content-length": "7"}),
    lambda: Response(b"x", headers={"transfer-encoding": "chunked"}),
    cookies,
    lambda: changed("not bytes"),
    lambda: changed(b"y", connection="close"),
    Hopeless,
    lambda: {"a": Hopeless()},
    lambda: {"a": "\ud800"},
    lambda: Point,
    lambda: ValueError("returned"),
    lambda: Stream(feed),
    lambda: Stream(feed, headers={"content-length": "6"}),
    lambda: Stream(feed, headers={"content-length": "5"}),
    lambda: Stream(broken),
    lambda: (204, Stream(feed)),
]
STREAM = -5
ERRORS: list[Callable[[], BaseException]] = [
    lambda: HTTPError(404, "nothing here"),
    lambda: HTTPError(401),
    lambda: HTTPError(503, headers={"retry-after": "3"}, shop="closed"),
    lambda: HTTPError(409, member=Hopeless()),
    lambda: Mine("a"),
    lambda: KeyError("a"),
    lambda: StopIteration("a"),
    lambda: GeneratorExit("a"),
    lambda: SystemExit(3),
    KeyboardInterrupt,
    trio.TooSlowError,
    lambda: ExceptionGroup("several", [HTTPError(404), Mine("b"), HTTPError(503)]),
    lambda: BaseExceptionGroup("bad", [SystemExit(1), Mine("b")]),
    lambda: UnicodeEncodeError("utf-8", "x", 0, 1, "no"),
]
marked: ContextVar[str] = ContextVar("marked", default="unset")


# Handlers name no function and no module, so they are taken for immediate; what they do is in the lists above.
async def returning(key: int) -> Any:
    return VALUES[key]()


async def raising(key: int) -> Any:
    raise ERRORS[key]()  # noqa: RSE102 - not only classes


async def static() -> str:
    return "static"


async def typed(
    number: float, flag: bool, ident: UUID, color: Color, mode: Literal["a", "b"], text: str
) -> dict[str, Any]:
    return {"number": number, "flag": flag, "ident": ident, "color": color, "mode": mode, "text": text}


async def rest(path: str) -> str:
    return path


async def query(
    name: str,
    page: int = 1,
    flags: list[bool] = [],  # noqa: B006 - it is copied
    color: Color | None = None,
) -> list[Any]:
    flags.append(True)
    return [name, page, flags, color]


async def asked(request: Request, name: str = "-") -> dict[str, Any]:
    return {
        "method": request.method,
        "path": request.path,
        "url": request.url,
        "query": request.query.multi_items(),
        "headers": list(request.headers.items()),
        "cookies": request.cookies,
        "client": request.client,
        "route": None if request.route is None else request.route.path,
        "state": request.state,
        "name": name,
        "params": dict(request.path_params),
        "ended": request.ended,
        "here": request.url_for("query"),
        "id": request.id,
    }


async def asked_and_failed(request: Request) -> None:
    request.state["seen"] = True
    raise Mine(request.id)


async def asked_and_streamed(request: Request) -> Stream:
    request.state["seen"] = True
    return VALUES[STREAM]()


class Page:
    def __init__(self, page: int = 1) -> None:
        if page > 5:
            raise HTTPError(416, "no such page")
        self.page = page


async def user(request: Request, token: str = "") -> str:
    if not token:
        raise HTTPError(401)
    return token


async def dependent(user: Annotated[str, Depends(user)], page: Annotated[Page, Depends(Page)]) -> list[Any]:
    return [user, page.page]


async def marking() -> None:
    marked.set("by the handler")
    raise Mine("look at the mark")


class Order(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


async def ordered(order: Order) -> Order:
    return order


async def ordered_at_length(order: Order) -> Order:
    await trio.lowlevel.checkpoint()
    return order


async def ordered_by(order: Order, user: Annotated[str, Depends(user)], request: Request, page: int = 1) -> list[Any]:
    return [order, user, page, request.headers.get("content-type"), request._body is not None]


async def maybe_ordered(order: Order | None = None) -> Order | None:
    return order


async def raw(data: Annotated[bytes, Body()]) -> bytes:
    return data[::-1]


async def failing(order: Order) -> None:
    raise Mine(order.name)


async def waiting() -> str:
    await trio.lowlevel.checkpoint()
    return "waited"


def threaded() -> str:
    return "thread"


async def on_mine(request: Request, error: Mine) -> Any:
    await trio.lowlevel.checkpoint()
    return 418, {"caught": str(error), "mark": marked.get(), "seen": request.state.get("seen")}


async def on_teapot(request: Request, error: HTTPError) -> Any:
    raise KeyError("the catcher fails")


async def mounted(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["root_path"].encode()})


IMMEDIATE = (
    ("/result/{key}", returning, {}),
    ("/made/{key}", returning, {"status": 201}),
    ("/error/{key}", raising, {}),
    ("/static", static, {}),
    ("/typed/{number}/{flag}/{ident}/{color}/{mode}/{text}", typed, {}),
    ("/rest/{path:path}", rest, {}),
    ("/query", query, {}),
    ("/asked/{key}", asked, {}),
    ("/asked-and-failed", asked_and_failed, {}),
    ("/asked-and-streamed", asked_and_streamed, {}),
    ("/dependent", dependent, {}),
    ("/marking", marking, {}),
)


BODIES: dict[str, Callable[..., Any]] = {
    "/ordered": ordered, "/ordered-by": ordered_by, "/maybe": maybe_ordered, "/raw": raw, "/failing": failing,
}  # fmt: skip


def build(kind: str) -> App:
    app = App(debug=kind == "debug")
    for path, handler, options in IMMEDIATE:
        if handler is asked:
            app.get("/asked", **options)(handler)
        else:
            app.get(path, **options)(handler)
    for path, handler in BODIES.items():
        app.post(path)(handler)
    app.post("/limited", max_body=20)(ordered)
    app.post("/length")(ordered_at_length)
    app.get("/waiting")(waiting)
    app.get("/threaded")(threaded)
    app.post("/static")(static)
    app.delete("/result/{key}")(returning)
    app.mount("/mounted", mounted)
    if kind == "catchers":
        app.catch(Mine)(on_mine)
        app.catch(401)(on_teapot)
    return app


def bodies() -> Iterator[tuple[str, str, bytes, RawHeaders]]:
    """Method, target, body, and what says what that is."""
    json_type = (b"content-type", b"application/json")
    types: tuple[RawHeaders, ...] = (
        [json_type], [], [(b"content-type", b"text/plain")], [json_type, (b"content-encoding", b"gzip")],
        [(b"content-type", b"application/problem+json; charset=utf-8")], [(b"content-type", b"application/msgpack")],
    )  # fmt: skip
    data = (
        b'{"name": "a"}', b'{"name": "a", "count": 0, "more": 1}', b'{"count": []}', b"[", b"null", b"", b" ",
        b'{"name": "\xff"}', b'{"name": "a longer name than some allow"}', msgspec.msgpack.encode({"name": "b"}),
    )  # fmt: skip
    for path in (*BODIES, "/ordered-by?token=t&page=2", "/ordered-by?token=t&page=x", "/limited", "/length", "/static"):
        for fields in types:
            for body in data:
                yield "POST", path, body, fields
    yield "GET", "/ordered", data[0], types[0]
    yield "HEAD", "/static", data[0], types[0]
    yield "POST", "/nothing", data[0], types[0]


def requests() -> Iterator[tuple[str, str]]:
    for number in range(len(VALUES)):
        yield "GET", f"/result/{number}"
        yield "HEAD", f"/result/{number}"
        yield "GET", f"/made/{number}"
    yield "DELETE", "/result/8"
    for number in range(len(ERRORS)):
        yield "GET", f"/error/{number}"
        yield "HEAD", f"/error/{number}"
    zero = UUID(int=0)
    for path in (
        "/static", "/static/", "/nothing", "/", "//", "*", "/st%61tic", "/%73tatic", "/static?a=%zz", "/result/999x",
        f"/typed/1.5/true/{zero}/red/a/x%2Fy", f"/typed/1e400/true/{zero}/red/a/x", f"/typed/1/yes/{zero}/red/a/x",
        f"/typed/1/true/{zero.hex}/red/a/x", f"/typed/-0.5/false/{zero}/red/b/caf%C3%A9",
        f"/typed/1/true/{zero}/blue/a/x", f"/typed/1/true/{zero}/red/c/x", "/typed/%ff", "/%ff", "/%zz", "/a%00",
        "/rest/a/b", "/rest/", "/rest/a%2Fb//", "/rest/%E2%82%AC", "/query", "/query?name=x", "/query?name=x&page=2",
        "/query?name=x&name=y", "/query?name=x&page=two&flags=no&color=blue", "/query?name=%ff", "/query?name=%z",
        "/query?name=a+b&flags=true&flags=false&color=red", "/query?" + "&".join("a=1" for _ in range(1001)),
        "/asked", "/asked?name=x&y=1", "/asked-and-failed", "/asked-and-streamed", "/dependent", "/dependent?token=t",
        "/dependent?token=t&page=9", "/dependent?token=t&page=x", "/marking", "/waiting", "/threaded", "/mounted",
        "/mounted/x", "/result/-0", "/result/00",
    ):  # fmt: skip
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PROPFIND"):
            yield method, path


@dataclass
class HeadOf:
    """A `trivet.asgi.Head`, as a server makes it."""

    made: Scope
    body: bytes = b""
    method: str = field(init=False)
    raw_path: bytes = field(init=False)
    query_string: bytes = field(init=False)
    headers: RawHeaders = field(init=False)

    def __post_init__(self) -> None:
        self.method, self.raw_path = self.made["method"], self.made["raw_path"]
        self.query_string, self.headers = self.made["query_string"], self.made["headers"]

    def scope(self) -> Scope:
        return self.made


class FakeLink:
    """The server's side of the extension."""

    def __init__(self) -> None:
        self.draining = trio.Event()
        self.send_timeout: float | None = None
        self.aborted = False

    def attach(self, cancel: Callable[[Reason], object]) -> None:
        pass

    def detach(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


Seen = tuple[Any, ...]


class Collector(logging.Handler):
    """What the log was told, less the access log."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != "trivet.access":
            error = record.exc_info[1] if record.exc_info else None
            self.seen.append((record.name, record.levelname, record.getMessage(), repr(error)))


@contextmanager
def collected(*, access: bool) -> Iterator[Collector]:
    collector, root, log = Collector(), logging.getLogger("trivet"), logging.getLogger("trivet.access")
    before = root.level, log.level
    root.setLevel(logging.DEBUG)
    log.setLevel(logging.INFO if access else logging.WARNING)
    root.addHandler(collector)
    try:
        yield collector
    finally:
        root.removeHandler(collector)
        root.setLevel(before[0])
        log.setLevel(before[1])


def scope_of(method: str, target: str, link: FakeLink | None, fields: RawHeaders | None = None) -> Scope:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"h"), (b"cookie", b"a=b"), (b"x-y", b"1"), (b"x-y", b"2"), *(fields or ())],
        "client": ("127.0.0.1", 4000),
        "server": ("127.0.0.1", 80),
        "state": {"of": "lifespan"},
        "extensions": {} if link is None else {"trivet": link},
    }


def readable(answer: Answer) -> tuple[Any, ...]:
    """An answer; of a traceback that `debug` shows, only what is the user's: the frames above differ, as they must."""
    status, headers, body = answer
    if b'"traceback"' not in body:
        return status, [field for field in headers if status != 500 or field[0] != b"content-length"], body
    problem = json.loads(body)
    problem["traceback"] = [line for line in problem["traceback"] if line[:4] != "    " and "/trivet/" not in line]
    return status, [field for field in headers if field[0] != b"content-length"], problem


async def through(
    app: App,
    method: str,
    target: str,
    door: Door | None,
    *,
    link: bool,
    access: bool,
    body: bytes = b"",
    fields: RawHeaders | None = None,
) -> Seen:
    """Serve one request as a server would; what came of it, and what was logged."""
    app._answerer._told = Damper()  # else the log is told of the first way alone
    there = FakeLink() if link else None
    scope = scope_of(method, target, there, fields)
    if body or fields:
        scope["headers"].append((b"content-length", b"%d" % len(body)))
    incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    messages: list[Message] = []
    answer: Answer | None = None
    raised: str | None = None
    served: Any = app

    async def receive() -> Message:
        if not incoming:
            await trio.sleep_forever()
        return incoming.pop()

    async def send(message: Message) -> None:
        messages.append(message)

    with collected(access=access) as log:
        if door is not None:
            found = copy_context().run(door, HeadOf(scope, body=body))
            if isinstance(found, tuple):
                answer = found
            elif found is not None:
                served = found
        if answer is None:
            try:
                await served(scope, receive, send)
            except BaseException as error:
                raised = repr(error)
            if messages:
                status, headers = messages[0]["status"], messages[0]["headers"]
                answer = status, headers, b"".join(each["body"] for each in messages[1:])
    ended = answer is not None and (not messages or not messages[-1].get("more_body", False))
    shown = None if answer is None else readable(answer)
    return shown, ended, raised, there is not None and there.aborted, log.seen


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("kind", ["plain", "catchers", "debug"])
async def test_every_way_in_gives_the_same_answer(kind: str, link: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status, header fields, body, how it ended, and each line of the log."""
    monkeypatch.setattr(uuid, "uuid4", lambda: UUID(int=7))
    app = build(kind)
    door = app.__trivet_door__()
    assert door is not None
    for method, target in requests():
        at_length = await through(app, method, target, None, link=link, access=True)
        assert at_length[0] is not None or at_length[2] is not None
        at_once = await through(app, method, target, None, link=link, access=False)
        direct = await through(app, method, target, door, link=link, access=False)
        assert at_once == at_length, (method, target)
        assert direct == at_length, (method, target)


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("kind", ["plain", "catchers"])
async def test_a_body_that_has_come_whole_gets_the_same_answer(
    kind: str, link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is read by the door, or received."""
    monkeypatch.setattr(uuid, "uuid4", lambda: UUID(int=7))
    app = build(kind)
    door = app.__trivet_door__()
    for method, target, body, fields in bodies():
        at_length = await through(app, method, target, None, link=link, access=True, body=body, fields=fields)
        direct = await through(app, method, target, door, link=link, access=False, body=body, fields=fields)
        assert direct == at_length, (method, target, body, fields)


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "BREW"]),
    path=st.lists(
        st.sampled_from(["", "/", "static", "result", "7", "%2F", "%", "%ff", "%c3%a9", "query", "rest", "é"])
    ),
    query=st.text(alphabet="name=&page%+12f;ü", max_size=20),
)
@settings(max_examples=300)
def test_odd_targets_get_the_same_answer(method: str, path: list[str], query: str) -> None:
    """Whatever the target is."""
    target = "/" + "/".join(path) + "?" + query

    async def both() -> None:
        app = ODD
        at_length = await through(app, method, target, None, link=True, access=True)
        direct = await through(app, method, target, app.__trivet_door__(), link=True, access=False)
        assert _without_id(direct) == _without_id(at_length)

    trio.run(both)


ODD = build("plain")


def _without_id(seen: Seen) -> Any:
    shown, *others = seen
    if shown is not None and b'"instance"' in shown[2]:
        problem = json.loads(shown[2])
        problem.pop("instance")
        shown = shown[0], problem
    return shown, others[:3], [entry[:2] for entry in others[3]]


async def test_the_table_goes_by_the_door() -> None:
    """What the parity test takes for immediate is answered by the door, or begun by it: else it would prove nothing."""
    app = build("plain")
    door = app.__trivet_door__()
    assert door is not None
    endpoints = [entry.value for entry in app._table.entries() if isinstance(entry.value, Endpoint)]
    assert {each.path for each in endpoints if each.door is None and each.registered.include_in_schema} == {
        "/waiting",
        "/threaded",
        "/length",
    }
    order = [(b"content-type", b"application/json")]
    for target, body, outcome in (
        ("/ordered", b'{"name": "a"}', tuple), ("/ordered-by?token=t", b'{"name": "a"}', tuple), ("/raw", b"x", tuple),
        ("/maybe", b"null", tuple), ("/ordered", b"[", Callable), ("/failing", b'{"name": "a"}', Callable),
        ("/limited", b'{"name": "of more than twenty bytes"}', Callable), ("/length", b'{"name": "a"}', type(None)),
        ("/ordered", b"", type(None)), ("/static", b"x", type(None)),
    ):  # fmt: skip
        assert isinstance(door(HeadOf(scope_of("POST", target, None, order), body=body)), outcome), target
    for target in ("/static", "/result/8", "/query?name=x", "/asked", "/dependent?token=t"):
        assert isinstance(door(HeadOf(scope_of("GET", target, None))), tuple), target
    for target in ("/error/0", "/result/49", "/query", "/asked-and-failed", "/result/3"):
        assert callable(door(HeadOf(scope_of("GET", target, None)))), target
    for target in ("/waiting", "/threaded", "/mounted", "/nothing", "/static/", "/%ff", "*"):
        assert door(HeadOf(scope_of("GET", target, None))) is None, target
