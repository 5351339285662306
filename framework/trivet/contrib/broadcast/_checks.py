"""What `Broadcast` and its methods refuse at the line that calls them, each with its remedy.

This file owns those messages. It knows no hub and no queue.
"""

from __future__ import annotations

from math import inf
from typing import Final, get_args

from trivet.contrib._meant import is_redis, redis_named, shown
from trivet.errors import RegistrationError

from ._backend import Backend
from ._subscription import Slow

_LONG: Final = 10**15
"""Seconds that are still some number of Trio's clock; for ever is `math.inf`."""

_BACKEND: Final = tuple(name for name in vars(Backend) if not name.startswith("_"))


def check_count(name: str, value: object, least: int, error: type[Exception] = RegistrationError) -> None:
    """Refuse what is no whole number, or too small.

    Raises:
        error: see there.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise error(f"{name}={value!r} is not a whole number from {least} on.\nWrite  {name}=100")


def check_seconds(name: str, value: object) -> None:
    """Refuse what nobody can wait for.

    Raises:
        RegistrationError: see there.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value < _LONG or value == inf):
        raise RegistrationError(
            f"{name}={value!r} is no time to wait: it is seconds, more than 0, or math.inf.\nWrite  {name}=10.0"
        )


def check_slow(value: object, error: type[Exception] = RegistrationError) -> None:
    """Refuse what is no policy.

    Raises:
        error: see there.
    """
    if value not in get_args(Slow):
        raise error(
            f"slow={value!r} is not a policy.\n"
            'Write slow="disconnect", slow="drop_oldest", slow="drop_new" or slow="block".'
        )


def check_backend(value: object) -> None:
    """Refuse what is no backend.

    Raises:
        RegistrationError: see there.
    """
    missing = [name for name in _BACKEND if not callable(getattr(value, name, None))]
    if isinstance(value, type) and not missing and not is_redis(value):
        raise RegistrationError(
            f"backend={value.__name__} is a class.\nCall it:  Broadcast(backend={value.__name__}(...))"
        )
    if isinstance(value, type) or missing:
        lacks = "" if isinstance(value, type) else f": it has no {', '.join(missing)}"
        remedy = "For this process's memory, write  Broadcast(backend=MemoryBackend()), or nothing."
        if is_redis(value):
            remedy = f'Write  Broadcast(backend=RedisBroadcast({redis_named(value)}, prefix="shop:rooms:"))'
        raise RegistrationError(f"{shown(value)} is no backend of a broadcast{lacks}.\n{remedy}")


def check_topic(value: object) -> None:
    """Refuse a topic that a backend could not write down.

    Raises:
        TypeError: see there.
    """
    if not isinstance(value, str):
        raise TypeError(f'a topic is text, not {type(value).__name__}.\nWrite  f"room {{number}}", say, or str(topic)')


def check_after(value: object) -> None:
    """Refuse what is no id; whatever text a client sent is fine.

    Raises:
        TypeError: see there.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(
            f"after={value!r} is not the id of a message, which is text.\n"
            'Give back what a client has sent:  after=request.headers.get("last-event-id")'
        )
