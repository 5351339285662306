"""`TestClient` as an httpx client: requests, responses, streaming both ways, errors, lifespan."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from tests.harness import Golden
from trivet import App, EventSink, EventStream, WebSocket
from trivet.asgi import ASGIApp, Message, Receive, Scope, Send
from trivet.testing import LifespanFailed, ProtocolViolation, TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


def http_only(handler: ASGIApp) -> ASGIApp:
    """An application without lifespan support, as the specification lets it be."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await handler(scope, receive, send)

    return app


async def answer(send: Send, body: bytes = b"ok", status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive) -> list[bytes]:
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        chunks.append(message["body"])
        more = message["more_body"]
    return chunks


@both_servers
async def test_scope_says_what_was_asked(link: bool) -> None:
    """The scope holds the request as a server would parse it from the wire."""
    seen: list[Scope] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await answer(send)

    async with TestClient(app, link=link, root_path="/api", client=("10.0.0.1", 4)) as client:
        response = await client.get("/a%2Fb/ü?q=1&r=%20", headers={"X-Name": "Value"})
    scope = seen[0]
    assert (response.status_code, response.text) == (200, "ok")
    assert scope["method"] == "GET"
    assert scope["http_version"] == "1.1"
    assert scope["scheme"] == "http"
    assert scope["path"] == "/a/b/ü"
    assert scope["raw_path"] == b"/a%2Fb/%C3%BC"
    assert scope["query_string"] == b"q=1&r=%20"
    assert scope["root_path"] == "/api"
    assert scope["client"] == ("10.0.0.1", 4)
    assert scope["server"] == ("testserver", 80)
    assert (b"x-name", b"Value") in scope["headers"]
    assert (b"host", b"testserver") in scope["headers"]
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4" if link else "2.1"}
    assert ("trivet" in scope["extensions"]) is link


async def test_target_goes_as_it_is() -> None:
    """A request target in bytes, or httpx's `target` extension, reaches the scope untouched."""
    seen: list[bytes] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["raw_path"] + b"|" + scope["query_string"])
        await answer(send)

    async with TestClient(app) as client:
        async with client.open("OPTIONS", b"*") as exchange:
            assert await exchange.read() == b"ok"
        await client.get("/", extensions={"target": b"//a/../%zz?x=%zz"})
    assert seen == [b"*|", b"//a/../%zz|x=%zz"]


@both_servers
async def test_get_has_one_empty_body_message(link: bool) -> None:
    """A request without content is one `http.request` message, empty and last."""
    seen: list[Message] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await receive())
        await answer(send)

    async with TestClient(app, link=link) as client:
        await client.get("/")
    assert seen == [{"type": "http.request", "body": b"", "more_body": False}]


@pytest.mark.parametrize(("link", "sizes"), [(True, [65536, 34464]), (False, [65536, 34464, 0])])
async def test_body_arrives_in_messages(link: bool, sizes: list[int]) -> None:
    """A body of known length is cut into messages, whose last is empty under hypercorn and full elsewhere."""
    seen: list[int] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(len(chunk) for chunk in await body_of(receive))
        await answer(send)

    async with TestClient(app, link=link) as client:
        response = await client.post("/", content=b"x" * 100_000)
    assert response.request.headers["content-length"] == "100000"
    assert seen == sizes


@both_servers
async def test_full_duplex(link: bool) -> None:
    """Request and response stream at the same time, chunk by chunk."""

    @http_only
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": more})

    ask, questions = trio.open_memory_channel[bytes](0)

    async def content() -> AsyncIterator[bytes]:
        async for question in questions:
            yield question

    async with (
        TestClient(echo, link=link) as client,
        client.stream("POST", "/", content=content()) as response,
    ):
        answers = response.aiter_raw()
        for question in (b"one", b"two"):
            await ask.send(question)
            assert await anext(answers) == question.upper()
        await ask.aclose()
        assert [chunk async for chunk in answers] == []


