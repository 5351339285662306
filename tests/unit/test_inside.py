"""What is inside of a type: what nobody can decode, what is marked, and whether a default is of it."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Hashable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from trivet._annotation import spelled
from trivet._inside import fits, marked_field, undecodable
from trivet._markers import Query

T = TypeVar("T")


class Local:
    pass


class LocalOf(Generic[T]):
    pass


class Item(msgspec.Struct):
    name: str


class Box(msgspec.Struct, Generic[T]):
    it: T
    inner: Box[T] | None = None


@dataclasses.dataclass
class Data:
    locals: dict[str, Local | None]


@attrs.define
class Attrs:
    boxes: list[Box[Local]]


class Row(NamedTuple):
    data: Data


class Typed(TypedDict):
    row: Row


class Node(msgspec.Struct):
    children: list[Node] = []
    value: Any = None


class Note(pydantic.BaseModel):
    title: Annotated[str, Query()]


class NoteOf(pydantic.BaseModel, Generic[T]):
    it: T


class Noted(msgspec.Struct):
    note: Note


class Marked(msgspec.Struct):
    ids: list[Annotated[int, Query()]]


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, None),
        (Node, None),
        (Box[int], None),
        (dict[str, object], None),
        (list[Hashable], None),
        (dict[str, int | msgspec.UnsetType], None),
        (dict[str, numbers.Number], None),
        (Mapping[str, Sequence[tuple[int, ...]]], None),
        (Literal["a"] | None, None),
        (Annotated[list[Item], msgspec.Meta(max_length=1)], None),
        (Local, ("", "Local")),
        (LocalOf[int], ("", "LocalOf[int]")),
        (list[Local], ("", "Local")),
        (dict[str, list[Local] | int], ("", "Local")),
        (tuple[int, Local], ("", "Local")),
        (Box[Local], ("Box.it", "Local")),
        (Data, ("Data.locals", "Local")),
        (Attrs, ("Box.it", "Local")),
        (list[Typed], ("Data.locals", "Local")),
        (Noted, ("Noted.note", "Note")),
        (complex, ("", "complex")),
    ],
)
def test_what_nobody_can_decode_is_found_wherever_it_is(annotation: Any, expected: tuple[str, str] | None) -> None:
    """In containers, unions and fields of every kind of model, which names the field."""
    found = undecodable(annotation)
    assert (found and (found[0], spelled(found[1]))) == expected


@pytest.mark.parametrize(
    ("annotation", "field"),
    [(Item, None), (Annotated[Item, Query()], None), (Marked, "Marked.ids"), (list[Noted], "Note.title")],
)
def test_a_marked_field_is_found(annotation: Any, field: str | None) -> None:
    """In models of all kinds, through each other."""
    found = marked_field(annotation)
    assert (found and found[0]) == field


@pytest.mark.parametrize(
    ("value", "annotation", "fitting"),
    [
        (Item("a"), Item, True),
        (5, Item, False),
        ({"name": "a"}, Item, False),
        (None, Item | None, True),
        (None, Item, False),
        (Box(1), Box[int], True),
        ([], list[Item], True),
        ([Item("a")], list[Item], True),
        ([5], list[Item], False),
        ([Item("a"), None], list[Item | None], True),
        ([None], list[Item], False),
        ((), list[int], False),
        ((), Sequence[int], True),
        ((1, "a"), tuple[int, str], True),
        ((1,), tuple[int, str], False),
        ((1, 2, 3), tuple[int, ...], True),
        ({"a": Item("a")}, dict[str, Item], True),
        ({"a": 1}, Mapping[str, Item], False),
        ({1: Item("a")}, dict[str, Item], False),
        ({"row": 1}, Typed, True),
        ([1], Typed, False),
        (1, float, True),
        ("1", float, False),
        (Decimal(1), Decimal, True),
        (date(2024, 2, 29), date | str, True),
        (Color.RED, Color, True),
        ("red", Color, False),
        ("a", Literal["a"], True),
        (True, Literal[1], False),
        (5, Annotated[int, msgspec.Meta(ge=1)] | None, True),
        (object(), Any, True),
        (Note(title="a"), Note, True),
        ({"title": "a"}, Note, False),
        (NoteOf(it=1), NoteOf[int], True),
        ("https://example.org", Note | pydantic.HttpUrl, True),
        (msgspec.UNSET, int | msgspec.UnsetType, True),
    ],
)
def test_a_default_is_of_its_type(value: Any, annotation: Any, fitting: bool) -> None:
    """As a handler would be given it: a dictionary is no model, and a tuple is no list."""
    assert fits(value, annotation) is fitting
