"""`/tasks`: the live task tree as a page, as JSON and as an event stream.

This file owns those routes and what they say. It shows names, times and places in the code; no path, query, header,
body or local variable of a request. What there is to see, and how often anybody looks, `_lookout` knows.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from trivet import JSON, Event, EventSink, EventStream, File, HTTPError, Request, Response, Router, Text
from trivet.contrib._tasktree import Node, task_of

from ._applications import applications, named
from ._lookout import Ended, View, lookout

STATIC: Final = Path(__file__).parent / "static"

PAGE_HEADERS: Final = {
    # The page runs its own script and talks to its own server.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "cache-control": "no-cache",
    "vary": "accept",
}
DATA_HEADERS: Final = {"cache-control": "no-store", "vary": "accept"}

FILES: Final = ("page.css", "page.js", "page.svg")

STACK_LINES: Final = 400


class Service(msgspec.Struct, omit_defaults=True):
    """A service of the application's."""

    name: str
    state: str
    restarts: int = 0


class Tasks(msgspec.Struct):
    """The answer of `/tasks.json`, and the data of each event. Times are in seconds, on Trio's clock."""

    now: float
    tasks: int
    """How many there are."""
    looked: int
    """How many of them were looked at."""
    tree: Node
    services: list[Service]
    ended: list[Ended]


def add_tasks(router: Router) -> None:
    """Add `/tasks` to a router.

    - `/tasks`: the page; the same as `/tasks.json` for who accepts JSON and not HTML.
    - `/tasks.json`: what there is now.
    - `/tasks/events`: the same as server-sent events, one for each change.
    - `/tasks/{task}/stack`: where one task is, as text; by stackscope, if it is installed.

    Whoever may read it learns how the application is made, and who is waiting in it: mount it behind authentication.
    """
    hidden: Any = {"include_in_schema": False}
    router.get("/tasks", **hidden)(page)
    router.get("/tasks.json", **hidden)(tasks_json)
    router.get("/tasks/events", **hidden)(events)
    router.get("/tasks/{task:int}/stack", **hidden)(stack)
    for name in FILES:
        router.get(f"/tasks/{name}", name=f"tasks {name}", **hidden)(_file(name))


async def page(request: Request) -> Response:
    """The page for people, or what it shows."""
    accept = request.headers.get("accept") or ""
    if "application/json" in accept and "text/html" not in accept:
        return await tasks_json(request)
    return File(STATIC / "page.html", headers=PAGE_HEADERS)


def _file(name: str) -> Any:
    async def file() -> File:
        return File(STATIC / name, headers={"cache-control": "no-cache"})

    file.__name__ = file.__qualname__ = f"tasks_{name.replace('.', '_')}"
    return file


async def tasks_json(request: Request) -> JSON[Tasks]:
    """What there is now."""
    return JSON(_tasks(await _look(request), services_of(request.app)), headers=DATA_HEADERS)


async def events(request: Request) -> EventStream:
    """What there is, again and again, as long as it changes.

    While the server drains it shows what that waits for, and what has become of the others, and then ends.
    """

    async def feed(sink: EventSink) -> None:
        shown: object = None
        watch = lookout()
        with watch.following():
            while True:
                view = await _look(request)
                services = services_of(request.app)
                seen = (view.encoded, services)
                if seen != shown:
                    await sink.send(Event(_tasks(view, services), event="tasks"))
                    shown = seen
                if request.draining.is_set() and not view.others:
                    return
                await trio.sleep_until(watch.next)

    return EventStream(feed, on_drain="finish")


async def stack(task: int) -> Text:
    """Where a task is, outermost call first."""
    found = task_of(task)
    if found is None or getattr(found.coro, "cr_frame", None) is None:
        raise HTTPError(404, "There is no such task any more.")
    lines = _stack_of(found)
    more = [f"... {len(lines) - STACK_LINES} more lines"] if len(lines) > STACK_LINES else []
    return Text("\n".join(lines[:STACK_LINES] + more) + "\n", headers=DATA_HEADERS)


def _stack_of(task: trio.lowlevel.Task) -> list[str]:
    try:
        import stackscope
    except ImportError:
        # `lookup_lines` reads source files: no more than a traceback does.
        summary = traceback.StackSummary.extract(task.iter_await_frames(), lookup_lines=True)
        return "".join(summary.format()).splitlines()
    # Its first line has the name of the task, which the page shows already.
    return str(stackscope.extract(task)).splitlines()[1:]


async def _look(request: Request) -> View:
    watch = lookout()
    for prefix, app in applications(request.app):
        nursery = app.tasks.nursery
        if nursery is not None:
            watch.names[nursery] = named("app.tasks", prefix)
    return await watch.look()


def _tasks(view: View, services: list[Service]) -> Tasks:
    return Tasks(view.now, view.tasks, view.looked, view.tree, services, view.ended)


def services_of(app: Any) -> list[Service]:
    """The services of an application and of those mounted in it: how they are; what one failed with is in the log."""
    return [
        Service(named(service.name, prefix), service.state, service.restarts)
        for prefix, each in applications(app)
        for service in each.services
    ]
