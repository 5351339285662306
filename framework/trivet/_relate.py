"""How two sets of texts relate.

What lives here: the five relations of Go's `net/http` patterns, how they combine, and the proof for each
pair of kinds of `_language`. What it must not know: patterns, routes, methods.

The rule for a pair we cannot decide: OVERLAPS. Refusing two routes that never meet costs their author a
type; taking two that do meet would let the order of registration decide. Each answer but OVERLAPS is
proved, so that "more specific" is transitive and the tree of `_tree` may sort by it.
"""

from __future__ import annotations

import math
from enum import Enum

from ._language import Affixed, Finite, Floats, Integers, Language, Lengths, Opaque, Shape, Text


class Relation(Enum):
    """How the set A relates to the set B."""

    EQUIVALENT = "equivalent"
    MORE_SPECIFIC = "more specific"  # A is a proper part of B
    MORE_GENERAL = "more general"  # B is a proper part of A
    DISJOINT = "disjoint"
    OVERLAPS = "overlaps"  # they share something, and each has, or may have, something of its own


_MIRROR = {
    Relation.MORE_SPECIFIC: Relation.MORE_GENERAL,
    Relation.MORE_GENERAL: Relation.MORE_SPECIFIC,
}


def mirror(relation: Relation) -> Relation:
    """How B relates to A, given how A relates to B."""
    return _MIRROR.get(relation, relation)


def combine(first: Relation, second: Relation) -> Relation:
    """The relation of two products, given the relations of their factors."""
    if Relation.DISJOINT in (first, second):
        return Relation.DISJOINT
    if first is Relation.EQUIVALENT or first is second:
        return second
    if second is Relation.EQUIVALENT:
        return first
    return Relation.OVERLAPS


def relate(a: Language, b: Language) -> Relation:
    """How `a` relates to `b`. An empty set is disjoint from every other."""
    if a == b:
        return Relation.EQUIVALENT
    if a.size == 0 or b.size == 0:
        return Relation.DISJOINT
    if isinstance(a, Finite):
        return _relate_finite(a, b)
    if isinstance(b, Finite):
        return mirror(_relate_finite(b, a))
    if isinstance(a, Affixed) or isinstance(b, Affixed):
        return _relate_affixed(
            a if isinstance(a, Affixed) else Affixed("", a, ""),
            b if isinstance(b, Affixed) else Affixed("", b, ""),
        )
    if isinstance(a, Opaque):
        return _relate_opaque(a, b)
    if isinstance(b, Opaque):
        return mirror(_relate_opaque(b, a))
    if isinstance(a, Text):
        if isinstance(b, Text):
            return _intervals(_bounds(a.lengths), _bounds(b.lengths))
        return mirror(_relate_text(b, a))
    if isinstance(b, Text):
        return _relate_text(a, b)
    return _relate_numbers(a, b)


def _bounds(lengths: Lengths) -> tuple[float, float]:
    return lengths[0], math.inf if lengths[1] is None else lengths[1]


def _intervals(a: tuple[float, float], b: tuple[float, float]) -> Relation:
    if a == b:
        return Relation.EQUIVALENT
    if a[1] < b[0] or b[1] < a[0]:
        return Relation.DISJOINT
    if b[0] <= a[0] and a[1] <= b[1]:
        return Relation.MORE_SPECIFIC
    if a[0] <= b[0] and b[1] <= a[1]:
        return Relation.MORE_GENERAL
    return Relation.OVERLAPS


def _relate_finite(a: Finite, b: Language) -> Relation:
    """By membership, which is exact even for what only a program knows."""
    shared = sum(map(b.accepts, a.texts))
    if not shared:
        return Relation.DISJOINT
    a_in_b = shared == len(a.texts)
    b_in_a = shared == b.size
    if a_in_b:
        return Relation.EQUIVALENT if b_in_a else Relation.MORE_SPECIFIC
    return Relation.MORE_GENERAL if b_in_a else Relation.OVERLAPS


def _relate_opaque(a: Opaque, b: Text | Integers | Floats | Shape | Opaque) -> Relation:
    around = relate(a.within, b.within if isinstance(b, Opaque) else b)
    if around is Relation.DISJOINT:
        return around
    if not isinstance(b, Opaque) and around in (Relation.EQUIVALENT, Relation.MORE_SPECIFIC):
        return Relation.MORE_SPECIFIC
    return Relation.OVERLAPS


