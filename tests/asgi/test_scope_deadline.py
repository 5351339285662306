"""The deadline and the drain through the whole application: what is stopped, what leaves first, and what the client
is told."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import trio
from trio.testing import MockClock

from trivet import App, Depends, HTTPError, Next, Request, RequestCancelled, Response, Router, Sink, Stream, Text
from trivet.testing import TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


def nested(**timeouts: Any) -> App:
    """An app, a router and a route that sleep for a minute, each level with the timeout it is given."""
    app, router = App(**timeouts.get("app", {})), Router(**timeouts.get("router", {}))

    @router.get("/x", **timeouts.get("route", {}))
    async def handler() -> str:
        await trio.sleep(60)
        return "done"

    app.mount("/r", router)
    return app


@pytest.mark.parametrize(
    ("timeouts", "seconds", "status"),
    [
        ({}, 30, 503),
        ({"app": {"timeout": 8}}, 8, 503),
        ({"app": {"timeout": 8}, "router": {"timeout": 4}}, 4, 503),
        ({"app": {"timeout": 8}, "router": {"timeout": 4}, "route": {"timeout": 2}}, 2, 503),
        ({"app": {"timeout": 2}, "route": {"timeout": 8}}, 8, 503),
        ({"router": {"timeout": None}}, 60, 200),
        ({"app": {"timeout": 2}, "route": {"timeout": None}}, 60, 200),
        ({"app": {"timeout": None}, "route": {"timeout": 0.5}}, 0.5, 503),
    ],
)
@both_servers
async def test_the_nearest_timeout_wins(
    timeouts: Any, seconds: float, status: int, link: bool, autojump_clock: MockClock
) -> None:
    """Route before router before app, longer or shorter; `None` is no deadline; 30 s where nobody says."""
    async with TestClient(nested(**timeouts), link=link) as client:
        began = trio.current_time()
        response = await client.get("/r/x")
        assert (response.status_code, trio.current_time() - began) == (status, pytest.approx(seconds))


@both_servers
async def test_a_request_tells_its_deadline(link: bool, autojump_clock: MockClock) -> None:
    """`deadline` is on Trio's clock, `time_left()` counts down, and both are what the handler's scope has."""
    app, seen = App(timeout=7), list[tuple[float, float, float]]()

    @app.get("/")
    async def handler(request: Request) -> None:
        await trio.sleep(3)
        seen.append((request.deadline, request.time_left(), trio.current_effective_deadline()))

    async with TestClient(app, link=link) as client:
        began = trio.current_time()
        await client.get("/")
    assert seen == [(pytest.approx(began + 7), pytest.approx(4), pytest.approx(began + 7))]


@both_servers
async def test_dependencies_leave_before_the_503_is_sent(link: bool, autojump_clock: MockClock) -> None:
    """The handler is cancelled, its dependency takes three seconds to clean up, then the client has its answer."""
    app, log = App(timeout=2), list[Any]()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        try:
            yield
        except RequestCancelled as error:
            await trio.sleep(3)
            log.append((error.reason, trio.current_time() - began))

    @app.get("/")
    async def handler(request: Request, used: Annotated[None, Depends(resource)]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            log.append(("cancelled", request.ended))
            raise

    async with TestClient(app, link=link) as client:
        began = trio.current_time()
        response = await client.get("/")
        assert trio.current_time() - began == pytest.approx(5)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert log[1] == ("deadline", pytest.approx(5))
    assert log[0][0] == "cancelled"


@pytest.mark.parametrize(("sends", "status"), [(b"", 408), (b"some", 408), (b"all", 503)])
@both_servers
async def test_408_when_the_body_was_what_we_waited_for(
    sends: bytes, status: int, link: bool, autojump_clock: MockClock
) -> None:
    """A client that is slow with its body gets 408 and a closed connection; a slow handler is our own 503."""
    app = App(timeout=2, body_timeout=None)

    @app.post("/")
    async def handler(request: Request) -> None:
        await request.body()
        await trio.sleep(60)

    async with TestClient(app, link=link) as client, client.open("POST", "/", upload=True) as exchange:
        if sends:
            await exchange.send_body(sends)
        if sends == b"all":
            await exchange.end_body()
        got, headers = await exchange.head()
        assert got == status
        assert headers.get("connection") == ("close" if status == 408 else None)


@both_servers
async def test_a_read_that_the_handler_gave_up_itself_is_no_408(link: bool, autojump_clock: MockClock) -> None:
    """What the request waited for when its deadline passed decides, not what it had waited for earlier."""
    app = App(timeout=5)

    @app.post("/")
    async def handler(request: Request) -> None:
        with trio.move_on_after(1):
            await request.body()
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client, client.open("POST", "/", upload=True) as exchange:
        assert (await exchange.head())[0] == 503


@both_servers
async def test_a_body_that_stalls_gets_408_before_the_deadline(link: bool, autojump_clock: MockClock) -> None:
    """`body_timeout` is about progress: a byte each second for a minute is fine, ten seconds of nothing are not."""
    app = App(timeout=None, body_timeout=10)

    @app.post("/")
    async def handler(request: Request) -> int:
        return len(await request.body())

    async with TestClient(app, link=link) as client:
        async with client.open("POST", "/", upload=True) as exchange:
            for _ in range(60):
                await trio.sleep(1)
                await exchange.send_body(b"x")
            await exchange.end_body()
            assert (await exchange.read(), exchange.status) == (b"60", 200)
        async with client.open("POST", "/", upload=True) as exchange:
            await exchange.send_body(b"x")
            began = trio.current_time()
            assert (await exchange.head())[0] == 408
            assert trio.current_time() - began == pytest.approx(10)


async def late_shielded() -> str:
    with trio.CancelScope(shield=True):
        await trio.sleep(5)
    return "late"


async def late_swallowed() -> str:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        pass
    return "late"


def late_thread() -> str:
    def jump() -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.jump(5)

    # By hand: the clock does not jump by itself while a thread runs.
    trio.from_thread.run_sync(jump)
    time.sleep(0.05)  # lets the deadline be delivered; should it come later, the test is only weaker
    return "late"


@pytest.mark.parametrize("handler", [late_shielded, late_swallowed, late_thread])
@both_servers
async def test_a_value_counts_however_late(handler: Callable[[], Any], link: bool, autojump_clock: MockClock) -> None:
    """Work that was done is answered with its result, whether the handler was shielded, swallowed or in a thread."""
    app = App(timeout=2)
    app.get("/")(handler)
    async with TestClient(app, link=link) as client:
        response = await client.get("/")
    assert (response.status_code, response.text) == (200, "late")


async def fails_in_finally() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("cleanup is broken")


async def raises_http_error() -> None:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        raise HTTPError(409, "interrupted") from None


async def raises_out_of_a_nursery() -> None:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
    except BaseException as error:
        raise HTTPError(404, "nothing found") from error


async def raises_out_of_a_task() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises_http_error)


@pytest.mark.parametrize(
    ("handler", "logged"),
    [
        (fails_in_finally, "cleanup is broken"),
        (raises_http_error, "409"),
        (raises_out_of_a_nursery, "nothing found"),
        (raises_out_of_a_task, "409"),
    ],
)
@both_servers
async def test_an_error_raised_while_cancelled_is_a_bug(
    handler: Callable[[], Awaitable[None]],
    logged: str,
    link: bool,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The deadline masks none, and no polite status stands for a cancellation: 500, and it is logged."""
    app = App(timeout=2)
    app.get("/")(handler)
    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).status_code == 500
    assert logged in caplog.text


