"""The server over sockets, in this process: order, limits, slow subscribers, and how it ends."""

from __future__ import annotations

import gc
import socket
import struct
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from apps.mini_redis.alone import open_server
from apps.mini_redis.aof import written
from apps.mini_redis.connection import CROWD, Connection
from apps.mini_redis.engine import Engine
from apps.mini_redis.journal import PERIODS, Journal
from apps.mini_redis.server import Server
from apps.mini_redis.settings import Settings, Unusable
from apps.mini_redis.values import Error, Push, Values

pytestmark = pytest.mark.live

HERE = Settings(port=0, drain=1.0)


class Client:
    """A connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._values = Values()
        self._waiting: list[Any] = []

    async def send(self, *lines: str | list[bytes]) -> None:
        requests = [line.encode().split() if isinstance(line, str) else line for line in lines]
        await self.stream.send_all(b"".join(map(written, requests)))

    async def read(self) -> Any:
        with trio.fail_after(10):
            while not self._waiting:
                data = await self.stream.receive_some()
                if not data:
                    raise EOFError
                self._waiting += self._values.feed(bytes(data))
        return self._waiting.pop(0)

    async def ask(self, *lines: str) -> Any:
        """The reply to the last of these."""
        await self.send(*lines)
        return [await self.read() for _ in lines][-1]


class Site:
    """A server that runs, and its clients."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.server = server
        self.draining = trio.Event()
        self._nursery = nursery

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        stream = await trio.open_tcp_stream("127.0.0.1", self.server.port)
        async with stream:
            yield Client(stream)


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what the kernel has to bring first, no event of ours tells
        await trio.sleep(0.005)


@asynccontextmanager
async def site(settings: Settings = HERE) -> AsyncGenerator[Site]:
    with trio.fail_after(20):
        async with open_server(settings) as server, trio.open_nursery() as nursery:
            made = Site(server, nursery)
            nursery.start_soon(server.keep)
            async with trio.open_nursery() as clients:
                await clients.start(server.serve, made.draining)
                yield made
                made.draining.set()
            nursery.cancel_scope.cancel()
    assert not server.connections
    assert not server.engine.clients
    assert not server.engine.hub.channels
    assert not server.engine.memory.total


async def test_a_pipeline_is_answered_in_one_piece() -> None:
    """A hundred requests that come at once are one write, in their order; one that comes in bytes is one too."""
    async with site() as s, s.client() as client:
        await client.send(*["INCR n"] * 100)
        assert [await client.read() for _ in range(100)] == list(range(1, 101))
        for byte in written([b"GET", b"n"]):
            await client.stream.send_all(bytes((byte,)))
        assert await client.read() == b"100"
        big = b"x" * 300_000
        await client.send([b"SET", b"big", big], *["GET big"] * 20, "PING")
        assert [await client.read() for _ in range(22)] == [b"OK", *[big] * 20, b"PONG"]


async def test_the_replies_of_a_batch_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one for each command: a system call costs more than a command."""
    sent: list[int] = []

    class Counting(socket.socket):
        def send(self, data: Any, *flags: int) -> int:
            sent.append(data.count(b"\r\n"))
            return super().send(data, *flags)

    class Counted(Connection):
        def __init__(self, engine: Engine, sock: socket.socket, settings: Settings, journal: Journal | None) -> None:
            super().__init__(engine, Counting(fileno=sock.detach()), settings, journal)

    monkeypatch.setattr("apps.mini_redis.server.Connection", Counted)
    async with site() as s, s.client() as client:
        await client.send(*["PING"] * 64)
        for _ in range(64):
            await client.read()
        assert sent == [64]


async def test_many_clients_at_once_are_answered_each_in_their_order() -> None:
    """Among many, a connection looks for more before it waits: nothing is lost, and nobody has another's replies."""
    async with site() as s:

        async def talk(number: int) -> None:
            async with s.client() as client:
                for turn in range(20):
                    await client.send(*[f"INCR {number}"] * 5, f"GET {number}")
                    last = 5 * (turn + 1)
                    assert [await client.read() for _ in range(6)] == [*range(last - 4, last + 1), b"%d" % last]

        async with trio.open_nursery() as nursery:
            for number in range(3 * CROWD):
                nursery.start_soon(talk, number)
        assert next(s.server.engine.turns) > 3 * CROWD


