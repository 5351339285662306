"""A user of Redis who is kept to what an application needs, by the line that the documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
from coredis.exceptions import AuthorizationError

from tests.harness.redis_server import redis_server
from trivet.contrib.broadcast import Broadcast
from trivet.contrib.ratelimit import Quota
from trivet.contrib.redis import Redis, RedisAway, RedisBroadcast, RedisBuckets, RedisSessionStore

pytestmark = pytest.mark.live

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "redis.md"
SECONDS = 10.0


def shown() -> str:
    """The command on the page."""
    (found,) = re.findall(r"`(ACL SETUSER [^`]+)`", PAGE.read_text())
    return str(found).replace("\n", " ")


async def test_the_user_of_the_documentation_may_do_all_that_is_needed_and_no_more() -> None:
    """Commands, limits, sessions and a broadcast work; other keys and channels and dangerous commands are refused."""
    async with redis_server() as server:
        assert await server.ask(shown()) == b"+OK\r\n"
        url = server.url.replace("redis://", "redis://shop:secret@")
        async with Redis(url, connect_timeout=SECONDS, command_timeout=SECONDS) as redis:
            assert redis.error is None
            assert await redis.execute("INCR", "shop:visits") == 1
            assert (await RedisBuckets(redis).take("ann", Quota("searches", 5, 60, 5), 0)).admitted
            store = RedisSessionStore(redis)
            assert await store.set("a", b"contents", 60)
            assert await store.get("a") == b"contents"
            assert await store.compare_and_set("a", b"contents", b"other contents", 60)
            assert await store.delete("a")
            with trio.fail_after(SECONDS):
                async with (
                    Broadcast(history=10, backend=RedisBroadcast(redis, prefix="shop:rooms:")) as rooms,
                    rooms.subscribe("tea", member={"name": "Ann"}) as subscription,
                ):
                    await rooms.publish("tea", "hello")
                    assert (await anext(subscription)).data == "hello"
                    assert len(await rooms.members("tea")) == 1
            for refused in (["GET", "other"], ["PUBLISH", "other", "x"], ["FLUSHALL"], ["KEYS", "*"]):
                with pytest.raises(AuthorizationError):
                    await redis.execute(*refused)
        with pytest.raises(RedisAway, match="refuses the user or the password"):
            async with Redis(url.replace("secret", "other"), connect_timeout=SECONDS, required=True):
                pass
