"""Writes have a bound: a client that stops reading is dropped, one that reads slowly is not, and memory stays small."""

from __future__ import annotations

import resource
import socket
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
import trio

from tests.live._inprocess import Served, Told, get, http, read_all, serving

pytestmark = pytest.mark.live

CHUNK = b"x" * 65_536


class Flood:
    """A handler that streams for as long as it is let, with its own `send_timeout`."""

    def __init__(self, send_timeout: float | str | None = "default", chunks: int = 1_000_000) -> None:
        self.send_timeout = send_timeout
        self.chunks = chunks
        self.sent = 0
        self.told = Told()
        self.over = trio.Event()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        link = scope["extensions"]["trivet"]
        if self.send_timeout != "default":
            link.send_timeout = self.send_timeout
        link.attach(self.told)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while self.sent < self.chunks and not self.told.reasons:
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
                self.sent += 1
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.over.set()


async def slow_reader(served: Served, request: bytes = get()) -> trio.SocketStream:
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", served.port))
    stream = trio.SocketStream(sock)
    await stream.send_all(request)
    return stream


async def test_a_client_that_stops_reading_is_dropped() -> None:
    """After `send_timeout` without progress the handler is told, and its connection is reset."""
    flood = Flood()
    async with (
        serving(http(flood.app), options={"send_timeout": 0.3}) as served,
        await slow_reader(served) as stream,
    ):
        began = trio.current_time()
        with trio.fail_after(9):
            await flood.over.wait()
        assert 0.25 < trio.current_time() - began < 1.5
        assert flood.told.reasons == ["disconnected"]
        assert (await read_all(stream)).endswith(b"<RST>")


@pytest.mark.parametrize(("own", "dropped"), [(0.2, True), (None, False), (30.0, False)])
async def test_a_request_sets_its_own_send_timeout(own: float | None, dropped: bool) -> None:
    """`Link.send_timeout` has precedence over the server's, in both directions; None bounds nothing."""
    flood = Flood(own)
    server_default = 30.0 if dropped else 0.2
    async with (
        serving(http(flood.app), options={"send_timeout": server_default}) as served,
        await slow_reader(served),
    ):
        with trio.move_on_after(0.8):
            await flood.over.wait()
        assert flood.over.is_set() == dropped


