"""`observe.router()`: the pages of an application that tell how it is, on a router to be mounted.

This file owns which pages there are. What is on them is in the file of each; that of the metrics, which alone needs the
extra, is imported when the page is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from trivet import Router
from trivet.errors import RegistrationError

from ._health import add_health, add_ready
from ._meter import BUCKETS, checked_buckets
from ._tasks_page import add_tasks

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

Page: TypeAlias = Literal["metrics", "health", "ready", "tasks"]

PAGES: Final[tuple[Page, ...]] = get_args(Page)

Registry: TypeAlias = "Collector | Literal['default'] | None"


def router(*pages: Page, registry: Registry = "default", buckets: Sequence[float] = BUCKETS, **options: Any) -> Router:
    """A router with pages that tell how the application is: `app.mount("/observe", observe.router())`.

    What they tell is not for everybody: mount it behind a dependency, or where only your own network comes. `/health`
    and `/ready` may be mounted apart, `observe.router("health", "ready")`, for who asks has no credentials as a rule.

    Args:
        pages: `"metrics"` (in Prometheus's text format; has the whole application measured), `"health"` (200 as long
            as the event loop turns), `"ready"` (503 while the application drains, or when a service has given up),
            `"tasks"` (the tree of tasks). None: all of them.
        registry: prometheus_client's, whose metrics are on the page too, yours among them; `"default"`: its `REGISTRY`.
            `None`: only the application's.
        buckets: bounds of the histograms of durations, in seconds, ascending.
        options: those of `Router`, such as `dependencies`. `limit` is `None` unless given: the pages stand outside the
            application's limits, for one that is full is neither dead nor to be looked at later.

    Raises:
        RegistrationError: there is no such page, or an option is wrong.
        ImportError: the extra `observe` is not installed; `health` and `ready` do without.
    """
    for page in pages:
        if page not in PAGES:
            raise RegistrationError(
                f"there is no page {page!r}.\nThere are {', '.join(PAGES)}; without any, the router has all of them:\n"
                '    observe.router("health", "ready")'
            )
    bounds = checked_buckets(buckets)
    chosen = pages or PAGES
    made = Router(**{"limit": None, **options})
    if "metrics" in chosen:
        _add_metrics(made, bounds, registry)
    if "health" in chosen:
        add_health(made)
    if "ready" in chosen:
        add_ready(made)
    if "tasks" in chosen:
        add_tasks(made)
    return made


def _add_metrics(made: Router, bounds: Sequence[float], registry: Registry) -> None:
    try:
        from ._metrics import add_metrics
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("prometheus_client"):
            raise
        raise ImportError(
            "the page of metrics is written by prometheus_client, which is not installed.\n"
            'Write  pip install "trivet[observe]",  or leave the page out:  observe.router("health", "ready")',
            name=error.name,
        ) from None
    add_metrics(made, bounds, registry)
