"""The connection to a Redis, against a real redis-server that is frozen, killed and started again."""

from __future__ import annotations

import logging
import random
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
import trio
import trio.lowlevel
import trustme
from coredis.connection import BaseConnection
from coredis.exceptions import ConnectionError as Lost
from coredis.exceptions import WrongTypeError
from trio.testing import MockClock

from tests.harness import Golden, free_port
from tests.harness.redis_server import RedisServer, redis_server
from trivet import App, Depends
from trivet.contrib.broadcast import Broadcast
from trivet.contrib.redis import Redis, RedisAway, RedisBroadcast, Script, _link
from trivet.testing import LifespanFailed, TestClient

pytestmark = pytest.mark.live

SECONDS = 10.0
"""In which whatever is waited for has happened, on a machine with other things to do."""

SLOW = 5.0
"""Seconds of a command: a test that waits for one of these has failed."""


@pytest.fixture
async def server() -> AsyncGenerator[RedisServer]:
    """A redis-server."""
    async with redis_server() as server:
        yield server


def connecting(server: RedisServer, **options: Any) -> Redis:
    """A Redis that takes its time before it gives up, but not before it tries again."""
    given: dict[str, Any] = {
        "command_timeout": SLOW,
        "connect_timeout": SLOW,
        "backoff": 0.01,
        "max_backoff": 0.05,
        **options,
    }
    return Redis(server.url, **given)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens on the other side of a socket."""
    with trio.fail_after(SECONDS):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.005)


async def test_commands_have_their_replies(server: RedisServer) -> None:
    """Texts are sent as UTF-8, numbers as such, and come back as bytes, in whatever structure RESP3 has."""
    async with connecting(server) as redis:
        assert redis.up
        assert redis.error is None
        assert await redis.execute("set", "schlüssel", "wert") == b"OK"
        assert await redis.execute("GET", "schlüssel".encode()) == b"wert"
        assert await redis.execute("INCRBYFLOAT", "pi", 3.25) == b"3.25"
        assert await redis.execute("INCR", "n") == 1
        assert await redis.execute("GET", "nobody") is None
        await redis.execute("HSET", "h", "a", 1, "b", 2)
        assert await redis.execute("HGETALL", "h") == {b"a": b"1", b"b": b"2"}
        with pytest.raises(WrongTypeError):
            await redis.execute("INCR", "h")
        assert await redis.execute("PING") == b"PONG"
    assert not redis.up


async def test_many_callers_share_one_connection(server: RedisServer) -> None:
    """Each gets its own reply, and the server has seen no further connection."""
    replies: dict[int, bytes] = {}

    async def echo(redis: Redis, number: int) -> None:
        replies[number] = await redis.execute("ECHO", number)

    async with connecting(server) as redis:
        before = (await redis.execute("INFO", "stats")).split(b"total_connections_received:")[1].split(b"\r")[0]
        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(echo, redis, number)
        after = (await redis.execute("INFO", "stats")).split(b"total_connections_received:")[1].split(b"\r")[0]
    assert replies == {number: b"%d" % number for number in range(300)}
    assert before == after


async def test_who_is_cancelled_leaves_the_others_their_replies(server: RedisServer) -> None:
    """A caller that is cancelled while the server is busy costs nobody a reply, and no connection either."""
    replies: list[bytes] = []
    cancelled: list[bool] = []

    async def ask(redis: Redis, number: int) -> None:
        with trio.CancelScope() as scope:
            scopes[number] = scope
            replies.append(await redis.execute("ECHO", number))
        cancelled.append(scope.cancelled_caught)

    async with connecting(server) as redis:
        scopes: dict[int, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(redis.execute, "DEBUG", "SLEEP", "0.1")
            await trio.testing.wait_all_tasks_blocked()
            for number in range(20):
                nursery.start_soon(ask, redis, number)
            await until(lambda: len(scopes) == 20)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(0, 20, 2):
                scopes[number].cancel()
        assert sum(cancelled) == 10
        assert sorted(map(int, replies)) == list(range(1, 20, 2))
        assert await redis.execute("ECHO", "as before") == b"as before"
        assert redis.losses == 0


async def test_no_reply_is_ever_anothers(server: RedisServer) -> None:
    """However many are cancelled, at whatever moment, each of the others has its own reply."""
    chance = random.Random(7)
    outcomes: Counter[str] = Counter()

    async def ask(redis: Redis, number: int, seconds: float) -> None:
        with trio.move_on_after(seconds):
            if number % 3:
                reply = await redis.execute("ECHO", number)
            else:
                reply = await redis.run(Script("return ARGV[1]"), arguments=[number])
            assert reply == b"%d" % number
            outcomes["answered"] += 1
            return
        outcomes["cancelled"] += 1

    async with connecting(server) as redis:
        async with trio.open_nursery() as nursery:
            for number in range(600):
                nursery.start_soon(ask, redis, number, chance.choice([SECONDS, chance.uniform(0, 0.02)]))
                if number % 20 == 0:
                    await trio.lowlevel.checkpoint()
        assert await redis.execute("ECHO", "last") == b"last"
        assert redis.losses == 0
    assert outcomes.total() == 600
    assert min(outcomes["answered"], outcomes["cancelled"]) > 0


async def test_it_is_left_at_once_while_the_server_hangs(server: RedisServer) -> None:
    """Nothing is waited for, neither a reply nor a goodbye; who waits for a reply is told."""
    told = 0

    async def ask(redis: Redis) -> None:
        nonlocal told
        with pytest.raises(RedisAway):
            await redis.execute("GET", "a")
        told += 1

    with trio.fail_after(SLOW):
        async with trio.open_nursery() as nursery, connecting(server, command_timeout=60) as redis:
            server.freeze()
            nursery.start_soon(ask, redis)
            await trio.testing.wait_all_tasks_blocked()
    assert told == 1


async def test_whoever_is_cancelled_before_leaves_the_connection_as_it_was(server: RedisServer) -> None:
    """A caller that is cancelled already sends nothing that a later one could take for its own reply."""
    async with connecting(server) as redis:
        with trio.CancelScope() as scope:
            scope.cancel()
            await redis.execute("ECHO", "nobody waits for this")
        assert scope.cancelled_caught
        assert await redis.execute("ECHO", "mine") == b"mine"


async def test_a_server_that_hangs_is_given_up_in_time(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """A command fails after `command_timeout`; the next one does at once; when the server is back, all is well. The log
    has one line for that it is away, however many attempts to connect there are."""
    async with connecting(server, command_timeout=0.1, connect_timeout=0.1) as redis:
        server.freeze()
        with pytest.raises(RedisAway, match=r"no answer to GET in 0\.1 s"):
            await redis.execute("GET", "a")
        assert not redis.up
        for _ in range(1000):  # together they would take longer than anybody waits, if each took a tenth of a second
            with pytest.raises(RedisAway):
                await redis.execute("GET", "a")
        await until(lambda: redis.error == "no connection in 0.1 s")
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        server.thaw()
        await until(lambda: redis.up)
        assert await redis.execute("PING") == b"PONG"
        assert redis.losses == 1


async def test_to_leave_while_connecting_is_nothing_for_the_log(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends while its Redis hangs leaves an attempt in the middle; others who use coredis may speak."""
    attempts: list[BaseConnection] = []
    async with connecting(server, command_timeout=0.1) as redis:
        open_socket = redis._open

        async def attempt() -> BaseConnection:
            attempts.append(await open_socket())
            return attempts[0]

        monkeypatch.setattr(redis, "_open", attempt)
        server.freeze()
        with pytest.raises(RedisAway):
            await redis.execute("GET", "a")
        await until(lambda: attempts)
        await trio.testing.wait_all_tasks_blocked()  # it has said hello, and waits for the answer
        caplog.clear()
        logging.getLogger("coredis").error("a connection of somebody else's")
    assert [record.getMessage() for record in caplog.records] == ["a connection of somebody else's"]


