"""Dependencies through the whole application: the order of entering and leaving, and what one makes of an error."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import pytest
import trio
from trio.testing import MockClock

from trivet import App, Depends, HTTPError, Request, RequestCancelled, Router, Sink, Stream
from trivet.testing import TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


@both_servers
async def test_all_kinds_nest_last_in_first_out(link: bool) -> None:
    """Functions and context managers, sync and async, one upon the other; each entered once, left in reverse."""
    app, log, tasks = App(), list[str](), set[Any]()

    def plain() -> str:
        log.append("plain")
        return "plain"

    async def coroutine(p: Annotated[str, Depends(plain)]) -> str:
        log.append("coroutine")
        tasks.add(trio.lowlevel.current_task())
        return p + " coroutine"

    @contextmanager
    def in_thread(c: Annotated[str, Depends(coroutine)]) -> Iterator[str]:
        log.append("thread >")
        yield c + " thread"
        log.append("< thread")

    @asynccontextmanager
    async def in_task(
        t: Annotated[str, Depends(in_thread)], again: Annotated[str, Depends(plain)]
    ) -> AsyncIterator[str]:
        log.append("task >")
        tasks.add(trio.lowlevel.current_task())
        yield t + " task"
        tasks.add(trio.lowlevel.current_task())
        log.append("< task")

    @app.get("/")
    async def handler(
        value: Annotated[str, Depends(in_task)],
        same: Annotated[str, Depends(in_task)],
        first: Annotated[str, Depends(in_thread)],
    ) -> str:
        log.append("handler")
        tasks.add(trio.lowlevel.current_task())
        assert value is same
        return value

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).text == "plain coroutine thread task"
        assert log == ["plain", "coroutine", "thread >", "task >", "handler", "< task", "< thread"]
        log.clear()
        await client.get("/")
        assert len(log) == 7, "cached for a request, not for ever"
    assert len(tasks) == 2, "one task for each of the two requests"


@both_servers
async def test_those_of_the_app_router_and_route_come_first_outer_first(link: bool) -> None:
    """`dependencies=[...]` of the outer level is entered before the inner one's, and left after it."""
    log: list[str] = []

    def noting(name: str) -> Any:
        @asynccontextmanager
        async def resource() -> AsyncIterator[None]:
            log.append(f"{name} >")
            yield
            log.append(f"< {name}")

        return Depends(resource)

    app, router = App(dependencies=[noting("app")]), Router(dependencies=[noting("router")])
    own = noting("own")

    @router.get("/", dependencies=[noting("route")])
    async def handler(value: Annotated[None, own]) -> str:
        log.append("handler")
        return ""

    app.mount("/r", router)
    async with TestClient(app, link=link) as client:
        assert (await client.get("/r/")).status_code == 200
    names = ["app", "router", "route", "own"]
    assert log == [f"{n} >" for n in names] + ["handler"] + [f"< {n}" for n in reversed(names)]


@both_servers
async def test_one_that_fails_to_enter_leaves_the_outer_ones(link: bool) -> None:
    """The handler is not called; what was entered sees the error."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def outer() -> AsyncIterator[None]:
        try:
            yield
        except HTTPError as error:
            log.append(f"outer {error.status}")
            raise

    async def login(o: Annotated[None, Depends(outer)]) -> None:
        raise HTTPError(401, "who are you?")

    @app.get("/")
    async def handler(user: Annotated[None, Depends(login)]) -> str:
        log.append("handler")
        return ""

    async with TestClient(app, link=link) as client:
        response = await client.get("/")
    assert (response.status_code, log) == (401, ["outer 401"])
    assert "www-authenticate" in response.headers


def erring(what: str) -> Any:
    """A dependency that meets the handler's error in one of the ways there are."""

    @asynccontextmanager
    async def dependency() -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            if what == "swallow":
                return
            if what == "replace":
                raise HTTPError(409, "replaced") from error
            if what == "replace without saying so":
                raise KeyError("another") from None
            raise

    @contextmanager
    def in_thread() -> Iterator[None]:
        try:
            yield
        except Exception:
            pass

    return in_thread if what == "swallow in a thread" else dependency


