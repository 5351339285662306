"""What is registered: an entry of the table, its methods, and the words for two that conflict.

What lives here: the rules of methods (HEAD comes with GET; no methods given: all of them) and the message
of a `RouteConflict`. How patterns relate is `_conflict`'s. What it must not know: how a request finds its
route.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ._conflict import example, example_only, remedy
from ._pattern import Pattern
from .errors import Location, RouteConflict

T = TypeVar("T")

# The order in which people list methods; others follow by name.
_METHOD_ORDER = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One registered route. `methods` is as it was given; `None`: all."""

    pattern: Pattern
    methods: frozenset[str] | None
    value: T
    where: Location


def allow(sets: Iterable[Iterable[str]]) -> tuple[str, ...]:
    methods = {"OPTIONS", *itertools.chain.from_iterable(sets)}
    if "GET" in methods:
        methods.add("HEAD")
    known = [method for method in _METHOD_ORDER if method in methods]
    return (*known, *sorted(methods.difference(known)))


def share_method(a: frozenset[str] | None, b: frozenset[str] | None) -> bool:
    return a is None or b is None or not a.isdisjoint(b)


def takes(methods: frozenset[str] | None, method: str | None) -> bool:
    return methods is None or (method is not None and (method in methods or (method == "HEAD" and "GET" in methods)))


def conflict(old: Entry[Any], new: Entry[Any]) -> RouteConflict:
    a, b = old.pattern, new.pattern
    path = example(a, b)
    shared = new.methods if old.methods is None else old.methods & (new.methods or old.methods)
    asked = f"{_likeliest(shared)} {path}"
    lines = [
        "two routes take the same request, and neither is more specific.",
        "",
        *_columns(("first", old), ("second", new)),
        "",
        f"Both match {asked}.",
    ]
    only = [(name, example_only(*pair)) for name, pair in (("first", (a, b)), ("second", (b, a)))]
    lines += [f"Only the {name} matches {found}." for name, found in only if found is not None]
    lines.append(remedy(a, b))
    return RouteConflict("\n".join(lines), first=old.where, second=new.where, example=path)


def _likeliest(methods: frozenset[str] | None) -> str:
    known = [method for method in _METHOD_ORDER if method in (methods or ("GET",))]
    return known[0] if known else min(methods or ("GET",))


def _columns(*named: tuple[str, Entry[Any]]) -> Iterator[str]:
    rows = [
        (
            name,
            _spell(entry.methods),
            str(entry.pattern) + ("/..." if entry.pattern.tail == "mount" else ""),
            str(entry.where),
        )
        for name, entry in named
    ]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1, 2)]
    for name, methods, path, where in rows:
        yield f"    {name:{widths[0]}}  {methods:{widths[1]}}  {path:{widths[2]}}  {where}"


def _spell(methods: frozenset[str] | None) -> str:
    if methods is None:
        return "*"
    known = [method for method in _METHOD_ORDER if method in methods]
    return ",".join((*known, *sorted(methods.difference(known))))
