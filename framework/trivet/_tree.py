"""The segment tree: where routes are kept, and how the segments of a path find theirs.

What lives here: inserting and walking. What it must not know: raw paths and their encoding, conflicts,
requests.

Theory of operation
-------------------
Each edge is a set of segments: a literal, or what a field accepts. Two fields that accept the same set
share an edge, whatever they are called and however their values are read. A node tries its edges in an
order in which a set comes before every set that holds it: literals, then fields, then the `path` field,
then the mount. The walk goes depth first, and a node without a route for the method counts as a dead end.

So the first route found is the most specific of all that match the path and the method: any two routes that
match the same request are one more specific than the other (`_routes` refuses the rest), and at the first
edge where the two part, the more specific one has the smaller set.

The walk visits each node at most once, because each has one parent and lies at one depth. Its cost is
bounded by the number of registered segments and the length of the path, whatever the path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from ._convert import Converter
from ._language import Finite, Language
from ._pattern import Field, Pattern
from ._relate import Relation, relate

T = TypeVar("T")


class Route(Generic[T]):
    """One value in the tree and how its parameters are read."""

    __slots__ = ("names", "pattern", "readers", "value")

    def __init__(self, pattern: Pattern, value: T, *, reread: bool) -> None:
        self.pattern = pattern
        self.value = value
        self.names = tuple(pattern.fields)
        # Set when another converter than this route's own stands on a shared edge, or a literal edge stands
        # for a field with one text: then what the walk read on its way is of no use.
        readers = (_reader(each) if isinstance(each, Field) else None for each in pattern.segments)
        self.readers = tuple(readers) if reread else None

    def params(self, values: tuple[Any, ...], segments: Sequence[str]) -> dict[str, Any]:
        """The parameters by name, given what the walk read."""
        if self.readers is not None:
            pairs = zip(self.readers, segments[1:], strict=False)
            values = tuple(read(text) for read, text in pairs if read is not None)
            if self.pattern.tail == "path":
                values = (*values, "/".join(segments[len(self.readers) + 1 :]))
        return dict(zip(self.names, values, strict=True)) if len(values) != 1 else {self.names[0]: values[0]}


class Methods(Generic[T]):
    """The routes of one pattern, by method."""

    __slots__ = ("any", "by_method", "explicit")

    def __init__(self) -> None:
        self.any: Route[T] | None = None  # takes every method
        self.explicit: set[str] = set()
        # HEAD of GET's route is in it too, unless a route of its own takes HEAD, whatever came first.
        self.by_method: dict[str, Route[T]] = {}

    def add(self, methods: frozenset[str] | None, route: Route[T]) -> None:
        """Add a route; that its methods are free is the caller's to know."""
        if methods is None:
            self.any = route
            return
        for method in methods:
            self.by_method[method] = route
        self.explicit |= methods
        if "GET" in methods and "HEAD" not in self.explicit:
            self.by_method["HEAD"] = route

    def routes(self) -> Iterator[Route[T]]:
        """All routes here; one with several methods may come more than once."""
        if self.any is not None:
            yield self.any
        yield from self.by_method.values()

    def get(self, method: str) -> Route[T] | None:
        """The route that takes `method`."""
        return self.by_method.get(method, self.any)


class Edge(Generic[T]):
    """A field's way to the next node."""

    __slots__ = ("field", "language", "node", "order", "read")

    def __init__(self, field: Field, language: Language) -> None:
        self.language = language
        self.field = field
        self.read = _reader(field)
        self.node: Node[T] = Node()
        self.order: tuple[int, str] = (0, repr(language))


class Node(Generic[T]):
    """A place in the tree, reached by the segments before it."""

    __slots__ = ("below", "edges", "here", "literals", "plain", "rest")

    def __init__(self) -> None:
        self.plain = True  # nothing but literals leads on
        self.literals: dict[str, Node[T]] = {}
        self.edges: list[Edge[T]] = []  # smaller sets first
        self.here: Methods[T] | None = None  # patterns that end here
        self.rest: Methods[T] | None = None  # patterns that go on with a path field
        self.below: Methods[T] | None = None  # mounts: here and anywhere below


def _reader(each: Field) -> Callable[[str], Any]:
    """What reads a field's value from a whole segment; `ValueError`: the segment is not the field's."""
    parse = each.converter.parse
    if not each.prefix and not each.suffix:
        return parse
    prefix, suffix = each.prefix, each.suffix
    start, around = len(prefix), len(prefix) + len(suffix)

    def read(text: str) -> Any:
        if len(text) <= around or not (text.startswith(prefix) and text.endswith(suffix)):
            raise ValueError
        return parse(text[start : len(text) - len(suffix)])

    return read


