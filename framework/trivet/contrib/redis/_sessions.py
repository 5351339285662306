"""`RedisSessionStore`: what `trivet.contrib.sessions` keeps on the server, in Redis, where all workers find it.

This file owns the names of the keys. Each method is one command or one script, which Redis carries out as a whole.
"""

from __future__ import annotations

import math
from typing import Final

from ._checks import check_store
from ._redis import Redis
from ._script import Script

_COMPARE_AND_SET: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")


class RedisSessionStore:
    """Keeps sessions in Redis: one for all workers and machines, which outlives them.

    It is a `trivet.contrib.sessions.SessionStore`. What has expired is gone by itself. While Redis is away nobody's
    session is known: requests that need one are answered with 503, and not as if nobody were logged in.

    Sessions are to be kept until they expire: Redis should have a `maxmemory-policy` of `noeviction`, or enough memory,
    and `appendonly yes` if they are to outlive a restart of Redis.

    Args:
        redis: where; the application enters it.
        prefix: what the names of all keys begin with.

    Raises:
        RegistrationError: an argument is not what it should be.
    """

    def __init__(self, redis: Redis, *, prefix: str = "session:") -> None:
        check_store("RedisSessionStore", redis, prefix)
        self.connected = redis
        """What has to be entered."""
        self._redis = redis
        self._prefix = prefix

    async def get(self, key: str) -> bytes | None:
        """What is kept under `key`, or `None`.

        Raises:
            RedisAway: Redis is away, or did not answer in time.
        """
        found: bytes | None = await self._redis.execute("GET", self._prefix + key)
        return found

    async def set(self, key: str, value: bytes, ttl: float, *, replace: bool = False) -> bool:
        """Keep `value` under `key` for `ttl` seconds; with `replace` only if there is something already.

        Returns:
            Whether it is kept.

        Raises:
            RedisAway: Redis is away, or did not answer in time: it may be kept or not; or it has no memory left.
        """
        only = ("XX",) if replace else ()
        return await self._redis.execute("SET", self._prefix + key, value, "PX", _milliseconds(ttl), *only) is not None

    async def compare_and_set(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Keep `value` under `key` for `ttl` seconds if what is there is `expected`.

        Returns:
            Whether it is kept.

        Raises:
            RedisAway: Redis is away, or did not answer in time: it may be kept or not; or it has no memory left.
        """
        return bool(
            await self._redis.run(_COMPARE_AND_SET, [self._prefix + key], [expected, value, _milliseconds(ttl)])
        )

    async def delete(self, key: str) -> bool:
        """Forget what is under `key`, if there is anything.

        Returns:
            Whether there was.

        Raises:
            RedisAway: Redis is away, or did not answer in time: it may be forgotten or not.
        """
        return bool(await self._redis.execute("DEL", self._prefix + key))


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
