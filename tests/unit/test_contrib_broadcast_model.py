"""Broadcast under random subscribers, publishers and readers, beside a slow and obvious model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from trivet.contrib.broadcast import (
    Broadcast,
    Joined,
    Left,
    MemoryBackend,
    Message,
    Present,
    Slow,
    SlowSubscriber,
    Subscription,
)

TOPICS = ("a", "b", "c")
HISTORY = 4
MAX_TOPICS = 2

PUBLISH = st.tuples(st.just("publish"), st.sampled_from(TOPICS))
SUBSCRIBE = st.tuples(
    st.just("subscribe"),
    st.sampled_from(TOPICS),
    st.sampled_from(get_args(Slow)),
    st.integers(1, 3),  # buffer
    st.integers(0, 5),  # history
    st.none() | st.integers(0, 30),  # after the nth message of all
    st.booleans(),  # a member
    st.booleans(),  # told of members
)
READ = st.tuples(st.just("read"), st.integers(0, 9), st.integers(1, 4))
LEAVE = st.tuples(st.just("leave"), st.integers(0, 9))
CANCELLED_READ = st.tuples(st.just("cancelled read"), st.integers(0, 9))
RUNS = st.lists(PUBLISH | PUBLISH | SUBSCRIBE | READ | LEAVE | CANCELLED_READ, max_size=60)

Sent = tuple[int, str]
"""A message's number, counted over all topics, and its topic."""


@dataclass
class Expected:
    """A subscriber as the model has it."""

    name: str
    topic: str
    slow: Slow
    buffer: int
    member: bool
    told: bool
    history: list[str]
    """What it gets first."""
    queue: list[str] = field(default_factory=list)
    dropped: int = 0
    gap: bool = False
    gone: bool = False
    leave: trio.Event = field(default_factory=trio.Event)
    real: Subscription[Any] = field(init=False)
    must_go: bool = False
    said: int = 0
    places: dict[str, int] = field(default_factory=dict)
    """Of news: behind how many messages."""

    @property
    def messages(self) -> list[str]:
        return [each for each in self.queue if each[0] not in "+-="]

    def offer(self, item: str) -> None:
        waiting = self.messages
        if len(waiting) < self.buffer or (self.slow == "block" and len(waiting) < 2 * self.buffer):
            self.queue.append(item)
            self.said += 1
        elif self.slow == "drop_oldest":
            self.queue.remove(waiting[0])
            self.queue.append(item)
            self.said += 1
            self.dropped += 1
        elif self.slow == "drop_new":
            self.dropped += 1
        else:
            self.dropped += 1
            self.must_go = True

    def news(self, item: str) -> None:
        waiting = [each for each in self.queue if each[0] in "+-"]
        opposite = {"+": "-", "-": "+"}[item[0]] + item[1:]
        if "=" in self.queue:
            pass
        elif opposite in waiting and self.places[opposite] == self.said:
            self.queue.remove(opposite)
        elif len(waiting) < self.buffer:
            self.queue.append(item)
            self.places[item] = self.said
        else:
            self.queue[self.queue.index(waiting[0])] = "="
            self.queue = [each for each in self.queue if each[0] not in "+-"]


