"""Streams and server-sent events over real sockets, under stock hypercorn and under our own server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
import trio.testing

from tests.harness import connect, serving
from tests.harness.serving import SocketServer
from tests.harness.sockets import SocketClient, SocketExchange
from tests.live._tasks import living
from trivet import App, Event, EventSink, EventStream, Request, Sink, Stream
from trivet.errors import ClientDisconnected
from trivet.testing._events import EventParser

pytestmark = [pytest.mark.live, pytest.mark.slow]

both_servers = pytest.mark.parametrize("server", ["hypercorn", "trivet"])


async def until(check: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something to become true."""
    with trio.fail_after(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is in the server's hands
            await trio.sleep(0.01)


async def events_of(exchange: SocketExchange, count: int) -> list[Event]:
    """The next events, at least `count` of them."""
    parser, events = EventParser(), list[Event]()
    with trio.fail_after(10):
        while len(events) < count:
            chunk = await exchange.receive()
            assert chunk is not None
            events += parser.feed(chunk)
    return events


@both_servers
async def test_chunks_lines_and_items_arrive(server: SocketServer) -> None:
    """From a function, with children that send at a time; from a generator; as JSON Lines. HEAD begins none."""
    app, begun = App(), list[str]()

    async def numbers() -> AsyncIterator[int]:
        begun.append("numbers")
        async with trio.open_nursery():
            for number in range(3):
                yield number  # noqa: ASYNC101, ASYNC119 - what is tested

    @app.get("/children")
    async def children() -> Stream:
        async def feed(sink: Sink) -> None:
            begun.append("children")

            async def child(letter: str) -> None:
                for _ in range(20):
                    await sink.send(letter * 50_000 + "\n")

            async with trio.open_nursery() as nursery:
                for letter in "abc":
                    nursery.start_soon(child, letter)

        return Stream(feed)

    @app.get("/lines")
    async def lines() -> Stream:
        return Stream(numbers(), media_type="application/jsonl")

    async with serving(server, app) as client:
        received = (await client.get("/children")).text.splitlines()
        assert sorted(received) == sorted(letter * 50_000 for letter in "abc" * 20)
        assert (await client.get("/lines")).text == "0\n1\n2\n"
        assert begun == ["children", "numbers"]
        for path in ("/children", "/lines"):
            assert (await client.head(path)).content == b""
        assert begun == ["children", "numbers"]


@both_servers
async def test_a_client_that_does_not_read_holds_the_source_up(server: SocketServer) -> None:
    """Back-pressure: what waits for it is bounded in bytes, the kernel's buffers included; and it loses nothing."""
    app, sent = App(send_timeout=None), [0]

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            for _ in range(1000):
                await sink.send(b"x" * 65_536)
                sent[0] += 65_536

        return Stream(feed)

    async with serving(server, app) as client, client.open("GET", "/", small_buffer=True) as exchange:
        assert (await exchange.head())[0] == 200
        last = -1
        with trio.fail_after(10):
            while sent[0] != last:
                last = sent[0]
                await trio.sleep(0.1)
        assert sent[0] < 16 * 2**20


@both_servers
async def test_a_sink_raises_when_the_client_has_left(server: SocketServer) -> None:
    """As an `OSError`, to a source that is out of reach of the cancellation."""
    app, log = App(), list[Any]()

    @app.get("/")
    async def handler(request: Request) -> Stream:
        async def feed(sink: Sink) -> None:
            with trio.CancelScope(shield=True):
                try:
                    while True:
                        await sink.send("x")
                        await trio.sleep(0.01)
                except ClientDisconnected:
                    log.append(request.ended)
                    raise

        return Stream(feed)

    async with serving(server, app) as client, client.open("GET", "/") as exchange:
        await exchange.head()
        exchange.peer.leave()
        await until(lambda: bool(log))
    assert log == ["disconnected"]


@both_servers
async def test_events_arrive_one_by_one_with_heartbeats_between(server: SocketServer) -> None:
    """The head before the first of them, and each when it is sent; the id of the last one comes back."""
    app, go = App(), trio.Event()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await go.wait()
            await sink.send(Event({"seen": sink.last_event_id}, id="größer"))
            await trio.sleep_forever()

        return EventStream(feed, heartbeat=0.02)

    async with serving(server, app) as client, client.open("GET", "/", headers={"Last-Event-ID": "7"}) as exchange:
        status, headers = await exchange.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert await exchange.receive() == b":\n\n"
        go.set()
        assert await events_of(exchange, 1) == [Event({"seen": "7"}, id="größer")]
        assert await exchange.receive() == b":\n\n"


@both_servers
async def test_readers_of_events_that_leave_abruptly_leave_no_task(server: SocketServer) -> None:
    """Idle ones, and ones in the middle of what they are sent, under each policy."""
    app, running = App(), [0]

    @app.get("/{slow}")
    async def handler(slow: str, busy: bool = False) -> EventStream:
        async def feed(sink: EventSink) -> None:
            running[0] += 1
            try:
                while busy:
                    await sink.send("x" * 1000)
                    await trio.sleep(0.001)
                await trio.sleep_forever()
            finally:
                running[0] -= 1

        return EventStream(feed, slow=slow)  # type: ignore[arg-type]

    async with serving(server, app, backlog=200) as client:
        await client.get("/a/missing")
        await trio.testing.wait_all_tasks_blocked(0.05)
        before = living()
        async with AsyncExitStack() as stack:
            peers = []
            for number in range(60):
                peer = await stack.enter_async_context(connect(client.address))
                slow = ("block", "drop_oldest", "disconnect")[number % 3]
                await peer.send(
                    f"GET /{slow}?busy={'true' if number % 2 else 'false'} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                )
                peers.append(peer)
            await until(lambda: running[0] == 60)
            for number, peer in enumerate(peers):
                if number % 4:
                    peer.reset()
                else:
                    peer.leave()
            await until(lambda: running[0] == 0)
        await until(lambda: living() <= before)


@both_servers
async def test_a_drain_ends_event_streams_whole(server: SocketServer) -> None:
    """With a time to come back. Long before the drain time is over; but stock hypercorn tells only then."""
    app, bodies = App(), list[bytes]()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("begun")
            await trio.sleep_forever()

        return EventStream(feed)

    async def come(client: SocketClient, task_status: trio.TaskStatus[None]) -> None:
        async with client.open("GET", "/") as exchange:
            assert await exchange.receive() == b"data: begun\n\n"
            task_status.started()
            bodies.append(await exchange.read())
            assert exchange.complete

    async with (
        trio.open_nursery() as nursery,
        serving(server, app, drain_timeout=60 if server == "trivet" else 0.1) as client,
    ):
        for _ in range(2):
            await nursery.start(come, client)
    assert len(bodies) == 2
    assert all(body.startswith(b"retry: ") for body in bodies)


async def test_a_slow_reader_of_events_costs_nobody_else_anything() -> None:
    """Its own events are dropped, bounded in number; those of a reader beside it are not, and come in time.

    (Stock hypercorn cannot interrupt a write: there a reader that never reads again holds its own request up.)
    """
    app, sinks, count = App(send_timeout=0.5), dict[str, EventSink](), 400
    ready = trio.Event()

    @app.get("/{name}")
    async def handler(name: str, slow: str) -> EventStream:
        async def feed(sink: EventSink) -> None:
            sinks[name] = sink
            if len(sinks) == 3:
                ready.set()
            await trio.sleep_forever()

        return EventStream(feed, slow=slow, buffer=8)  # type: ignore[arg-type]

    async def publish() -> None:
        event = Event("x" * 20_000)
        await ready.wait()
        for _ in range(count):
            for sink in sinks.values():
                with contextlib.suppress(ClientDisconnected):
                    await sink.send(event)
            await trio.sleep(0.0005)

    async with (
        serving("trivet", app) as client,
        client.open("GET", "/reads?slow=drop_oldest") as reads,
        client.open("GET", "/stops?slow=drop_oldest", small_buffer=True) as stops,
        client.open("GET", "/gone?slow=disconnect", small_buffer=True) as gone,
        trio.open_nursery() as nursery,
    ):
        for exchange in (reads, stops, gone):
            await exchange.head()
        nursery.start_soon(publish)
        assert len(await events_of(reads, count)) == count
        assert sinks["reads"].dropped == 0
        assert sinks["stops"].waiting <= 8
        assert sinks["stops"].dropped > 0