def insert(root: Node[T], pattern: Pattern, methods: frozenset[str] | None, value: T) -> tuple[Methods[T], bool]:
    """Put a value at its pattern's place; returns the place, and whether only literals lead there."""
    node, literal, reread = root, True, False
    for each in pattern.segments:
        language = each.language
        if isinstance(language, Finite) and len(language.texts) == 1:
            # A field with one text is a literal to the walk.
            reread |= isinstance(each, Field)
            node = node.literals.setdefault(next(iter(language.texts)), Node())
        elif isinstance(each, Field):
            edge, shared = _edge(node, each, language)
            node.plain = False
            reread |= not shared
            literal = False
            node = edge.node
    route = Route(pattern, value, reread=reread)
    if pattern.tail == "none":
        node.here = place = node.here or Methods()
    elif pattern.tail == "path":
        node.plain = False
        node.rest = place = node.rest or Methods()
    else:
        node.plain = False
        node.below = place = node.below or Methods()
    place.add(methods, route)
    return place, literal and pattern.tail == "none"


def _edge(node: Node[T], field: Field, language: Language) -> tuple[Edge[T], bool]:
    """The edge for a field, and whether the field's own values are read on it."""
    for edge in node.edges:
        if relate(edge.language, language) is Relation.EQUIVALENT:
            return edge, _same_reading(edge.field, field)
    new = Edge[T](field, language)
    node.edges.append(new)
    for edge in node.edges:
        # A set comes after every set it holds if it is sorted by how many those are; the text makes the
        # order total, so that it is the same whatever was registered first.
        smaller = sum(relate(other.language, edge.language) is Relation.MORE_SPECIFIC for other in node.edges)
        edge.order = (smaller, edge.order[1])
    node.edges.sort(key=lambda edge: edge.order)
    return new, True


def _same_reading(a: Field, b: Field) -> bool:
    one: Converter = a.converter
    other: Converter = b.converter
    return bool(one is other or one.type == other.type) and (a.prefix, a.suffix) == (b.prefix, b.suffix)


def find(
    node: Node[T], segments: Sequence[str], depth: int, method: str, values: tuple[Any, ...]
) -> tuple[Route[T], dict[str, Any]] | None:
    """The most specific route for the segments from `depth` on, and its parameters.

    `values` is what the fields before `depth` read.
    """
    end = len(segments)
    # Where only literals lead on there is nothing to come back for, so the walk goes on without a call.
    while node.plain and depth < end:
        child = node.literals.get(segments[depth])
        if child is None:
            return None
        node = child
        depth += 1
    if depth == end:
        here = node.here
        if here is not None and (route := here.by_method.get(method, here.any)) is not None:
            return route, route.params(values, segments)
    else:
        text = segments[depth]
        child = node.literals.get(text)
        if child is not None and (found := find(child, segments, depth + 1, method, values)) is not None:
            return found
        if text:  # a field never matches an empty segment
            leaf = depth + 1 == end
            for edge in node.edges:
                try:
                    value = edge.read(text)
                except ValueError:
                    continue
                if leaf and (here := edge.node.here) is not None:  # spare the usual end of a path a call
                    route = here.by_method.get(method, here.any)
                    if route is not None:
                        if not values and route.readers is None:
                            return route, {route.names[0]: value}
                        return route, route.params((*values, value), segments)
                found = find(edge.node, segments, depth + 1, method, (*values, value))
                if found is not None:
                    return found
            if node.rest is not None and (route := node.rest.get(method)) is not None:
                return route, route.params((*values, "/".join(segments[depth:])), segments)
    if node.below is not None and (route := node.below.get(method)) is not None:
        return route, route.params(values, segments)
    return None


def places(node: Node[T], segments: Sequence[str], depth: int) -> Iterator[Methods[T]]:
    """All places whose patterns match the segments from `depth` on, whatever the method."""
    if depth == len(segments):
        if node.here is not None:
            yield node.here
    else:
        text = segments[depth]
        if (child := node.literals.get(text)) is not None:
            yield from places(child, segments, depth + 1)
        if text:
            for edge in node.edges:
                if edge.language.accepts(text):
                    yield from places(edge.node, segments, depth + 1)
            if node.rest is not None:
                yield node.rest
    if node.below is not None:
        yield node.below


def meeting(node: Node[T], languages: Sequence[Language], *, open_end: bool) -> Iterator[Methods[T]]:
    """All places whose patterns may share a path with the given sets of segments; some of them may not
    after all."""
    for place in (node.rest, node.below):
        if place is not None:
            yield place
    if not languages:
        if node.here is not None:
            yield node.here
        if not open_end:
            return
    language, rest = (languages[0], languages[1:]) if languages else (None, languages)
    if isinstance(language, Finite) and len(language.texts) == 1:
        child = node.literals.get(next(iter(language.texts)))
        children = [child] if child is not None else []
    else:
        children = [c for text, c in node.literals.items() if language is None or language.accepts(text)]
    for child in children:
        yield from meeting(child, rest, open_end=open_end)
    for edge in node.edges:
        if language is None or relate(language, edge.language) is not Relation.DISJOINT:
            yield from meeting(edge.node, rest, open_end=open_end)
