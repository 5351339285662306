"""Patterns of KEYS, SCAN and PSUBSCRIBE; this file owns what matches them.

Not `fnmatch`: its escapes are others, and as a regular expression `*a*a*a*a*b` takes exponential time. Here a pattern
becomes a list of what stands for one byte and of stars, and only the last star is ever tried again, which is enough:
at most the length of one times that of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

Matches: TypeAlias = Callable[[bytes], bool]

ANY: Final = frozenset(range(256))
SINGLE: Final = tuple([frozenset((byte,)) for byte in range(256)])
KEPT: Final = 1024


def of_keys(pattern: bytes) -> Matches:
    """The same for KEYS and SCAN, to which a star alone means all, one without a name included."""
    return _all if pattern == b"*" else compiled(pattern)


def _all(key: bytes) -> bool:
    return True


def compiled(pattern: bytes) -> Matches:
    """What a name is given to, to see whether it matches.

    No pattern but the empty one matches an empty name, not even a star: so it is with redis-server's channels.
    """
    # What clients send is kept only if it is short.
    return _cached(pattern) if len(pattern) <= KEPT else _compiled(pattern)


def _compiled(pattern: bytes) -> Matches:
    if not any(special in pattern for special in b"*?[\\"):
        return pattern.__eq__
    pieces = _pieces(pattern)
    if pieces == [None]:
        return bool
    return lambda key: _matches(pieces, key)


_cached: Final = lru_cache(256)(_compiled)


def _pieces(pattern: bytes) -> list[frozenset[int] | None]:
    pieces: list[frozenset[int] | None] = []  # None is a star
    at = 0
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        if byte == 0x2A:
            if not pieces or pieces[-1] is not None:
                pieces.append(None)
        elif byte == 0x3F:
            pieces.append(ANY)
        elif byte == 0x5B:
            members, at = _class(pattern, at)
            pieces.append(members)
        else:
            if byte == 0x5C and at < len(pattern):
                byte = pattern[at]
                at += 1
            pieces.append(SINGLE[byte])
    return pieces


def _class(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    """`[^a-z\\]]`, from behind the bracket. One that does not end, ends with the pattern."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members = set[int]()
    while at < len(pattern) and pattern[at] != 0x5D:
        if pattern[at] == 0x5C and at + 1 < len(pattern):
            members.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            members.update(range(low, high + 1))
            at += 3
        else:
            members.add(pattern[at])
            at += 1
    return (ANY - members if negated else frozenset(members)), at + 1


def _matches(pieces: list[frozenset[int] | None], key: bytes) -> bool:
    if not key:
        return False
    at = piece = 0
    star = -1  # where the last one stands, and up to where it reaches
    reach = 0
    while at < len(key):
        if piece < len(pieces):
            members = pieces[piece]
            if members is None:
                star, reach = piece, at
                piece += 1
                continue
            if key[at] in members:
                piece += 1
                at += 1
                continue
        if star < 0:
            return False
        reach += 1
        at, piece = reach, star + 1
    return all(members is None for members in pieces[piece:])