@pytest.mark.parametrize(
    ("what", "status", "seen"),
    [
        ("pass on", 418, "HTTPError"),
        ("swallow", 418, "HTTPError"),
        ("swallow in a thread", 418, "HTTPError"),
        ("replace", 409, "HTTPError"),
        # `from None` hides the old one from tracebacks only; the new one is a bug, which is never masked.
        ("replace without saying so", 500, "KeyError"),
    ],
)
@both_servers
async def test_an_error_can_be_replaced_but_not_swallowed(what: str, status: int, seen: str, link: bool) -> None:
    """Outer dependencies see how the request ended, whatever an inner one does, so none commits by mistake."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        log.append("committed")

    @app.get("/")
    async def handler(
        outer: Annotated[None, Depends(transaction)], inner: Annotated[None, Depends(erring(what))]
    ) -> None:
        raise HTTPError(418)

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).status_code == status
    assert log == [seen]


@both_servers
async def test_ending_the_handler_without_an_error_is_no_response(
    link: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """`move_on_after` around the `yield` leaves nothing to send: 500, and the log has the remedy."""
    app = App()

    @asynccontextmanager
    async def limited() -> AsyncIterator[None]:
        with trio.move_on_after(1):
            yield

    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        with trio.fail_after(1):
            yield

    @app.get("/moves-on")
    async def moves_on(used: Annotated[None, Depends(limited)]) -> None:
        await trio.sleep_forever()

    @app.get("/fails")
    async def fails(used: Annotated[None, Depends(failing)]) -> None:
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client:
        assert (await client.get("/moves-on")).status_code == 500
        assert "trio.fail_after" in caplog.text
        assert (await client.get("/fails")).status_code == 504


@both_servers
async def test_one_may_open_a_nursery(link: bool, autojump_clock: MockClock) -> None:
    """Its tasks run beside the handler; when the deadline passes they are whole until it has left."""
    app, log = App(timeout=5), list[str]()

    @asynccontextmanager
    async def background() -> AsyncIterator[trio.Nursery]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker)
            try:
                yield nursery
            except RequestCancelled:
                log.append("left")
                await trio.sleep(1)
                log.append("worker still runs")
                raise
            finally:
                nursery.cancel_scope.cancel()

    async def worker() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("worker ended")

    @app.get("/")
    async def handler(request: Request, nursery: Annotated[trio.Nursery, Depends(background)]) -> str:
        if "slow" in request.query:
            await trio.sleep_forever()
        await trio.sleep(1)
        return "done"

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).text == "done"
        assert log == ["worker ended"]
        log.clear()
        assert (await client.get("/?slow=")).status_code == 503
        assert log == ["left", "worker still runs", "worker ended"]


@both_servers
async def test_a_child_that_fails_is_the_requests_error(
    link: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It cancels the handler through the dependency's nursery; its error is unwrapped, the cancellation dropped."""
    app = App()

    @asynccontextmanager
    async def background() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            yield

    async def fails() -> None:
        await trio.sleep(1)
        raise HTTPError(502, "upstream")

    @app.get("/provided")
    async def provided(used: Annotated[None, Depends(background)]) -> None:
        await trio.sleep_forever()

    @app.get("/injected")
    async def injected(nursery: trio.Nursery) -> None:
        nursery.start_soon(fails)
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client:
        for path in ("/provided", "/injected"):
            response = await client.get(path)
            assert (response.status_code, response.json()["detail"]) == (502, "upstream")


@both_servers
async def test_an_injected_nursery_is_joined_under_the_deadline(link: bool, autojump_clock: MockClock) -> None:
    """Its children are the request's work: waited for, and cancelled when the time is over."""
    app, log = App(timeout=5), list[str]()

    async def child(seconds: float) -> None:
        try:
            await trio.sleep(seconds)
            log.append("finished")
        except trio.Cancelled:
            log.append("cancelled")
            raise

    @app.get("/{seconds}")
    async def handler(seconds: int, nursery: trio.Nursery) -> str:
        nursery.start_soon(child, seconds)
        return "x"

    async with TestClient(app, link=link) as client:
        assert (await client.get("/3")).status_code == 200
        assert (await client.get("/30")).status_code == 503
    assert log == ["finished", "cancelled"]


