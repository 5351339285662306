"""Sets of texts: how two of them relate, checked by hand and against random texts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from trivet._convert import converter_for, converter_named
from trivet._language import Affixed, Finite, Inner, Integers, Language, segment
from trivet._relate import Relation, combine, common, mirror, relate

EQUIVALENT, SPECIFIC, GENERAL = Relation.EQUIVALENT, Relation.MORE_SPECIFIC, Relation.MORE_GENERAL
DISJOINT, OVERLAPS = Relation.DISJOINT, Relation.OVERLAPS


class Even:
    """An opaque type: the even numbers."""

    @classmethod
    def parse(cls, text: str) -> Even:
        """An even number."""
        if int(text) % 2:
            raise ValueError
        return cls()


class Word:
    """An opaque type: lower-case words."""

    @classmethod
    def parse(cls, text: str) -> Word:
        """A word."""
        if not (text.isalpha() and text.islower()):
            raise ValueError
        return cls()


def of(spec: Any) -> Language:
    """`"lit"`, a type, a set, or `(prefix, type, suffix)`."""
    if isinstance(spec, Integers):
        return spec
    if isinstance(spec, str):
        named = converter_named(spec)
        return segment(named.language) if named is not None else Finite(frozenset({spec}))
    prefix, annotation, suffix = spec if isinstance(spec, tuple) else ("", spec, "")
    converter = converter_named(annotation) if isinstance(annotation, str) else converter_for(annotation)
    assert converter is not None
    return segment(converter.language, prefix, suffix)


def between(low: int, high: int) -> Any:
    return Annotated[int, Meta(ge=low, le=high)]


def floats(low: float, high: float) -> Any:
    return Annotated[float, Meta(ge=low, le=high)]


def length(low: int, high: int) -> Any:
    return Annotated[str, Meta(min_length=low, max_length=high)]


ONE_TO_THREE = Literal[1, 2, 3]

CASES: list[tuple[Any, Any, Relation]] = [
    ("a", "a", EQUIVALENT),
    ("a", "b", DISJOINT),
    ("a", "str", SPECIFIC),
    ("7", "int", SPECIFIC),
    ("07", "int", DISJOINT),
    ("true", "bool", SPECIFIC),
    ("True", "bool", DISJOINT),
    ("int", "str", SPECIFIC),
    ("int", "float", SPECIFIC),
    ("int", "bool", DISJOINT),
    ("int", "uuid", DISJOINT),
    ("float", "str", SPECIFIC),
    ("float", "datetime", DISJOINT),
    ("uuid", "date", DISJOINT),
    ("date", "datetime", DISJOINT),
    ("bool", Literal["true", "false"], EQUIVALENT),
    ("bool", Literal["true"], GENERAL),
    (Literal["a", "b"], Literal["b", "c"], OVERLAPS),
    (Literal["a", "b"], Literal["c"], DISJOINT),
    (Literal["a", 1], "int", OVERLAPS),
    (Literal["a"], "a", EQUIVALENT),
    (ONE_TO_THREE, between(1, 3), EQUIVALENT),
    (ONE_TO_THREE, between(1, 4), SPECIFIC),
    (ONE_TO_THREE, between(2, 3), GENERAL),
    (between(1, 5), "int", SPECIFIC),
    (between(1, 5), between(5, 9), OVERLAPS),
    (between(1, 5), between(6, 9), DISJOINT),
    (between(1, 5), Annotated[int, Meta(gt=0, lt=6)], EQUIVALENT),
    (between(3, 2), "int", DISJOINT),
    (Integers(0, 10**400), "float", OVERLAPS),
    (between(0, 10**300), "float", SPECIFIC),
    (floats(0, 1), floats(0.5, 2), OVERLAPS),
    (floats(0, 1), floats(1.5, 2), DISJOINT),
    (floats(0, 1), "float", SPECIFIC),
    (between(0, 1), floats(0, 1), SPECIFIC),
    (between(0, 9), floats(0.5, 1.5), OVERLAPS),
    (between(0, 9), floats(0.5, 0.75), DISJOINT),
    (between(2**53 + 1, 2**53 + 1), floats(2**53, 2**53), SPECIFIC),
    (between(2**53 + 1, 2**53 + 9), floats(0, 2**53), OVERLAPS),
    (Annotated[float, Meta(gt=1)], Annotated[float, Meta(le=1)], DISJOINT),
    (Annotated[int, Meta(multiple_of=2)], "int", SPECIFIC),
    (Annotated[int, Meta(multiple_of=2)], Annotated[int, Meta(multiple_of=3)], OVERLAPS),
    (Annotated[int, Meta(multiple_of=2, le=5)], between(6, 9), DISJOINT),
    (Annotated[int, Meta(multiple_of=2)], Annotated[int, Meta(multiple_of=2)], EQUIVALENT),
    (length(1, 5), "str", SPECIFIC),
    (length(1, 5), length(3, 9), OVERLAPS),
    (length(1, 5), length(6, 9), DISJOINT),
    (length(0, 5), length(1, 5), EQUIVALENT),
    (length(1, 19), "int", GENERAL),
    (length(1, 18), "int", OVERLAPS),
    (length(1, 35), "uuid", DISJOINT),
    (length(36, 36), "uuid", GENERAL),
    (Annotated[str, Meta(pattern="^a")], "str", SPECIFIC),
    (Annotated[str, Meta(pattern="^a")], "abc", GENERAL),
    (Annotated[str, Meta(pattern="^a")], "bcd", DISJOINT),
    (Annotated[str, Meta(pattern="^a")], "int", OVERLAPS),
    (Even, "str", SPECIFIC),
    (Even, Even, EQUIVALENT),
    (Even, Word, OVERLAPS),
    (Even, "int", OVERLAPS),
    (Even, "4", GENERAL),
    (Even, "5", DISJOINT),
    (Even, Literal[2, 3], OVERLAPS),
    (("v", "int", ""), "str", SPECIFIC),
    (("v", "int", ""), ("v", "str", ""), SPECIFIC),
    (("v", "int", ""), ("v", "float", ""), SPECIFIC),
    (("v", "int", ""), "int", DISJOINT),
    (("v", "int", ""), "v1", GENERAL),
    (("v", "int", ""), "v", DISJOINT),
    (("", "str", ".png"), "str", SPECIFIC),
    (("", "str", ".png"), "int", DISJOINT),
    (("", "str", ".png"), ".png", DISJOINT),
    (("", "str", ".png"), ("", "str", ".jpg"), DISJOINT),
    (("a", "str", ""), ("b", "str", ""), DISJOINT),
    (("a", "str", ""), ("ab", "str", ""), GENERAL),
    (("a", "str", ""), ("", "str", ".png"), OVERLAPS),
    (("a", "str", ".png"), ("", "str", ".png"), SPECIFIC),
    (("a", "int", ""), ("", "str", ".png"), DISJOINT),
    (("1", "str", ""), "int", OVERLAPS),
    (("-", "str", ""), between(0, 9), DISJOINT),
    (("0", "str", ""), "int", DISJOINT),
    (("", "str", "-"), "int", DISJOINT),
    (("", "str", "-1"), "int", DISJOINT),
    (("a", length(1, 3), ""), length(1, 4), SPECIFIC),
    (("a", length(1, 3), ""), length(1, 3), OVERLAPS),
    (("a", length(1, 3), ""), length(5, 6), DISJOINT),
    (("x", "uuid", ""), ("", "str", "y"), DISJOINT),
    (("x", "bool", ""), Literal["xtrue", "xfalse"], EQUIVALENT),
    (("-1", "int", ""), ("", length(1, 2), "1"), OVERLAPS),  # -11
    (("abc", "str", ""), ("a", length(1, 1), "cz"), OVERLAPS),  # abcz
    (("0", "str", ""), ("", "int", "x"), OVERLAPS),  # 0x
    (("x", Even, ""), ("x", "str", ""), SPECIFIC),
    (("x", Even, ""), Even, OVERLAPS),
]


@pytest.mark.parametrize(("left", "right", "expected"), CASES, ids=str)
def test_two_sets_relate(left: Any, right: Any, expected: Relation) -> None:
    """Each pair of kinds relates as arithmetic and grammar say, the same both ways."""
    a, b = of(left), of(right)
    assert relate(a, b) is expected
    assert relate(b, a) is mirror(expected)


@pytest.mark.parametrize(
    ("left", "right"), [(a, b) for a, b, r in CASES if r is not DISJOINT and {a, b} not in ({Even, Word},)]
)
def test_sets_that_meet_have_a_text_in_common(left: Any, right: Any) -> None:
    """A text that both accept is found, but where only two programs could tell."""
    a, b = of(left), of(right)
    text = common(a, b)
    if text is None:
        assert (left, right) in [(("x", Even, ""), Even), (Annotated[str, Meta(pattern="^a")], "int")]
    else:
        assert a.accepts(text)
        assert b.accepts(text)


def test_two_programs_may_have_no_text_in_common_to_show() -> None:
    """Nothing is made up for two opaque types."""
    assert common(of(Even), of(Word)) is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (EQUIVALENT, SPECIFIC, SPECIFIC),
        (SPECIFIC, EQUIVALENT, SPECIFIC),
        (SPECIFIC, SPECIFIC, SPECIFIC),
        (SPECIFIC, GENERAL, OVERLAPS),
        (GENERAL, SPECIFIC, OVERLAPS),
        (OVERLAPS, EQUIVALENT, OVERLAPS),
        (OVERLAPS, SPECIFIC, OVERLAPS),
        (OVERLAPS, DISJOINT, DISJOINT),
        (DISJOINT, EQUIVALENT, DISJOINT),
        (EQUIVALENT, EQUIVALENT, EQUIVALENT),
    ],
)
def test_products_relate_as_their_factors_combined(first: Relation, second: Relation, expected: Relation) -> None:
    """One disjoint factor parts two products; two that disagree overlap."""
    assert combine(first, second) is expected


small = st.integers(-12, 25)
inners: st.SearchStrategy[Inner] = st.one_of(
    st.sampled_from(["str", "int", "float", "bool", "uuid", "date", "datetime"]),
    st.tuples(small, small).map(lambda pair: between(*pair)),
    st.tuples(small, small).map(lambda pair: floats(pair[0] / 2, pair[1] / 2)),
    st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda pair: length(*pair)),
    st.lists(st.sampled_from(["a", "b", "1", "2", "-1", "0.5", "true"]), min_size=1).map(
        lambda values: Literal[tuple(values)]
    ),
    st.sampled_from([Even, Word, Annotated[int, Meta(multiple_of=2)], Annotated[str, Meta(pattern="^1")]]),
).map(lambda spec: (converter_named(spec) if isinstance(spec, str) else converter_for(spec)).language)  # type: ignore[union-attr]

affixes = st.sampled_from(["", "", "a", "1", "-", "-1", "0", ".5", "e", "ab", "12"])
languages: st.SearchStrategy[Language] = st.builds(segment, inners, affixes, affixes)
texts = st.one_of(
    st.text("ab01259-.etrufls", min_size=1, max_size=6),
    st.integers(-30, 30).map(str),
    st.integers(-60, 60).map(lambda n: str(n / 4)),
)


@settings(max_examples=300)
@given(languages, languages, st.lists(texts, min_size=5, max_size=30))
def test_a_relation_is_never_wrong(a: Language, b: Language, samples: list[str]) -> None:
    """No text contradicts the relation: texts of both sets, of either, and random ones."""
    relation = relate(a, b)
    assert relate(b, a) is mirror(relation)
    for text in [*samples, common(a, b) or "z", *a.samples()[:12], *b.samples()[:12]]:
        in_a, in_b = a.accepts(text), b.accepts(text)
        assert not (relation is DISJOINT and in_a and in_b)
        assert not (relation is SPECIFIC and in_a and not in_b)
        assert not (relation is GENERAL and in_b and not in_a)
        assert not (relation is EQUIVALENT and in_a is not in_b)


@settings(max_examples=200)
@given(languages, languages, languages)
def test_more_specific_is_transitive(a: Language, b: Language, c: Language) -> None:
    """The tree may sort by it."""
    within = (SPECIFIC, EQUIVALENT)
    if relate(a, b) in within and relate(b, c) in within:
        assert relate(a, c) in within


@given(languages)
def test_samples_belong_to_their_set(language: Language) -> None:
    """What messages show is true, and no set but an empty one is without a sample, programs aside."""
    samples = language.samples()
    assert all(language.accepts(text) for text in samples)
    assert not (isinstance(language, Affixed) and any(len(t) <= len(language.prefix) for t in samples))