class Model:
    """All that was ever published, in one list; everything else is looked up in it."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.here: list[Expected] = []
        self.ids: list[str] = []
        self.going: list[Expected] = []
        self.disconnected = 0

    def kept(self, topic: str) -> list[int]:
        """The messages of a topic that are kept: none, if too many other topics have had one since."""
        recent: list[str] = []
        for _, each in reversed(self.sent):
            if each not in recent:
                recent.append(each)
        if topic not in recent[:MAX_TOPICS]:
            return []
        # A topic that was forgotten begins anew, when it is published to again.
        first = 0
        for end in range(len(self.sent)):
            before: list[str] = []
            for _, each in reversed(self.sent[: end + 1]):
                if each not in before:
                    before.append(each)
            if topic not in before[:MAX_TOPICS]:
                first = end + 1
        return [number for number, each in self.sent[first:] if each == topic][-HISTORY:]

    def members(self, topic: str) -> list[str]:
        return sorted(each.name for each in self.here if each.topic == topic and each.member)

    def publish(self, topic: str) -> None:
        number = len(self.sent)
        self.sent.append((number, topic))
        for each in self.here:
            if each.topic == topic:
                each.offer(str(number))
                if each.must_go:
                    self.going.append(each)

    def tell(self, topic: str, item: str) -> None:
        for each in self.here:
            if each.topic == topic and each.told:
                each.news(item)

    def expel(self) -> None:
        while self.going:
            self.disconnected += 1
            gone = self.going.pop(0)
            gone.dropped += len(gone.messages) + len(gone.history)
            self.remove(gone)

    def remove(self, gone: Expected) -> None:
        gone.gone = True
        self.here.remove(gone)
        if gone.member:
            self.tell(gone.topic, f"-{gone.name}")

    def join(self, new: Expected) -> None:
        told, new.told = new.told, False
        self.here.append(new)
        if new.member:
            self.tell(new.topic, f"+{new.name}")
        new.told = told  # of what comes from now on


def shown(item: Message | Joined | Left | Present, members: list[str]) -> str:
    if isinstance(item, Message):
        return item.data
    if isinstance(item, Present):
        assert sorted(member.data for member in item.members.values()) == members
        return "="
    return ("+" if isinstance(item, Joined) else "-") + item.member.data


async def subscriber(
    broadcast: Broadcast, expected: Expected, after: str | None, history: int, *, task_status: trio.TaskStatus[None]
) -> None:
    wanted: dict[str, Any] = {"member": expected.name if expected.member else None, "presence": expected.told}
    try:
        async with broadcast.subscribe(
            expected.topic, slow=expected.slow, buffer=expected.buffer, after=after, history=history, **wanted
        ) as subscription:
            expected.real = subscription
            task_status.started()
            await expected.leave.wait()
    except SlowSubscriber:
        assert expected.gone
        assert not expected.leave.is_set()
    else:
        assert expected.leave.is_set()


async def play(run: list[tuple[Any, ...]]) -> None:
    model = Model()
    backend = MemoryBackend(max_topics=MAX_TOPICS)
    async with (
        Broadcast(history=HISTORY, backend=backend, block_timeout=5) as broadcast,
        trio.open_nursery() as nursery,
    ):
        everybody: list[Expected] = []
        for kind, *arguments in run:
            if kind == "publish":
                nursery.start_soon(publish, broadcast, arguments[0], model)
            elif kind == "subscribe":
                topic, slow, buffer, history, after, member, told = arguments
                kept = model.kept(topic)
                expected = Expected(f"s{len(everybody)}", topic, slow, buffer, member, told, [])
                given = None if after is None else model.ids[after] if after < len(model.ids) else ""
                if given is None:
                    expected.history = [str(number) for number in kept[max(0, len(kept) - history) :]]
                elif given == "":
                    expected.history = [str(number) for number in kept]
                    expected.gap = True
                else:
                    expected.history = [str(number) for number in kept if number > after]
                    missed = [number for number, each in model.sent if each == topic and number > after]
                    expected.gap = len(missed) > len(expected.history)
                everybody.append(expected)
                model.join(expected)
                await nursery.start(subscriber, broadcast, expected, given, history)
            elif model.here:
                expected = model.here[arguments[0] % len(model.here)]
                if kind == "leave":
                    model.remove(expected)
                    expected.leave.set()
                elif kind == "cancelled read":
                    with trio.CancelScope() as scope:
                        scope.cancel()
                        await expected.real.receive()
                else:
                    for _ in range(arguments[1]):
                        waits = expected.history or expected.queue
                        if waits:
                            assert shown(await expected.real.receive(), model.members(expected.topic)) == waits.pop(0)
            await wait_all_tasks_blocked()
            check(broadcast, model, everybody)
        for each in everybody:
            each.leave.set()


async def publish(broadcast: Broadcast, topic: str, model: Model) -> None:
    number = len(model.sent)
    model.publish(topic)
    model.expel()
    message = broadcast.publish(topic, str(number))
    model.ids.append("")
    model.ids[number] = (await message).id or ""


def check(broadcast: Broadcast, model: Model, everybody: list[Expected]) -> None:
    assert broadcast.counters.subscribers == len(model.here)
    assert broadcast.counters.disconnected == model.disconnected
    for topic in TOPICS:
        assert broadcast.subscribers(topic) == len([each for each in model.here if each.topic == topic])
    assert broadcast.counters.dropped == sum(each.real.dropped for each in everybody)
    for each in everybody:
        assert each.real.dropped == each.dropped
    for each in model.here:
        assert each.real.gap >= each.gap  # it may say so to be sure, where what was forgotten was of another topic
        assert sorted(member.data for member in each.real.members.values()) == model.members(each.topic)


@given(RUNS)
def test_subscribers_get_what_the_model_says(run: list[tuple[Any, ...]]) -> None:
    """Every message in order, once, less what a policy drops; news of members in their places, as few as say it all."""
    trio.run(play, run, clock=MockClock())