async def test_messages_come_after_the_subscription_and_in_order() -> None:
    """By channel and by pattern; in RESP3 beside replies, a client's own too; and whoever leaves hears no more."""
    async with site() as s, s.client() as a, s.client() as b:
        assert await a.ask("SUBSCRIBE news") == [b"subscribe", b"news", 1]
        await b.ask("HELLO 3")
        await b.send("PSUBSCRIBE n?ws", "PUBLISH news one")
        assert [await b.read() for _ in range(3)] == [
            Push((b"psubscribe", b"n?ws", 1)),
            Push((b"pmessage", b"n?ws", b"news", b"one")),
            2,
        ]
        assert await a.read() == [b"message", b"news", b"one"]
        refused = await a.ask("GET x")
        assert isinstance(refused, Error)
        assert refused.startswith(b"ERR Can't execute 'get': only")
        assert await a.ask("PING") == [b"pong", b""]
        assert await a.ask("UNSUBSCRIBE") == [b"unsubscribe", b"news", 0]
        assert await b.ask("PUNSUBSCRIBE") == Push((b"punsubscribe", b"n?ws", 0))
        assert await b.ask("PUBLISH news two") == 0
        assert await a.ask("GET x") is None


@pytest.mark.parametrize("slow", ["disconnect", "drop"])
async def test_a_slow_subscriber_costs_the_others_nothing(slow: Any) -> None:
    """It is cut off, or misses messages; either is counted, once for what it is."""
    settings = replace(HERE, slow=slow, outbox=100_000)
    async with site(settings) as s, s.client() as sleeper, s.client() as listener, s.client() as speaker:
        for client in (sleeper, listener):
            await client.ask("SUBSCRIBE news")
        counted = s.server.engine.counted
        heard = 0
        for _ in range(2000):  # the kernel takes some megabytes first
            heard = await speaker.ask(f"PUBLISH news {'x' * 20_000}")
            assert (await listener.read())[0] == b"message"
            if counted.cut_off or counted.dropped:
                break
        info = await speaker.ask("INFO stats")
        if slow == "disconnect":
            assert (counted.cut_off, counted.dropped) == (1, 0)
            assert b"pubsub_slow_disconnected:1\r\n" in info
            assert await speaker.ask("PUBLISH news last") == 1
        else:
            assert (counted.cut_off, counted.dropped, heard) == (0, 1, 2)
            assert b"pubsub_dropped_messages:1\r\n" in info
            assert await speaker.ask("PUBLISH news last") == 2
        assert (await listener.read())[2] == b"last"


@pytest.mark.parametrize("slow", ["disconnect", "drop"])
async def test_a_message_larger_than_may_wait_comes(slow: Any) -> None:
    """To who reads: nothing else waits for him. A second one while the first does is one too many."""
    async with site(replace(HERE, slow=slow, outbox=1000)) as s, s.client() as listener, s.client() as speaker:
        await listener.ask("SUBSCRIBE news")
        big = b"x" * 2_000_000
        for _ in range(2):
            await speaker.send([b"PUBLISH", b"news", big])
            assert await speaker.read() == 1
            assert await listener.read() == [b"message", b"news", big]
        counted = s.server.engine.counted
        assert (counted.cut_off, counted.dropped) == (0, 0)
        await speaker.send(*[[b"PUBLISH", b"news", big[:1500]]] * 2)  # one read, in which nothing is sent
        heard = [await speaker.read() for _ in range(2)]
        assert (counted.cut_off, counted.dropped, heard[0]) == ((1, 0, 1) if slow == "disconnect" else (0, 1, 1))


async def test_who_finds_no_place_waits_for_one() -> None:
    """It is not turned away: it is in the kernel's queue until somebody leaves."""
    async with site(replace(HERE, connections=1)) as s, s.client() as second_in_line:
        assert await second_in_line.ask("PING") == b"PONG"
        async with s.client() as waiting:
            await waiting.send("PING")
            await wait_all_tasks_blocked(0.02)
            assert len(s.server.connections) == 1
            await second_in_line.ask("QUIT")
            assert await waiting.read() == b"PONG"


async def test_commands_are_counted_for_those_who_have_gone() -> None:
    """INFO has all of them, of whoever is there and whoever was."""
    async with site() as s, s.client() as client:
        async with s.client() as other:
            await other.ask(*["PING"] * 7, "QUIT")
            with pytest.raises(EOFError):
                await other.read()
        await client.ask("PING")
        assert b"total_commands_processed:9\r\n" in await client.ask("INFO stats")


