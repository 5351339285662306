"""Broadcast between processes, over a real redis-server that is killed, frozen, flushed and started again.

Each `Broadcast` with a backend of its own stands for a process.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from tests.harness.redis_server import RedisServer, redis_server
from trivet.contrib.broadcast import Broadcast, Joined, Left, Message, Subscription
from trivet.contrib.redis import Redis, RedisAway, RedisBroadcast, _feed, _topic_store, _topics
from trivet.contrib.redis._roster import REAP
from trivet.contrib.redis._topic_store import APPEND

SECONDS = 10.0
"""In which whatever is waited for has happened, on a machine with other things to do."""


@pytest.fixture
async def server() -> AsyncGenerator[RedisServer]:
    """A redis-server."""
    async with redis_server() as server:
        yield server


@asynccontextmanager
async def process(
    server: RedisServer, *, history: int = 0, buffer: int = 256, **options: Any
) -> AsyncGenerator[Broadcast]:
    """What one process has."""
    redis = Redis(server.url, command_timeout=5.0, connect_timeout=5.0, backoff=0.01, max_backoff=0.1)
    async with Broadcast(
        history=history, buffer=buffer, backend=RedisBroadcast(redis, prefix="t:", **options)
    ) as broadcast:
        yield broadcast


async def taken(subscription: Subscription[Any], count: int) -> list[str]:
    """The next so many things it gets."""
    found: list[str] = []
    with trio.fail_after(SECONDS):
        while len(found) < count:
            item = await subscription.receive()
            kind = "+" if isinstance(item, Joined) else "-" if isinstance(item, Left) else ""
            found.append(kind + (item.data if isinstance(item, Message) else item.member.data))
    return found


async def until(condition: Callable[[], object]) -> None:
    """Wait for what happens on the other side of a socket."""
    with trio.fail_after(SECONDS):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.005)


async def published(broadcast: Broadcast, value: str) -> Message:
    """Publish, as soon as Redis is there."""
    with trio.fail_after(SECONDS):
        while True:
            try:
                return await broadcast.publish("a", value)
            except RedisAway:
                await trio.sleep(0.005)


async def at_once(server: RedisServer, *commands: list[str | bytes]) -> None:
    """Let the server carry out commands between which it hears nobody else."""
    sent = b""
    for command in commands:
        parts = [part.encode() if isinstance(part, str) else part for part in command]
        sent += b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(sent)
        assert not (await stream.receive_some()).startswith(b"-")


CUT: list[str | bytes] = ["CLIENT", "KILL", "TYPE", "pubsub"]


def appending(value: str, history: int) -> list[str | bytes]:
    """What another process would send to publish this."""
    return ["EVAL", APPEND.text, "1", "t:topic:a", value, "=", str(history), "60000", "60000"]


def behind(broadcast: Broadcast) -> RedisBroadcast:
    """What is behind it."""
    assert isinstance(broadcast._backend, RedisBroadcast)
    return broadcast._backend


def listening(broadcast: Broadcast) -> bool:
    """Whether all that is published to the topic now is heard."""
    return behind(broadcast)._topics._watched[b"t:topic:a"].ready.is_set()


async def names(broadcast: Broadcast) -> list[str]:
    """Who is there."""
    return sorted(member.data for member in (await broadcast.members("a")).values())


def told(subscription: Subscription[Any]) -> bool:
    """Whether it has been told of a gap."""
    return subscription.gap


async def until_names(broadcast: Broadcast, expected: list[str]) -> None:
    """Wait until those are there."""
    with trio.fail_after(SECONDS):
        while await names(broadcast) != expected:  # noqa: ASYNC110 - it has to ask
            await trio.sleep(0.005)


async def cut_off(server: RedisServer, broadcast: Broadcast, *commands: list[str | bytes]) -> None:
    """Take its subscriptions from it, let something happen before it can subscribe anew, and wait until it has."""
    topics = behind(broadcast)._topics
    turn = topics._watched[b"t:topic:a"].turn
    await at_once(server, CUT, *commands)
    await until(lambda: topics._watched[b"t:topic:a"].turn > turn + 1 and listening(broadcast))


async def test_what_one_process_publishes_all_get(server: RedisServer) -> None:
    """In one order, and also their own; whoever has left gets nothing more."""
    async with (
        process(server) as one,
        process(server) as other,
        one.subscribe("a") as here,
        other.subscribe("a") as there,
        other.subscribe("b") as elsewhere,
    ):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon((one, other)[number % 2].publish, "a", number)
        seen = await taken(here, 20)
        assert sorted(seen, key=int) == [str(number) for number in range(20)]
        assert await taken(there, 20) == seen
        message = await one.publish("b", {"text": "ö \n 1-0 +"})
        with trio.fail_after(SECONDS):
            assert await elsewhere.receive() == message


async def test_history_is_shared(server: RedisServer) -> None:
    """By those who come late or come back, in whatever process; its end is told as a gap."""
    async with process(server, history=3) as one, process(server, history=3) as other:
        ids = [(await one.publish("a", number)).id for number in range(5)]
        async with other.subscribe("a", history=2) as late, other.subscribe("a", history=9) as all_of_them:
            assert await taken(late, 2) == ["3", "4"]
            assert await taken(all_of_them, 3) == ["2", "3", "4"]
            assert not all_of_them.gap
        for after, expected, gap in [
            (ids[4], [], False),
            (ids[2], ["3", "4"], False),
            (ids[1], ["2", "3", "4"], False),
        ]:
            async with other.subscribe("a", after=after) as back:
                assert await taken(back, len(expected)) == expected
                assert back.gap is gap
        for after in [ids[0], "", "x", "1-2-3", "-", "0-0", "1-1", "9" * 20 + "-0", "9999999999999-0", "²-1"]:
            async with other.subscribe("a", after=after) as lost:
                assert await taken(lost, 3) == ["2", "3", "4"]
                assert lost.gap
                await one.publish("b", "x")
        assert await behind(one)._redis.execute("PTTL", "t:topic:a") > 80_000_000


async def test_a_long_history_is_trimmed_in_blocks(server: RedisServer) -> None:
    """Redis keeps some more than asked for; who comes late gets as many as were asked for, who comes back all."""
    async with process(server, history=100) as one:
        async with trio.open_nursery() as nursery:
            for number in range(350):
                nursery.start_soon(one.publish, "a", number)
        kept = [ident.decode() for ident, _ in await behind(one)._redis.execute("XRANGE", "t:topic:a", "-", "+")]
        assert 100 <= len(kept) < 300
        async with one.subscribe("a", history=1000) as late, one.subscribe("a", after=kept[0]) as back:
            found = [(await late.receive()).id for _ in range(100)]
            assert found == kept[-100:]
            assert [(await back.receive()).id for _ in kept[1:]] == kept[1:]
            assert not back.gap


async def test_a_topic_is_kept_while_somebody_is_there(server: RedisServer) -> None:
    """However long nothing is said; else the next message would follow nothing, which is a gap."""
    async with process(server, keep=1.5) as one, one.subscribe("a"):
        await one.publish("b", "nobody is there")

        async def left(topic: str) -> int:
            return int((await server.ask(f"PTTL t:topic:{topic}"))[1:])

        here, there = await left("a"), await left("b")
        with trio.fail_after(SECONDS):
            while (now := await left("a")) <= here:
                here = now
                await trio.sleep(0.02)
        assert await left("b") < there
        assert now <= 1500


async def test_a_topic_without_messages_is_soon_forgotten(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Redis, when nobody is there: whoever names topics does not fill it. While somebody is, it is not."""

    async def left(topic: str) -> int:
        return int((await server.ask(f"PTTL t:topic:{topic}"))[1:])

    async with process(server, history=1) as one, process(server) as other:
        async with one.subscribe("entered"):
            await one.publish("said", "x")
            await other.publish("unkept", "x")
        assert 50_000 < await left("entered") <= 60_000
        assert 50_000 < await left("unkept") <= 60_000
        assert await left("said") > 80_000_000
        await server.ask("PEXPIRE t:topic:entered 5000")
        async with one.subscribe("entered"):  # for so long as nobody else keeps it
            assert await left("entered") > 50_000
        await server.ask("PEXPIRE t:topic:said 5000")
        async with one.subscribe("said"):
            assert await left("said") > 80_000_000
    for module in (_topic_store, _topics):
        monkeypatch.setattr(module, "EMPTY", 1.5)
    async with process(server) as one, one.subscribe("quiet"):
        before = await left("quiet")
        with trio.fail_after(SECONDS):
            while (now := await left("quiet")) <= before:
                before = now
                await trio.sleep(0.02)
        assert now <= 1500


