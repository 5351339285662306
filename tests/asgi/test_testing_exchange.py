"""`client.open`: what clients do to servers, and what the two kinds of server make of it."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from trivet.asgi import EXTENSION, ASGIApp, Link, Reason, Receive, Scope, Send
from trivet.errors import ClientDisconnected
from trivet.testing import ProtocolViolation, TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

START = {"type": "http.response.start", "status": 200, "headers": []}


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def http_only(handler: Handler) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await handler(scope, receive, send)

    return app


def link_of(scope: Scope) -> Link:
    link: Link = scope["extensions"][EXTENSION]
    return link


@both_servers
async def test_exchange_step_by_step(link: bool) -> None:
    """Upload by hand, head, chunks, end: each step when the test takes it."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"one"
        await send(START | {"headers": [(b"x-a", b"1"), (b"x-a", b"2")]})
        assert (await receive())["body"] == b"two"
        await send(part(b"first"))
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send(part(b"second", more=False))

    async with TestClient(app, link=link) as client, client.open("POST", "/", upload=True) as exchange:
        with pytest.raises(RuntimeError, match=r"await exchange\.head\(\)"):
            _ = exchange.status
        await exchange.send_body(b"one")
        status, headers = await exchange.head()
        assert (status, headers.get_list("x-a")) == (200, ["1", "2"])
        assert (exchange.status, exchange.headers) == (status, headers)
        await exchange.send_body(b"two")
        assert await exchange.receive() == b"first"
        assert not exchange.complete
        await exchange.end_body()
        assert await exchange.receive() == b"second"
        assert await exchange.receive() is None
        assert (exchange.complete, exchange.truncated, exchange.dropped) == (True, False, False)
        await exchange.wait_returned()
        assert exchange.returned
        assert exchange.error is None


async def test_upload_headers() -> None:
    """A body by hand is chunked, unless the test gives its length."""
    seen: list[dict[bytes, bytes]] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"]))
        await send(START)
        await send(part(b"", more=False))

    async with TestClient(app) as client:
        for headers in ({}, {"Content-Length": "5"}):
            async with client.open("POST", "/", upload=True, headers=headers) as exchange:
                await exchange.read()
    assert seen[0][b"transfer-encoding"] == b"chunked"
    assert b"content-length" not in seen[0]
    assert seen[1][b"content-length"] == b"5"
    assert b"transfer-encoding" not in seen[1]


