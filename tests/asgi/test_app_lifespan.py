"""The application's life: startup and its failures, state, background tasks, and the order of leaving."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from tests.harness.cancelled import kept_cancellation
from trivet import App, Depends, Request
from trivet.errors import RegistrationError
from trivet.testing import LifespanFailed, TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


@both_servers
async def test_what_it_yields_is_request_state_copied(link: bool) -> None:
    """Each request has a copy to write to; what is in it is shared."""
    shared: list[int] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[dict[str, Any]]:
        yield {"shared": shared, "n": 1}

    app = App(lifespan=lifespan)

    @app.get("/")
    async def handler(request: Request) -> int:
        request.state["n"] += 1
        request.state["shared"].append(1)
        request.state["new"] = 1
        return request.state["n"]  # type: ignore[no-any-return]

    async with TestClient(app, link=link) as client:
        assert [(await client.get("/")).json() for _ in range(2)] == [2, 2]
    assert shared == [1, 1]


async def test_a_server_that_has_no_state_gets_by() -> None:
    """`state` is optional in ASGI: the application keeps its own."""

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[dict[str, Any]]:
        yield {"n": 1}

    app = App(lifespan=lifespan)

    @app.get("/")
    async def handler(request: Request) -> int:
        request.state["n"] += 1
        return request.state["n"]  # type: ignore[no-any-return]

    async def stateless(scope: Any, receive: Any, send: Any) -> None:
        scope.pop("state", None)
        await app(scope, receive, send)

    async with TestClient(stateless) as client:
        assert [(await client.get("/")).json() for _ in range(2)] == [2, 2]


async def test_without_lifespan_requests_are_served() -> None:
    """A server that runs no lifespan protocol gets answers, disconnects included; state is empty."""
    app = App(timeout=5)
    cancelled: list[str] = []

    @app.get("/")
    async def handler(request: Request) -> int:
        return len(request.state)

    @app.get("/wait")
    async def wait(request: Request) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(str(request.ended))

    async def no_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await app(scope, receive, send)

    async with TestClient(no_lifespan, link=False) as client:
        assert (await client.get("/")).json() == 0
        async with client.open("GET", "/wait") as exchange:
            await trio.testing.wait_all_tasks_blocked()
            exchange.leave()
            await exchange.wait_returned()
    assert cancelled == ["disconnected"]


@both_servers
async def test_a_startup_failure_is_sent_with_its_traceback(link: bool, caplog: pytest.LogCaptureFixture) -> None:
    """`startup.failed`, so that the server stops; the log has the traceback too, unless the server shows what it is
    sent."""

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        raise ConnectionRefusedError("no database")
        yield

    with pytest.raises(LifespanFailed, match=r"(?s)Traceback.*test_app_lifespan.*ConnectionRefusedError: no database"):
        async with TestClient(App(lifespan=lifespan), link=link):
            raise AssertionError("unreachable")
    assert ("the application failed in its startup" in caplog.text) is not link
    assert ("no database" in caplog.text) is not link


async def fails() -> None:
    raise ConnectionRefusedError("no database")


def fails_in_a_thread() -> None:
    raise ConnectionRefusedError("no database")


@pytest.mark.parametrize("provider", [fails, fails_in_a_thread])
async def test_a_startup_failure_is_traced_from_the_users_code_on(provider: Callable[[], Any]) -> None:
    """The frames before it are trivet's and Trio's, of which nothing can be learned; those within it stay. Where none
    is the user's there are all."""
    app = App()

    @app.get("/")
    async def index(it: Annotated[None, Depends(provider, scope="app")]) -> None: ...

    with pytest.raises(LifespanFailed) as caught:
        async with TestClient(app):
            raise AssertionError("unreachable")
    said = str(caught.value)
    files = re.findall(r'File "(.*)", line', said)
    assert [Path(file).name for file in files] == ["test_app_lifespan.py"], said
    assert said.rstrip().endswith("ConnectionRefusedError: no database")

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[Any]:
        yield 5

    with pytest.raises(LifespanFailed, match=r"_life\.py"):
        async with TestClient(App(lifespan=lifespan)):
            raise AssertionError("unreachable")


