"""Models that are read field by field: from the query, the headers, the cookies or a form.

This file owns which fields a class has for that, the names that clients know them by, and how the class is made of
what was read. Where each text comes from and what it means is the sources' (`_extract`) and converters' business; which
parameter is such a model, `_signature`'s. It runs at registration only, but for `build`.
"""

from __future__ import annotations

import inspect
import typing
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from ._annotation import bare, class_of, members, resolved, spelled, split_optional
from ._document import Pydantic, is_pydantic
from ._extract import Container, Misfit, TextParam, Values
from ._fields import Field, fields_of
from .errors import Fault

CONTAINERS: Final[Mapping[Any, Container]] = {list: list, set: set, frozenset: frozenset, tuple: tuple}

_MANY: Final = (list, set, frozenset, tuple, deque, dict, Mapping, Sequence, Set)
_TEXTS: Final = (str, bytes)
_VALIDATORS: Final = frozenset({"BeforeValidator", "PlainValidator", "WrapValidator", "Json"})


class Shape(NamedTuple):
    """What a class says of itself as a model."""

    fields: Sequence[Field]
    build: Callable[[dict[str, Any]], Any]
    """From what was read to the model. Raises `Misfit`."""
    strict: bool
    """It forbids fields that it does not know."""
    texts: bool
    """It converts texts by itself, as pydantic does."""


def items_of(inner: Any) -> tuple[Any, Container] | None:
    """The item type of a list, set, frozenset or `tuple[T, ...]`, and what makes the container."""
    origin, args = typing.get_origin(inner), typing.get_args(inner)
    if origin in CONTAINERS and (origin is not tuple or (len(args) == 2 and args[1] is ...)):
        return args[0], CONTAINERS[origin]
    return None


@dataclass(frozen=True, slots=True)
class AliasedParam(TextParam):
    """A field that clients may spell otherwise, too; the first name that is there counts."""

    others: tuple[TextParam, ...] = ()

    def read(self, values: Values, faults: list[Fault]) -> Any:
        """The value; on a fault, `None` with the fault appended."""
        if not values.getlist(self.name):
            for each in self.others:
                if values.getlist(each.name):
                    return each.read(values, faults)
        return TextParam.read(self, values, faults)


def shape_of(annotation: Any) -> Shape | None:
    """The shape of a Struct, dataclass, TypedDict, attrs class or pydantic model; `None`: it is none of these.

    Raises:
        TypeError: it cannot be read field by field: why, and what to do about that if it is not to read it from a body.
        NameError: an annotation names what is not there.
    """
    if is_pydantic(annotation):
        return _pydantic(annotation)
    fields = fields_of(annotation)
    cls = class_of(annotation)
    if fields is None or cls is None:
        return None
    if typing.is_typeddict(cls):
        return Shape(fields, dict, False, False)
    _check_arguments(cls, fields)
    strict = issubclass(cls, msgspec.Struct) and cls.__struct_config__.forbid_unknown_fields
    return Shape(fields, _maker(cls), strict, False)


def _check_arguments(cls: type[Any], fields: Sequence[Field]) -> None:
    """Refuse a class that cannot be made of its fields: it has an `InitVar`, or an `__init__` of its own."""
    try:
        inspect.signature(cls).bind(**dict.fromkeys(each.key for each in fields))
    except ValueError:  # no signature to read
        return
    except TypeError as error:
        what = f"{cls.__name__} cannot be made of its fields ({error})"
        raise TypeError(what, "Let each argument of it be a field, or make it in a provider.") from None


def _maker(cls: type[Any]) -> Callable[[dict[str, Any]], Any]:
    def build(given: dict[str, Any]) -> Any:
        try:
            return cls(**given)
        except (ValueError, TypeError) as error:
            # What `__post_init__` raises to refuse a value: msgspec takes the same two for that.
            raise Misfit([("", str(error))]) from error

    return build