BODIES: dict[str, dict[str, Any]] = {
    "content": {"content": b"text"},
    "data": {"data": {"a": "1", "b": ["2", "3"]}},
    "files": {"files": {"file": ("a.txt", b"content", "text/plain")}},
    "data and files": {"data": {"a": "1"}, "files": [("file", b"one"), ("file", b"two")]},
    "json": {"json": {"a": 1}},
    "none": {"params": {"a": "1"}, "cookies": {"b": "2"}},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_request_is_what_httpx_would_send(body: dict[str, Any]) -> None:
    """`open` takes the bodies that `client.post` takes, and sends the same for them."""
    seen: list[tuple[Any, ...]] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message["body"], message["more_body"]
        seen.append((scope["headers"], scope["query_string"], content))
        await send(START)
        await send(part(b"", more=False))

    # Else each would have a boundary of its own.
    headers = {"content-type": "multipart/form-data; boundary=x"} if "files" in body else {}
    async with TestClient(app) as client:
        await client.send(client.build_request("POST", "/", headers=headers, **body))
        async with client.open("POST", "/", headers=headers, **body) as exchange:
            await exchange.read()
    assert seen[0] == seen[1]
    assert seen[0][2] or "params" in body


@pytest.mark.parametrize("name", ["content", "data", "files", "json"])
async def test_a_body_by_hand_is_the_only_one(name: str) -> None:
    """Two bodies are a mistake of the test's, which would else wonder where one of them is."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

    async with TestClient(app) as client:
        with pytest.raises(ValueError, match=r"await exchange\.send_body\(chunk\)"):
            client.open("POST", "/", upload=True, **BODIES[name])


# --- the client leaves


@pytest.mark.parametrize("how", ["leave", "half_close"])
@pytest.mark.parametrize("when", ["in the body", "before the head", "in the response"])
@both_servers
async def test_leaving_is_reported(link: bool, when: str, how: str) -> None:
    """Whenever the client goes, `http.disconnect` follows what it has sent, and the link says so at once."""
    log: list[str] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if link:
            link_of(scope).attach(log.append)
        if when == "in the response":
            await send(START)
            await send(part(b"x"))
        for _ in range(3):
            message = await receive()
            log.append(message["type"])
            if message["type"] == "http.disconnect":
                break
        if when != "in the response":
            await send_quietly(send, START)
        await send_quietly(send, part(b"y", more=False))

    async def send_quietly(send: Send, message: dict[str, Any]) -> None:
        try:
            await send(message)
        except ClientDisconnected:
            log.append("refused")

    async with (
        TestClient(app, link=link) as client,
        client.open("POST", "/", upload=when == "in the body") as exchange,
    ):
        if when == "in the body":
            await exchange.send_body(b"x")
        elif when == "in the response":
            assert await exchange.receive() == b"x"
        await trio.testing.wait_all_tasks_blocked()
        getattr(exchange, how)()
        await exchange.wait_returned()
        if how == "half_close":
            assert await exchange.read() == b"y"
            assert exchange.complete
    assert log[:1] == ["http.request"]
    assert log.count("http.disconnect") == 1
    assert log.count("disconnected") == (1 if link else 0)
    assert ("refused" in log) is (link and how == "leave")


async def test_disconnect_comes_behind_what_was_sent() -> None:
    """The body that arrived before the client left can still be read; the link does not wait for that."""
    log: list[str] = []
    go = trio.Event()

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        link_of(scope).attach(log.append)
        await go.wait()
        log.extend([(await receive())["type"] for _ in range(3)])

    async with TestClient(app) as client, client.open("POST", "/", upload=True) as exchange:
        await exchange.send_body(b"x")
        await trio.testing.wait_all_tasks_blocked()
        exchange.leave()
        assert log == ["disconnected"]
        go.set()
        await exchange.wait_returned()
    # ASGI has it at each receive after the client has left.
    assert log == ["disconnected", "http.request", "http.disconnect", "http.disconnect"]


async def test_plain_server_reports_the_disconnect_once(autojump_clock: trio.testing.MockClock) -> None:
    """Stock hypercorn queues one `http.disconnect`, after a normal response too; the next receive waits."""
    log: list[str] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(part(b"", more=False))
        for _ in range(3):
            with trio.move_on_after(5) as patience:
                log.append((await receive())["type"])
            if patience.cancelled_caught:
                log.append("nothing")

    async with TestClient(app, link=False) as client:
        await client.get("/")
    assert log == ["http.request", "http.disconnect", "nothing"]


async def test_plain_server_deadlocks_on_an_early_answer(autojump_clock: trio.testing.MockClock) -> None:
    """As under stock hypercorn: the last send waits for room in a queue that only the sender could empty."""
    log: list[str] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await send(START)
        with trio.move_on_after(60) as patience:
            await send(part(b"no", more=False))
        log.append("stuck" if patience.cancelled_caught else "sent")

    for messages in (10, 5):
        async with TestClient(app, link=False) as client, client.open("POST", "/", upload=True) as exchange:
            for _ in range(messages):
                await exchange.send_body(b"x")
            # The client has the whole answer either way.
            assert await exchange.read() == b"no"
            await exchange.wait_returned()
    assert log == ["stuck", "sent"]


@both_servers
async def test_upload_after_the_answer_is_not_waited_for(link: bool) -> None:
    """An early answer releases a client that is still sending."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(part(b"no", more=False))

    async with TestClient(app, link=link) as client, client.open("POST", "/", upload=True) as exchange:
        assert await exchange.send_body(b"x") is True
        assert await exchange.read() == b"no"
        assert [await exchange.send_body(b"x") for _ in range(20)][-1] is False
        await exchange.end_body()


@both_servers
async def test_send_after_leaving(link: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Sending to a client that has left raises (ASGI 2.4); under stock hypercorn it silently goes nowhere."""
    log: list[str] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(5):
            await trio.sleep(1)
            await send(part(b"x" * 100_000))
        log.append("never noticed")

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await exchange.head()
        exchange.leave()
        await exchange.wait_returned()
        assert exchange.error is None  # passing ClientDisconnected on is what ASGI expects of an application
        with pytest.raises(trio.ClosedResourceError):
            await exchange.receive()
    assert log == ([] if link else ["never noticed"])


async def test_closing_an_httpx_response_is_leaving() -> None:
    """`response.aclose()` before the end of the body is the client leaving; after it, it is nothing."""
    log: list[str] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        link_of(scope).attach(log.append)
        await send(START)
        await send(part(b"x"))
        if scope["path"] == "/long":
            await receive()
            log.append((await receive())["type"])
        else:
            await send(part(b"", more=False))

    async with TestClient(app) as client:
        async with client.stream("GET", "/long") as response:
            assert await anext(response.aiter_raw()) == b"x"
        assert log == ["disconnected"]
        await client.get("/short")
    assert log == ["disconnected", "http.disconnect"]


async def test_cancelled_request_leaves(autojump_clock: trio.testing.MockClock) -> None:
    """A client that gives up waiting for the head has left."""
    log: list[Any] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        link_of(scope).attach(lambda reason: log.append((reason, trio.current_time() - start)))
        await trio.sleep(100)

    async with TestClient(app, raise_app_exceptions=False) as client:
        start = trio.current_time()
        with trio.move_on_after(3):
            await client.get("/")
        assert log == [("disconnected", 3)]


# --- a client that does not read


@pytest.mark.parametrize("seconds", [2, None])
async def test_client_that_stops_reading_is_dropped(
    seconds: float | None, autojump_clock: trio.testing.MockClock
) -> None:
    """A write without progress for `send_timeout` ends as if the client had left: 10 s, or what is asked."""
    log: list[Any] = []
    stopped = trio.Event()

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        link = link_of(scope)
        link.attach(log.append)
        if seconds is not None:
            link.send_timeout = seconds
        await send(START)
        await send(part(b"x"))
        await stopped.wait()
        begin = trio.current_time()
        try:
            await send(part(b"y"))
        except OSError as error:
            log.append((str(error), trio.current_time() - begin))

    async with TestClient(app) as client, client.open("GET", "/slow") as exchange:
        assert await exchange.receive() == b"x"
        exchange.stop_reading()
        stopped.set()
        with pytest.raises(RuntimeError, match=r"exchange\.start_reading\(\)"):
            await exchange.receive()
        await exchange.wait_returned()
        assert exchange.dropped
        assert exchange.truncated
    message = "the client of GET /slow stopped reading and was dropped"
    assert log == ["disconnected", (message, seconds or 10)]


async def test_progress_keeps_the_client(autojump_clock: trio.testing.MockClock) -> None:
    """Each chunk that is read counts as progress; no bound at all is possible too."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        link_of(scope).send_timeout = None if scope["path"] == "/forever" else 5
        await send(START)
        for _ in range(30):
            await send(part(b"x" * 1_000))
        # More than the window: this write waits while small parts are read, one by one.
        await send(part(b"y" * 100_000))
        await send(part(b"z" * 50_000, more=False))

    async with TestClient(app) as client:
        for path, pause in (("/slow", 4), ("/forever", 1000)):
            async with client.open("GET", path) as exchange:
                size = 0
                while not exchange.complete or size < 180_000:
                    await trio.sleep(pause)
                    size += len(await exchange.receive() or b"")
                assert (size, exchange.dropped) == (180_000, False)


async def test_send_waits_for_a_full_window() -> None:
    """A client that just does not read lets some of the response through; reading releases the rest."""
    sent: list[int] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for number in range(100):
            await send(part(b"x" * 16_384))
            sent.append(number)
        await send(part(b"", more=False))

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        await trio.testing.wait_all_tasks_blocked()
        assert len(sent) == 4
        assert len(await exchange.read()) == 100 * 16_384


async def test_plain_server_cannot_be_interrupted_in_a_write(autojump_clock: trio.testing.MockClock) -> None:
    """Under stock hypercorn a timeout of one's own does not end a stalled write; the client's going does."""
    log: list[float] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begin = trio.current_time()
        with trio.move_on_after(1):
            await send(START)
        log.append(trio.current_time() - begin)

    async with TestClient(app, link=False) as client, client.open("GET", "/") as exchange:
        exchange.stop_reading()
        await trio.sleep(50)
        assert log == []
        exchange.leave()
        await exchange.wait_returned()
    assert log == [50]


# --- the link


async def test_abort_truncates() -> None:
    """`link.abort()` cuts the response; what is sent later is ignored, and it is no error."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/early":
            await send(START)
            await send(part(b"half"))
        link_of(scope).abort()
        await send(part(b"more"))
        await send(part(b"", more=False))
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    async with TestClient(app) as client:
        async with client.open("GET", "/") as exchange:
            assert await exchange.read() == b"half"
            assert exchange.truncated
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            await client.get("/")
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await client.get("/early")


async def test_attach_and_detach() -> None:
    """The link calls at once when it has happened already, and never after `detach` or the last message."""
    log: list[Reason] = []
    go = trio.Event()

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        link = link_of(scope)
        if scope["path"] in ("/late", "/aborted"):
            await go.wait()
            if scope["path"] == "/aborted":
                link.abort()
            link.attach(log.append)
        else:
            link.attach(log.append)
            if scope["path"] == "/detach":
                link.detach()
            else:
                await send(START)
                await send(part(b"", more=False))
            await go.wait()

    async with TestClient(app) as client:
        expectations = {"/late": ["disconnected"], "/aborted": [], "/detach": [], "/over": []}
        for path, expected in expectations.items():
            log.clear()
            go = trio.Event()
            async with client.open("GET", path) as exchange:
                await trio.testing.wait_all_tasks_blocked()
                exchange.leave()
                assert log == []
                go.set()
                await exchange.wait_returned()
            assert log == expected, path


async def test_drain_is_told_and_ends() -> None:
    """`drain()` sets the event that all links share, the lifespan's too; `cancel_requests()` ends it."""
    log: list[Any] = []
    links: list[Link] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        links.append(link_of(scope))
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        links[-1].attach(log.append)
        await links[-1].draining.wait()
        log.append("told")
        await send(START)
        while "drained" not in log:
            await trio.testing.wait_all_tasks_blocked()
        await send(part(b"bye", more=False))

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        await trio.testing.wait_all_tasks_blocked()
        assert log == []
        client.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["told"]
        client.cancel_requests()
        client.cancel_requests()
        assert await exchange.read() == b"bye"
    assert log == ["told", "drained"]
    assert links[0].draining is links[1].draining


async def test_plain_drain_cancels() -> None:
    """A plain server has only cancellation from outside to end a request; the client sees it cut."""
    log: list[str] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("cancelled")

    async with TestClient(app, link=False) as client, client.open("GET", "/") as exchange:
        await trio.testing.wait_all_tasks_blocked()
        client.cancel_requests()
        with pytest.raises(httpx.RemoteProtocolError):
            await exchange.head()
    assert log == ["cancelled"]


async def test_error_beside_a_cancellation_is_not_lost() -> None:
    """A group of a cancellation and an error counts as the error."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def fails() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("cleanup")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            await trio.sleep_forever()

    async with TestClient(app, link=False) as client, client.open("GET", "/") as exchange:
        await trio.testing.wait_all_tasks_blocked()
        client.cancel_requests()
        with pytest.RaisesGroup(KeyError):
            await exchange.head()


async def test_end_of_the_block_drains(autojump_clock: trio.testing.MockClock) -> None:
    """At the end clients leave; a request has the drain time to end, as much again once told it is over."""
    log: list[Any] = []

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start = trio.current_time()
        link = link_of(scope)
        link.attach(lambda reason: log.append((reason, trio.current_time() - start)))
        try:
            await trio.sleep(3 if scope["path"] == "/finishes" else 1000)
        finally:
            log.append((scope["path"], trio.current_time() - start))

    async with TestClient(app, drain_timeout=5) as client, client.open("POST", "/finishes"):
        await trio.testing.wait_all_tasks_blocked()
    assert log == [("disconnected", 0), ("/finishes", 3)]
    log.clear()
    async with TestClient(app, drain_timeout=5) as client, client.open("POST", "/never"):
        await trio.testing.wait_all_tasks_blocked()
    assert log == [("disconnected", 0), ("drained", 5), ("/never", 10)]


async def test_own_error_after_the_client_left_is_not_lost() -> None:
    """Only "the client has left" may escape an application whose client has left."""

    def app_raising(wrap: Callable[[OSError], Exception]) -> ASGIApp:
        @http_only
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await receive()
            try:
                await send(START)
            except OSError as error:
                raise wrap(error) from error

        return app

    quiet: list[Callable[[OSError], Exception]] = [
        lambda error: error,
        lambda error: ExceptionGroup("", [error]),
        lambda error: KeyError("ClientDisconnect of another framework"),
    ]
    for wrap in quiet:
        async with TestClient(app_raising(wrap)) as client, client.open("GET", "/"):
            await trio.testing.wait_all_tasks_blocked()

    @http_only
    async def bug(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        async with TestClient(bug) as client, client.open("GET", "/"):
            await trio.testing.wait_all_tasks_blocked()


async def test_violation_in_the_body_is_raised_where_it_is_read() -> None:
    """A broken rule after the head comes out of the reading."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START | {"headers": [(b"content-length", b"2")]})
        await send(part(b"abc", more=False))

    async with TestClient(app) as client:
        with pytest.raises(ProtocolViolation, match="the body has more: 3"):
            await client.get("/")
        async with client.open("GET", "/") as exchange:
            with pytest.raises(ProtocolViolation, match="the body has more: 3"):
                await exchange.read()


async def test_response_left_in_the_middle_warns_of_nothing() -> None:
    """Closing a response closes httpx's iterators: Trio would warn of each that the collector finds."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        while True:
            await send(part(b"one line\n" * 10))

    async with TestClient(app) as client:
        for name in ("aiter_raw", "aiter_bytes", "aiter_text", "aiter_lines"):
            async with client.stream("GET", "/") as response:
                assert len(await anext(getattr(response, name)())) in (8, 90), name
            gc.collect()
        async with client.stream("GET", "/") as response:
            assert len(await anext(response.aiter_raw(4))) == 4
        gc.collect()


async def test_response_is_read_once() -> None:
    """httpx's own rules about reading twice, and after closing, hold."""

    @http_only
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(part(b"whole", more=False))

    async with TestClient(app) as client:
        async with client.stream("GET", "/") as response:
            assert [chunk async for chunk in response.aiter_raw(2)] == [b"wh", b"ol", b"e"]
            assert response.num_bytes_downloaded == 5
            assert response.is_closed
            with pytest.raises(httpx.StreamConsumed):
                await anext(response.aiter_raw())
        async with client.stream("GET", "/") as response:
            await response.aclose()
            with pytest.raises(httpx.StreamClosed):
                await anext(response.aiter_raw())
