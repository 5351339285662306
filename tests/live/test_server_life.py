"""The life of a server: startup, the drain step by step, and what the lifespan's failures mean."""

from __future__ import annotations

import functools
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from hypercorn.config import Config
from hypercorn.events import Event, RawData

from tests.live import _inprocess
from tests.live._inprocess import Told, answer, get, http, read_all, read_until, serving, until
from trivet import App, Depends
from trivet.server import LifespanFailed, serve
from trivet.server._h1 import HTTP1
from trivet.server._http1_connection import HTTP1Connection

pytestmark = pytest.mark.live

QUICK = {"drain_timeout": 0.2, "cleanup_grace": 0.2}


async def sleepy(scope: Any, receive: Any, send: Any) -> None:
    await trio.sleep(float(scope["path"][1:] or 0))
    await answer(send)


class Held:
    """A handler that says when it has begun, and answers when it is told to."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.release = trio.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/held":
            self.begun.set()
            await self.release.wait()
        await answer(send)


def h2_get(path: str) -> list[tuple[str, str]]:
    return [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "x")]


async def test_a_drain_lets_requests_finish() -> None:
    """New connections are refused, idle ones closed, and the last response says that the connection ends."""
    held = Held()
    async with (
        serving(http(held.app), options={"drain_timeout": 60.0}) as served,
        await served.connect() as idle,
        await served.connect() as busy,
    ):
        await idle.send_all(get())
        await read_until(idle, b"ok")
        await busy.send_all(get(b"/held"))
        await held.begun.wait()
        served.stop.set()
        assert await read_all(idle) == b""
        with pytest.raises(OSError, match="connect"):
            await served.connect()
        held.release.set()
        response = await read_all(busy)
        assert response.startswith(b"HTTP/1.1 200")
        assert b"\r\nconnection: close\r\n" in response
        assert response.endswith(b"ok")


async def test_a_connection_ends_with_the_stream_that_the_drain_has_ended() -> None:
    """The head of a stream that began before the drain did not say `close`; all the same, no request is waited for."""

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await scope["extensions"]["trivet"].draining.wait()
        await trio.sleep(0.05)  # by then the server has looked for idle connections
        await send({"type": "http.response.body", "body": b"ended"})

    patient = {"drain_timeout": 60.0}
    async with (
        serving(http(stream), options=patient, keep_alive_timeout=60) as served,
        await served.connect() as client,
    ):
        await client.send_all(get())
        await read_until(client, b"begun\r\n")
        served.stop.set()
        assert (await read_all(client)).endswith(b"ended\r\n0\r\n\r\n")


@pytest.mark.parametrize("early", [False, True])
async def test_a_websocket_that_opens_during_the_drain_is_told_too(early: bool) -> None:
    """Between two protocols a connection is in nobody's hands for a moment; the drain waits for it all the same."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await receive()

    fields = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n"
    handshake = b"GET / HTTP/1.1\r\nHost: x\r\n" + fields % b64encode(bytes(16))
    async with serving(http(handler), options={"drain_timeout": 0.2}) as served, await served.connect() as client:
        await trio.testing.wait_all_tasks_blocked()
        if early:
            await client.send_all(handshake)
            served.stop.set()
        else:
            served.stop.set()
            await trio.testing.wait_all_tasks_blocked()
            await client.send_all(handshake)
        assert b" 101 " in await read_until(client, b"\x88\x02\x03\xe9")  # 1001: going away
        await client.send_all(b"\x88\x82\0\0\0\0\x03\xe9")
        assert await read_all(client) == b""


async def test_the_drain_is_announced_and_then_enforced() -> None:
    """`draining` is set at once; after `drain_timeout` requests are told, and answer for themselves."""
    begun, times, before = trio.Event(), dict[str, float](), list[str]()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        link = scope["extensions"]["trivet"]
        told = Told()
        link.attach(told)
        begun.set()
        await link.draining.wait()
        before.extend(told.reasons)
        await told.event.wait()
        times["told"] = trio.current_time()
        assert told.reasons == ["drained"]
        await answer(send, 503, b"drained")

    async with serving(http(handler), options={"drain_timeout": 0.4}) as served, await served.connect() as stream:
        await stream.send_all(get())
        await begun.wait()
        began = trio.current_time()
        served.stop.set()
        response = await read_all(stream)
        assert response.startswith(b"HTTP/1.1 503")
        assert response.endswith(b"drained")
    assert before == []
    assert times["told"] - began > 0.35


