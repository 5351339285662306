"""Server-sent events through the whole application: what is sent when, to fast clients and slow ones, and their end."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trivet import App, Depends, Event, EventSink, EventStream, Request, RequestCancelled
from trivet.errors import ClientDisconnected
from trivet.testing import TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


@both_servers
async def test_events_and_values_are_sent_as_they_are_made(link: bool) -> None:
    """An event, or what becomes the data of one; the head says what they are, and that nobody is to keep them."""
    app = App()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("text")
            await sink.send({"a": [1, None]})
            await sink.send(Event("x\ny", event="news", id=7, retry=2.5, comment="c"))

        return EventStream(feed, headers={"X-A": "1"})

    async with TestClient(app, link=link) as client:
        response = await client.get("/")
    assert response.text == (
        'data: text\n\ndata: {"a":[1,null]}\n\n: c\nid: 7\nevent: news\nretry: 2500\ndata: x\ndata: y\n\n'
    )
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    assert (response.headers["x-accel-buffering"], response.headers["x-a"]) == ("no", "1")


@both_servers
async def test_the_head_does_not_wait_for_the_first_event(link: bool) -> None:
    """A page is told that it is connected, however long nothing happens."""
    app = App()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await trio.sleep_forever()

        return EventStream(feed)

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        assert (await exchange.head())[0] == 200


@pytest.mark.parametrize("last", ["7", "größer"])
async def test_a_client_that_comes_back_says_what_it_has_seen(last: str) -> None:
    """Browsers send `Last-Event-ID` as UTF-8; to a client that says none, or an empty one, there is none."""
    app, seen = App(), list[str | None]()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            seen.append(sink.last_event_id)

        return EventStream(feed)

    async with TestClient(app) as client:
        await client.get("/", headers={b"Last-Event-ID": last.encode()})
        await client.get("/", headers={"Last-Event-ID": ""})
        await client.get("/")
    assert seen == [last, None, None]


@both_servers
async def test_a_heartbeat_is_sent_after_silence_only(link: bool, autojump_clock: MockClock) -> None:
    """A comment for each `heartbeat` seconds in which nothing else was sent, counted from the last event."""
    app = App()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            for pause in (9, 9, 25):
                await trio.sleep(pause)
                await sink.send(pause)

        return EventStream(feed, heartbeat=10)

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).text == "data: 9\n\ndata: 9\n\n:\n\n:\n\ndata: 25\n\n"


async def test_no_heartbeat_without_one(autojump_clock: MockClock) -> None:
    """With `heartbeat=None` nothing is sent that the application did not send."""
    app = App()

    @app.get("/{on_drain}")
    async def handler(on_drain: Any) -> EventStream:
        async def feed(sink: EventSink) -> None:
            await trio.sleep(3600)

        return EventStream(feed, heartbeat=None, on_drain=on_drain)

    async with TestClient(app) as client:
        assert (await client.get("/cancel")).text == ""
        assert (await client.get("/finish")).text == ""


@both_servers
async def test_several_tasks_may_send_at_a_time(link: bool, autojump_clock: MockClock) -> None:
    """A nursery in the source, each child with a deadline of its own: no event is mixed with another or a heartbeat."""
    app = App()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            async def child(name: str, pause: float) -> None:
                with trio.move_on_after(30):
                    while True:
                        await trio.sleep(pause)
                        await sink.send(name * 3)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, "a", 7)
                nursery.start_soon(child, "b", 11)

        return EventStream(feed, heartbeat=1)

    async with TestClient(app, link=link) as client:
        blocks = (await client.get("/")).text.split("\n\n")
    events = [block for block in blocks if block.startswith("data")]
    assert sorted(events) == ["data: aaa"] * 4 + ["data: bbb"] * 2
    assert set(blocks) == {"data: aaa", "data: bbb", ":", ""}


@both_servers
async def test_a_drain_ends_the_stream_and_says_when_to_come_back(link: bool) -> None:
    """The source is stopped at once, its dependency cleans up and knows why, and the body is whole."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        try:
            yield
        except RequestCancelled as error:
            log.append(error.reason)
            raise

    @app.get("/")
    async def handler(request: Request, used: Annotated[None, Depends(resource)]) -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send(Event("x", retry=40))
            await trio.sleep_forever()

        return EventStream(feed)

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        assert await exchange.receive() == b"retry: 40000\ndata: x\n\n"
        if link:
            client.drain()
        else:
            app.draining.set()
        rest = await exchange.read()
        assert exchange.complete
    field, _, value = rest.decode().strip().partition(": ")
    assert (field, 20000 <= int(value) <= 60000) == ("retry", True)
    assert log == ["drained"]


