"""Every place where a document does not fit its type, where msgspec stops at the first.

This file owns what is looked at for that, the pointers and reasons that clients see, and the bounds on the price. It is
given what has been parsed; how, and what becomes of the faults, is `_body`'s.
"""

from __future__ import annotations

import itertools
import typing
from collections.abc import (
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set,
)
from typing import Any, Final

import msgspec

from ._annotation import class_of, hints_of, members
from ._fields import Field, fields_of
from .errors import Fault

FAULTS_MAX: Final = 100
"""How many faults one answer lists: a body of a million wrong items must not become a larger answer."""
LOOKS_MAX: Final = 10_000
"""How many members of wrong containers are looked at one by one, which costs far more than decoding them did."""
DEPTH_MAX: Final = 16
"""How deep faults are told apart: each level may look at all that is below it once more."""
TOKEN_MAX: Final = 100
"""Characters of a key in a pointer: a key of a megabyte must not be repeated in each of a hundred faults."""

_ARRAYS: Final = frozenset({list, set, frozenset, *(Collection, Sequence, MutableSequence, Set, MutableSet)})
_OBJECTS: Final = frozenset({dict, Mapping, MutableMapping})


def faults(document: Any, annotation: Any, first: msgspec.ValidationError) -> list[Fault]:
    """Every place where the decoded `document` does not fit `annotation`, up to the bounds above; at least `first`."""
    try:
        found = list(itertools.islice(_Walk().faults(document, annotation, "", 0), FAULTS_MAX))
    except (msgspec.MsgspecError, RecursionError, TypeError, NameError):
        found = []  # a type that only msgspec itself can walk: its own first fault stands
    return found or [_fault("", first)]


