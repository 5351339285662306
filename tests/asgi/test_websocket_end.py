"""How WebSockets end: with which code, who is stopped when, and what dependencies see of it."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock

from trivet import (
    App,
    Depends,
    File,
    HTTPError,
    Request,
    RequestCancelled,
    Response,
    Sink,
    Stream,
    WebSocket,
    WebSocketClosed,
)
from trivet.errors import ResponseError
from trivet.testing import TaskLeak, TestClient, TestWebSocket, WebSocketRefused

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


def serving(handler: Any, *, link: bool = True, app: App | None = None, **options: Any) -> TestClient:
    """A client of an application with one WebSocket."""
    app = app or App()
    app.websocket("/", **options)(handler)
    return TestClient(app, link=link)


async def refused(client: TestClient) -> WebSocketRefused:
    with pytest.raises(WebSocketRefused) as caught:
        async with client.websocket("/"):
            raise AssertionError("it was accepted")
    return caught.value


async def returns(ws: WebSocket) -> None: ...


async def closes(ws: WebSocket) -> None:
    await ws.close(4001, "enough")


async def raises(error: BaseException) -> None:
    raise error


async def in_nursery(*errors: BaseException) -> None:
    async with trio.open_nursery() as nursery:
        for error in errors:
            nursery.start_soon(raises, error)


ENDS: dict[str, tuple[Any, int, tuple[int, str]]] = {
    "returns": (returns, 403, (1000, "")),
    "closes": (closes, 403, (4001, "enough")),
    "400": (lambda _: raises(HTTPError(400)), 400, (1008, "")),
    "401": (lambda _: raises(HTTPError(401, "who are you?")), 401, (1008, "who are you?")),
    "503": (lambda _: raises(HTTPError(503, "later")), 503, (1011, "later")),
    "bug": (lambda _: raises(ValueError("a secret")), 500, (1011, "")),
    "too-slow": (lambda _: raises(trio.TooSlowError()), 504, (1011, "")),
    "exit": (lambda _: raises(SystemExit(3)), 500, (1011, "")),
    "group": (lambda _: in_nursery(HTTPError(403, "no")), 403, (1008, "no")),
    "groups": (lambda _: in_nursery(HTTPError(409, "b"), HTTPError(403, "a")), 403, (1008, "a")),
    "masked": (lambda _: in_nursery(HTTPError(403, "no"), ValueError("a secret")), 500, (1011, "")),
    "caught": (lambda _: raises(KeyError("x")), 404, (1008, "")),
    "forgiven": (lambda _: raises(LookupError("x")), 200, (1000, "")),
}


@pytest.mark.parametrize("accepted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ENDS)
@both_servers
async def test_what_a_handler_ends_with_is_answered_or_closes(name: str, accepted: bool, link: bool) -> None:
    """Before the acceptance as a response, after it as a close; through catchers, and groups taken apart."""
    act, status, closed = ENDS[name]
    app = App()

    @app.catch(KeyError)
    async def missing(request: Request, error: KeyError) -> tuple[int, str]:
        return 404, "a page"

    @app.catch(LookupError)
    async def fine(request: Request, error: LookupError) -> str:
        return "fine"

    async def handler(ws: WebSocket) -> None:
        if accepted:
            await ws.accept()
        await act(ws)

    async with serving(handler, link=link, app=app) as client:
        if accepted:
            async with client.websocket("/") as ws:
                assert await ws.wait_closed() == closed
        else:
            response = (await refused(client)).response
            assert response.status_code == status
            assert "a secret" not in response.text


async def test_errors_are_logged_once_with_the_id(caplog: pytest.LogCaptureFixture) -> None:
    """A bug with its traceback, a client's fault for those who look; the normal ends not at all."""
    caplog.set_level(logging.INFO, "trivet")

    async def handler(ws: WebSocket, how: str) -> None:
        await ws.send(ws.id)
        if how == "bug":
            raise ValueError("a secret")
        if how == "no":
            raise HTTPError(403)
        while how == "receive":
            await ws.receive()

    bug = ""
    async with serving(handler) as client:
        for how in ("bug", "no", "receive", "return"):
            async with client.websocket("/", params={"how": how}) as ws:
                request_id = await ws.receive()
                if how == "receive":
                    await ws.close()
                await ws.wait_returned()
            if how == "bug":
                bug = request_id
    errors = [record.getMessage() for record in caplog.records if record.name == "trivet"]
    assert errors == [f"WEBSOCKET '/' failed, request {bug}"]


