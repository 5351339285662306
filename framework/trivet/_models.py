"""Models that are read field by field: from the query, the headers, the cookies or a form.

This file owns which fields a class has for that, the names that clients know them by, and how the class is made of
what was read. Where each text comes from and what it means is the sources' (`_extract`) and converters' business; which
parameter is such a model, `_signature`'s. It runs at registration only, but for `build`.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ._annotation import class_of
from ._document import Pydantic, is_pydantic
from ._extract import Misfit
from ._fields import Field, fields_of


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
    if is_pydantic(annotation):
        return _pydantic(annotation)
    fields = fields_of(annotation)
    cls = class_of(annotation)
    if fields is None or cls is None:
        return None
    if typing.is_typeddict(cls):
        return Shape(fields, dict, False, False)
    strict = issubclass(cls, msgspec.Struct) and cls.__struct_config__.forbid_unknown_fields
    return Shape(fields, _maker(cls), strict, False)


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
