"""The query of a request: from bytes to names and values.

This file owns the grammar, which is that of an HTML form (WHATWG URL, `application/x-www-form-urlencoded`),
read strictly: what cannot be decoded is refused, not replaced, so that no two programs on the way read it
differently. It knows nothing of parameters or types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from .errors import InvalidInput

MAX_FIELDS = 1000
"""How many fields a query may have: Werkzeug's and Django's bound for forms."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class QueryParams(Mapping[str, str]):
    """The fields of a query: a mapping from each name to its first value.

    The first counts, as in Go and in Werkzeug; `getlist` gives each value of a name, `multi_items` each field
    in order.

    Args:
        fields: name and value of each field, decoded, in the order they came. Kept, not copied.
    """

    __slots__ = ("_fields", "_index")

    def __init__(self, fields: Sequence[tuple[str, str]] = ()) -> None:
        self._fields = fields
        self._index: dict[str, list[str]] | None = None  # made at the first look-up

    def _by_name(self) -> dict[str, list[str]]:
        index = self._index
        if index is None:
            index = self._index = {}
            for name, value in self._fields:
                values = index.get(name)
                if values is None:
                    index[name] = [value]
                else:
                    values.append(value)
        return index

    def __getitem__(self, name: str) -> str:
        return self._by_name()[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())

    def __repr__(self) -> str:
        return f"QueryParams({list(self._fields)!r})"

    def getlist(self, name: str) -> list[str]:
        """Each value of `name`, in the order they came; empty when there is none."""
        return list(self._by_name().get(name, ()))

    def multi_items(self) -> list[tuple[str, str]]:
        """Each field, in the order they came."""
        return list(self._fields)


EMPTY = QueryParams()
"""The query of a request that has none; shared, since nothing can change it."""


def parse(query_string: bytes, max_fields: int = MAX_FIELDS, *, what: str = "query") -> QueryParams:
    """Read a query, in time linear in its length.

    `+` is a blank, a field without `=` has the empty value, and an empty piece (`a=1&&b=2`) is no field.

    Args:
        query_string: what follows the `?`, as it came.
        max_fields: how many fields there may be; empty pieces count.
        what: it is, for messages: a form is written in the same way.

    Raises:
        InvalidInput: 400, for a `%` without two hexadecimal digits, for text that is not UTF-8, or for too
            many fields.
    """
    if not query_string:
        return EMPTY
    if query_string.count(b"&") >= max_fields:
        raise InvalidInput(400, f"The {what} has more than {max_fields} fields.")
    try:
        if 0x25 in query_string or 0x2B in query_string:  # a percent sign or a plus, as numbers: ten times as fast
            return QueryParams(_decoded(query_string, what))
        return QueryParams(_pairs(query_string.decode()))
    except UnicodeDecodeError:
        raise InvalidInput(400, f"The {what} is not UTF-8.") from None


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for piece in query.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((name, value))
    return pairs


def _decoded(query: bytes, what: str) -> list[tuple[str, str]]:
    if _BAD_ESCAPE.search(query):
        raise InvalidInput(400, f"The {what} has a % that two hexadecimal digits do not follow.")
    pairs: list[tuple[str, str]] = []
    for piece in query.replace(b"+", b" ").split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()))
    return pairs
