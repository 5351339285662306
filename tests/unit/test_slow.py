"""The bounded queue of a slow consumer: what each policy does when it is full, and what is counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trivet._slow import POLICIES, Policy, SlowQueue


async def drained(queue: SlowQueue[int]) -> list[int]:
    """Everything that is left in a queue that is closed."""
    items: list[int] = []
    while True:
        try:
            items.append(await queue.get())
        except trio.EndOfChannel:
            return items


@pytest.mark.parametrize(
    ("policy", "kept", "dropped"),
    [("drop_oldest", [3, 4, 5], 2), ("drop_new", [1, 2, 3], 2)],
)
async def test_a_full_queue_drops_what_its_policy_says(policy: Policy, kept: list[int], dropped: int) -> None:
    """`drop_oldest` keeps the latest items and `drop_new` the earliest; both count what was lost."""
    queue = SlowQueue[int](3, policy)
    took = [queue.offer(item) for item in range(1, 6)]
    assert took == [True, True, True, policy == "drop_oldest", policy == "drop_oldest"]
    queue.close()
    assert (await drained(queue), queue.dropped) == (kept, dropped)


async def test_disconnect_gives_the_consumer_up_when_the_queue_is_full() -> None:
    """Under `disconnect` the item that finds no room closes the queue, and what it held is counted as lost."""
    queue = SlowQueue[int](2, "disconnect")
    assert [queue.offer(1), queue.offer(2)] == [True, True]
    assert not queue.overflowed
    assert queue.offer(3) is False
    assert (queue.overflowed, queue.dropped, len(queue)) == (True, 3, 0)
    with pytest.raises(trio.EndOfChannel):
        await queue.get()
    with pytest.raises(trio.ClosedResourceError):
        queue.offer(4)


async def test_block_refuses_an_offer_and_lets_put_wait_for_room() -> None:
    """Under `block` nothing is lost: `offer` raises when there is no room, `put` goes on once the consumer took one."""
    queue = SlowQueue[int](1, "block")
    await queue.put(1)
    with pytest.raises(trio.WouldBlock):
        queue.offer(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.put, 2)
        await wait_all_tasks_blocked()
        assert (len(queue), queue.taken) == (1, 1)
        assert await queue.get() == 1
    queue.close()
    assert (await drained(queue), queue.dropped, queue.taken) == ([2], 0, 2)


async def test_a_cancelled_get_loses_nothing() -> None:
    """The item that arrives in the moment in which the consumer is cancelled is still there."""
    queue = SlowQueue[int](4, "drop_new")
    got: list[int] = []

    async def consume() -> None:
        got.append(await queue.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        await wait_all_tasks_blocked()
        queue.offer(7)
        nursery.cancel_scope.cancel()
    queue.close()
    assert got + await drained(queue) == [7]


async def test_a_cancelled_put_has_put_nothing() -> None:
    """A producer that was cancelled while it waited for room leaves the queue as it was."""
    queue = SlowQueue[int](1, "block")
    queue.offer(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await queue.put(2)
    queue.close()
    assert await drained(queue) == [1]


@pytest.mark.parametrize("end", [SlowQueue[int].close, SlowQueue[int].discard])
async def test_closing_wakes_who_waits(end: Callable[[SlowQueue[int]], None]) -> None:
    """A producer that waits for room learns that there will be none."""
    queue = SlowQueue[int](1, "block")
    queue.offer(1)

    async def late() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await queue.put(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(late)
        await wait_all_tasks_blocked()
        end(queue)
    left = await drained(queue)
    assert len(left) + queue.dropped == 1


@pytest.mark.parametrize("policy", POLICIES)
async def test_closing_wakes_the_consumer(policy: Policy) -> None:
    """A consumer that waits for an item learns that there will be none."""
    queue = SlowQueue[int](1, policy)

    async def consume() -> None:
        with pytest.raises(trio.EndOfChannel):
            await queue.get()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consume)
        await wait_all_tasks_blocked()
        queue.close()
