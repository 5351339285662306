"""How much all clients may hold, and who goes when it is more."""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from trio.testing import wait_all_tasks_blocked

from apps.mini_redis.aof import written
from apps.mini_redis.engine import Engine
from apps.mini_redis.feed import WAITING, Feed, overview
from apps.mini_redis.memory import STEP, WARNED, Memory
from apps.mini_redis.session import ENTRY
from apps.mini_redis.test_server import Client, Site, site, until

MUCH = 6_000_000
TEXT = b"x" * MUCH


class Held:
    """A client that holds what it is told to."""

    def __init__(self) -> None:
        self.held = 0
        self.gone = False

    def evict(self) -> None:
        self.gone = True


def test_the_largest_goes() -> None:
    """One than which no other holds twice as much; however what they hold grows and shrinks, the sum is right."""
    r = random.Random(7)
    memory = Memory(lambda: 0, 300_000)
    holders = [Held() for _ in range(50)]
    for _ in range(5000):
        chosen = r.choice(holders)
        size = r.choice((0, r.randint(1, 2000), r.randint(1, 60_000)))
        before = {each: each.held for each in holders} | {chosen: size}
        memory.note(chosen, size)
        gone = [each for each in holders if each.gone]
        assert bool(gone) == (sum(before.values()) > memory.limit)
        for each in gone:
            assert 2 * before[each] > max(held for other, held in before.items() if other.held)
            assert each.held == 0
            holders.remove(each)
            holders.append(Held())
        assert memory.total == sum(each.held for each in holders) <= memory.limit
    assert memory.evicted > 10