@pytest.mark.parametrize(
    ("text", "fits"), [("x" * 123, "x" * 123), ("x" * 124, "x" * 120 + "…"), ("é" * 62, "é" * 60 + "…")]
)
async def test_a_detail_is_cut_to_what_a_close_has_room_for(text: str, fits: str) -> None:
    """123 bytes, never half a character."""

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        raise HTTPError(400, text)

    async with serving(handler) as client, client.websocket("/") as ws:
        assert await ws.wait_closed() == (1008, fits)


async def test_a_page_of_a_catcher_is_not_sent_to_a_handshake() -> None:
    """A stream or a file in place of an error: the plain problem goes out, with its status."""
    app = App()

    async def feed(sink: Sink) -> None: ...

    @app.catch(404)
    async def stream(request: Request, error: HTTPError) -> Response:
        return Stream(feed, status=404)

    @app.catch(410)
    async def file(request: Request, error: HTTPError) -> Response:
        return File(__file__)

    async def handler(ws: WebSocket, status: int) -> None:
        raise HTTPError(status, "gone")

    app.websocket("/")(handler)
    async with TestClient(app) as client:
        for status in (404, 410):
            with pytest.raises(WebSocketRefused) as caught:
                await client.websocket("/", params={"status": status}).__aenter__()
            assert caught.value.status == status
            assert caught.value.response.json()["detail"] == "gone"


async def test_a_value_that_goes_nowhere_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """What a handler returns is not sent, which must not be silent."""

    async def handler(ws: WebSocket) -> dict[str, int]:
        await ws.accept()
        return {"a": 1}

    async with serving(handler) as client, client.websocket("/") as ws:
        assert await ws.wait_closed() == (1011, "")
    assert "returned dict, which goes nowhere" in caplog.text


# ---- the client closes


@both_servers
async def test_a_close_is_in_band(link: bool) -> None:
    """What came before it is received; then iteration ends, and receiving and sending say how it was closed."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await trio.testing.wait_all_tasks_blocked(0.01)
        log.extend([message async for message in ws])
        for call in (ws.receive, lambda: ws.send("x"), lambda: ws.send_json(1), lambda: anext(ws.iter(int))):
            try:
                await call()
            except (WebSocketClosed, StopAsyncIteration) as error:
                log.append(repr(error))
        await ws.close()
        await trio.lowlevel.checkpoint()
        log.append((ws.close_code, ws.close_reason))

    async with serving(handler, link=link) as client, client.websocket("/") as ws:
        await ws.send("a")
        await ws.send("b")
        await ws.close(4002, "bye")
        await ws.wait_returned()
    closed = (4002, "bye") if link else (1006, "")
    error = f"WebSocketClosed{closed!r}"
    assert log == ["a", "b", error, error, error, "StopAsyncIteration()", closed]


@both_servers
async def test_who_does_not_receive_knows_how_it_was_closed(link: bool, autojump_clock: MockClock) -> None:
    """While messages before the close lie unread; of a plain server, what its watcher reads."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        log.append((ws.close_code, ws.close_reason))
        try:
            await trio.sleep_forever()
        finally:
            log.append((ws.close_code, ws.close_reason, ws.ended))

    async with serving(handler, link=link) as client, client.websocket("/") as ws:
        await ws.send("unread")
        await ws.close(4002, "bye")
        await ws.wait_returned()
    assert log == [(None, ""), (*((4002, "bye") if link else (1006, "")), "disconnected")]


