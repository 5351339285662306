"""Which fields a model has: a Struct, dataclass, TypedDict or attrs class, generic or not.

This file owns their names, in Python and to clients, their types, and whether they are required. Where they are read
from, and what is made of them, is for others to know. pydantic's models are not ours to take apart (`_models`).
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from ._annotation import class_of, hints_of, resolved


class Field(NamedTuple):
    """A field of a model, before it has a source."""

    key: str
    """What the class is given it as."""
    name: str
    """The name that clients know, where the class says one; else the same."""
    annotation: Any
    required: bool
    others: Sequence[str] = ()
    """More names that clients may use."""
    attribute: str = ""
    """What it is called in Python, where that is not `key`."""


def fields_of(annotation: Any) -> Sequence[Field] | None:
    """The fields that a class is made of; `None`: it is no such class.

    Raises:
        NameError: an annotation names what is not there.
    """
    cls = class_of(annotation)
    if cls is None:
        return None
    if issubclass(cls, msgspec.Struct):
        return [
            Field(each.name, each.encode_name, resolved(each.type), each.required)
            for each in msgspec.structs.fields(annotation)
        ]
    if dataclasses.is_dataclass(cls):
        hints, missing = hints_of(annotation), dataclasses.MISSING
        return [
            Field(each.name, each.name, hints[each.name], each.default is missing and each.default_factory is missing)
            for each in dataclasses.fields(cls)
            if each.init
        ]
    if typing.is_typeddict(cls):
        return _keys(annotation, cls)
    attributes = getattr(cls, "__attrs_attrs__", None)
    if attributes is None:
        return None
    hints = hints_of(annotation)
    # NOTHING is attrs' own sentinel, told by its repr so that attrs need not be there. An alias is what __init__ takes.
    return [
        Field(getattr(each, "alias", None) or each.name, each.name, hints[each.name], repr(each.default) == "NOTHING")
        for each in attributes
        if each.init
    ]


def _keys(annotation: Any, cls: type[Any]) -> Sequence[Field]:
    """Those of a TypedDict. `__required_keys__` alone does not know which are required: where annotations are strings,
    it has not seen `NotRequired`."""
    required: frozenset[str] = cls.__required_keys__
    found: list[Field] = []
    for name, hint in hints_of(annotation).items():
        origin = typing.get_origin(hint)
        inner = typing.get_args(hint)[0] if origin in (typing.Required, typing.NotRequired) else hint
        needed = origin is typing.Required or (name in required and origin is not typing.NotRequired)
        found.append(Field(name, name, inner, needed))
    return found
