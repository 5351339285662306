"""A client leaves, the deadline passes, or the server stops, at each step of a request: what follows, in which order.

Who is told, what the client sees meanwhile, and what is left. The steps: before the body, in it, entering a dependency,
in the handler, leaving a dependency, in the stream. In memory and over a socket, HTTP/1.1 and HTTP/2, under stock
hypercorn and our own server; after each no task, file or connection is left.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, Literal, TypeAlias

import pytest
import trio
import trio.testing

from tests.harness import SERVERS, serving
from tests.harness.serving import Client, Server
from tests.harness.sockets import SocketClient
from tests.live._http2 import http2
from trivet import App, Depends, RequestCancelled, Sink, Stream, UploadFile
from trivet._upload import IN_MEMORY
from trivet.testing import TestClient

pytestmark = [pytest.mark.live, pytest.mark.slow]

Protocol: TypeAlias = Literal["HTTP/1.1", "HTTP/2"]
Step: TypeAlias = Literal["before the body", "in the body", "entering", "handling", "leaving", "streaming"]

BEGIN = b'--X\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n' + b"x" * (IN_MEMORY + 1000)
END = b"\r\n--X--\r\n"
HEADERS = {"content-type": "multipart/form-data; boundary=X", "content-length": str(len(BEGIN + END))}

GRACE = 0.3
DEADLINE = 1.5


def told(error: BaseException) -> str:
    return error.reason if isinstance(error, RequestCancelled) else type(error).__name__


class Journey:
    """An application that stops at one step, and what happened until then and after."""

    def __init__(
        self, step: Step, timeout: float = 60, *, on_disconnect: Literal["cancel", "finish"] = "cancel"
    ) -> None:
        self.step = step
        self.log: list[str] = []
        self.there = trio.Event()
        self.go_on = trio.Event()
        self.app = App(
            timeout=timeout, cleanup_grace=GRACE, max_body=None, on_disconnect=on_disconnect, body_timeout=None
        )

        @asynccontextmanager
        async def outer() -> AsyncIterator[None]:
            self.log.append("outer in")
            if step == "before the body":
                self.there.set()
            try:
                yield
            except BaseException as error:
                self.log.append(f"outer told {told(error)}")
                raise
            finally:
                await trio.sleep(0.01)  # it has time: its scope is not cancelled; and nothing is answered before
                self.log.append("outer out")

        @asynccontextmanager
        async def inner(photo: UploadFile) -> AsyncIterator[int]:
            try:
                await self.stop("entering")
                self.log.append("inner in")
                yield photo.size
                self.log.append("inner leaves")
                await self.stop("leaving")
            except BaseException as error:
                self.log.append(f"inner told {told(error)}")
                raise
            finally:
                self.log.append("inner out")

        @self.app.post("/")
        async def handler(size: Annotated[int, Depends(inner)], o: Annotated[None, Depends(outer)]) -> str | Stream:
            try:
                await self.stop("handling")
            except trio.Cancelled:
                self.log.append("handler stopped")
                raise
            self.log.append("handled")
            return Stream(self.feed) if step == "streaming" else str(size)

    async def feed(self, sink: Sink) -> None:
        await sink.send("begun")
        try:
            self.there.set()
            await trio.sleep(DEADLINE + 0.2)
        except trio.Cancelled:
            self.log.append("stream stopped")
            raise
        await sink.send("-ended")
        self.log.append("fed")

    async def stop(self, step: Step) -> None:
        if step == self.step:
            self.there.set()
            await self.go_on.wait()


OPENED: ContextVar[list[Any]] = ContextVar("OPENED")
"""The temporary files of the server that this is set for: its tasks and threads inherit it."""


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note the temporary files that are opened."""
    really = tempfile.TemporaryFile

    def counted(*args: Any, **options: Any) -> Any:
        file = really(*args, **options)
        OPENED.get().append(file)
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", counted)


