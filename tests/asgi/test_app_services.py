"""Services: started in order, started again when they fail, stopped in reverse, and what they may depend on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from tests.harness.cancelled import kept_cancellation
from trivet import App, Depends, Request, RequestCancelled, Router
from trivet._patience import Patience
from trivet.asgi import EXTENSION
from trivet.contrib.periodic import every
from trivet.errors import RegistrationError
from trivet.testing import LifespanFailed, TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])
Status = trio.TaskStatus[None]


def longest(app: App) -> None:
    """Let the pauses between restarts be as long as they can."""
    app._supervisor.random.random = lambda: 1.0  # type: ignore[method-assign]


def states(app: App) -> dict[str, str]:
    return {each.name: each.state for each in app.services}


def ready(app: App) -> bool:
    """As a call, or a type checker would think that it cannot change."""
    return app.ready


# ---- starting


@both_servers
async def test_services_start_in_order_and_the_startup_waits_for_each(
    link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """After the lifespan and the app-scoped dependencies; one that takes `task_status` says when it is ready."""
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        log.append("lifespan")
        yield

    @asynccontextmanager
    async def shared() -> AsyncIterator[int]:
        log.append("shared")
        yield 5

    app = App(lifespan=lifespan)

    @app.service
    async def first(n: Annotated[int, Depends(shared, scope="app")], task_status: Status) -> None:
        await trio.sleep(3)
        log.append(f"first {n}")
        assert states(app) == {"first": "starting", "second": "stopped"}
        task_status.started()
        await trio.sleep_forever()

    @app.service(name="second")
    async def other() -> None:
        log.append("second")
        await trio.sleep_forever()

    assert states(app) == {"first": "stopped", "second": "stopped"}
    began = trio.current_time()
    async with TestClient(app, link=link):
        log.append("serving")
        await trio.testing.wait_all_tasks_blocked()
        assert states(app) == {"first": "running", "second": "running"}
        assert app.services[0].since == began + 3
        assert ready(app)
    assert not ready(app)
    assert states(app) == {"first": "stopped", "second": "stopped"}
    assert log[:3] == ["lifespan", "shared", "first 5"]
    assert sorted(log[3:]) == ["second", "serving"]


async def fails_early(task_status: Status) -> None:
    raise ConnectionRefusedError("no queue")


async def returns_early(*, task_status: Status = trio.TASK_STATUS_IGNORED) -> None: ...


async def leaves_early(task_status: Status) -> None:
    raise SystemExit(3)


async def no_value() -> int:
    raise ConnectionRefusedError("no value")


async def needs_what_fails(n: Annotated[int, Depends(no_value)]) -> None: ...


@both_servers
@pytest.mark.parametrize(
    ("service", "said"),
    [
        (fails_early, "ConnectionRefusedError: no queue"),
        (returns_early, r"ended before it had called task_status.started"),
        (leaves_early, r"(?s)SystemExit: 3.*ended before it had called task_status.started"),
        (needs_what_fails, "ConnectionRefusedError: no value"),
    ],
)
async def test_a_service_that_fails_before_it_is_started_fails_the_startup(service: Any, said: str, link: bool) -> None:
    """It is not started again, and what was started before it is stopped."""
    app, log = App(), list[str]()

    @app.service
    async def before() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("stopped")

    app.service(service)
    with pytest.raises(LifespanFailed, match=said) as caught:
        async with TestClient(app, link=link):
            raise AssertionError("unreachable")
    assert "ExceptionGroup" not in str(caught.value)
    assert log == ["stopped"]
    assert states(app) == {"before": "stopped", service.__name__: "failed"}


async def test_started_is_called_once(autojump_clock: trio.testing.MockClock) -> None:
    """As Trio has it: the second call is an error of the service."""
    app, log = App(), list[str]()

    @app.service
    async def eager(task_status: Status) -> None:
        task_status.started()
        try:
            task_status.started()
        except RuntimeError as error:
            log.append(str(error))

    async with TestClient(app):
        await trio.testing.wait_all_tasks_blocked()
    assert "called twice" in log[0]


# ---- restarts


async def test_a_service_that_fails_is_started_again(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After pauses that double up to a bound; what it depends on is made anew, and the failure stays to be seen."""
    app = App()
    longest(app)
    began: list[float] = []
    made: list[str] = []

    @asynccontextmanager
    async def connection() -> AsyncIterator[int]:
        made.append("open")
        try:
            yield len(made)
        except KeyError as error:
            made.append(f"closed by {error!r}")
            raise

    @app.service(backoff=2, max_backoff=5)
    async def flaky(n: Annotated[int, Depends(connection)]) -> None:
        began.append(trio.current_time())
        if len(began) < 5:
            raise KeyError("x")
        await trio.sleep_forever()

    async with TestClient(app):
        (shown,) = app.services
        await trio.testing.wait_all_tasks_blocked()
        assert (shown.state, shown.restarts, shown.error) == ("backing-off", 0, "KeyError: 'x'")
        assert ready(app)
        await trio.sleep(20)
        assert (shown.state, shown.restarts, shown.error) == ("running", 4, "KeyError: 'x'")
    assert [after - before for before, after in pairwise(began)] == [2, 4, 5, 5]
    assert made == ["open", "closed by KeyError('x')"] * 4 + ["open"]
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 4
    assert all("flaky" in record.getMessage() for record in failures)


