"""How two patterns relate, and the paths that prove it."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from trivet._conflict import Relation, compare, example, example_only, remedy
from trivet._convert import Converter, converter_for
from trivet._pattern import Pattern, parse, parse_mount
from trivet._relate import mirror
from trivet._routes import Found, Table
from trivet.errors import Location

EQUIVALENT, SPECIFIC, GENERAL = Relation.EQUIVALENT, Relation.MORE_SPECIFIC, Relation.MORE_GENERAL
DISJOINT, OVERLAPS = Relation.DISJOINT, Relation.OVERLAPS


class Sku:
    """A type that only its parser knows."""

    @classmethod
    def parse(cls, text: str) -> Sku:
        """`A` and digits."""
        if text[:1] != "A" or not text[1:].isdecimal():
            raise ValueError
        return cls()


class Isbn:
    """Another one."""

    @classmethod
    def parse(cls, text: str) -> Isbn:
        """Thirteen digits."""
        if len(text) != 13 or not text.isdecimal():
            raise ValueError
        return cls()


ANNOTATIONS: dict[str, Any] = {"sku": Sku, "isbn": Isbn, "ab": Literal["a", "b"], "only_a": Literal["a"]}


def of(text: str) -> Pattern:
    """A pattern; `/x/...` is a mount at `/x`."""
    if text.endswith("/..."):
        return parse_mount(text.removesuffix("/..."))
    types: dict[str, Converter] = {}
    for name, annotation in ANNOTATIONS.items():
        if (converter := converter_for(annotation)) is not None:
            types[name] = converter
    return parse(text, types)


CASES: list[tuple[str, str, Relation]] = [
    ("/a", "/a", EQUIVALENT),
    ("/a", "/b", DISJOINT),
    ("/a", "/a/", DISJOINT),
    ("/a", "/a/b", DISJOINT),
    ("/", "/{x}", DISJOINT),
    ("/a/", "/a/{x}", DISJOINT),
    ("/a/", "/{x}/", SPECIFIC),
    ("/caf%C3%A9", "/café", EQUIVALENT),
    ("/a%2Fb", "/a/b", DISJOINT),
    ("/a%2Fb", "/{x}", SPECIFIC),
    ("/{x}", "/{y}", EQUIVALENT),
    ("/a", "/{x}", SPECIFIC),
    ("/7", "/{x:int}", SPECIFIC),
    ("/new", "/{x:int}", DISJOINT),
    ("/{x:int}", "/{x}", SPECIFIC),
    ("/{x:int}", "/{x:float}", SPECIFIC),
    ("/{x:int}", "/{x:uuid}", DISJOINT),
    ("/{x}.png", "/{x}", SPECIFIC),
    ("/{x}.png", "/{x:int}", DISJOINT),
    ("/a{x}", "/{x}.png", OVERLAPS),
    ("/{ab}", "/a", GENERAL),
    ("/{only_a}", "/a", EQUIVALENT),
    ("/{ab}", "/{x}", SPECIFIC),
    ("/{sku}", "/{x}", SPECIFIC),
    ("/{sku}", "/A7", GENERAL),
    ("/{sku}", "/new", DISJOINT),
    ("/{sku}", "/{isbn}", OVERLAPS),
    ("/{sku}", "/{x:int}", OVERLAPS),
    ("/{x}/b", "/a/{y}", OVERLAPS),
    ("/{x:int}/b", "/a/{y}", DISJOINT),
    ("/{x}/{y}", "/a/{y}", GENERAL),
    ("/{x:int}/{y}", "/{x}/{y:int}", OVERLAPS),
    ("/{x}", "/{rest:path}", SPECIFIC),
    ("/{x}/{y}", "/{rest:path}", SPECIFIC),
    ("/a/", "/{rest:path}", SPECIFIC),
    ("/a/", "/a/{rest:path}", DISJOINT),
    ("/", "/{rest:path}", DISJOINT),
    ("/a", "/a/{rest:path}", DISJOINT),
    ("/a/{rest:path}", "/{rest:path}", SPECIFIC),
    ("/a/{rest:path}", "/{x}/{y}", OVERLAPS),
    ("/a/{rest:path}", "/{x}/b", OVERLAPS),
    ("/a/{rest:path}", "/b/{rest:path}", DISJOINT),
    ("/{x}/{rest:path}", "/{y}/{rest:path}", EQUIVALENT),
    ("/{x:int}/{rest:path}", "/{y}/{rest:path}", SPECIFIC),
    ("/...", "/", GENERAL),
    ("/...", "/{rest:path}", GENERAL),
    ("/a/...", "/a", GENERAL),
    ("/a/...", "/a/", GENERAL),
    ("/a/...", "/a/{rest:path}", GENERAL),
    ("/a/...", "/{x}", OVERLAPS),
    ("/a/...", "/{x}/b", OVERLAPS),
    ("/a/...", "/{rest:path}", SPECIFIC),
    ("/a/...", "/a/...", EQUIVALENT),
    ("/a/b/...", "/a/...", SPECIFIC),
    ("/a/...", "/b/...", DISJOINT),
    ("/a/...", "/b", DISJOINT),
]


def matches(pattern: Pattern, path: str) -> bool:
    table: Table[None] = Table()
    table.add(pattern, None, None, Location("handler", "app.py", 1))
    return isinstance(table.match("GET", path.encode("ascii")), Found)


@pytest.mark.parametrize(("left", "right", "expected"), CASES)
def test_two_patterns_relate(left: str, right: str, expected: Relation) -> None:
    """A is more specific when B matches all that A matches, and it is the same seen from the other side."""
    a, b = of(left), of(right)
    assert compare(a, b) is expected
    assert compare(b, a) is mirror(expected)


@pytest.mark.parametrize(
    ("left", "right"), [case[:2] for case in CASES if case[2] is not DISJOINT and case[:2] != ("/{sku}", "/{isbn}")]
)
def test_the_example_is_matched_by_both(left: str, right: str) -> None:
    """The path that proves a conflict is matched by either pattern alone."""
    a, b = of(left), of(right)
    if (left, right) == ("/{sku}", "/{x:int}"):
        assert example(a, b) in ("/{sku}", "/{x}")  # no integer is a Sku, but only the parser knows
        return
    path = example(a, b)
    assert (path, matches(a, path), matches(b, path)) == (path, True, True)


@pytest.mark.parametrize(("left", "right", "expected"), CASES)
def test_the_counter_examples_tell_the_two_apart(left: str, right: str, expected: Relation) -> None:
    """A path for one only is matched by that one only, and there is none where there cannot be."""
    for a, b, never in ((of(left), of(right), SPECIFIC), (of(right), of(left), GENERAL)):
        path = example_only(a, b)
        if expected in (never, EQUIVALENT):
            assert path is None
        elif path is not None:
            assert (path, matches(a, path), matches(b, path)) == (path, True, False)
        else:
            assert {left, right} & {"/{sku}", "/{isbn}"}


@pytest.mark.parametrize(
    ("left", "right", "shown"),
    [
        ("/{x}", "/{y}", "remove one"),
        ("/{x}/b", "/a/{y}", "/{x:int}/b"),
        ("/users/{id}", "/{kind}/new", "/users/{id:int}"),
        ("/a{x}", "/{x}.png", "by a type:  /a{x:int}"),
        ("/{x:int}/{y}", "/{x}/{y:int}", "/{x:int}/{y:uuid}"),
    ],
)
def test_the_remedy_ends_the_conflict(left: str, right: str, shown: str) -> None:
    """Where one typed field settles it, that pattern is shown."""
    assert shown in remedy(of(left), of(right))