@pytest.mark.parametrize("grace", [5, 1])
@both_servers
async def test_each_dependency_has_a_grace_of_its_own(
    grace: float, link: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Three that take four seconds each all clean up within five; a stuck one does not starve the next."""
    app, log = App(timeout=2, cleanup_grace=grace), list[str]()

    def slow(name: str) -> Any:
        @asynccontextmanager
        async def dependency() -> AsyncIterator[None]:
            try:
                yield
            finally:
                log.append(f"{name} began")
                await trio.sleep(4)
                log.append(f"{name} ended")

        return dependency

    a, b, c = slow("a"), slow("b"), slow("c")

    @app.get("/")
    async def handler(
        x: Annotated[None, Depends(a)], y: Annotated[None, Depends(b)], z: Annotated[None, Depends(c)]
    ) -> None:
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client:
        began = trio.current_time()
        assert (await client.get("/")).status_code == 503
        assert trio.current_time() - began == pytest.approx(2 + 3 * min(grace, 4))
    assert [line for line in log if line.endswith("began")] == ["c began", "b began", "a began"]
    assert len([line for line in log if line.endswith("ended")]) == (3 if grace == 5 else 0)
    assert caplog.text.count("was not left within cleanup_grace") == (0 if grace == 5 else 3)


@both_servers
async def test_all_leaves_of_a_group_are_logged_and_a_bug_is_never_masked(
    link: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a handler's errors and a dependency's, the bug decides."""
    app = App()
    caplog.set_level(logging.DEBUG, "trivet")

    @asynccontextmanager
    async def dependency() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await trio.lowlevel.checkpoint()

    @app.get("/")
    async def handler(used: Annotated[None, Depends(dependency)], nursery: trio.Nursery) -> None:
        async def fails(error: Exception) -> None:
            raise error

        nursery.start_soon(fails, HTTPError(404, "leaf one"))
        nursery.start_soon(fails, ZeroDivisionError("leaf two"))
        raise HTTPError(503, "leaf three")

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).status_code == 500
    assert all(leaf in caplog.text for leaf in ("leaf two", "leaf three"))


# --- with a stream


@both_servers
async def test_a_streams_dependencies_leave_between_its_last_chunk_and_its_end(
    link: bool, autojump_clock: MockClock
) -> None:
    """So that a commit that fails is still seen by the client: the body is not whole."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def transaction(request: Request) -> AsyncIterator[None]:
        yield
        log.append("leaving")
        await trio.sleep(3)
        if "fail" in request.query:
            raise RuntimeError("commit")
        log.append("committed")

    @app.get("/")
    async def handler(used: Annotated[None, Depends(transaction)]) -> Stream:
        async def feed(sink: Sink) -> None:
            log.append("feed")
            await sink.send("only")

        return Stream(feed)

    async with TestClient(app, link=link, raise_app_exceptions=False) as client:
        async with client.open("GET", "/") as exchange:
            assert await exchange.receive() == b"only"
            assert not exchange.complete
            assert await exchange.receive() is None
            assert exchange.complete
        assert log == ["feed", "leaving", "committed"]
        async with client.open("GET", "/?fail=") as exchange:
            assert await exchange.receive() == b"only"
            assert await exchange.receive() is None
            assert exchange.truncated


@pytest.mark.parametrize("method", ["GET", "POST"])
@both_servers
async def test_a_streams_dependencies_are_told_that_the_client_left(
    method: str, link: bool, autojump_clock: MockClock
) -> None:
    """A stream stops with its client, whatever the method; a nursery of a dependency spans it."""
    app, log = App(), list[Any]()

    @asynccontextmanager
    async def background() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            try:
                yield
            except RequestCancelled as error:
                log.append(error.reason)
                raise
            finally:
                nursery.cancel_scope.cancel()

    @app.route("/", methods=["GET", "POST"])
    async def handler(request: Request, used: Annotated[None, Depends(background)]) -> Stream:
        async def feed(sink: Sink) -> None:
            try:
                while True:
                    await sink.send("tick")
                    await trio.sleep(1)
            except trio.Cancelled:
                log.append("cancelled")
                raise

        return Stream(feed)

    async with TestClient(app, link=link) as client, client.open(method, "/") as exchange:
        for _ in range(3):
            assert await exchange.receive() == b"tick"
        exchange.leave()
        await exchange.wait_returned()
    assert log == ["cancelled", "disconnected"]


@both_servers
async def test_threads_that_are_all_taken_hold_no_dependency_back(link: bool) -> None:
    """A `@contextmanager` is left at once, whatever the handlers in threads do: it waits for no slot of theirs."""
    app, shown, release, taken = App(cleanup_grace=5), list[str](), threading.Event(), trio.Event()
    app.thread_limiter.total_tokens = 1

    @contextmanager
    def transaction() -> Iterator[None]:
        try:
            yield
        except RequestCancelled as error:
            shown.append(error.reason)
            raise

    @app.get("/thread")
    def thread() -> None:
        trio.from_thread.run_sync(taken.set)
        release.wait(10)

    entered = trio.Event()

    @app.get("/")
    async def handler(t: Annotated[None, Depends(transaction)]) -> None:
        entered.set()
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client, trio.open_nursery() as nursery:
        exchange = client.open("GET", "/")
        await entered.wait()
        nursery.start_soon(client.get, "/thread")
        await taken.wait()
        exchange.leave()
        try:
            with trio.fail_after(2):
                await exchange.wait_returned()
        finally:
            release.set()
    assert shown == ["disconnected"]