async def test_chunks_come_when_they_are_sent(autojump_clock: trio.testing.MockClock) -> None:
    """A streamed response is delivered as the application sends it, not when it is over."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            await trio.sleep(10)
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
        await send({"type": "http.response.body"})

    async with TestClient(app) as client:
        start = trio.current_time()
        async with client.stream("GET", "/") as response:
            seen = [(chunk, trio.current_time() - start) async for chunk in response.aiter_raw()]
    assert seen == [(b"0", 10), (b"1", 20), (b"2", 30)]


@both_servers
async def test_upload_waits_for_the_application(link: bool) -> None:
    """An application that does not receive holds the upload up."""
    sent: list[int] = []
    go = trio.Event()

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        chunks = await body_of(receive)
        await answer(send, b"%d" % sum(map(len, chunks)))

    async def content() -> AsyncIterator[bytes]:
        for number in range(50):
            sent.append(number)
            yield b"x"

    async with TestClient(app, link=link) as client, client.open("POST", "/", content=content()) as exchange:
        await trio.testing.wait_all_tasks_blocked()
        # What the queue holds, and the chunk that waits for room in it.
        assert len(sent) == (2 if link else 11)
        go.set()
        assert await exchange.read() == b"50"


async def test_error_of_the_content_is_the_tests() -> None:
    """What the test's own request body raises comes out of the request; the application sees it leave."""
    seen: list[str] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([(await receive())["type"], (await receive())["type"]])

    async def content() -> AsyncIterator[bytes]:
        yield b"x"
        raise KeyError("mine")

    async with TestClient(app) as client:
        with pytest.raises(KeyError, match="mine"):
            await client.post("/", content=content())
    assert seen == ["http.request", "http.disconnect"]


@both_servers
async def test_head_and_304_have_no_body(link: bool) -> None:
    """A server drops the content of an answer to HEAD; its headers stay."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"5")]
        if scope["path"] == "/304":
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"hello"})

    async with TestClient(app, link=link) as client:
        head = await client.head("/")
        unchanged = await client.get("/304")
    assert (head.headers["content-length"], head.content) == ("5", b"")
    assert (unchanged.headers["content-length"], unchanged.content) == ("5", b"")


async def test_httpx_options_work() -> None:
    """Cookies, redirects and default headers are httpx's own."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            headers = [(b"location", b"/there"), (b"set-cookie", b"a=1; Path=/")]
            await send({"type": "http.response.start", "status": 303, "headers": headers})
            await send({"type": "http.response.body"})
        else:
            sent = dict(scope["headers"])
            await answer(send, sent[b"cookie"] + b" " + sent[b"x-all"])

    async with TestClient(app, follow_redirects=True, headers={"X-All": "yes"}) as client:
        assert (await client.get("/")).text == "a=1 yes"


async def test_read_timeout_is_honoured(autojump_clock: trio.testing.MockClock) -> None:
    """There is no timeout by default; one that is given ends the request as a client's would."""
    ends: list[str] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with trio.move_on_after(60):
            ends.append((await receive())["type"])
        await answer(send)

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "ok"
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/", timeout=5)
        await trio.testing.wait_all_tasks_blocked()
        assert ends == ["http.disconnect"]


# --- errors of the application


@both_servers
async def test_error_before_the_head_is_raised(link: bool) -> None:
    """What escapes the application before the head is raised from the request, itself and not in a group."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("mine")

    async with TestClient(app, link=link) as client:
        with pytest.raises(KeyError, match="mine"):
            await client.get("/")


@both_servers
async def test_error_before_the_head_as_a_server_has_it(link: bool) -> None:
    """`raise_app_exceptions=False` answers 500 and keeps quiet about the error."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("mine")

    async with TestClient(app, link=link, raise_app_exceptions=False) as client:
        response = await client.get("/")
    assert (response.status_code, response.content) == (500, b"")


@both_servers
async def test_error_after_the_head_truncates(link: bool) -> None:
    """What escapes later truncates the body; the error is the cause of httpx's."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("mine")

    async with TestClient(app, link=link) as client:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await client.get("/")
        assert isinstance(caught.value.__cause__, KeyError)
        async with client.open("GET", "/") as exchange:
            assert await exchange.read() == b"half"
            assert exchange.truncated
            assert isinstance(exchange.error, KeyError)


async def test_error_nobody_looked_at_is_raised_at_the_end() -> None:
    """An error after a complete response, or after the client has left, is not lost."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send)
        raise KeyError(scope["path"])

    with pytest.raises(KeyError, match="/late"):
        async with TestClient(app) as client:
            assert (await client.get("/late")).text == "ok"
    with pytest.RaisesGroup(KeyError, KeyError):
        async with TestClient(app) as client:
            await client.get("/1")
            await client.get("/2")


