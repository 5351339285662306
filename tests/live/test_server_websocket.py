"""WebSockets on hypercorn's protocol, made safe: ends that are told, and limits that hold."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from tests.live._inprocess import Served, http, serving
from trivet.server._ws_stream import WebSocketStream

pytestmark = pytest.mark.live


class Client:
    """A WebSocket client."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self.events: list[Event] = []

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def next(self) -> Event | None:
        """The next event; None at the end of the stream."""
        while not self.events:
            data = await self.stream.receive_some(65_536)
            self.protocol.receive_data(data or None)
            self.events += self.protocol.events()
            if not data and not self.events:
                return None
        return self.events.pop(0)


@asynccontextmanager
async def client(served: Served, **handshake: Any) -> AsyncGenerator[Client]:
    async with await served.connect() as stream:
        it = Client(stream)
        await it.send(Request(host="x", target="/", **handshake))
        yield it


class Recorder:
    """Accepts, and records what it receives, until the end."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.reasons: list[str] = []
        self.over = trio.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].attach(self.reasons.append)
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.messages.append(message)
            if message["type"] == "websocket.disconnect":
                break
        self.over.set()


async def test_the_clients_close_code_and_reason_arrive() -> None:
    """After the messages before it; hypercorn says 1006 whatever the client said."""
    recorder = Recorder()
    async with serving(http(recorder.app)) as served, client(served) as ws:
        assert isinstance(await ws.next(), AcceptConnection)
        await ws.send(TextMessage(data="one"))
        await ws.send(CloseConnection(code=4001, reason="bye"))
        assert isinstance(await ws.next(), CloseConnection)
        await recorder.over.wait()
    assert [message.get("text") for message in recorder.messages] == ["one", None]
    assert recorder.messages[-1] == {"type": "websocket.disconnect", "code": 4001, "reason": "bye"}
    assert recorder.reasons == ["disconnected"]


async def test_a_client_that_vanishes_is_told_as_1006() -> None:
    """No close frame: abnormal closure, and the link says so too."""
    recorder = Recorder()
    async with serving(http(recorder.app)) as served:
        async with client(served) as ws:
            await ws.next()
        await recorder.over.wait()
    assert recorder.messages[-1]["code"] == 1006
    assert recorder.reasons == ["disconnected"]


@pytest.mark.parametrize("caught", [True, False])
async def test_a_handler_that_only_sends_is_told_by_an_error(caught: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Once the client has left, `send` raises an OSError (ASGI 2.4); let through, it is not logged."""
    over = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await trio.sleep(0.01)
        except OSError:
            over.set()
            if not caught:
                raise

    async with serving(http(app)) as served:
        async with client(served) as ws:
            await ws.next()
        with trio.fail_after(5):
            await over.wait()
    assert "the application failed" not in caplog.text


async def test_half_a_message_goes_with_its_client() -> None:
    """Not when the garbage collector comes by, which may be a hundred clients later: a message has up to 16 MiB."""
    recorder = Recorder()
    gc.disable()
    try:
        async with serving(http(recorder.app)) as served:
            async with client(served) as ws:
                await ws.next()
                await ws.send(BytesMessage(data=b"x" * 500, message_finished=False))
                await ws.send(Ping(payload=b"has it arrived?"))
                assert isinstance(await ws.next(), Pong)
            await recorder.over.wait()
            streams = [each for each in gc.get_objects() if isinstance(each, WebSocketStream)]
            assert [stream.buffer.value for stream in streams if stream.buffer.value is not None] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("size", [1000, 1001])
async def test_the_message_limit_holds(size: int) -> None:
    """A message within it arrives; one beyond ends the connection with 1009, and is not read on."""
    recorder = Recorder()
    async with serving(http(recorder.app), websocket_max_message_size=1000) as served, client(served) as ws:
        await ws.next()
        await ws.send(BytesMessage(data=b"x" * 500, message_finished=False))
        await ws.send(BytesMessage(data=b"x" * (size - 500)))
        if size == 1000:
            await ws.send(CloseConnection(code=1000))
        event = await ws.next()
        assert isinstance(event, CloseConnection)
        assert event.code == (1000 if size == 1000 else 1009)
        await recorder.over.wait()
    assert recorder.messages[-1]["code"] == (1000 if size == 1000 else 1009)
    assert len(recorder.messages) == (2 if size == 1000 else 1)


async def test_compression_is_not_offered() -> None:
    """permessage-deflate is declined: half a megabyte could inflate to half a gigabyte in one step."""
    recorder = Recorder()
    async with (
        serving(http(recorder.app)) as served,
        client(served, extensions=[PerMessageDeflate()]) as ws,
    ):
        accepted = await ws.next()
        assert isinstance(accepted, AcceptConnection)
        assert accepted.extensions == []


async def test_a_protocol_error_is_answered_with_its_code() -> None:
    """Text that is not UTF-8: 1007."""
    recorder = Recorder()
    async with serving(http(recorder.app)) as served, client(served) as ws:
        await ws.next()
        await ws.stream.send_all(b"\x81\x82\0\0\0\0\xff\xfe")
        event = await ws.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1007
        await recorder.over.wait()
    assert recorder.messages[-1]["code"] == 1007


async def test_more_unread_messages_than_the_queue_holds_do_not_hang_the_close() -> None:
    """The application closes without having read them; both sides get to the end."""
    over = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await trio.sleep(0.1)
        await send({"type": "websocket.close", "code": 1000})
        over.set()

    async with serving(http(handler)) as served, client(served) as ws:
        await ws.next()
        for _ in range(50):
            await ws.send(TextMessage(data="x"))
        event = await ws.next()
        assert isinstance(event, CloseConnection)
        with trio.fail_after(9):
            await over.wait()


async def test_a_websocket_that_is_cut_by_a_drain_is_closed_with_1001() -> None:
    """A plain ASGI application is cancelled, its client told that the server goes away."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await trio.sleep_forever()

    async with serving(http(handler), options={"drain_timeout": 0.1}) as served, client(served) as ws:
        await ws.next()
        served.stop.set()
        event = await ws.next()
        assert isinstance(event, CloseConnection)
        assert event.code == 1001


async def test_a_failing_application_closes_with_1011() -> None:
    """After the handshake an error is 1011, before it 500."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["headers"][0][1] == b"x":
            await send({"type": "websocket.accept"})
        raise KeyboardInterrupt

    async with serving(http(handler)) as served:
        async with client(served) as ws:
            await ws.next()
            event = await ws.next()
            assert isinstance(event, CloseConnection)
            assert event.code == 1011
        async with await served.connect() as stream:
            it = Client(stream)
            await it.send(Request(host="y", target="/"))
            rejected = await it.next()
            assert isinstance(rejected, RejectConnection)
            assert rejected.status_code == 500
