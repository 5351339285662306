"""Broadcast in one process: what subscribers get, what becomes of slow ones, who is there, and how it ends."""

from __future__ import annotations

import gc
import inspect
import itertools
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, get_args

import msgspec
import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from tests.harness import Golden
from tests.unit.linear import growth
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
from trivet.contrib.redis import Redis, RedisBroadcast
from trivet.errors import RegistrationError


async def waiting(subscription: Subscription[Message]) -> list[str]:
    """What waits for a subscriber, which it takes."""
    found: list[str] = []

    async def take() -> None:
        while True:
            found.append((await subscription.receive()).data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return found


class Point(msgspec.Struct):
    x: int


# ---- messages


async def test_all_subscribers_of_a_topic_get_one_message() -> None:
    """The same object, and those of other topics do not."""
    async with (
        Broadcast() as broadcast,
        broadcast.subscribe("a") as one,
        broadcast.subscribe("a") as two,
        broadcast.subscribe("b") as other,
    ):
        sent = await broadcast.publish("a", {"x": 1})
        assert (sent.topic, sent.data) == ("a", '{"x":1}')
        assert await one.receive() is await two.receive() is sent
        assert await waiting(other) == []
        assert await broadcast.publish("nobody", 1) is not None


async def test_text_is_sent_as_it_is_and_values_as_json() -> None:
    """As `Event` has it; and a value is read again as the type that is wanted."""
    async with Broadcast() as broadcast, broadcast.subscribe("a") as subscription:
        for value, data in [('{"x": 2}', '{"x": 2}'), (Point(3), '{"x":3}'), ([1, None], "[1,null]"), ("", "")]:
            assert (await broadcast.publish("a", value)).data == data
        assert (await subscription.receive()).json(Point) == Point(2)
        message = await subscription.receive()
        assert message.json(Point) == Point(3)
        assert message.json() == {"x": 3}
        with pytest.raises(msgspec.ValidationError):
            (await subscription.receive()).json(Point)


WRONG_USE: dict[str, Callable[[Broadcast], object]] = {
    "value_bytes": lambda broadcast: broadcast.publish("a", b"text"),
    "value_surrogate": lambda broadcast: broadcast.publish("a", "a\ud800"),
    "topic": lambda broadcast: broadcast.publish(7, "x"),  # type: ignore[arg-type]
    "topic_none": lambda broadcast: broadcast.members(None),  # type: ignore[arg-type]
    "topic_bytes": lambda broadcast: broadcast.subscribe(b"a"),  # type: ignore[call-overload]
    "topic_counted": lambda broadcast: broadcast.subscribers(7),  # type: ignore[arg-type]
    "after": lambda broadcast: broadcast.subscribe("a", after=3),  # type: ignore[call-overload]
    "member_bytes": lambda broadcast: broadcast.subscribe("a", member=b"Ann"),
}


@pytest.mark.parametrize("name", WRONG_USE)
async def test_what_is_wrong_is_refused_where_it_is_given(name: str, golden: Golden) -> None:
    """By what is called, not by a subscriber or a backend later; and nobody gets anything."""
    async with Broadcast() as broadcast, broadcast.subscribe("a", presence=True) as subscription:
        with pytest.raises((TypeError, ValueError)) as caught:  # noqa: PT012
            given = WRONG_USE[name](broadcast)
            if inspect.isawaitable(given):
                await given
        golden(f"contrib/broadcast_{name}", f"{type(caught.value).__name__}: {caught.value}")
        assert await waiting(subscription) == []  # type: ignore[arg-type]


async def test_what_is_no_json_cannot_be_published(golden: Golden) -> None:
    """The message names the type; nobody gets anything."""
    async with Broadcast() as broadcast, broadcast.subscribe("a") as subscription:
        with pytest.raises(TypeError) as caught:
            await broadcast.publish("a", object())
        golden("contrib/broadcast_value", str(caught.value))
        assert await waiting(subscription) == []


async def test_iteration_ends_with_the_broadcast() -> None:
    """After what has been published; `receive` says so with `EndOfChannel`."""
    got: list[str] = []
    ended: list[str] = []

    async def follow(how: str, *, task_status: trio.TaskStatus[None]) -> None:
        async with broadcast.subscribe("a") as subscription:
            task_status.started()
            if how == "iterate":
                got.extend([message.data async for message in subscription])
            else:
                with pytest.raises(trio.EndOfChannel):
                    await subscription.receive()
        ended.append(how)

    async with trio.open_nursery() as nursery:  # noqa: SIM117 - it outlives the broadcast
        async with Broadcast() as broadcast:
            await nursery.start(follow, "iterate")
            await broadcast.publish("a", "last")
            await trio.testing.wait_all_tasks_blocked()
            await nursery.start(follow, "receive")
    assert got == ["last"]
    assert sorted(ended) == ["iterate", "receive"]
    assert broadcast.counters.subscribers == 0


async def test_what_waits_is_given_before_the_end() -> None:
    """A subscriber that was busy when the broadcast ended misses nothing."""
    async with trio.open_nursery() as nursery:
        leave = trio.Event()

        async def busy(*, task_status: trio.TaskStatus[None]) -> None:
            async with broadcast.subscribe("a") as subscription:
                task_status.started()
                await leave.wait()
                assert [message.data async for message in subscription] == ["1", "2"]

        async with Broadcast() as broadcast:
            await nursery.start(busy)
            await broadcast.publish("a", 1)
            await broadcast.publish("a", 2)
        leave.set()


async def test_a_cancelled_receive_loses_nothing() -> None:
    """Neither one that waited when the message came in the same step, nor one that found it there."""
    async with Broadcast() as broadcast, broadcast.subscribe("a") as subscription:
        scope = trio.CancelScope()
        got: list[str] = []

        async def reader() -> None:
            with scope:
                got.append((await subscription.receive()).data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            scope.cancel()  # before the message: the reader is woken by this, and must not take it
            await broadcast.publish("a", 1)
        assert got == []
        with trio.CancelScope() as cancelled:
            cancelled.cancel()
            await subscription.receive()
        assert cancelled.cancelled_caught
        assert await waiting(subscription) == ["1"]


async def test_a_message_that_was_taken_is_given() -> None:
    """Although its reader was cancelled in the same step; both orders of the two tasks occur."""
    async with Broadcast() as broadcast, broadcast.subscribe("a") as subscription:
        got: list[str] = []

        async def reader() -> None:
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel, scope)
                got.append((await subscription.receive()).data)

        async def cancel(scope: trio.CancelScope) -> None:
            scope.cancel()

        for number in range(30):
            await broadcast.publish("a", number)
        for _ in range(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reader)
        assert got + await waiting(subscription) == [str(number) for number in range(30)]


async def test_a_message_that_woke_its_reader_is_taken_although_it_is_cancelled_then() -> None:
    """The other order: it was given to it, and that counts."""
    async with Broadcast() as broadcast, broadcast.subscribe("a") as subscription:
        scope = trio.CancelScope()
        got: list[str] = []

        async def reader() -> None:
            with scope:
                got.append((await subscription.receive()).data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            await broadcast.publish("a", 1)
            scope.cancel()
        assert got + await waiting(subscription) == ["1"]


async def test_one_task_at_a_time_waits() -> None:
    """A second one is told so, and disturbs nothing."""
    async with Broadcast() as broadcast, broadcast.subscribe("a") as subscription:
        got: list[str] = []

        async def reader() -> None:
            got.append((await subscription.receive()).data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await subscription.receive()
            await broadcast.publish("a", 1)
        assert got == ["1"]


async def test_a_reader_whose_message_another_task_took_goes_on_waiting() -> None:
    """It was woken, and found nothing."""
    async with Broadcast() as broadcast, broadcast.subscribe("a") as subscription:
        got: list[str] = []

        async def reader() -> None:
            got.append((await subscription.receive()).data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            await wait_all_tasks_blocked()
            await subscription_raced(broadcast, subscription)
            await wait_all_tasks_blocked()
            assert got == []
            await broadcast.publish("a", 2)
        assert got == ["2"]


async def subscription_raced(broadcast: Broadcast, subscription: Subscription[Message]) -> None:
    """Publish, and take the message in the same step, before the reader that was woken runs."""
    hub = broadcast._hub
    await hub.deliver(Message("1", "a", None, None))
    assert subscription._take().data == "1"


async def test_everything_that_is_awaited_is_a_checkpoint() -> None:
    """Also where nothing waits, but `receive`; a cancelled publisher has published to nobody."""
    async with Broadcast(history=9) as broadcast:
        with assert_checkpoints():
            await broadcast.publish("a", 1)
        with assert_checkpoints():
            await broadcast.members("a")
        subscribing = broadcast.subscribe("a", history=1)
        with assert_checkpoints():
            subscription = await subscribing.__aenter__()
        await subscription.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            await broadcast.publish("a", 2)
        assert scope.cancelled_caught
        assert await waiting(subscription) == []
        await subscribing.__aexit__(None, None, None)


async def test_a_reader_with_much_to_read_lets_others_have_their_turn() -> None:
    """It takes what waits sixteen messages at a time, and is cancelled between any two of them."""
    async with Broadcast(history=99) as broadcast, trio.open_nursery() as nursery:
        for number in range(40):
            await broadcast.publish("a", number)
        async with broadcast.subscribe("a", history=40) as subscription:
            taken: list[int] = []

            async def other() -> None:
                while True:
                    await trio.lowlevel.checkpoint()
                    taken.append(subscription.delivered)

            nursery.start_soon(other)
            await trio.lowlevel.checkpoint()
            for _ in range(39):
                await subscription.receive()
            assert {16, 32} & set(taken)
            with trio.CancelScope() as scope:
                scope.cancel()
                await subscription.receive()
            assert scope.cancelled_caught
            assert (await subscription.receive()).data == "39"
        nursery.cancel_scope.cancel()


# ---- slow subscribers


@pytest.mark.parametrize(("slow", "expected"), [("drop_oldest", ["3", "4", "5"]), ("drop_new", ["1", "2", "3"])])
async def test_what_is_too_much_is_dropped_and_counted(slow: Slow, expected: list[str]) -> None:
    """From whichever end the policy says; one that reads gets all."""
    async with (
        Broadcast(buffer=3, slow=slow) as broadcast,
        broadcast.subscribe("a") as stuck,
        broadcast.subscribe("a", buffer=5) as other,
    ):
        for number in range(1, 6):
            await broadcast.publish("a", number)
        assert (stuck.dropped, other.dropped) == (2, 0)
        assert await waiting(stuck) == expected
        assert await waiting(other) == ["1", "2", "3", "4", "5"]
        assert (stuck.delivered, other.delivered) == (3, 5)
        counters = broadcast.counters
        assert (counters.published, counters.delivered, counters.dropped, counters.subscribers) == (5, 8, 2, 2)


async def test_a_subscriber_that_must_go_is_cancelled_with_its_children() -> None:
    """At once: it is no subscriber any more when `publish` returns, its memory is free, and its nursery ends."""
    async with Broadcast(buffer=2) as broadcast:
        cancelled = trio.Event()

        async def child() -> None:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        async def stuck(*, task_status: trio.TaskStatus[Subscription[Message]]) -> None:
            with pytest.raises(SlowSubscriber, match="more than 2 waited"):  # noqa: PT012
                async with broadcast.subscribe("a") as subscription, trio.open_nursery() as nursery:
                    nursery.start_soon(child)
                    task_status.started(subscription)
                    await trio.sleep_forever()

        async with trio.open_nursery() as nursery, broadcast.subscribe("a", buffer=9) as other:
            slow = await nursery.start(stuck)
            for number in range(3):
                await broadcast.publish("a", number)
            assert broadcast.subscribers("a") == 1
            assert not slow._queue
            await cancelled.wait()
            assert await waiting(other) == ["0", "1", "2"]
        assert (broadcast.counters.disconnected, broadcast.counters.dropped) == (1, 3)


async def test_a_subscriber_that_must_go_while_it_waits_is_told() -> None:
    """Woken by the first message, it is out already when it runs. An end as if all were over would hide that."""
    told: list[str] = []

    async def listen(broadcast: Broadcast) -> None:
        try:
            async with broadcast.subscribe("a") as subscription:
                async for _ in subscription:
                    pass
            told.append("the end")
        except SlowSubscriber:
            told.append("too slow")

    async with Broadcast(buffer=2) as broadcast:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, broadcast)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(3):
                nursery.start_soon(broadcast.publish, "a", number)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        # In whichever order the scheduler runs them: it was told, or it has kept up.
        assert told == (["too slow"] if broadcast.counters.disconnected else [])


async def test_what_the_body_raises_is_not_masked_when_it_must_go() -> None:
    """An error of its own counts for more than that it was slow."""
    async with Broadcast(buffer=1) as broadcast:
        with pytest.raises(KeyError):  # noqa: PT012
            async with broadcast.subscribe("a"):
                await broadcast.publish("a", 1)
                await broadcast.publish("a", 2)
                raise KeyError
        async with broadcast.subscribe("a"):
            await broadcast.publish("a", 1)
            await broadcast.publish("a", 2)
            # It ends here by itself, and nobody has to know.


async def test_a_publisher_waits_for_those_who_block(autojump_clock: MockClock) -> None:
    """Until there is room again; the others have had the message meanwhile, and all have one order."""
    async with (
        Broadcast(buffer=1, slow="block", block_timeout=10) as broadcast,
        broadcast.subscribe("a") as slow,
        broadcast.subscribe("a", buffer=9) as fast,
        trio.open_nursery() as nursery,
    ):
        await broadcast.publish("a", 1)
        start = trio.current_time()
        nursery.start_soon(broadcast.publish, "a", 2)
        await wait_all_tasks_blocked()
        assert await waiting(fast) == ["1", "2"]
        await trio.sleep(9)
        assert (await slow.receive()).data == "1"
        nursery.start_soon(broadcast.publish, "a", 3)
        await trio.sleep(9)
        assert await waiting(slow) == ["2", "3"]
        assert trio.current_time() - start == 18
        assert broadcast.counters.disconnected == 0


async def test_a_publisher_does_not_wait_for_ever(autojump_clock: MockClock) -> None:
    """When its time is over those who are still too slow go, and only those."""
    async with Broadcast(buffer=1, slow="block", block_timeout=5) as broadcast, trio.open_nursery() as nursery:
        outcome: list[str] = []

        async def subscriber(name: str, pause: float, *, task_status: trio.TaskStatus[None]) -> None:
            try:
                async with broadcast.subscribe("a") as subscription:
                    task_status.started()
                    await trio.sleep(pause)
                    async for message in subscription:
                        outcome.append(f"{name} {message.data}")  # noqa: PERF401 - what came before it had to go
            except SlowSubscriber:
                outcome.append(f"{name} gone")

        await nursery.start(subscriber, "quick", 4)
        await nursery.start(subscriber, "slow", 6)
        await broadcast.publish("a", 1)
        start = trio.current_time()
        await broadcast.publish("a", 2)
        assert trio.current_time() - start == 5
        await wait_all_tasks_blocked()
        assert sorted(outcome) == ["quick 1", "quick 2", "slow gone"]
        nursery.cancel_scope.cancel()


async def test_a_publisher_is_released_by_a_subscriber_that_leaves(autojump_clock: MockClock) -> None:
    """It waits for nobody who is not there."""
    async with Broadcast(buffer=1, slow="block", block_timeout=50) as broadcast, trio.open_nursery() as nursery:  # noqa: SIM117
        async with broadcast.subscribe("a"):
            await broadcast.publish("a", 1)
            nursery.start_soon(broadcast.publish, "a", 2)
            await trio.sleep(3)
            start = trio.current_time()
    assert trio.current_time() == start


async def test_publishers_that_are_cancelled_do_not_fill_the_memory() -> None:
    """Each has published; a queue of twice its bound is the end of its subscriber."""
    async with Broadcast(buffer=3, slow="block") as broadcast:
        with pytest.raises(SlowSubscriber):  # noqa: PT012
            async with broadcast.subscribe("a") as subscription:
                for number in range(6):
                    assert len(subscription._queue) == number
                    with trio.move_on_after(0.001) if number >= 3 else trio.CancelScope():
                        await broadcast.publish("a", number)
                assert broadcast.subscribers("a") == 1
                await broadcast.publish("a", 6)
                await trio.sleep_forever()
        assert broadcast.counters.published == 7


# ---- history


async def test_what_was_kept_comes_before_what_is_published() -> None:
    """As many of the last messages as are asked for, at most as many as are kept."""
    async with Broadcast(history=3, buffer=1) as broadcast:
        for number in range(5):
            await broadcast.publish("a", number)
        for history, expected in [(0, []), (2, ["3", "4"]), (99, ["2", "3", "4"])]:
            async with broadcast.subscribe("a", history=history) as subscription:
                await broadcast.publish("b", "other")
                assert await waiting(subscription) == expected
                assert not subscription.gap


async def test_resuming_leaves_no_gap_and_repeats_nothing() -> None:
    """From the id of any message that is kept, or of the one before the first of them."""
    async with Broadcast(history=3) as broadcast:
        ids = [(await broadcast.publish("a", number)).id for number in range(5)]
        for after, expected, gap in [
            (0, ["2", "3", "4"], True),
            (1, ["2", "3", "4"], False),
            (3, ["4"], False),
            (4, [], False),
        ]:
            async with broadcast.subscribe("a", after=ids[after], history=1) as subscription:
                assert await waiting(subscription) == expected
                assert subscription.gap is gap
                await broadcast.publish("b", "other")


@pytest.mark.parametrize(
    "after", ["", "7", "-", "x-1", "{epoch}-", "{epoch}--1", "{epoch}-²", "{epoch}-99", "{epoch}-" + "9" * 40, "\0"]
)
async def test_an_id_that_is_none_of_ours_gives_all_that_is_kept(after: str) -> None:
    """From before a restart, or made up: the client learns that something may be missing."""
    async with Broadcast(history=3) as broadcast:
        message = await broadcast.publish("a", 1)
        assert message.id is not None
        epoch = message.id.partition("-")[0]
        async with broadcast.subscribe("a", after=after.format(epoch=epoch)) as subscription:
            assert await waiting(subscription) == ["1"]
            assert subscription.gap


async def test_an_id_of_another_instance_is_not_taken_for_ours() -> None:
    """Both count from one."""
    async with Broadcast(history=3) as before, Broadcast(history=3) as broadcast:
        old = await before.publish("a", 1)
        await broadcast.publish("a", 2)
        async with broadcast.subscribe("a", after=old.id) as subscription:
            assert await waiting(subscription) == ["2"]
            assert subscription.gap


async def test_topics_are_forgotten_when_there_are_too_many() -> None:
    """The one that was published to least recently; who resumes there is told, also when it is back."""
    async with Broadcast(history=9, backend=MemoryBackend(max_topics=2)) as broadcast:
        first = await broadcast.publish("a", 1)
        await broadcast.publish("b", 2)
        again = await broadcast.publish("a", 3)
        await broadcast.publish("c", 4)
        for topic, after, expected, gap in [
            ("b", first.id, [], True),
            ("b", again.id, [], False),
            ("a", first.id, ["3"], False),
            ("c", again.id, ["4"], False),
        ]:
            async with broadcast.subscribe(topic, after=after) as subscription:
                assert (await waiting(subscription), subscription.gap) == (expected, gap), topic
        await broadcast.publish("b", 5)  # "a" goes
        async with broadcast.subscribe("b", after=first.id) as subscription:
            assert (await waiting(subscription), subscription.gap) == (["5"], True)


async def test_to_forget_a_topic_costs_the_same_however_many_are_kept() -> None:
    """Also behind the places of thousands that were published to again."""

    def kept(count: int) -> MemoryBackend:
        backend = MemoryBackend(max_topics=count)
        backend._history = 1
        for number in (*range(count), *range(count * 11 // 20)):
            backend._keep(Message("", str(number), "", 1), 1)
        return backend

    backends = {count: kept(count) for count in (1700, 16 * 1700)}
    names = itertools.count()

    def forget_some(count: int) -> None:
        for _ in range(200):
            backends[count]._keep(Message("", f"new {next(names)}", "", 1), 1)

    assert growth(forget_some, 1700) < 3


async def test_without_history_nobody_can_resume_but_who_has_missed_nothing() -> None:
    """And no topic is remembered."""
    backend = MemoryBackend()
    async with Broadcast(backend=backend) as broadcast:
        first = await broadcast.publish("a", 1)
        async with broadcast.subscribe("a", after=first.id) as subscription:
            assert not subscription.gap
        await broadcast.publish("a", 2)
        async with broadcast.subscribe("a", after=first.id) as subscription:
            assert subscription.gap
        assert not backend._records


# ---- presence


async def test_members_are_seen_as_they_come_and_go() -> None:
    """In order with the messages; nobody is told of itself, or of who was there already."""
    async with Broadcast() as broadcast:
        async with broadcast.subscribe("a", member={"name": "Ann"}, presence=True) as ann:
            assert [member.json() for member in ann.members.values()] == [{"name": "Ann"}]
            await broadcast.publish("a", "hello")
            async with broadcast.subscribe("a", member="Bob", presence=True) as bob:
                assert [member.data for member in bob.members.values()] == ['{"name":"Ann"}', "Bob"]
                assert await broadcast.members("a") == bob.members
                assert bob.member in bob.members.values()
                await broadcast.publish("a", "hi")
                news: list[object] = [await bob.receive()]
            news += [await ann.receive() for _ in range(4)]
        kinds = [(type(each), each.data if isinstance(each, Message) else each.member.data) for each in news]  # type: ignore[attr-defined]
        assert kinds == [(Message, "hi"), (Message, "hello"), (Joined, "Bob"), (Message, "hi"), (Left, "Bob")]
        assert await broadcast.members("a") == {}


async def test_who_does_not_ask_is_not_told_of_members() -> None:
    """Nor is one that is nobody seen by the others."""
    async with (
        Broadcast() as broadcast,
        broadcast.subscribe("a", member="Ann") as ann,
        broadcast.subscribe("a", presence=True) as watcher,
        broadcast.subscribe("a"),
    ):
        assert await waiting(ann) == []
        async with broadcast.subscribe("a", member=0):
            item = await watcher.receive()
            assert isinstance(item, Joined)
            assert item.member.data == "0"
        assert len(await broadcast.members("a")) == 1


async def test_one_that_must_go_has_left_for_the_others_at_once() -> None:
    """Although its task still unwinds."""
    async with Broadcast(buffer=2) as broadcast, trio.open_nursery() as nursery:
        unwinding = trio.Event()

        async def stuck(name: str, *, task_status: trio.TaskStatus[None]) -> None:
            with pytest.raises(SlowSubscriber):  # noqa: PT012
                async with broadcast.subscribe("a", member=name, buffer=len(name)):
                    task_status.started()
                    try:
                        await trio.sleep_forever()
                    finally:
                        with trio.CancelScope(shield=True):
                            await unwinding.wait()

        async with broadcast.subscribe("a", presence=True, buffer=99) as watcher:
            for name in ("333", "22", "1"):
                await nursery.start(stuck, name)
            seen: list[Any] = [await watcher.receive() for _ in range(3)]
            for left in (3, 2, 1):
                await broadcast.publish("a", "x")
                assert broadcast.subscribers("a") == 1 + left
            await broadcast.publish("a", "y")
            assert broadcast.subscribers("a") == 1
            assert await broadcast.members("a") == {}
            unwinding.set()
            seen += [await watcher.receive() for _ in range(7)]
        assert [each.data if isinstance(each, Message) else each.member.data for each in seen] == [
            "333", "22", "1", "x", "x", "1", "x", "22", "y", "333"
        ]  # fmt: skip


async def test_a_member_that_dies_has_left() -> None:
    """By an error, and by cancellation, without anything to wait for."""
    async with Broadcast() as broadcast, broadcast.subscribe("a", presence=True) as watcher:
        with pytest.raises(ZeroDivisionError):
            async with broadcast.subscribe("a", member=1):
                raise ZeroDivisionError
        with trio.CancelScope() as scope:
            async with broadcast.subscribe("a", member=2):
                scope.cancel()
                await trio.sleep_forever()
        assert await broadcast.members("a") == {}
        async with broadcast.subscribe("a", member=3):
            joined = await watcher.receive()  # and nothing of those who have come and gone
        left = await watcher.receive()
        assert isinstance(joined, Joined)
        assert isinstance(left, Left)
        assert joined.member is left.member
        assert joined.member.data == "3"


async def test_nobody_has_to_go_for_news_of_members() -> None:
    """However many come at once. Each reader can say who is there, and those who are stuck cost a bounded memory."""
    rng = random.Random(7)
    async with Broadcast(buffer=16) as broadcast, trio.open_nursery() as nursery:
        seen: list[set[str]] = []
        readers: list[Subscription[Any]] = []

        async def come(number: int) -> None:
            async with broadcast.subscribe("a", member=number, presence=True) as subscription:
                here = set(subscription.members)
                seen.append(here)
                readers.append(subscription)
                if number % 10 == 0:
                    await trio.sleep_forever()
                async for item in subscription:
                    match item:
                        case Joined(member):
                            here.add(member.id)
                        case Left(member):
                            here.remove(member.id)
                        case Present(members):
                            here.clear()
                            here.update(members)
                        case _:
                            pytest.fail("nothing was published")

        crowds = [trio.CancelScope() for _ in range(10)]

        async def crowd(scope: trio.CancelScope) -> None:
            with scope:
                async with trio.open_nursery() as group:
                    for number in range(30):
                        group.start_soon(come, number)
                        if rng.random() < 0.2:
                            await trio.lowlevel.checkpoint()

        for scope in crowds:
            nursery.start_soon(crowd, scope)
        await wait_all_tasks_blocked()
        for scope in rng.sample(crowds, 4):
            scope.cancel()
        await wait_all_tasks_blocked()
        members = set(await broadcast.members("a"))
        assert len(members) == broadcast.subscribers("a") == 180
        assert (broadcast.counters.disconnected, broadcast.counters.dropped) == (0, 0)
        living = [(here, each) for here, each in zip(seen, readers, strict=True) if each in broadcast._hub.rooms["a"]]
        stuck = [each for _, each in living if each._news]
        assert len(stuck) == 18
        assert all(here == members for here, each in living if each not in stuck)
        assert all(each._news is not None and len(each._news._each or ()) <= 16 for each in stuck)
        nursery.cancel_scope.cancel()


async def test_too_many_news_are_told_at_once_in_their_place() -> None:
    """Where the first of them was, as it is when it is taken; then one by one again. Messages do not count for it."""
    async with (
        Broadcast(buffer=2) as broadcast,
        broadcast.subscribe("a", presence=True) as watcher,
        AsyncExitStack() as stack,
    ):
        await broadcast.publish("a", "1")
        for number in range(4):
            await stack.enter_async_context(broadcast.subscribe("a", member=number))
            if number == 1:
                await broadcast.publish("a", "2")
        first, everybody, last = [await watcher.receive() for _ in range(3)]
        assert isinstance(everybody, Present)
        assert sorted(member.data for member in everybody.members.values()) == ["0", "1", "2", "3"]
        assert [each.data for each in (first, last) if isinstance(each, Message)] == ["1", "2"]
        await stack.enter_async_context(broadcast.subscribe("a", member=4))
        news = await watcher.receive()
        assert isinstance(news, Joined)
        assert news.member.data == "4"


# ---- its life


async def test_nothing_is_left_of_those_who_leave() -> None:
    """Hundreds of cancelled subscribers leave no topic, no counter and no object."""
    async with Broadcast() as broadcast:
        async with trio.open_nursery() as nursery:

            async def one(number: int) -> None:
                async with broadcast.subscribe(f"topic {number % 7}", member=number, presence=True) as subscription:
                    async for _ in subscription:
                        pass

            for number in range(300):
                nursery.start_soon(one, number)
            await wait_all_tasks_blocked()
            await broadcast.publish("topic 3", "x")
            assert broadcast.counters.subscribers == 300
            nursery.cancel_scope.cancel()
        assert broadcast.counters.subscribers == 0
        assert broadcast._hub.rooms == {}
    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, Subscription)] == []


@pytest.mark.parametrize("name", ["publish", "subscribe", "members"])
async def test_it_works_only_while_it_is_entered(name: str, golden: Golden) -> None:
    """Before and after; the message shows where to enter it."""
    broadcast = Broadcast()

    async def use() -> None:
        if name == "publish":
            await broadcast.publish("a", 1)
        elif name == "members":
            await broadcast.members("a")
        else:
            async with broadcast.subscribe("a"):
                pass

    for _ in range(2):
        with pytest.raises(RuntimeError) as caught:
            await use()
        async with broadcast:
            await use()
    golden(f"contrib/broadcast_not_entered_{name}", str(caught.value))


async def test_it_is_entered_once() -> None:
    """Who enters it again would end it for the others."""
    async with Broadcast() as broadcast, broadcast.subscribe("a") as subscription:
        with pytest.raises(RuntimeError, match="entered already"):
            await broadcast.__aenter__()
        await broadcast.publish("a", 1)
        assert await waiting(subscription) == ["1"]


WRONG: dict[str, Callable[[], object]] = {
    "history": lambda: Broadcast(history=-1),
    "buffer": lambda: Broadcast(buffer=0),
    "slow": lambda: Broadcast(slow="drop"),  # type: ignore[arg-type]
    "history_type": lambda: Broadcast(history="100"),  # type: ignore[arg-type]
    "block_timeout": lambda: Broadcast(block_timeout=0),
    "block_timeout_type": lambda: Broadcast(block_timeout="10"),  # type: ignore[arg-type]
    "block_timeout_huge": lambda: Broadcast(block_timeout=1e300),
    "backend_class": lambda: Broadcast(backend=MemoryBackend),  # type: ignore[arg-type]
    "backend_redis": lambda: Broadcast(backend=Redis("redis://:secret@localhost")),  # type: ignore[arg-type]
    "backend_redis_class": lambda: Broadcast(backend=RedisBroadcast),  # type: ignore[arg-type]
    "backend_mapping": lambda: Broadcast(backend={}),  # type: ignore[arg-type]
    "backend_type": lambda: Broadcast(backend="redis://localhost"),  # type: ignore[arg-type]
    "max_topics": lambda: MemoryBackend(max_topics=True),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_when_it_is_made(name: str, golden: Golden) -> None:
    """With the remedy."""
    with pytest.raises(RegistrationError) as caught:
        WRONG[name]()
    golden(f"contrib/broadcast_{name}", str(caught.value))


@pytest.mark.parametrize("name", ["iterated", "awaited"])
async def test_a_subscriber_that_is_not_entered_says_what_to_write(name: str, golden: Golden) -> None:
    """Instead of naming a method that it does not have."""
    async with Broadcast() as broadcast:
        with pytest.raises(TypeError) as caught:  # noqa: PT012
            if name == "iterated":
                async for _ in broadcast.subscribe("a"):  # type: ignore[attr-defined]
                    pass
            else:
                await broadcast.subscribe("a")  # type: ignore[misc]
        assert broadcast.counters.subscribers == 0
    golden(f"contrib/broadcast_{name}", str(caught.value))


async def test_what_is_wrong_of_a_subscription_is_refused() -> None:
    """By the same words, when it is subscribed."""
    async with Broadcast() as broadcast:
        wrong: list[dict[str, Any]] = [{"history": -1}, {"buffer": 0}, {"slow": "drop"}, {"buffer": True}]
        for arguments in wrong:
            with pytest.raises(ValueError, match="Write "):
                broadcast.subscribe("a", **arguments)
        with pytest.raises(TypeError, match="cannot be published"):
            broadcast.subscribe("a", member=object())
        for slow in get_args(Slow):
            async with broadcast.subscribe("a", slow=slow, buffer=1, history=0):
                pass


async def test_who_puts_instead_of_delivering_waits_for_nobody(autojump_clock: MockClock) -> None:
    """The one reader of a backend: whoever blocks has the same time, while others get theirs."""
    async with (
        Broadcast(slow="block", buffer=1, block_timeout=5) as broadcast,
        broadcast.subscribe("a") as quick,
        trio.open_nursery() as nursery,
    ):
        hub, start = broadcast._hub, 0.0
        with pytest.raises(SlowSubscriber):  # noqa: PT012
            async with broadcast.subscribe("a"):
                assert hub.put(Message("0", "a", None, None)) is None
                assert await waiting(quick) == ["0"]
                wait = hub.put(Message("1", "a", None, None))
                assert wait is not None
                assert await waiting(quick) == ["1"]
                start = trio.current_time()
                nursery.start_soon(wait)
                await trio.sleep_forever()
        assert trio.current_time() - start == pytest.approx(5)
        assert hub.put(Message("2", "a", None, None)) is None
        assert hub.put(Message("3", "b", None, None)) is None
