"""Which routes no request can reach, and why.

What lives here: the proof for `trivet check`; nothing of it runs while requests are served. What it must
not know: the tree.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ._conflict import Relation, compare
from ._entry import Entry, takes
from ._language import Affixed, Finite, Integers
from ._pattern import Field, Fixed, Pattern

T = TypeVar("T")

# Larger fields are not spelled out to see whether other routes cover them: a report is allowed to miss
# something.
_ENUMERABLE = 64


def unreachable(entries: Sequence[Entry[T]]) -> list[tuple[Entry[T], str]]:
    """The routes that no request can reach, each with the reason.

    Sound, not complete: what is listed is unreachable, but a route that many others cover between them may
    be missed.
    """
    reasons = ((entry, _reason(entry, entries)) for entry in entries)
    return [(entry, reason) for entry, reason in reasons if reason is not None]


def _reason(entry: Entry[T], entries: Sequence[Entry[T]]) -> str | None:
    for each in entry.pattern.segments:
        if isinstance(each, Field) and each.language.size == 0:
            return f"no text is a {each.converter.name}, so {{{each.name}}} matches nothing"
    covers: list[Entry[T]] = []
    for method in [None] if entry.methods is None else sorted(entry.methods):
        for_method = _covers(entry, method, entries)
        if for_method is None:
            return None
        covers += [cover for cover in for_method if not any(cover is known for known in covers)]
    names = ", ".join(f"{cover.pattern} of {cover.where}" for cover in covers)
    return f"more specific routes take every request that it matches: {names}" if covers else None


def _covers(entry: Entry[T], method: str | None, entries: Sequence[Entry[T]]) -> list[Entry[T]] | None:
    """More specific entries that together take each request of one method that `entry` takes; `None`: they
    do not."""
    rivals = [
        other
        for other in entries
        if takes(other.methods, method) and compare(other.pattern, entry.pattern) is Relation.MORE_SPECIFIC
    ]
    covers: list[Entry[T]] = []
    for part in _parts(entry.pattern) if rivals else ():
        within = (Relation.EQUIVALENT, Relation.MORE_SPECIFIC)
        cover = next((other for other in rivals if compare(part, other.pattern) in within), None)
        if cover is None:
            return None
        covers.append(cover)
    return covers or None


def _parts(pattern: Pattern) -> Iterator[Pattern]:
    """The pattern cut into smaller ones that together match the same paths: each small field is spelled
    out."""
    choices: list[list[Fixed | Field]] = []
    for each in pattern.segments:
        texts = _texts(each)
        total = math.prod(map(len, choices)) * len(texts)
        choices.append([Fixed(text) for text in texts] if texts and total <= _ENUMERABLE else [each])
    for segments in itertools.product(*choices):
        yield replace(pattern, segments=segments)


def _texts(each: Fixed | Field) -> list[str]:
    """All segments that a field accepts, if they are few; else nothing."""
    language = each.language
    if isinstance(language, Finite):
        return sorted(language.texts)
    inner = language.inner if isinstance(language, Affixed) else language
    if isinstance(each, Field) and isinstance(inner, Integers) and 0 < inner.high - inner.low + 1 <= _ENUMERABLE:
        return [f"{each.prefix}{n}{each.suffix}" for n in range(inner.low, inner.high + 1)]
    return []
