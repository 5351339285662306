"""The jobs: what is known of each, what it may become, and for how long it is remembered.

This file owns a job's life. It does not own the task that a job runs in: that is whoever calls `run`, and if that is
stopped, so is the job. It knows neither HTTP nor how the computation is done.

    waiting ---> running ---> done
       |            |-------> failed
       '------------'-------> stopped, and why
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Literal, TypeAlias

import msgspec
import trio

from trivet.contrib.broadcast import Broadcast

from .counting import Tell
from .settings import Settings

log = logging.getLogger("apps.jobs")

State: TypeAlias = Literal["waiting", "running", "done", "stopped", "failed"]
Why: TypeAlias = Literal["cancelled", "left", "deadline", "shutdown", "unwatched"]
Count: TypeAlias = Callable[[int, Tell], Awaitable[None]]
"""Counts the primes below a number, somewhere else, and tells how far it is."""

ALL = "all"
"""The topic of all jobs; each has one of its own, its id."""


class Job(msgspec.Struct):
    """A job, as its clients see it: how many primes are there below a number?"""

    id: str
    below: int
    detached: bool
    """Whether it goes on when nobody watches."""
    state: State = "waiting"
    why: Why | None = None
    """Why it was stopped."""
    progress: float = 0.0
    """From 0 to 1."""
    found: int = 0
    """Primes so far."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("waiting", "running")


class TooManyJobs(Exception):
    """As many wait and run as may."""


@dataclass
class _Entry:
    job: Job
    until: float
    """When it is forgotten, or, while it waits, given up."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)


class Board:
    """All jobs of this process.

    Args:
        settings: how many, and for how long.
        news: where each change is published, under the job's id and under `ALL`. What waits there for who is slow must
            be dropped, not waited for: a job has no time for its watchers.
        count: what counts.
    """

    def __init__(self, settings: Settings, news: Broadcast, count: Count) -> None:
        self.news = news
        self._settings = settings
        self._count = count
        self._entries: dict[str, _Entry] = {}  # in the order in which they were added

    def add(self, below: int, *, detached: bool) -> Job:
        """Note down a job that waits.

        Raises:
            TooManyJobs: there is no room.
        """
        self._forget()
        if sum(not entry.job.over for entry in self._entries.values()) >= self._settings.open_jobs:
            raise TooManyJobs
        job = Job(secrets.token_urlsafe(9), below, detached)
        self._entries[job.id] = _Entry(job, trio.current_time() + self._settings.patience)
        return job

    def find(self, id_: str) -> Job | None:
        """The job of this id, if it is remembered."""
        self._forget()
        entry = self._entries.get(id_)
        return None if entry is None else entry.job

    def newest(self) -> list[Job]:
        """All of them, the newest first."""
        self._forget()
        return [entry.job for entry in reversed(self._entries.values())]

    def claim(self, job: Job) -> bool:
        """Whether the caller is to run this job: nobody has so far, and now nobody else may."""
        if job.state != "waiting":
            return False
        job.state = "running"
        self._entries[job.id].until = inf
        return True

    async def run(self, job: Job, if_stopped: Callable[[], Why], seconds: float = inf) -> None:
        """Run a job that was claimed, to its end.

        Args:
            job: the job.
            if_stopped: why it ends when this call is cancelled.
            seconds: the time that it has.

        Cancellation: the job is stopped, and so is whatever counted for it.
        """
        entry = self._entries[job.id]
        try:
            with entry.scope:
                with trio.move_on_after(seconds) as time:
                    await self._tell(job)
                    await self._work(job)
                    job.state = "done"
                if time.cancelled_caught:
                    job.state, job.why = "stopped", "deadline"
            if entry.scope.cancelled_caught:
                job.state, job.why = "stopped", "cancelled"
        except Exception:
            log.exception("job %s failed", job.id)
            job.state = "failed"
        finally:
            if job.state == "running":  # neither: the task that this runs in was cancelled
                job.state, job.why = "stopped", if_stopped()
            self._close(entry)
            with trio.move_on_after(1, shield=True):  # others watch, also when whoever ran it has gone
                await self._tell(job)

    async def _work(self, job: Job) -> None:
        async def tell(reached: int, found: int) -> None:
            job.progress, job.found = reached / job.below, found
            if reached < job.below:
                await self._tell(job)

        await self._count(job.below, tell)

    async def cancel(self, job: Job) -> None:
        """Stop a job, and wait until it has stopped; it may have been done by then."""
        entry = self._entries[job.id]
        if job.state == "waiting":
            job.state, job.why = "stopped", "cancelled"
            self._close(entry)
            await self._tell(job)
        entry.scope.cancel()
        await entry.over.wait()

    def _close(self, entry: _Entry) -> None:
        entry.over.set()
        entry.until = trio.current_time() + self._settings.keep
        self._forget()

    async def _tell(self, job: Job) -> None:
        await self.news.publish(job.id, job)
        await self.news.publish(ALL, job)

    def _forget(self) -> None:
        """What nobody came for, what has been kept for long enough, and the oldest of what is too many."""
        now = trio.current_time()
        for entry in list(self._entries.values()):
            if entry.until <= now and entry.job.over:
                del self._entries[entry.job.id]
            elif entry.until <= now:
                entry.job.state, entry.job.why = "stopped", "unwatched"
                entry.until = now + self._settings.keep
        ended = [entry.job.id for entry in self._entries.values() if entry.job.over]
        for id_ in ended[: max(0, len(ended) - self._settings.kept)]:
            del self._entries[id_]
