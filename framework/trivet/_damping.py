"""What the log is told at most once in a while, because it may happen a thousand times in a second.

This file owns how often that is, and how many more there were. It does not know what is told, nor which clock it is
told by.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, final

QUIET: Final = 10.0
"""Seconds in which the same is told once."""

REMEMBERED: Final = 1000
"""What was told of late; a process that has so much to tell begins anew."""


@final
class Damper:
    """Knows what was told, and when."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[Hashable, tuple[float, int]] = {}  # when, and how often it was not told since

    def passes(self, what: Hashable, now: float) -> str | None:
        """Whether to tell of it now: `None`: not now; else what is to be said of those that were not told of.

        Args:
            what: that is told of.
            now: seconds on any clock, of which the one before may have been another: a test's begins anew.
        """
        last, unsaid = self._told.get(what, (None, 0))
        if last is not None and 0 <= now - last < QUIET:
            self._told[what] = last, unsaid + 1
            return None
        if last is None and len(self._told) >= REMEMBERED:
            self._told.clear()
        self._told[what] = now, 0
        return f"; {unsaid} more like it since the last line" if unsaid else ""
