"""What several commands read in their arguments: numbers and moments, and redis-server's words where they are wrong."""

from __future__ import annotations

from typing import Final

from .protocol import number_of
from .replies import CommandError

LOWEST: Final = -(1 << 63)
HIGHEST: Final = (1 << 63) - 1
NOT_A_NUMBER: Final = b"ERR value is not an integer or out of range"
SYNTAX: Final = b"ERR syntax error"


def number(text: bytes) -> int:
    """A number of 64 bits.

    Raises:
        CommandError: it is none.
    """
    value = number_of(text)
    if value is None:
        raise CommandError(NOT_A_NUMBER)
    return value


def moment(text: bytes, now: int, *, scale: int, absolute: bool, name: bytes, past: bool) -> int:
    """When something is to expire, in milliseconds since 1970.

    Args:
        text: what was said.
        now: what time it is.
        scale: 1000 if it is in seconds.
        absolute: whether it is since 1970; from now on otherwise.
        name: of the command.
        past: whether it may be over.

    Raises:
        CommandError: it is no number, too large, or over.
    """
    value = number(text)
    limit = HIGHEST // scale
    if value > limit or (value < -limit and scale > 1) or (value <= 0 and not past):
        raise CommandError(b"ERR invalid expire time in '%b' command" % name)
    value = value * scale + (0 if absolute else now)
    if value > HIGHEST:
        raise CommandError(b"ERR invalid expire time in '%b' command" % name)
    return value
