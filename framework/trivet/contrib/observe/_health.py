"""Whether the process is to be kept, and whether it is to be sent requests: `/health` and `/ready`.

This file owns the two questions of an orchestrator, which are not the same. A process that drains, or whose service has
given up, is not ready and yet healthy: it is to be left alone until it ends, not killed and started again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trivet import Request, Router, Text

from ._applications import applications, named


def add_health(router: Router) -> None:
    """Register `/health`: 200 as long as the event loop turns."""

    @router.get("/health", summary="Whether the process lives", name="observe.health", include_in_schema=False)
    async def health() -> Text:
        return Text("healthy\n", headers=NOT_KEPT)


def add_ready(router: Router) -> None:
    """Register `/ready`: 200, or 503 while the application drains or when one of its services has given up."""

    @router.get("/ready", summary="Whether to send requests", name="observe.ready", include_in_schema=False)
    async def ready(request: Request) -> Text:
        if request.draining.is_set() or request.app.draining.is_set():
            return Text("draining\n", status=503, headers=NOT_KEPT)
        failed = list(_given_up(request.app))
        if failed:
            return Text(f"given up: {', '.join(failed)}\n", status=503, headers=NOT_KEPT)
        return Text("ready\n", headers=NOT_KEPT)


def _given_up(app: Any) -> Iterator[str]:
    """The services that have, by name; those of mounted applications too, as `app.ready` has it."""
    for prefix, each in applications(app):
        yield from (named(service.name, prefix) for service in each.services if service.state == "failed")


NOT_KEPT = {"cache-control": "no-store"}
"""Whatever is in between must ask each time."""
