"""Models that are read field by field: from the query, the headers, the cookies or a form.

This file owns which fields a class has for that, the names that clients know them by, and how the class is made of
what was read. Where each text comes from and what it means is the sources' (`_extract`) and converters' business; which
parameter is such a model, `_signature`'s. It runs at registration only, but for `build`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ._body import typed_dict_fields
from ._document import Pydantic, is_pydantic
from ._extract import Misfit


class Field(NamedTuple):
    """A field of a model, before it has a source."""

    key: str
    """What the class is given it as."""
    name: str
    """The name that clients know, where the class says one; else the same."""
    annotation: Any
    required: bool


class Shape(NamedTuple):
    """What a class says of itself as a model."""

    fields: Sequence[Field]
    build: Callable[[dict[str, Any]], Any]
    """From what was read to the model. Raises `Misfit`."""
    strict: bool
    """It forbids fields that it does not know."""
    texts: bool
    """It converts texts by itself, as pydantic does."""


def shape_of(annotation: Any) -> Shape | None:
    """The shape of a Struct, dataclass, TypedDict, attrs class or pydantic model; `None`: it is none of these."""
    if not isinstance(annotation, type):
        return None
    if is_pydantic(annotation):
        return _pydantic(annotation)
    if typing.is_typeddict(annotation):
        keys = typed_dict_fields(annotation)
        return Shape([Field(name, name, hint, required) for name, (hint, required) in keys.items()], dict, False, False)
    fields = _of_class(annotation)
    if fields is None:
        return None
    strict = issubclass(annotation, msgspec.Struct) and annotation.__struct_config__.forbid_unknown_fields
    return Shape(fields, _maker(typing.cast("type[Any]", annotation)), strict, False)


def _of_class(annotation: type[Any]) -> Sequence[Field] | None:
    if issubclass(annotation, msgspec.Struct):
        return [
            Field(each.name, each.encode_name, each.type, each.required) for each in msgspec.structs.fields(annotation)
        ]
    hints: Mapping[str, Any]
    if dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        missing = dataclasses.MISSING
        return [
            Field(each.name, each.name, hints[each.name], each.default is missing and each.default_factory is missing)
            for each in dataclasses.fields(annotation)
            if each.init
        ]
    attributes = getattr(annotation, "__attrs_attrs__", None)
    if attributes is None:
        return None
    hints = typing.get_type_hints(annotation, include_extras=True)
    # NOTHING is attrs' own sentinel, told by its repr so that attrs need not be there. An alias is what __init__ takes.
    return [
        Field(getattr(each, "alias", None) or each.name, each.name, hints[each.name], repr(each.default) == "NOTHING")
        for each in attributes
        if each.init
    ]


def _maker(cls: type[Any]) -> Callable[[dict[str, Any]], Any]:
    def build(given: dict[str, Any]) -> Any:
        try:
            return cls(**given)
        except (ValueError, TypeError) as error:
            # What `__post_init__` raises to refuse a value: msgspec takes the same two for that.
            raise Misfit([("", str(error))]) from error

    return build


def _pydantic(annotation: type[Any]) -> Shape:
    adapter = Pydantic(annotation)
    described: Mapping[str, Any] = annotation.__pydantic_fields__
    fields = [
        Field(name, name, info.annotation, bool(info.is_required()))
        for key, info in described.items()
        if (name := _alias(info) or key)
    ]

    def build(given: dict[str, Any]) -> Any:
        value, reasons = adapter.build(given)
        if reasons:
            raise Misfit(reasons)
        return value

    config: Mapping[str, Any] = getattr(annotation, "model_config", {})
    return Shape(fields, build, config.get("extra") == "forbid", True)


def _alias(info: Any) -> str | None:
    alias = info.validation_alias or info.alias
    return alias if isinstance(alias, str) else None
