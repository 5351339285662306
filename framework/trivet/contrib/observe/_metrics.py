"""`/metrics`: the page that Prometheus asks for.

This file owns where its figures come from: the application, and those that are mounted in it. They are taken at once,
and written in a worker thread: the text of a hundred routes takes tens of milliseconds, for which no other request
should wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import trio
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from trivet import Depends, Header, Limit, Request, Response, Router
from trivet.asgi import METER

from ._applications import applications, named
from ._exposition import Figures, text_of
from ._loop import LoopLag, running
from ._meter import Counts, Distribution

ENDINGS: Final = ("completed", "failed", "timed_out", "cancelled")
"""How a task of `app.tasks` can end: names of its counts, and of a label."""

WRITERS: Final = 2
"""Pages that are written at once: in threads of their own, for an application whose handlers have taken all of Trio's
is one that somebody wants to see."""


@dataclass(frozen=True)
class Measuring:
    """Makes the counters of an application. Two pages with the same buckets want the same, and show the same."""

    buckets: tuple[float, ...]

    def __call__(self) -> Counts:
        return Counts(self.buckets)


def add_metrics(router: Router, buckets: Sequence[float], registry: Collector | Literal["default"] | None) -> None:
    """Register `/metrics`, and have the application measured that it is registered in.

    Args:
        router: gets the route.
        buckets: bounds of the histograms of durations, in seconds.
        registry: of prometheus_client, whose metrics are on the page too; `"default"`: its `REGISTRY`.
    """
    others = REGISTRY if registry == "default" else registry
    limiter = trio.CapacityLimiter(WRITERS)

    async def metrics(
        request: Request,
        lag: Annotated[LoopLag, Depends(running, scope="app")],
        accept: Annotated[str, Header()] = "",
    ) -> Response:
        figures = _figures(request.app, lag)
        media_type, text = await trio.to_thread.run_sync(text_of, figures, others, accept, limiter=limiter)
        return Response(text, media_type=media_type, headers={"cache-control": "no-store"})

    setattr(metrics, METER, Measuring(tuple(buckets)))
    router.get("/metrics", summary="For Prometheus", name="observe.metrics", include_in_schema=False)(metrics)


def _figures(app: Any, lag: LoopLag) -> Figures:
    counts: Counts = app.meter
    apps = list(applications(app))
    return Figures(
        routes=counts.snapshot(),
        requests=counts.requests,
        websockets=counts.websockets,
        cut_short=dict(counts.cut_short),
        lag=Distribution.of(lag.seen),
        tasks=sum(each.tasks.running for _, each in apps),
        tasks_ended={name: sum(getattr(each.tasks, name) for _, each in apps) for name in ENDINGS},
        draining=app.draining.is_set(),
        services=[
            (named(service.name, prefix), service.state, service.restarts)
            for prefix, each in apps
            for service in each.services
        ],
        limits=_by_name(dict.fromkeys(limit for _, each in apps for limit in each.limits)),  # they may share one
    )


def _by_name(limits: Iterable[Limit]) -> dict[str, tuple[int, int, int]]:
    """Those of one name together. Those without have the empty one, which to Prometheus is no label at all."""
    found: dict[str, tuple[int, int, int]] = {}
    for each in limits:
        name = each.name or ""
        running, waiting, shed = found.get(name, (0, 0, 0))
        found[name] = running + each.running, waiting + each.waiting, shed + each.shed
    return found
