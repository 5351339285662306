"""How many requests may run at once, found out from how long they take: additive increase, multiplicative decrease.

This file owns that one number of an adaptive limit. It knows neither requests nor queues: it is told how long each
answer took, and which moment it is.

The rule is that of Chiu and Jain ("Analysis of the increase and decrease algorithms for congestion avoidance in
computer networks", 1989), by which TCP shares a line, and of `AIMDLimit` in Netflix's concurrency-limits, which the
factor is from. The other limits there (Vegas, Gradient2) compare with the time of an unloaded request, which they guess
from the fastest ones or from a long average. The first takes a quick route beside a slow one for congestion; the second
takes an overload that lasts for the usual, and lets the limit grow. A target that somebody has chosen does neither.
"""

from __future__ import annotations

import math
from typing import Final, final

from .asgi import Reason

BACKOFF: Final = 0.9
"""What is left of the limit when answers are late; Netflix's `AIMDLimit` has the same."""

LATE: Final = 0.1
"""The part of the answers of a round that may be late: the target is one for nine in ten, as a p90 is."""

ROUND: Final = 10
"""Answers that a round has at least, however small the limit: one that was slow by chance should not decide."""


@final
class Aimd:
    """The limit, and what has been seen since it changed last.

    It changes at most once a round, which is as many answers as there may be requests at once: those that began under
    the old limit say nothing of the new one.

    Args:
        target: seconds that an answer may take.
        initial: the limit at first.
        least: the smallest it can become.
        most: the greatest.
    """

    __slots__ = ("_answers", "_changed", "_exact", "_full", "_late", "_least", "_most", "target")

    def __init__(self, target: float, initial: int, least: int, most: int) -> None:
        self.target = target
        self._exact = float(initial)
        self._least = least
        self._most = most
        self._begin(-math.inf)

    @property
    def value(self) -> int:
        """The limit."""
        return int(self._exact)

    def reached(self) -> None:
        """As many run as may: only now would a greater limit have made a difference."""
        self._full = True

    def answered(self, began: float, now: float, cut: Reason | None = None) -> None:
        """An answer is ready, or has become needless.

        Args:
            began: when the request had its place.
            now: on the same clock.
            cut: why it was stopped, if it was. One that ran out of time is late, whatever the target; one that ended
                early for another reason might have become so, and says nothing.
        """
        late = cut == "deadline" or now - began > self.target
        if began < self._changed <= now or (cut is not None and not late):  # a test's clock may begin anew
            return
        self._answers += 1
        self._late += late
        size = max(ROUND, self.value)
        if self._late > LATE * size:
            self._exact = max(self._least, self._exact * BACKOFF)
            self._begin(now)
        elif self._answers >= size:
            if self._full:
                self._exact = min(self._most, self._exact + 1)
            self._begin(now)

    def _begin(self, now: float) -> None:
        self._changed = now
        self._answers = self._late = 0
        self._full = False
