"""Which fields of a response HTTP/2 can carry. This file owns that rule (RFC 9113 section 8.2)."""

from __future__ import annotations

from collections.abc import Iterable

Fields = list[tuple[bytes, bytes]]

CONNECTION_SPECIFIC = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
"""They belong to HTTP/1.1 (section 8.2.2), and h2 would refuse the whole response for one of them."""


def http2_fields(status: int, fields: Iterable[tuple[bytes, bytes]], ours: Fields) -> Fields:
    """The field section of a response: the application's fields, and what the server adds to them.

    Raises:
        ValueError: a value holds a line break or NUL. HTTP/1.1 refuses it too (h11); a proxy that translates would
            let its client see two fields.
    """
    made: Fields = [(b":status", b"%d" % status)]
    has_date = False
    for name, value in fields:
        lower = name.lower()
        if lower in CONNECTION_SPECIFIC:
            continue
        if b"\r" in value or b"\n" in value or b"\0" in value:
            raise ValueError(f"the response header {name!r} holds a line break or NUL: {value!r}")
        has_date = has_date or lower == b"date"
        made.append((lower, value))
    made += [field for field in ours if field[0] != b"date"] if has_date else ours
    return made
