"""The one connection on which a process hears of all its topics.

This file owns that connection: that it is made again when it is lost, what is subscribed to on it, and when it counts
as dead. What is heard it hands on, unread.

Redis forgets a subscription with its connection, and what is told meanwhile is told to nobody. So each channel is
subscribed to anew, and whoever listens is told when that has taken effect: what it has missed it has to read.

Now and then it subscribes to one channel more, the same each time. The reply comes in line, behind whatever waits here
to be heard; so one look serves for a connection of which the other end has gone, and for a process that hears more than
it can take. In both cases the connection is given up, since what has piled up would become more and more.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol

import anyio
import trio
from coredis.connection import BaseConnection
from coredis.exceptions import ConnectionError as Lost

from ._answers import SENSELESS
from ._away import Backoff, Complaints, RedisAway, why
from ._redis import Redis

log = logging.getLogger("trivet.contrib.redis")

LOOK_EVERY: Final = 5.0
LATE: Final = 5.0
AT_ONCE: Final = 500
"""Channels in one command."""
IN_A_ROW: Final = 0.02
"""Seconds before others have their turn."""


class Listener(Protocol):
    """Who is told. Nothing of it waits."""

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Something was told on a channel."""
        ...

    def subscribed(self, channel: bytes) -> None:
        """From now on, all that is told on it will be heard."""
        ...

    def deaf(self) -> None:
        """The connection is lost, or there is none: nothing is heard until the channels are subscribed to again."""
        ...


class Feed:
    """See above.

    Args:
        redis: where.
        listener: who is told.
        idle: the name of a channel on which nothing is ever told.
    """

    def __init__(self, redis: Redis, listener: Listener, idle: bytes) -> None:
        self._redis = redis
        self._listener = listener
        self._idle = idle
        self._wanted: dict[bytes, None] = {}
        self._asked: dict[bytes, int] = {}
        """How many of the replies to SUBSCRIBE are on their way, where there are any."""
        self._answered = trio.Event()
        self._connection: BaseConnection | None = None
        self.error: str | None = None
        """Why nothing is heard, in one line; `None` while that is not known, or not so."""

    def add(self, channel: bytes) -> None:
        """Listen to a channel, from the moment on when it is `subscribed`."""
        self._wanted[channel] = None
        if self._connection is not None:
            self._subscribe(self._connection, [channel])

    def remove(self, channel: bytes) -> None:
        """Listen to it no more; what is on its way is still heard."""
        del self._wanted[channel]
        if self._connection is not None:
            _send(self._connection, b"UNSUBSCRIBE", [channel])

    async def run(self) -> None:
        """Listen, for ever."""
        backoff, complaints = Backoff(0.1, 5.0, random.random), Complaints(log, self._redis.place)
        while True:
            try:
                async with self._redis.dedicated() as connection:
                    since = trio.current_time()
                    self.error = await self._listen(connection)
                complaints.say(logging.WARNING, f"a connection of subscribers is lost: {self.error}")
                if trio.current_time() - since > 2 * (LOOK_EVERY + LATE):
                    backoff.reset()
                    complaints.reset()
            except RedisAway as away:
                self.error = away.why
            self._listener.deaf()
            await trio.sleep(backoff.pause())

    async def _listen(self, connection: BaseConnection) -> str:
        """Hear what is told until the connection is lost, and say why it is."""
        error = ""
        try:
            async with trio.open_nursery() as nursery:
                self._connection, self.error = connection, None
                self._answered = trio.Event()
                self._asked.clear()
                self._subscribe(connection, [self._idle, *self._wanted])

                async def look() -> None:
                    nonlocal error
                    await self._look(connection)
                    error = _refusal(connection) or f"nothing was heard for {LATE:g} s, or too much"
                    nursery.cancel_scope.cancel()

                nursery.start_soon(look)
                error = await self._hear(connection) or why(connection._last_error)
                nursery.cancel_scope.cancel()
        finally:
            self._connection = None
        return error

    async def _hear(self, connection: BaseConnection) -> str:
        """Take what is told; returns when the connection is lost, or is to be, and why in the latter case.

        What has come together is taken at once: with a pass through the scheduler for each message, as `push_messages`
        has it, every subscriber would be woken for every message, and while they all have their turn more would come
        in than are taken.
        """
        pushes = connection._push_message_buffer_out
        try:
            while True:
                self._take(await pushes.receive())
                until = time.perf_counter() + IN_A_ROW
                try:
                    while time.perf_counter() < until:
                        self._take(pushes.receive_nowait())
                except anyio.WouldBlock:
                    pass
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            return ""
        except _Senseless:
            return SENSELESS

    async def _look(self, connection: BaseConnection) -> None:
        """Return when it has gone, or what is heard comes too late."""
        while True:
            with trio.move_on_after(LATE):
                await self._answered.wait()
            if not self._answered.is_set():
                return
            await trio.sleep(LOOK_EVERY)
            self._answered = trio.Event()
            self._subscribe(connection, [self._idle])

    def _subscribe(self, connection: BaseConnection, channels: Iterable[bytes]) -> None:
        rest = iter(channels)
        while some := list(islice(rest, AT_ONCE)):
            for channel in some:
                self._asked[channel] = self._asked.get(channel, 0) + 1
            _send(connection, b"SUBSCRIBE", some)

    def _take(self, push: Sequence[Any]) -> None:
        match push:
            case [b"message", bytes(channel), bytes(payload)]:
                self._listener.heard(channel, payload)
            case [b"subscribe", self._idle, _]:
                self._answered.set()
            case [b"subscribe", bytes(channel), _] if channel in self._asked:
                left = self._asked.pop(channel) - 1
                if left:  # it was left and asked for again: the next reply is the one that counts
                    self._asked[channel] = left
                elif channel in self._wanted:
                    self._listener.subscribed(channel)
            case [b"message" | b"subscribe", *_] | []:
                raise _Senseless
            case _:
                pass


class _Senseless(Exception):
    """What was told is nothing that Redis tells: it is none, or not the one that we have subscribed at."""


def _refusal(connection: BaseConnection) -> str:
    """What Redis has answered instead of subscribing, to a user who may not, say; or nothing."""
    try:
        answer = connection._streamed_message_buffer_out.receive_nowait()
    except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
        return ""
    return why(answer) if isinstance(answer, BaseException) else ""


def _send(connection: BaseConnection, command: bytes, channels: Sequence[bytes]) -> None:
    try:
        connection.send_command(command, *channels)
    except Lost:
        pass  # the one who listens is about to notice
