"""Clients that leave, through the whole application: who is stopped, who finishes, and what each sees of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trivet import App, Depends, Request, RequestCancelled, Router, Sink, Stream
from trivet.asgi import Message
from trivet.errors import ClientDisconnected
from trivet.testing import TaskLeak, TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


def sleeper(levels: dict[str, Any], log: list[Any]) -> App:
    app, router = App(**levels.get("app", {})), Router(**levels.get("router", {}))

    @router.route("/x", methods=METHODS, **levels.get("route", {}))
    async def handler(request: Request) -> str:
        try:
            await trio.sleep(10)
        except trio.Cancelled:
            log.append(("cancelled", request.ended))
            raise
        log.append(("finished", request.ended))
        return ""

    app.mount("/r", router)
    return app


CANCEL, FINISH = {"on_disconnect": "cancel"}, {"on_disconnect": "finish"}


@pytest.mark.parametrize(
    ("method", "levels", "stops"),
    [
        *[(method, {}, method in ("GET", "HEAD", "OPTIONS")) for method in METHODS],
        ("POST", {"app": CANCEL}, True),
        ("GET", {"app": FINISH}, False),
        ("POST", {"app": FINISH, "router": CANCEL}, True),
        ("POST", {"app": FINISH, "router": FINISH, "route": CANCEL}, True),
        ("GET", {"app": CANCEL, "router": CANCEL, "route": FINISH}, False),
    ],
)
@pytest.mark.parametrize("how", ["leave", "half_close"])
@both_servers
async def test_who_stops_and_who_finishes(
    method: str, levels: Any, stops: bool, how: str, link: bool, autojump_clock: MockClock
) -> None:
    """Safe methods stop and others finish, unless the nearest level says otherwise; a half-close is leaving."""
    log: list[Any] = []
    async with TestClient(sleeper(levels, log), link=link) as client, client.open(method, "/r/x") as exchange:
        await trio.sleep(1)
        began = trio.current_time()
        getattr(exchange, how)()
        await exchange.wait_returned()
        if stops:
            assert log == [("cancelled", "disconnected")]
            assert trio.current_time() - began < 1
        else:
            assert log == [("finished", None)]


@both_servers
async def test_a_half_closing_client_gets_the_answer_of_one_that_finishes(
    link: bool, autojump_clock: MockClock
) -> None:
    """It reads on, so what is finished is worth sending."""
    async with TestClient(sleeper({}, []), link=link) as client, client.open("POST", "/r/x") as exchange:
        await trio.sleep(1)
        exchange.half_close()
        await exchange.read()
        assert (exchange.status, exchange.complete) == (200, True)


async def test_one_that_left_before_it_began_is_not_begun(autojump_clock: MockClock) -> None:
    """A handler that would be cancelled is not called at all; one that finishes is."""
    log: list[Any] = []
    app = sleeper({}, log)
    async with TestClient(app) as client:
        for method in ("GET", "POST"):
            exchange = client.open(method, "/r/x")
            exchange.leave()
            await exchange.wait_returned()
    assert log == [("finished", None)]


@both_servers
async def test_leaving_after_the_answer_is_no_end(link: bool, autojump_clock: MockClock) -> None:
    """A plain server says `http.disconnect` after each normal answer, to a watcher as well: it stops nothing."""
    app, requests = App(), list[Request]()

    @app.get("/whole")
    async def whole(request: Request) -> str:
        requests.append(request)
        await trio.sleep(5)
        return "whole"

    @app.get("/stream")
    async def stream(request: Request) -> Stream:
        requests.append(request)

        async def feed(sink: Sink) -> None:
            await trio.sleep(5)
            await sink.send("stream")

        return Stream(feed)

    async with TestClient(app, link=link) as client:
        for path in ("/whole", "/stream"):
            async with client.open("GET", path) as exchange:
                assert await exchange.read() == path[1:].encode()
                exchange.leave()
                await exchange.wait_returned()
                assert (exchange.complete, exchange.error) == (True, None)
    assert [request.ended for request in requests] == ["returned", "returned"]


@both_servers
async def test_dependencies_see_why_and_can_clean_up(link: bool, autojump_clock: MockClock) -> None:
    """At its `yield`, in a scope that is not cancelled; the inner one first."""
    app, log = App(), list[Any]()

    def noting(name: str) -> Any:
        @asynccontextmanager
        async def resource() -> AsyncIterator[None]:
            try:
                yield
            except RequestCancelled as error:
                await trio.sleep(2)
                log.append((name, error.reason))
                raise

        return resource

    outer, inner = noting("outer"), noting("inner")

    @app.get("/")
    async def handler(a: Annotated[None, Depends(outer)], b: Annotated[None, Depends(inner)]) -> None:
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await trio.sleep(1)
        exchange.leave()
        await exchange.wait_returned()
    assert log == [("inner", "disconnected"), ("outer", "disconnected")]


@both_servers
async def test_leaving_while_a_dependency_is_entered(link: bool, autojump_clock: MockClock) -> None:
    """The one that is being entered is cancelled, the one outside of it is told, the handler is never called."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def outer() -> AsyncIterator[None]:
        try:
            yield
        except RequestCancelled as error:
            log.append(f"outer {error.reason}")
            raise

    @asynccontextmanager
    async def entering(o: Annotated[None, Depends(outer)]) -> AsyncIterator[None]:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            log.append("entering cancelled")
            raise
        yield

    @app.get("/")
    async def handler(e: Annotated[None, Depends(entering)]) -> None:
        log.append("handler")

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await trio.sleep(1)
        exchange.leave()
        await exchange.wait_returned()
    assert log == ["entering cancelled", "outer disconnected"]