async def test_clients_are_listed_and_killed() -> None:
    """By id, by address; whoever kills himself has his reply first."""
    async with site() as s, s.client() as a, s.client() as b, s.client() as c:
        assert await a.ask("CLIENT SETNAME ada") == b"OK"
        number = await b.ask("CLIENT ID")
        assert (await a.ask("CLIENT LIST")).count(b"\n") == len(s.server.engine.clients)
        assert b" name=ada " in await a.ask("CLIENT INFO")
        assert await a.ask(f"CLIENT KILL ID {number}") == 1
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await b.ask("PING")
        host, port = c.stream.socket.getsockname()
        assert await c.ask("PING") == b"PONG"
        assert await a.ask(f"CLIENT KILL {host}:{port}") == b"OK"
        missing = await a.ask(f"CLIENT KILL {host}:{port}", f"CLIENT KILL {host}:{port}")
        assert missing == b"ERR No such client"
        me = await a.ask("CLIENT ID")
        assert await a.ask(f"CLIENT KILL ID {me} SKIPME no") == 1
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            await a.ask("PING")


@pytest.mark.parametrize(
    "last", ["*2\r\n$3\r\nGET\r\n$1000\r\nabc", "SUBSCRIBE news\r\n*1\r\n$9\r\nabc", "QUIT\r\n", "*x\r\n"]
)
@pytest.mark.parametrize("reset", [False, True])
async def test_what_a_connection_held_goes_with_it(monkeypatch: pytest.MonkeyPatch, last: str, reset: bool) -> None:
    """However it ends, and without the garbage collector: it may hold a request of 128 MB that is not yet whole.

    Of one that was cancelled Trio leaves a cycle, and it is what it held that goes.
    """
    held: list[weakref.ref[Connection]] = []

    class Watched(Connection):
        def __init__(self, engine: Engine, sock: socket.socket, settings: Settings, journal: Journal | None) -> None:
            super().__init__(engine, sock, settings, journal)
            held.append(weakref.ref(self))

    monkeypatch.setattr("apps.mini_redis.server.Connection", Watched)
    async with site() as s:
        gc.disable()
        try:
            async with s.client() as client:
                await client.ask("PING")
                await client.stream.send_all(last.encode())
                await wait_all_tasks_blocked(0.01)
                if reset:
                    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await until(lambda: not s.server.connections)
            await wait_all_tasks_blocked(0.01)
            (connection,) = (each() for each in held)
            assert connection is None or ("SUBSCRIBE" in last and not connection._requests.begun)
        finally:
            gc.enable()


async def test_no_name_of_a_command_forges_a_client() -> None:
    """One that is none is not in CLIENT LIST, where a line end in it would begin a client that is not there."""
    async with site() as s, s.client() as a, s.client() as b:
        await a.send([b"zz\nid=99 cmd=fake"])
        assert isinstance(await a.read(), Error)
        listed = await b.ask("CLIENT LIST")
        assert [line.split(b" cmd=")[1].split()[0] for line in listed.splitlines()] == [b"NULL", b"NULL"]
        assert b"id=99" not in listed


