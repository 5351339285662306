"""What is refused at the line that calls it, each with its remedy: here, since further down it would be everybody's
connection that breaks.

This file owns those messages, and which commands a connection that is shared is not for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from trivet.errors import RegistrationError

Value: TypeAlias = str | bytes | int | float
"""What an argument of a command can be."""

_WAITING: Final = {
    *("BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"),
}
_OF_CONNECTIONS: Final = {
    *("AUTH", "HELLO", "QUIT", "READONLY", "READWRITE", "RESET", "SELECT", "ASKING"),
    *("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "MONITOR", "SYNC", "PSYNC", "REPLCONF"),
    *("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"),
}
_MAY_WAIT: Final = {"XREAD", "XREADGROUP"}
_OF_CONNECTIONS_BY_WORD: Final = {
    "CLIENT": {b"REPLY", b"TRACKING", b"CACHING", b"NO-EVICT", b"NO-TOUCH"},
    "SCRIPT": {b"DEBUG"},
}
"""Commands of which some words are for a connection of one's own: first of all CLIENT REPLY, after which a command has
no reply, and each caller would be given another one's."""

_LOOKED_INTO: Final = frozenset((*_WAITING, *_OF_CONNECTIONS, *_MAY_WAIT, *_OF_CONNECTIONS_BY_WORD))


def check_name(command: str, arguments: Sequence[bytes]) -> bytes:
    """The command as it is sent.

    Raises:
        TypeError: it is no text.
        ValueError: it is none for a connection that others use at the same time.
    """
    if not isinstance(command, str):
        raise TypeError(f'a command is text, not {type(command).__name__}.\nWrite  await redis.execute("GET", key)')
    name = command.upper()
    if not name.isascii() or not name.isprintable() or not name or " " in name:
        raise ValueError(
            f"{command!r} is not the name of a command.\n"
            'Give each word by itself:  await redis.execute("CLIENT", "LIST")'
        )
    if name in _LOOKED_INTO:
        _check_shared(name, arguments)
    return name.encode()


def _check_shared(name: str, arguments: Sequence[bytes]) -> None:
    if name in _WAITING or (name in _MAY_WAIT and _waits(arguments)):
        raise _refused([name], "would let everybody wait")
    if name in _OF_CONNECTIONS:
        raise _refused([name], "changes the connection")
    word = arguments[0].upper() if arguments else b""
    if word in _OF_CONNECTIONS_BY_WORD.get(name, ()):
        raise _refused([name, word.decode()], "changes the connection")


def _waits(arguments: Sequence[bytes]) -> bool:
    """Whether there is `BLOCK` among the options, which end where the names of streams begin."""
    for each in map(bytes.upper, arguments):
        if each in (b"BLOCK", b"STREAMS"):
            return each == b"BLOCK"
    return False


def _refused(words: Sequence[str], what: str) -> ValueError:
    written = ", ".join(f'b"{word}"' for word in words)
    return ValueError(
        f"{' '.join(words)} {what}, and this one is shared.\n"
        f"Take one of your own:\n\n    async with redis.dedicated() as connection:\n"
        f"        await connection.create_request({written}, ...)"
    )


def encoded(command: str, arguments: Sequence[object]) -> list[bytes]:
    """The arguments as they are sent.

    Raises:
        TypeError: one is neither text nor number.
        ValueError: one is text that UTF-8 cannot carry.
    """
    return [each if isinstance(each, bytes) else _encoded(command, each) for each in arguments]


def _encoded(command: str, value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value).encode()
    raise TypeError(
        f"an argument of {command} is a {type(value).__name__}, which Redis does not have: it knows bytes, texts and "
        "numbers.\nWrite it as one of them, msgspec.json.encode(value) for example."
    )


def check_seconds(**values: object) -> None:
    """Refuse what is no time to wait.

    Raises:
        RegistrationError: see there.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise RegistrationError(f"{name}={value!r} is not a number of seconds.\nWrite  {name}=1.0")


def not_entered(place: str) -> RuntimeError:
    """For who asks a Redis that nobody keeps connected."""
    return RuntimeError(
        f"the Redis at {place} is not entered.\n"
        "Let a dependency enter it for the application's life:\n\n"
        '    redis: Annotated[Redis, Depends(redis, scope="app")]\n\n'
        "or write  async with redis: ..."
    )


def check_store(name: str, redis: object, prefix: object) -> None:
    """Refuse what a store in Redis cannot be made of.

    Raises:
        RegistrationError: see there.
    """
    if not hasattr(redis, "execute") or isinstance(redis, type):
        came = "a class" if isinstance(redis, type) else f"a {type(redis).__module__}.{type(redis).__qualname__}"
        raise RegistrationError(
            f"{name} takes a Redis of trivet.contrib.redis, not {came.replace('builtins.', '')}.\n"
            f'Write  redis = Redis("redis://localhost:6379")  once, and  {name}(redis)  wherever it is to be used.'
        )
    if not isinstance(prefix, str):
        raise RegistrationError(f'prefix={prefix!r} is no text.\nWrite  {name}(redis, prefix="shop:")')