async def test_a_server_that_hangs_is_noticed_although_nobody_waits_for_it(server: RedisServer) -> None:
    """Callers that have less time than a command takes with them what they know; the connection is given up anyway."""
    async with connecting(server, command_timeout=0.1, connect_timeout=0.1) as redis:
        server.freeze()
        with trio.move_on_after(0.01) as scope:
            await redis.execute("GET", "a")
        assert scope.cancelled_caught
        await until(lambda: not redis.up)
        server.thaw()
        await until(lambda: redis.up)


async def test_a_process_that_was_busy_does_not_take_the_server_for_away(server: RedisServer) -> None:
    """When nothing could be read for longer than a command has, the reply is read first, and the clock second."""
    async with connecting(server, command_timeout=0.2) as redis:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(redis.execute, "DEBUG", "SLEEP", 0.05)
            await trio.testing.wait_all_tasks_blocked()
            time.sleep(0.25)  # noqa: ASYNC251 - that is the point
        assert redis.losses == 0


async def test_a_replica_is_left_for_whoever_took_its_place(server: RedisServer) -> None:
    """After a failover the server that we are connected to refuses writes: the name has to be looked up again."""
    async with connecting(server) as redis:
        assert await server.ask("REPLICAOF 127.0.0.1 1") == b"+OK\r\n"
        with pytest.raises(RedisAway, match="read only replica"):
            await redis.execute("SET", "a", 1)
        assert await server.ask("REPLICAOF NO ONE") == b"+OK\r\n"
        await until(lambda: redis.up and redis.losses == 1)
        assert await redis.execute("SET", "a", 1) == b"OK"