async def test_a_transaction_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is queued for EXEC is memory that nobody else would count; one that is refused changes nothing."""
    monkeypatch.setattr("apps.mini_redis.dispatch.TRANSACTION", 1000)
    async with site() as s, s.client() as client:
        assert (await client.ask("MULTI", "SET a 1", f"SET b {'x' * 900}")).startswith(b"ERR the transaction is too")
        assert (await client.ask("EXEC")).startswith(b"EXECABORT")
        assert await client.ask("GET a") is None
        assert await client.ask("MULTI", "SET a 1", "EXEC") == [b"OK"]


@pytest.mark.parametrize(
    "asked",
    [["MGET big big"], ["KEYS *"], ["SCAN 0 COUNT 99"], ["MULTI", "GET big", "GET big", "SET done 1", "EXEC"]],
    ids=["mget", "keys", "scan", "exec"],
)
async def test_a_reply_is_bounded(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    """A small request could ask for many large values; of a transaction that has run, it is their replies only."""
    monkeypatch.setattr("apps.mini_redis.replies.LARGEST", 1000)
    async with site() as s, s.client() as client:
        await client.ask(f"SET big {'x' * 900}", f"SET {'a' * 600} 1", f"SET {'b' * 600} 1")
        reply = await client.ask(*asked)
        if asked[-1] == "EXEC":
            big, reply, done = reply
            assert (len(big), done, await client.ask("GET done")) == (900, b"OK", b"1")
        assert isinstance(reply, Error)
        assert reply == b"ERR the reply would be larger than 1000 bytes; ask for less at a time"
        assert len(await client.ask("GET big")) == 900
        assert await client.ask("MGET big done", "KEYS a*", "DBSIZE") in (3, 4)


async def test_keys_expire_though_nobody_looks() -> None:
    """One task waits for the next end, and is woken for one that is earlier."""
    async with site() as s, s.client() as client:
        await client.ask("SET a 1 PX 100000", "SET b 1 PX 30", "SET c 1 PX 60")
        store = s.server.engine.stores[0]
        with trio.fail_after(5):
            await until(lambda: len(store) == 1)
        assert store.expired == 2


async def test_the_drain_ends_clients_between_two_requests() -> None:
    """What was asked is answered; whoever has asked half, and whoever listens, is let go at once."""
    async with site(replace(HERE, drain=60)) as s, s.client() as idle, s.client() as half, s.client() as listener:
        assert await idle.ask("PING") == b"PONG"
        await half.ask("PING")
        await half.stream.send_all(b"*2\r\n$3\r\nGET\r\n$1")
        await listener.ask("SUBSCRIBE news")
        await wait_all_tasks_blocked()
        s.draining.set()
        for client in (idle, half, listener):
            with pytest.raises(EOFError):
                await client.read()
        with pytest.raises(OSError, match="connect"):
            async with s.client():
                pass


async def test_the_drain_resets_nobody() -> None:
    """Who goes on sending has all replies to what was read, then an end: to close upon unread bytes would be a RST."""
    async with site(replace(HERE, drain=60)) as s, s.client() as client:

        async def talk() -> None:
            with suppress(trio.BrokenResourceError):  # the server may take only so much more
                while True:
                    await client.send(*["PING"] * 2000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            assert await client.read() == b"PONG"
            s.draining.set()
            with suppress(EOFError):
                while True:
                    assert await client.read() == b"PONG"
            nursery.cancel_scope.cancel()
        assert len(s.server.connections) == 1  # it waits for the client's end
        await client.stream.aclose()
        await until(lambda: not s.server.connections)


@pytest.mark.parametrize("before", [["PING"], ["HELLO 3", "SUBSCRIBE news"]], ids=["alone", "subscribed"])
async def test_the_drain_lets_a_slow_client_have_its_replies(before: list[str]) -> None:
    """Those that wait for room in its socket go on waiting: it is the reading that ends."""
    big = b"x" * 8_000_000
    async with site(replace(HERE, drain=60)) as s, s.client() as client:
        await client.ask(*before)
        s.server.engine.stores[0].put(b"big", big)
        await client.send("GET big")
        await wait_all_tasks_blocked(0.02)
        s.draining.set()
        await wait_all_tasks_blocked(0.02)
        assert await client.read() == big
        with pytest.raises(EOFError):
            await client.read()


@pytest.mark.parametrize("bound", ["QUIET", "LINGER", "LINGER_BYTES"])
async def test_who_stays_after_the_drain_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Nothing comes from him, or something now and then, or much."""
    for name in ("QUIET", "LINGER", "LINGER_BYTES"):
        short = 1000 if name == "LINGER_BYTES" else 0.05
        monkeypatch.setattr(f"apps.mini_redis.connection.{name}", short if name == bound else 10**9)
    async with site(replace(HERE, drain=60)) as s, s.client() as client:
        assert await client.ask("PING") == b"PONG"
        s.draining.set()
        with pytest.raises(EOFError):
            await client.read()
        while s.server.connections:
            if bound != "QUIET":
                with suppress(trio.BrokenResourceError):
                    await client.send("PING")
            await trio.sleep(0.001)


async def test_the_drain_has_a_deadline() -> None:
    """Who does not take the replies is not waited for longer than that."""
    async with site(replace(HERE, drain=0.1)) as s:
        sock = socket.create_connection(("127.0.0.1", s.server.port))
        sock.setblocking(False)
        with sock, trio.move_on_after(5):
            sock.send(written([b"SET", b"k", b"x" * 60_000]))
            engine = s.server.engine
            await until(lambda: engine.stores[0].get(b"k") is not None)
            for _ in range(50):
                sock.send(written([b"GET", b"k"]) * 40)
                await wait_all_tasks_blocked()
            s.draining.set()
            await until(lambda: not s.server.connections)
        assert not s.server.connections