@pytest.mark.parametrize(("seconds", "committed"), [(3, True), (30, False)])
@both_servers
async def test_leaving_while_a_dependency_leaves(
    seconds: float, committed: bool, link: bool, autojump_clock: MockClock
) -> None:
    """A commit is not interrupted by a client that leaves; it has the grace from then on."""
    app, log = App(cleanup_grace=5), list[str]()

    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        yield
        await trio.sleep(seconds)
        log.append("committed")

    @app.get("/")
    async def handler(used: Annotated[None, Depends(transaction)]) -> str:
        return "x"

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await trio.sleep(1)
        began = trio.current_time()
        exchange.leave()
        await exchange.wait_returned()
        assert trio.current_time() - began == pytest.approx(2 if committed else 5, abs=0.2)
    assert log == (["committed"] if committed else [])


@pytest.mark.parametrize("policy", ["cancel", "finish"])
@both_servers
async def test_leaving_while_the_body_is_read(policy: Any, link: bool, autojump_clock: MockClock) -> None:
    """One that stops is cancelled; one that finishes gets an `OSError` from the read, and may keep what it has."""
    app, log, requests = App(), list[Any](), list[Request]()

    @app.post("/", on_disconnect=policy)
    async def handler(request: Request) -> None:
        requests.append(request)
        try:
            async for chunk in request.stream():
                log.append(chunk)
        except trio.Cancelled:
            log.append("cancelled")
            raise
        except ClientDisconnected:
            log.append("disconnected")
            raise

    async with TestClient(app, link=link) as client, client.open("POST", "/", upload=True) as exchange:
        await exchange.send_body(b"some")
        await trio.sleep(1)
        exchange.leave()
        await exchange.wait_returned()
    # Where both apply it is a race which comes first: the read that ends or the cancellation.
    first, told, ended = log[0], log[1], requests[0].ended
    assert first == b"some"
    if policy == "cancel":
        assert (told in ("cancelled", "disconnected"), ended) == (True, "disconnected")
    else:
        assert (told, ended) == ("disconnected", "disconnected")


@both_servers
async def test_two_readers_do_not_steal_from_each_other(link: bool, autojump_clock: MockClock) -> None:
    """A body that is read only after the watcher has started arrives whole, in order, and complete."""
    app = App(max_body=None, timeout=None)
    body = bytes(range(256)) * 4096

    @app.post("/", on_disconnect="cancel")
    async def handler(request: Request) -> bytes:
        await trio.sleep(5)
        return await request.body()

    async with TestClient(app, link=link) as client:
        assert (await client.post("/", content=body)).content == body