async def test_a_request_that_outlives_its_client_is_told_of_the_drain_too() -> None:
    """First `disconnected`, which it may ignore, then `drained`."""
    reasons: list[str] = []
    attached, drained, done = trio.Event(), trio.Event(), trio.Event()

    def told(reason: str) -> None:
        reasons.append(reason)
        if reason == "drained":
            drained.set()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].attach(told)
        attached.set()
        await drained.wait()
        done.set()

    async with serving(http(handler), options=QUICK) as served:
        async with await served.connect() as stream:
            await stream.send_all(get())
            await attached.wait()
        await until(lambda: reasons)
        assert reasons == ["disconnected"]
        served.stop.set()
        await done.wait()
    assert reasons == ["disconnected", "drained"]


async def test_a_request_that_cannot_be_told_is_cancelled_and_answered_with_503() -> None:
    """A plain ASGI application loses its request when the drain time is over, its client gets an answer."""
    held = Held()
    async with (
        serving(http(held.app), options={"drain_timeout": 0.2, "cleanup_grace": 300}) as served,
        await served.connect() as stream,
    ):
        await stream.send_all(get(b"/held"))
        await held.begun.wait()
        served.stop.set()
        received = await read_all(stream)
        assert received.startswith(b"HTTP/1.1 503")
        assert _inprocess.PROTOCOL == "hypercorn" or b"\r\nretry-after: 1\r\n" in received


async def test_a_request_that_was_told_has_its_grace_and_no_more() -> None:
    """Told, it may clean up for `cleanup_grace`; then it is cancelled, and answered with 503."""
    begun, cancelled = trio.Event(), list[float]()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].attach(lambda reason: None)
        begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(trio.current_time())
            raise

    async with (
        serving(http(handler), options={"drain_timeout": 0.1, "cleanup_grace": 0.3}) as served,
        await served.connect() as stream,
    ):
        await stream.send_all(get())
        await begun.wait()
        began = trio.current_time()
        served.stop.set()
        assert (await read_all(stream)).startswith(b"HTTP/1.1 503")
    assert 0.35 < cancelled[0] - began < 4  # the grace is 5 if nobody sets it


async def test_a_callback_that_fails_hurts_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    """It is called from tasks of the server: what it raises is logged, by whichever way it is called."""

    attached: list[Any] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        def fail(reason: str) -> None:
            raise ValueError(reason)

        scope["extensions"]["trivet"].attach(fail)
        attached.append(scope)
        await until(lambda: "'drained' failed" in caplog.text)
        await answer(send)

    options = {"drain_timeout": 0.1, "cleanup_grace": 60}
    async with (
        serving(http(handler), options=options) as served,
        await served.connect() as parked,
        await served.connect() as stays,
    ):
        await parked.send_all(get() + b"G")
        await stays.send_all(get())
        await until(lambda: len(attached) == 2)
        await parked.send_eof()
        await until(lambda: "'disconnected' failed" in caplog.text)
        assert "'disconnected' failed" in caplog.text
        served.stop.set()
        assert (await read_all(stays)).endswith(b"ok")
    assert "'drained' failed" in caplog.text


async def test_a_drain_over_http2() -> None:
    """The stream in progress is answered, a new one refused so that it may be sent again, and GOAWAY ends it."""
    held = Held()
    async with serving(http(held.app)) as served, await served.connect() as stream:
        client = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True))
        client.initiate_connection()
        client.send_headers(1, h2_get("/held"), end_stream=True)
        await stream.send_all(client.data_to_send())
        await held.begun.wait()
        served.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        client.send_headers(3, h2_get("/"), end_stream=True)
        await stream.send_all(client.data_to_send())
        events: list[Any] = []
        async for data in stream:
            events += client.receive_data(data)
            if any(getattr(event, "stream_id", 0) == 3 for event in events):
                held.release.set()
    seen = [(type(event), event.stream_id) for event in events if hasattr(event, "stream_id")]
    assert (h2.events.StreamEnded, 1) in seen
    assert (h2.events.StreamReset, 3) in seen
    assert {event.error_code for event in events if isinstance(event, h2.events.StreamReset)} == {
        ErrorCodes.REFUSED_STREAM
    }
    assert isinstance(events[-1], h2.events.ConnectionTerminated)