async def raises_shielded() -> None:
    await late_shielded()
    raise HTTPError(404)


async def raises_when_swallowed() -> None:
    await late_swallowed()
    raise HTTPError(404)


def raises_in_a_thread() -> None:
    late_thread()
    raise HTTPError(404)


async def raises_for_a_time_limit_of_its_own() -> None:
    with trio.CancelScope(deadline=trio.current_time() + 1):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise HTTPError(404) from None


@pytest.mark.parametrize(
    "handler", [raises_shielded, raises_when_swallowed, raises_in_a_thread, raises_for_a_time_limit_of_its_own]
)
@both_servers
async def test_an_error_that_is_an_answer_counts_however_late(
    handler: Callable[[], Any], link: bool, autojump_clock: MockClock
) -> None:
    """Like a value: it was not raised in the place of our cancellation, of which a thread knows nothing."""
    app = App(timeout=2)
    app.get("/")(handler)
    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).status_code == 404


@both_servers
async def test_too_slow_error_is_the_handlers_own_504(link: bool, autojump_clock: MockClock) -> None:
    """`fail_after` in a handler is what it waited for that was slow, not the request."""
    app, ended = App(timeout=20), list[Any]()

    @app.get("/")
    async def handler(request: Request) -> None:
        ended.append(request)
        with trio.fail_after(2):
            await trio.sleep_forever()

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).status_code == 504
    assert ended[0].ended == "failed"


