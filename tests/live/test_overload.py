"""Ten times as many requests as a limit lets run, over sockets: who is served, who is turned away, and what is left."""

from __future__ import annotations

import logging
import socket

import pytest
import trio
import trio.testing
from wsproto.events import AcceptConnection, TextMessage

from tests.live._inprocess import Served, get, post, read_until, serving
from tests.live.test_access_log import until
from tests.live.test_server_websocket import client as websocket
from trivet import App, Limit, Sink, Stream, WebSocket

pytestmark = pytest.mark.live

CAPACITY = 4
TIMES = 10


class Site:
    """An application whose handlers wait until they are let go."""

    def __init__(self, queue: int = 0, *, limit: Limit | None = None) -> None:
        self.limit = limit or Limit(CAPACITY, queue)
        self.app = App(limit=self.limit)
        self.go = trio.Event()
        self.ran = 0

        @self.app.get("/")
        @self.app.post("/")
        async def wait() -> str:
            self.ran += 1
            await self.go.wait()
            return "served"

        @self.app.get("/stream")
        async def stream() -> Stream:
            async def feed(sink: Sink) -> None:
                await sink.send("first")
                await self.go.wait()

            return Stream(feed)

        @self.app.get("/health")
        async def health() -> str:
            return "well"

        @self.app.websocket("/")
        async def echo(ws: WebSocket) -> None:
            async for message in ws:
                await ws.send(message)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("queue", [0, CAPACITY])
async def test_at_ten_times_its_capacity_a_server_turns_the_rest_away_at_once(
    queue: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Before anybody is served: the 503s are there while all places are taken. Then the admitted are, every one."""
    caplog.set_level(logging.INFO, "trivet.access")
    site = Site(queue)
    answers: list[bytes] = []
    admitted = CAPACITY + queue

    async def ask(served: Served) -> None:
        answers.append(await served.request(get(close=True)))

    async with serving(site.app) as served, trio.open_nursery() as nursery:
        for _ in range(TIMES * CAPACITY):
            nursery.start_soon(ask, served)
        await until(lambda: len(answers) >= TIMES * CAPACITY - admitted)
        assert (site.limit.running, site.limit.waiting, site.ran) == (CAPACITY, queue, CAPACITY)
        assert [status_of(each) for each in answers] == [503] * (TIMES * CAPACITY - admitted)
        assert all(b"\r\nretry-after: 1\r\n" in each for each in answers)
        assert (await served.request(get(b"/health", close=True))).endswith(b"well")
        site.go.set()
    assert sorted(map(status_of, answers)) == [200] * admitted + [503] * (TIMES * CAPACITY - admitted)
    assert (site.limit.running, site.limit.waiting, site.limit.shed) == (0, 0, len(answers) - admitted)
    outcomes = [each.__dict__["outcome"] for each in caplog.records if each.name == "trivet.access"]
    assert (outcomes.count("shed"), outcomes.count("returned")) == (len(answers) - admitted, admitted + 1)


async def test_who_may_wait_waits_although_places_were_taken_for_long_so_far() -> None:
    """What the estimate fears does not happen: the place is free within `wait`."""
    site = Site(limit=Limit(1, queue=1, wait=10))
    site.limit._take(0)
    site.limit._leave(0, 20)
    async with serving(site.app) as served, trio.open_nursery() as nursery:
        nursery.start_soon(served.request, get(close=True))
        await until(lambda: site.ran == 1)
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await served.request(get(close=True)))

        nursery.start_soon(ask)
        await until(lambda: bool(site.limit.waiting or site.limit.shed))
        site.go.set()
    assert [status_of(each) for each in answers] == [200]


async def test_a_connection_whose_request_was_turned_away_serves_the_next() -> None:
    """A 503 is an answer like any other; who uploads meanwhile has it whole."""
    site = Site()
    async with serving(site.app) as served, trio.open_nursery() as nursery:
        for _ in range(CAPACITY):
            nursery.start_soon(served.request, get(close=True))
        await until(lambda: site.ran == CAPACITY)
        async with await served.connect() as stream:
            for _ in range(3):
                await stream.send_all(get())
                assert status_of(await read_until(stream, b'"}')) == 503
            await stream.send_all(get(b"/health"))
            assert status_of(await read_until(stream, b"well")) == 200
        async with await served.connect() as stream:
            await stream.send_all(post(100_000, b"x" * 100_000))
            assert status_of(await read_until(stream, b'"}')) == 503
        site.go.set()


@pytest.mark.parametrize("request_", [get(), post(0, b""), post(5, b"hello")], ids=["get", "post", "post-with-body"])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_a_client_that_leaves_while_it_waits_frees_its_place(request_: bytes, reset: bool) -> None:
    """At once, so that the queue holds those who are still there, and its handler never runs."""
    site = Site(queue=1)
    async with serving(site.app) as served, trio.open_nursery() as nursery:
        for _ in range(CAPACITY):
            nursery.start_soon(served.request, get(close=True))
        await until(lambda: site.ran == CAPACITY)
        stream = await served.connect()
        await stream.send_all(request_)
        await until(lambda: site.limit.waiting == 1)
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        await until(lambda: site.limit.waiting == 0)
        assert (site.limit.running, site.limit.waiting, site.ran) == (CAPACITY, 0, CAPACITY)
        site.go.set()
    assert (site.limit.running, site.ran, site.limit.shed) == (0, CAPACITY, 0)


async def test_streams_and_websockets_hold_their_places() -> None:
    """To the last byte, and to the close; then others have them."""
    site = Site()
    async with serving(site.app) as served:
        async with websocket(served) as one, websocket(served) as two:
            for each in (one, two):
                assert isinstance(await each.next(), AcceptConnection)
                await each.send(TextMessage("x"))
                assert isinstance(await each.next(), TextMessage)
            async with await served.connect() as stream:
                await stream.send_all(get(b"/stream"))
                await read_until(stream, b"first\r\n")
                assert site.limit.running == 3
            await until(lambda: site.limit.running == 2)
        await until(lambda: site.limit.running == 0)
        site.go.set()
        assert (await served.request(get(b"/stream", close=True))).endswith(b"first\r\n0\r\n\r\n")
        await until(lambda: site.limit.running == 0)


async def test_who_waits_while_the_server_drains_is_served_in_time() -> None:
    """A request in the queue has come before the end, like those that run."""
    site = Site(queue=1)
    answers: list[bytes] = []

    async def ask(served: Served) -> None:
        answers.append(await served.request(get(close=True)))

    async with trio.open_nursery() as nursery, serving(site.app) as served:
        for _ in range(CAPACITY + 1):
            nursery.start_soon(ask, served)
        await until(lambda: site.limit.waiting == 1)
        served.stop.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        site.go.set()
    assert [status_of(each) for each in answers] == [200] * (CAPACITY + 1)


async def test_who_waits_when_the_drain_is_over_is_told_so() -> None:
    """With 503, like those that ran for too long; no place is kept."""
    site = Site(queue=1)
    answers: list[bytes] = []

    async def ask(served: Served) -> None:
        answers.append(await served.request(get(close=True)))

    patience = {"drain_timeout": 0.05, "cleanup_grace": 1}
    async with trio.open_nursery() as nursery, serving(site.app, options=patience) as served:
        for _ in range(CAPACITY + 1):
            nursery.start_soon(ask, served)
        await until(lambda: site.limit.waiting == 1)
    assert [status_of(each) for each in answers] == [503] * (CAPACITY + 1)
    assert (site.limit.running, site.limit.waiting, site.limit.shed) == (0, 0, 0)