@both_servers
async def test_a_send_after_the_close_knows_how_it_was_closed(link: bool, autojump_clock: MockClock) -> None:
    """Though what came before the close has not been received; and that still is, afterwards."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep(1)
        try:
            await ws.send("late")
        except WebSocketClosed as error:
            log.append(error.args)
        log.extend([message async for message in ws])

    async with serving(handler, link=link) as client, client.websocket("/") as ws:
        await ws.send("a")
        await ws.send("b")
        await ws.close(4002, "bye")
        await ws.wait_returned()
    assert log == [(4002, "bye") if link else (1006, ""), "a", "b"]


@both_servers
async def test_a_handler_that_only_sends_is_told(link: bool, autojump_clock: MockClock) -> None:
    """By the next send, and let out of the handler that is no error: nobody reads, and nothing is logged."""
    sent: list[int] = []

    async def handler(ws: WebSocket) -> None:
        for number in range(1000):
            await ws.send(str(number))
            sent.append(number)
            await trio.sleep(0.01)

    async with serving(handler, link=link) as client:
        async with client.websocket("/") as ws:
            for _ in range(3):
                await ws.receive()
            ws.leave()
            await ws.wait_returned()
        assert 3 <= len(sent) < 20


LEAVING = pytest.mark.parametrize("how", ["close", "leave"])


async def go(ws: TestWebSocket, how: str) -> None:
    if how == "close":
        await ws.close()
    else:
        ws.leave()


@LEAVING
@both_servers
async def test_after_a_close_the_handler_has_the_grace_to_end(how: str, link: bool, autojump_clock: MockClock) -> None:
    """Also if it does not receive; it can wait in its own cleanup, and what goes on is cancelled."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        began = trio.current_time()
        try:
            await trio.sleep(3)
            log.append("still there")
            assert ws.ended is None
            await trio.sleep_forever()
        except trio.Cancelled:
            log.append((ws.ended, round(trio.current_time() - began, 1)))
            raise

    app = App(cleanup_grace=4)
    async with serving(handler, link=link, app=app) as client, client.websocket("/") as ws:
        await go(ws, how)
        await ws.wait_returned()
    (first, (ended, after)) = log
    assert (first, ended) == ("still there", "disconnected")
    assert 4 <= after <= 4.2


@LEAVING
@both_servers
async def test_with_cancel_the_handler_stops_at_once(how: str, link: bool, autojump_clock: MockClock) -> None:
    """As soon as the close is seen."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        with trio.CancelScope(shield=False):
            try:
                await trio.sleep_forever()
            finally:
                log.append(ws.ended)

    async with serving(handler, link=link, on_disconnect="cancel") as client, client.websocket("/") as ws:
        await trio.sleep(1)
        began = trio.current_time()
        await go(ws, how)
        await ws.wait_returned()
        assert trio.current_time() - began < 0.2
    assert log == ["disconnected"]


@both_servers
async def test_with_finish_the_handler_goes_on(link: bool, autojump_clock: MockClock) -> None:
    """As long as it wants; the close is in-band all the same."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        log.extend([message async for message in ws])
        await trio.sleep(8)
        log.append(ws.ended)

    async with serving(handler, link=link, on_disconnect="finish") as client, client.websocket("/") as ws:
        await ws.close()
        await ws.wait_returned()
    assert log == [None]


@both_servers
async def test_who_leaves_during_the_handshake_stops_it(link: bool, autojump_clock: MockClock) -> None:
    """At once, without a grace: nothing has begun."""
    log: list[Any] = []

    async def slow(ws: WebSocket) -> None:
        try:
            await trio.sleep(20)
        finally:
            log.append((ws.ended, trio.current_time() - began))

    async def handler(ws: WebSocket) -> None:
        raise AssertionError

    began = trio.current_time()
    async with serving(handler, link=link, dependencies=[Depends(slow)]) as client:
        with trio.move_on_after(2):
            await client.websocket("/").__aenter__()
    assert log == [("disconnected", pytest.approx(2, abs=0.2))]