async def test_whoever_took_a_replicas_place_is_found_without_a_pause(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the first write that is refused; who waits for a reply meanwhile gets it from the old connection."""
    replies: list[bytes] = []
    sent = trio.Event()

    async def read(redis: Redis) -> None:
        replies.append(await redis.execute("ECHO", "as before"))

    async with redis_server() as successor, connecting(server, backoff=60, max_backoff=60) as redis:

        async def open_successor() -> BaseConnection:
            await sent.wait()
            return await connecting(successor)._open()

        monkeypatch.setattr(redis, "_open", open_successor)
        await server.ask("REPLICAOF 127.0.0.1 1")
        async with trio.open_nursery() as nursery:
            with pytest.raises(RedisAway, match="read only replica"):
                await redis.execute("SET", "a", 1)
            server.freeze()
            nursery.start_soon(read, redis)
            await trio.testing.wait_all_tasks_blocked()
            sent.set()
            await until(lambda: redis.losses)
            assert await redis.execute("SET", "a", 1) == b"OK"
            assert not replies
            server.thaw()
        assert replies == [b"as before"]
        assert await successor.ask("EXISTS a") == b":1\r\n"
    assert ["refuses commands" in record.getMessage() for record in caplog.records] == [True]


async def test_who_writes_to_a_replica_disturbs_nobody_who_reads(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often: the name is looked up again at the first one, and then after pauses."""
    monkeypatch.setattr("random.random", lambda: 1.0)
    async with connecting(server, backoff=60, max_backoff=60) as redis:
        await redis.execute("SET", "a", 1)
        await server.ask("REPLICAOF 127.0.0.1 1")
        for number in range(100):
            with pytest.raises(RedisAway, match="read only replica"):
                await redis.execute("SET", "a", 2)
            if number == 50:
                await until(lambda: redis.losses)
            assert redis.up
            assert await redis.execute("GET", "a") == b"1"
        assert redis.losses == 1
        server.kill()
        await until(lambda: not redis.up)
        assert redis.losses == 2
    assert ["refuses commands" in record.getMessage() for record in caplog.records] == [True, False]


@pytest.mark.parametrize(
    ("setting", "code"), [("maxmemory 1", "OOM"), ("min-replicas-to-write 1", "NOREPLICAS")], ids=["memory", "replicas"]
)
async def test_a_redis_that_takes_no_writes_for_now_is_away_for_writers(
    setting: str, code: str, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """By a command or a script, with one line in the log; who reads goes on, and the connection, too."""
    async with connecting(server) as redis:
        await server.ask(f"CONFIG SET {setting}")
        for _ in range(2):
            with pytest.raises(RedisAway, match=code):
                await redis.execute("SET", "a", 1)
            with pytest.raises(RedisAway, match=code):
                await redis.run(Script("return redis.call('SET', KEYS[1], 1)"), ["a"])
        assert await redis.execute("GET", "a") is None
        assert (redis.up, redis.error, redis.losses) == (True, None, 0)
        await server.ask(f"CONFIG SET {setting.split()[0]} 0")
        await redis.execute("SET", "a", 1)
    (record,) = caplog.records
    assert f"refuses commands: ResponseError: {code}" in record.getMessage()


async def test_a_redis_that_refuses_whatever_it_is_asked_is_not_up(
    server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a script takes too long, or a replica has no data: handlers answer 503, and it is up again by itself."""
    monkeypatch.setattr(_link, "BUSY", 0.01)
    redis, app = connecting(server), App()

    @app.get("/")
    async def handler(redis: Annotated[Redis, Depends(redis, scope="app")]) -> int:
        number: int = await redis.execute("EXISTS", "n")
        return number

    async def check(client: TestClient, code: str) -> None:
        with trio.fail_after(SECONDS):
            while (answer := await client.get("/")).status_code == 200:
                pass
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert not redis.up
        assert code in str(redis.error)

    await server.ask("CONFIG SET lua-time-limit 10")
    async with TestClient(app) as client, trio.open_nursery() as nursery:
        nursery.start_soon(server.ask, 'EVAL "while true do end" 0')
        await check(client, "BUSY")
        assert await server.ask("SCRIPT KILL") == b"+OK\r\n"
        await until(lambda: redis.up)
        await server.ask("CONFIG SET replica-serve-stale-data no")
        await server.ask("REPLICAOF 127.0.0.1 1")
        await check(client, "MASTERDOWN")
        await server.ask("REPLICAOF NO ONE")
        await until(lambda: redis.up)
        assert (await client.get("/")).status_code == 200
        assert redis.losses == 0
    told = [record.getMessage().split()[6] for record in caplog.records if record.name == "trivet.contrib.redis"]
    assert told == ["BUSY", "MASTERDOWN"]


async def test_it_is_left_in_any_order(server: RedisServer) -> None:
    """Of two tasks the one that entered first may leave first: the other one has a connection again at once."""
    redis = connecting(server)

    async def enter(leave: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        async with redis:
            task_status.started()
            await leave.wait()

    async with trio.open_nursery() as nursery:
        events = [trio.Event(), trio.Event()]
        for event in events:
            await nursery.start(enter, event)
        assert await redis.execute("PING") == b"PONG"
        since = redis.since
        events[0].set()
        await until(lambda: redis.up and redis.since != since)
        assert await redis.execute("PING") == b"PONG"
        events[1].set()
    assert not redis.up
    with pytest.raises(RuntimeError, match="is not entered"):
        await redis.execute("PING")


async def test_a_killed_server_is_found_again(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Who waits for a reply is told, who comes meanwhile is told at once, and the log has one line for each change."""
    caplog.set_level(logging.INFO, "trivet")
    told: list[RedisAway] = []

    async def ask(redis: Redis) -> None:
        with pytest.raises(RedisAway) as info:
            await redis.execute("DEBUG", "SLEEP", 5)
        told.append(info.value)

    async with connecting(server) as redis:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, redis)
            await trio.testing.wait_all_tasks_blocked()
            server.kill()
        assert len(told) == 1
        await until(lambda: "ConnectionRefusedError" in str(redis.error))
        since = redis.since
        assert since is not None
        with pytest.raises(RedisAway, match="Connection refused"):
            await redis.execute("GET", "a")
        await server.restart()
        await until(lambda: redis.up)
        assert redis.since is not None
        assert redis.since > since
        assert redis.error is None
        assert await redis.execute("PING") == b"PONG"
    lines = [record.getMessage() for record in caplog.records if record.name == "trivet.contrib.redis"]
    assert [line.partition(" is ")[2].partition(" ")[0].rstrip(":") for line in lines] == ["away", "back"]


async def test_it_may_be_away_at_the_start(server: RedisServer) -> None:
    """An application starts without its Redis, unless it is required, and finds it later."""
    server.kill()
    with pytest.raises(RedisAway, match="Connection refused"):
        async with connecting(server, required=True):
            pass
    async with connecting(server) as redis:
        assert not redis.up
        with pytest.raises(RedisAway):
            await redis.execute("PING")
        await server.start()
        await until(lambda: redis.up)
        assert redis.losses == 0


async def test_what_is_raised_inside_comes_out_as_it_is(server: RedisServer) -> None:
    """An error of the body is not wrapped in a group, whoever else is in it."""
    redis = connecting(server)
    with pytest.raises(ZeroDivisionError):
        async with redis, redis:
            _ = 1 / 0
    assert not redis.up


@pytest.mark.parametrize("entered", ["by hand", "as a provider", "behind a broadcast"])
async def test_what_is_raised_inside_is_not_lost_when_all_is_cancelled(server: RedisServer, entered: str) -> None:
    """Also where a scope further out ends it: what goes wrong then comes out, as it is, instead of `Cancelled`."""
    redis = connecting(server)
    behind = Broadcast(backend=RedisBroadcast(redis, prefix="t:"))
    make: dict[str, Callable[[], AbstractAsyncContextManager[object]]] = {
        "by hand": lambda: redis,
        "as a provider": redis,
        "behind a broadcast": lambda: behind,
    }
    with pytest.raises(ValueError, match="cleanup"), trio.CancelScope() as scope:  # noqa: PT012
        async with make[entered]():
            try:
                scope.cancel()
                await trio.sleep_forever()
            finally:
                raise ValueError("cleanup")
    assert not redis.up
    with trio.move_on_after(0.01):
        async with make[entered]():
            await trio.sleep_forever()
    assert not redis.up


async def test_a_connection_of_ones_own(server: RedisServer) -> None:
    """It can subscribe while the shared one goes on, is closed at the end, and its loss is told to whoever reads."""
    async with connecting(server) as redis:
        async with redis.dedicated() as connection:
            connection.send_command(b"SUBSCRIBE", b"news")
            messages = connection.push_messages
            assert (await anext(messages))[:2] == [b"subscribe", b"news"]
            assert await redis.execute("PUBLISH", "news", "it rains") == 1
            assert await anext(messages) == [b"message", b"news", b"it rains"]
        with trio.fail_after(SECONDS):
            while await redis.execute("PUBLISH", "news", "nobody there"):  # noqa: ASYNC110
                await trio.sleep(0.005)
        async with redis.dedicated() as connection:
            server.kill()
            with trio.fail_after(SECONDS), pytest.raises(Lost):
                await connection.create_request(b"BLPOP", b"q", 0)
        await until(lambda: not redis.up)
        with pytest.raises(RedisAway):
            async with redis.dedicated():
                pass


async def test_a_script_is_known_again_after_a_restart(server: RedisServer) -> None:
    """It is sent in full only where the server does not know it: at first, and after it has forgotten everything."""
    script = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    async with connecting(server) as redis:
        assert await redis.run(script, ["n"], [2]) == 2
        assert await redis.run(script, ["n"], [2]) == 4
        assert b"cmdstat_eval:calls=1," in await redis.execute("INFO", "commandstats")
        await server.restart()
        await until(lambda: redis.up)
        assert await redis.run(script, ["n"], [2]) == 2


async def test_a_wrong_argument_is_its_callers_alone(server: RedisServer) -> None:
    """What cannot be sent is refused before it is anywhere near the connection."""
    async with connecting(server) as redis:
        for value in (None, True, ["a"], {"a": 1}):
            with pytest.raises(TypeError, match="an argument of SET is a"):
                await redis.execute("SET", "a", value)  # type: ignore[arg-type]
        with pytest.raises(UnicodeEncodeError):
            await redis.execute("SET", "a", "\ud800")
        assert await redis.execute("SET", "a", "XREAD") == b"OK"
        assert redis.losses == 0


@pytest.mark.parametrize(
    "command",
    [
        *(["BLPOP", "a", 0], ["subscribe", "a"], ["MULTI"], ["SELECT", 1], ["XREAD", "block", 0, "STREAMS", "a", 0]),
        ["CLIENT", "REPLY", "SKIP"],
    ],
    ids=lambda command: str(command[0]),
)
async def test_what_is_not_for_a_shared_connection_is_refused(command: list[Any], server: RedisServer) -> None:
    """A command that would let all others wait, or change the connection under them, names the remedy."""
    async with connecting(server) as redis:
        with pytest.raises(ValueError, match=r"redis\.dedicated\(\)"):
            await redis.execute(*command)
        assert await redis.execute("XREAD", "COUNT", 1, "STREAMS", "block", 0) is None


async def test_it_is_a_provider(server: RedisServer) -> None:
    """It is connected as long as the application lives; a handler that it is away for answers with 503."""
    redis, app = connecting(server), App()

    @app.get("/visits")
    async def visits(redis: Annotated[Redis, Depends(redis, scope="app")]) -> int:
        number: int = await redis.execute("INCR", "visits")
        return number

    async with TestClient(app) as client:
        assert (await client.get("/visits")).json() == 1
        server.kill()
        await until(lambda: not redis.up)
        answer = await client.get("/visits")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "127.0.0.1" not in answer.text
    assert not redis.up


async def test_a_password_and_a_database_in_the_url() -> None:
    """They are given at each connection."""
    async with redis_server("--requirepass", "p@ss") as server:
        place = f"127.0.0.1:{server.port}"
        async with Redis(f"redis://:p%40ss@{place}/3") as redis:
            await redis.execute("SET", "a", 1)
            assert b"db3:keys=1" in await redis.execute("INFO", "keyspace")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("password_wrong", "redis://:wrong@127.0.0.1"),
        ("password_wrong_of_user", "redis://ann:p%40ss@127.0.0.1"),
        ("password_none", "redis://127.0.0.1"),
        ("database_none", "redis://:p%40ss@127.0.0.1/99"),
    ],
)
async def test_a_url_that_redis_refuses_says_what_is_wrong_in_it(
    name: str, url: str, golden: Golden, caplog: pytest.LogCaptureFixture
) -> None:
    """In the one line of the log, without showing a password; a startup that needs it fails with the same line."""
    async with redis_server("--requirepass", "p@ss") as server:
        url = url.replace("127.0.0.1", f"127.0.0.1:{server.port}")
        async with Redis(url, connect_timeout=SLOW):
            pass
        required = Redis(url, connect_timeout=SLOW, required=True)
        app = App()

        @app.get("/", dependencies=[Depends(required, scope="app")])
        async def handler() -> None: ...

        with pytest.raises(LifespanFailed) as info:
            async with TestClient(app):
                pass
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"RedisAway: {line}" in str(info.value)
    assert "Traceback" not in str(info.value)
    golden(f"contrib/redis_{name}", line.replace(str(server.port), "PORT"))