async def test_without_memory_one_still_listens(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """To a topic that is new, too, of which nothing can be kept: it is heard when there is some again."""
    async with process(server, history=5) as one:
        await server.ask("CONFIG SET maxmemory 1")
        async with one.subscribe("a") as subscription:
            with pytest.raises(RedisAway, match="OOM"):
                await one.publish("a", "x")
            await server.ask("CONFIG SET maxmemory 0")
            await one.publish("a", "y")
            assert await taken(subscription, 1) == ["y"]
            assert not subscription.gap
    assert ["OOM" in record.getMessage() for record in caplog.records] == [True]


async def test_between_what_was_kept_and_what_is_published_is_no_gap(server: RedisServer) -> None:
    """Nor a repetition, whoever subscribes when."""
    every = [str(number) for number in range(200)]
    async with process(server, history=1000) as one, process(server, history=1000) as other:

        async def subscribe(broadcast: Broadcast, wait: int, resume: bool) -> None:
            await until(lambda: len(ids) > wait)
            after = ids[wait] if resume else None
            async with broadcast.subscribe("a", history=1000, after=after) as subscription:
                expected = every[wait + 1 :] if resume else every
                assert await taken(subscription, len(expected)) == expected
                assert not subscription.gap

        ids: list[str | None] = []
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(subscribe, (one, other)[number % 2], number * 4, number % 3 > 0)
            for text in every:
                message = await one.publish("a", text)
                ids.append(message.id)


async def test_what_was_said_while_nothing_was_heard_comes_late(server: RedisServer) -> None:
    """If it was kept: in order, once, with what is said after it; and nobody needs to know."""
    async with process(server, history=10) as one, one.subscribe("a") as subscription:
        await one.publish("a", 0)
        assert await taken(subscription, 1) == ["0"]
        await cut_off(server, one, appending("1", 10), appending("2", 10))
        await one.publish("a", 3)
        assert await taken(subscription, 3) == ["1", "2", "3"]
        assert not subscription.gap


async def test_whoever_is_cut_off_how_often_all_see_the_same(server: RedisServer) -> None:
    """Two processes publish, and lose this connection and that one: everything that Redis has kept, once, in order."""
    async with process(server, history=5000) as one, process(server, history=5000) as two:
        seen: list[list[str | None]] = [[], [], []]

        async def listen(
            broadcast: Broadcast, into: list[str | None], *, task_status: trio.TaskStatus[Subscription[Any]]
        ) -> None:
            async with broadcast.subscribe("a", buffer=10_000) as subscription:
                task_status.started(subscription)
                while True:
                    into.append((await subscription.receive()).id)

        async def speak(broadcast: Broadcast, name: str) -> None:
            for number in range(100):
                try:
                    await broadcast.publish("a", f"{name} {number}")
                except RedisAway:
                    pass  # it was said or not
                await trio.sleep(0.002)

        async with trio.open_nursery() as nursery:
            where = [one, two, two]
            listening_ = [await nursery.start(listen, *each) for each in zip(where, seen, strict=True)]
            async with trio.open_nursery() as speakers:
                for number in range(3):
                    speakers.start_soon(speak, where[number], str(number))
                for number in range(12):
                    await trio.sleep(0.03)
                    kind = "normal" if number % 3 == 2 else "pubsub"
                    await at_once(server, ["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"])
            await until(lambda: listening(one) and listening(two))
            await published(two, "end")
            redis = behind(one)._redis
            await until(lambda: redis.up)
            kept = [ident.decode() for ident, _ in await redis.execute("XRANGE", "t:topic:a", "-", "+")]
            await until(lambda: all(each[-1:] == kept[-1:] for each in seen))
            nursery.cancel_scope.cancel()
        assert seen == [kept] * 3
        assert len(kept) > 100
        assert [each.gap for each in listening_] == [False] * 3


@pytest.mark.parametrize("history", [0, 2])
async def test_what_is_missing_then_is_told(server: RedisServer, history: int) -> None:
    """Where nothing is kept, or not enough; but not where nothing was said."""
    async with process(server, history=history) as one, one.subscribe("a") as subscription:
        await one.publish("a", 0)
        assert await taken(subscription, 1) == ["0"]
        await cut_off(server, one)
        assert not told(subscription)
        await cut_off(server, one, *(appending(str(number), history) for number in (1, 2, 3)))
        assert subscription.gap
        await one.publish("a", 4)
        assert await taken(subscription, history + 1) == [*["2", "3"][:history], "4"]


async def test_a_redis_that_is_killed_and_comes_back_empty(server: RedisServer) -> None:
    """Publishers and new subscribers are told at once, old ones stay, are told of the gap, and go on."""
    async with (
        process(server, history=10) as one,
        process(server, history=10) as other,
        one.subscribe("a") as here,
        other.subscribe("a") as there,
        other.subscribe("quiet") as quiet,
    ):
        old = await one.publish("a", 0)
        assert await taken(there, 1) == await taken(here, 1) == ["0"]
        server.kill()
        await until(lambda: not listening(one) and not listening(other))
        with trio.fail_after(SECONDS):
            with pytest.raises(RedisAway):
                await one.publish("a", "lost")
            with pytest.raises(RedisAway):
                await one.members("nobody is here")
            await until(lambda: behind(other)._topics.feed.error)
            with pytest.raises(RedisAway):
                async with other.subscribe("a"):
                    raise AssertionError("it began")
        assert (one.subscribers("a"), other.subscribers("a")) == (1, 1)
        assert not told(there)
        await server.start()
        await until(lambda: listening(one) and listening(other))
        new = await published(one, "1")
        assert await taken(there, 1) == await taken(here, 1) == ["1"]
        assert here.gap
        assert there.gap
        await until(lambda: quiet.gap)  # something may have been said there, too
        assert (new.position or 0) > (old.position or 0)
        async with other.subscribe("a", after=old.id) as back:
            assert back.gap
            assert await taken(back, 1) == ["1"]


async def test_a_redis_that_has_lost_its_last_data(server: RedisServer) -> None:
    """It was restored from a copy: who knows more than it does is told of a gap, and hears what follows."""
    async with process(server, history=10) as one, one.subscribe("a") as subscription:
        await one.publish("a", 0)
        await server.ask("SAVE")
        lost = await one.publish("a", 1)
        assert await taken(subscription, 2) == ["0", "1"]
        await server.restart()
        await until(lambda: listening(one))
        assert subscription.gap
        await published(one, "2")
        assert await taken(subscription, 1) == ["2"]
        async with one.subscribe("a", after=lost.id) as back:
            assert back.gap
            assert await taken(back, 2) == ["0", "2"]


async def test_a_redis_whose_clock_goes_back_with_its_data(server: RedisServer) -> None:
    """Ids are smaller then than those that were given before: nothing is taken for old."""
    async with process(server, history=10) as one, one.subscribe("a") as subscription:
        await one.publish("a", 0)
        assert await taken(subscription, 1) == ["0"]
        await cut_off(server, one, ["DEL", "t:topic:a"], ["XADD", "t:topic:a", "5-0", "d", "early", "p", "0-0"])
        assert subscription.gap
        for number in (6, 7):
            await at_once(
                server,
                ["XADD", "t:topic:a", f"{number}-0", "d", str(number), "p", f"{number - 1}-0"],
                ["PUBLISH", "t:topic:a", f"={number}-0 {number - 1}-0 {number}"],
            )
        assert await taken(subscription, 2) == ["6", "7"]
        async with one.subscribe("a", history=2) as late:
            await at_once(server, ["PUBLISH", "t:topic:a", "=8-0 7-0 8"])
            assert await taken(late, 3) == ["6", "7", "8"]


async def test_a_message_that_follows_nothing_is_looked_into(server: RedisServer) -> None:
    """Whatever became of the one before it: subscribers get what is there, and know that something is not."""
    async with process(server, history=2) as one, one.subscribe("a") as subscription:
        await one.publish("a", 0)
        assert await taken(subscription, 1) == ["0"]
        await at_once(server, ["DEL", "t:topic:a"])
        await one.publish("a", 1)
        assert await taken(subscription, 1) == ["1"]
        assert subscription.gap


async def test_a_redis_that_hangs_is_noticed(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its connections stay open. When it goes on, so do subscribers."""
    monkeypatch.setattr(_feed, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(_feed, "LATE", 0.2)
    async with process(server) as one, one.subscribe("a") as subscription:
        await one.publish("a", 0)
        assert await taken(subscription, 1) == ["0"]
        server.freeze()
        try:
            await until(lambda: not listening(one))
        finally:
            server.thaw()
        await until(lambda: listening(one))
        await published(one, "1")
        assert await taken(subscription, 1) == ["1"]


async def test_who_goes_on_alone_is_told_of_a_gap_afterwards(server: RedisServer) -> None:
    """`when_away="local"`: what is published meanwhile reaches this process, and who knows what others have said."""
    async with process(server, when_away="local") as one, one.subscribe("a") as subscription:
        server.kill()
        await until(lambda: not listening(one) and not behind(one)._redis.up)
        message = await one.publish("a", "alone")
        assert message.id is None
        assert await taken(subscription, 1) == ["alone"]
        assert not told(subscription)
        await server.start()
        await until(lambda: listening(one))
        assert subscription.gap


async def test_thousands_share_one_connection_and_one_message(server: RedisServer) -> None:
    """A subscriber costs Redis nothing: what comes is read once, and all have the same object."""
    async with process(server) as one, AsyncExitStack() as stack:
        subscribers = [await stack.enter_async_context(one.subscribe("a")) for _ in range(1000)]
        others = [await stack.enter_async_context(one.subscribe(str(topic))) for topic in range(20)]
        assert (await server.ask("CLIENT LIST TYPE pubsub")).count(b" addr=") == 1
        assert (await server.ask("PUBSUB NUMSUB t:topic:a")).endswith(b":1\r\n")
        await one.publish("a", "x")
        with trio.fail_after(SECONDS):
            messages = {id(await subscriber.receive()) for subscriber in subscribers}
        assert len(messages) == 1
        assert {each.delivered for each in others} == {0}


async def test_a_topic_is_left_with_its_last_subscriber(server: RedisServer) -> None:
    """And who comes back at once hears what is said from then on."""
    async with process(server) as one, process(server) as other:
        for number in range(50):
            async with one.subscribe("a") as subscription:
                await other.publish("a", number)
                assert await taken(subscription, 1) == [str(number)]
        while not (await server.ask("PUBSUB NUMSUB t:topic:a")).endswith(b":0\r\n"):  # noqa: ASYNC110
            await trio.sleep(0.005)
        with trio.CancelScope() as scope:
            scope.cancel()
            async with one.subscribe("a"):
                raise AssertionError("it began")
        assert behind(one)._topics._watched == {}


async def test_what_others_write_there_does_no_harm(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, and said once."""
    async with process(server, history=5) as one, one.subscribe("a") as subscription:
        for payload in ("", "hello", "=x y z", "=1-1", "+", "+f", "=1-1 0-0 \xff".encode("latin-1")) * 2:
            await at_once(server, ["PUBLISH", "t:topic:a", payload])
        await one.publish("a", "x")
        assert await taken(subscription, 1) == ["x"]
        assert len(caplog.records) == 1
        await at_once(
            server,
            ["DEL", "t:topic:a"],
            ["SET", "t:topic:a", "1"],
            ["PUBLISH", "t:topic:a", "=9999999999999-0 9999999999998-0 y"],
        )
        await until(lambda: "wrong kind" in caplog.text)
        await at_once(server, ["DEL", "t:topic:a"])
        await until(lambda: listening(one) and behind(one)._topics._watched[b"t:topic:a"].chain.whole)
        await published(one, "y")
        assert await taken(subscription, 1) == ["y"]
        assert subscription.gap


FOREIGN: list[list[str | bytes]] = [
    ["f", "v"],
    ["f", "v", "g", "w"],
    ["d", b"\xff", "p", "1-1"],
    ["d", "x", "p", "y"],
    ["d", "x", "p", "1-1", "q", "z"],
]


async def test_what_others_keep_there_is_left_out(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """A topic is read all the same, whoever comes, and who is there is seen; it is said once."""
    async with process(server, history=20) as one, one.subscribe("a") as subscription:
        for number, fields in enumerate(FOREIGN):
            await at_once(server, ["XADD", "t:topic:a", "*", *fields])
            await at_once(server, ["HSET", "t:who:a", b"\xff%d" % number, behind(one)._roster._process + b"\xfe"])
            await published(one, str(number))
        numbers = [str(number) for number in range(len(FOREIGN))]
        assert await taken(subscription, len(FOREIGN)) == numbers
        async with one.subscribe("a", history=20, member="ann", presence=True) as late:
            assert await taken(late, len(FOREIGN)) == numbers
            assert await names(one) == ["ann"]
        await behind(one)._topics.read("a")
    assert ["left out" in record.getMessage() for record in caplog.records] == [True]


async def test_what_others_keep_for_a_room_is_nothing_to_the_other_rooms(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the members of one topic would be there is something else: those of others are told of, and leave; who
    comes to the one gets its messages, and is seen by whoever is there. It is said once by each side."""
    async with process(server) as one, process(server) as other, other.subscribe("a", presence=True) as there:
        async with one.subscribe("b", member="Bob"):
            await until(lambda: not behind(one)._roster._changed)
            await at_once(server, ["SET", "t:who:a", "oops"], ["SET", "t:who:b", "oops"])
        async with one.subscribe("a", member="Ann") as late, one.subscribe("c", member="Cat"):
            with trio.fail_after(SECONDS):
                while not await other.members("c"):  # noqa: ASYNC110 - there is no event for it
                    await trio.sleep(0.005)
            assert await taken(there, 1) == ["+Ann"]
            await other.publish("a", "x")
            assert await taken(late, 1) == ["x"]
        assert await taken(there, 2) == ["x", "-Ann"]
        await until(lambda: not behind(one)._roster._told)
    assert ["left out" in record.getMessage() for record in caplog.records] == [True] * len(caplog.records)
    assert 1 <= len(caplog.records) <= 3


async def test_who_is_no_process_is_not_taken_for_one(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Nor for ever, whatever stands where its members would: members are told of as before."""
    await at_once(server, ["SET", "t:of:no process", "1"], ["HSET", "t:of:\0", "x", "b"], ["SET", "t:who:b", "1"])
    await at_once(server, ["ZADD", "t:alive", "1", b"\xff\xfe", "2", "no process", "3", "\0", "4", "f" * 16])
    async with process(server) as one, process(server) as other:
        async with one.subscribe("a", member="ann", presence=True):
            await until_names(other, ["ann"])
        assert await behind(one)._redis.execute("ZCARD", "t:alive") == 2
    said = {record.getMessage() for record in caplog.records}  # both may have seen it
    assert ["is not one of ours" in each for each in said] == [True] * 3


async def test_a_user_who_may_not_subscribe_is_named(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """As what it is, and not as a network that is silent."""
    await server.ask("ACL SETUSER default resetchannels")
    monkey = pytest.MonkeyPatch()
    monkey.setattr(_feed, "LATE", 0.2)
    try:
        async with process(server) as one:
            await until(lambda: "NOPERM" in caplog.text or "permissions" in caplog.text)
            with pytest.raises(RedisAway, match="permission"):
                async with one.subscribe("a"):
                    raise AssertionError("it began")
    finally:
        monkey.undo()
    assert len([record for record in caplog.records if "permission" in record.message]) == 1


async def test_an_error_of_the_application_is_its_own(server: RedisServer) -> None:
    """It comes out as it was raised, not as a group of one."""
    with pytest.raises(ZeroDivisionError):
        async with process(server):
            raise ZeroDivisionError


async def test_members_of_other_processes_are_seen(server: RedisServer) -> None:
    """As they come and go, by who subscribes and by who asks; one's own are seen once."""
    async with process(server) as one, process(server) as other, process(server) as third:
        async with one.subscribe("a", member="Ann", presence=True) as ann:
            await until_names(other, ["Ann"])
            async with other.subscribe("a", member="Bob", presence=True) as bob:
                assert sorted(member.data for member in bob.members.values()) == ["Ann", "Bob"]
                assert await taken(ann, 1) == ["+Bob"]
                assert await names(one) == await names(other) == await names(third) == ["Ann", "Bob"]
            await one.publish("a", "x")
            assert await taken(ann, 2) == ["-Bob", "x"]
            assert list(ann.members.values()) == [ann.member]
        await until_names(third, [])


async def test_a_process_that_ends_takes_its_members_along(server: RedisServer) -> None:
    """At once, all of them, however many; nothing of it is left in Redis."""

    async def crowd(broadcast: Broadcast) -> None:
        async with AsyncExitStack() as stack:
            every = [await stack.enter_async_context(broadcast.subscribe("a", member=number)) for number in range(300)]
            assert [message async for message in every[-1]] == []

    async with process(server) as one, one.subscribe("a", presence=True, buffer=1) as subscription:
        async with trio.open_nursery() as nursery:
            async with process(server) as other:
                nursery.start_soon(crowd, other)
                await until(lambda: len(subscription.members) == 300)
            assert await server.ask("EXISTS t:who:a") == b":0\r\n"
            assert await server.ask("KEYS t:of:*") == b"*0\r\n"
            assert await server.ask("ZCARD t:alive") == b":1\r\n"
        await until(lambda: not subscription.members)


@asynccontextmanager
async def doomed(server: RedisServer, **options: Any) -> AsyncGenerator[trio.CancelScope]:
    """A process with a member, that dies without a word when its scope is cancelled."""
    async with trio.open_nursery() as nursery:

        async def live(*, task_status: trio.TaskStatus[None]) -> None:
            async with process(server, **options) as broadcast, broadcast.subscribe("a", member="Bob"):
                task_status.started()
                await trio.sleep_forever()

        await nursery.start(live)
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def test_a_process_that_dies_leaves_nobody_behind(server: RedisServer) -> None:
    """When its time is over its members are gone: for who asks, and for who listens."""
    async with (
        process(server, member_ttl=0.5) as one,
        process(server, member_ttl=30.0) as late,
        one.subscribe("a", presence=True) as subscription,
    ):
        async with doomed(server, member_ttl=0.5) as scope:
            assert await taken(subscription, 1) == ["+Bob"]
            await trio.sleep(1.0)  # longer than it would live, did it not say that it does
            assert await names(late) == ["Bob"]
            scope.cancel()
        assert await taken(subscription, 1) == ["-Bob"]
        assert await names(late) == []
        assert await server.ask("EXISTS t:who:a") == b":0\r\n"
        assert await server.ask("ZCARD t:alive") == b":2\r\n"


VICTIM = """
import sys, trio
from trivet.contrib.broadcast import Broadcast
from trivet.contrib.redis import Redis, RedisBroadcast

async def main():
    backend = RedisBroadcast(Redis(sys.argv[1]), prefix="t:", member_ttl=0.5)
    async with Broadcast(backend=backend) as broadcast, broadcast.subscribe("a", member="Bob"):
        await trio.sleep_forever()

trio.run(main)
"""


async def test_a_process_that_is_killed_leaves_nobody_behind(server: RedisServer) -> None:
    """By the system, with no time for anything."""
    async with (
        process(server, member_ttl=0.5) as one,
        one.subscribe("a", presence=True) as subscription,
        trio.open_nursery() as nursery,
    ):
        victim = await nursery.start(partial(trio.run_process, check=False), [sys.executable, "-c", VICTIM, server.url])
        assert await taken(subscription, 1) == ["+Bob"]
        victim.kill()
        assert await taken(subscription, 1) == ["-Bob"]


async def test_nobody_waits_for_the_dead_to_be_taken_away(server: RedisServer) -> None:
    """Who asks does not get those whose process has not said for too long that it is alive."""
    async with process(server, member_ttl=30.0) as one:
        async with doomed(server, member_ttl=0.3) as scope:
            await until_names(one, ["Bob"])
            scope.cancel()
        await until_names(one, [])
        assert await server.ask("EXISTS t:who:a") == b":1\r\n"


async def test_what_redis_has_of_ones_own_members_is_not_asked_for(server: RedisServer) -> None:
    """A process knows better who of them is there."""
    async with process(server) as one, one.subscribe("a", presence=True) as subscription:
        name = behind(one)._roster._process.decode()
        await cut_off(server, one, ["HSET", "t:who:a", "0123", name + "Ghost"])
        await at_once(server, ["PUBLISH", "t:topic:a", f"+{name} 4567 Ghost"])
        await one.publish("a", "x")
        assert await taken(subscription, 1) == ["x"]
        assert not subscription.members


async def test_a_process_that_was_taken_for_dead_comes_back(server: RedisServer) -> None:
    """It was only held up; when it finds out, it tells of its members again."""
    async with (
        process(server, member_ttl=0.3) as one,
        process(server) as other,
        other.subscribe("a", presence=True) as subscription,
        one.subscribe("a", member="Ann"),
    ):
        assert await taken(subscription, 1) == ["+Ann"]
        name = behind(one)._roster._process.decode()
        await at_once(
            server,
            ["ZADD", "t:alive", "1", name],
            ["EVAL", REAP.text, "2", "t:alive", f"t:of:{name}", name, "t:", "9", ""],
        )
        assert await taken(subscription, 2) == ["-Ann", "+Ann"]


async def test_who_is_missing_after_an_outage_has_time(server: RedisServer) -> None:
    """To be told of again, by a process that was later to find out that Redis has lost everything."""
    fake = "f" * 16
    async with process(server, member_ttl=0.3) as one:
        await at_once(server, ["ZADD", "t:alive", f"{10**15}", fake])
        await at_once(server, ["HSET", "t:who:a", "1", fake + "Ann", "2", fake + "Bob"])
        async with one.subscribe("a", presence=True) as subscription:
            assert len(subscription.members) == 2
            gone: list[str] = []
            left = one._hub.left
            one._hub.left = lambda topic, member: gone.append(member.data) or left(topic, member)  # type: ignore[method-assign, func-returns-value]
            await cut_off(server, one, ["DEL", "t:who:a"])
            await at_once(server, ["HSET", "t:who:a", "1", fake + "Ann"], ["PUBLISH", "t:topic:a", f"+{fake} 1 Ann"])
            assert len(subscription.members) == 2
            assert await taken(subscription, 1) == ["-Bob"]
            assert gone == ["Bob"]


async def test_members_outlive_a_redis(server: RedisServer) -> None:
    """It comes back empty, and processes tell it of their members. Nobody has gone and come; but who went meanwhile."""
    async with (
        process(server, member_ttl=0.5) as one,
        process(server, member_ttl=0.5) as other,
        one.subscribe("a", member="Ann", presence=True) as ann,
        AsyncExitStack() as stack,
    ):
        await stack.enter_async_context(other.subscribe("a", member="Bob"))
        cy = AsyncExitStack()
        await cy.enter_async_context(other.subscribe("a", member="Cy"))
        assert sorted(await taken(ann, 2)) == ["+Bob", "+Cy"]
        server.kill()
        await until(lambda: not listening(one) and not listening(other))
        await cy.aclose()
        assert len(ann.members) == 3
        await server.start()
        assert await taken(ann, 1) == ["-Cy"]
        await trio.sleep(1.0)  # longer than who is missing is waited for
        await published(one, "x")
        assert await taken(ann, 1) == ["x"]
        assert await names(other) == ["Ann", "Bob"]
        async with process(server) as third:
            assert await names(third) == ["Ann", "Bob"]