async def test_a_failure_that_repeats_is_one_line(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With the root of it; the traceback is there once, once more after a good run, and when the service gives up."""
    app, runs, port = App(), list[float](), iter(range(40000, 50000))
    longest(app)

    async def connect() -> None:
        try:
            raise ConnectionRefusedError(f"refused at {next(port)}")
        except OSError as error:
            raise RuntimeError("the database is away\nand so is its log") from error

    @app.service(max_restarts=4, backoff=1, reset_after=10)
    async def refresh() -> None:
        runs.append(trio.current_time())
        if len(runs) == 3:
            raise KeyError("x")
        if len(runs) == 5:
            await trio.sleep(20)
        await connect()

    with pytest.raises(LifespanFailed):
        async with TestClient(app):
            await trio.sleep(1000)
    said = [record for record in caplog.records if record.name == "trivet.services"]
    again = "the service refresh failed again; it is started again in"
    away = "RuntimeError: the database is away (from ConnectionRefusedError: refused at"
    assert [(record.getMessage(), bool(record.exc_info)) for record in said] == [
        ("the service refresh failed; it is started again in 1.00 s", True),
        (f"{again} 2.00 s: {away} 40001)", False),
        ("the service refresh failed; it is started again in 4.00 s", True),  # another one
        (f"{again} 8.00 s: {away} 40002)", False),
        ("the service refresh failed; it is started again in 1.00 s", True),  # after a good run
        (f"{again} 2.00 s: {away} 40004)", False),
        (f"{again} 4.00 s: {away} 40005)", False),
        (f"{again} 8.00 s: {away} 40006)", False),
        ("the service refresh gave up (restarts: 8), and the application with it", True),
    ]


@pytest.mark.parametrize(
    ("restart", "fails", "runs", "state"),
    [
        ("never", False, 1, "stopped"),
        ("on-failure", False, 1, "stopped"),
        ("always", False, 6, "running"),
        ("always", True, 6, "running"),
        ("on-failure", True, 6, "running"),
    ],
)
async def test_which_ends_are_followed_by_a_restart(
    restart: Any, fails: bool, runs: int, state: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Five runs that end at once, and one that does not."""
    app, begun = App(), list[int]()

    @app.service(restart=restart, max_backoff=1)
    async def service() -> None:
        begun.append(1)
        if len(begun) == 6:
            await trio.sleep_forever()
        if fails:
            raise ValueError

    async with TestClient(app):
        await trio.sleep(100)
        assert states(app) == {"service": state}
        assert ready(app)
    assert len(begun) == runs


@pytest.mark.parametrize(
    ("options", "runs", "fails"),
    [
        ({"restart": "never"}, 1, True),
        ({"max_restarts": 2}, 3, True),
        ({"max_restarts": 0}, 1, True),
        ({"max_restarts": 2, "restart": "always"}, 3, False),
    ],
)
async def test_one_that_gives_up_stops_the_server(
    options: Any, runs: int, fails: bool, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is asked to end with a failure, which a test client does; until then requests are served."""
    app, begun = App(), list[int]()

    @app.get("/")
    async def handler() -> str:
        return "served"

    @app.service(**options)
    async def broken() -> None:
        begun.append(1)
        await trio.sleep(1)
        if fails:
            raise KeyError("for good")

    with pytest.raises(LifespanFailed, match="gave up"):  # noqa: PT012 - it is raised by the end of the block
        async with TestClient(app) as client:
            await trio.sleep(1000)
            assert states(app) == {"broken": "failed"}
            assert app.services[0].error is not None
            assert not ready(app)
            assert (await client.get("/")).text == "served"
    assert len(begun) == runs
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL] == [
        f"the service broken gave up (restarts: {runs - 1}), and the application with it"
    ]


@both_servers
async def test_one_that_gives_up_before_all_have_started_fails_the_startup(
    link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """At once, for the next one may wait for it for ever; what was started is left in order, with its grace."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def connection() -> AsyncIterator[None]:
        try:
            yield
        except RequestCancelled as error:
            log.append(f"connection: {error.reason}")
            raise

    @app.service
    async def before(on: Annotated[None, Depends(connection)]) -> None:
        await trio.sleep_forever()

    @app.service(restart="never")
    async def fails() -> None:
        await trio.sleep(1)
        raise ConnectionResetError("the queue is gone")

    @app.service
    async def waits(task_status: Status) -> None:
        await trio.sleep_forever()

    @app.service
    async def last() -> None:
        log.append("last")

    began = trio.current_time()
    with trio.fail_after(100), pytest.raises(LifespanFailed, match=r"(?s)the queue is gone.*fails gave up before"):
        async with TestClient(app, link=link):
            raise AssertionError("unreachable")
    assert trio.current_time() - began == 1
    assert log == ["connection: drained"]
    assert states(app) == {"before": "stopped", "fails": "failed", "waits": "stopped", "last": "stopped"}


async def test_a_cancellation_that_was_kept_is_a_failure(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """No scope would catch it: all that the application consists of would end, and the server go on without it."""
    app = App()

    @app.service(max_restarts=1)
    async def keeper() -> None:
        raise await kept_cancellation()

    @app.service
    async def other() -> None:
        await trio.sleep_forever()

    with pytest.raises(LifespanFailed, match="gave up"):  # noqa: PT012 - it is raised by the end of the block
        async with TestClient(app):
            await trio.sleep(10)
            assert states(app) == {"keeper": "failed", "other": "running"}
    assert "the service keeper gave up" in caplog.text


async def test_where_the_server_cannot_be_stopped_the_application_is_not_ready(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Under a server that does not know trivet it is logged, and `app.ready` says so."""
    app = App()

    @app.service(restart="never")
    async def broken() -> None:
        await trio.sleep(1)
        raise KeyError("for good")

    async with TestClient(app, link=False):
        await trio.sleep(2)
        assert not ready(app)
    assert "gave up" in caplog.text


async def test_a_run_that_went_well_ends_the_row(autojump_clock: trio.testing.MockClock) -> None:
    """One failure an hour is no reason to give up, however many hours."""
    app, begun = App(), list[float]()
    longest(app)

    @app.service(max_restarts=1, reset_after=3600)
    async def hourly() -> None:
        begun.append(trio.current_time())
        await trio.sleep(3600)
        raise KeyError

    async with TestClient(app):
        await trio.sleep(3601 * 10)
        assert ready(app)
    assert [after - before for before, after in pairwise(begun)] == [3601] * 10


async def test_a_long_start_is_no_run_that_went_well(autojump_clock: trio.testing.MockClock) -> None:
    """What counts is the time since it was started, not since its start began."""
    app, begun = App(), list[int]()

    @app.service(max_restarts=1, reset_after=3600)
    async def slow_start(task_status: Status) -> None:
        begun.append(1)
        await trio.sleep(3600)
        task_status.started()
        raise KeyError

    with pytest.raises(LifespanFailed, match="gave up"):
        async with TestClient(app):
            await trio.sleep(3601 * 10)
    assert len(begun) == 2


async def test_a_service_that_fails_takes_no_other_with_it(autojump_clock: trio.testing.MockClock) -> None:
    """Nor a request: each is a task of its own."""
    app, log = App(), list[str]()

    @app.service
    async def steady() -> None:
        await trio.sleep(10)
        log.append("steady")

    @app.service
    async def flaky() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError

    @app.get("/")
    async def handler() -> str:
        await trio.sleep(10)
        return "answered"

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "answered"
    assert log == ["steady"]


async def test_asyncio_in_a_service_is_explained_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """As in a handler."""
    app = App()

    @app.service
    async def sleepy() -> None:
        await asyncio.sleep(1)

    async with TestClient(app):
        await trio.testing.wait_all_tasks_blocked()
    assert "trio.sleep(...) stands for asyncio.sleep(...)" in caplog.text


# ---- stopping


@both_servers
async def test_order_of_leaving(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Requests, tasks, services in reverse, app-scoped dependencies, the lifespan."""
    log: list[str] = []

    @contextmanager
    def noted(name: str) -> Iterator[None]:
        try:
            yield
        finally:
            log.append(name)

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        with noted("lifespan"):
            yield

    @asynccontextmanager
    async def shared() -> AsyncIterator[None]:
        with noted("app-scoped"):
            yield

    app = App(lifespan=lifespan, drain_timeout=5)

    @app.service
    async def first(it: Annotated[None, Depends(shared, scope="app")]) -> None:
        with noted("first"):
            await trio.sleep_forever()

    @app.service
    async def second() -> None:
        with noted("second"):
            await trio.sleep_forever()

    async def background() -> None:
        with noted("task"):
            await trio.sleep(4)

    @app.get("/")
    async def handler() -> str:
        with noted("request"):
            app.tasks.start_soon(background)
            await trio.sleep(2)
        return ""

    async with TestClient(app, link=link) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.get, "/")
        await trio.sleep(1)
    assert log == ["request", "task", "second", "first", "app-scoped", "lifespan"]


@both_servers
async def test_tasks_of_mounted_applications_end_before_services_of_others(
    link: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Tasks of all levels are told, and waited for together; then services stop, from the outermost application on."""
    log: list[str] = []
    middle = App(drain_timeout=3)

    async def around(scope: Any, receive: Any, send: Any) -> None:  # what is mounted need not be ours
        await middle(scope, receive, send)

    inner, app = App(drain_timeout=5), App(drain_timeout=2)
    middle.mount("/inner", inner)
    app.mount("/middle", around)

    def populate(each: App, name: str) -> None:
        async def service() -> None:
            try:
                await trio.sleep_forever()
            finally:
                log.append(f"service of {name}")

        each.service(service)

    async def background(each: App, name: str) -> None:
        await each.draining.wait()
        began = trio.current_time()
        try:
            await trio.sleep(4)
        finally:
            log.append(f"task of {name}, {trio.current_time() - began:.0f}")

    apps = {"app": app, "middle": middle, "inner": inner}
    for name, each in apps.items():
        populate(each, name)
    async with TestClient(app, link=link):
        for name, each in apps.items():
            each.tasks.start_soon(background, each, name)
        await trio.testing.wait_all_tasks_blocked()
    # With a server that knows us the outermost application's time is everybody's.
    took = {"app": 2, "middle": 2, "inner": 2} if link else {"app": 2, "middle": 3, "inner": 4}
    assert sorted(log[:3]) == sorted(f"task of {name}, {seconds}" for name, seconds in took.items())
    assert log[3:] == ["service of app", "service of middle", "service of inner"]
    async with TestClient(app, link=link):  # once more: all of them can be started, and are waited for
        inner.tasks.start_soon(background, inner, "inner again")
        await trio.testing.wait_all_tasks_blocked()
    assert log[6:8] == [f"task of inner again, {took['inner']}", "service of app"]


async def test_the_dependencies_of_a_run_have_their_grace(autojump_clock: trio.testing.MockClock) -> None:
    """The service is cancelled; what it depends on sees an ordinary exception, and may wait."""
    app, log = App(cleanup_grace=5), list[str]()

    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        try:
            yield
        except RequestCancelled as error:
            await trio.sleep(4)
            log.append(f"rolled back, {error.reason}")
            raise

    @app.service
    async def service(on: Annotated[None, Depends(transaction)]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            log.append("cancelled")
            raise

    async with TestClient(app):
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
    assert log == ["cancelled", "rolled back, drained"]
    assert trio.current_time() - began == 4
    assert app.services[0].error is None


async def test_one_that_returns_as_it_was_told_is_not_started_again(autojump_clock: trio.testing.MockClock) -> None:
    """While requests still drain, for longer than all of its restarts would take: it would give up."""
    app, runs = App(timeout=1000, drain_timeout=1000), list[int]()

    @app.service(restart="always", backoff=0)
    async def worker() -> None:
        runs.append(1)
        await app.draining.wait()

    @app.get("/")
    async def handler(request: Request) -> str:
        await request.draining.wait()
        await trio.sleep(500)
        return states(app)["worker"]

    async with TestClient(app) as client, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def ask() -> None:
            answers.append((await client.get("/")).text)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        client.drain()
    assert (answers, len(runs)) == (["stopped"], 1)


async def test_one_that_ends_by_itself_is_given_time(autojump_clock: trio.testing.MockClock) -> None:
    """`app.draining` tells it; with a `drain_timeout` it is waited for, and it is not started again."""
    app, log = App(), list[str]()

    @app.service(drain_timeout=10, restart="always")
    async def worker() -> None:
        log.append("begins")
        await app.draining.wait()
        await trio.sleep(3)
        log.append("last job done")

    @app.service(drain_timeout=2)
    async def stuck() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("cancelled")

    async with TestClient(app):
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
    assert log == ["begins", "cancelled", "last job done"]
    assert trio.current_time() - began == 3


async def test_it_is_told_as_soon_as_the_drain_begins() -> None:
    """While requests are still answered: a service can stop taking in work then."""
    app, log = App(), list[str]()

    @app.service
    async def worker() -> None:
        await app.draining.wait()
        log.append("told")

    @app.get("/")
    async def handler() -> list[str]:
        return log

    async with TestClient(app) as client:
        assert ready(app)
        client.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert not ready(app)
        assert (await client.get("/")).json() == ["told"]


async def test_the_log_says_for_whom_a_stop_waits(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for the tasks and one for a service, when it is their turn; none for who has ended, or need not wait."""
    caplog.set_level(logging.INFO)
    app = App(drain_timeout=3)

    @app.service(drain_timeout=5)
    async def resend() -> None:
        await trio.sleep_forever()

    @app.service(drain_timeout=5)
    async def ends() -> None:
        await app.draining.wait()

    @app.service
    async def need_not() -> None:
        await trio.sleep_forever()

    def waits() -> list[str]:
        return [message for each in caplog.records if (message := each.getMessage()).startswith("waiting")]

    async with TestClient(app):
        for number in range(7):
            app.tasks.start_soon(trio.sleep, 1, name=f"task {number}")
    tasks = "task 0, task 1, task 2, task 3, task 4 and 2 more"
    assert waits() == [f"waiting up to 3 s for background tasks: {tasks}", "waiting up to 5 s for the service resend"]
    caplog.clear()
    async with TestClient(App()):
        pass
    assert waits() == []


async def test_who_is_out_of_patience_is_not_told_of_waits(caplog: pytest.LogCaptureFixture) -> None:
    """There are none."""
    caplog.set_level(logging.INFO)
    patience = Patience()
    patience.lose()
    with patience.within(5, "somebody"):
        await trio.sleep_forever()
    assert caplog.records == []


async def test_a_loop_that_ends_with_the_drain_does_not_hold_it_up(autojump_clock: trio.testing.MockClock) -> None:
    """What it does is finished; the next time is not waited for."""
    app, done = App(), list[int]()

    @app.service(drain_timeout=50)
    async def resend() -> None:
        async for tick in every(60, until=app.draining):
            await trio.sleep(10)
            done.append(tick.number)

    async with TestClient(app):
        await trio.sleep(65)
        before = trio.current_time()
    assert done == [1, 2]
    assert trio.current_time() - before == 5
    async with TestClient(app):
        await trio.sleep(30)
        before = trio.current_time()
    assert trio.current_time() - before == 0


async def test_one_that_waits_to_be_started_again_is_not(autojump_clock: trio.testing.MockClock) -> None:
    """The shutdown ends the pause."""
    app, begun = App(), list[int]()
    longest(app)

    @app.service(backoff=50)
    async def flaky() -> None:
        begun.append(1)
        raise KeyError

    async with TestClient(app):
        await trio.sleep(1)
        began = trio.current_time()
    assert (begun, trio.current_time() - began) == ([1], 0)


async def test_one_that_does_not_end_does_not_keep_the_others(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged and left behind; the server's own bound is for it."""
    app, log = App(cleanup_grace=2), list[tuple[str, float]]()

    @app.service
    async def polite() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append(("polite", trio.current_time()))

    @app.service
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
        log.append(("stubborn", trio.current_time()))

    async with TestClient(app):
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
    assert log == [("polite", began + 2), ("stubborn", began + 30)]
    assert "the service stubborn has not ended 2 s after it was cancelled" in caplog.text


async def test_a_failure_while_it_is_stopped_is_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It neither fails the shutdown nor starts anything again."""
    app = App()

    @app.service
    async def careless() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("flush")

    async with TestClient(app):
        await trio.testing.wait_all_tasks_blocked()
    assert "the service careless failed while it was stopped" in caplog.text
    assert (app.services[0].state, app.services[0].error) == ("stopped", "KeyError: 'flush'")


async def test_a_hard_stop_takes_all_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Where the server cancels the lifespan itself there is no order and no grace; nothing is left, nothing failed."""
    app, log = App(), list[str]()

    @app.service
    async def first() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("first")

    started = trio.Event()

    async def receive() -> dict[str, Any]:
        if not started.is_set():
            return {"type": "lifespan.startup"}
        return await trio.sleep_forever()

    async def send(message: Any) -> None:
        assert message == {"type": "lifespan.startup.complete"}
        started.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, {"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
        await started.wait()
        app.tasks.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert log == ["first"]
    assert states(app) == {"first": "stopped"}
    assert (app.services[0].error, app.tasks.cancelled, app.tasks.completed) == (None, 1, 0)
    assert caplog.records == []


# ---- what they depend on


async def test_a_service_has_a_nursery(autojump_clock: trio.testing.MockClock) -> None:
    """As a handler does: it returns, and the service goes on until its tasks have ended."""
    app, log = App(), list[str]()

    async def child() -> None:
        await trio.sleep(5)
        log.append("child")

    @app.service
    async def parent(nursery: trio.Nursery) -> None:
        nursery.start_soon(child)

    async with TestClient(app):
        await trio.sleep(1)
        assert states(app) == {"parent": "running"}
        await trio.sleep(5)
        assert states(app) == {"parent": "stopped"}
    assert log == ["child"]


async def test_what_it_depends_on_can_be_overridden(autojump_clock: trio.testing.MockClock) -> None:
    """What is made for each run, from its next run on; what is app-scoped, before the application starts."""
    app, seen = App(), list[tuple[str, str]]()

    async def address() -> str:
        return "real address"

    async def connection() -> str:
        return "real connection"

    async def fake() -> str:
        return "fake"

    @app.service(restart="always", backoff=0)
    async def service(
        at: Annotated[str, Depends(address, scope="app")], on: Annotated[str, Depends(connection)]
    ) -> None:
        seen.append((at, on))
        await trio.sleep(1)

    with app.override(address, fake):
        async with TestClient(app):
            await trio.sleep(0.5)
            with app.override(connection, fake):
                await trio.sleep(1)
            await trio.sleep(1)
    assert seen == [("fake", "real connection"), ("fake", "fake"), ("fake", "real connection")]


async def test_a_mounted_router_brings_its_services(autojump_clock: trio.testing.MockClock) -> None:
    """At whatever depth, registered before or after; one that is mounted twice brings them once."""
    app, inner, outer, log = App(), Router(), Router(), list[str]()

    @inner.service
    async def before() -> None:
        log.append("before")

    outer.mount("/inner", inner)
    app.mount("/a", outer)
    app.mount("/b", outer)

    @inner.service
    async def after() -> None:
        log.append("after")

    async with TestClient(app):
        await trio.testing.wait_all_tasks_blocked()
    assert sorted(log) == ["after", "before"]
    assert [each.name for each in app.services] == ["before", "after"]


async def test_services_of_a_mounted_application_are_its_own() -> None:
    """They start before those of the outer one; if one gives up, the outer one is not ready either."""
    app, inner, log, go = App(), App(), list[str](), trio.Event()
    app.mount("/inner", inner)

    @app.service
    async def outside() -> None:
        log.append("outside")

    @inner.service(restart="never")
    async def inside(task_status: Status) -> None:
        log.append("inside")
        task_status.started()
        await go.wait()
        raise KeyError

    with pytest.raises(LifespanFailed, match="gave up"):  # noqa: PT012 - it is raised by the end of the block
        async with TestClient(app):
            go.set()
            await trio.testing.wait_all_tasks_blocked()
            assert not ready(app)
    assert log == ["inside", "outside"]
    assert states(app) == {"outside": "stopped"}


async def test_an_application_that_is_mounted_twice_lives_once(autojump_clock: trio.testing.MockClock) -> None:
    """One lifespan, one of each service, and an end: both places are the same application."""
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[dict[str, int]]:
        log.append("lifespan")
        yield {"n": 5}

    app, inner = App(), App(lifespan=lifespan)
    app.mount("/one", inner)
    app.mount("/two", inner)

    @inner.service
    async def inside() -> None:
        log.append("service")
        await trio.sleep_forever()

    @inner.get("/")
    async def state(request: Request) -> int:
        return int(request.state["n"])

    async with TestClient(app) as client:
        assert [(await client.get(f"/{place}/")).text for place in ("one", "two")] == ["5", "5"]
        began = trio.current_time()
    assert (log, trio.current_time() - began) == (["lifespan", "service"], 0)


async def test_an_application_whose_services_run_is_not_started_again(autojump_clock: trio.testing.MockClock) -> None:
    """Mounted in two others it would be: its services would take each other's place, and never end."""
    app, left, right, inner = App(), App(), App(), App()
    inner.service(trio.sleep_forever)
    for place, outer in (("/left", left), ("/right", right)):
        outer.mount("/inner", inner)
        app.mount(place, outer)
    with pytest.raises(LifespanFailed, match="the application was started while it runs"):
        async with TestClient(app):
            raise AssertionError("unreachable")
    assert states(inner) == {"sleep_forever": "stopped"}


async def test_a_service_starts_tasks(autojump_clock: trio.testing.MockClock) -> None:
    """From its first moment on, and while requests and tasks are drained; what comes later is refused."""
    app, log = App(drain_timeout=5), list[str]()

    async def work(name: str) -> None:
        await trio.sleep(2)
        log.append(name)

    @app.service
    async def service(task_status: Status) -> None:
        app.tasks.start_soon(work, "in the startup")
        task_status.started()
        await app.draining.wait()
        app.tasks.start_soon(work, "in the drain")
        try:
            await trio.sleep_forever()
        finally:
            with pytest.raises(RuntimeError, match="when the tasks had been waited for"):
                app.tasks.start_soon(work, "too late")

    async with TestClient(app) as client:
        await trio.sleep(1)
        client.drain()
    assert log == ["in the startup", "in the drain"]
    assert app.services[0].error is None


async def test_an_application_can_be_started_again(autojump_clock: trio.testing.MockClock) -> None:
    """Its services too; what was counted begins anew."""
    app, begun = App(), list[int]()

    @app.service(backoff=0)
    async def flaky() -> None:
        begun.append(1)
        if len(begun) % 2:
            raise KeyError
        await trio.sleep_forever()

    for _ in range(2):
        async with TestClient(app):
            await trio.sleep(1)
            assert (app.services[0].state, app.services[0].restarts) == ("running", 1)


async def test_without_lifespan_there_are_no_services() -> None:
    """A server that runs no lifespan protocol serves requests; that nothing runs beside them can be seen."""
    app = App()

    @app.service
    async def service() -> None:
        raise AssertionError("unreachable")

    @app.get("/")
    async def handler() -> bool:
        return ready(app)

    async def no_lifespan(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        scope.get("extensions", {}).pop(EXTENSION, None)
        await app(scope, receive, send)

    async with TestClient(no_lifespan, link=False) as client:
        assert (await client.get("/")).json() is False
    assert states(app) == {"service": "stopped"}


async def test_a_service_comes_too_late() -> None:
    """When the application has started, it is an error, as for routes; on a mounted router too."""
    app, router = App(), Router()
    app.mount("/x", router)

    async def service() -> None: ...

    async with TestClient(app):
        for each in (app, router):
            with pytest.raises(RegistrationError, match=r"the service .*service comes too late"):
                each.service(service)