def _relate_text(a: Integers | Floats | Shape, text: Text) -> Relation:
    """A grammar against all texts of some lengths: never more general, for there are other texts of each
    length."""
    inside = _intervals(_bounds(a.lengths), _bounds(text.lengths))
    if inside is Relation.EQUIVALENT:
        return Relation.MORE_SPECIFIC
    return Relation.OVERLAPS if inside is Relation.MORE_GENERAL else inside


def _relate_numbers(a: Integers | Floats | Shape, b: Integers | Floats | Shape) -> Relation:
    if isinstance(a, Integers) and isinstance(b, Integers):
        return _relate_integers(a, b)
    if isinstance(a, Floats) and isinstance(b, Floats):
        return _intervals((a.low, a.high), (b.low, b.high))
    if isinstance(a, Integers) and isinstance(b, Floats):
        return _relate_integers_to_floats(a, b)
    if isinstance(a, Floats) and isinstance(b, Integers):
        return mirror(_relate_integers_to_floats(b, a))
    # A date has inner dashes, a datetime colons, a UUID four dashes: no two grammars share a text, nor any
    # with a number.
    return Relation.DISJOINT


def _relate_integers(a: Integers, b: Integers) -> Relation:
    # Not through `_intervals`, whose floats would round.
    if a.high < b.low or b.high < a.low:
        return Relation.DISJOINT
    if b.low <= a.low and a.high <= b.high:
        return Relation.MORE_SPECIFIC
    if a.low <= b.low and b.high <= a.high:
        return Relation.MORE_GENERAL
    return Relation.OVERLAPS


def _relate_integers_to_floats(a: Integers, b: Floats) -> Relation:
    """Each integer's text is a float's text as well; whether its double lies in the interval is the question.

    Rounding to a double never changes the order, so all of `a` lies in `b` when both its ends do. If some
    does, then an end of `a` or the first or last integer of `b` is among it.
    """
    if b.accepts(str(a.low)) and b.accepts(str(a.high)):
        return Relation.MORE_SPECIFIC
    for n in (a.low, a.high, math.ceil(b.low), math.floor(b.high)):
        if a.low <= n <= a.high and b.accepts(str(n)):
            return Relation.OVERLAPS
    return Relation.DISJOINT


def _relate_affixed(a: Affixed, b: Affixed) -> Relation:
    if a.prefix == b.prefix and a.suffix == b.suffix:
        return relate(a.inner, b.inner)
    if not (a.prefix.startswith(b.prefix) or b.prefix.startswith(a.prefix)):
        return Relation.DISJOINT
    if not (a.suffix.endswith(b.suffix) or b.suffix.endswith(a.suffix)):
        return Relation.DISJOINT
    for outer, inner in ((a, b), (b, a)):
        head = outer.prefix[len(inner.prefix) :]
        tail = outer.suffix[: max(0, len(outer.suffix) - len(inner.suffix))]
        around = len(outer.prefix) >= len(inner.prefix) and len(outer.suffix) >= len(inner.suffix)
        # Where the affixes cross, the longer prefix may reach through the text into the longer suffix: only its first
        # character is sure to lie in the text.
        if not inner.inner.admits(*((head, tail) if around else (head[:1], tail[-1:])), more=around):
            return Relation.DISJOINT
    lengths = _intervals(_bounds(a.lengths), _bounds(b.lengths))
    if lengths is Relation.DISJOINT:
        return lengths
    for narrow, wide, verdict in ((a, b, Relation.MORE_SPECIFIC), (b, a, Relation.MORE_GENERAL)):
        # Any text between longer affixes is a text between shorter ones; only its length can be wrong.
        longer = len(narrow.prefix) >= len(wide.prefix) and len(narrow.suffix) >= len(wide.suffix)
        if longer and isinstance(wide.inner, Text) and lengths in (Relation.EQUIVALENT, verdict):
            return verdict
    return Relation.OVERLAPS


def common(a: Language, b: Language) -> str | None:
    """A text of both sets, or `None` when none of the likely ones is."""
    candidates = [*a.samples(), *b.samples()]
    if isinstance(a, Affixed) or isinstance(b, Affixed):
        prefix = max(getattr(a, "prefix", ""), getattr(b, "prefix", ""), key=len)
        suffix = max(getattr(a, "suffix", ""), getattr(b, "suffix", ""), key=len)
        inners = [side.inner if isinstance(side, Affixed) else side for side in (a, b)]
        candidates += [f"{prefix}{text}{suffix}" for inner in inners for text in inner.samples()]
        # The suffix may begin inside the prefix.
        candidates += [prefix + suffix[n:] for n in range(1, len(suffix)) if prefix.endswith(suffix[:n])]
    return next((text for text in candidates if a.accepts(text) and b.accepts(text)), None)