async def test_a_client_that_reads_slowly_is_not_dropped() -> None:
    """The bound starts again with each byte the kernel takes, within a single large chunk too."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 8_000_000})

    async with (
        serving(http(handler), options={"send_timeout": 0.4}) as served,
        await slow_reader(served, get(close=True)) as stream,
    ):
        received = 0
        began = trio.current_time()
        while data := await stream.receive_some(2**20):
            received += len(data)
            if trio.current_time() - began < 1.2:
                await trio.sleep(0.02)
        assert received > 8_000_000
        assert trio.current_time() - began > 1


async def test_a_handler_cancelled_in_a_blocked_write_is_free_at_once() -> None:
    """Its own timeout ends a write to a client that does not read; the connection is cut, for part of it is out."""
    took: list[float] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        began = trio.current_time()
        with trio.move_on_after(0.2):
            while True:
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        took.append(trio.current_time() - began)
        await send({"type": "http.response.body", "body": b"ignored"})

    async with serving(http(handler)) as served, await slow_reader(served) as stream:
        await trio.sleep(0.4)
        assert b"ignored" not in await read_all(stream)
    assert took[0] < 0.4


async def test_a_stalled_reader_does_not_hold_the_shutdown() -> None:
    """Unbounded writes end when the drain does."""
    over = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].send_timeout = None
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        finally:
            over.set()

    async with (
        serving(http(handler), options={"drain_timeout": 0.1, "cleanup_grace": 0.1}) as served,
        await slow_reader(served),
    ):
        await trio.sleep(0.2)
        began = trio.current_time()
        served.stop.set()
        await over.wait()
        assert trio.current_time() - began < 1


def h2_client() -> h2.connection.H2Connection:
    client = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True, header_encoding=None))
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    return client


async def test_an_http2_window_of_zero_stops_the_application() -> None:
    """It waits in `send` with a bounded buffer, and the stream is reset after `send_timeout`."""
    flood = Flood(0.4)
    async with serving(http(flood.app)) as served, await served.connect() as stream:
        client = h2_client()
        client.send_headers(
            1, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")], end_stream=True
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await stream.send_all(client.data_to_send())
        await trio.sleep(0.2)
        assert flood.sent <= 1
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
        events: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.StreamReset) for event in events):
            events += client.receive_data(await stream.receive_some(65_536))
        with trio.fail_after(9):
            await flood.over.wait()
        assert flood.told.reasons == ["disconnected"]


async def test_an_http2_client_that_reads_slowly_is_not_reset() -> None:
    """A window that opens little by little is progress, for a single wait that takes longer than `send_timeout`."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].send_timeout = 0.4
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": CHUNK})

    async with serving(http(handler)) as served, await served.connect() as stream:
        client = h2_client()
        client.send_headers(
            1, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")], end_stream=True
        )
        await stream.send_all(client.data_to_send())
        received, ended = 0, False
        while not ended:
            client.increment_flow_control_window(8192, 1)
            client.increment_flow_control_window(8192)
            await stream.send_all(client.data_to_send())
            await trio.sleep(0.1)
            for event in client.receive_data(await stream.receive_some(65_536)):
                assert not isinstance(event, h2.events.StreamReset)
                received += len(event.data or b"") if isinstance(event, h2.events.DataReceived) else 0
                ended = ended or isinstance(event, h2.events.StreamEnded)
    assert received == len(CHUNK)


async def test_an_http2_client_that_leaves_frees_its_handlers() -> None:
    """Blocked in `send` or not, each handler ends when the connection does."""
    floods = [Flood(None) for _ in range(3)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await floods[int(scope["path"][1:])].app(scope, receive, send)

    async with serving(http(app)) as served:
        async with await served.connect() as stream:
            client = h2_client()
            for number in range(3):
                headers = [(":method", "GET"), (":path", f"/{number}"), (":scheme", "http"), (":authority", "x")]
                client.send_headers(1 + 2 * number, headers, end_stream=True)
            await stream.send_all(client.data_to_send())
            await trio.sleep(0.1)
        with trio.fail_after(9):
            for flood in floods:
                await flood.over.wait()
                assert flood.told.reasons == ["disconnected"]


async def test_an_unread_upload_stops_its_client() -> None:
    """Over HTTP/1.1 the reader stops reading, over HTTP/2 the window stays shut, until the application reads."""
    release = trio.Event()
    sizes: list[int] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        size, more = 0, True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            size, more = size + sizes[-1], message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % size})

    length = 40_000_000
    async with serving(http(handler)) as served, await served.connect() as stream:
        async with trio.open_nursery() as nursery:
            head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length
            nursery.start_soon(stream.send_all, head + b"x" * length)
            await trio.sleep(0.3)
            assert len(nursery.child_tasks) == 1  # what it could not send is not held by us
            release.set()
        assert b"%d" % length in await read_all(stream)
    assert max(sizes) < 200_000

    release = trio.Event()
    async with serving(http(handler)) as served, await served.connect() as stream:
        client = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True, header_encoding=None))
        client.initiate_connection()
        client.send_headers(1, [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x")])
        for _ in range(4):
            client.send_data(1, b"x" * 16_000)
        await stream.send_all(client.data_to_send())
        with trio.move_on_after(0.2):
            while True:
                client.receive_data(await stream.receive_some(65_536))
        assert client.local_flow_control_window(1) == 65_535 - 64_000
        release.set()
        with trio.fail_after(9):
            while client.local_flow_control_window(1) < 32_000:
                client.receive_data(await stream.receive_some(65_536))
        client.end_stream(1)
        await stream.send_all(client.data_to_send())