@both_servers
async def test_an_overrun_of_leaving_is_503_never_200(
    link: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit that hangs is cut after the request's time or the grace, whichever is longer, and was no success."""
    app = App(timeout=2, cleanup_grace=4)

    @asynccontextmanager
    async def stuck() -> AsyncIterator[None]:
        yield
        await trio.sleep_forever()

    @app.get("/")
    async def handler(used: Annotated[None, Depends(stuck)]) -> str:
        return "fine"

    async with TestClient(app, link=link) as client:
        began = trio.current_time()
        assert (await client.get("/")).status_code == 503
        assert trio.current_time() - began == pytest.approx(4)
    assert "stuck" in caplog.text
    assert "cleanup_grace" in caplog.text


@both_servers
async def test_a_failed_commit_is_500_not_200(link: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The answer waits for the dependencies, so that it is true."""
    app = App()

    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        yield
        raise RuntimeError("serialization failure")

    @asynccontextmanager
    async def refusing() -> AsyncIterator[None]:
        yield
        raise HTTPError(409, "somebody was faster")

    @app.get("/bug")
    async def bug(used: Annotated[None, Depends(transaction)]) -> str:
        return "committed"

    @app.get("/error")
    async def error(used: Annotated[None, Depends(refusing)]) -> str:
        return "committed"

    async with TestClient(app, link=link) as client:
        assert (await client.get("/bug")).status_code == 500
        assert (await client.get("/error")).status_code == 409
    assert "serialization failure" in caplog.text


@both_servers
async def test_a_slow_reader_does_not_lose_the_answer_to_the_deadline(link: bool, autojump_clock: MockClock) -> None:
    """The deadline is left before the answer is sent: a client that takes longer than it to read gets all of it."""
    app, requests = App(timeout=2, send_timeout=5), list[Request]()
    size = 10 * 2**20

    @app.get("/")
    async def handler(request: Request) -> bytes:
        requests.append(request)
        await trio.sleep(1.9)
        return b"x" * size

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        exchange.stop_reading()
        await exchange.head()
        await trio.sleep(4)
        exchange.start_reading()
        assert len(await exchange.read()) == size
        assert exchange.complete
    assert requests[0].ended == "returned"


@both_servers
async def test_the_503_itself_survives_a_slow_reader(link: bool, autojump_clock: MockClock) -> None:
    """The answer to a request that was cancelled is out of the cancellation's reach."""
    app = App(timeout=2, send_timeout=5)

    @app.get("/")
    async def handler() -> None:
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        exchange.stop_reading()
        assert (await exchange.head())[0] == 503
        await trio.sleep(3)
        exchange.start_reading()
        assert b"503" in await exchange.read()
        assert exchange.complete


async def test_a_client_that_stops_reading_is_dropped(autojump_clock: MockClock) -> None:
    """After `send_timeout` without progress, from the nearest level; the handler sees its client leave."""
    app, log = App(send_timeout=60), list[Any]()

    @app.get("/", send_timeout=3)
    async def handler(request: Request) -> Stream:
        async def feed(sink: Sink) -> None:
            try:
                while True:
                    await sink.send(b"x" * 65536)
            finally:
                log.append((request.ended, trio.current_time() - began))

        return Stream(feed)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        await exchange.head()
        began = trio.current_time()
        exchange.stop_reading()
        await exchange.wait_returned()
        assert exchange.dropped
    assert log == [("disconnected", pytest.approx(3))]


async def test_a_slow_reader_is_not_dropped_while_it_makes_progress(autojump_clock: MockClock) -> None:
    """`send_timeout` is about progress, not about the whole write."""
    app = App(timeout=1, send_timeout=3)

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            for _ in range(40):
                await sink.send(b"x" * 65536)

        return Stream(feed)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        size = 0
        while (chunk := await exchange.receive()) is not None:
            size += len(chunk)
            await trio.sleep(2)
        assert (size, exchange.complete, exchange.dropped) == (40 * 65536, True, False)


# --- scopes of a middleware's own


async def outermost(request: Request, call_next: Next) -> Response:
    return await call_next(request)


async def fails_after(request: Request, call_next: Next) -> Response:
    with trio.fail_after(1):
        return await call_next(request)


async def moves_on(request: Request, call_next: Next) -> Response:
    with trio.move_on_after(1):
        return await call_next(request)
    return Text("fallback")


async def in_nursery(request: Request, call_next: Next) -> Response:
    async def stop() -> None:
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        response = await call_next(request)
        nursery.cancel_scope.cancel()
        return response
    return Text("fallback")


async def innermost(request: Request, call_next: Next) -> Response:
    response = await call_next(request)
    response.headers["x-seen"] = str(response.status)
    return response


@pytest.mark.parametrize(
    ("middleware", "status", "text", "reason"),
    [
        (fails_after, 504, None, "failed"),
        (moves_on, 200, "fallback", "returned"),
        (in_nursery, 200, "fallback", "returned"),
    ],
)
@both_servers
async def test_a_middlewares_own_scope_gets_its_cancellation_back(
    middleware: Any, status: int, text: str | None, reason: str, link: bool, autojump_clock: MockClock
) -> None:
    """A limit on `call_next` works as it does around any other call, through other middleware and dependencies."""
    app, log = App(middleware=[outermost, middleware, innermost]), list[Any]()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("left")

    @app.get("/{seconds}")
    async def handler(seconds: float, request: Request, used: Annotated[None, Depends(resource)]) -> str:
        log.append(request)
        await trio.sleep(seconds)
        return "in time"

    async with TestClient(app, link=link) as client:
        response = await client.get("/10")
        assert (response.status_code, response.text) == (status, text or response.text)
        assert [log[0].ended, log[1]] == [reason, "left"]
        response = await client.get("/0.5")
        assert (response.status_code, response.text, response.headers["x-seen"]) == (200, "in time", "200")


@pytest.mark.parametrize("middleware", [fails_after, moves_on, in_nursery])
@pytest.mark.parametrize("reason", ["deadline", "drained"])
@both_servers
async def test_a_middlewares_own_scope_does_not_hide_why_the_request_ended(
    middleware: Any, reason: str, link: bool, autojump_clock: MockClock
) -> None:
    """The deadline and the drain go past it, the latter even where it comes from further out."""
    app, requests = App(timeout=0.5 if reason == "deadline" else None), list[Request]()

    @app.get("/", middleware=[outermost, middleware, innermost])
    async def handler(request: Request) -> None:
        requests.append(request)
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        if reason == "drained":
            await trio.sleep(0.5)
            client.cancel_requests()
        status, _ = await exchange.head()
        if middleware is in_nursery and reason == "drained" and not link:
            # The nursery's own task was cut as well, and that cancels the nursery: its fallback is as good an answer.
            assert status in (503, 200)
        else:
            assert status == 503
        await exchange.read()
        assert exchange.complete
        await exchange.wait_returned()
    assert requests[0].ended == reason


# --- the drain


@both_servers
async def test_a_drain_ends_requests_with_503(link: bool, autojump_clock: MockClock) -> None:
    """Cancelled with `drained`; the dependencies leave, the client is told, and the request knows why it ended.

    On a plain server the cancellation comes from further out, and nothing else differs.
    """
    app, log = App(timeout=None), list[Any]()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            await trio.sleep(2)
            log.append(repr(error))
            raise

    @app.get("/")
    async def handler(request: Request, used: Annotated[None, Depends(resource)]) -> None:
        log.append(request)
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await trio.sleep(1)
        client.drain()
        await trio.sleep(1)
        assert not exchange.returned
        client.cancel_requests()
        assert (await exchange.head())[0] == 503
        await exchange.read()
        assert exchange.complete
        await exchange.wait_returned()
    request, seen = log
    assert request.ended == "drained"
    assert "RequestCancelled" in seen
    if link:
        assert "drained" in seen


@both_servers
async def test_a_value_counts_after_the_drain_time_too(link: bool, autojump_clock: MockClock) -> None:
    """On a plain server the answer has to pass a cancellation from further out; it arrives."""
    app, requests = App(timeout=None), list[Request]()

    @app.get("/")
    async def handler(request: Request) -> str:
        requests.append(request)
        return await late_shielded()

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await trio.sleep(1)
        client.cancel_requests()
        assert (await exchange.head())[0] == 200
        assert (await exchange.read(), exchange.complete) == (b"late", True)
    assert requests[0].ended == "drained"


async def test_draining_is_told_before_anything_is_cancelled(autojump_clock: MockClock) -> None:
    """A long poll that listens to `request.draining` ends by itself, as a success."""
    app, requests = App(timeout=None), list[Request]()

    @app.get("/")
    async def handler(request: Request) -> str:
        requests.append(request)
        assert not request.draining.is_set()
        await request.draining.wait()
        return "see you"

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        await trio.sleep(60)
        client.drain()
        assert (await exchange.read(), exchange.status) == (b"see you", 200)
    assert requests[0].ended == "returned"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_finishing_request_whose_client_left_is_still_drained(method: str, autojump_clock: MockClock) -> None:
    """`disconnected` does not stop a request that finishes; `drained`, which comes later, does."""
    app, requests = App(timeout=None, on_disconnect="finish"), list[Request]()

    @app.route("/", methods=["GET", "POST"])
    async def handler(request: Request) -> None:
        requests.append(request)
        await trio.sleep_forever()

    async with TestClient(app) as client, client.open(method, "/") as exchange:
        await trio.sleep(1)
        exchange.leave()
        await trio.sleep(1)
        assert not exchange.returned
        client.cancel_requests()
        await exchange.wait_returned()
    assert requests[0].ended == "drained"


async def test_a_stream_that_was_drained_is_cut(autojump_clock: MockClock) -> None:
    """Its head is out, so there is no 503; the client must see that the body is not whole."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send(b"part")
            await trio.sleep_forever()

        return Stream(feed)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        assert await exchange.receive() == b"part"
        client.cancel_requests()
        assert await exchange.receive() is None
        assert exchange.truncated


@both_servers
async def test_a_stream_without_dependencies_returned_after_the_drain_time_is_503(
    link: bool, autojump_clock: MockClock
) -> None:
    """So it is where the cancellation comes from further out."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        await late_shielded()

        async def feed(sink: Sink) -> None:
            await sink.send("x")

        return Stream(feed)

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await trio.sleep(1)
        client.cancel_requests()
        assert (await exchange.head())[0] == 503
        await exchange.read()
        assert exchange.complete


async def test_a_stream_returned_after_the_drain_time_is_503(autojump_clock: MockClock) -> None:
    """A handler that was told to stop and returns a stream all the same: it is not begun, and there is an answer."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        try:
            yield
        except RequestCancelled as error:
            log.append(error.reason)
            raise

    @app.get("/")
    async def handler(used: Annotated[None, Depends(resource)]) -> Stream:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)

        async def feed(sink: Sink) -> None:
            log.append("fed")

        return Stream(feed)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        await trio.sleep(1)
        client.cancel_requests()
        assert (await exchange.head())[0] == 503
        await exchange.read()
        assert exchange.complete
    assert log == ["drained"]


@pytest.mark.parametrize("link", [True, False])
async def test_every_reason_for_ending(link: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """`request.ended` is `None` while the request runs, then the reason, which the access log has too."""
    app, requests = App(timeout=4), dict[str, Request]()

    @app.get("/{name}")
    async def handler(name: str, request: Request) -> str:
        requests[name] = request
        assert request.ended is None
        if name == "failed":
            raise HTTPError(404)
        if name != "returned":
            await trio.sleep_forever()
        return "x"

    caplog.set_level(logging.INFO, "trivet.access")
    async with TestClient(app, link=link) as client:
        await client.get("/returned")
        await client.get("/failed")
        await client.get("/deadline")
        async with client.open("GET", "/disconnected") as exchange:
            await trio.sleep(1)
            exchange.leave()
            await exchange.wait_returned()
        async with client.open("GET", "/drained") as exchange:
            await trio.sleep(1)
            client.cancel_requests()
            await exchange.read()
            await exchange.wait_returned()
    names = ["returned", "failed", "deadline", "disconnected", "drained"]
    assert [requests[name].ended for name in names] == names
    logged = [(r.__dict__["status"], r.__dict__["outcome"]) for r in caplog.records if r.name == "trivet.access"]
    assert logged == list(zip([200, 404, 503, 499, 503], names, strict=True))