@both_servers
async def test_a_watcher_reads_ahead_no_more_than_is_bounded(link: bool, autojump_clock: MockClock) -> None:
    """A handler that does not receive holds its client up, after a few messages with a Link, after 64 KiB without."""
    sent: list[int] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep(20)

    async with serving(handler, link=link) as client, client.websocket("/") as ws:
        with trio.move_on_after(5):
            while True:
                await ws.send("x" * 1000)
                sent.append(1)
        ws.leave()
        await ws.wait_returned()
    assert 5 <= len(sent) <= (15 if link else 90)


# ---- we close


async def test_our_own_close_ends_what_waits() -> None:
    """A receive in another task; and afterwards nothing is received, sent or closed again."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                log.extend([message async for message in ws])
                log.append("ended")

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await ws.close(4003, "mine")
        await ws.close(4004, "again")
        for call in (ws.receive, lambda: ws.send("x")):
            with pytest.raises(WebSocketClosed) as caught:
                await call()
            log.append(caught.value.args)
        log.append((ws.close_code, ws.close_reason, ws.ended))

    async with serving(handler) as client, client.websocket("/") as ws:
        assert await ws.wait_closed() == (4003, "mine")
        await ws.wait_returned()
    assert log == ["ended", (4003, "mine"), (4003, "mine"), (4003, "mine", None)]


@both_servers
async def test_after_our_own_close_there_is_the_grace_too(link: bool, autojump_clock: MockClock) -> None:
    """Then what still runs is cancelled: nobody is there for whom it could."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close()
        try:
            await trio.sleep_forever()
        finally:
            log.append((trio.current_time(), ws.ended))

    began = trio.current_time()
    async with serving(handler, link=link) as client, client.websocket("/") as ws:
        await ws.wait_returned()
    assert log == [(began + 5, "disconnected")]


CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
NO_CODES: list[Any] = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1, "1000", None, 1000.5]


@pytest.mark.parametrize("code", CODES)
async def test_a_code_that_may_be_sent(code: int) -> None:
    """RFC 6455 section 7.4, and what IANA has added."""

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(code, "é" * 61)

    async with serving(handler) as client, client.websocket("/") as ws:
        assert await ws.wait_closed() == (code, "é" * 61)


@pytest.mark.parametrize("code", NO_CODES)
async def test_a_code_that_may_not_be_sent(code: Any) -> None:
    """It stands for what was not sent, or for nothing: the error has the remedy, and the WebSocket is still open."""

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ValueError, match="is not a code that a WebSocket may be closed with"):
            await ws.close(code)
        with pytest.raises(ValueError, match="the reason has 124 bytes"):
            await ws.close(4000, "é" * 62)
        await ws.send("open")

    async with serving(handler) as client, client.websocket("/") as ws:
        assert await ws.receive() == "open"


@pytest.mark.parametrize("unread", [9, 10])
async def test_a_close_does_not_wait_for_what_is_unread(unread: int) -> None:
    """Stock hypercorn tells of the end from inside of the close, and has no room for that behind ten messages."""
    began = trio.Event()

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await began.wait()

    async with serving(handler, link=False) as client, client.websocket("/") as ws:
        for _ in range(unread):
            await ws.send("x")
        began.set()
        with trio.fail_after(5):
            assert await ws.wait_closed() == (1000, "")
            await ws.wait_returned()


# ---- time


@both_servers
async def test_the_timeout_ends_with_the_acceptance(link: bool, autojump_clock: MockClock) -> None:
    """Before it the answer is 503; after it there is none, in the handler and in what is entered next."""

    async def handler(ws: WebSocket, accept: bool) -> None:
        assert ws.time_left() == 2
        if accept:
            await trio.sleep(1)
            await ws.accept()
            assert ws.deadline == math.inf
        await trio.sleep(1000)

    async with serving(handler, link=link, timeout=2) as client:
        with pytest.raises(WebSocketRefused) as caught:
            await client.websocket("/", params={"accept": "false"}).__aenter__()
        assert caught.value.status == 503
        began = trio.current_time()
        async with client.websocket("/", params={"accept": "true"}) as ws:
            assert await ws.wait_closed() == (1000, "")
        assert trio.current_time() - began == 1001


