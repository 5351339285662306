"""WebSockets over HTTP/2 (RFC 8441): the same handlers, on a stream of a connection that may have others."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from wsproto.events import BytesMessage, Ping, TextMessage

from tests.live._http2_ws import http2_websocket
from tests.live._inprocess import serving
from trivet import App, HTTPError, WebSocket, WebSocketClosed
from trivet.server._inbox import MessageInbox
from trivet.testing import WebSocketRefused

pytestmark = pytest.mark.live

app = App()


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket("/close")
async def close(ws: WebSocket, code: int, reason: str = "") -> None:
    await ws.send("last")
    await ws.close(code, reason)


@app.websocket("/fails")
async def fails(ws: WebSocket) -> None:
    await ws.accept()
    raise HTTPError(409, "in use")


@app.websocket("/refuses")
async def refuses(ws: WebSocket) -> None:
    raise HTTPError(401, "who are you?")


@app.websocket("/speaks")
async def speaks(ws: WebSocket) -> None:
    await ws.accept("b")
    await ws.receive()


class Ends:
    """An application with one WebSocket, at `/`, which receives until its end and says what that was."""

    def __init__(self) -> None:
        self.app = App()
        self.said: list[str | bytes] = []
        self.end: tuple[Any, ...] = ()
        self.over = trio.Event()
        self.app.websocket("/")(self.handler)

    async def handler(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                self.said.append(await ws.receive())
        except WebSocketClosed as error:
            self.end = error.code, error.reason, ws.close_code, ws.close_reason
        finally:
            self.over.set()


async def test_messages_go_both_ways() -> None:
    """Texts and binary ones, empty ones, and those that are larger than any window or frame."""
    async with serving(app) as served, http2_websocket(served, "/echo") as ws:
        for message in ("text", b"\x00binary", "", b"", "é" * 150_000, bytes(300_000)):
            await ws.send(message)
            assert await ws.receive() == message


async def test_fragments_are_one_message() -> None:
    """With a ping between them, which is answered."""
    async with serving(app) as served, http2_websocket(served, "/echo") as ws:
        await ws._write(TextMessage(data="frag", message_finished=False))
        await ws.write_raw(b"\x89\x80\x00\x00\x00\x00")
        await ws._write(TextMessage(data="ments", message_finished=True))
        await ws._write(BytesMessage(data=b"a", message_finished=False))
        await ws._write(BytesMessage(data=b"b"))
        assert await ws.receive() == "fragments"
        assert await ws.receive() == b"ab"
        assert ws._pongs == [b""]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4001, "enough"), (3000, "é" * 61)])
async def test_the_clients_close_arrives_and_is_answered(code: int, reason: str) -> None:
    """By a close frame with the same code, and by the end of the stream, not by a reset alone."""
    ends = Ends()
    async with serving(ends.app) as served, http2_websocket(served, "/") as ws:
        await ws.send("x")
        await ws.close(code, reason)
        assert await ws.wait_closed() == (code, reason)
        await ends.over.wait()
        assert await ws.how_ended() == "END_STREAM"
    assert (ends.said, ends.end) == (["x"], (code, reason, code, reason))


@pytest.mark.parametrize("code", [1000, 1001, 4001])
async def test_the_handlers_close_arrives(code: int) -> None:
    """Behind what was sent, with its reason; then the end of the stream."""
    async with serving(app) as served, http2_websocket(served, f"/close?code={code}&reason=enough") as ws:
        assert await ws.receive() == "last"
        assert await ws.wait_closed() == (code, "enough")
        assert await ws.how_ended() == "END_STREAM"


async def test_the_answer_to_a_close_comes_behind_what_was_sent() -> None:
    """Though the client lets nothing through when it closes."""
    site, sent = App(), trio.Event()

    @site.websocket("/")
    async def sends(ws: WebSocket) -> None:
        await ws.accept()
        sent.set()
        await ws.send(bytes(300_000))

    async with serving(site) as served, http2_websocket(served, "/") as ws:
        await sent.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ws.close(4001)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await ws.receive() == bytes(300_000)
        assert await ws.wait_closed() == (4001, "")


async def test_pings_are_answered_though_nothing_fits() -> None:
    """Behind what was sent; who reads the connection does not wait for that, else the windows would stay closed."""
    site, sent = App(send_timeout=1), trio.Event()

    @site.websocket("/")
    async def sends(ws: WebSocket) -> None:
        await ws.accept()
        sent.set()
        await ws.send(bytes(300_000))
        async for message in ws:
            await ws.send(message)

    async with serving(site) as served, http2_websocket(served, "/") as ws:
        await sent.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        for payload in (b"1", b"2", b"3"):
            await ws._write(Ping(payload))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await ws.receive() == bytes(300_000)
        await ws._write(Ping(b"4"))
        await ws.send("x")
        assert await ws.receive() == "x"
        await ws.close()
        await ws.wait_closed()
        assert ws._pongs[-2:] == [b"3", b"4"]


async def test_sends_of_several_tasks_all_end() -> None:
    """Each is woken when there is room again, not only the one that began last."""
    site = App(send_timeout=None)
    messages = [bytes([number]) * 100_000 for number in range(3)]

    @site.websocket("/")
    async def sends(ws: WebSocket) -> None:
        await ws.accept()
        async with trio.open_nursery() as nursery:
            for message in messages:
                nursery.start_soon(ws.send, message)
        await ws.send("all are sent")

    with trio.fail_after(5):
        async with serving(site) as served, http2_websocket(served, "/") as ws:
            assert sorted([await ws.receive() for _ in messages]) == messages
            assert await ws.receive() == "all are sent"


async def test_an_echo_goes_on_when_its_client_reads_late() -> None:
    """The reader of the connection does not wait for a handler that waits for a window."""
    site = App(send_timeout=1)
    site.websocket("/")(echo)
    async with serving(site) as served, http2_websocket(served, "/") as ws:
        ws.hold_window()
        for _ in range(120):
            await ws.send(bytes(1000))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ws.open_window()
        for _ in range(120):
            assert await ws.receive() == bytes(1000)


async def test_who_does_not_receive_stops_its_client() -> None:
    """By the window, which opens again when it does; nothing is lost."""
    site, goes_on = App(), trio.Event()

    @site.websocket("/")
    async def late(ws: WebSocket) -> None:
        await ws.accept()
        await goes_on.wait()
        for number in range(300):
            assert await ws.receive() == f"{number:1000}"
        await ws.send("thanks")

    async with serving(site) as served, http2_websocket(served, "/") as ws:

        async def talk() -> None:
            for number in range(300):
                await ws.send(f"{number:1000}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert nursery.child_tasks  # it waits
            goes_on.set()
        assert await ws.receive() == "thanks"


async def test_what_is_unread_at_the_end_opens_the_connections_window() -> None:
    """Else it would be closed for the streams that follow; while there is room nothing is owed."""
    inbox, opened = MessageInbox(2), list[int]()
    inbox.taken = opened.append
    for number in (1, 2, 3):
        inbox.feed({"type": "websocket.receive", "text": str(number)})
    inbox.owed = 5
    await inbox.receive()
    assert opened == []
    await inbox.receive()
    assert opened == [5]
    inbox.owed = 7
    inbox.end({"type": "websocket.disconnect"})
    inbox.end({"type": "websocket.disconnect"})
    assert opened == [5, 7]


async def test_an_error_after_the_acceptance_closes() -> None:
    """As it does over HTTP/1.1."""
    async with serving(app) as served, http2_websocket(served, "/fails") as ws:
        assert await ws.wait_closed() == (1008, "in use")


async def test_an_application_that_only_ends_closes() -> None:
    """A plain one that fails: with 1011, where the stream was reset, and what was sent was lost."""

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise ValueError("it has none")
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "last"})

    async with serving(plain) as served, http2_websocket(served, "/") as ws:
        assert await ws.receive() == "last"
        assert await ws.wait_closed() == (1011, "")
        assert await ws.how_ended() == "END_STREAM"


@pytest.mark.parametrize(
    ("frame", "code"), [(b"\x81\x81\x00\x00\x00\x00\xff", 1007), (b"\xc1\x81\x00\x00\x00\x00a", 1002)]
)
async def test_a_protocol_error_is_answered_with_its_code(frame: bytes, code: int) -> None:
    """And the handler is told of it."""
    ends = Ends()
    async with serving(ends.app) as served, http2_websocket(served, "/") as ws:
        await ws.write_raw(frame)
        assert (await ws.wait_closed())[0] == code
        assert await ws.how_ended() == "END_STREAM"
        await ends.over.wait()
    assert ends.end[0] == code


async def test_a_refusal_has_its_status() -> None:
    """And its body; a path that nobody has is 404."""
    async with serving(app) as served:
        with pytest.raises(WebSocketRefused) as caught:
            await http2_websocket(served, "/refuses").__aenter__()
        assert caught.value.status == 401
        assert caught.value.response.json()["detail"] == "who are you?"
        with pytest.raises(WebSocketRefused) as caught:
            await http2_websocket(served, "/nowhere").__aenter__()
        assert caught.value.status == 404


async def test_the_subprotocol_is_chosen() -> None:
    """From what is offered."""
    async with serving(app) as served, http2_websocket(served, "/speaks", subprotocols=("a", "b")) as ws:
        assert ws.subprotocol == "b"


async def test_a_reset_is_a_client_that_has_left() -> None:
    """1006, as a connection that breaks."""
    ends = Ends()
    async with serving(ends.app) as served, http2_websocket(served, "/") as ws:
        await ws.send("x")
        await trio.testing.wait_all_tasks_blocked(0.01)
        ws.reset()
        await ends.over.wait()
        ws.leave()
    assert (ends.said, ends.end) == (["x"], (1006, "", 1006, ""))


async def test_a_stream_that_ends_without_a_close_is_ended() -> None:
    """The client is gone to the handler, and the stream is not left half open."""
    ends = Ends()
    async with serving(ends.app) as served, http2_websocket(served, "/") as ws:
        await ws.send("x")
        await ws.end()
        await ends.over.wait()
        assert await ws.how_ended() == "END_STREAM"
        ws.leave()
    assert (ends.said, ends.end[:2]) == (["x"], (1006, ""))


async def test_a_drain_closes_with_1001() -> None:
    """At once; what may finish has its time, and is closed when that is over."""
    site = App()

    @site.websocket("/now")
    async def now(ws: WebSocket) -> None:
        await ws.send("hello")
        await trio.sleep_forever()

    @site.websocket("/finish", on_drain="finish")
    async def finish(ws: WebSocket) -> None:
        await ws.accept()
        await ws.draining.wait()
        await ws.send("bye")

    @site.websocket("/stays", on_drain="finish")
    async def stays(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep_forever()

    async with (
        serving(site, options={"drain_timeout": 0.3}) as served,
        http2_websocket(served, "/now") as at_once,
        http2_websocket(served, "/finish") as finishes,
        http2_websocket(served, "/stays") as remains,
    ):
        served.stop.set()
        assert await at_once.receive() == "hello"
        assert await at_once.wait_closed() == (1001, "")
        assert await finishes.receive() == "bye"
        assert await finishes.wait_closed() == (1001, "")
        assert await remains.wait_closed() == (1001, "")
