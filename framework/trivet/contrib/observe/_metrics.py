"""`/metrics`: the page that Prometheus asks for.

This file owns where its figures come from. They are taken at once, and written in a worker thread: the text of a
hundred routes takes tens of milliseconds, for which no other request should wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import trio
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from trivet import Depends, Header, Request, Response, Router
from trivet.asgi import METER

from ._exposition import Figures, text_of
from ._loop import LoopLag, running
from ._meter import Counts, Distribution


def add_metrics(router: Router, buckets: Sequence[float], registry: Collector | Literal["default"] | None) -> None:
    """Register `/metrics`, and have the application measured that it is registered in.

    Args:
        router: gets the route.
        buckets: bounds of the histograms of durations, in seconds.
        registry: of prometheus_client, whose metrics are on the page too; `"default"`: its `REGISTRY`.
    """
    others = REGISTRY if registry == "default" else registry

    async def metrics(
        request: Request,
        lag: Annotated[LoopLag, Depends(running, scope="app")],
        accept: Annotated[str, Header()] = "",
    ) -> Response:
        figures = _figures(request.app, lag)
        media_type, text = await trio.to_thread.run_sync(text_of, figures, others, accept)
        return Response(text, media_type=media_type, headers={"cache-control": "no-store"})

    setattr(metrics, METER, partial(Counts, buckets))
    router.get("/metrics", summary="For Prometheus", name="observe.metrics", include_in_schema=False)(metrics)


def _figures(app: Any, lag: LoopLag) -> Figures:
    counts: Counts = app.meter
    nursery: trio.Nursery | None = app.tasks.nursery
    return Figures(
        routes=counts.snapshot(),
        requests=counts.requests,
        websockets=counts.websockets,
        cut_short=dict(counts.cut_short),
        lag=Distribution.of(lag.seen),
        tasks=0 if nursery is None else len(nursery.child_tasks),
        draining=app.draining.is_set(),
        services=[(each.name, each.state, each.restarts) for each in getattr(app, "services", ())],
    )
