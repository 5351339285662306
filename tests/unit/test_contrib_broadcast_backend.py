"""Broadcast between processes: what a backend with a network behind it can do, and what subscribers see of it.

The store is an append-only log for each topic, as Redis has them, reached with a delay and not always; each `Broadcast`
with a backend of its own stands for a process.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trivet.contrib.broadcast import Broadcast, Hub, Joined, Kept, Left, Member, Message, SlowSubscriber, Subscription


class Store:
    """What the processes share."""

    def __init__(self, keep: int = 100) -> None:
        self.up = True
        self.keep = keep
        self.logs: dict[str, list[Message]] = defaultdict(list)
        self.members: dict[str, dict[str, Member]] = defaultdict(dict)
        self.position = 0

    def append(self, topic: str, data: str) -> Message:
        self.position += 1
        message = Message(data, topic, str(self.position), self.position)
        self.logs[topic] = [*self.logs[topic], message][-self.keep :]
        return message

    def behind(self, topic: str, position: int) -> tuple[list[Message], bool]:
        """What is there behind a position, and whether something may be missing."""
        found = [message for message in self.logs[topic] if (message.position or 0) > position]
        return found, len(found) == self.keep

    def last(self, topic: str) -> int:
        return (self.logs[topic][-1].position or 0) if self.logs[topic] else 0


class Remote:
    """A backend that reaches the store within `delay` seconds, or less."""

    def __init__(self, store: Store, delay: float = 0.0, *, seed: int = 0, local_when_away: bool = False) -> None:
        self.store = store
        self.delay = delay
        self.random = random.Random(seed)
        self.local_when_away = local_when_away
        self.seen: dict[str, int] = {}
        self.known: dict[str, dict[str, Member]] = {}
        self.notes: list[tuple[str, str, Member]] = []
        self.was_up = True

    async def travel(self) -> None:
        await trio.sleep(self.random.random() * self.delay)
        if not self.store.up:
            raise ConnectionError("the store is away")

    @asynccontextmanager
    async def connected(self, hub: Hub, history: int) -> AsyncGenerator[None]:
        self.hub = hub
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.read)
            yield
            nursery.cancel_scope.cancel()

    async def read(self) -> None:
        while True:
            await trio.sleep(self.random.random() * self.delay + 0.001)
            if self.store.up:
                for topic in list(self.seen):
                    await self.read_topic(topic)
                for what, topic, member in self.notes:
                    (self.store.members[topic].__setitem__ if what == "join" else self.store.members[topic].pop)(
                        member.id, member
                    )
                self.notes.clear()
            self.was_up = self.store.up

    async def read_topic(self, topic: str) -> None:
        start = self.seen[topic] if self.was_up else max(0, self.seen[topic] - 3)  # again, rather than not at all
        found, gap = self.store.behind(topic, start)
        if gap:
            self.hub.gap(topic)
        for message in found:
            self.seen[topic] = message.position or 0
            await self.hub.deliver(message)
        others = dict(self.store.members[topic])
        known = self.known.get(topic, {})
        for each in others.keys() - known.keys():
            self.hub.joined(topic, others[each])
        for each in known.keys() - others.keys():
            self.hub.left(topic, known[each])
        self.known[topic] = others

    async def publish(self, topic: str, data: str) -> Message:
        try:
            await self.travel()
        except ConnectionError:
            if not self.local_when_away:
                raise
            message = Message(data, topic, None, None)
            await self.hub.deliver(message)
            return message
        return self.store.append(topic, data)

    async def watch(self, topic: str, after: str | None, history: int) -> Kept:
        self.seen.setdefault(topic, self.store.last(topic))
        await self.travel()
        log = self.store.logs[topic]
        kept = Kept(log[max(0, len(log) - history) :]) if after is None else Kept(*self.store.behind(topic, int(after)))
        kept = kept._replace(position=self.store.last(topic))
        await trio.sleep(self.random.random() * self.delay)
        return kept

    def unwatch(self, topic: str) -> None:
        self.seen.pop(topic, None)
        self.known.pop(topic, None)

    def join(self, topic: str, member: Member) -> None:
        self.notes.append(("join", topic, member))

    def leave(self, topic: str, member: Member) -> None:
        self.notes.append(("leave", topic, member))

    async def members(self, topic: str) -> Iterable[Member]:
        await self.travel()
        return list(self.store.members[topic].values())


async def taken(subscription: Subscription[Any], seconds: float = 1) -> list[str]:
    """What it gets within so much time."""
    found: list[str] = []
    with trio.move_on_after(seconds):
        while True:
            item = await subscription.receive()
            kind = "+" if isinstance(item, Joined) else "-" if isinstance(item, Left) else ""
            found.append(kind + (item.data if isinstance(item, Message) else item.member.data))
    return found


async def test_all_processes_see_one_order(autojump_clock: MockClock) -> None:
    """Also of what they publish themselves."""
    store = Store()
    async with (
        Broadcast(backend=Remote(store, 0.1, seed=1)) as one,
        Broadcast(backend=Remote(store, 0.1, seed=2)) as other,
        one.subscribe("a") as here,
        other.subscribe("a") as there,
    ):
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon((one, other)[number % 2].publish, "a", number)
        seen = await taken(here)
        assert sorted(seen) == [str(number) for number in range(10)]
        assert await taken(there) == seen


@pytest.mark.parametrize("seed", range(20))
async def test_between_what_was_kept_and_what_is_published_is_no_gap(seed: int, autojump_clock: MockClock) -> None:
    """Nor a repetition, whatever overtakes what on its way."""
    store = Store()
    order = random.Random(seed)
    async with Broadcast(backend=Remote(store, 1.0, seed=seed)) as broadcast, trio.open_nursery() as nursery:
        all_of_them = [str(number) for number in range(60)]

        async def publish() -> None:
            for number in all_of_them:
                store.append("a", number)
                await trio.sleep(order.random() / 5)

        async def subscribe(resume: bool) -> None:
            await trio.sleep(order.random() * 8)
            after = order.randrange(1, store.position + 1) if resume else 0
            async with broadcast.subscribe("a", history=100, after=str(after) if resume else None) as subscription:
                assert await taken(subscription, 60) == all_of_them[after:]
                assert not subscription.gap

        nursery.start_soon(publish)
        for number in range(10):
            nursery.start_soon(subscribe, bool(number % 2))


async def test_who_catches_up_is_a_subscriber_like_others(autojump_clock: MockClock) -> None:
    """It counts, leaves, and must go if it is slow."""
    store = Store()
    async with Broadcast(backend=Remote(store, 0.5), buffer=2) as broadcast:
        store.append("a", "0")
        async with broadcast.subscribe("a", history=9):
            assert broadcast._hub.rooms["a"].catching_up
        assert broadcast._hub.rooms == {}
        async with broadcast.subscribe("a", history=9):
            store.append("a", "1")
            async with broadcast.subscribe("a", history=9) as late:
                assert broadcast.subscribers("a") == broadcast.counters.subscribers == 2
                assert await taken(late) == ["0", "1"]
            assert broadcast.subscribers("a") == 1
        with pytest.raises(SlowSubscriber):  # noqa: PT012
            async with broadcast.subscribe("a", history=9):
                for number in range(3):
                    store.append("a", str(number))
                await trio.sleep_forever()
        assert broadcast.counters.subscribers == 0
        assert broadcast._hub.rooms == {}


class Overtaken(Remote):
    """While it looks for what is kept, more comes than a subscriber can take."""

    async def watch(self, topic: str, after: str | None, history: int) -> Kept:
        kept = await super().watch(topic, after, history)
        for _ in range(2):
            await self.hub.deliver(self.store.append(topic, "x"))
        return kept


async def test_one_that_is_too_slow_before_it_has_begun_does_not_begin(autojump_clock: MockClock) -> None:
    """And nobody sees it as a member."""
    async with (
        Broadcast(backend=Overtaken(Store()), buffer=1) as broadcast,
        broadcast.subscribe("a", presence=True, buffer=9) as other,
    ):
        with pytest.raises(SlowSubscriber):
            async with broadcast.subscribe("a", member="slow"):
                raise AssertionError("it began")
        assert await taken(other) == ["x"] * 4
        assert not await broadcast.members("a")


async def test_subscribers_outlive_the_store(autojump_clock: MockClock) -> None:
    """It is away for a while: publishers are told, subscribers wait, and go on where they were, once."""
    store = Store()
    async with (
        Broadcast(backend=Remote(store)) as one,
        Broadcast(backend=Remote(store)) as other,
        other.subscribe("a") as subscription,
    ):
        for number in range(4):
            await one.publish("a", number)
        assert await taken(subscription) == ["0", "1", "2", "3"]
        store.up = False
        with pytest.raises(ConnectionError):
            await one.publish("a", "lost")
        assert one.counters.published == 4
        with pytest.raises(ConnectionError):
            async with other.subscribe("a"):
                raise AssertionError("it began")
        with pytest.raises(ConnectionError):
            async with other.subscribe("b"):
                raise AssertionError("it began")
        assert (other.subscribers("a"), other.subscribers("b")) == (1, 0)
        assert await taken(subscription) == []
        store.append("a", "4")  # by somebody who was quicker
        store.up = True
        await one.publish("a", 5)
        assert await taken(subscription) == ["4", "5"]
        assert one.counters.published == 5
        assert not subscription.gap


async def test_a_gap_is_told(autojump_clock: MockClock) -> None:
    """More was published while the store could not be reached than it keeps."""
    store = Store(keep=5)
    async with (
        Broadcast(backend=Remote(store)) as broadcast,
        broadcast.subscribe("a") as subscription,
        broadcast.subscribe("b") as unaffected,
    ):
        store.up = False
        await trio.sleep(1)
        for number in range(7):
            store.append("a", str(number))
        store.up = True
        assert await taken(subscription) == ["2", "3", "4", "5", "6"]
        assert subscription.gap
        assert not unaffected.gap


async def test_a_backend_may_go_on_alone(autojump_clock: MockClock) -> None:
    """With messages that reach this process, and that nobody can resume from."""
    store = Store()
    async with (
        Broadcast(backend=Remote(store, local_when_away=True)) as one,
        Broadcast(backend=Remote(store)) as other,
        one.subscribe("a") as here,
        other.subscribe("a") as there,
    ):
        await one.publish("a", 1)
        await trio.sleep(1)
        store.up = False
        assert (await one.publish("a", 2)).id is None
        store.up = True
        await one.publish("a", 3)
        assert await taken(here) == ["1", "2", "3"]
        assert await taken(there) == ["1", "3"]


async def test_who_catches_up_gets_what_has_no_place(autojump_clock: MockClock) -> None:
    """It was not among what was kept; nobody else will tell of it."""
    store = Store()
    async with Broadcast(backend=Remote(store, local_when_away=True)) as broadcast:
        store.append("a", "0")
        async with broadcast.subscribe("a") as subscription:
            assert broadcast._hub.rooms["a"].catching_up
            store.up = False
            await broadcast.publish("a", "alone")
            assert await taken(subscription) == ["alone"]


async def test_members_of_other_processes_are_seen(autojump_clock: MockClock) -> None:
    """As they come and go, by who subscribes and by who asks; one's own are seen once."""
    store = Store()
    async with Broadcast(backend=Remote(store)) as one, Broadcast(backend=Remote(store)) as other:
        async with one.subscribe("a", member="Ann", presence=True) as ann:
            await trio.sleep(1)
            assert [member.data for member in (await other.members("a")).values()] == ["Ann"]
            async with other.subscribe("a", member="Bob", presence=True) as bob:
                assert await taken(bob) == ["+Ann"]
                assert sorted(member.data for member in bob.members.values()) == ["Ann", "Bob"]
                assert await taken(ann) == ["+Bob"]
                assert sorted(member.data for member in ann.members.values()) == ["Ann", "Bob"]
            assert await taken(ann) == ["-Bob"]
            await one.publish("a", "x")
            assert await taken(ann) == ["x"]
        await trio.sleep(1)
        assert await other.members("a") == {}


async def test_the_end_is_told_to_the_others(autojump_clock: MockClock) -> None:
    """A process that shuts down takes its members along, and no topic is watched any more."""
    store = Store()
    backend = Remote(store)
    async with trio.open_nursery() as nursery:

        async def member(*, task_status: trio.TaskStatus[None]) -> None:
            async with broadcast.subscribe("a", member="Ann") as subscription:
                task_status.started()
                assert [message async for message in subscription] == []

        async with Broadcast(backend=backend) as broadcast:
            await nursery.start(member)
            await trio.sleep(1)
            assert len(store.members["a"]) == 1
        assert [what for what, _, _ in backend.notes] == ["leave"]
        assert backend.seen == {}
