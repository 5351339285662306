"""Patterns of KEYS, SCAN and PSUBSCRIBE; this file owns what matches them.

Not `fnmatch`: its escapes are others, and as a regular expression `*a*a*a*a*b` takes exponential time. Here a pattern
becomes runs of what stands for one byte, between stars. Each run is looked for behind the one before, and where it is
first found is as good as any later place: no star is ever tried again, and nobody else is served meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, TypeAlias

Matches: TypeAlias = Callable[[bytes], bool]
Finder: TypeAlias = Callable[[bytes, int, int], int]

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
    return _matcher(pieces)


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


def _matcher(pieces: list[frozenset[int] | None]) -> Matches:
    """Runs between stars: the first begins a key, the last ends it, and each other is where it is first found."""
    runs = _runs(pieces)
    begins, ends = _stander(runs[0]), _stander(runs[-1])
    begin, behind, least = len(runs[0]), len(runs[-1]), max(1, sum(map(len, runs)))
    if len(runs) == 1:
        return lambda key: len(key) == begin > 0 and begins(key, 0)
    finders = [_finder(run) for run in runs[1:-1]]

    def matches(key: bytes) -> bool:
        end = len(key) - behind
        if len(key) < least or not begins(key, 0) or not ends(key, end):
            return False
        at = begin
        for find in finders:
            at = find(key, at, end)
            if at < 0:
                return False
        return True

    return matches


def _runs(pieces: list[frozenset[int] | None]) -> list[list[frozenset[int]]]:
    runs: list[list[frozenset[int]]] = [[]]
    for members in pieces:
        if members is None:
            runs.append([])
        else:
            runs[-1].append(members)
    return runs


def _text(run: list[frozenset[int]]) -> bytes | None:
    """What a run is, if it is one text only."""
    return bytes([byte for members in run for byte in members]) if all(len(each) == 1 for each in run) else None


def _stander(run: list[frozenset[int]]) -> Callable[[bytes, int], bool]:
    """What tells whether a run stands at a place of a key, which has so many bytes there."""
    if (text := _text(run)) is not None:
        return lambda key, at: key.startswith(text, at)
    return lambda key, at: all(byte in members for members, byte in zip(run, key[at : at + len(run)], strict=True))


def _finder(run: list[frozenset[int]]) -> Finder:
    """What finds a run in a key, from a place up to another: where it ends, or -1."""
    if (text := _text(run)) is not None:

        def find(key: bytes, at: int, end: int) -> int:
            found = key.find(text, at, end)
            return found if found < 0 else found + len(text)

        return find
    return partial(_find, run, {}, 1 << (len(run) - 1))


def _find(run: list[frozenset[int]], masks: dict[int, int], goal: int, key: bytes, at: int, end: int) -> int:
    """Shift-And (Baeza-Yates and Gonnet, 1992): a bit for each beginning of the run that ends at this byte."""
    state = 0
    for place, byte in enumerate(memoryview(key)[at:end], at + 1):
        if (mask := masks.get(byte)) is None:
            bits = "".join(["1" if byte in members else "0" for members in reversed(run)])
            mask = masks[byte] = int(bits, 2)
        state = (state << 1 | 1) & mask
        if state & goal:
            return place
    return -1