@pytest.mark.parametrize("state", [5, "text", ["a"]])
async def test_a_lifespan_yields_a_mapping_or_nothing(state: Any) -> None:
    """Anything else is a startup failure that shows the remedy; the lifespan is left."""
    left: list[bool] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[Any]:
        try:
            yield state
        finally:
            left.append(True)

    with pytest.raises(LifespanFailed, match=r'yield \{"db": db\}'):
        async with TestClient(App(lifespan=lifespan)):
            raise AssertionError("unreachable")
    assert left == [True]


async def test_asgi_middleware_that_cannot_be_made_is_a_startup_failure() -> None:
    """It is made when the table is frozen: a server that took that for "no lifespan" would answer nothing but 500."""

    def broken(app: Any) -> Any:
        raise ValueError("no key")

    app = App()
    app.wrap(broken)
    with pytest.raises(LifespanFailed, match=r"(?s)Traceback.*ValueError: no key"):
        async with TestClient(app):
            raise AssertionError("unreachable")


@both_servers
async def test_a_shutdown_failure_is_sent_with_its_traceback(link: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The server hears that we did not stop cleanly, and shows it if it knows trivet."""

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        yield
        raise KeyError("cannot flush")

    with pytest.raises(LifespanFailed, match="cannot flush"):
        async with TestClient(App(lifespan=lifespan), link=link):
            pass
    assert ("the application failed in its shutdown" in caplog.text) is not link
    assert ("cannot flush" in caplog.text) is not link


@both_servers
async def test_order_of_leaving(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Requests, then background tasks, then the lifespan."""
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        log.append("up")
        yield
        log.append("lifespan")

    app = App(lifespan=lifespan, drain_timeout=5)

    async def background() -> None:
        await trio.sleep(4)
        log.append("task")

    @app.get("/")
    async def handler(request: Request) -> str:
        app.tasks.start_soon(background)
        await trio.sleep(2)
        log.append("request")
        return ""

    async with TestClient(app, link=link) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/")
        await trio.sleep(1)
    assert log == ["up", "request", "task", "lifespan"]


class Lent:
    """What an application has taken, a lifespan and dependencies of both kinds, and what of that it has given back."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def app(self, *, last: Callable[..., Any] | None = None, **options: Any) -> App:
        @asynccontextmanager
        async def lifespan(app: App) -> AsyncIterator[None]:
            async with self.noted("lifespan"):
                yield

        @asynccontextmanager
        async def outer() -> AsyncIterator[int]:
            async with self.noted("outer"):
                yield 1

        @contextmanager
        def threaded(outer: Annotated[int, Depends(outer, scope="app")]) -> Iterator[int]:
            try:
                yield 2
            finally:
                self.log.append("threaded")

        @asynccontextmanager
        async def inner(threaded: Annotated[int, Depends(threaded, scope="app")]) -> AsyncIterator[int]:
            async with self.noted("inner"):
                yield 3

        @asynccontextmanager
        async def nothing(inner: Annotated[int, Depends(inner, scope="app")]) -> AsyncIterator[int]:
            yield 4

        app = App(lifespan=lifespan, **options)

        @app.get("/")
        async def handler(
            first: Annotated[int, Depends(inner, scope="app")],
            last: Annotated[int, Depends(last or nothing, scope="app")],
        ) -> None: ...

        return app

    @asynccontextmanager
    async def noted(self, name: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await trio.lowlevel.checkpoint()
            self.log.append(name)


@both_servers
async def test_what_was_entered_is_left_when_all_is_cancelled(link: bool) -> None:
    """Whether while the application runs or before it has started, and whatever a dependency waits for."""
    everything = ["inner", "threaded", "outer", "lifespan"]
    lent = Lent()
    with trio.CancelScope() as scope:
        async with TestClient(lent.app(), link=link):
            scope.cancel()
            await trio.sleep_forever()
    assert lent.log == everything

    async def connecting() -> int:
        scope.cancel()
        await trio.sleep_forever()
        raise AssertionError

    lent = Lent()
    with trio.CancelScope() as scope:
        async with TestClient(lent.app(last=connecting), link=link):
            raise AssertionError
    assert lent.log == everything


@both_servers
async def test_what_is_left_then_has_its_grace(
    link: bool, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And no more; what it was in has its own."""

    @asynccontextmanager
    async def slow(seconds: float) -> AsyncIterator[float]:
        try:
            yield seconds
        finally:
            await trio.sleep(seconds)
            left.append(seconds)

    @asynccontextmanager
    async def stuck() -> AsyncIterator[float]:
        async with slow(2), slow(3):
            yield 0

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        async with slow(4):
            yield

    left: list[float] = []
    app = App(lifespan=lifespan, cleanup_grace=4.5)

    @app.get("/")
    async def handler(stuck: Annotated[float, Depends(stuck, scope="app")]) -> None: ...

    with trio.move_on_after(1):
        async with TestClient(app, link=link):
            began = trio.current_time()
            await trio.sleep_forever()
    assert left == [3, 4]
    assert trio.current_time() - began == pytest.approx(1 + 4.5 + 4)
    assert re.findall(r"the dependency .*stuck.* was not left within cleanup_grace = 4.5 s", caplog.text)


@both_servers
async def test_no_dependency_hides_why_the_application_did_not_start(link: bool) -> None:
    """It sees the error at its `yield`; if it swallows that, the error goes on all the same."""

    @asynccontextmanager
    async def swallowing() -> AsyncIterator[int]:
        try:
            yield 1
        except ValueError as error:
            seen.append(error)

    async def failing(_: Annotated[int, Depends(swallowing, scope="app")]) -> int:
        raise ValueError("no database")

    seen: list[ValueError] = []
    app = App()

    @app.get("/")
    async def handler(failing: Annotated[int, Depends(failing, scope="app")]) -> None: ...

    with pytest.raises(LifespanFailed, match="ValueError: no database"):
        async with TestClient(app, link=link):
            pass
    assert len(seen) == 1


# ---- app.tasks


@both_servers
async def test_a_task_outlives_its_request(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """The answer does not wait for it, and a client that leaves does not stop it."""
    app, done = App(), list[int]()

    async def work(n: int) -> None:
        await trio.sleep(3)
        done.append(n)

    @app.post("/{n}")
    async def handler(n: int) -> tuple[int, None]:
        app.tasks.start_soon(work, n)
        return 202, None

    async with TestClient(app, link=link) as client:
        start = trio.current_time()
        assert (await client.post("/7")).status_code == 202
        assert trio.current_time() == start
        await trio.sleep(5)
        assert done == [7]


@pytest.mark.parametrize(
    "error", [KeyError("x"), ExceptionGroup("g", [KeyError("x")]), BaseExceptionGroup("g", [KeyError("x")])]
)
async def test_a_task_that_fails_is_logged_and_takes_nothing_with_it(
    error: Exception, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """With its name and traceback; the others go on."""
    app, done = App(), list[int]()

    async def failing() -> None:
        raise error

    async def work() -> None:
        await trio.sleep(1)
        done.append(1)

    @app.get("/")
    async def handler() -> str:
        app.tasks.start_soon(work)
        app.tasks.start_soon(failing)
        return "x"

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "x"
        await trio.sleep(2)
        assert (await client.get("/")).text == "x"
    assert len(done) == 2
    first, _ = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "failing" in first.getMessage()
    assert first.exc_info


async def test_tasks_are_drained_then_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """At shutdown each has `drain_timeout` to end by itself; cleanup still runs after that."""
    app, log = App(drain_timeout=3), list[str]()

    async def work(name: str, seconds: float) -> None:
        try:
            await trio.sleep(seconds)
            log.append(f"{name} done")
        except trio.Cancelled:
            log.append(f"{name} cancelled")
            raise

    async with TestClient(app):
        app.tasks.start_soon(work, "quick", 2)
        app.tasks.start_soon(work, "slow", 100)
        start = trio.current_time()
    assert log == ["quick done", "slow cancelled"]
    assert trio.current_time() - start == pytest.approx(3)


async def test_tasks_have_the_time_that_server_and_application_agree_on(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An operator may know better; and what is mounted goes with the rest."""
    inner, app = App(drain_timeout=100, cleanup_grace=100), App(drain_timeout=30, cleanup_grace=20)
    app.mount("/inner", inner)

    async def operated(scope: Any, receive: Any, send: Any) -> None:
        async def sends(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                scope["extensions"]["trivet"].drain_timeout = 3
                scope["extensions"]["trivet"].cleanup_grace = 2
            await send(message)

        await app(scope, receive, sends if scope["type"] == "lifespan" else send)

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(6)

    async with TestClient(operated):
        inner.tasks.start_soon(trio.sleep_forever)
        app.tasks.start_soon(stubborn, name="stubborn")
        start = trio.current_time()
    assert trio.current_time() - start == pytest.approx(6)  # both are waited for at the same time
    assert "after drain_timeout = 3 s: stubborn" in caplog.text
    assert "have not ended 2 s after they were cancelled: stubborn" in caplog.text


async def test_how_tasks_end_is_counted(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each once: it returned, failed, took longer than its own `timeout`, or was stopped by the shutdown."""
    app = App(drain_timeout=3)
    tasks = app.tasks

    async def failing() -> None:
        raise KeyError("x")

    async def failing_when_stopped() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("y")

    def counts() -> tuple[int, ...]:
        return tasks.running, tasks.completed, tasks.failed, tasks.timed_out, tasks.cancelled

    async with TestClient(app):
        tasks.start_soon(trio.sleep, 1, timeout=2)
        tasks.start_soon(failing)
        tasks.start_soon(trio.sleep, 10, timeout=2)
        tasks.start_soon(failing_when_stopped, timeout=2)
        tasks.start_soon(trio.sleep, 100)
        tasks.start_soon(trio.sleep, 6)
        assert counts() == (6, 0, 0, 0, 0)
        await trio.sleep(5)
        assert counts() == (2, 1, 2, 1, 0)
    assert counts() == (0, 2, 2, 1, 1)
    assert caplog.text.count("failed") == 2
    assert "it took longer than timeout = 2 s" in caplog.text


async def test_a_task_that_is_cancelled_may_return_all_the_same(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It has done what it had to do, be it after its `timeout` or in the shutdown; and what stopped it first counts."""
    app = App(drain_timeout=1)
    tasks = app.tasks

    async def work(seconds: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    async def slow_to_end(seconds: float) -> None:
        try:
            await trio.sleep_forever()
        finally:
            await work(seconds)

    async with TestClient(app):
        tasks.start_soon(work, 2, timeout=1)
        await trio.sleep(3)
        assert (tasks.completed, tasks.timed_out, tasks.cancelled) == (1, 0, 0)
        tasks.start_soon(slow_to_end, 3, timeout=1)
        tasks.start_soon(slow_to_end, 0, timeout=90)
        tasks.start_soon(work, 4)
        await trio.sleep(1)
    assert (tasks.completed, tasks.timed_out, tasks.cancelled) == (2, 1, 1)
    assert "it took longer than timeout = 1 s" in caplog.text


@pytest.mark.parametrize("timeout", [None, 90])
async def test_a_task_whose_scope_is_cancelled_is_one_that_was_cancelled(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, timeout: float | None
) -> None:
    """Nobody is told that it took too long, for it has not."""
    app = App()
    async with TestClient(app):
        app.tasks.start_soon(trio.sleep_forever, timeout=timeout)
        await trio.sleep(1)
        app.tasks.current[0].scope.cancel()
        await trio.sleep(1)
        assert (app.tasks.running, app.tasks.timed_out, app.tasks.cancelled) == (0, 0, 1)
    assert not caplog.records


async def test_tasks_can_be_seen(autojump_clock: trio.testing.MockClock) -> None:
    """What they are called, since when they run, and until when they may; Trio's own tasks have the same names."""
    app = App(timeout=1)

    @app.post("/")
    async def handler() -> None:
        app.tasks.start_soon(trio.sleep, 5, timeout=50, name="mail to ada")
        app.tasks.start_soon(partial(trio.sleep, 5))

    async with TestClient(app) as client:
        now = trio.current_time()
        await client.post("/")
        mail, other = app.tasks.current
        assert (mail.name, mail.since, mail.deadline) == ("mail to ada", now, now + 50)
        assert (other.name, other.since, other.deadline) == ("sleep", now, math.inf)
        assert app.tasks.nursery is not None
        assert {task.name for task in app.tasks.nursery.child_tasks} == {"mail to ada", "sleep"}
        await trio.sleep(4.5)
        assert app.tasks.running == 2
    assert app.tasks.current == ()


async def test_tasks_need_a_running_application() -> None:
    """Before startup and after shutdown it is an error that says why."""
    app = App()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="while the application is not running"):
            app.tasks.start_soon(trio.sleep, 1)
        async with TestClient(app):
            app.tasks.start_soon(trio.sleep, 0)


async def test_draining_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """`request.draining` is set when the server begins to stop, so that a long answer can come to its end."""
    app, log = App(), list[str]()

    @app.get("/")
    async def handler(request: Request) -> str:
        assert not request.draining.is_set()
        await request.draining.wait()
        log.append("told")
        return "x"

    async with TestClient(app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/")
        await trio.sleep(1)
        client.drain()
    assert log == ["told"]


@pytest.mark.parametrize(
    "options",
    [
        {"slash": "both"}, {"timeout": 0}, {"timeout": -1}, {"timeout": "3"}, {"timeout": True},
        {"timeout": float("nan")}, {"send_timeout": 0}, {"body_timeout": 0}, {"max_body": -1}, {"max_body": 1.5},
        {"max_body": True}, {"on_disconnect": "ignore"}, {"on_disconnect": None}, {"cleanup_grace": -1},
        {"cleanup_grace": None}, {"cleanup_grace": float("inf")}, {"drain_timeout": "1"}, {"timeot": 3},
        {"middleware": "x"}, {"tags": "x"}, {"dependencies": 5},
    ],
)  # fmt: skip
def test_options_of_the_application_are_checked(options: dict[str, Any]) -> None:
    """A value that an option does not take is refused where it is written, with the remedy."""
    with pytest.raises(RegistrationError):
        App(**options)


@pytest.mark.parametrize("error", [SystemExit(3), BaseExceptionGroup("g", [SystemExit(3)])])
async def test_an_exit_in_a_task_is_a_failure_of_that_task(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a handler: it is logged, and the server lives."""
    app = App()

    async def leaving() -> None:
        raise error

    @app.get("/")
    async def handler() -> str:
        app.tasks.start_soon(leaving)
        return "lives"

    async with TestClient(app) as client:
        for _ in range(2):
            assert (await client.get("/")).text == "lives"
            await trio.testing.wait_all_tasks_blocked()
    assert caplog.text.count("failed") == 2


def test_what_cannot_be_a_lifespan() -> None:
    """It is refused where it is given, with the remedy; at startup Python would only name a protocol."""

    async def generator(app: App) -> AsyncIterator[None]:
        yield

    async def coroutine(app: App) -> None: ...

    @contextmanager
    def blocking(app: App) -> Iterator[None]:
        yield

    for wrong in (generator, coroutine, blocking, 5):
        with pytest.raises(RegistrationError, match="@asynccontextmanager"):
            App(lifespan=wrong)  # type: ignore[arg-type]
    App(lifespan=asynccontextmanager(generator))


class Unusual(BaseException):
    """As asyncio's CancelledError is."""


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_task_fails_alone_whatever_it_raises(grouped: bool, autojump_clock: trio.testing.MockClock) -> None:
    """An exception that is no `Exception`, or a cancellation that was kept, would else end all that is running."""
    app, done = App(), list[int]()

    def raised(error: BaseException) -> BaseException:
        return BaseExceptionGroup("", [error, KeyError()]) if grouped else error

    async def unusual() -> None:
        raise raised(Unusual())

    async def keeper() -> None:
        raise raised(await kept_cancellation())

    async def good() -> None:
        await trio.sleep(2)
        done.append(1)

    async with TestClient(app):
        for task in (good, unusual, keeper):
            app.tasks.start_soon(task)
    assert (done, app.tasks.failed, app.tasks.completed, app.tasks.cancelled) == ([1], 2, 1, 0)


async def test_a_task_that_does_not_end_keeps_nothing_else(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It has `cleanup_grace` once it is cancelled; then services are stopped, although it is in a thread, say."""
    app, log = App(drain_timeout=3, cleanup_grace=2), list[float]()

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    @app.service
    async def service() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append(trio.current_time())

    async with TestClient(app):
        app.tasks.start_soon(stubborn, name="stubborn")
        began = trio.current_time()
    assert (log, trio.current_time()) == ([began + 5], began + 30)
    assert "background tasks have not ended 2 s after they were cancelled: stubborn" in caplog.text


@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan")])
async def test_the_timeout_of_a_task_is_a_number_of_seconds(timeout: Any) -> None:
    """Refused by who starts it."""
    app = App()
    async with TestClient(app):
        with pytest.raises(ValueError, match=r"timeout=.*, which no task could meet"):
            app.tasks.start_soon(trio.sleep, 1, timeout=timeout)
