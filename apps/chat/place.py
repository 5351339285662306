"""Where the rooms are: in this process, or in a Redis that several processes share. This file owns that choice."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from trivet import HTTPError
from trivet.contrib.broadcast import Backend, MemoryBackend

from .limits import Limits

if TYPE_CHECKING:
    from trivet.contrib.redis import Redis

REMEMBERED: Final = 3600
"""Seconds in which a page that has lost its connection may have another process take the same message again."""


class Here:
    """In this process's memory.

    Attributes:
        lines: what is said goes through this, and who is there.
        signs: who types.
    """

    def __init__(self, limits: Limits) -> None:
        self.lines: Backend = MemoryBackend(max_topics=limits.rooms)
        self.signs: Backend = MemoryBackend()

    async def was_said(self, room: str, key: str) -> bool:
        """Whether another process has taken this message."""
        return False

    async def note_said(self, room: str, key: str) -> None:
        """Let the other processes know that this one has taken it."""


class InRedis(Here):
    """In a Redis: who is in a room is there for all processes that have the same one."""

    def __init__(self, limits: Limits, redis: Redis) -> None:
        from trivet.contrib.redis import RedisBroadcast

        super().__init__(limits)
        self._redis = redis
        # What is said must not be lost unseen, so its sender is told that it was not said; that somebody types is
        # shown to whom it can be shown to.
        self.lines = RedisBroadcast(redis, prefix="chat:lines:")
        self.signs = RedisBroadcast(redis, prefix="chat:signs:", when_away="local")

    async def was_said(self, room: str, key: str) -> bool:
        """See `Here.was_said`."""
        return bool(await self._redis.execute("EXISTS", f"chat:said:{room}:{key}"))

    async def note_said(self, room: str, key: str) -> None:
        """See `Here.note_said`."""
        # It is said by now. Without the note it might be said twice, and pages show one key once.
        with suppress(HTTPError):
            await self._redis.execute("SET", f"chat:said:{room}:{key}", "", "EX", REMEMBERED)


@asynccontextmanager
async def open_place(limits: Limits, redis_url: str | None) -> AsyncGenerator[Here]:
    """The place, for as long as the application runs."""
    if redis_url is None:
        yield Here(limits)
        return
    # Not above: who has no Redis needs no client for it.
    from trivet.contrib.redis import Redis

    async with Redis(redis_url) as redis:
        yield InRedis(limits, redis)