def test_evictions_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever provokes them must not fill the log; how many there were since, it says."""
    now = [0]
    memory = Memory(lambda: now[0], 100)
    for now[0] in (0, 1, WARNED - 1, WARNED):
        memory.note(Held(), 101)
    assert [record.args for record in caplog.records] == [(101, 100, 101, 1), (101, 100, 101, 3)]
    assert "MINI_REDIS_CLIENTS_MB" in caplog.text


async def half_a_request(s: Site, client: Client) -> None:
    await client.stream.send_all(b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % (2 * MUCH) + TEXT)


async def many_arguments(s: Site, client: Client) -> None:
    await client.stream.send_all(b"*100001\r\n" + b"$1\r\nx\r\n" * 100_000)


async def a_transaction(s: Site, client: Client) -> None:
    await client.send("MULTI", [b"SET", b"k", TEXT])


async def a_reply(s: Site, client: Client) -> None:
    s.server.engine.stores[0].put(b"k", TEXT)
    await client.send("GET k")


async def a_reply_to_a_large_request(s: Site, client: Client) -> None:
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await client.send([b"ECHO", TEXT])
    await until(lambda: s.server.engine.memory.total > 1.5 * MUCH)  # both are there


async def messages(s: Site, client: Client) -> None:
    await client.ask("SUBSCRIBE news")
    for _ in range(6):
        s.server.engine.hub.publish(b"news", TEXT[: MUCH // 6])


async def channels(s: Site, client: Client) -> None:
    await client.send([b"SUBSCRIBE", *[b"%d" % number for number in range(MUCH // ENTRY)]])
    for _ in range(MUCH // ENTRY):
        await client.read()


async def watched_keys(s: Site, client: Client) -> None:
    await client.send([b"WATCH", *[b"%d" % number for number in range(MUCH // ENTRY)]])
    await client.read()


async def a_name(s: Site, client: Client) -> None:
    await client.send([b"CLIENT", b"SETNAME", TEXT])
    await client.read()


@pytest.mark.live
@pytest.mark.parametrize(
    "hold",
    [
        half_a_request,
        many_arguments,
        a_transaction,
        a_reply,
        a_reply_to_a_large_request,
        messages,
        channels,
        watched_keys,
        a_name,
    ],
    ids=lambda hold: hold.__name__,
)
async def test_who_holds_most_is_disconnected(hold: Callable[[Site, Client], Awaitable[None]]) -> None:
    """Whatever it is that he holds; who holds less goes on, and once they have gone nothing is held."""
    async with site() as s, s.client() as large, s.client() as small:
        memory = s.server.engine.memory
        await hold(s, large)
        await until(lambda: memory.total > MUCH * 3 // 4)
        await wait_all_tasks_blocked(0.05)  # it has all of it
        memory.limit = memory.total + 200_000
        request = written([b"ECHO", b"y" * 500_000])
        await small.stream.send_all(request[:150_000])
        await until(lambda: memory.total > memory.limit - 100_000)
        assert memory.evicted == 0
        await small.stream.send_all(request[150_000:])
        assert await small.read() == b"y" * 500_000
        await until(lambda: len(s.server.connections) == 1)
        info = await small.ask("INFO")
        assert b"evicted_clients:1\r\n" in info
        assert b"mem_clients_normal:0\r\n" in info


@pytest.mark.live
async def test_who_holds_something_no_more_is_not_counted() -> None:
    """A transaction that was run, a request that was answered, channels that were left, messages that were read."""
    async with site() as s, s.client() as client, s.client() as speaker:
        memory = s.server.engine.memory
        await client.send([b"ECHO", TEXT])
        assert await client.read() == TEXT
        await client.send("MULTI", [b"SET", b"k", TEXT])
        await until(lambda: memory.total > MUCH - 2 * STEP)
        await client.send("EXEC", "PING")
        assert [await client.read() for _ in range(4)] == [b"OK", b"QUEUED", [b"OK"], b"PONG"]
        assert memory.total == 0
        await client.send([b"WATCH", TEXT, TEXT], "UNWATCH", "HELLO 3", *[[b"SUBSCRIBE", TEXT]] * 2)
        for _ in range(5):
            await client.read()
        await until(lambda: abs(memory.total - MUCH) < 2 * STEP)
        await client.send([b"UNSUBSCRIBE", TEXT], "PING")
        while await client.read() != b"PONG":
            pass
        await until(lambda: not memory.total)
        await client.send([b"SUBSCRIBE", TEXT], "RESET", "HELLO 3", "SUBSCRIBE news", "PING")
        while await client.read() != b"PONG":
            pass
        await until(lambda: not memory.total)
        await speaker.send([b"PUBLISH", b"news", TEXT])
        assert await speaker.read() == 1
        assert memory.total >= MUCH
        await client.read()
        await until(lambda: not memory.total)
        assert memory.evicted == 0


async def test_a_page_that_does_not_read_misses_messages() -> None:
    """What waits for readers over HTTP is held as well; they are not cut off, but have less."""
    engine = Engine(lambda: 0)
    engine.memory.limit = 5 * MUCH
    with Feed(engine, b"news", 10 * MUCH) as slow:
        for number in range(WAITING):
            engine.hub.publish(b"news", b"%d" % number + TEXT)
            assert engine.memory.total <= engine.memory.limit
            if engine.memory.evicted:
                break
        assert engine.counted.dropped == 5
        engine.hub.publish(b"news", b"last" + TEXT)
        assert engine.memory.total > MUCH
        assert (await anext(slow)).data.startswith("last")
        assert engine.memory.total == 0
        engine.hub.publish(b"news", TEXT)
    assert engine.memory.total == 0


@pytest.mark.parametrize(("size", "kept"), [(10, WAITING), (100_000, 8), (799_990, 1), (5_000_000, 1)])
async def test_a_reader_has_a_bound_of_its_own(size: int, kept: int) -> None:
    """In messages and in bytes; of the newest one is kept however large it is, and what is missed is counted."""
    engine = Engine(lambda: 0)
    with Feed(engine, b"news", 800_000) as slow:
        for number in range(300):
            engine.hub.publish(b"news", (b"%d " % number).ljust(size, b"x"))
        assert engine.memory.total <= max(800_000, size)
        assert engine.counted.dropped == 300 - kept
        heard = [(await anext(slow)).data for _ in range(kept)]
    assert [len(text) for text in heard] == [size] * kept
    assert [int(text.split()[0]) for text in heard] == list(range(300 - kept, 300))


def test_what_is_shown_is_short() -> None:
    """However long keys and channels are; those that begin alike can be told apart, and look the same twice."""
    engine = Engine(lambda: 0)
    names = [b"k" * 100_000 + b"%d" % number for number in range(5)]
    for name in names:
        engine.stores[0].put(name, b"v" * 100_000)
        engine.hub.subscribe(name, Nobody())
    shown = overview(engine, 1)
    assert len(msgspec.json.encode(shown)) < 20_000
    assert len({each.key for each in shown.keys}) == len(shown.channels) == 5
    assert all(each.key.startswith("k" * 1024 + "\u2026") for each in shown.keys)
    assert overview(engine, 1) == shown
    engine.stores[0].clear()
    engine.stores[0].put(b"k" * 1024, b"")
    assert [each.key for each in overview(engine, 1).keys] == ["k" * 1024]


class Nobody:
    """Has subscribed, and does not listen."""

    def message(self, channel: bytes, data: bytes, pattern: bytes | None) -> None:
        """Whatever it is."""
