"""What `msgspec.Meta` adds to str, int, float and to lists of scalars.

What lives here: unwrapping an annotation, the tightest of its constraints, and the parser, writer and set
of texts, or the number of items, that follow from them. What it must not know: the other scalars (`_convert`),
where a text comes from.

The meaning of each constraint is msgspec's, so that a field means the same in a path, a query and a JSON
body.
"""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, NewType, TypeVar

import msgspec

from . import _scalars
from ._language import FLOAT_MAX, Floats, Inner, Integers, Opaque, Text
from .errors import RegistrationError

N = TypeVar("N", int, float)


class Reading(NamedTuple):
    """How the values of one type are read and written; the fields are those of `Converter`."""

    name: str
    language: Inner
    parse: Callable[[str], Any]
    format: Callable[[Any], str]


def unwrap(annotation: Any) -> tuple[Any, dict[str, Any]]:
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


def refuse_constraints(annotation: Any, constraints: Mapping[str, Any], allowed: tuple[str, ...] = ()) -> None:
    wrong = [name for name in constraints if name not in allowed]
    if wrong:
        raise RegistrationError(
            f"{show(annotation)}: Meta({wrong[0]}=...) says nothing about {show(unwrap(annotation)[0])};\n"
            "constraints apply to int and float (ge, gt, le, lt, multiple_of) and to str "
            "(min_length, max_length, pattern);\nto a list, set, frozenset or tuple min_length and max_length do."
        )


def show(annotation: Any) -> str:
    if isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _name(base: type, constraints: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for key, value in constraints.items():
        several = key in ("multiple_of", "pattern")
        parts += [f"{key}={each!r}" for each in (value if several else (value,))]
    return base.__name__ + (f"[{', '.join(parts)}]" if parts else "")


def _checked(parse: Callable[[str], Any], form: Callable[[Any], str]) -> Callable[[Any], str]:
    """A `format` that refuses what `parse` would refuse."""

    def format_checked(value: Any) -> str:
        text = form(value)
        parse(text)
        return text

    return format_checked


def text_reading(annotation: Any, constraints: dict[str, Any]) -> Reading:
    """How a str under constraints is read."""
    refuse_constraints(annotation, constraints, ("min_length", "max_length", "pattern"))
    shortest: int = constraints.get("min_length", 0)
    longest: int | None = constraints.get("max_length")
    patterns = tuple(re.compile(each) for each in constraints.get("pattern", ()))
    language: Inner = Text(shortest, longest)
    too_short = f"must have at least {shortest} character{'s'[: shortest != 1]}"
    too_long = f"must have at most {longest} character{'s'[: longest != 1]}"

    def parse(text: str) -> str:
        if len(text) < shortest:
            raise ValueError(too_short)
        if longest is not None and len(text) > longest:
            raise ValueError(too_long)
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
    return Reading(_name(str, constraints), language, parse_text, form)


def _same(text: str) -> str:
    return text


def _format_str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a str, not {type(value).__name__}")
    # Not `str(value)`, which an Enum of str overrides.
    return str.__str__(value)


def int_reading(annotation: Any, constraints: dict[str, Any]) -> Reading:
    """How an int under constraints is read."""
    refuse_constraints(annotation, constraints, ("ge", "gt", "le", "lt", "multiple_of"))
    lows = [constraints[k] if k == "ge" else math.floor(constraints[k]) + 1 for k in ("ge", "gt") if k in constraints]
    highs = [constraints[k] if k == "le" else math.ceil(constraints[k]) - 1 for k in ("le", "lt") if k in constraints]
    low = math.ceil(max(lows)) if lows else -_scalars.INT_LIMIT
    high = math.floor(min(highs)) if highs else _scalars.INT_LIMIT
    if (low > high) and (not highs or not lows):
        missing = "le" if lows else "ge"
        raise RegistrationError(
            f"{show(annotation)}: without both ends an int has at most {_scalars.INT_DIGITS} digits.\n"
            f"Give the other one too:  Annotated[int, Meta({_name(int, constraints)[4:-1]}, {missing}=...)]"
        )
    parse_range = _scalars.int_parser(low, high)
    multiples: tuple[float, ...] = constraints.get("multiple_of", ())
    if not multiples:
        form = _checked(parse_range, _scalars.format_int)
        name = _name(int, constraints)
        return Reading(name, Integers(low, high), parse_range, form)

    def parse(text: str) -> int:
        return _multiple(parse_range(text), multiples)

    language = Opaque(("multiple", *multiples), Integers(low, high), parse)
    form = _checked(parse, _scalars.format_int)
    return Reading(_name(int, constraints), language, parse, form)


def float_reading(annotation: Any, constraints: dict[str, Any]) -> Reading:
    """How a float under constraints is read."""
    refuse_constraints(annotation, constraints, ("ge", "gt", "le", "lt", "multiple_of"))
    # An open end is the next double inside: intervals of doubles then have closed ends only.
    above, below = constraints.get("gt"), constraints.get("lt")
    first = -FLOAT_MAX if above is None else math.nextafter(above, math.inf)
    last = FLOAT_MAX if below is None else math.nextafter(below, -math.inf)
    low = max(float(constraints.get("ge", -FLOAT_MAX)), first)
    high = min(float(constraints.get("le", FLOAT_MAX)), last)
    parse_range = _scalars.float_parser(
        low, high, above=above if low == first else None, below=below if high == last else None
    )
    multiples: tuple[float, ...] = constraints.get("multiple_of", ())
    if not multiples:
        form = _checked(parse_range, _scalars.format_float)
        name = _name(float, constraints)
        return Reading(name, Floats(low, high), parse_range, form)

    def parse(text: str) -> float:
        return _multiple(parse_range(text), multiples)

    language = Opaque(("multiple", *multiples), Floats(low, high), parse)
    form = _checked(parse, _scalars.format_float)
    return Reading(_name(float, constraints), language, parse, form)


@dataclass(frozen=True, slots=True)
class Sized:
    """Makes a container, if it has as many items as it may have."""

    make: Callable[[list[Any]], Collection[Any]]
    shortest: int
    longest: int | None

    def __call__(self, items: list[Any]) -> Collection[Any]:
        made = self.make(items)  # a set drops what it has already, and msgspec counts what is left
        if len(made) < self.shortest:
            raise ValueError(f"must have at least {self.shortest} item{'s'[: self.shortest != 1]}")
        if self.longest is not None and len(made) > self.longest:
            raise ValueError(f"must have at most {self.longest} item{'s'[: self.longest != 1]}")
        return made


def sized(annotation: Any, make: Callable[[list[Any]], Collection[Any]]) -> Callable[[list[Any]], Collection[Any]]:
    """`make`, under the constraints that an annotation puts on the whole container."""
    constraints = unwrap(annotation)[1]
    refuse_constraints(annotation, constraints, ("min_length", "max_length"))
    return Sized(make, constraints.get("min_length", 0), constraints.get("max_length")) if constraints else make


def _multiple(value: N, multiples: tuple[float, ...]) -> N:
    for each in multiples:
        if value % each != 0:
            raise ValueError(f"must be a multiple of {each}")
    return value
