"""What `receive` of a WebSocket returns: `_ws_inbox`."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from trivet.server._ws_inbox import AT_ONCE, OVERHEAD, WebSocketInbox

END = {"type": "websocket.disconnect", "code": 1000, "reason": ""}


def message(number: int) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": str(number)}


async def test_messages_in_order_then_the_end_for_ever() -> None:
    """What is fed behind the end is dropped, and a second end changes nothing."""
    inbox = WebSocketInbox(1000)
    for number in range(3):
        inbox.feed(message(number), 1)
    inbox.end(END)
    inbox.feed(message(3), 1)
    inbox.end({"type": "other"})
    found = [await inbox.receive() for _ in range(5)]
    assert found == [message(0), message(1), message(2), END, END]


async def test_a_cancelled_receive_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Neither while it waits, nor when the message comes in the same moment, nor when there is one."""
    inbox = WebSocketInbox(1000)
    with trio.move_on_after(1) as waiting:
        await inbox.receive()
    assert waiting.cancelled_caught
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                inbox.feed(message(0), 1)

            await inbox.receive()
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.cancel()
        await inbox.receive()
    assert scope.cancelled_caught
    assert await inbox.receive() == message(0)


async def test_the_first_notice_of_the_end_gets_through_to_a_cancelled_task() -> None:
    """The second is a checkpoint, so that a loop that ignores it can still be cancelled."""
    inbox = WebSocketInbox(1000)
    inbox.end(END)
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await inbox.receive() == END
        await inbox.receive()
    assert scope.cancelled_caught


async def test_a_message_wakes_one_of_several_who_wait(autojump_clock: trio.testing.MockClock) -> None:
    """Each message goes to one task; the end to all."""
    inbox = WebSocketInbox(1000)
    found: list[Any] = []

    async def take() -> None:
        found.append(await inbox.receive())

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(2):
            inbox.feed(message(number), 1)
            await trio.testing.wait_all_tasks_blocked()
        assert found == [message(0), message(1)]
        inbox.end(END)
    assert found[2:] == [END, END]


async def test_others_have_their_turn() -> None:
    """A task that always finds a message lets others run after sixteen."""
    inbox = WebSocketInbox(1 << 20)
    turns: list[int] = []
    for number in range(5 * AT_ONCE):
        inbox.feed(message(number), 1)

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            while True:
                turns.append(len(inbox._messages or ()))
                await trio.lowlevel.checkpoint()

        for _turn in range(5 * AT_ONCE):
            await inbox.receive()
        nursery.cancel_scope.cancel()
    assert len(turns) >= 2


@pytest.mark.parametrize("size", [0, 1000])
async def test_full_and_room(size: int) -> None:
    """Empty messages count too; the reader is called once, when half has been read, and nothing is full at the end."""
    inbox = WebSocketInbox(10_000)
    count = 0
    while not inbox.full:
        inbox.feed(message(count), size)
        count += 1
    assert count == -(-10_000 // (size + OVERHEAD))
    calls: list[int] = []

    def room() -> None:
        calls.append(inbox._size)

    inbox.room = room
    for _ in range(count):
        await inbox.receive()
    assert len(calls) == 1
    assert 5000 - size - OVERHEAD < calls[0] <= 5000
    for _ in range(count):
        inbox.feed(message(0), size)
    held = inbox.full
    inbox.end(END)
    assert (held, inbox.full) == (True, False)
