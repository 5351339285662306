"""`client.websocket`: what a test can do to a WebSocket, and what it is told, whatever the application."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trivet import App, WebSocket, WebSocketClosed
from trivet.asgi import Message, Receive, Scope, Send
from trivet.errors import ClientDisconnected
from trivet.testing import ProtocolViolation, TestClient, WebSocketRefused

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


def asgi(handler: Any) -> Any:
    """An application without lifespan."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert await receive() == {"type": "websocket.connect"}
        await handler(scope, receive, send)

    return app


ACCEPT: Message = {"type": "websocket.accept"}


@both_servers
async def test_the_scope_is_that_of_a_websocket(link: bool) -> None:
    """As servers have it: scheme, target, headers, subprotocols, state and extensions."""
    seen: dict[str, Any] = {}

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await send(ACCEPT)

    client = TestClient(asgi(handler), link=link, base_url="https://h:8443", cookies={"a": "b"}, headers={"x-a": "1"})
    async with client, client.websocket("/p%20q?r=s", params={"r": "t"}, subprotocols=["u", "v"]) as ws:
        assert await ws.wait_closed() == (1011, "")
    headers = dict(seen["headers"])
    assert "method" not in seen
    assert (seen["type"], seen["scheme"], seen["path"], seen["raw_path"]) == ("websocket", "wss", "/p q", b"/p%20q")
    assert (seen["query_string"], seen["subprotocols"], seen["server"]) == (b"r=t", ["u", "v"], ("h", 8443))
    assert (headers[b"upgrade"], headers[b"sec-websocket-protocol"]) == (b"websocket", b"u, v")
    assert (headers[b"cookie"], headers[b"x-a"]) == (b"a=b", b"1")
    assert b"origin" not in headers
    assert set(seen["extensions"]) == ({"websocket.http.response", "trivet"} if link else {"websocket.http.response"})
    assert seen["asgi"]["spec_version"] == ("2.4" if link else "2.1")


@both_servers
async def test_a_violation_is_raised_in_the_test(link: bool) -> None:
    """Where the application cannot hide it: at the handshake, or when the test receives."""

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/open":
            await send(ACCEPT)
            await receive()
        with pytest.raises(ProtocolViolation):
            await send({"type": "websocket.nonsense"})
        if scope["path"] == "/handshake":
            await send({"type": "websocket.close"})

    async with TestClient(asgi(handler), link=link) as client:
        with pytest.raises(ProtocolViolation, match="nonsense"):
            await client.websocket("/handshake").__aenter__()
        async with client.websocket("/open") as ws:
            await ws.send("now")
            with pytest.raises(ProtocolViolation, match="nonsense"):
                await ws.receive()
        with pytest.raises(ProtocolViolation, match="nonsense"):
            await client.websocket("/never").__aenter__()


@pytest.mark.parametrize("raises", [True, False])
async def test_what_escapes_the_application(raises: bool) -> None:
    """Before the acceptance it comes out of that, or is a 500; afterwards it closes with 1011, and is not lost."""

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/open":
            await send(ACCEPT)
        raise ValueError("a bug")

    client = TestClient(asgi(handler), raise_app_exceptions=raises)
    await client.__aenter__()
    with pytest.raises(ValueError if raises else WebSocketRefused, match="a bug" if raises else "500"):
        await client.websocket("/").__aenter__()
    async with client.websocket("/open") as ws:
        assert await ws.wait_closed() == (1011, "")
    if raises:
        with pytest.raises(ValueError, match="a bug"):
            await client.__aexit__()
    else:
        assert isinstance(ws.error, ValueError)
        await client.__aexit__()


@both_servers
async def test_an_application_that_does_not_answer_is_a_violation(link: bool) -> None:
    """It has neither accepted nor refused; one whose client has left need not."""

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/waits":
            assert (await receive())["type"] == "websocket.disconnect"

    async with TestClient(asgi(handler), link=link) as client:
        with pytest.raises(ProtocolViolation, match="returned without an answer to WEBSOCKET /x"):
            await client.websocket("/x").__aenter__()
        with trio.move_on_after(0.01):
            await client.websocket("/waits").__aenter__()


@pytest.mark.parametrize("how", ["close", "leave"])
@both_servers
async def test_the_two_ways_to_go(how: str, link: bool) -> None:
    """With code and reason, or without a word; a plain server knows neither, says so once, and lets `send` succeed."""
    log: list[Any] = []
    gone = trio.Event()

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await gone.wait()
        log.append(await receive())
        log.append((await receive())["code"])
        for kind in ("send", "close"):
            try:
                await send({"type": f"websocket.{kind}", **({"text": "x"} if kind == "send" else {})})
            except ClientDisconnected as error:
                log.append(str(error))
        if link:
            log.append((await receive())["code"])

    async with TestClient(asgi(handler), link=link) as client, client.websocket("/") as ws:
        await ws.send("before")
        if how == "close":
            await ws.close(4001, "bye")
            assert await ws.wait_closed() == (4001, "bye")
        else:
            ws.leave()
            with pytest.raises(trio.ClosedResourceError):
                await ws.receive()
        gone.set()
        await ws.wait_returned()
    assert log[0] == {"type": "websocket.receive", "text": "before"}
    code = 4001 if link and how == "close" else 1006
    assert log[1:] == ([code, *["the client of WEBSOCKET / left"] * 2, code] if link else [code])


@both_servers
async def test_what_was_sent_before_the_end_is_received(link: bool) -> None:
    """Then the end, each time it is asked for."""

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.send", "bytes": b"a"})
        await send({"type": "websocket.close", "code": 4000, "reason": "b"})

    async with TestClient(asgi(handler), link=link) as client, client.websocket("/") as ws:
        await ws.wait_returned()
        assert ws.returned
        assert [message async for message in ws] == [b"a"]
        with pytest.raises(WebSocketClosed) as caught:
            await ws.receive()
        assert (caught.value.code, caught.value.reason) == (4000, "b")
        await ws.send("lost")


