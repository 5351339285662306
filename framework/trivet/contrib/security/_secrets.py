"""Comparing secrets in a time that does not tell how much of a guess was right.

This file owns the comparison. `==` stops at the first character that differs, and that can be measured from afar.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def same_secret(given: str | bytes, expected: str | bytes) -> bool:
    """Whether two secrets are the same. How long it takes may tell the length of `expected`, and nothing else.

    Args:
        given: what came; text is compared as UTF-8.
        expected: what it should be.
    """
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def find_secret(given: str | bytes, table: Mapping[str, T]) -> T | None:
    """What `table` has for the secret `given`; `None`: nothing. All of its keys are compared, whichever it is.

    For a few keys out of a configuration. Where there are many, keep `hashlib.sha256(key)` of each and look that up:
    how long it takes to find a hash tells nothing about the key.
    """
    found: T | None = None
    for expected, value in table.items():
        if same_secret(given, expected):
            found = value
    return found


def _bytes(secret: str | bytes) -> bytes:
    # A lone surrogate, which no client can send, must not be an error that tells it apart.
    return secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
