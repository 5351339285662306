"""The direct door: what may enter, what has begun is not begun again, and who is told what."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from typing import Annotated, Any

import pytest
import trio

from trivet import App, Depends, HTTPError, Request, Text
from trivet._immediate import is_immediate
from trivet.asgi import Answer, Door, Message, RawHeaders, Reason, Scope
from trivet.errors import RegistrationError

calls: list[str] = []
mark: ContextVar[str] = ContextVar("mark", default="unset")


class HeadOf:
    """A `trivet.asgi.Head`."""

    def __init__(self, path: str, method: str = "GET", **extensions: Any) -> None:
        self.method = method
        self.raw_path, _, self.query_string = path.encode().partition(b"?")
        self.headers: RawHeaders = [(b"host", b"h")]
        self.body = b""
        self.asked = 0
        self._scope: Scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": self.raw_path,
            "query_string": self.query_string, "headers": self.headers, "root_path": "", "scheme": "http",
            "extensions": extensions,
        }  # fmt: skip

    def scope(self) -> Scope:
        self.asked += 1
        return self._scope


def door_of(app: App) -> Door:
    door = app.__trivet_door__()
    assert door is not None
    return door


async def served(app: Callable[..., Awaitable[None]], head: HeadOf) -> Answer:
    """What an ASGI application answers."""
    messages: list[Message] = []

    async def receive() -> Message:
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        messages.append(message)

    await app(head.scope(), receive, send)
    return messages[0]["status"], messages[0]["headers"], b"".join(each["body"] for each in messages[1:])


async def hello(name: str) -> str:
    calls.append(name)
    return "hello"


async def failing() -> str:
    calls.append("failing")
    mark.set("set")
    raise HTTPError(409)


async def seen(request: Request) -> dict[str, Any]:
    calls.append(request.path)
    KEPT.append(request)
    return {"path": request.path}


KEPT: list[Request] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    KEPT.clear()


async def test_an_answer_comes_without_asking_for_the_scope() -> None:
    """A handler that takes path fields costs neither a scope nor a request."""
    app = App()
    app.get("/hello/{name}")(hello)
    head = HeadOf("/hello/you")
    assert door_of(app)(head) == (
        200,
        [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"5")],
        b"hello",
    )
    assert door_of(app)(HeadOf("/hello/you", "HEAD")) == (
        200,
        [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"5")],
        b"",
    )
    assert (head.asked, calls) == (0, ["you", "you"])


async def test_asgi_middleware_closes_the_door() -> None:
    """What is around the application has to see each request; so has an `__call__` of one's own."""

    class Mine(App):
        async def __call__(self, *args: Any) -> None:
            await super().__call__(*args)

    def wrapping(inner: Any) -> Any:
        return inner

    app = App()
    app.wrap(wrapping)
    assert app.__trivet_door__() is None
    assert Mine().__trivet_door__() is None
    assert App().__trivet_door__() is not None


async def test_the_door_freezes_the_table() -> None:
    """As startup does: a route that came later would not be there."""
    app = App()
    app.__trivet_door__()
    with pytest.raises(RegistrationError, match="too late"):
        app.get("/late")(hello)


async def test_a_reader_of_the_access_log_sees_each_request() -> None:
    """Its lines are written where ASGI's requests end; so the door lets nothing in while somebody reads them."""
    app = App()
    app.get("/hello/{name}")(hello)
    door, log = door_of(app), logging.getLogger("trivet.access")
    log.setLevel(logging.INFO)
    try:
        assert door(HeadOf("/hello/a")) is None
    finally:
        log.setLevel(logging.NOTSET)
    assert calls == []


async def test_a_write_deadline_of_ones_own_is_asgis() -> None:
    """A `send_timeout` other than the default is told to the server by the `Link`, which the door has not."""
    app = App()
    app.get("/hello/{name}", send_timeout=1)(hello)
    assert door_of(app)(HeadOf("/hello/a")) is None


async def test_what_failed_is_finished_and_not_run_again() -> None:
    """The application that comes back answers; it finds the context variables of the handler."""
    app = App()
    app.get("/failing")(failing)
    found: list[str] = []

    @app.catch(409)
    async def caught(request: Request, error: HTTPError) -> Text:
        await trio.lowlevel.checkpoint()
        found.append(mark.get())
        return Text("caught", status=299)

    head = HeadOf("/failing")
    rest = copy_context().run(door_of(app), head)
    assert calls == ["failing"]
    assert callable(rest)
    status, _, body = await served(rest, head)
    assert (status, body) == (299, b"caught")
    assert calls == ["failing"]
    assert found == ["set"]


