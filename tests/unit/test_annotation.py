"""Annotations taken apart: aliases of every kind stand for what they name, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, NewType, Required, TypeVar

import msgspec
import pytest
from typing_extensions import TypeAliasType

from trivet._annotation import all_metadata, members, metadata, resolved, spelled, split_optional
from trivet._parameter import parameters_of
from trivet.errors import RegistrationError

T = TypeVar("T")
U = TypeVar("U")

# Made by calls, for Python 3.11 has no `type` statement; they are the same to whoever reads them.
UserId = TypeAliasType("UserId", int)
UserIds = TypeAliasType("UserIds", list[UserId])
Bounded = TypeAliasType("Bounded", Annotated[UserIds, msgspec.Meta(max_length=2)])
Listed = TypeAliasType("Listed", list[T], type_params=(T,))
Pairs = TypeAliasType("Pairs", dict[U, list[T]], type_params=(T, U))
Marked = TypeAliasType("Marked", Annotated[T, "marked"], type_params=(T,))
Name = NewType("Name", str)
Names = NewType("Names", list[Name])


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, int),
        (UserId, int),
        (UserIds, list[int]),
        (UserIds | None, list[int] | None),
        (Bounded, Annotated[list[int], msgspec.Meta(max_length=2)]),
        (Annotated[UserIds, "x"], Annotated[list[int], "x"]),
        (dict[str, tuple[UserId, ...]], dict[str, tuple[int, ...]]),
        (Listed[UserId], list[int]),
        (Listed[T], list[T]),  # type: ignore[valid-type]
        (Pairs[int, str], dict[str, list[int]]),
        (Marked[Listed[int]], Annotated[list[int], "marked"]),
        (Required[UserId], Required[int]),
        (tuple[UserId], tuple[int]),
        (Name, str),
        (Names, list[str]),
        (Literal["a"], Literal["a"]),
        (Callable[[int], str], Callable[[int], str]),
    ],
)
def test_aliases_and_new_types_stand_for_what_they_name(annotation: Any, expected: Any) -> None:
    """At any depth, with the arguments of a generic one in their places."""
    assert resolved(annotation) == expected


@pytest.mark.parametrize("annotation", [int, list[int], int | None, Annotated[list[int], "x"], dict[str, list[T]]])  # type: ignore[valid-type]
def test_what_has_no_alias_is_left_as_it_is(annotation: Any) -> None:
    """The same object, as a decoder may have seen it already."""
    assert resolved(annotation) is annotation


def test_an_alias_that_names_itself_ends_where_it_does_so() -> None:
    """There is no end to what it stands for."""

    class Recursive:
        """As Python makes of `type Deep = list[Deep]`."""

    Recursive.__name__ = "TypeAliasType"
    deep: Any = Recursive()
    deep.__type_params__ = ()
    deep.__value__ = list[deep]
    assert resolved(deep) == list[deep]
    assert resolved(dict[str, deep]) == dict[str, list[deep]]


def test_an_alias_of_what_is_not_there_is_refused_with_its_name() -> None:
    """The value of a `type` statement is computed when it is asked for, which is here."""

    class Lazy:
        """As Python makes of `type Missing = Nowhere`."""

        __type_params__ = ()

        @property
        def __value__(self) -> Any:
            raise NameError("name 'Nowhere' is not defined", name="Nowhere")

    Lazy.__name__ = "TypeAliasType"

    def handler(x: Any) -> None: ...

    handler.__annotations__["x"] = Lazy()
    with pytest.raises(RegistrationError, match="a type alias that names 'Nowhere'"):
        parameters_of(handler)


def test_what_annotated_says_of_the_whole_is_told_from_what_it_says_inside() -> None:
    """Through `| None`, and no further."""
    annotation = Annotated[Annotated[list[Annotated[int, "inside"]], "near"] | None, "far"]
    assert metadata(annotation) == ["far", "near"]
    assert list(all_metadata(annotation)) == ["far", "near", "inside"]
    assert metadata(Annotated[int, "a"] | str) == []
    assert split_optional(annotation) == (Annotated[list[Annotated[int, "inside"]], "near", "far"], True)


def test_the_members_of_a_union() -> None:
    """Each once, without `None` and without `Annotated`; a type that is no union is its own."""
    assert members(Annotated[Annotated[int | None, "x"] | str, "y"] | None) == (int, str)
    assert members(Annotated[int, "x"]) == (int,)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, "int"),
        (int | None, "int | None"),
        (list[Listed[int]], "list[list[int]]"),
        (dict[str, msgspec.Meta | None], "dict[str, Meta | None]"),
        (tuple[msgspec.Meta, ...], "tuple[Meta, ...]"),
        (
            Annotated[list[msgspec.Meta], msgspec.Meta(max_length=1)],
            "Annotated[list[Meta], msgspec.Meta(max_length=1)]",
        ),
        (Literal["a.b", 1], "Literal['a.b', 1]"),
        (Any, "Any"),
        (T, "~T"),
    ],
)
def test_a_type_is_spelled_as_its_author_wrote_it(annotation: Any, expected: str) -> None:
    """Without the modules that its names come from, which are imported where it stands."""
    assert spelled(resolved(annotation)) == expected
