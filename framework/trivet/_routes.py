"""The table of routes: what may be added, and what a request finds.

What lives here: which two routes conflict, how a raw path becomes segments, what a miss means (404 or 405), and which
routes no request can reach. How patterns relate is `_conflict`'s, how segments find a route is `_tree`'s. What it must not
know: ASGI scopes, handlers, statuses other than the 400 of a path that cannot be read, slash redirects.

Rules:
1. Path and method match together: a route whose method does not fit is passed over for the next that matches.
2. Two routes conflict when their methods meet, their paths meet, and neither path is more specific. The HEAD that comes
   with GET does not count: a route of its own takes HEAD wherever it is as specific, and what remains undecided between
   an implied HEAD and an explicit one goes by the tree's order, which does not depend on the order of registration.
3. `match` changes nothing, so any number of requests may use a table while nobody adds to it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from . import _percent
from ._conflict import Relation, compare, example, example_only, remedy
from ._language import Affixed, Finite, Integers
from ._pattern import Field, Fixed, Pattern
from ._tree import Methods, Node, find, insert, meeting, places
from .errors import InvalidInput, Location, RouteConflict

__all__ = ["Entry", "Found", "NoMethod", "NoPath", "Table"]

T = TypeVar("T")

# The order in which people list methods; others follow by name.
_METHOD_ORDER = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

# Larger fields are not spelled out to see whether other routes cover them: a report is allowed to miss something.
_ENUMERABLE = 64

_NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


class Found(NamedTuple, Generic[T]):
    """A route takes the request. `params` is read-only where there are none."""

    value: T
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NoMethod:
    """The path is known, the method is not taken there: 405. `allow` is complete, over all patterns that match."""

    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoPath:
    """No pattern matches the path: 404."""


_NO_PATH = NoPath()


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One registered route. `methods` is as it was given; `None`: all."""

    pattern: Pattern
    methods: frozenset[str] | None
    value: T
    where: Location


class Table(Generic[T]):
    """Routes by pattern and method."""

    def __init__(self) -> None:
        self._entries: list[Entry[T]] = []
        self._root: Node[Entry[T]] = Node()
        # Raw path as clients write it -> method -> answer, for patterns without fields: most requests need no more.
        self._static: dict[bytes, dict[str, Found[T]]] = {}

    def add(self, pattern: Pattern, methods: frozenset[str] | None, value: T, where: Location) -> None:
        """Add a route.

        Args:
            pattern: which paths it takes.
            methods: which methods, in upper case; `None`: all. GET brings HEAD.
            value: what `match` gives back.
            where: where the handler is, for messages.

        Raises:
            RouteConflict: another route takes some of the same requests, and neither is more specific.
        """
        entry = Entry(pattern, methods, value, where)
        self._refuse_conflict(entry)
        self._entries.append(entry)
        place, literal = insert(self._root, pattern, methods, entry)
        if literal:
            self._static[_raw(pattern)] = _ready(place)

    def match(self, method: str, raw_path: bytes) -> Found[T] | NoMethod | NoPath:
        """Find the most specific route for a request.

        Args:
            method: the request's method.
            raw_path: percent-encoded, less the root path and the query.

        Raises:
            InvalidInput: 400, the path's percent-encoding is malformed, it is not UTF-8, or it holds NUL.
        """
        ready = self._static.get(raw_path)
        if ready is not None and (found := ready.get(method)) is not None:
            return found
        segments = _segments(raw_path)
        if segments[0]:  # not a path: "*", an absolute form; the empty path is below a mount at the root
            return _NO_PATH
        values: list[Any] = []
        route = find(self._root, segments, 1, method, values)
        if route is not None:
            return Found(route.value.value, route.params(values, segments))
        return self._missed(segments)

    def methods(self) -> tuple[str, ...]:
        """All methods that some route takes, with HEAD where GET is, and OPTIONS: the answer to `OPTIONS *`."""
        return _allow(entry.methods or () for entry in self._entries)

    def entries(self) -> Sequence[Entry[T]]:
        """All routes, in the order of registration."""
        return tuple(self._entries)

    def unreachable(self) -> Sequence[tuple[Entry[T], str]]:
        """The routes that no request can reach, each with the reason.

        Sound, not complete: what is listed is unreachable, but a route that many others cover between them may be missed.
        """
        reasons = ((entry, self._shadow(entry)) for entry in self._entries)
        return [(entry, reason) for entry, reason in reasons if reason is not None]

    def _missed(self, segments: list[str]) -> NoMethod | NoPath:
        found = list(places(self._root, segments, 1))
        return NoMethod(_allow(place.explicit for place in found)) if found else _NO_PATH

    def _refuse_conflict(self, new: Entry[T]) -> None:
        pattern = new.pattern
        for place in meeting(self._root, pattern.languages, open_end=pattern.open):
            for route in place.routes():
                old = route.value
                if not _share_method(old.methods, new.methods):
                    continue
                if compare(old.pattern, pattern) in (Relation.EQUIVALENT, Relation.OVERLAPS):
                    raise _conflict(old, new)

    def _shadow(self, entry: Entry[T]) -> str | None:
        for each in entry.pattern.segments:
            if isinstance(each, Field) and each.language.size == 0:
                return f"no text is a {each.converter.name}, so {{{each.name}}} matches nothing"
        covering: dict[int, Entry[T]] = {}
        for method in sorted(entry.methods) if entry.methods is not None else [None]:
            rivals = [
                (index, other)
                for index, other in enumerate(self._entries)
                if other is not entry
                and _takes(other.methods, method)
                and compare(other.pattern, entry.pattern) is Relation.MORE_SPECIFIC
            ]
            for part in _parts(entry.pattern):
                index, cover = next(((i, o) for i, o in rivals if compare(part, o.pattern) in _WITHIN), (-1, None))
                if cover is None:
                    return None
                covering[index] = cover
        names = ", ".join(f"{cover.pattern} of {cover.where}" for _, cover in sorted(covering.items(), key=_first))
        return f"more specific routes take every request that it matches: {names}" if covering else None


