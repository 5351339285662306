"""Validators: the entity tags and the dates by which two versions of a resource are told apart (RFC 9110 section 8.8).

This file owns how they are read, written and compared. What a comparison means for a request is `_conditional`'s to
say; which tag a file has is `_file`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import formatdate, parsedate_to_datetime
from typing import NamedTuple

# etagc of RFC 9110 section 8.8.3: no blank, no quote, no control character; obs-text may stand.
_ETAGC = frozenset(map(chr, (0x21, *range(0x23, 0x7F), *range(0x80, 0x100))))


class EntityTag(NamedTuple):
    """One entity tag; `opaque` has its quotes."""

    opaque: str
    weak: bool

    def __str__(self) -> str:
        return f"W/{self.opaque}" if self.weak else self.opaque


@dataclass(frozen=True, slots=True)
class Validators:
    """What a representation has; with neither it does not exist, or nothing is known to compare."""

    etag: EntityTag | None = None
    modified: int | None = None
    """Seconds since 1970: HTTP has no smaller unit."""


def parse_tags(value: str) -> tuple[EntityTag, ...] | None:
    """The tags of a list, `"a", W/"b"`; `None`: it is none. `*` is not one either: the caller looks for it.

    Elements may be empty, as in any list (RFC 9110 section 5.6.1.2). A tag may hold commas, so that splitting at them
    would not do; the time is linear in the length.
    """
    found: list[EntityTag] = []
    at, end = 0, len(value)
    while True:
        separated = not found
        while at < end and value[at] in " \t,":
            separated = separated or value[at] == ","
            at += 1
        if at == end:
            return tuple(found) or None
        weak = value.startswith("W/", at)  # case-sensitive, says the grammar
        if weak:
            at += 2
        close = value.find('"', at + 1)
        if not separated or value[at : at + 1] != '"' or close < 0 or not _ETAGC.issuperset(value[at + 1 : close]):
            return None
        found.append(EntityTag(value[at : close + 1], weak))
        at = close + 1


def parse_tag(value: str) -> EntityTag | None:
    """The one tag that `value` is; `None`: it is not exactly that."""
    tags = parse_tags(value)
    return tags[0] if tags is not None and len(tags) == 1 and str(tags[0]) == value else None


def checked_tag(value: str) -> EntityTag:
    """The tag that an application gives.

    Raises:
        ValueError: it is not written as it goes out.
        TypeError: it is not `str`.
    """
    if not isinstance(value, str):
        raise TypeError(f"an entity tag is str, not {type(value).__name__}.\n{_QUOTES}")
    tag = parse_tag(value)
    if tag is None:
        raise ValueError(
            f"{value!r} is not an entity tag: one is text in double quotes, without blanks (RFC 9110 section 8.8.3).\n"
            f"{_QUOTES}"
        )
    return tag


def strong_match(tags: Sequence[EntityTag], current: EntityTag | None) -> bool:
    """Whether one of them is the same to the byte: RFC 9110 section 8.8.3.2."""
    return current is not None and not current.weak and current in tags


def weak_match(tags: Sequence[EntityTag], current: EntityTag | None) -> bool:
    """Whether one of them means the same: RFC 9110 section 8.8.3.2."""
    return current is not None and any(tag.opaque == current.opaque for tag in tags)


def parse_date(value: str) -> int | None:
    """The seconds since 1970 of an HTTP date in any of its three forms; `None`: it is none.

    More is taken than RFC 9110 section 5.6.7 has, other time zones for one: what is understood can only be right.
    """
    try:
        return int(parsedate_to_datetime(value).timestamp())
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def format_date(seconds: int) -> str:
    """An HTTP date (IMF-fixdate)."""
    return formatdate(seconds, usegmt=True)


def checked_date(value: datetime) -> int:
    """The seconds since 1970 of a point in time that an application gives.

    Raises:
        ValueError: it has no time zone, so that it is another point on another machine.
        TypeError: it is no `datetime`.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"modified is a datetime with a time zone, not {type(value).__name__}.\n{_ZONE}")
    if value.utcoffset() is None:
        raise ValueError(f"{value!r} has no time zone.\n{_ZONE}")
    return int(value.timestamp() // 1)


_QUOTES = "Write it as it goes out, quotes and all:  etag=f'\"{version}\"'"
_ZONE = "Write:  modified=datetime.fromtimestamp(seconds, UTC)"
