"""Whether somebody who gave the wrong thing for a store meant Redis.

This file owns how that is told, without importing what may not be installed: by where the thing comes from. What to
write instead differs from one kind of store to the next.
"""

from __future__ import annotations


def is_redis(value: object) -> bool:
    """Whether this is a Redis, of whatever library, or something else made for one, or the URL of one."""
    if isinstance(value, str):
        return value.startswith(("redis:", "rediss:", "unix:"))
    cls = value if isinstance(value, type) else type(value)
    return "redis" in cls.__module__


def redis_named(value: object) -> str:
    """How the Redis is written in the line that is right."""
    return "Redis(url)" if isinstance(value, str) else "redis"


def shown(value: object) -> str:
    """What came, but no text: a URL may have a password in it."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"