_WITHIN = (Relation.EQUIVALENT, Relation.MORE_SPECIFIC)


def _first(item: tuple[int, object]) -> int:
    return item[0]


def _raw(pattern: Pattern) -> bytes:
    texts = (next(iter(language.samples())) for language in pattern.languages)
    return "".join(f"/{_percent.encode(text)}" for text in texts).encode()


def _ready(place: Methods[Entry[T]]) -> dict[str, Found[T]]:
    """The answers that need no walk: a field with one text shares the place of a literal, but has a parameter."""
    return {
        method: Found(route.value.value, _NO_PARAMS) for method, route in place.by_method.items() if not route.names
    }


def _segments(raw_path: bytes) -> list[str]:
    """Split, then decode, so that `%2F` separates nothing."""
    try:
        segments = raw_path.decode().split("/")
        if b"%" in raw_path:
            segments = [_percent.decode(text) if "%" in text else text for text in segments]
    except UnicodeDecodeError:
        raise InvalidInput(400, "The path is malformed: it is not UTF-8.") from None
    except ValueError as error:
        raise InvalidInput(400, f"The path is malformed: {error}.") from None
    if b"\0" in raw_path:
        raise InvalidInput(400, "The path is malformed: it holds NUL.")
    return segments


def _allow(sets: Iterable[Iterable[str]]) -> tuple[str, ...]:
    methods = {"OPTIONS", *itertools.chain.from_iterable(sets)}
    if "GET" in methods:
        methods.add("HEAD")
    known = [method for method in _METHOD_ORDER if method in methods]
    return (*known, *sorted(methods.difference(known)))


def _share_method(a: frozenset[str] | None, b: frozenset[str] | None) -> bool:
    return a is None or b is None or not a.isdisjoint(b)


def _takes(methods: frozenset[str] | None, method: str | None) -> bool:
    return methods is None or (method is not None and (method in methods or (method == "HEAD" and "GET" in methods)))


def _parts(pattern: Pattern) -> Iterator[Pattern]:
    """The pattern cut into smaller ones that together match the same paths: each small field is spelled out."""
    choices: list[list[Fixed | Field]] = []
    for each in pattern.segments:
        texts = _texts(each)
        total = math.prod(map(len, choices)) * len(texts)
        choices.append([Fixed(text) for text in texts] if texts and total <= _ENUMERABLE else [each])
    for segments in itertools.product(*choices):
        yield replace(pattern, segments=segments)


def _texts(each: Fixed | Field) -> list[str]:
    """All segments that a field accepts, if they are few; else nothing."""
    language = each.language
    if isinstance(language, Finite):
        return sorted(language.texts)
    inner = language.inner if isinstance(language, Affixed) else language
    if isinstance(each, Field) and isinstance(inner, Integers) and 0 < inner.high - inner.low + 1 <= _ENUMERABLE:
        return [f"{each.prefix}{n}{each.suffix}" for n in range(inner.low, inner.high + 1)]
    return []


def _conflict(old: Entry[Any], new: Entry[Any]) -> RouteConflict:
    a, b = old.pattern, new.pattern
    path = example(a, b)
    shared = new.methods if old.methods is None else old.methods & (new.methods or old.methods)
    asked = f"{_allow_first(shared)} {path}"
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


def _allow_first(methods: frozenset[str] | None) -> str:
    known = [method for method in _METHOD_ORDER if method in (methods or ("GET",))]
    return known[0] if known else min(methods or ("GET",))


def _columns(*named: tuple[str, Entry[Any]]) -> Iterator[str]:
    rows = [
        (
            name,
            _spell(entry.methods),
            str(entry.pattern) + ("/..." if entry.pattern.tail == "mount" else ""),
            entry.where,
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