async def test_error_of_the_test_wins() -> None:
    """The test's own error comes out as it is; what else is wrong is noted on it."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send)
        raise KeyError("in the app")

    async def test() -> None:
        async with TestClient(app) as client:
            await client.get("/")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await test()
    assert "KeyError('in the app')" in caught.value.__notes__[0]


async def test_failed_test_does_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    """When the test has failed, requests are cancelled at once: no drain."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(1000)

    start = trio.current_time()
    with pytest.raises(ZeroDivisionError):
        async with TestClient(app) as client, client.open("GET", "/"):
            raise ZeroDivisionError
    assert trio.current_time() == start


async def test_exit_of_the_application_ends_the_test() -> None:
    """SystemExit is not an error of a request: it ends the client, as it would end the process."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise SystemExit(3)

    with pytest.RaisesGroup(SystemExit):
        async with TestClient(app) as client:
            await client.get("/")


async def test_no_answer_is_a_violation() -> None:
    """Returning without a response is an error of the application."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async with TestClient(app) as client:
        with pytest.raises(ProtocolViolation, match="returned without an answer to GET /"):
            await client.get("/")
    async with TestClient(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500


async def test_return_in_the_middle_truncates() -> None:
    """Returning in the middle of a body cuts it: ASGI has no other word for that."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    async with TestClient(app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


async def test_violation_cannot_be_hidden() -> None:
    """A broken rule fails the test even if the application catches it and answers 500."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [("a", "b")]})
        except Exception:
            await answer(send, status=500)

    async with TestClient(app) as client:
        with pytest.raises(ProtocolViolation, match="not a pair of bytes"):
            await client.get("/")
    with pytest.raises(ProtocolViolation, match="not a pair of bytes"):
        async with TestClient(app) as client, client.open("GET", "/") as exchange:
            await exchange.wait_returned()


async def test_closed_client_says_how_to_open_it() -> None:
    """A client that was not entered refuses, with the remedy."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send)

    client = TestClient(app)
    with pytest.raises(RuntimeError, match=r"async with TestClient\(app\) as client"):
        await client.get("/")


async def test_cancelled_test_ends(autojump_clock: trio.testing.MockClock) -> None:
    """A scope around the client that is cancelled ends it, requests, lifespan and all."""
    ends: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
        try:
            await trio.sleep(1000)
        finally:
            ends.append(scope["type"])

    with trio.move_on_after(5) as patience:
        async with TestClient(app) as client:
            await client.get("/")
    assert patience.cancelled_caught
    assert sorted(ends) == ["http", "lifespan"]


@pytest.mark.parametrize("how", ["client", "open", "events", "websocket"])
async def test_error_of_the_test_outlives_its_cancellation(how: str, autojump_clock: trio.testing.MockClock) -> None:
    """An assertion that fails when the test's time is over, or in a `finally` of it, is what the test fails with."""
    app = App()

    @app.get("/")
    async def events() -> EventStream:
        return EventStream(feed)

    async def feed(sink: EventSink) -> None:
        await trio.sleep_forever()

    @app.websocket("/")
    async def socket(ws: WebSocket) -> None:
        await ws.receive()

    async def fails() -> None:
        async with TestClient(app) as client, AsyncExitStack() as stack:
            if how == "open":
                await stack.enter_async_context(client.open("GET", "/"))
            elif how == "events":
                await stack.enter_async_context(client.events("/"))
            elif how == "websocket":
                await stack.enter_async_context(client.websocket("/"))
            try:
                await trio.sleep_forever()
            finally:
                raise AssertionError("what was to be seen")

    with pytest.raises(AssertionError, match="what was to be seen"), trio.move_on_after(5):
        await fails()


async def test_startup_failure_outlives_its_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    """Why the application did not start is said, although the time of the test is over meanwhile."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    with pytest.raises(LifespanFailed, match="no database"), trio.move_on_after(5):
        async with TestClient(app):
            raise AssertionError


# --- lifespan


def lifespan_app(log: list[str], **messages: Any) -> ASGIApp:
    """An application that logs its lifespan, answers with its state, and sends other messages if told to."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["state"]["count"] += 1
            await answer(send, b"%d" % scope["state"]["count"])
            return
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            log.append(phase)
            scope["state"]["count"] = 0
            await send(messages.get(phase, {"type": f"lifespan.{phase}.complete"}))
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        log.append("returned")

    return app


@both_servers
async def test_lifespan_runs_around_the_block(link: bool) -> None:
    """Startup before the first request, shutdown after the last; each request has its copy of the state."""
    log: list[str] = []
    async with TestClient(lifespan_app(log), link=link) as client:
        assert log == ["startup"]
        assert [(await client.get("/")).text for _ in range(2)] == ["1", "1"]
        assert client.state == {"count": 0}
    # hypercorn cancels the lifespan as soon as it has reported its end.
    assert log == ["startup", "shutdown", "returned"][: 3 if link else 2]


async def test_startup_failure_is_raised() -> None:
    """`startup.failed` is raised with the application's message, and what it raises then is the cause."""
    failed = {"type": "lifespan.startup.failed", "message": "no database"}

    async def raises(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(failed)
        raise KeyError("behind")

    with pytest.raises(LifespanFailed, match="no database") as caught:
        async with TestClient(raises):
            pytest.fail("must not start")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(LifespanFailed, match="no database"):
        await TestClient(lifespan_app([], startup=failed, shutdown=failed)).__aenter__()


async def test_startup_exception_is_raised() -> None:
    """An exception during startup is the test's, though servers take it for missing support."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await TestClient(app).__aenter__()


async def test_shutdown_failure_is_raised() -> None:
    """`shutdown.failed` and an exception during shutdown come out of the block."""
    failed = {"type": "lifespan.shutdown.failed", "message": "lost it"}
    with pytest.raises(LifespanFailed, match="lost it"):
        async with TestClient(lifespan_app([], shutdown=failed)):
            pass

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        async with TestClient(app):
            pass


async def test_lifespan_that_ends_early_is_an_error() -> None:
    """A lifespan that returns or crashes while the application serves is not lost."""

    async def returns(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})

    with pytest.raises(LifespanFailed, match="before it was asked to shut down"):
        async with TestClient(returns):
            await trio.testing.wait_all_tasks_blocked()

    async def crashes(scope: Scope, receive: Receive, send: Send) -> None:
        await returns(scope, receive, send)
        raise KeyError("service")

    with pytest.raises(KeyError, match="service"):
        async with TestClient(crashes):
            pass


async def test_a_stop_that_waits_for_a_clock_that_stands_says_so(
    mock_clock: trio.testing.MockClock, golden: Golden
) -> None:
    """Nobody would ever move it; it stands again afterwards, and whatever was to be waited for was."""
    app, ended = App(), list[str]()

    @app.service(drain_timeout=5)
    async def resend() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("service")

    async def task() -> None:
        await trio.sleep(3)
        ended.append("task")

    with pytest.raises(RuntimeError, match="clock") as caught:
        async with TestClient(app):
            app.tasks.start_soon(task)
    golden("testing/clock_stands", str(caught.value))
    assert ended == ["task", "service"]
    assert trio.current_time() == 8
    assert mock_clock.autojump_threshold == math.inf


async def test_a_stop_that_a_standing_clock_does_not_hold_up_is_none_of_its_business(
    mock_clock: trio.testing.MockClock,
) -> None:
    """Where nothing waits for time, where the test has seen to it, and where a thread is at work."""
    async with TestClient(App()):
        pass
    app = App()
    async with TestClient(app):
        app.tasks.start_soon(trio.sleep, 3)
        mock_clock.autojump_threshold = 0
    mock_clock.autojump_threshold = math.inf
    async with TestClient(app):
        app.tasks.start_soon(trio.to_thread.run_sync, time.sleep, 0.6)
    assert trio.current_time() == 3


async def test_a_failed_test_hears_of_the_clock_besides(mock_clock: trio.testing.MockClock) -> None:
    """In a note of its own error."""
    app = App()

    async def failing() -> None:
        async with TestClient(app):
            app.tasks.start_soon(trio.sleep, 3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        await failing()
    assert "mock_clock.autojump_threshold = 0" in caught.value.__notes__[0]


async def test_hanging_shutdown_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    """A lifespan that does not answer shutdown is given up after a minute."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await trio.sleep_forever()

    with pytest.raises(LifespanFailed, match="no shutdown within 60 s"):
        async with TestClient(app):
            pass


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (["lifespan.shutdown.complete"], "during startup"),
        (["lifespan.startup.complete", "lifespan.startup.complete"], "after lifespan.startup.complete"),
        (["lifespan.ready"], "not a message of the lifespan protocol"),
    ],
)
async def test_lifespan_rules(sent: list[str], message: str) -> None:
    """Messages out of order are refused."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for kind in sent:
            await send({"type": kind})
        await receive()

    with pytest.raises(ProtocolViolation, match=message):
        async with TestClient(app):
            await trio.testing.wait_all_tasks_blocked()
