"""The counters: what has become of the requests of one application, by route and method.

This file owns what is counted and how labels stay few: a route is its pattern, never a path; a method that HTTP does
not know is `other`; there are as many statuses and outcomes as there are. It does not know what the figures are called,
nor how they are shown.

prometheus_client's own counters are thread-safe, and take a lock for each step: three of them for a request cost four
times what these do (5 us to 1.2 us, on the machine where a request by the direct door takes 25). An event loop needs
no lock.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from trivet.asgi import AtOnce, Reason
from trivet.errors import RegistrationError

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: two or three to a decade, from what a handler without waiting takes to twice the default `timeout`."""

NONE: Final = "none"
"""The route of a request that no route took. Patterns begin with a slash, so no route is called that."""

OTHER: Final = "other"
WEBSOCKET: Final = "WEBSOCKET"
METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", WEBSOCKET}
)
"""Of RFC 9110 section 9.3, RFC 5789, and `httpbis-safe-method-w-body`."""

CUT_SHORT: Final[tuple[Reason, ...]] = ("deadline", "disconnected", "drained", "shed")
"""The outcomes of requests that did not run to their own end."""


class Histogram:
    """How many values were at most so large, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """For each bound how many values are above the one before and not above this; the last: above all."""
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class Distribution:
    """The values of a histogram, of one moment."""

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float

    @classmethod
    def of(cls, *histograms: Histogram) -> Distribution:
        """Of all that was counted in these, which have the same bounds."""
        counts = [sum(column) for column in zip(*(each.counts for each in histograms), strict=True)]
        return cls(histograms[0].bounds, counts, sum(each.total for each in histograms))

    def cumulated(self) -> Iterable[tuple[float, int]]:
        """Each bound, infinity last, with how many values are not above it."""
        so_far = 0
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            so_far += count
            yield bound, so_far


class Series:
    """What is counted of one route and method."""

    __slots__ = ("at_once", "ended", "to_end", "to_head")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.at_once: dict[int, Histogram] = {}
        """Durations, to the head and to the end alike, of what was answered at once with each status: it has all
        returned. How many there were is the sum of the histogram, so that there is one thing to count, not two."""
        self.ended: dict[tuple[int, Reason], int] = {}
        """How many of the others have ended with each status and outcome."""
        self.to_head = Histogram(bounds)
        self.to_end = Histogram(bounds)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The figures of one route and method at one moment."""

    route: str
    method: str
    ended: dict[tuple[int, Reason], int]
    to_head: Distribution
    to_end: Distribution


@dataclass(slots=True)
class Counts:
    """A `trivet.asgi.Meter`: see there what it is told.

    Args:
        bounds: of its histograms.
    """

    bounds: Sequence[float]
    requests: int = 0
    """How many are under way."""
    websockets: int = 0
    """How many WebSockets are open, or opening."""
    cut_short: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(CUT_SHORT, 0))
    """How many requests and WebSockets have ended for each of these reasons."""
    _series: dict[tuple[str, str], Series] = field(default_factory=dict[tuple[str, str], Series])

    def route(self, path: str, /) -> AtOnce:
        """See `trivet.asgi.Meter`."""
        by_method: dict[str, dict[int, Histogram]] = {}
        bounds = self.bounds
        lowest = bounds[0]

        def count(method: str, status: int, seconds: float) -> None:
            try:
                histogram = by_method[method][status]
            except KeyError:
                histogram = self._first(by_method, path, method, status)
            # `add`, less a call and, for nearly all that is answered at once, a search.
            histogram.counts[0 if seconds <= lowest else bisect_left(bounds, seconds)] += 1
            histogram.total += seconds

        return count

    def _first(self, by_method: dict[str, dict[int, Histogram]], path: str, method: str, status: int) -> Histogram:
        known = by_method[method] = self._of(path, method).at_once
        return known.setdefault(status, Histogram(self.bounds))

    def began(self, websocket: bool, /) -> None:
        """See `trivet.asgi.Meter`."""
        if websocket:
            self.websockets += 1
        else:
            self.requests += 1

    def ended(
        self,
        websocket: bool,
        method: str,
        route: str | None,
        status: int,
        outcome: Reason,
        to_head: float | None,
        duration: float,
        /,
    ) -> None:
        """See `trivet.asgi.Meter`."""
        if websocket:
            self.websockets -= 1
            method = WEBSOCKET
        else:
            self.requests -= 1
        series = self._of(NONE if route is None else route, method)
        key = status, outcome
        series.ended[key] = series.ended.get(key, 0) + 1
        if outcome in self.cut_short:
            self.cut_short[outcome] += 1
        if to_head is not None:
            series.to_head.add(to_head)
        series.to_end.add(duration)

    def _of(self, route: str, method: str) -> Series:
        key = route, method if method in METHODS else OTHER
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(self.bounds)
        return series

    def snapshot(self) -> list[Snapshot]:
        """All figures as they are now, which nothing changes any more: to be shown in another thread."""
        found: list[Snapshot] = []
        for (route, method), series in self._series.items():
            ended = dict(series.ended)
            for status, histogram in series.at_once.items():
                ended[status, "returned"] = ended.get((status, "returned"), 0) + sum(histogram.counts)
            to_head = Distribution.of(*series.at_once.values(), series.to_head)
            to_end = Distribution.of(*series.at_once.values(), series.to_end)
            found.append(Snapshot(route, method, ended, to_head, to_end))
        return found


def checked_buckets(buckets: Sequence[float]) -> tuple[float, ...]:
    """The bounds of histograms.

    Raises:
        RegistrationError: they are not finite positive numbers in ascending order.
    """
    bounds = tuple(buckets) if isinstance(buckets, Iterable) else ()
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in bounds)
    if not numbers or not bounds or not all(a < b for a, b in zip((0, *bounds), (*bounds, math.inf), strict=True)):
        raise RegistrationError(
            f"buckets={buckets!r} are no bounds of a histogram.\n"
            "Write seconds, in ascending order, without infinity, which is added:  buckets=[0.01, 0.1, 1, 10]"
        )
    return tuple(float(each) for each in bounds)