def _pydantic(annotation: type[Any]) -> Shape:
    if getattr(annotation, "__pydantic_root_model__", False):
        raise TypeError(f"{annotation.__name__} is a RootModel, which has no fields")
    adapter = Pydantic(annotation)
    config: Mapping[str, Any] = getattr(annotation, "model_config", None) or getattr(
        annotation, "__pydantic_config__", {}
    )
    described: Mapping[str, Any] = annotation.__pydantic_fields__
    parsed = _parsed(annotation)
    fields: list[Field] = []
    for key, info in described.items():
        names = _names(annotation, key, info, config)
        if not ({"*", key} & parsed or _validators(info) or _spelt(resolved(info.annotation))):
            raise TypeError(
                f"{annotation.__name__}.{key} ({spelled(info.annotation)}) is neither a scalar nor a list of scalars"
            )
        # What is JSON in one text is no list of texts, whatever it holds.
        taken = str if "Json" in _validators(info) else info.annotation
        fields.append(Field(names[0], names[0], taken, bool(info.is_required()), names[1:], key))

    def build(given: dict[str, Any]) -> Any:
        value, reasons = adapter.build(given)
        if reasons:
            raise Misfit(reasons)
        return value

    return Shape(fields, build, config.get("extra") == "forbid", True)


def _names(model: type[Any], key: str, info: Any, config: Mapping[str, Any]) -> list[str]:
    """All names that a field of pydantic's may come by, the first of which we document."""
    alias = info.validation_alias or info.alias
    by_name = bool(config.get("validate_by_name") or config.get("populate_by_name"))
    found: list[Any] = []
    if alias is not None and config.get("validate_by_alias") is not False:
        found += getattr(alias, "choices", [alias])
    if not found or by_name:
        found.append(key)
    if not all(isinstance(each, str) for each in found):
        raise TypeError(f"{model.__name__}.{key} has a path for an alias, which is no name that a request could have")
    return list(dict.fromkeys(found))


def _parsed(model: type[Any]) -> set[str]:
    """The fields that a validator of the model's may make of any text; "*": all of them."""
    decorators = getattr(model, "__pydantic_decorators__", None)
    found: set[str] = set()
    for each in getattr(decorators, "field_validators", {}).values():
        if each.info.mode != "after":
            found.update(each.info.fields)
    if any(each.info.mode != "after" for each in getattr(decorators, "model_validators", {}).values()):
        found.add("*")
    return found


def _validators(info: Any) -> frozenset[str]:
    """Those of the field's type that may make it of any text: `BeforeValidator`, `Json` and the like."""
    return _VALIDATORS & {getattr(each, "__name__", type(each).__name__) for each in info.metadata}


def _spelt(annotation: Any, *, item: bool = False) -> bool:
    """Whether pydantic may make a type of a text, or a list, set, frozenset or tuple of several."""
    found = None if item else items_of(bare(split_optional(annotation)[0]))
    if found is not None:
        return _spelt(found[0], item=True)
    for each in members(annotation):
        cls = class_of(each)
        if cls is not None and getattr(cls, "__pydantic_root_model__", False):
            if _spelt(cls.__pydantic_fields__["root"].annotation, item=True):
                return True
        elif (
            cls is None
            or issubclass(cls, _TEXTS)
            or not (is_pydantic(cls) or issubclass(cls, _MANY) or fields_of(each) is not None)
        ):
            return True
    return False


def takes_empty(annotation: Any) -> bool:
    """Whether pydantic may take the empty text for a value of this type, or for an item of this list."""
    found = items_of(bare(split_optional(annotation)[0]))
    for each in members(annotation if found is None else found[0]):
        cls = class_of(each)
        if cls is None:
            empty = each is Any or isinstance(each, TypeVar)
        elif hasattr(cls, "__get_pydantic_core_schema__") and not is_pydantic(cls):
            empty = not Pydantic(cls).build("")[1]
        else:
            empty = issubclass(cls, _TEXTS) and not issubclass(cls, Enum)
        if empty:
            return True
    return False
