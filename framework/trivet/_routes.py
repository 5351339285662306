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
from typing import Any, Generic, TypeAlias, TypeVar

from . import _percent
from ._conflict import Relation, compare
from ._entry import Entry, allow, conflict, share_method, takes
from ._pattern import Pattern
from ._reach import unreachable
from ._tree import Methods, Node, find, insert, meeting, places
from .errors import InvalidInput, Location

__all__ = ["Entry", "Found", "Hit", "NoMethod", "NoPath", "Table"]

T = TypeVar("T")

# As numbers: `in` takes ten times as long to find bytes in bytes.
_PERCENT = 0x25
_NUL = 0
_NO_PARAMS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """A route takes the request."""

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

Hit: TypeAlias = tuple[T, Mapping[str, Any]]
"""The value of a route that takes the request, and the parameters, not to be changed: a tuple, for speed."""


class Table(Generic[T]):
    """Routes by pattern and method."""

    def __init__(self) -> None:
        self._entries: list[Entry[T]] = []
        self._root: Node[Entry[T]] = Node()
        # Raw path as clients write it -> method -> hit, for patterns without fields: most requests need no more.
        self._static: dict[bytes, dict[str, Hit[T]]] = {}
        # Raw path -> place, where literals alone lead to one with fields after it: see `_leaf`.
        self._nodes: dict[bytes, Node[Entry[T]]] = {}

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

    def freeze(self) -> None:
        """Make ready what speeds up `lookup`, when all routes are there; without it, nothing but time is lost."""
        waiting: list[tuple[bytes, Node[Entry[T]]]] = [(b"", self._root)]
        while waiting:
            prefix, node = waiting.pop()
            if node.edges:
                self._nodes[prefix] = node
            for text, child in node.literals.items():
                waiting.append((b"%s/%s" % (prefix, _percent.encode(text).encode()), child))

    def lookup(self, method: str, raw_path: bytes) -> Hit[T] | None:
        """Find the most specific route for a request.

        Args:
            method: the request's method.
            raw_path: percent-encoded, less the root path and the query.

        Returns:
            Its value and the parameters; `None`: there is none, and `missed` says why.

        Raises:
            InvalidInput: 400, the path's percent-encoding is malformed, it is not UTF-8, or it holds NUL.
        """
        ready = self._static.get(raw_path)
        if ready is not None and (found := ready.get(method)) is not None:
            return found
        prefix, _, last = raw_path.rpartition(b"/")
        node = self._nodes.get(prefix)
        if node is not None and (short := _leaf(node, last, method)) is not None:
            return short
        segments = _segments(raw_path)
        if segments[0]:  # not a path: "*", an absolute form; the empty path is below a mount at the root
            return None
        hit = find(self._root, segments, 1, method, ())
        return None if hit is None else (hit[0].value.value, hit[1])

    def missed(self, raw_path: bytes) -> NoMethod | NoPath:
        """What to say of a path that `lookup` found nothing for."""
        segments = _segments(raw_path)
        if segments[0]:
            return _NO_PATH
        found = list(places(self._root, segments, 1))
        return NoMethod(allow(place.explicit for place in found)) if found else _NO_PATH

    def match(self, method: str, raw_path: bytes) -> Found[T] | NoMethod | NoPath:
        """Both in one: `lookup`, and `missed` if there is nothing."""
        hit = self.lookup(method, raw_path)
        return self.missed(raw_path) if hit is None else Found(*hit)

    def is_free(self, method: str, pattern: Pattern) -> bool:
        """Whether no route takes a request that `pattern` would; it may say no where none does."""
        return not any(
            takes(route.value.methods, method)
            for place in meeting(self._root, pattern.languages, open_end=pattern.open)
            for route in place.routes()
        )

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


def _ready(place: Methods[Entry[T]]) -> dict[str, Hit[T]]:
    """The hits that need no walk: a field with one text shares the place of a literal, but has a
    parameter."""
    return {method: (route.value.value, _NO_PARAMS) for method, route in place.by_method.items() if not route.names}


def _leaf(node: Node[Entry[T]], last: bytes, method: str) -> Hit[T] | None:
    """What the walk would find first, when literals lead to `node` and one more segment follows.

    Whatever it does not find, or would have to think about, is left to the walk.
    """
    if not last.isalnum() and (not last or _PERCENT in last or _NUL in last or not last.isascii()):
        return None
    text = last.decode()
    if text in node.literals:
        return None
    for edge in node.edges:
        try:
            value = edge.read(text)
        except ValueError:
            continue
        here = edge.node.here
        route = None if here is None else here.by_method.get(method, here.any)
        if route is None or route.readers is not None:
            return None
        return route.value.value, {route.names[0]: value}
    return None


def _segments(raw_path: bytes) -> list[str]:
    """Split, then decode, so that `%2F` separates nothing."""
    try:
        segments = raw_path.decode().split("/")
        if _PERCENT in raw_path:
            segments = [_percent.decode(text) if "%" in text else text for text in segments]
    except UnicodeDecodeError:
        raise InvalidInput(400, "The path is malformed: it is not UTF-8.") from None
    except ValueError as error:
        raise InvalidInput(400, f"The path is malformed: {error}.") from None
    if _NUL in raw_path:
        raise InvalidInput(400, "The path is malformed: it holds NUL.")
    return segments
