"""The outgoing half of HTTP/2's flow control. This file owns when a sender waits for its client."""

from __future__ import annotations

from math import inf

import trio
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BUFFER_LOW_WATER


class Outflow:
    """The bytes of one stream that wait for its window."""

    __slots__ = ("_room", "buffer", "ended", "finished", "patience", "scope")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.finished = trio.Event()
        """Everything has been handed to h2, END_STREAM too, or never will be."""
        self.scope: trio.CancelScope | None = None
        """Of the task that waits for this stream to move; its deadline moves with it."""
        self.patience = inf
        self.ended = False
        """Nothing will be added."""
        self._room = trio.Event()

    @property
    def complete(self) -> bool:
        """Whether the response is whole and no byte of it is left."""
        return self.ended and not self.buffer

    def set_complete(self) -> None:
        """Nothing will be added."""
        self.ended = True

    def add(self, data: bytes) -> bool:
        """Add `data`. False if the sender should wait for `room`."""
        self.buffer.extend(data)
        if len(self.buffer) < BUFFER_HIGH_WATER:
            return True
        self._room = trio.Event()
        return False

    async def room(self) -> None:
        """Return when there is room again."""
        await self._room.wait()

    async def drain(self) -> None:
        """Return when what was added is gone: what hypercorn waits for before it sends trailers."""
        while self.buffer and not self.finished.is_set():
            self._room = trio.Event()
            await self._room.wait()

    def take(self, max_length: int) -> bytes:
        """Take at most `max_length` bytes."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if data and self.scope is not None:
            self.scope.deadline = trio.current_time() + self.patience
        if len(self.buffer) < BUFFER_LOW_WATER:
            self._room.set()
        return data

    def release(self) -> None:
        """The stream is over: wake who waits."""
        self.buffer.clear()
        self.finished.set()
        self._room.set()