async def test_a_last_word_and_a_message_are_not_written_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """Two tasks that wait to write to one socket are an error, and where one writes a part, nobody can read it."""

    class Slow:
        """A socket whose buffer is full, and then has room for a byte at a time."""

        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock
            self.full = True

        def __getattr__(self, name: str) -> Any:
            return getattr(self.sock, name)

        def send(self, data: bytes) -> int:
            if self.full:
                raise BlockingIOError
            return self.sock.send(data[:1])

    async with site() as s, s.client() as client:
        await client.ask("SUBSCRIBE news")
        (connection,) = s.server.connections
        connection._sock = slow = Slow(connection._sock)  # type: ignore[assignment]
        await client.stream.send_all(b"*x\r\n")
        with trio.fail_after(5):
            await until(lambda: connection._requests.error is not None)
        s.server.engine.hub.publish(b"news", b"said")
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        slow.full = False
        assert await client.read() == Error(b"ERR Protocol error: invalid multibulk length")
        with pytest.raises(EOFError):
            await client.read()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_one_fsync_for_many_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is busy with one change, the others gather; nobody is answered before his own is safe."""
    synced: list[int] = []
    path = tmp_path / "log"
    gate = trio.Event()

    async def run_sync(write: Any, *args: Any) -> None:
        await gate.wait()
        write(*args)
        synced.append(path.stat().st_size)

    async with site(replace(HERE, log=path, fsync="always")) as s:
        monkeypatch.setattr("trio.to_thread.run_sync", run_sync)
        clients: list[Client] = []
        for number in range(20):
            stream = await trio.open_tcp_stream("127.0.0.1", s.server.port)
            clients.append(Client(stream))
            await clients[-1].send(f"SET k{number} v")
        with trio.fail_after(5):
            await until(lambda: len(s.server.engine.stores[0]) == 20)
        reader = Client(await trio.open_tcp_stream("127.0.0.1", s.server.port))
        await reader.send("GET k3")
        await wait_all_tasks_blocked(0.02)
        assert not synced
        gate.set()
        for client in clients:
            assert await client.read() == b"OK"
        assert await reader.read() == b"v"
        assert len(synced) == 2
        for client in (*clients, reader):
            await client.stream.aclose()
    assert path.read_bytes().count(b"SET") == 20


async def test_a_full_disk_is_no_end_where_it_may_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who made the change has no reply; from then on changes are refused, in redis-server's words, reads answered."""
    monkeypatch.setitem(PERIODS, "everysec", 0.05)

    def fail(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    misconf = b"MISCONF Errors writing to the AOF file: No space left on device"
    async with site(replace(HERE, log=tmp_path / "log", fsync="everysec")) as s, s.client() as a, s.client() as b:
        await a.ask("SET a 1", "SET n 1")
        await b.ask("MULTI", "SET late 1")
        with monkeypatch.context() as patch:
            patch.setattr("os.write", fail)
            async with s.client() as unlucky:
                with pytest.raises(EOFError):
                    await unlucky.ask("GET a", "SET a 2")
            assert await b.ask("EXEC") == b"EXECABORT Transaction discarded because of: " + misconf
            for refused in ("SET a 3", "DEL a", "PING"):
                assert await a.ask(refused) == misconf
            await a.send(*["INCR n"] * 64)
            assert {await a.read() for _ in range(64)} == {misconf}
            assert await a.ask("MULTI", "GET a", "EXEC") == [b"2"]
            assert b"aof_last_write_status:err\r\n" in await a.ask("INFO")
            assert await a.ask("PUBLISH news x") == 0
        with trio.fail_after(5):
            await until(lambda: s.server.engine.refusing is None)
        assert b"aof_last_write_status:ok\r\n" in await a.ask("INFO")
        assert await a.ask("SET b 1", "INCR n") == 2
        assert await b.ask("GET late") is None
    async with site(replace(HERE, log=tmp_path / "log")) as s, s.client() as a:
        assert await a.ask("MGET a b n") == [b"2", b"1", b"2"]


async def test_a_disk_that_fails_ends_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told that a change is safe which is not."""

    def fail(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    async def try_it() -> None:
        async with site(replace(HERE, log=tmp_path / "log", fsync="always")) as s, s.client() as client:
            with monkeypatch.context() as patch:
                patch.setattr("os.write", fail)
                with pytest.raises((EOFError, trio.BrokenResourceError)):
                    await client.ask("SET a 1")
            s.server.engine.stores[0].put(b"late", b"1")

    with pytest.raises(ExceptionGroup) as caught:
        await try_it()
    said = rf"MINI_REDIS_LOG={tmp_path}/log cannot be written: No space left on device\.\n"
    assert caught.group_contains(Unusable, match=said)
    assert (tmp_path / "log").read_bytes() == b""  # not what came later either: behind a gap nobody could read it
