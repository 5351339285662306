"""Long computations: started, watched, cancelled; each in the scope of who watches it, or detached with a deadline."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
import trio
from msgspec import Meta

from trivet import App, Depends, Event, EventSink, EventStream, File, HTTPError, Request
from trivet.contrib.broadcast import Broadcast
from trivet.contrib.static import StaticFiles

from .board import ALL, Board, Job, TooManyJobs, Why
from .counting import Counting
from .settings import Settings

STATIC: Final = Path(__file__).parent / "static"
PAGE_HEADERS: Final = {
    # The page runs its own script and talks to its own server.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cache-control": "no-cache",
}
OVER: Final = "over"
"""The id of a job's last event: who comes back with it has seen all there is."""


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be computed."""

    below: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    detached: bool = False
    deadline: Annotated[float, Meta(gt=0, le=600)] = 60.0
    """Seconds, of a job that is detached; one that is watched ends with its watcher."""


@asynccontextmanager
async def open_board() -> AsyncGenerator[Board]:
    """The jobs of this app, and what computes for them."""
    settings = Settings.read(os.environ)
    async with Broadcast(slow="drop_oldest", buffer=64) as news:
        yield Board(settings, news, Counting(settings.workers))


Jobs: TypeAlias = Annotated[Board, Depends(open_board, scope="app")]


async def known(job_id: str, board: Jobs) -> Job:
    """The job of a path; 404 if there is none."""
    job = board.find(job_id)
    if job is None:
        raise HTTPError(404, "There is no such job, or not any more.")
    return job


Known: TypeAlias = Annotated[Job, Depends(known)]

app = App()


@app.post("/jobs", status=202, responses={503: "Too many jobs wait and run."})
async def start(order: Order, board: Jobs, request: Request) -> tuple[int, Job, dict[str, str]]:
    """Start a job. It runs while it is watched, from the first time on; or, detached, now."""
    try:
        job = board.add(order.below, detached=order.detached)
    except TooManyJobs:
        raise HTTPError(503, "Too many jobs wait and run.", headers={"retry-after": "5"}) from None
    if order.detached and board.claim(job):
        app.tasks.start_soon(board.run, job, shut_down, order.deadline)
    return 202, job, {"location": request.url_for(show, job_id=job.id)}


def shut_down() -> Why:
    """What stops a detached job, if nobody cancels it and it has time left."""
    return "shutdown"


@app.get("/jobs")
async def newest(board: Jobs) -> list[Job]:
    """All jobs that are remembered, the newest first."""
    return board.newest()


@app.get("/jobs/{job_id}")
async def show(job: Known) -> Job:
    """One of them."""
    return job


@app.delete("/jobs/{job_id}", responses={409: "It is over."})
async def cancel(job: Known, board: Jobs) -> Job:
    """Stop it; the answer says how it has ended."""
    if job.over:
        raise HTTPError(409, f"It is over: {job.state}.")
    await board.cancel(job)
    return job


@app.get("/jobs/{job_id}/events")
async def watch(job: Known, board: Jobs, request: Request) -> EventStream | None:
    """The job as it goes on. The first to watch it runs it, in this request: who leaves stops it."""
    if request.headers.get("last-event-id") == OVER:
        return None

    async def feed(sink: EventSink) -> None:
        async with board.news.subscribe(job.id, buffer=1) as changes, trio.open_nursery() as nursery:
            if board.claim(job):
                nursery.start_soon(board.run, job, lambda: "shutdown" if request.draining.is_set() else "left")
            shown = None
            while shown is None or shown.id is None:
                event = Event(job, id=OVER if job.over else None)
                if event != shown:
                    await sink.send(event)
                    shown = event
                if event.id is None:
                    await changes.receive()  # that it has changed; how it is now, the job itself says

    return EventStream(feed)


@app.get("/events")
async def watch_all(board: Jobs) -> EventStream:
    """All jobs (`all`), then each one that changes (`job`)."""

    async def feed(sink: EventSink) -> None:
        async with board.news.subscribe(ALL) as changes:
            await sink.send(Event(board.newest(), event="all"))
            dropped = 0
            async for message in changes:
                if changes.dropped == dropped:
                    await sink.send(Event(message.data, event="job"))
                else:  # this client was too slow for some of them: once more from the beginning
                    dropped = changes.dropped
                    await sink.send(Event(board.newest(), event="all"))

    return EventStream(feed)


@app.get("/", include_in_schema=False)
async def page() -> File:
    """The page for people."""
    return File(STATIC / "page.html", headers=PAGE_HEADERS)


app.mount("/static", StaticFiles(STATIC, cache_control="no-cache"))
