"""Whether a parser is linear, without a clock on the wall: sizes are compared with each other."""

from __future__ import annotations

import time
from collections.abc import Callable

_TIMES = 16


def growth(parse: Callable[[int], object], size: int) -> float:
    """The work of `parse(16 * size)` over the work of `parse(size)`: 16 if linear, 256 if quadratic."""
    return _work(parse, _TIMES * size) / _work(parse, size)


def _work(parse: Callable[[int], object], size: int) -> float:
    best = float("inf")
    for _ in range(5):
        begin = time.thread_time_ns()
        parse(size)
        best = min(best, time.thread_time_ns() - begin)
    return max(best, 1)


LINEAR = 80.0
"""Between 16 and 256, far from both."""
