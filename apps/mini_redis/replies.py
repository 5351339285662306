"""How replies are written; this file owns their bytes, in RESP2 and in RESP3, and nothing of what they say.

Commands return bytes, not values that somebody writes later: most replies are one `%` of bytes, and a value in between
would cost more than all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

OK: Final = b"+OK\r\n"
QUEUED: Final = b"+QUEUED\r\n"
PONG: Final = b"+PONG\r\n"
NULL: Final = {2: b"$-1\r\n", 3: b"_\r\n"}
NULL_ARRAY: Final = {2: b"*-1\r\n", 3: b"_\r\n"}
ZERO: Final = b":0\r\n"
ONE: Final = b":1\r\n"


LARGEST: Final = 256 * 1024 * 1024
"""Bytes of a reply that is made of several values: a small request can ask for a large one a thousand times.
redis-server has no such bound, and would be killed by the kernel."""

HEADS: Final = tuple([b"$%d\r\n" % length for length in range(512)])
"""Of short texts: two texts are joined in half of the time in which they are formatted."""


class CommandError(Exception):
    """What a command answers instead: the code, then the text, as redis-server says them."""


def bounded(size: int) -> None:
    """See that a reply of so many bytes may be.

    Raises:
        CommandError: it is too large.
    """
    if size > LARGEST:
        raise CommandError(b"ERR the reply would be larger than %d bytes; ask for less at a time" % LARGEST)


def error(text: str | bytes) -> bytes:
    """An error; a line end in it would be one of the protocol's."""
    raw = text.encode() if isinstance(text, str) else text
    return b"-%b\r\n" % raw.replace(b"\r", b" ").replace(b"\n", b" ")


def simple(text: bytes) -> bytes:
    """A word of ours, with nothing of a client's in it."""
    return b"+%b\r\n" % text


def bulk(value: bytes) -> bytes:
    """Any bytes."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def bulk_or_null(value: bytes | None, version: int) -> bytes:
    """Bytes, or that there are none."""
    return NULL[version] if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def integer(value: int) -> bytes:
    """A number of 64 bits."""
    return b":%d\r\n" % value


def array(items: list[bytes]) -> bytes:
    """Replies, one after another."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def array_of_bulks(values: Iterable[bytes]) -> bytes:
    """Bytes, one after another.

    Raises:
        CommandError: they are too many.
    """
    found = list(values)
    bounded(sum(map(len, found)))
    return array([bulk(value) for value in found])


def mapping(pairs: list[tuple[bytes, bytes]], version: int) -> bytes:
    """Pairs of replies; RESP2 has only arrays."""
    body = b"".join([key + value for key, value in pairs])
    return b"%%%d\r\n%b" % (len(pairs), body) if version == 3 else b"*%d\r\n%b" % (2 * len(pairs), body)


def collection(items: list[bytes], version: int) -> bytes:
    """A set of replies; RESP2 has only arrays."""
    return b"%b%d\r\n%b" % (b"~" if version == 3 else b"*", len(items), b"".join(items))


def push(items: list[bytes], version: int) -> bytes:
    """What comes unasked; RESP2 has only arrays, and a mode in which they mean this."""
    return b"%b%d\r\n%b" % (b">" if version == 3 else b"*", len(items), b"".join(items))


def verbatim(text: bytes, version: int) -> bytes:
    """Text for people."""
    return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if version == 3 else bulk(text)
