"""What `receive` of a WebSocket returns: its messages in order, and an end that is never lost.

This file owns the queue between what reads a WebSocket and its application: how much of it makes the reader stop, and
when `receive` lets other tasks have their turn. It is `_inbox` for messages that are worth less than a pass through the
scheduler: a message that is there is taken at once, sixteen in a row, and a task that waits costs a list, not an Event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from trio.lowlevel import Abort, Task

from trivet.asgi import Message

AT_ONCE: Final = 16
"""Messages that are received, or sent, before other tasks have their turn."""

OVERHEAD: Final = 256
"""Bytes that a message takes beside its own: a flood of empty ones must not fill the memory either."""


class WebSocketInbox:
    """The messages of one WebSocket. Fed synchronously by the reader.

    Args:
        high: bytes of unread messages at which the reader should stop.

    Attributes:
        room: called, once, when half of that has been read; set by a reader that has stopped.
    """

    __slots__ = ("_end", "_end_seen", "_high", "_messages", "_row", "_size", "_waiting", "room")

    def __init__(self, high: int) -> None:
        self._high = high
        self._messages: deque[tuple[Message, int]] | None = None  # None before the first: most clients only listen
        self._size = 0
        self._end: Message | None = None
        self._end_seen = False
        self._waiting: list[Task] | None = None
        self._row = 0  # taken since the last checkpoint
        self.room: Callable[[], object] | None = None

    @property
    def full(self) -> bool:
        """Whether the reader should stop. Not behind the end, where nothing is kept any more."""
        return self._size >= self._high and self._end is None

    def feed(self, message: Message, size: int) -> None:
        """A message of `size` bytes arrived. Dropped behind the end."""
        if self._end is not None:
            return
        if self._messages is None:
            self._messages = deque()
        size += OVERHEAD
        self._messages.append((message, size))
        self._size += size
        if self._waiting is not None:
            self._wake()

    def end(self, message: Message) -> None:
        """Let `receive` return `message` once what is queued has been read, then again each time. The first counts."""
        if self._end is None:
            self._end = message
            if self._waiting is not None:
                self._wake()

    async def receive(self) -> Message:
        """The `receive` of ASGI. Cancelled in it, no message is lost.

        A checkpoint if it has to wait, and at least once in sixteen messages; cancellation is noticed each time.
        """
        while True:
            if self._messages:
                if self._row >= AT_ONCE:
                    self._row = 0
                    await trio.lowlevel.checkpoint()
                    continue  # another task may have taken it
                await trio.lowlevel.checkpoint_if_cancelled()
                self._row += 1
                return self._take(self._messages)
            if self._end is not None:
                if self._end_seen:
                    await trio.lowlevel.checkpoint()
                else:
                    # The first notice gets through even to a task that is cancelled already, as with `Inbox`.
                    self._end_seen = True
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return self._end
            self._row = 0
            await self._wait()

    def _take(self, messages: deque[tuple[Message, int]]) -> Message:
        message, size = messages.popleft()
        self._size -= size
        room = self.room
        if room is not None and self._size <= self._high // 2:
            self.room = None
            room()
        return message

    async def _wait(self) -> None:
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = []
        task = trio.lowlevel.current_task()
        waiting.append(task)

        def give_up(_: object) -> Abort:
            waiting.remove(task)
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        for task in waiting or ():
            trio.lowlevel.reschedule(task)