@pytest.mark.parametrize(("end", "told"), [(0, b"retry: 1000\n\n"), (1, b"retry: 3000\n\n")])
async def test_each_client_of_a_drain_comes_back_in_a_time_of_its_own(
    end: int, told: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between half and one and a half of two seconds, or of what the application has said last."""
    app = App()
    monkeypatch.setattr(random, "uniform", lambda *ends: ends[end])

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("begun")
            await trio.sleep_forever()

        return EventStream(feed)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        await exchange.receive()
        client.drain()
        assert await exchange.read() == told


@pytest.mark.parametrize("slow", ["drop_oldest", "drop_new"])
async def test_what_waits_for_a_slow_client_is_sent_before_a_drain_ends_the_stream(slow: Any) -> None:
    """It was taken, so it is not lost; and no event is cut in two, however slowly the client reads."""
    app, sent = App(), trio.Event()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("first")
            await wait_all_tasks_blocked()  # it was written, and read
            for number in range(3):
                await sink.send(f"{number} {'x' * 100_000}")
            sent.set()
            await trio.sleep_forever()

        return EventStream(feed, slow=slow)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        assert await exchange.receive() == b"data: first\n\n"
        exchange.stop_reading()
        await sent.wait()
        await wait_all_tasks_blocked()
        client.drain()
        await wait_all_tasks_blocked()
        exchange.start_reading()
        blocks = (await exchange.read()).decode().split("\n\n")
        assert exchange.complete
    assert [block[:7] for block in blocks] == ["data: 0", "data: 1", "data: 2", "retry: ", ""]
    assert {len(block) for block in blocks[:3]} == {100_008}


@both_servers
async def test_a_drain_waits_for_the_event_that_is_being_written_and_for_no_other(link: bool) -> None:
    """Who waits for its turn to write is stopped before it has begun, so that the stream ends whole."""
    app, draining = App(), trio.Event()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("first")
            await wait_all_tasks_blocked()  # it was written, and read
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sink.send, "x" * 100_000)
                await wait_all_tasks_blocked()
                draining.set()
                await wait_all_tasks_blocked()  # the drain waits for the first of them, this one for the drain
                nursery.start_soon(sink.send, "y" * 100_000)

        return EventStream(feed)

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        assert await exchange.receive() == b"data: first\n\n"
        exchange.stop_reading()
        await draining.wait()
        client.drain()
        app.draining.set()
        await wait_all_tasks_blocked(0.01)
        exchange.start_reading()
        blocks = (await exchange.read()).decode().split("\n\n")
        assert exchange.complete
    assert [block[:7] for block in blocks] == ["data: x", "retry: ", ""]


@pytest.mark.parametrize("slow", ["block", "drop_oldest"])
async def test_a_sink_that_was_kept_says_that_the_stream_is_over(slow: Any) -> None:
    """Whoever sends from outside of the source is told, when its client has left and when it has ended."""
    app, sinks, said = App(), list[EventSink](), list[str]()

    @app.get("/")
    async def handler(ends: bool = False) -> EventStream:
        async def feed(sink: EventSink) -> None:
            sinks.append(sink)
            await sink.send("x")
            if not ends:
                with trio.CancelScope(shield=True):
                    try:
                        while True:
                            await sink.send("y")
                    except ClientDisconnected as error:
                        said.append(str(error))

        return EventStream(feed, slow=slow)

    async with TestClient(app) as client:
        await client.get("/?ends=true")
        async with client.events("/") as events:
            await anext(events)
        await events.exchange.wait_returned()
        for sink in sinks:
            with pytest.raises(ClientDisconnected, match="the stream is over"):
                await sink.send("late")
    assert (len(sinks), len(said)) == (2, 1)


@both_servers
async def test_a_source_that_may_finish_is_told_of_the_drain_only(link: bool) -> None:
    """With `on_drain="finish"` it ends by itself; the client is told when to come back all the same."""
    app = App()

    @app.get("/")
    async def handler(request: Request) -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("begun")
            await request.draining.wait()
            await sink.send("last")

        return EventStream(feed, on_drain="finish")

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        assert await exchange.receive() == b"data: begun\n\n"
        client.drain()
        app.draining.set()
        assert (await exchange.read()).startswith(b"data: last\n\nretry: ")
        assert exchange.complete


async def test_at_the_end_of_the_drain_time_the_stream_is_whole_too() -> None:
    """Whoever reads events comes back: there is nothing that a cut could tell it."""
    app = App()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("begun")
            await trio.sleep_forever()

        return EventStream(feed, on_drain="finish")

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        await exchange.receive()
        client.drain()
        client.cancel_requests()
        assert (await exchange.read()).startswith(b"retry: ")
        assert exchange.complete


async def test_nothing_is_added_once_the_source_has_ended() -> None:
    """What waits for a slow client then is still written; whoever has kept the sink is told that it is over."""
    app, sinks, stopped = App(), list[EventSink](), trio.Event()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            sinks.append(sink)
            await sink.send("x")
            await stopped.wait()
            for letter in "ab":
                await sink.send(letter * 70_000)

        return EventStream(feed, slow="drop_oldest", heartbeat=None)

    async with TestClient(app) as client, client.events("/") as events:
        await anext(events)
        events.exchange.stop_reading()
        stopped.set()
        await wait_all_tasks_blocked()
        with pytest.raises(ClientDisconnected, match="the stream is over"):
            await sinks[0].send("c")
        assert not events.exchange.returned
        events.exchange.start_reading()
        assert [event.data[0] async for event in events] == ["a", "b"]


@pytest.mark.parametrize(("slow", "got"), [("drop_oldest", ["0", "7", "8", "9"]), ("drop_new", ["0", "1", "2", "3"])])
@both_servers
async def test_a_slow_client_misses_what_the_policy_says(slow: Any, got: list[str], link: bool) -> None:
    """The source waits for nothing; what a client that reads late has missed is counted, and what waits reaches it."""
    app, sinks = App(), list[EventSink]()
    sent = trio.Event()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            sinks.append(sink)
            await sink.send("first")
            await wait_all_tasks_blocked()  # it was written, and read
            for number in range(10):
                await sink.send(f"{number} {'x' * 100_000}")
                if number == 0:
                    await wait_all_tasks_blocked()  # it is being written
            sent.set()

        return EventStream(feed, slow=slow, buffer=3)

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        assert await exchange.receive() == b"data: first\n\n"
        exchange.stop_reading()
        await sent.wait()
        assert (sinks[0].dropped, sinks[0].waiting) == (6, 3)
        exchange.start_reading()
        body = (await exchange.read()).decode()
        assert exchange.complete
    assert [block[6:7] for block in body.split("\n\n")[:-1]] == got


@both_servers
async def test_a_client_that_is_too_far_behind_is_disconnected(link: bool) -> None:
    """Its source is stopped with the error that stands for a client that left, and the response is cut.

    At once; but stock hypercorn finishes a write first, however long the client takes.
    """
    app, log = App(), list[Any]()
    requests = list[Request]()

    @app.get("/")
    async def handler(request: Request) -> EventStream:
        requests.append(request)

        async def feed(sink: EventSink) -> None:
            await sink.send("first")
            await wait_all_tasks_blocked()  # it was written, and read
            try:
                while True:
                    await sink.send("x" * 100_000)
            except ClientDisconnected as error:
                log.append((str(error), sink.dropped))
                raise

        return EventStream(feed, slow="disconnect", buffer=5)

    async with (
        TestClient(app, link=link, raise_app_exceptions=False) as client,
        client.open("GET", "/") as exchange,
    ):
        assert await exchange.receive() == b"data: first\n\n"
        exchange.stop_reading()
        if link:
            await exchange.wait_returned()
        else:
            await wait_all_tasks_blocked()
        exchange.start_reading()
        await exchange.read()
        assert exchange.truncated
    assert log == [("the client is more than 5 events behind", 6)]
    assert requests[0].ended == "disconnected"


@pytest.mark.parametrize("slow", ["block", "drop_oldest"])
async def test_a_client_that_reads_nothing_is_given_up(slow: Any, autojump_clock: MockClock) -> None:
    """`send_timeout` bounds each write, a heartbeat's as well. (Stock hypercorn's cannot be interrupted.)"""
    app, ended = App(send_timeout=3), list[float]()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("first")
            await wait_all_tasks_blocked()  # it was written, and read
            try:
                await sink.send("x" * 100_000)
                await trio.sleep_forever()
            finally:
                ended.append(trio.current_time())

        return EventStream(feed, slow=slow, heartbeat=10)

    began = trio.current_time()
    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        assert await exchange.receive() == b"data: first\n\n"
        exchange.stop_reading()
        await exchange.wait_returned()
    assert ended[0] - began < 20


async def items() -> AsyncIterator[object]:
    yield Event("a", id=1)
    async with trio.open_nursery():
        with trio.move_on_after(60):
            yield {"b": 2}  # noqa: ASYNC119


class Items:
    """An async iterable that is no generator."""

    def __init__(self) -> None:
        self.left = [Event("a", id=1), {"b": 2}]
        self.closed = False

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> object:
        await trio.lowlevel.checkpoint()
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("source", [items, Items])
@pytest.mark.parametrize("slow", ["block", "drop_new"])
async def test_an_async_iterable_is_a_source(source: Any, slow: Any) -> None:
    """Each of its items is sent, and it is closed; a generator may hold a nursery over its `yield`."""
    app, given = App(), list[Any]()

    @app.get("/")
    async def handler() -> EventStream:
        given.append(source())
        return EventStream(given[0], slow=slow)

    async with TestClient(app) as client:
        assert (await client.get("/")).text == 'id: 1\ndata: a\n\ndata: {"b":2}\n\n'
    assert getattr(given[0], "closed", True)


async def test_a_send_that_was_cancelled_midway_ends_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    """A part of that event may be out: another one behind it would be read as its rest."""
    app = App()

    @app.get("/")
    async def handler() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("first")
            await wait_all_tasks_blocked()  # it was written, and read
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sink.send, "x" * 100_000)
                    await wait_all_tasks_blocked()
                    scope.cancel()
            await sink.send("another")

        return EventStream(feed)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        assert await exchange.receive() == b"data: first\n\n"
        exchange.stop_reading()
        await exchange.wait_returned()
        exchange.start_reading()
        await exchange.read()
        assert exchange.truncated
    assert "an earlier send was cancelled" in caplog.text


async def test_head_does_not_begin_it_and_none_sends_the_client_away() -> None:
    """HEAD has the same head; 204 stops an `EventSource` from coming back (WHATWG HTML 9.2.3)."""
    app, begun = App(), list[int]()

    @app.get("/")
    async def handler(done: bool = False) -> EventStream | None:
        async def feed(sink: EventSink) -> None:
            begun.append(1)

        return None if done else EventStream(feed)

    async with TestClient(app) as client:
        head = await client.head("/")
        assert (head.headers["content-type"], begun) == ("text/event-stream", [])
        assert (await client.get("/?done=true")).status_code == 204


# ---- the test client's end


@both_servers
async def test_the_client_reads_events_as_they_come(link: bool, autojump_clock: MockClock) -> None:
    """Parsed, with what a client keeps; the end of the stream is the end of the loop."""
    app = App()

    @app.get("/")
    async def handler(request: Request, count: int) -> EventStream:
        async def feed(sink: EventSink) -> None:
            for number in range(count):
                await sink.send(Event({"n": number}, id=number, event="n"))
                await trio.sleep(20)
            await sink.send(Event(retry=3, id="last"))

        return EventStream(feed, headers={"X-Seen": str(request.headers.get("last-event-id"))})

    async with TestClient(app, link=link) as client:
        async with client.events("/", params={"count": 2}, last_event_id="7") as events:
            assert (events.status, events.headers["x-seen"], events.last_event_id) == (200, "7", "")
            got = [event async for event in events]
        assert got == [Event({"n": 0}, id="0", event="n"), Event({"n": 1}, id="1", event="n")]
        assert (events.last_event_id, events.retry, events.comments) == ("last", 3, ["", ""])


@both_servers
async def test_the_client_may_leave(link: bool) -> None:
    """With `leave`, or with the end of the block: the source is stopped."""
    app, left = App(), list[str]()

    @app.get("/")
    async def handler(request: Request) -> EventStream:
        async def feed(sink: EventSink) -> None:
            try:
                await sink.send("x")
                await trio.sleep_forever()
            finally:
                left.append(str(request.ended))

        return EventStream(feed)

    async with TestClient(app, link=link) as client:
        async with client.events("/") as events:
            assert await anext(events) == Event("x")
            events.leave()
            await events.exchange.wait_returned()
            with pytest.raises(trio.ClosedResourceError):
                await anext(events)
        async with client.events("/") as events:
            assert await anext(events) == Event("x")
        await events.exchange.wait_returned()
    assert left == ["disconnected"] * 2


async def test_the_client_says_what_is_no_event_stream(caplog: pytest.LogCaptureFixture) -> None:
    """An error status, another type, a stream that breaks off; 204 is an answer, and has no events."""
    app = App()

    @app.get("/none")
    async def none() -> None: ...

    @app.get("/text")
    async def text() -> str:
        return "data: x\n\n"

    @app.get("/broken")
    async def broken() -> EventStream:
        async def feed(sink: EventSink) -> None:
            await sink.send("x")
            raise ValueError("bug")

        return EventStream(feed)

    async with TestClient(app) as client:
        async with client.events("/none") as events:
            assert (events.status, [event async for event in events]) == (204, [])
        with pytest.raises(httpx.HTTPStatusError, match="404, where an event stream was expected") as missing:
            async with client.events("/missing"):
                pass
        assert missing.value.response.json()["status"] == 404
        with pytest.raises(httpx.DecodingError, match="'text/plain; charset=utf-8' is no event stream"):
            async with client.events("/text"):
                pass
        async with client.events("/broken") as events:
            assert await anext(events) == Event("x")
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(events)
    assert "bug" in caplog.text