async def test_hurry_skips_the_wait() -> None:
    """A second signal: what is left of the drain time is skipped, the grace is not."""
    told = Told()
    async with serving(http(told.app), options={"drain_timeout": 60}) as served, await served.connect() as stream:
        await stream.send_all(get())
        await told.began.wait()
        served.stop.set()
        await trio.sleep(0.05)
        assert told.reasons == []
        served.hurry.set()
        await told.event.wait()
        assert told.reasons == ["drained"]


async def test_max_requests_stops_the_server() -> None:
    """After the last of them the server drains by itself."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.max_requests = 2
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(serve, http(sleepy), config)
        port = int(urls[0].rsplit(":", 1)[1])
        for _ in range(3):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(get(close=True))
                assert (await read_all(stream)).endswith(b"ok")


async def test_the_configuration_is_not_changed() -> None:
    """The caller's object keeps the values it had: it may serve elsewhere."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    before = dict(vars(config))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, http(sleepy), config)
        nursery.cancel_scope.cancel()
    assert {name: value for name, value in vars(config).items() if name != "_log"} == before


async def test_cancelling_serve_answers_and_closes() -> None:
    """Stopped as any Trio task is, it leaves no socket open; a request in progress gets its 503."""
    held, config = Held(), Config()
    config.bind = ["127.0.0.1:0"]
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(serve, http(held.app), config)
        stream = await trio.open_tcp_stream("127.0.0.1", int(urls[0].rsplit(":", 1)[1]))
        await stream.send_all(get(b"/held"))
        await held.begun.wait()
        nursery.cancel_scope.cancel()
    async with stream:
        assert (await read_all(stream)).startswith(b"HTTP/1.1 503")


