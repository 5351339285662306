"""`Range`: which part of a representation a client asks for (RFC 9110 section 14).

This file owns its grammar and what a range selects of a given number of bytes. Whether it is to be looked at at all is
`_conditional`'s to say.

A request for several ranges gets the whole, as section 14.2 allows: a multipart answer is what download managers of
1999 read, and the many small, overlapping ranges that it invites were an attack on every server that gave it
(CVE-2011-3192).
"""

from __future__ import annotations

from typing import Final

_DIGITS: Final = frozenset("0123456789")

# As many digits as the offsets of a file have at most. Longer ones are beyond any end; they are not converted, which
# takes quadratic time and is refused by Python from 4300 digits on.
_LONGEST: Final = 19
_BEYOND: Final = 10**_LONGEST


class Unsatisfiable(Exception):
    """The range begins behind the end: 416."""


def select(value: str, size: int) -> tuple[int, int] | None:
    """The bytes that a `Range` selects, as a half-open interval that is not empty.

    Args:
        value: the field.
        size: of the representation, in bytes.

    Returns:
        `None` if the field is to be ignored: another unit, several ranges, or not well-formed.

    Raises:
        Unsatisfiable: nothing of it is there.
    """
    unit, equals, ranges = value.partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    wanted = [each for each in (part.strip(" \t") for part in ranges.split(",")) if each]
    if len(wanted) != 1:
        return None
    first, dash, last = wanted[0].partition("-")
    if not dash or not (first or last) or not _DIGITS.issuperset(first) or not _DIGITS.issuperset(last):
        return None
    if first and last and _number(first) > _number(last):
        return None
    if size == 0:
        # Clients that always ask for the first bytes, to bound what they get, would find an error where there is none.
        # Go's http.ServeContent sees it so, too.
        return None
    if not first:
        length = _number(last)
        if length == 0:
            raise Unsatisfiable
        return max(0, size - length), size
    start = _number(first)
    if start >= size:
        raise Unsatisfiable
    return start, min(_number(last) + 1, size) if last else size


def _number(digits: str) -> int:
    digits = digits.lstrip("0") if len(digits) > _LONGEST else digits
    return int(digits or "0") if len(digits) <= _LONGEST else _BEYOND
