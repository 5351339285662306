"""Sessions in a real redis-server: what the protocol promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio

from tests.harness.redis_server import RedisServer, redis_server
from tests.live.test_redis import connecting
from trivet.contrib.redis import RedisAway, RedisSessionStore

pytestmark = pytest.mark.live


@pytest.fixture
async def server() -> AsyncGenerator[RedisServer]:
    """A redis-server."""
    async with redis_server() as server:
        yield server


async def test_what_is_kept_is_found_until_its_time_is_over(server: RedisServer) -> None:
    """Bytes in, the same bytes out; each `set` counts anew; what is deleted or expired is not there."""
    everything = bytes(range(256)) + b"\r\n$-1\r\n"
    async with connecting(server) as redis:
        store = RedisSessionStore(redis, prefix="s:")
        assert await store.get("k") is None
        assert await store.set("k", everything, 100)
        assert await store.get("k") == everything
        assert 90_000 < await redis.execute("PTTL", "s:k") <= 100_000
        assert await store.set("k", b"", 0.0001)  # at least a millisecond
        await trio.sleep(0.01)
        assert await store.get("k") is None
        assert await store.set("k", b"again", 5)
        await store.delete("k")
        await store.delete("k")
        assert await store.get("k") is None
        assert await redis.execute("DBSIZE") == 0


async def test_a_session_that_was_ended_does_not_come_back(server: RedisServer) -> None:
    """With `replace` only what is there is written."""
    async with connecting(server) as redis:
        store = RedisSessionStore(redis)
        assert not await store.set("k", b"1", 5, replace=True)
        assert await store.get("k") is None
        assert await store.set("k", b"1", 5)
        assert await store.set("k", b"2", 5, replace=True)
        assert await store.get("k") == b"2"


async def test_a_store_that_is_away_says_so(server: RedisServer) -> None:
    """It raises, and does not take nobody's session for none."""
    async with connecting(server) as redis:
        store = RedisSessionStore(redis)
        server.kill()
        for call in (store.get("k"), store.set("k", b"", 5), store.delete("k")):
            with pytest.raises(RedisAway):
                await call
