"""Broadcast in an application: as server-sent events, in memory and over sockets of both servers."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.harness import Serve
from tests.harness.providers import entering
from trivet import App, Depends, Event, EventSink, EventStream, WebSocket
from trivet.contrib.broadcast import Broadcast, Slow, SlowSubscriber
from trivet.testing import TestClient
from trivet.testing._events import EventParser


class Site:
    """Rooms, and what became of their listeners."""

    def __init__(self, slow: Slow = "disconnect", buffer: int = 8) -> None:
        self.rooms = rooms = Broadcast(history=100, slow=slow, buffer=buffer, block_timeout=5)
        self.ended: list[str] = []
        self.app = app = App()

        Rooms = Annotated[Broadcast, Depends(entering(rooms), scope="app")]  # noqa: N806

        @app.post("/{name}", status=202)
        async def say(name: str, text: str, rooms: Rooms) -> None:
            await rooms.publish(name, text)

        @app.get("/{name}")
        async def listen(name: str, rooms: Rooms) -> EventStream:
            async def feed(sink: EventSink) -> None:
                try:
                    async with rooms.subscribe(name, after=sink.last_event_id, history=100, member="x") as subscription:
                        async for message in subscription:
                            await sink.send(Event(message.data, id=message.id))
                except SlowSubscriber:
                    self.ended.append("slow")
                    raise
                finally:
                    self.ended.append(name)

            return EventStream(feed, heartbeat=None)

    async def until_subscribed(self, name: str, count: int) -> None:
        with trio.fail_after(5):
            while self.rooms.subscribers(name) != count:  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(0.005)


class Listener:
    """A client of an event stream, in memory or over a socket."""

    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange
        self.parser = EventParser()
        self.events: deque[Event] = deque()

    async def hear(self) -> str | None:
        while not self.events:
            chunk = await self.exchange.receive()
            assert chunk is not None
            self.events += self.parser.feed(chunk)
        return self.events.popleft().data


async def test_listeners_hear_what_is_said(serve: Serve) -> None:
    """All of them, until they leave; then nothing is left of them."""
    site = Site()
    async with serve(site.app) as client:
        async with client.open("GET", "/tea") as one, client.open("GET", "/tea") as two:
            await site.until_subscribed("tea", 2)
            assert (await client.post("/tea?text=hello")).status_code == 202
            for exchange in (one, two):
                assert await Listener(exchange).hear() == "hello"
                exchange.leave()
        await site.until_subscribed("tea", 0)
        assert await site.rooms.members("tea") == {}


async def test_a_listener_that_comes_back_misses_nothing(serve: Serve) -> None:
    """By `Last-Event-ID`, as browsers send it."""
    site = Site()
    async with serve(site.app) as client:
        for text in ("1", "2", "3"):
            await client.post(f"/tea?text={text}")
        async with client.open("GET", "/tea") as exchange:
            listener = Listener(exchange)
            assert [await listener.hear() for _ in range(3)] == ["1", "2", "3"]
            exchange.leave()
        await client.post("/tea?text=4")
        async with client.open("GET", "/tea", headers={"last-event-id": listener.parser.last_event_id}) as exchange:
            assert await Listener(exchange).hear() == "4"
            exchange.leave()


@pytest.mark.parametrize("slow", ["disconnect", "drop_oldest", "drop_new", "block"])
async def test_one_that_does_not_read_harms_nobody(slow: Slow, autojump_clock: MockClock) -> None:
    """The other has each message as soon as it is said, and what waits is bounded."""
    site = Site(slow)
    async with TestClient(site.app) as client:
        async with client.open("GET", "/tea") as stuck, client.events("/tea") as events:
            await site.until_subscribed("tea", 2)
            stuck.stop_reading()
            for number in range(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(site.rooms.publish, "tea", f"{number} {'x' * 20_000}")
                    start = trio.current_time()
                    heard = (await anext(events)).data or ""
                    assert heard.partition(" ")[0] == str(number)
                    assert trio.current_time() == start
                waiting = [len(each._queue) for each in site.rooms._hub.rooms["tea"]]
                assert max(waiting) <= 8
            counters = site.rooms.counters
            assert counters.disconnected == (slow in ("disconnect", "block"))
            assert counters.dropped > 8
        await wait_all_tasks_blocked()
        assert site.ended.count("slow") == counters.disconnected
    assert site.rooms.counters.subscribers == 0


async def test_a_hundred_who_leave_abruptly_leave_nothing(autojump_clock: MockClock) -> None:
    """No subscriber, no member, no task; the test client would tell of one."""
    site = Site()
    async with TestClient(site.app) as client:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async with client.open("GET", "/tea") as exchange:
                    await site.until_subscribed("tea", 100)
                    exchange.leave()

            for _ in range(100):
                nursery.start_soon(listen)
        await site.until_subscribed("tea", 0)
        await wait_all_tasks_blocked()
        assert site.ended == ["tea"] * 100
        assert await site.rooms.members("tea") == {}


class Room:
    """A room over WebSockets, as the how-to has it."""

    def __init__(self, slow: Slow = "disconnect") -> None:
        self.rooms = rooms = Broadcast(buffer=8, slow=slow, block_timeout=5)
        self.app = app = App()

        @app.websocket("/", dependencies=[Depends(entering(rooms), scope="app")])
        async def room(ws: WebSocket) -> None:
            try:
                async with rooms.subscribe("", member=1) as subscription, trio.open_nursery() as nursery:

                    async def tell() -> None:
                        async for message in subscription:
                            await ws.send(message.data)

                    nursery.start_soon(tell)
                    async for line in ws:
                        await rooms.publish("", line)
                    nursery.cancel_scope.cancel()
            except SlowSubscriber:
                await ws.close(1013)


@pytest.mark.parametrize("slow", ["disconnect", "drop_oldest", "drop_new", "block"])
async def test_a_member_that_does_not_read_harms_nobody(slow: Slow, autojump_clock: MockClock) -> None:
    """It goes, or misses something; when it reads again it is told which."""
    room = Room(slow)
    text = "x" * 20_000
    async with TestClient(room.app) as client, client.websocket("/") as stuck, client.websocket("/") as other:
        with trio.fail_after(5):
            while len(await room.rooms.members("")) < 2:
                pass
        stuck.stop_reading()
        for number in range(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room.rooms.publish, "", f"{number} {text}")
                start = trio.current_time()
                assert str(await other.receive()).partition(" ")[0] == str(number)
                assert trio.current_time() == start
            assert max(len(each._queue) for each in room.rooms._hub.rooms[""]) <= 8
        gone = slow in ("disconnect", "block")
        assert len(await room.rooms.members("")) == (1 if gone else 2)
        stuck.start_reading()
        heard = 0
        with trio.move_on_after(1):
            async for _ in stuck:
                heard += 1
        assert 0 < heard < 60
        if gone:
            assert (await stuck.wait_closed())[0] == 1013
        else:
            assert heard + room.rooms.counters.dropped == 60


async def test_members_who_vanish_leave_nothing(autojump_clock: MockClock) -> None:
    """A hundred of them, without a close."""
    room = Room()
    async with TestClient(room.app) as client:
        async with trio.open_nursery() as nursery:

            async def visit() -> None:
                async with client.websocket("/") as ws:
                    while len(await room.rooms.members("")) < 100:
                        pass
                    ws.leave()

            for _ in range(100):
                nursery.start_soon(visit)
        await wait_all_tasks_blocked()
        assert await room.rooms.members("") == {}
        assert room.rooms.counters.subscribers == 0