async def test_an_error_in_a_protocol_stays_in_its_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a protocol raises that we did not foresee: it is logged, and other connections go on."""
    handle = HTTP1.handle
    received = HTTP1Connection.received

    def fail_own(self: HTTP1Connection, data: bytes, now: float) -> None:
        if b"boom" in data:
            raise KeyError("unforeseen")
        received(self, data, now)

    async def fail(self: HTTP1, event: Event) -> None:
        if isinstance(event, RawData) and b"boom" in event.data:
            raise KeyError("unforeseen")
        await handle(self, event)

    monkeypatch.setattr(HTTP1, "handle", fail)
    monkeypatch.setattr(HTTP1Connection, "received", fail_own)
    async with serving(http(sleepy)) as served, await served.connect() as other:
        await other.send_all(get(b"/0.2"))
        assert await served.request(get(b"/boom")) == b""
        assert (await read_until(other, b"ok")).startswith(b"HTTP/1.1 200")
        assert (await served.request(get(close=True))).endswith(b"ok")
    assert "ended by an error" in caplog.text


async def test_a_client_that_resets_streams_faster_than_they_end_is_disconnected() -> None:
    """Its applications count until they return: twice the concurrent streams, then ENHANCE_YOUR_CALM."""
    live, over = 0, trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        nonlocal live
        live += 1
        await over.wait()

    async with serving(http(handler), h2_max_concurrent_streams=2) as served, await served.connect() as stream:
        client = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True))
        client.initiate_connection()
        for number in range(1, 41, 2):
            client.send_headers(number, h2_get("/"), end_stream=True)
            client.reset_stream(number)
        await stream.send_all(client.data_to_send())
        events: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.ConnectionTerminated) for event in events):
            events += client.receive_data(await stream.receive_some(65_536))
        assert [event.error_code for event in events if isinstance(event, h2.events.ConnectionTerminated)] == [
            ErrorCodes.ENHANCE_YOUR_CALM
        ]
        over.set()
    assert 4 < live < 8  # of twenty; those after the fifth were on their way when it was refused


# The lifespan -----------------------------------------------------------------------------------------------------


class Life:
    """A lifespan that fails where it is told to."""

    def __init__(self, fails: str = "", how: str = "message") -> None:
        self.fails = fails
        self.how = how
        self.held = Held()
        self.seen: list[str] = []
        self.now = trio.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.held.app(scope, receive, send)
            return
        if self.fails == "at once":
            raise NotImplementedError
        self.link = scope["extensions"]["trivet"]
        await self.step("startup", receive, send)
        if self.fails == "between":
            await self.now.wait()
            await self.fail("shutdown", send)
        await self.step("shutdown", receive, send)
        await trio.sleep(0.01)
        self.seen.append("returned")

    async def step(self, stage: str, receive: Any, send: Any) -> None:
        message = await receive()
        assert message["type"] == f"lifespan.{stage}"
        self.seen.append(stage)
        if self.fails == stage:
            await self.fail(stage, send)
        await send({"type": f"lifespan.{stage}.complete"})

    async def fail(self, stage: str, send: Any) -> None:
        if self.how == "exit":
            raise SystemExit(3)
        if self.how == "raise":
            raise ValueError("no database")
        if self.how == "abort":
            self.link.abort()
        else:
            await send({"type": f"lifespan.{stage}.failed", "message": "no database"})


async def test_a_lifespan_runs_from_before_the_first_request_to_after_the_last() -> None:
    """Startup, requests, shutdown; and its task returns before `serve` does."""
    life = Life()
    async with serving(life.app) as served:
        assert life.seen == ["startup"]
        async with await served.connect() as stream:
            await stream.send_all(get(b"/held"))
            await life.held.begun.wait()
            served.stop.set()
            await trio.testing.wait_all_tasks_blocked()
            assert life.seen == ["startup"]
            life.held.release.set()
            assert (await read_all(stream)).endswith(b"ok")
    assert life.seen == ["startup", "shutdown", "returned"]


@pytest.mark.parametrize("how", ["message", "raise", "exit"])
async def test_a_failed_startup_serves_nothing(how: str) -> None:
    """It is raised, whichever way the application says it; nothing was listening."""
    life = Life("startup", how)
    config = Config()
    config.bind = ["127.0.0.1:0"]
    with pytest.raises(LifespanFailed, match="startup") as caught:
        await serve(life.app, config)
    assert caught.value.stage == "startup"
    assert ("no database" in str(caught.value)) == (how != "exit")


async def test_a_startup_that_takes_too_long_fails() -> None:
    """`startup_timeout` bounds it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await trio.sleep_forever()

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.startup_timeout = 0.05
    with pytest.raises(LifespanFailed, match=r"more than 0\.05 s"):
        await serve(app, config)


