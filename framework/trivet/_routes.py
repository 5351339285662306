"""The table of routes: what may be added, and what a request finds.

What lives here: which two routes conflict, how a raw path becomes segments, what a miss means (404 or 405).
How patterns relate is `_conflict`'s, how segments find a route is `_tree`'s. What it must not
know: ASGI scopes, handlers, statuses other than the 400 of a path that cannot be read, slash redirects.

Rules:
1. Path and method match together: a route whose method does not fit is passed over for the next that matches.
2. Two routes conflict when their methods meet, their paths meet, and neither path is more specific. The
   HEAD that comes with GET does not count: a route of its own takes HEAD wherever it is as specific, and
   what remains undecided between an implied HEAD and an explicit one goes by the tree's order, which does
   not depend on the order of registration.
3. `match` changes nothing, so any number of requests may use a table while nobody adds to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from . import _percent
from ._conflict import Relation, compare
from ._entry import Entry, allow, conflict, share_method
from ._pattern import Pattern
from ._reach import unreachable
from ._tree import Methods, Node, find, insert, meeting, places
from .errors import InvalidInput, Location

__all__ = ["Entry", "Found", "NoMethod", "NoPath", "Table"]

T = TypeVar("T")

_NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)  # not frozen: that would double the cost of making one for each request
class Found(Generic[T]):
    """A route takes the request. Not to be changed: it may be shared; `params` is read-only where it is."""

    value: T
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NoMethod:
    """The path is known, the method is not taken there: 405. `allow` is complete, over all patterns that
    match."""

    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoPath:
    """No pattern matches the path: 404."""


_NO_PATH = NoPath()


class Table(Generic[T]):
    """Routes by pattern and method."""

    def __init__(self) -> None:
        self._entries: list[Entry[T]] = []
        self._root: Node[Entry[T]] = Node()
        # Raw path as clients write it -> method -> answer, for patterns without fields: most requests need
        # no more.
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
        hit = find(self._root, segments, 1, method, ())
        if hit is not None:
            route, params = hit
            return Found(route.value.value, params)
        return self._missed(segments)

    def methods(self) -> tuple[str, ...]:
        """All methods that some route takes, with HEAD where GET is, and OPTIONS: the answer to `OPTIONS
        *`."""
        return allow(entry.methods or () for entry in self._entries)

    def entries(self) -> Sequence[Entry[T]]:
        """All routes, in the order of registration."""
        return tuple(self._entries)

    def unreachable(self) -> Sequence[tuple[Entry[T], str]]:
        """The routes that no request can reach, each with the reason.

        Sound, not complete: what is listed is unreachable, but a route that many others cover between them
        may be missed.
        """
        return unreachable(self._entries)

    def _missed(self, segments: list[str]) -> NoMethod | NoPath:
        found = list(places(self._root, segments, 1))
        return NoMethod(allow(place.explicit for place in found)) if found else _NO_PATH

    def _refuse_conflict(self, new: Entry[T]) -> None:
        pattern = new.pattern
        for place in meeting(self._root, pattern.languages, open_end=pattern.open):
            for route in place.routes():
                old = route.value
                if not share_method(old.methods, new.methods):
                    continue
                if compare(old.pattern, pattern) in (Relation.EQUIVALENT, Relation.OVERLAPS):
                    raise conflict(old, new)


def _raw(pattern: Pattern) -> bytes:
    texts = (next(iter(language.samples())) for language in pattern.languages)
    return "".join(f"/{_percent.encode(text)}" for text in texts).encode()


def _ready(place: Methods[Entry[T]]) -> dict[str, Found[T]]:
    """The answers that need no walk: a field with one text shares the place of a literal, but has a
    parameter."""
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
