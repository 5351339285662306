"""What a script of ours has returned, as the values that it stands for.

This file owns what becomes of an answer that is none to what was asked. It comes from something that is no Redis, or it
is another caller's; and whatever comes next on that connection is no better. So the connection is given up, as it is if
no answer comes, and who asked is told the same. It knows no script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ._away import RedisAway
from ._checks import Value
from ._redis import Redis
from ._script import Script

T = TypeVar("T")

SENSELESS = "it says what no Redis would say"


async def answer(
    redis: Redis, read: Callable[[Any], T], script: Script, keys: Sequence[str | bytes], arguments: Sequence[Value]
) -> T:
    """Run a script, and read what it has returned; see `Redis.run`.

    Args:
        redis: where.
        read: makes the values of a reply. A reply that is none makes it raise what unpacking such things raises.
        script: which.
        keys: its `KEYS`.
        arguments: its `ARGV`.

    Raises:
        RedisAway: the reply makes no sense, too.
    """
    link = redis._link
    reply = await redis.run(script, keys, arguments)
    try:
        return read(reply)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        if link is not None:
            link.close(SENSELESS)
        # Not what it is: it may be another caller's.
        raise RedisAway(redis.place, f"{SENSELESS}: {type(reply).__name__}") from error