async def test_a_stop_during_startup_ends_it() -> None:
    """SIGTERM need not wait for a slow startup."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await trio.sleep_forever()

    config = Config()
    config.bind = ["127.0.0.1:0"]
    with trio.fail_after(9):
        await serve(app, config, shutdown_trigger=functools.partial(trio.sleep, 0.05))


@pytest.mark.parametrize("started", [False, True])
async def test_an_application_that_is_cancelled_gives_back_what_it_has_taken(started: bool) -> None:
    """It was told to stop while it was starting, or the server was cancelled: what it holds would stay locked."""
    log: list[str] = []

    @contextmanager
    def lock() -> Iterator[int]:
        try:
            yield 1
        finally:
            log.append("unlocked")

    @asynccontextmanager
    async def lease(_: Annotated[int, Depends(lock, scope="app")]) -> AsyncIterator[int]:
        try:
            yield 2
        finally:
            await trio.sleep(0.01)
            log.append("given back")

    @asynccontextmanager
    async def connection(_: Annotated[int, Depends(lease, scope="app")]) -> AsyncIterator[int]:
        ready.set()
        await trio.sleep(0 if started else 60)
        yield 3

    app, ready = App(), trio.Event()

    @app.get("/")
    async def handler(_: Annotated[int, Depends(connection, scope="app")]) -> None: ...

    config = Config()
    config.bind = ["127.0.0.1:0"]
    with trio.fail_after(10):
        if started:
            async with trio.open_nursery() as nursery:
                await nursery.start(functools.partial(serve, app, config))
                nursery.cancel_scope.cancel()
        else:
            await serve(app, config, shutdown_trigger=ready.wait)
    assert log == ["given back", "unlocked"]


async def test_an_application_without_lifespan_is_served() -> None:
    """One that raises on the scope itself does not know lifespans, says ASGI; it is served."""
    async with serving(Life("at once").app) as served:
        assert (await served.request(get(close=True))).endswith(b"ok")


@pytest.mark.parametrize("how", ["message", "raise", "exit", "abort"])
async def test_an_application_that_gives_up_drains_and_fails(how: str) -> None:
    """Requests finish as on SIGTERM, and `serve` raises."""
    life = Life("between", how)
    config = Config()
    config.bind = ["127.0.0.1:0"]
    failures: list[LifespanFailed] = []

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        try:
            await serve(life.app, config, task_status=task_status)
        except LifespanFailed as failure:
            failures.append(failure)

    async with trio.open_nursery() as nursery:
        urls: list[str] = await nursery.start(run)
        async with await trio.open_tcp_stream("127.0.0.1", int(urls[0].rsplit(":", 1)[1])) as stream:
            await stream.send_all(get(b"/held"))
            await life.held.begun.wait()
            life.now.set()
            await trio.testing.wait_all_tasks_blocked()
            life.held.release.set()
            assert (await read_all(stream)).endswith(b"ok")
    assert [failure.stage for failure in failures] == ["lifespan"]


@pytest.mark.parametrize("how", ["message", "raise"])
async def test_a_failed_shutdown_is_raised(how: str) -> None:
    """The drain was clean, the end was not."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    with pytest.raises(LifespanFailed, match="shutdown"):
        await serve(Life("shutdown", how).app, config, shutdown_trigger=functools.partial(trio.sleep, 0.1))


async def test_a_shutdown_has_time_for_the_tasks_that_are_drained_in_it() -> None:
    """`shutdown_timeout` is for what comes after them."""
    app = App(drain_timeout=5)
    done: list[bool] = []

    @app.service
    async def mail(task_status: trio.TaskStatus[None]) -> None:
        async def send() -> None:
            await trio.sleep(0.3)
            done.append(True)

        app.tasks.start_soon(send)
        task_status.started()
        await trio.sleep_forever()

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.shutdown_timeout = 0.05
    with trio.fail_after(9):
        await serve(app, config, shutdown_trigger=functools.partial(trio.sleep, 0.1))
    assert done == [True]


async def test_the_operators_drain_time_is_that_of_tasks_too(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has to know how long a stop takes, systemd say, has it from one place."""
    app = App(drain_timeout=2, cleanup_grace=2)

    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.3)

    async with serving(app, options={"drain_timeout": 0.05, "cleanup_grace": 0.1}):
        app.tasks.start_soon(stubborn, name="stubborn")
    assert "after drain_timeout = 0.05 s: stubborn" in caplog.text
    assert "have not ended 0.1 s after they were cancelled: stubborn" in caplog.text


@pytest.mark.parametrize(("operators", "own"), [(None, 0.4), (0.1, 600.0)])
async def test_the_application_sets_the_drain_time_unless_the_operator_did(operators: float | None, own: float) -> None:
    """What it writes on its link during startup counts; a value given to `serve` has precedence."""
    told = Told()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await told.app(scope, receive, send)
            return
        link = scope["extensions"]["trivet"]
        assert link.drain_timeout == (operators or 10)
        assert (link.cleanup_grace, link.debug) == (5, True)
        link.drain_timeout = own
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async with (
        serving(app, options={"drain_timeout": operators, "debug": True}) as served,
        await served.connect() as stream,
    ):
        await stream.send_all(get())
        await told.began.wait()
        began = trio.current_time()
        served.stop.set()
        await told.event.wait()
        if operators is None:  # else it would be ten minutes
            assert trio.current_time() - began > 0.35
