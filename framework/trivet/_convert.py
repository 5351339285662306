"""Converters: an annotation to the way its values are read from a text and written to one.

What lives here: which annotations are scalars, and how their converters are made. The texts themselves are
`_scalars`', the sets they form `_language`'s; `Meta` on numbers and str is
`_constraints`'. What it must not know: where a text comes from (path, query, header and
cookie share these converters) and that some places cannot carry every text.

All is decided when the converter is made; reading a value is one call.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from . import _scalars
from ._constraints import Reading, float_reading, int_reading, refuse_constraints, show, text_reading, unwrap
from ._language import DATES, DATETIMES, TEXT, UUIDS, Finite, Inner, Opaque
from .errors import RegistrationError


@dataclass(frozen=True, slots=True, eq=False)
class Converter:
    """How the values of one scalar annotation are read and written.

    Attributes:
        name: for messages: `int`, `int[ge=1]`, `Literal['a', 'b']`, `Color`.
        type: the annotation it stands for, as it was written.
        base: the same without `Annotated`, `NewType` and aliases: `int`, `Color`, `Literal['a', 'b']`.
        language: the texts that `parse` accepts.
        parse: the value of a text. Raises `ValueError`, whose message is a reason safe to show to a client
            ("must be an integer"); it never repeats the input.
        format: the canonical text of a value. Raises `ValueError` for what `parse` would not give back.
    """

    name: str
    type: Any
    base: Any
    language: Inner
    parse: Callable[[str], Any]
    format: Callable[[Any], str]

    def __str__(self) -> str:
        return self.name


def converter_for(annotation: Any) -> Converter | None:
    """The converter of an annotation, or `None` when it is not a scalar.

    Scalars are `str`, `int`, `float`, `bool`, `UUID`, `date`, `datetime`, an `Enum` or `Literal` of str,
    int, float and bool values, and any class with a classmethod `parse(text)`, whose `str` must give the
    text back; also under `NewType`, a type alias, or `Annotated[..., msgspec.Meta(...)]`. Other metadata of
    `Annotated` is not ours to judge.

    Raises:
        RegistrationError: a constraint of `Meta` that cannot hold for the type.
    """
    base, constraints = unwrap(annotation)
    if base in _SIMPLE:
        language, parse, form = _SIMPLE[base]
        refuse_constraints(annotation, constraints, allowed=("tz",) if base is datetime else ())
        if constraints.get("tz") is False:
            raise RegistrationError(
                f"{show(annotation)}: a datetime's text carries its offset (RFC 3339); drop tz=False."
            )
        return Converter(show(base), annotation, base, language, parse, form)
    if base is str:
        return _made(annotation, str, text_reading(annotation, constraints))
    if base is int:
        return _made(annotation, int, int_reading(annotation, constraints))
    if base is float:
        return _made(annotation, float, float_reading(annotation, constraints))
    made = _by_class(annotation, base)
    if made is not None:
        refuse_constraints(annotation, constraints)
    return made


def converter_named(spelling: str) -> Converter | None:
    """The converter of a type spelled in a path, `{id:int}`; `None` when there is no such type."""
    return _NAMED.get(spelling)


def _made(annotation: Any, base: Any, reading: Reading) -> Converter:
    return Converter(reading.name, annotation, base, reading.language, reading.parse, reading.format)


def _by_class(annotation: Any, base: Any) -> Converter | None:
    if typing.get_origin(base) is Literal:
        return _finite(annotation, base, _literal_values(base))
    if not isinstance(base, type):
        return None
    # A class that says how it is parsed is taken at its word, an Enum too.
    if isinstance(inspect.getattr_static(base, "parse", None), classmethod):
        return _opaque(annotation, base)
    if issubclass(base, Enum):
        return _finite(annotation, base, [(member, member.value) for member in base])
    return None


def _literal_values(base: Any) -> list[tuple[Any, Any]]:
    return [(value, value.value if isinstance(value, Enum) else value) for value in typing.get_args(base)]


def _finite(annotation: Any, base: Any, members: list[tuple[Any, Any]]) -> Converter | None:
    texts: dict[str, Any] = {}
    for member, value in members:
        # By exact type: `True` is an int, and a str that is an Enum was unwrapped above.
        form = _MEMBER_FORMATS.get(value.__class__)
        if form is None:
            return None
        try:
            text = form(value)
        except ValueError:  # not a number, infinity: no text spells them
            return None
        # The first of two members with one text keeps it, so that `parse` is a function; the other cannot
        # be written.
        texts.setdefault(text, member)
    listed = ", ".join(texts)
    reason = f"must be one of: {listed}" if len(listed) <= 200 else "must be one of the allowed values"
    expected = show(base)

    def parse(text: str) -> Any:
        try:
            return texts[text]
        except KeyError:
            raise ValueError(reason) from None

    def format_member(value: Any) -> str:
        for text, member in texts.items():
            if member is value or (member == value and type(member) is type(value)):
                return text
        raise ValueError(f"must be a value of {expected}")

    return Converter(expected, annotation, base, Finite(frozenset(texts)), parse, format_member)


def _opaque(annotation: Any, base: Any) -> Converter:
    name = base.__name__
    reason = f"is not a valid {name}"

    def parse(text: str) -> Any:
        try:
            return base.parse(text)
        except ValueError:
            # Its own message most likely repeats the input, as int("x") does, so it stays in the traceback.
            raise ValueError(reason) from None

    def form(value: Any) -> str:
        if not isinstance(value, base):
            raise ValueError(f"must be a {name}, not {type(value).__name__}")
        text = str(value)
        try:
            same = bool(base.parse(text) == value)
        except ValueError:
            same = False
        if not same:
            raise ValueError(f"has no text that {name}.parse gives back: str(value) must be that text")
        return text

    return Converter(name, annotation, base, Opaque(base, TEXT, parse), parse, form)


_MEMBER_FORMATS: dict[type, Callable[[Any], str]] = {
    str: str,
    int: _scalars.format_int,
    float: _scalars.format_float,
    bool: _scalars.format_bool,
}

_SIMPLE: dict[Any, tuple[Inner, Callable[[str], Any], Callable[[Any], str]]] = {
    bool: (Finite(frozenset({"true", "false"})), _scalars.parse_bool, _scalars.format_bool),
    UUID: (UUIDS, _scalars.parse_uuid, _scalars.format_uuid),
    date: (DATES, _scalars.parse_date, _scalars.format_date),
    datetime: (DATETIMES, _scalars.parse_datetime, _scalars.format_datetime),
}

STR = _made(str, str, text_reading(str, {}))

_NAMED: dict[str, Converter] = {
    "str": STR,
    "int": _made(int, int, int_reading(int, {})),
    "float": _made(float, float, float_reading(float, {})),
} | {simple.__name__.lower(): Converter(simple.__name__, simple, simple, *_SIMPLE[simple]) for simple in _SIMPLE}

TYPE_NAMES: tuple[str, ...] = tuple(_NAMED)
"""The types that a path can spell, `path` aside, which belongs to patterns."""