@both_servers
async def test_sending_and_pings_wait_for_an_application_that_does_not_receive(
    link: bool, autojump_clock: MockClock
) -> None:
    """After ten unread messages: a server does not read on then, so that there is no pong either."""
    read = trio.Event()

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await read.wait()
        await receive()
        await trio.sleep(1)

    async with TestClient(asgi(handler), link=link) as client, client.websocket("/") as ws:
        await ws.ping()
        for _ in range(10):
            await ws.send("x")
        with trio.move_on_after(1) as patience:
            await ws.ping()
        assert patience.cancelled_caught
        read.set()
        with trio.fail_after(0.5):
            await ws.ping()


async def test_who_stops_reading_holds_up_the_next_write(autojump_clock: MockClock) -> None:
    """However small it is; reading again lets it go, and the time it may take is the application's to say."""
    log: list[Any] = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["trivet"].send_timeout = 3
        await send(ACCEPT)
        for _ in range(2):
            await receive()
            try:
                await send({"type": "websocket.send", "text": "x"})
                log.append(trio.current_time())
            except ClientDisconnected:
                log.append("dropped")

    async with TestClient(asgi(handler)) as client, client.websocket("/") as ws:
        began = trio.current_time()
        ws.stop_reading()
        await ws.send("1")
        with pytest.raises(RuntimeError, match="does not read"):
            await ws.receive()
        await trio.sleep(2)
        ws.start_reading()
        assert await ws.receive() == "x"
        await trio.sleep(1)
        ws.stop_reading()
        await ws.send("2")
        await ws.wait_returned()
        assert (ws.dropped, ws.close_code) == (True, 1006)
    assert log == [began + 2, "dropped"]


async def test_sends_that_are_cancelled_do_not_pile_up(autojump_clock: MockClock) -> None:
    """With a client that does not read: what did not begin was not sent, however often it is tried."""
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(50):
            with trio.move_on_after(0.1):
                await ws.send(f"{number:>40000}")
        await ws.close()

    async with TestClient(app) as client, client.websocket("/") as ws:
        ws.stop_reading()
        await trio.sleep(20)
        ws.start_reading()
        assert [str(message).strip() async for message in ws] == ["0"]


async def test_a_message_that_waits_for_room_follows_no_close() -> None:
    """Another task closes meanwhile: the message is not sent, and its sender is told."""
    log, closed = list[Any](), trio.Event()

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()

        async def one(text: str) -> None:
            try:
                await send({"type": "websocket.send", "text": text})
            except ClientDisconnected:
                log.append(text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "a")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(one, "b")
            await trio.testing.wait_all_tasks_blocked()
            await send({"type": "websocket.close"})
            closed.set()

    async with TestClient(asgi(handler)) as client, client.websocket("/") as ws:
        ws.stop_reading()
        await ws.send("go")
        await closed.wait()
        ws.start_reading()
        assert [message async for message in ws] == ["a"]
        await ws.wait_returned()
    assert log == ["b"]


@both_servers
async def test_a_lone_surrogate_is_no_text(link: bool) -> None:
    """The handler is told so, as over a socket, and so is the test."""
    log: list[Any] = []
    app = App()

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.send("\ud800")
        except UnicodeEncodeError:
            log.append("refused")
        await ws.send("é")

    async with TestClient(app, link=link) as client, client.websocket("/") as ws:
        with pytest.raises(UnicodeEncodeError):
            await ws.send("\ud800")
        assert await ws.receive() == "é"
    assert log == ["refused"]


CLOSES: dict[str, tuple[Any, str, str]] = {
    "broken": (1006, "", r"ws\.leave\(\)"),
    "not_sent": (1005, "", "1005 is not a code"),
    "unknown": (2999, "", "2999 is not a code"),
    "too_large": (5000, "", "5000 is not a code"),
    "text": ("1000", "", "'1000' is not a code"),
    "long": (4000, "é" * 62, "the reason has 124 bytes"),
    "no_code": (None, "why", "without a code has no reason"),
}


@pytest.mark.parametrize("name", CLOSES)
async def test_a_close_that_no_client_can_send_is_refused(name: str) -> None:
    """With what to do instead; the WebSocket is as it was."""
    code, reason, why = CLOSES[name]

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()

    async with TestClient(asgi(handler), raise_app_exceptions=False) as client, client.websocket("/") as ws:
        with pytest.raises(ValueError, match=why):
            await ws.close(code, reason)
        assert ws.close_code is None


async def test_a_close_may_have_no_code() -> None:
    """As that of a page which only says `ws.close()`: 1005 stands for it."""
    log: list[Any] = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        log.append(await receive())

    async with TestClient(asgi(handler)) as client, client.websocket("/") as ws:
        await ws.close(None)
        await ws.wait_returned()
    assert log == [{"type": "websocket.disconnect", "code": 1005, "reason": ""}]


async def test_a_websocket_that_was_not_opened_says_how() -> None:
    """Not an AttributeError of ours."""
    async with TestClient(asgi(None)) as client:
        with pytest.raises(RuntimeError, match=r"async with client\.websocket\(path\) as ws"):
            await client.websocket("/").receive()


async def test_a_block_that_fails_leaves() -> None:
    """As a client that crashes: without a close."""
    codes: list[int] = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        codes.append((await receive())["code"])

    async with TestClient(asgi(handler)) as client:
        for error in (KeyError, None):
            ws = client.websocket("/")
            await ws.__aenter__()
            await ws.__aexit__(error, error and error(), None)
            await ws.wait_returned()
    assert codes == [1006, 1000]
