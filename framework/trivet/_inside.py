"""What is inside of a type that is read from a request: what nobody can decode, and what does not belong there.

This file owns the walk through containers and the fields of models, and what a value has to be to stand for such a type
as a default. What to say about it, and where, is `_signature`'s. It runs at registration only.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from ._annotation import class_of, hints_of, members, split_optional
from ._document import is_pydantic
from ._fields import fields_of
from ._markers import Depends, Marker

_OF_JSON: Final = (dict, list, str, int, float, bool)


def undecodable(annotation: Any) -> tuple[str, Any] | None:
    """The field (empty: no field) and the type of what neither msgspec nor pydantic can decode, if there is any.

    What pydantic can read, it says itself: types with its models in them are not asked about.
    """
    for place, each in _parts(annotation):
        if class_of(each) in (None, msgspec.UnsetType):  # which stands for a field that is not there
            continue
        info = msgspec.inspect.type_info(each)
        # What all instances of a type of JSON are instances of is no riddle: `object`, `Hashable`.
        if isinstance(info, msgspec.inspect.CustomType) and not _may_be(info.cls):
            return place, each
    return None


def _may_be(cls: Any) -> bool:
    try:
        return any(issubclass(each, typing.get_origin(cls) or cls) for each in _OF_JSON)
    except TypeError:  # a protocol of attributes, which only instances can be asked about
        return False


def marked_field(annotation: Any) -> tuple[str, Depends | Marker] | None:
    """A field of a model that bears a marker, which is read of parameters only, if there is one."""
    for place, each in _parts(annotation):
        if typing.get_origin(each) is typing.Annotated and place:
            for extra in typing.get_args(each)[1:]:
                if isinstance(extra, Depends | Marker):
                    return place, extra
    return None


def _parts(annotation: Any) -> Iterator[tuple[str, Any]]:
    """All types in a type, each with the field that it stands in."""
    seen: list[Any] = []
    waiting: list[tuple[str, Any]] = [("", annotation)]
    while waiting:
        place, each = waiting.pop(0)
        yield place, each
        origin, args, cls = typing.get_origin(each), typing.get_args(each), class_of(each)
        fields = [] if cls is None or each in seen else list(_fields(each, cls))
        seen.append(each)
        if fields and cls is not None:  # which have what a generic one is given
            waiting += [(f"{cls.__name__}.{name}", hint) for name, hint in fields]
        elif origin is not typing.Literal:
            waiting += [(place, arg) for arg in (args[:1] if origin is typing.Annotated else args) if arg is not ...]


def _fields(annotation: Any, cls: type[Any]) -> Iterator[tuple[str, Any]]:
    if is_pydantic(cls):
        described: Mapping[str, Any] = getattr(cls, "__pydantic_fields__", {})
        for name, info in described.items():
            yield name, typing.Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    elif hasattr(cls, "_fields") and issubclass(cls, tuple):
        yield from hints_of(annotation).items()
    else:
        try:
            fields = fields_of(annotation) or ()
        except NameError:  # pydantic may know a name that Python does not
            return
        for field in fields:
            yield field.key, field.annotation


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is what a type says, as far as that can be told without decoding it."""
    if value is None and split_optional(annotation)[1]:
        return True
    return any(_fits(value, plain) for plain in members(annotation))


def _fits(value: Any, plain: Any) -> bool:
    args, cls = typing.get_args(plain), class_of(plain)
    if typing.get_origin(plain) is typing.Literal:
        return any(value == each and type(value) is type(each) for each in args)
    if cls is None or cls is object or (hasattr(cls, "__get_pydantic_core_schema__") and not is_pydantic(cls)):
        return True  # whoever it is that knows such a type
    if typing.is_typeddict(cls):
        return isinstance(value, dict)
    if not _is_one(value, cls):
        return False
    if isinstance(value, Mapping) and len(args) == 2:
        found = typing.cast("Mapping[str, Any]", value)
        return all(fits(key, args[0]) and fits(each, args[1]) for key, each in found.items())
    if isinstance(value, list | tuple | set | frozenset) and args:
        items = list(typing.cast("Collection[Any]", value))
        of_each = args if cls is tuple and args[1:] != (...,) else [args[0]] * len(items)
        return len(items) == len(of_each) and all(map(fits, items, of_each))
    return True


def _is_one(value: Any, cls: type[Any]) -> bool:
    # A generic model of pydantic's is a class of its own for each of its arguments, and no base of the others.
    wanted: Any = getattr(cls, "__pydantic_generic_metadata__", {}).get("origin") or cls
    try:
        return isinstance(value, (int, float) if wanted is float else wanted)
    except TypeError:
        return True
