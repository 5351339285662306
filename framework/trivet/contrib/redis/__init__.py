"""State that several processes share, in Redis: the connection, and what stands on it.

Names only. Needs coredis: `pip install 'trivet[redis]'`.
"""

try:
    import coredis as _coredis
except ImportError as error:
    raise ImportError('trivet.contrib.redis needs coredis:  pip install "trivet[redis]"') from error

from ._away import RedisAway as RedisAway
from ._broadcast import RedisBroadcast as RedisBroadcast
from ._buckets import RedisBuckets as RedisBuckets
from ._redis import Redis as Redis
from ._script import Script as Script
from ._sessions import RedisSessionStore as RedisSessionStore

__all__ = ["Redis", "RedisAway", "RedisBroadcast", "RedisBuckets", "RedisSessionStore", "Script"]

del _coredis
