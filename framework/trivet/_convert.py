"""Converters: an annotation to the way its values are read from a text and written to one.

What lives here: which annotations are scalars, and what `msgspec.Meta` adds to them. The texts themselves are
`_scalars`', the sets they form `_language`'s. What it must not know: where a text comes from (path, query, header and
cookie share these converters) and that some places cannot carry every text.

All is decided when the converter is made; reading a value is one call.
"""

from __future__ import annotations

import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import msgspec

from . import _scalars
from ._language import DATES, DATETIMES, FLOAT_MAX, TEXT, UUIDS, Finite, Floats, Inner, Integers, Opaque, Text
from .errors import RegistrationError


@dataclass(frozen=True, slots=True, eq=False)
class Converter:
    """How the values of one scalar annotation are read and written.

    Attributes:
        name: for messages: `int`, `int[ge=1]`, `Literal['a', 'b']`, `Color`.
        type: the annotation it stands for, as it was written.
        base: the same without `Annotated`, `NewType` and aliases: `int`, `Color`, `Literal['a', 'b']`.
        language: the texts that `parse` accepts.
        parse: the value of a text. Raises `ValueError`, whose message is a reason safe to show to a client ("must be
            an integer"); it never repeats the input.
        format: the canonical text of a value. Raises `ValueError` for a value that `parse` would not give back.
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

    Scalars are `str`, `int`, `float`, `bool`, `UUID`, `date`, `datetime`, an `Enum` or `Literal` of str, int, float
    and bool values, and any class with a classmethod `parse(text)`, whose `str` must give the text back; also under
    `NewType`, a type alias, or `Annotated[..., msgspec.Meta(...)]`. Other metadata of `Annotated` is not ours to judge.

    Raises:
        RegistrationError: a constraint of `Meta` that cannot hold for the type.
    """
    base, constraints = _unwrap(annotation)
    if base in _SIMPLE:
        language, parse, form = _SIMPLE[base]
        _refuse_constraints(annotation, constraints, allowed=("tz",) if base is datetime else ())
        if constraints.get("tz") is False:
            raise RegistrationError(
                f"{_show(annotation)}: a datetime in a URL or a header carries its offset (RFC 3339); drop tz=False."
            )
        return Converter(_show(base), annotation, base, language, parse, form)
    if base is str:
        return _text(annotation, constraints)
    if base is int:
        return _integer(annotation, constraints)
    if base is float:
        return _float(annotation, constraints)
    made = _by_class(annotation, base)
    if made is not None:
        _refuse_constraints(annotation, constraints)
    return made


def converter_named(spelling: str) -> Converter | None:
    """The converter of a type spelled in a path, `{id:int}`; `None` when there is no such type."""
    return _NAMED.get(spelling)


def _unwrap(annotation: Any) -> tuple[Any, dict[str, Any]]:
    """The annotation's base, and the tightest constraints that its `Meta`s put on it."""
    constraints: dict[str, Any] = {}
    while True:
        if typing.get_origin(annotation) is Annotated:
            for extra in annotation.__metadata__:
                if isinstance(extra, msgspec.Meta):
                    _tighten(constraints, extra)
            annotation = annotation.__origin__
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # typing's from Python 3.12 on, else typing_extensions'
            annotation = annotation.__value__
        else:
            # An unhashable annotation is no scalar; it must not fail where it is looked up.
            return (annotation if _hashable(annotation) else object), constraints


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _tighten(constraints: dict[str, Any], meta: msgspec.Meta) -> None:
    for name in ("ge", "gt", "min_length"):
        if (value := getattr(meta, name)) is not None:
            constraints[name] = max(value, constraints.get(name, value))
    for name in ("le", "lt", "max_length"):
        if (value := getattr(meta, name)) is not None:
            constraints[name] = min(value, constraints.get(name, value))
    for name in ("multiple_of", "pattern"):
        if (value := getattr(meta, name)) is not None:
            constraints[name] = (*constraints.get(name, ()), value)
    if meta.tz is not None:
        constraints["tz"] = meta.tz


