"""How two patterns relate, and the proof: a path that both match.

What lives here: compare, example, and the words that explain a conflict. Precedence is Go's: A is more
specific than B when every path that A matches, B matches too. It depends on the two patterns only, never on
which was registered first. What it must not know: methods, handlers, the tree.

A pattern is a product of sets, one per segment, and perhaps an open end; so two patterns relate as their
segments do, combined, and each answer comes down to `_relate`.
"""

from __future__ import annotations

from ._convert import STR, converter_named
from ._language import Language
from ._pattern import Field, Fixed, Pattern, parse
from ._percent import encode
from ._relate import Relation, combine, common, relate
from .errors import PatternError

__all__ = ["Relation", "compare", "example", "example_only", "remedy"]


def compare(a: Pattern, b: Pattern) -> Relation:
    """How the paths that `a` matches relate to those that `b` matches."""
    left, right = a.languages, b.languages
    if (len(left) < len(right) and not a.open) or (len(right) < len(left) and not b.open):
        return Relation.DISJOINT
    # What lies beyond one's open end is all the same to it, so the longer one is the narrower, and so is
    # the closed one.
    relation = Relation.EQUIVALENT
    if len(left) != len(right):
        relation = Relation.MORE_SPECIFIC if len(left) > len(right) else Relation.MORE_GENERAL
    elif a.open != b.open:
        relation = Relation.MORE_SPECIFIC if b.open else Relation.MORE_GENERAL
    # The two segments' texts first: most pairs of an application differ in a literal, and that is quickly
    # seen.
    for one, other in zip(a.segments, b.segments, strict=False):
        if isinstance(one, Fixed) and isinstance(other, Fixed) and one.text != other.text:
            return Relation.DISJOINT
    for one_set, other_set in zip(left, right, strict=False):
        relation = combine(relation, relate(one_set, other_set))
        if relation is Relation.DISJOINT:
            return relation
    return relation


def example(a: Pattern, b: Pattern) -> str:
    """A raw path that both match.

    Where only a program knows whether a text exists that both accept (two classes with `parse`), the
    segment shows the field instead.
    """
    parts = [common(one, other) for one, other in zip(a.languages, b.languages, strict=False)]
    longer = max(a, b, key=lambda pattern: len(pattern.languages))
    texts = [encode(part) if part is not None else _placeholder(longer, i) for i, part in enumerate(parts)]
    texts += [encode(_sample(language)) for language in longer.languages[len(parts) :]]
    return "".join(f"/{text}" for text in texts) or "/"


def example_only(a: Pattern, b: Pattern) -> str | None:
    """A raw path that `a` matches and `b` does not, or `None` when none is at hand."""
    plain = [_sample(language) for language in a.languages]
    candidates = [plain] if plain else [[""]]
    for index, language in enumerate(a.languages):
        candidates += [[*plain[:index], text, *plain[index + 1 :]] for text in (*language.samples(), "y")]
    if a.open:
        candidates += [[*plain, *["x"] * count] for count in range(1, len(b.languages) + 2)]
    for texts in candidates:
        if _matches(a, texts) and not _matches(b, texts):
            return "".join(f"/{encode(text)}" for text in texts)
    return None


def _matches(pattern: Pattern, texts: list[str]) -> bool:
    count = len(pattern.languages)
    return (len(texts) >= count if pattern.open else len(texts) == count) and all(
        language.accepts(text) for language, text in zip(pattern.languages, texts, strict=False)
    )


def remedy(a: Pattern, b: Pattern) -> str:
    """What to change so that the two no longer conflict; as code where one typed field does it."""
    if compare(a, b) is Relation.EQUIVALENT:
        return "They match exactly the same paths: remove one, or give one another path or other methods."
    for narrowed, other in ((a, b), (b, a)):
        if (text := _narrow(narrowed, other)) is not None:
            return f"Narrow one of them, for example by a type:  {text}"
    return "Narrow one by a literal segment or a type, so that it matches nothing that the other does not."


def _narrow(pattern: Pattern, other: Pattern) -> str | None:
    """`pattern` with one untyped field typed, if that settles the conflict."""
    for each in pattern.segments:
        if not isinstance(each, Field) or each.converter.base is not str:
            continue
        for spelling in ("int", "uuid", "date"):
            typed = converter_named(spelling)
            text = pattern.text.replace(f"{{{each.name}}}", f"{{{each.name}:{spelling}}}")
            try:
                narrowed = parse(text, {**pattern.fields, each.name: typed or STR})
            except PatternError:
                continue
            if text != pattern.text and compare(narrowed, other) is Relation.DISJOINT:
                return text
    return None


def _sample(language: Language) -> str:
    return next(iter(language.samples()), "x")


def _placeholder(pattern: Pattern, index: int) -> str:
    each = pattern.segments[index] if index < len(pattern.segments) else None
    return f"{{{each.name}}}" if isinstance(each, Field) else "x"
