"""What waits to be sent to a subscriber; this file owns how much may, and what is done when it is too much.

Only a client that has subscribed has one. Before that, whoever reads its requests also sends their replies, and no two
tasks ever write to one socket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import trio

from .engine import Counted
from .memory import STEP

Slow: TypeAlias = Literal["disconnect", "drop"]
"""What is done with a subscriber that does not read: it is disconnected, as redis-server does, and notices; or it does
not get the message. Both are counted."""


class Outbox:
    """Replies and messages, in their order.

    Args:
        limit: bytes that may wait. One message that is more may, if nothing else does: who reads well is to have it.
        slow: what is done when a message is more than that.
        counted: where that is counted.
        cut_off: disconnects the client.
        changed: is called when much more waits than before, or much less.

    Attributes:
        size: bytes that wait, with those that are being sent.
    """

    def __init__(
        self, limit: int, slow: Slow, counted: Counted, cut_off: Callable[[], None], changed: Callable[[], None]
    ) -> None:
        self._limit = limit
        self._slow = slow
        self._counted = counted
        self._cut_off = cut_off
        self._parts: list[bytes] = []
        self._changed = changed
        self._told = 0
        self.size = 0
        self._ended = False
        self._filled = trio.Event()
        self._sent = trio.Event()

    def message(self, data: bytes) -> None:
        """Send this, or do with it what the policy says. Whoever publishes does not wait."""
        if self.size + len(data) <= self._limit or not self.size:
            self._put(data)
        elif self._slow == "drop":
            self._counted.dropped += 1
        elif not self._ended:
            self._counted.cut_off += 1
            self._ended = True
            self._cut_off()

    def reply(self, data: bytes) -> None:
        """Send this. However much it is: the client has asked for it, and is not asked again before there is room."""
        self._put(data)

    async def room(self) -> None:
        """Wait until less waits than may."""
        while self.size > self._limit:
            await self._sent.wait()

    async def empty(self) -> None:
        """Wait until all has been sent."""
        while self.size:
            await self._sent.wait()

    async def send_all(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send what comes, for ever; the body of a task."""
        while True:
            await self._filled.wait()
            data = b"".join(self._parts)
            self._parts.clear()
            self._filled = trio.Event()
            await send(data)
            self.size -= len(data)
            if self._told - self.size > STEP:
                self._tell()
            self._sent.set()
            self._sent = trio.Event()

    def forget(self) -> None:
        """Give up what waits, and its memory: nobody is there to read it."""
        self._parts.clear()

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self.size += len(data)
        self._filled.set()
        if self.size - self._told > STEP:
            self._tell()

    def _tell(self) -> None:
        self._told = self.size
        self._changed()