@both_servers
async def test_leaving_is_noticed_behind_an_unread_body(link: bool, autojump_clock: MockClock) -> None:
    """A small body that the handler has not read yet does not hide that the client is gone."""
    app, log = App(), list[Any]()

    @app.post("/", on_disconnect="cancel")
    async def handler(request: Request) -> None:
        try:
            await trio.sleep(20)
        finally:
            log.append((request.ended, await quietly(request)))

    async def quietly(request: Request) -> bytes:
        with trio.CancelScope(shield=True):
            return await request.body()

    async with TestClient(app, link=link) as client, client.open("POST", "/", content=b"x" * 1000) as exchange:
        await trio.sleep(1)
        exchange.leave()
        await exchange.wait_returned()
    assert log == [("disconnected", b"x" * 1000)]


# --- who watches


async def test_without_a_lifespan_each_request_has_a_watcher(autojump_clock: MockClock) -> None:
    """A server that runs no lifespan and has no `Link`: a client that leaves is noticed all the same."""
    log: list[Any] = []
    app = sleeper({}, log)
    incoming, receiving = trio.open_memory_channel[Message](5)
    sent: list[Message] = []

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    def scope(method: str) -> dict[str, Any]:
        return {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": "/r/x",
            "raw_path": b"/r/x",
            "query_string": b"",
            "headers": [],
        }

    incoming.send_nowait({"type": "http.request", "body": b"", "more_body": False})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, scope("GET"), receiving.receive, send)
        await trio.sleep(1)
        began = trio.current_time()
        incoming.send_nowait({"type": "http.disconnect"})
    assert (log, sent) == ([("cancelled", "disconnected")], [])
    assert trio.current_time() - began < 0.5

    log.clear()
    incoming.send_nowait({"type": "http.request", "body": b"", "more_body": False})
    await app(scope("GET"), receiving.receive, send)
    assert log == [("finished", None)]
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


class Steps(trio.abc.Instrument):
    """Counts how often any task runs."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


@both_servers
async def test_watching_costs_no_ticks(link: bool, autojump_clock: MockClock) -> None:
    """An hour in a handler and another in its stream take a few steps of the scheduler, not one per look."""
    app, steps = App(timeout=None), Steps()

    @app.get("/")
    async def handler() -> Stream:
        await trio.sleep(3600)

        async def feed(sink: Sink) -> None:
            await trio.sleep(3600)
            await sink.send("x")

        return Stream(feed)

    async with TestClient(app, link=link) as client:
        trio.lowlevel.add_instrument(steps)
        assert (await client.get("/")).text == "x"
        trio.lowlevel.remove_instrument(steps)
    assert steps.count < 200


async def test_the_watcher_of_an_answered_request_is_gone(autojump_clock: MockClock) -> None:
    """Hundreds of slow requests leave no watcher behind, neither do those whose clients left."""
    app = App()

    @app.get("/")
    async def handler() -> str:
        await trio.sleep(1)
        return ""

    async with TestClient(app, link=False) as client:
        await client.get("/")
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(client.get, "/")
        for _ in range(100):
            exchange = client.open("GET", "/")
            await trio.sleep(0.3)
            exchange.leave()
            await exchange.wait_returned()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living <= before


async def test_a_task_that_outlives_its_request_fails_the_test() -> None:
    """Where a handler gets hold of a nursery further out, the test client says so; `app.tasks` is the way."""

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[dict[str, Any]]:
        async with trio.open_nursery() as nursery:
            yield {"nursery": nursery}
            nursery.cancel_scope.cancel()

    app = App(lifespan=lifespan)

    @app.get("/leak")
    async def leak(request: Request) -> None:
        request.state["nursery"].start_soon(trio.sleep_forever)

    @app.get("/fine")
    async def fine(request: Request) -> None:
        app.tasks.start_soon(trio.sleep, 0.01)

    async with TestClient(app) as client:
        await client.get("/fine")
    with pytest.raises(TaskLeak):
        async with TestClient(app) as client:
            await client.get("/leak")
