"""The page of metrics: which metrics there are, what they are called, and their text.

This file owns names, labels and help texts; the format is prometheus_client's. Names are Prometheus's own rules for
them (base units, `_total` for counters), and there is one label more where several workers answer under one address,
`worker`: each has counters of its own, and a scrape reaches whichever takes the connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from trivet.asgi import Reason

from ._meter import Distribution, Snapshot

WORKER: Final = "TRIVET_WORKER_INDEX"
"""In the environment of each process that `trivet run` starts."""

Labels: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True)
class Figures:
    """All that a page shows of the application, at one moment."""

    routes: Sequence[Snapshot]
    requests: int
    websockets: int
    cut_short: Mapping[Reason, int]
    lag: Distribution
    tasks: int
    draining: bool
    tasks_ended: Mapping[str, int] = field(default_factory=dict[str, int])
    services: Sequence[tuple[str, str, int]] = ()
    """Name, state, restarts."""
    limits: Mapping[str, tuple[int, int, int]] = field(default_factory=dict[str, tuple[int, int, int]])
    """By name: running, waiting, shed."""


def worker_labels() -> Labels:
    """The labels that every metric of this process has."""
    index = os.environ.get(WORKER)
    return {} if index is None else {"worker": index}


def text_of(figures: Figures, registry: Collector | None, accept: str) -> tuple[str, bytes]:
    """The page, and its media type: what `accept` prefers of Prometheus's text formats.

    Args:
        figures: of the application.
        registry: what else there is, by prometheus_client's own metrics.
        accept: the header of the request.
    """
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number, which it compares with one (0.26)
        encode, media_type = choose_encoder("")
    page = CollectorRegistry(auto_describe=False)
    page.register(_Collected(figures, worker_labels()))
    if registry is not None:
        page.register(registry)
    return media_type, encode(page)


class _Collected(Collector):
    """The figures, as prometheus_client takes them."""

    def __init__(self, figures: Figures, labels: Labels) -> None:
        self._figures = figures
        self._labels = labels

    def describe(self) -> Iterable[Metric]:
        """None: nobody looks for two of one name on a page."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics that there is something to say of."""
        for family in FAMILIES:
            metric = family.metric(self._figures, self._labels)
            if metric.samples:
                yield metric


Value: TypeAlias = "tuple[Labels, float | Distribution]"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, what it says, and where its values are."""

    name: str
    kind: type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]
    help: str
    labels: tuple[str, ...]
    values: Callable[[Figures], Iterable[Value]]

    def metric(self, figures: Figures, common: Labels) -> Metric:
        """As prometheus_client takes it."""
        # The name of a counter is given without `_total`, which it adds.
        found = self.kind(self.name.removesuffix("_total"), self.help, labels=[*common, *self.labels])
        for labels, value in self.values(figures):
            texts = [*common.values(), *(labels[name] for name in self.labels)]
            if isinstance(found, HistogramMetricFamily):
                assert isinstance(value, Distribution)
                bounds = [
                    ("+Inf" if bound == float("inf") else repr(bound), count) for bound, count in value.cumulated()
                ]
                found.add_metric(texts, bounds, value.total)
            else:
                assert not isinstance(value, Distribution)
                found.add_metric(texts, value)
        return found


def _requests(figures: Figures) -> Iterable[Value]:
    for each in figures.routes:
        for (status, outcome), count in each.ended.items():
            labels = {"route": each.route, "method": each.method, "status": str(status), "outcome": outcome}
            yield labels, count


def _to_head(figures: Figures) -> Iterable[Value]:
    return (({"route": each.route, "method": each.method}, each.to_head) for each in figures.routes)


def _to_end(figures: Figures) -> Iterable[Value]:
    return (({"route": each.route, "method": each.method}, each.to_end) for each in figures.routes)


def _limit(index: int) -> Callable[[Figures], Iterable[Value]]:
    return lambda figures: (({"limit": name}, counts[index]) for name, counts in figures.limits.items())


ROUTE = ("route", "method")
STATES: Final = ("starting", "running", "backing-off", "failed", "stopped")

FAMILIES: Final = (
    Family(
        "trivet_requests_total", CounterMetricFamily,
        "Requests that are over, by route, method, status and outcome; WebSockets have the method WEBSOCKET.",
        (*ROUTE, "status", "outcome"), _requests,
    ),
    Family(
        "trivet_request_time_to_head_seconds", HistogramMetricFamily,
        "From the end of the request's head to the head of the response.", ROUTE, _to_head,
    ),
    Family(
        "trivet_request_duration_seconds", HistogramMetricFamily,
        "From the end of the request's head until it was over.", ROUTE, _to_end,
    ),
    Family(
        "trivet_requests_in_flight", GaugeMetricFamily,
        "Requests under way, less those that wait for nothing.", (), lambda figures: [({}, figures.requests)],
    ),
    Family(
        "trivet_websockets_open", GaugeMetricFamily,
        "WebSockets that are open, or opening.", (), lambda figures: [({}, figures.websockets)],
    ),
    Family(
        "trivet_requests_cut_short_total", CounterMetricFamily,
        "Requests and WebSockets that did not run to their own end, by reason.", ("reason",),
        lambda figures: (({"reason": reason}, count) for reason, count in figures.cut_short.items()),
    ),
    Family(
        "trivet_limits_running", GaugeMetricFamily,
        "Requests that hold a place of a limit.", ("limit",), _limit(0),
    ),
    Family(
        "trivet_limits_waiting", GaugeMetricFamily,
        "Requests that wait for a place of a limit.", ("limit",), _limit(1),
    ),
    Family(
        "trivet_limits_shed_total", CounterMetricFamily,
        "Requests that limits have turned away.", ("limit",), _limit(2),
    ),
    Family(
        "trivet_background_tasks", GaugeMetricFamily,
        "Tasks of app.tasks that run.", (), lambda figures: [({}, figures.tasks)],
    ),
    Family(
        "trivet_background_tasks_ended_total",
        CounterMetricFamily,
        "Tasks of app.tasks that are over, by how they ended.",
        ("ending",),
        lambda figures: (({"ending": ending}, count) for ending, count in figures.tasks_ended.items()),
    ),
    Family(
        "trivet_service_state", GaugeMetricFamily,
        "1 for the state that a service is in, 0 for the others.", ("service", "state"),
        lambda figures: (
            ({"service": name, "state": each}, float(each == state))
            for name, state, _ in figures.services for each in STATES
        ),
    ),
    Family(
        "trivet_service_restarts_total", CounterMetricFamily,
        "How often a service was started again.", ("service",),
        lambda figures: (({"service": name}, restarts) for name, _, restarts in figures.services),
    ),
    Family(
        "trivet_loop_lag_seconds", HistogramMetricFamily,
        "How late the event loop is, looked at twice a second: what a task that is ready has to wait.", (),
        lambda figures: [({}, figures.lag)],
    ),
    Family(
        "trivet_draining", GaugeMetricFamily,
        "1 once the application stops.", (), lambda figures: [({}, float(figures.draining))],
    ),
)  # fmt: skip