@pytest.mark.parametrize("who", ["nobody", "client", "server"])
@both_servers
async def test_silence_closes_it(who: str, link: bool, autojump_clock: MockClock) -> None:
    """With 1001 when nothing has gone either way for `idle_timeout`, at most a sixteenth later; a message defers it."""

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for _ in range(10):
                    await trio.sleep(7)
                    await ws.send("x")

            if who == "server":
                nursery.start_soon(send)
            async for _ in ws:
                pass

    async with serving(handler, link=link, idle_timeout=8) as client, client.websocket("/") as ws:
        began = trio.current_time()
        for _ in range(10 if who == "client" else 0):
            await trio.sleep(7)
            await ws.send("x")
        assert await ws.wait_closed() == (1001, "idle timeout")
        active = 0 if who == "nobody" else 70
        assert active + 8 <= trio.current_time() - began <= active + 8.5


async def test_a_client_that_does_not_read_is_dropped(autojump_clock: MockClock) -> None:
    """After `send_timeout`; for the sender it is closed, and others that send are told."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(2):
            try:
                await ws.send("x" * 100_000)
            except WebSocketClosed as error:
                log.append((error.code, trio.current_time() - began))

    async with serving(handler, send_timeout=3) as client, client.websocket("/") as ws:
        began = trio.current_time()
        ws.stop_reading()
        await ws.wait_returned()
        assert ws.dropped
    assert log == [(1006, 3), (1006, 3)]


# ---- dependencies


def recorded(log: list[Any], name: str, *, fails: bool = False) -> Any:
    @asynccontextmanager
    async def dependency() -> AsyncIterator[None]:
        log.append(f"{name} >")
        try:
            yield
        except BaseException as error:
            log.append(f"{name}: {error!r}")
            raise
        finally:
            await trio.lowlevel.checkpoint()
            log.append(f"< {name}")
        if fails:
            raise RuntimeError("the commit failed")

    return dependency


@both_servers
async def test_dependencies_leave_before_the_close(link: bool) -> None:
    """In reverse order, while the client still waits: so a commit that fails is not closed as if it were done."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.send("x")
        log.append("handler")

    dependencies = [Depends(recorded(log, "a")), Depends(recorded(log, "b"))]
    async with serving(handler, link=link, dependencies=dependencies) as client, client.websocket("/") as ws:
        await ws.wait_closed()
        log.append("closed")
        await ws.wait_returned()
    assert log == ["a >", "b >", "handler", "< b", "< a", "closed"]


@both_servers
async def test_a_commit_that_fails_closes_with_1011(link: bool) -> None:
    """Not with 1000; before the acceptance it cannot happen, as nothing was done."""

    async def handler(ws: WebSocket) -> None:
        await ws.send("done?")

    dependencies = [Depends(recorded([], "a", fails=True))]
    async with serving(handler, link=link, dependencies=dependencies) as client, client.websocket("/") as ws:
        assert await ws.wait_closed() == (1011, "")


