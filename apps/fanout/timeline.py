"""What was called when, and how it ended: written down while it happens, drawn by the page.

This file owns the record of one page's calls. It does not know what is called, nor why.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import msgspec
import trio

How: TypeAlias = Literal["answered", "failed", "cancelled"]


class Span(msgspec.Struct):
    """One call of a service; times are seconds since the page was asked for."""

    part: str
    attempt: int
    began: float
    ended: float
    how: How


class Timeline:
    """The calls that one page has made."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._attempts: dict[str, int] = {}
        self._zero = trio.current_time()

    def now(self) -> float:
        """Seconds since the beginning."""
        return round(trio.current_time() - self._zero, 3)

    @contextmanager
    def call(self, part: str) -> Generator[int]:
        """Write down the call in the body; its value is how many there were of this part before it."""
        attempt = self._attempts.get(part, 0)
        self._attempts[part] = attempt + 1
        began = self.now()
        how: How = "answered"
        try:
            yield attempt
        except trio.Cancelled:
            how = "cancelled"
            raise
        except BaseException:
            how = "failed"
            raise
        finally:
            self.spans.append(Span(part, attempt + 1, began, self.now(), how))
