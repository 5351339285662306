"""`RedisBuckets`: the buckets of rate limits, in Redis, so that all workers and machines take from the same ones.

This file owns how a bucket is kept there. The arithmetic is that of `trivet.contrib.ratelimit.take`, written once more
in Lua, since a script is run as a whole: between reading and writing nobody else comes. A test compares the two.

The clock is Redis' own. Those of several machines differ, by more than the interval of a quota as a rule.
"""

from __future__ import annotations

from typing import Any, Final

from trivet.contrib.ratelimit import Decision, Quota

from ._answers import answer
from ._checks import check_store
from ._redis import Redis
from ._script import Script

TAKE: Final = """
local function ulp(x)
    local _, exponent = math.frexp(x)
    return math.ldexp(1, exponent - 53)
end

local function take(full_at, requests, per, burst, now)
    local interval = per / requests
    if not full_at or full_at < now then full_at = now end
    local after = (full_at - now) / interval + 1
    local slack = 4 * ulp(full_at) / interval + 1e-9
    if after > burst + 1 + 2 * slack then
        return take(nil, requests, per, burst, now)
    end
    if after > burst + slack then
        return full_at, false, 0, math.max(0, full_at - (burst - 1) * interval - now)
    end
    full_at = full_at + interval
    local remaining = math.min(burst - 1, math.floor(burst - math.min(after, burst) + slack))
    return full_at, true, remaining, math.max(0, full_at - (burst - remaining - 1) * interval - now)
end
"""
"""`take`, line by line."""

_BUCKET: Final = Script(
    TAKE
    + """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local kept = redis.call('GET', KEYS[1])
local full_at, admitted, remaining, wait =
    take(kept and tonumber(kept), tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), now)
if admitted then
    -- A bucket that is full says no more than none at all, so it goes by itself.
    local left = math.min(math.ceil((full_at - now) * 1000), 2^52)
    redis.call('SET', KEYS[1], string.format('%.17g', full_at), 'PX', string.format('%.0f', math.max(left, 1)))
end
return {admitted and 1 or 0, string.format('%.0f', remaining), string.format('%.17g', wait)}
"""
)


class RedisBuckets:
    """Keeps the buckets of limits in Redis: `RateLimit(100, per=60, backend=RedisBuckets(redis))`.

    All processes that name the same Redis, prefix, quota (name and size) and key take from one bucket; so exactly as
    many requests are admitted as the quota says, however many workers there are. While Redis is away each limit's
    `on_failure` says what becomes of requests, without waiting for it.

    A bucket takes about 120 bytes, and is gone when it is full again. There is no bound on their number but Redis' own:
    give it `maxmemory`, with a policy that evicts (`volatile-ttl`: the fullest buckets first).

    Args:
        redis: where; the application enters it.
        prefix: what the names of all keys begin with.

    Raises:
        RegistrationError: an argument is not what it should be.
    """

    def __init__(self, redis: Redis, *, prefix: str = "ratelimit:") -> None:
        check_store("RedisBuckets", redis, prefix)
        self.connected = redis
        """What has to be entered."""
        self._redis = redis
        self._prefix = prefix

    async def take(self, key: str, quota: Quota, now: float) -> Decision:
        """Take one token out of the bucket of `key`; see `ratelimit.Backend.take`. `now` is not used.

        Raises:
            RedisAway: Redis is away, did not answer in time, or has no memory left.
        """
        # No two pairs of a quota and a key are written alike.
        place = f"{self._prefix}{quota.bucket}:".encode() + key.encode("utf-8", "surrogatepass")
        return await answer(self._redis, _decision, _BUCKET, [place], [quota.requests, quota.per, quota.burst])


def _decision(reply: Any) -> Decision:
    admitted, remaining, wait = reply
    return Decision(bool(admitted), int(remaining), float(wait))