async def test_over_tls_the_name_is_checked(tmp_path: Path) -> None:
    """A certificate of a trusted authority is believed for the name that stands in it, and no other."""
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    port, pem = str(free_port()), str(tmp_path / "server.pem")
    options = ["--tls-port", port, "--tls-cert-file", pem, "--tls-key-file", pem, "--tls-auth-clients", "no"]
    async with redis_server(*options, "--tls-ca-cert-file", pem) as server:
        async with Redis(f"rediss://localhost:{port}", connect_timeout=SLOW, ssl_context=context) as redis:
            assert await redis.execute("PING") == b"PONG"
            server.freeze()
        server.thaw()
        for url, given in ((f"rediss://127.0.0.1:{port}", context), (f"rediss://localhost:{port}", None)):
            with pytest.raises(RedisAway, match="certificate verify failed"):
                async with Redis(url, connect_timeout=SLOW, ssl_context=given, required=True):
                    pass


async def test_a_real_redis_answers_while_the_clock_stands_still(mock_clock: MockClock) -> None:
    """With `mock_clock` no timeout passes while a real Redis answers, and the test lets time pass by itself; with a
    clock that jumps each of them would be over at once."""
    mock_clock.rate = 1
    async with redis_server() as server:
        mock_clock.rate = 0
        async with Redis(server.url, required=True) as redis:
            began = trio.current_time()
            assert await redis.execute("DEBUG", "SLEEP", 0.05) == b"OK"
            assert trio.current_time() == began
            mock_clock.jump(60)  # it is asked whether it is there
            assert await redis.execute("PING") == b"PONG"
            assert redis.up
            mock_clock.autojump_threshold = 0
            with pytest.raises(RedisAway, match="no answer"):
                await redis.execute("DEBUG", "SLEEP", 0.05)


async def test_a_socket_of_the_file_system() -> None:
    """`unix:///path` is connected to as a host is."""
    with tempfile.TemporaryDirectory(prefix="trivet-redis-") as directory:
        path = f"{directory}/s"
        async with redis_server("--unixsocket", path) as server, Redis(f"unix://{path}") as redis:
            assert await redis.execute("PING") == b"PONG"
            server.kill()
            await until(lambda: not redis.up)


async def test_a_server_that_takes_connections_and_says_nothing() -> None:
    """An attempt has `connect_timeout`, whatever it is that takes time."""
    async with trio.open_nursery() as nursery:
        port = free_port()
        await nursery.start(partial(trio.serve_tcp, silent, port, host="127.0.0.1"))
        with pytest.raises(RedisAway, match="no connection in"):
            async with Redis(f"redis://127.0.0.1:{port}", connect_timeout=0.05, required=True):
                pass
        nursery.cancel_scope.cancel()


async def silent(stream: trio.SocketStream) -> None:
    """Listen, and say nothing."""
    await trio.sleep_forever()
