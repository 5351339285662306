"""The outgoing half of HTTP/2's flow control. This file owns when a sender waits for its client."""

from __future__ import annotations

from math import inf

import trio
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BUFFER_LOW_WATER


class Outflow:
    """The bytes of one stream that wait for its window."""

    __slots__ = ("_room", "buffer", "ended", "finished", "patience", "waiting")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.finished = trio.Event()
        """Everything has been handed to h2, END_STREAM too, or never will be."""
        self.waiting: set[trio.CancelScope] = set()
        """Of the tasks that wait for this stream to move, several of a WebSocket; their deadlines move with it."""
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
        self._renew()
        return False

    async def room(self) -> None:
        """Return when there is room again."""
        await self._room.wait()

    async def drain(self) -> None:
        """Return when what was added is gone: what hypercorn waits for before it sends trailers."""
        while self.buffer and not self.finished.is_set():
            self._renew()
            await self._room.wait()

    def _renew(self) -> None:
        # Not while another task waits for it: that one would never be woken.
        if self._room.is_set():
            self._room = trio.Event()

    def take(self, max_length: int) -> bytes:
        """Take at most `max_length` bytes."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if data and self.waiting:
            deadline = trio.current_time() + self.patience
            for scope in self.waiting:
                scope.deadline = deadline
        if len(self.buffer) < BUFFER_LOW_WATER:
            self._room.set()
        return data

    def release(self) -> None:
        """The stream is over: wake who waits."""
        self.buffer.clear()
        self.finished.set()
        self._room.set()