async def test_a_request_that_is_kept_tells_how_it_ended() -> None:
    """It has its own link, its reason, and no body, for whoever reads it in the background."""
    app = App()
    app.get("/seen")(seen)
    link = Linked()
    assert isinstance(door_of(app)(HeadOf("/seen", trivet=link)), tuple)
    (request,) = KEPT
    assert request.ended == "returned"
    assert request.draining is link.draining
    assert await request.body() == b""


class Linked:
    """The server's side of the extension."""

    def __init__(self) -> None:
        self.draining = trio.Event()
        self.send_timeout: float | None = None
        self.attached: list[Callable[[Reason], object]] = []

    def attach(self, cancel: Callable[[Reason], object]) -> None:
        self.attached.append(cancel)

    def detach(self) -> None: ...

    def abort(self) -> None: ...


async def test_by_asgi_the_server_is_told_that_the_answer_is_on_its_way() -> None:
    """The step sets `send_timeout` and attaches, so that the end of a drain does not cut the answer."""
    app = App(send_timeout=3)
    app.get("/hello/{name}")(hello)
    link = Linked()
    assert (await served(app, HeadOf("/hello/a", trivet=link)))[0] == 200
    assert link.send_timeout == 3
    (cancel,) = link.attached
    cancel("drained")


async def swapped() -> str:
    calls.append("before")
    await trio.lowlevel.checkpoint()
    return "never"


async def innocent() -> str:
    return "here"


async def depends(value: Annotated[str, Depends(innocent)]) -> str:
    return value


@pytest.mark.parametrize("of", ["handler", "dependency"])
async def test_code_that_was_replaced_cannot_wait(of: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever replaces a handler's code behind our back gets a 500 that says so; nothing runs twice."""
    app = App()
    app.get("/here")(innocent if of == "handler" else depends)
    door, before = door_of(app), innocent.__code__
    innocent.__code__ = swapped.__code__
    try:
        head = HeadOf("/here")
        rest = door(head)
        assert callable(rest)
        assert (await served(rest, head))[0] == 500
    finally:
        innocent.__code__ = before
    assert calls == ["before"]
    assert "/here: a function without `await` has suspended" in caplog.text


async def names_a_later_function() -> object:
    return later()  # noqa: F821 - that is the point


async def imports() -> object:
    import trio

    return trio.current_time()


async def names_a_module() -> object:
    return trio.current_effective_deadline()


async def attribute_of_the_same_name(request: Request) -> object:
    return request.door_of  # type: ignore[attr-defined]


async def loops() -> list[int]:
    return [each for each in {1: 2}.values() if len(calls) < each] if calls else [1]


async def comprehends() -> list[int]:
    return [x async for x in swapped()]  # type: ignore[attr-defined]


async def generates() -> Any:
    yield 1


def plain() -> None: ...


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (hello, True),
        (failing, True),
        (seen, True),
        (attribute_of_the_same_name, True),
        (swapped, False),
        (names_a_later_function, False),
        (imports, False),
        (names_a_module, False),
        (comprehends, False),
        (generates, False),
        (plain, False),
        (trio.sleep, False),
        (HeadOf.scope, False),
        (lambda: hello("x"), False),
    ],
)
def test_what_counts_as_immediate(fn: Any, expected: bool) -> None:
    """No is the answer to all that may wait, look at its task, or is not there yet."""
    assert is_immediate(fn) is expected


async def test_the_judgement_is_of_the_start() -> None:
    """A function that a handler names is looked at when the application starts, not when the handler is registered."""
    app = App()
    app.get("/later")(names_a_later_function)
    globals()["later"] = list
    try:
        assert isinstance(door_of(app)(HeadOf("/later")), tuple)
    finally:
        del globals()["later"]


@pytest.mark.parametrize(("trusted", "declined"), [([], False), (["10.0.0.1"], True)])
async def test_a_peers_patience_is_looked_at_by_asgi(trusted: list[str], declined: bool) -> None:
    """The door leaves a request with `X-Request-Timeout-Ms` to it where somebody is trusted, and no other."""
    app = App(trusted=trusted)

    @app.get("/")
    async def hello() -> str:
        return "hello"

    door, head = door_of(app), HeadOf("/")
    assert door(head) is not None
    head.headers.append((b"x-request-timeout-ms", b"0"))
    assert (door(head) is None) is declined