async def until(check: Callable[[], bool], seconds: float = 20) -> None:
    with trio.fail_after(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is in the server's hands
            await trio.sleep(0.01)


def held() -> tuple[int, int]:
    """Tasks and descriptors."""
    return trio.lowlevel.current_statistics().tasks_living, len(os.listdir("/proc/self/fd"))


def opening(client: Client, protocol: Protocol) -> AbstractAsyncContextManager[Any]:
    """Begin the request."""
    if protocol == "HTTP/1.1":
        return client.open("POST", "/", headers=HEADERS, upload=True)
    assert isinstance(client, SocketClient)
    return http2(client.address, "POST", "/", HEADERS)


def options_of(server: Server) -> dict[str, float]:
    """So that it stops soon: stock hypercorn waits for connections that say nothing."""
    options = {"memory": {}, "hypercorn": {"keep_alive_timeout": 0.2}, "trivet": {"cleanup_grace": GRACE}}
    return options[server]


async def reach(exchange: Any, journey: Journey) -> None:
    """Send as much of the request as leads to the step."""
    if journey.step != "before the body":
        await exchange.send_body(BEGIN)
    if journey.step not in ("before the body", "in the body"):
        await exchange.send_body(END)
        await exchange.end_body()
        await journey.there.wait()
    elif journey.step == "in the body":
        await until(lambda: len(OPENED.get()) == 1)
    else:
        await journey.there.wait()
    await trio.sleep(0.05)  # for what is still on its way through the kernel


async def answer(exchange: Any, journey: Journey) -> None:
    """Note what the client sees, and when."""
    with trio.fail_after(10):
        found = await exchange.head()
    status = found if isinstance(found, int) else found[0]
    journey.log.append(f"client: {status}")
    if status == 200:
        body = await exchange.read()
        journey.log.append(f"client: {body.decode()}" + ("" if exchange.complete else ", cut"))


class Together:
    """Where several tasks wait for each other."""

    def __init__(self, count: int) -> None:
        self.missing = count
        self.all_here = trio.Event()
        self.go_on = trio.Event()

    async def wait(self) -> None:
        """Be one of them."""
        self.missing -= 1
        if not self.missing:
            self.all_here.set()
        await self.go_on.wait()


async def travel(
    server: Server,
    journeys: list[Journey],
    then: Callable[[Any, Journey], Awaitable[None]],
    *,
    protocol: Protocol = "HTTP/1.1",
) -> dict[Step, list[str]]:
    """Send each request as far as its step, and see what happens `then`, and that nothing is left after.

    The steps wait, for the most part, so all are taken at once, each with an application and a server of its own.
    """
    started, ended = Together(len(journeys)), Together(len(journeys))

    async def one(journey: Journey) -> None:
        OPENED.set(files := list[Any]())
        async with serving(server, journey.app, **options_of(server)) as client:
            await client.get("/missing")
            await started.wait()
            async with opening(client, protocol) as exchange:
                await reach(exchange, journey)
                await then(exchange, journey)
            await until(lambda: all(file.closed for file in files))
            await ended.wait()
        assert len(files) == (journey.step != "before the body")

    async with trio.open_nursery() as nursery:
        for journey in journeys:
            nursery.start_soon(one, journey)
        await started.all_here.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        before = held()
        started.go_on.set()
        await ended.all_here.wait()
        await until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
        ended.go_on.set()
    return {journey.step: journey.log for journey in journeys}


ENTERED = ["outer in", "inner in"]

LEAVING: dict[Step, list[str]] = {
    "before the body": ["outer in", "outer told disconnected", "outer out"],
    "in the body": ["outer in", "outer told disconnected", "outer out"],
    "entering": ["outer in", "inner told Cancelled", "inner out", "outer told disconnected", "outer out"],
    "handling": [
        *ENTERED, "handler stopped", "inner told disconnected", "inner out", "outer told disconnected", "outer out",
    ],
    "leaving": [
        *ENTERED, "handled", "inner leaves", "inner told Cancelled", "inner out", "outer told disconnected",
        "outer out",
    ],
    "streaming": [
        *ENTERED, "handled", "stream stopped", "inner told disconnected", "inner out", "outer told disconnected",
        "outer out",
    ],
}  # fmt: skip

LATE: dict[Step, list[str]] = {
    "before the body": ["outer in", "outer told deadline", "outer out", "client: 408"],
    "in the body": ["outer in", "outer told deadline", "outer out", "client: 408"],
    "entering": ["outer in", "inner told Cancelled", "inner out", "outer told deadline", "outer out", "client: 503"],
    "handling": [
        *ENTERED, "handler stopped", "inner told deadline", "inner out", "outer told deadline", "outer out",
        "client: 503",
    ],
    "leaving": [
        *ENTERED, "handled", "inner leaves", "inner told Cancelled", "inner out", "outer told deadline", "outer out",
        "client: 503",
    ],
    "streaming": [
        *ENTERED, "handled", "client: 200", "fed", "inner leaves", "inner out", "outer out", "client: begun-ended",
    ],
}  # fmt: skip

ALL = ["inner leaves", "inner out", "outer out"]

FINISHED: dict[Step, list[str]] = {
    "before the body": ["outer in", "outer told ClientDisconnected", "outer out"],
    "in the body": ["outer in", "outer told ClientDisconnected", "outer out"],
    "entering": [*ENTERED, "handled", *ALL],
    "handling": [*ENTERED, "handled", *ALL],
    "leaving": [*ENTERED, "handled", *ALL],
    # There is nobody left to send to.
    "streaming": LEAVING["streaming"],
}

WAYS: list[tuple[Server, Protocol]] = [
    *((server, "HTTP/1.1") for server in SERVERS),
    ("hypercorn", "HTTP/2"),
    ("trivet", "HTTP/2"),
]
over_each = pytest.mark.parametrize(("server", "protocol"), WAYS, ids=[" ".join(way) for way in WAYS])


# Stock hypercorn's HTTP/2 never ends a write that begins when the client has closed the connection, as ours does soon
# after the reset; and at its stop it ends its own writer first, so that nobody sees an answer.
but_hypercorns_http2 = pytest.mark.parametrize(
    ("server", "protocol"),
    [way for way in WAYS if way != ("hypercorn", "HTTP/2")],
    ids=[" ".join(way) for way in WAYS if way != ("hypercorn", "HTTP/2")],
)


@over_each
async def test_a_client_leaves_at_each_step(server: Server, protocol: Protocol) -> None:
    """What runs forward is stopped; what was entered is told, innermost first, and has its grace; nothing is left."""

    async def leave(exchange: Any, journey: Journey) -> None:
        exchange.leave()
        await until(lambda: "outer out" in journey.log)

    assert await travel(server, [Journey(step) for step in LEAVING], leave, protocol=protocol) == LEAVING


@but_hypercorns_http2
async def test_a_client_leaves_and_the_request_is_finished(server: Server, protocol: Protocol) -> None:
    """With `on_disconnect="finish"` nothing is stopped but a stream; a body that ends half-way is an error."""

    async def leave(exchange: Any, journey: Journey) -> None:
        exchange.leave()
        await trio.sleep(0.05)
        journey.go_on.set()
        await until(lambda: "outer out" in journey.log)

    journeys = [Journey(step, on_disconnect="finish") for step in FINISHED]
    assert await travel(server, journeys, leave, protocol=protocol) == FINISHED


@over_each
async def test_the_deadline_passes_at_each_step(server: Server, protocol: Protocol) -> None:
    """The same, and then 408 where the body was waited for, else 503; a stream that has begun lives on.

    What is whole is answered when all have left; of a stream the client sees the end when they have.
    """
    journeys = [Journey(step, timeout=DEADLINE) for step in LATE]
    assert await travel(server, journeys, answer, protocol=protocol) == LATE


DRAINED: dict[Step, list[str]] = {
    step: [event.replace("deadline", "drained").replace("408", "503") for event in events]
    for step, events in LATE.items()
} | {
    "streaming": [
        *ENTERED, "handled", "client: 200", "stream stopped", "inner told drained", "inner out", "outer told drained",
        "outer out", "client: begun, cut",
    ],
}  # fmt: skip


@but_hypercorns_http2
async def test_the_server_stops_at_each_step(server: Server, protocol: Protocol) -> None:
    """When the drain time is over, the same as at a deadline, and a stream is cut: all leave before the server does.

    That holds where leaving takes all of the server's grace, which is no longer than the application's here. Stock
    hypercorn cancels everything from outside: a dependency that is being left is not reached by that, and has its
    deadline; the others are told that the request failed, for it might have been anybody's cancellation.
    """
    plain = server == "hypercorn"
    found: dict[Step, list[str]] = {}
    expected: dict[Step, list[str]] = {}

    async def one(step: Step) -> None:
        journey = Journey(step, timeout=DEADLINE if plain and step == "leaving" else 60)
        OPENED.set(files := list[Any]())

        async def ask(client: Client, task_status: trio.TaskStatus[None]) -> None:
            async with opening(client, protocol) as exchange:
                await reach(exchange, journey)
                task_status.started()
                await answer(exchange, journey)

        async with trio.open_nursery() as nursery:
            async with serving(server, journey.app, **options_of(server), drain_timeout=0.2) as client:
                await nursery.start(ask, client)
                if isinstance(client, TestClient):  # at the end of the block it leaves
                    client.drain()
                    client.cancel_requests()
                    await until(lambda: "outer out" in journey.log and journey.log[-1].startswith("client"))
            assert "outer out" in journey.log
        assert all(file.closed for file in files)
        reason = ("deadline" if step == "leaving" else "failed") if plain else "drained"
        expected[step] = [event.replace("drained", reason) for event in DRAINED[step]]
        found[step] = journey.log

    async with trio.open_nursery() as together:
        for step in DRAINED:
            together.start_soon(one, step)
    assert found == expected


class Kinds:
    """An application with dependencies of the other kinds, and what happened to them."""

    def __init__(self, timeout: float) -> None:
        self.log: list[str] = []
        self.there = trio.Event()
        self.app = App(timeout=timeout, cleanup_grace=GRACE, on_disconnect="cancel")

        @asynccontextmanager
        async def shared() -> AsyncIterator[None]:
            with self.noted("shared"):
                yield

        @contextmanager
        def threaded() -> Iterator[None]:  # in a worker thread, both halves
            with self.noted("threaded"):
                yield

        @asynccontextmanager
        async def handlers() -> AsyncIterator[None]:
            with self.noted("handler's"):
                yield

        a = Annotated[None, Depends(shared, scope="app")]
        t = Annotated[None, Depends(threaded)]
        h = Annotated[None, Depends(handlers, scope="handler")]

        async def scoped(held: h, thread: t, app: a, streams: bool = False) -> Stream | None:
            return await self.handle(streams=streams)

        async def nursery(nursery: trio.Nursery, thread: t, app: a, streams: bool = False) -> Stream | None:
            nursery.start_soon(self.child)
            return await self.handle(streams=streams)

        self.app.get("/scoped")(scoped)
        self.app.get("/nursery")(nursery)

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        self.log.append(f"{name} in")
        try:
            yield
        except BaseException as error:
            self.log.append(f"{name} told {told(error)}")
            raise
        finally:
            self.log.append(f"{name} out")

    async def child(self) -> None:
        with self.noted("child"):
            await trio.sleep_forever()

    async def handle(self, *, streams: bool) -> Stream | None:
        if streams:
            return Stream(self.feed)
        await self.wait()
        return None

    async def feed(self, sink: Sink) -> None:
        await sink.send("begun")
        await self.wait()

    async def wait(self) -> None:
        await trio.testing.wait_all_tasks_blocked()
        with self.noted("work"):
            self.there.set()
            await trio.sleep_forever()


def of_kinds(path: str, reason: str) -> list[str]:
    """What happens, in order."""
    told_so = [f"threaded told {reason}", "threaded out"]
    work = ["work in", "work told Cancelled", "work out"]
    if path.startswith("/nursery"):
        child = ["child told Cancelled", "child out"]
        return ["shared in", "threaded in", "child in", *work, *child, *told_so, "shared out"]
    if "streams" in path:  # what is the handler's alone has left before
        return ["shared in", "threaded in", "handler's in", "handler's out", *work, *told_so, "shared out"]
    handlers = [f"handler's told {reason}", "handler's out"]
    return ["shared in", "threaded in", "handler's in", *work, *handlers, *told_so, "shared out"]


@pytest.mark.parametrize("path", ["/scoped", "/scoped?streams=true", "/nursery", "/nursery?streams=true"])
@pytest.mark.parametrize("server", SERVERS)
async def test_a_client_leaves_dependencies_of_every_kind(server: Server, path: str) -> None:
    """In a thread, for the handler only, the handler's own nursery; what is the application's hears nothing of it."""
    kinds = Kinds(60)
    async with serving(server, kinds.app, **options_of(server)) as client, client.open("GET", path) as exchange:
        await kinds.there.wait()
        exchange.leave()
        await until(lambda: "threaded out" in kinds.log)
    assert kinds.log == of_kinds(path, "disconnected")


@pytest.mark.parametrize("path", ["/scoped", "/nursery"])
@pytest.mark.parametrize("server", SERVERS)
async def test_the_deadline_passes_for_dependencies_of_every_kind(server: Server, path: str) -> None:
    """The same, and the answer when all have left."""
    kinds = Kinds(DEADLINE / 2)
    async with serving(server, kinds.app, **options_of(server)) as client:
        assert (await client.get(path)).status_code == 503
        assert kinds.log[-1] == "threaded out"
    assert kinds.log == of_kinds(path, "deadline")