@both_servers
async def test_dependencies_are_told_why_it_was_cancelled(link: bool, autojump_clock: MockClock) -> None:
    """An ordinary exception, in a scope that is not cancelled, as with requests."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep_forever()

    app = App(cleanup_grace=1)
    dependencies = [Depends(recorded(log, "a"))]
    async with serving(handler, link=link, app=app, dependencies=dependencies) as client, client.websocket("/") as ws:
        ws.leave()
        await ws.wait_returned()
    assert log == ["a >", f"a: {RequestCancelled('disconnected')!r}", "< a"]


@both_servers
async def test_an_injected_nursery_is_joined_and_ends_with_the_grace(link: bool, autojump_clock: MockClock) -> None:
    """Its children go on when the handler has returned, as long as the client is there, and the grace after that."""
    log: list[Any] = []

    async def handler(ws: WebSocket, nursery: trio.Nursery) -> None:
        await ws.accept()

        async def child() -> None:
            try:
                await ws.send("from the child")
                await trio.sleep_forever()
            finally:
                log.append(trio.current_time() - left)

        nursery.start_soon(child)

    async with serving(handler, link=link, timeout=1) as client, client.websocket("/") as ws:
        await ws.receive()
        await trio.sleep(50)
        left = trio.current_time()
        ws.leave()
        await ws.wait_returned()
    assert log == [pytest.approx(5, abs=0.2)]


@both_servers
async def test_one_task_that_fails_ends_all_of_a_connection(link: bool) -> None:
    """Reader and writer in a nursery of the handler's own: the error decides the close, cancellation is dropped."""

    async def handler(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(raises, HTTPError(409, "in use"))
            async for _ in ws:
                pass

    async with serving(handler, link=link) as client, client.websocket("/") as ws:
        assert await ws.wait_closed() == (1008, "in use")


# ---- the server stops


@both_servers
async def test_who_leaves_during_the_drain_closes_with_1001(link: bool, autojump_clock: MockClock) -> None:
    """So that the client comes back, to another server."""

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.draining.wait()

    async with serving(handler, link=link) as client, client.websocket("/") as ws:
        if link:
            client.drain()
        else:  # nobody tells a plain application but its own lifespan
            client.app.draining.set()  # type: ignore[attr-defined]
        assert await ws.wait_closed() == (1001, "")


@both_servers
async def test_a_handler_that_does_not_end_is_cancelled_with_1001(link: bool, autojump_clock: MockClock) -> None:
    """When the drain time is over; its dependencies are told, and a plain server's own cancellation goes on."""
    log: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep_forever()

    dependencies = [Depends(recorded(log, "a"))]
    async with serving(handler, link=link, dependencies=dependencies) as client, client.websocket("/") as ws:
        await trio.sleep(1)
        client.cancel_requests()
        assert await ws.wait_closed() == (1001, "")
        await ws.wait_returned()
        assert ws.error is None
    assert log[0] == "a >"
    assert log[2] == "< a"


@both_servers
async def test_a_handshake_that_is_drained_is_503(link: bool, autojump_clock: MockClock) -> None:
    """As a request's answer is."""

    async def handler(ws: WebSocket) -> None:
        client.cancel_requests()
        await trio.sleep_forever()

    async with serving(handler, link=link) as client:
        assert (await refused(client)).status == 503


async def test_a_task_that_outlives_its_websocket_is_seen() -> None:
    """As one that outlives its request."""
    async with trio.open_nursery() as outer:

        async def handler(ws: WebSocket) -> None:
            await ws.accept()
            outer.start_soon(trio.sleep_forever)

        client = serving(handler)
        await client.__aenter__()
        async with client.websocket("/") as ws:
            await ws.wait_closed()
        with pytest.raises(TaskLeak, match="WEBSOCKET /"):
            await client.__aexit__()
        outer.cancel_scope.cancel()


async def test_an_unoffered_subprotocol_is_the_applications_error() -> None:
    """It can be caught where it is made."""

    async def handler(ws: WebSocket) -> None:
        with pytest.raises(ResponseError):
            await ws.accept("x")
        await ws.accept()

    async with serving(handler) as client, client.websocket("/", subprotocols=["y"]) as ws:
        assert await ws.wait_closed() == (1000, "")


async def test_hundreds_that_vanish_leave_nothing(autojump_clock: MockClock) -> None:
    """No task, and no handler that waits for them."""
    over: list[Any] = []

    async def handler(ws: WebSocket, user: Annotated[None, Depends(recorded([], "a"))]) -> None:
        async for message in ws:
            await ws.send(message)
        over.append(ws.close_code)

    async with serving(handler) as client:
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(20):
            sockets = [client.websocket("/") for _ in range(10)]
            for ws in sockets:
                await ws.__aenter__()
            for ws in sockets:
                ws.leave()
            for ws in sockets:
                await ws.wait_returned()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
    assert over == [1006] * 200
