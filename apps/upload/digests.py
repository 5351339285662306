"""What a client says that the digest of its upload is, and what it is (RFC 9530).

This file owns the fields `Repr-Digest` and `Content-Digest`, and which algorithms count. It knows no files.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

ALGORITHMS: Final = {"sha-256": "sha256", "sha-512": "sha512"}
"""Those that RFC 9530 section 7.2 calls active, with Python's names for them. A digest by any other says nothing that
could be relied on, and is ignored, as section 2 allows."""

ALWAYS: Final = "sha-256"
"""Computed for each upload, asked for or not."""

# A dictionary of byte sequences (RFC 8941 sections 3.2 and 3.3.5), whose parameters mean nothing here.
_KEY: Final = r"[a-z*][a-z0-9_\-.*]*"
_PARAMETERS: Final = rf"(?:;[ ]*{_KEY}(?:=[!#-+\--:<-~]+)?)*"
_MEMBER: Final = re.compile(rf"({_KEY})=:([A-Za-z0-9+/]*={{0,2}}):{_PARAMETERS}")
_COMMA: Final = re.compile(r"[ \t]*,[ \t]*")


class DigestMismatch(Exception):
    """What came is not what was announced."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(f"the {algorithm} digest of what came is not the one that was announced")


def announced(fields: Iterable[str | None]) -> dict[str, bytes]:
    """The digests that a client announces, by algorithm.

    Args:
        fields: the values of its digest fields; `None` for one that it does not send. Without a `Content-Encoding`, and
            a part of a representation is not uploaded here, both fields have digests of the same bytes.

    Raises:
        ValueError: one is no list of digests, two contradict each other, or a digest has not its algorithm's length.
    """
    found: dict[str, bytes] = {}
    for field in fields:
        for algorithm, digest in _members(field or ""):
            if algorithm not in ALGORITHMS:
                continue
            if len(digest) != hashlib.new(ALGORITHMS[algorithm]).digest_size:
                raise ValueError(f"{len(digest)} bytes are no {algorithm} digest")
            if found.setdefault(algorithm, digest) != digest:
                raise ValueError(f"there are two different {algorithm} digests")
    return found


def _members(field: str) -> Iterable[tuple[str, bytes]]:
    text = field.strip(" \t")
    place = 0
    while place < len(text):
        member = _MEMBER.match(text, place)
        if member is None:
            raise ValueError("a digest is written  sha-256=:BASE64:")
        try:
            yield member[1], base64.b64decode(member[2], validate=True)
        except binascii.Error:
            raise ValueError("the digest between the colons is not base64") from None
        place = member.end()
        if place < len(text):
            comma = _COMMA.match(text, place)
            if comma is None or comma.end() == len(text):
                raise ValueError("digests are separated by commas")
            place = comma.end()


def field_of(digest: bytes) -> str:
    """A `Repr-Digest` with this SHA-256."""
    return f"{ALWAYS}=:{base64.b64encode(digest).decode()}:"


class Digester:
    """Digests of what comes in pieces: SHA-256, and what else was announced.

    Args:
        expected: what the client announced.
    """

    def __init__(self, expected: Mapping[str, bytes]) -> None:
        self._expected = expected
        self._sums = {name: hashlib.new(ALGORITHMS[name]) for name in {ALWAYS, *expected}}

    def update(self, data: bytes) -> None:
        """Take in the next piece."""
        for each in self._sums.values():
            each.update(data)

    def sha256(self) -> bytes:
        """The SHA-256 of what has come, once it is known to be what was announced.

        Raises:
            DigestMismatch: it is not.
        """
        for name, digest in self._expected.items():
            if self._sums[name].digest() != digest:
                raise DigestMismatch(name)
        return self._sums[ALWAYS].digest()
