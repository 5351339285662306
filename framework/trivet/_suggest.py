"""The nearest known name, for "did you mean": only for messages, never on a request's path."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str | None:
    """The name in `known` that `name` most likely meant, or `None` when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return close[0] if close else None