def _refuse_constraints(annotation: Any, constraints: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> None:
    wrong = [name for name in constraints if name not in allowed]
    if wrong:
        raise RegistrationError(
            f"{_show(annotation)}: Meta({wrong[0]}=...) says nothing about {_show(_unwrap(annotation)[0])}; "
            f"constraints apply to int, float (ge, gt, le, lt, multiple_of) and str (min_length, max_length, pattern)."
        )


def _show(annotation: Any) -> str:
    if isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _name(base: type, constraints: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for key, value in constraints.items():
        parts += [f"{key}={each!r}" for each in (value if isinstance(value, tuple) else (value,))]
    return base.__name__ + (f"[{', '.join(parts)}]" if parts else "")


def _checked(parse: Callable[[str], Any], form: Callable[[Any], str]) -> Callable[[Any], str]:
    """A `format` that refuses what `parse` would refuse."""

    def format_checked(value: Any) -> str:
        text = form(value)
        parse(text)
        return text

    return format_checked


def _text(annotation: Any, constraints: dict[str, Any]) -> Converter:
    _refuse_constraints(annotation, constraints, ("min_length", "max_length", "pattern"))
    shortest: int = constraints.get("min_length", 0)
    longest: int | None = constraints.get("max_length")
    patterns = tuple(re.compile(each) for each in constraints.get("pattern", ()))
    language: Inner = Text(shortest, longest)

    def parse(text: str) -> str:
        if len(text) < shortest:
            raise ValueError(f"must have at least {shortest} characters")
        if longest is not None and len(text) > longest:
            raise ValueError(f"must have at most {longest} characters")
        for pattern in patterns:
            if pattern.search(text) is None:
                raise ValueError(f"must match the pattern {pattern.pattern}")
        return text

    if patterns:
        key = ("pattern", *(pattern.pattern for pattern in patterns))
        language = Opaque(key, Text(shortest, longest), parse)
    plain = not (shortest or patterns or longest is not None)
    parse_text = _same if plain else parse
    form = _format_str if plain else _checked(parse, _format_str)
    return Converter(_name(str, constraints), annotation, str, language, parse_text, form)


def _same(text: str) -> str:
    return text


def _format_str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a str, not {type(value).__name__}")
    return str(value)


def _integer(annotation: Any, constraints: dict[str, Any]) -> Converter:
    _refuse_constraints(annotation, constraints, ("ge", "gt", "le", "lt", "multiple_of"))
    lows = [constraints[k] if k == "ge" else math.floor(constraints[k]) + 1 for k in ("ge", "gt") if k in constraints]
    highs = [constraints[k] if k == "le" else math.ceil(constraints[k]) - 1 for k in ("le", "lt") if k in constraints]
    low = math.ceil(max(lows)) if lows else -_scalars.INT_LIMIT
    high = math.floor(min(highs)) if highs else _scalars.INT_LIMIT
    if (low > high) and (not highs or not lows):
        missing = "le" if lows else "ge"
        raise RegistrationError(
            f"{_show(annotation)}: an int has at most {_scalars.INT_DIGITS} digits unless both its ends are given.\n"
            f"Give the other one too:  Annotated[int, Meta({_name(int, constraints)[4:-1]}, {missing}=...)]"
        )
    parse_range = _scalars.int_parser(low, high)
    multiples: tuple[float, ...] = constraints.get("multiple_of", ())
    if not multiples:
        form = _checked(parse_range, _scalars.format_int)
        name = _name(int, constraints)
        return Converter(name, annotation, int, Integers(low, high), parse_range, form)

    def parse(text: str) -> int:
        return _multiple(parse_range(text), multiples)

    language = Opaque(("multiple", *multiples), Integers(low, high), parse)
    form = _checked(parse, _scalars.format_int)
    return Converter(_name(int, constraints), annotation, int, language, parse, form)


def _float(annotation: Any, constraints: dict[str, Any]) -> Converter:
    _refuse_constraints(annotation, constraints, ("ge", "gt", "le", "lt", "multiple_of"))
    # An open end is the next double inside: intervals of doubles then have closed ends only.
    low = max(
        float(constraints.get("ge", -FLOAT_MAX)),
        math.nextafter(constraints["gt"], math.inf) if "gt" in constraints else -FLOAT_MAX,
    )
    high = min(
        float(constraints.get("le", FLOAT_MAX)),
        math.nextafter(constraints["lt"], -math.inf) if "lt" in constraints else FLOAT_MAX,
    )
    parse_range = _scalars.float_parser(low, high)
    multiples: tuple[float, ...] = constraints.get("multiple_of", ())
    if not multiples:
        form = _checked(parse_range, _scalars.format_float)
        name = _name(float, constraints)
        return Converter(name, annotation, float, Floats(low, high), parse_range, form)

    def parse(text: str) -> float:
        return _multiple(parse_range(text), multiples)

    language = Opaque(("multiple", *multiples), Floats(low, high), parse)
    form = _checked(parse, _scalars.format_float)
    return Converter(_name(float, constraints), annotation, float, language, parse, form)


def _multiple(value: Any, multiples: tuple[float, ...]) -> Any:
    for each in multiples:
        if value % each != 0:
            raise ValueError(f"must be a multiple of {each}")
    return value


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
        form = _MEMBER_FORMATS.get(type(value))
        if form is None:
            return None
        try:
            text = form(value)
        except ValueError:  # not a number, infinity: no text spells them
            return None
        # The first of two members with one text keeps it, so that `parse` is a function; the other cannot be written.
        texts.setdefault(text, member)
    listed = ", ".join(texts)
    reason = f"must be one of: {listed}" if len(listed) <= 200 else "must be one of the allowed values"
    expected = _show(base)

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

STR = _text(str, {})

_NAMED: dict[str, Converter] = {"str": STR, "int": _integer(int, {}), "float": _float(float, {})} | {
    simple.__name__.lower(): Converter(simple.__name__, simple, simple, *_SIMPLE[simple]) for simple in _SIMPLE
}

TYPE_NAMES: tuple[str, ...] = tuple(_NAMED)
"""The types that a path can spell, `path` aside, which belongs to patterns."""
