"""Where it is counted how often somebody asks.

This file owns that choice, which the settings make when the service starts. Who may ask how often is `api`'s.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Final

from trivet import Depends
from trivet.contrib.ratelimit import Backend, Decision, MemoryBackend, Quota

from .settings import Settings, settings


class Buckets:
    """In Redis, where all workers take from the same ones, if the settings name one; else in this process's memory."""

    def __init__(self) -> None:
        self.store: Backend = MemoryBackend()

    @asynccontextmanager
    async def connected(self, settings: Annotated[Settings, Depends(settings, scope="app")]) -> AsyncGenerator[None]:
        """For the application's life."""
        if settings.redis_url is None:
            yield
            return
        # Not above: who has no Redis needs no client for it.
        from trivet.contrib.redis import Redis, RedisBuckets

        before = self.store
        async with Redis(settings.redis_url, command_timeout=settings.redis_timeout) as redis:
            self.store = RedisBuckets(redis, prefix="notes:")
            try:
                yield
            finally:
                self.store = before

    async def take(self, key: str, quota: Quota, now: float) -> Decision:
        """See `ratelimit.Backend.take`."""
        return await self.store.take(key, quota, now)


BUCKETS: Final = Buckets()