def pointed_out(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """As many pointers and reasons as one answer lists."""
    return list(itertools.islice(found, FAULTS_MAX))


class _Walk:
    """One search for faults, which looks closer only where msgspec finds one.

    A part that fits costs one call, however large it is. Of a part that does not, at most `LOOKS_MAX` members are
    looked at one by one, `DEPTH_MAX` levels deep; beyond that the first fault stands for all.
    """

    __slots__ = ("_known", "_looks")

    def __init__(self) -> None:
        self._looks = LOOKS_MAX
        self._known: dict[int, tuple[Any, Mapping[str, Field] | None]] = {}

    def faults(self, value: Any, annotation: Any, pointer: str, depth: int) -> Iterator[Fault]:
        """The faults of `value` and of what it holds."""
        self._looks -= 1
        try:
            msgspec.convert(value, annotation, str_keys=True)
            return
        except msgspec.ValidationError as error:
            first = error
        inside = False
        for fault in self._inside(value, annotation, pointer, depth) if depth < DEPTH_MAX else ():
            inside = True
            yield fault
        if not inside:  # or there is no inside: the whole decides (bounds, __post_init__, tags)
            yield _fault(pointer, first)

    def _inside(self, value: Any, annotation: Any, pointer: str, depth: int) -> Iterator[Fault]:
        parts: Iterable[tuple[str, Any, Any]] = ()
        if isinstance(value, dict):
            found = typing.cast("dict[str, Any]", value)
            plain, tag = self._meant(found, members(annotation))
            if plain is None and tag is not None and tag not in found:
                yield Fault("body", f"{pointer}/{escape(tag)}", "is required")
            fields = self._fields_of(plain)
            if fields is not None:
                yield from _field_names(found, plain, fields, tag, pointer)
                parts = ((name, found[name], each.annotation) for name, each in fields.items() if name in found)
            elif len(args := typing.get_args(plain)) == 2:
                parts = ((str(key), item, args[1]) for key, item in found.items())
        elif isinstance(value, list):
            parts = self._items(typing.cast("Sequence[Any]", value), members(annotation))
        for token, part, of_it in parts:
            if self._looks <= 0:
                return
            yield from self.faults(part, of_it, f"{pointer}/{escape(token)}", depth + 1)

    def _meant(self, value: dict[str, Any], types: Sequence[Any]) -> tuple[Any, str | None]:
        """Which of the types an object is meant as, and the name of the tag that tells it, if one does.

        msgspec allows only unions of which that can be told: by a tag, or by there being one such type.
        """
        objects = [each for each in types if not _is_array(each)]
        tagged = [(config.tag, each) for each in objects if (config := _config(each)) and config.tag is not None]
        if not tagged:
            likely = (each for each in objects if class_of(each) in _OBJECTS or self._fields_of(each) is not None)
            return next(likely, None), None
        name = _config(tagged[0][1]).tag_field
        if name not in value:  # which is right if there is one only
            return tagged[0][1] if len(tagged) == 1 else None, name
        return next((each for tag, each in tagged if tag == value[name]), None), name

    def _items(self, value: Sequence[Any], types: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
        """What an array holds, as far as each item has a type of its own."""
        plain = next((each for each in types if _is_array(each)), None)
        args, config = typing.get_args(plain), _config(plain)
        of_each: Sequence[Any] = [args[0]] * len(value) if args else ()
        if config is not None:  # a tag stands before the fields
            fields = self._fields_of(plain) or {}
            of_each = [each.annotation for each in fields.values()] if config.tag is None else ()
        elif hasattr(plain, "_fields") or hasattr(typing.get_origin(plain), "_fields"):
            of_each = list(hints_of(plain).values())
        elif class_of(plain) is tuple and args[1:] != (...,):
            of_each = args if len(args) == len(value) else ()
        for index, (item, annotation) in enumerate(zip(value, of_each, strict=False)):
            yield str(index), item, annotation

    def _fields_of(self, plain: Any) -> Mapping[str, Field] | None:
        """The fields of a class by their names in JSON; what they are is computed once for all of its objects."""
        if id(plain) not in self._known:
            fields = fields_of(plain)
            # The type is kept beside them, so that its id remains its own.
            self._known[id(plain)] = plain, None if fields is None else {each.name: each for each in fields}
        return self._known[id(plain)][1]


def _config(plain: Any) -> Any:
    """The configuration of a Struct; `None`: it is none."""
    cls = class_of(plain)
    return cls.__struct_config__ if cls is not None and issubclass(cls, msgspec.Struct) else None


def _is_array(plain: Any) -> bool:
    cls, config = class_of(plain), _config(plain)
    return cls in _ARRAYS or (cls is not None and issubclass(cls, tuple)) or (config is not None and config.array_like)


def _field_names(
    value: dict[str, Any], plain: Any, fields: Mapping[str, Field], tag: str | None, pointer: str
) -> Iterator[Fault]:
    for name, field in fields.items():
        if field.required and name not in value:
            yield Fault("body", f"{pointer}/{escape(name)}", "is required")
    config = _config(plain)
    if config is not None and config.forbid_unknown_fields:
        for name in value:
            if name not in fields and name != tag:
                yield Fault("body", f"{pointer}/{escape(str(name))}", "is not a known field")


def escape(key: str) -> str:
    """A reference token of a JSON Pointer (RFC 6901 section 3); a long one is cut."""
    key = key if len(key) <= TOKEN_MAX else f"{key[:TOKEN_MAX]}…"
    return key.replace("~", "~0").replace("/", "~1")


def _fault(pointer: str, error: msgspec.ValidationError) -> Fault:
    """msgspec's own fault. It names a place as "$.a[0]", and one below a key that it does not name as "$[...]"."""
    reason, _, place = str(error).rpartition(" - at ") if " - at " in str(error) else (str(error), "", "")
    if place.startswith("`key` in "):
        reason = f"a key does not fit: {reason[:1].lower()}{reason[1:]}"
        place = place.removeprefix("`key` in ")
    named = place.strip("`$").partition("[...]")[0]
    for token in named.replace("[", ".").replace("]", "").split("."):
        if token:
            pointer += f"/{escape(token)}"
    return Fault("body", pointer, public(reason))


def public(reason: str) -> str:
    """msgspec's text without what the client sent: it quotes bad enum and tag values."""
    if reason.startswith(("Invalid enum value ", "Invalid value ")):
        reason = "Is not one of the allowed values"
    reason = reason.removeprefix("JSON is malformed: ").removeprefix("MessagePack data is malformed: ")
    return reason[:1].lower() + reason[1:]
