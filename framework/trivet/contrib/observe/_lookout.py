"""Looks at the task tree for everybody who wants to see it, no more often than it can afford.

This file owns when the tree is read anew, and what has ended since the last time. One run has one lookout, however many
pages are open: it reads for the first who asks after its time, and the others are shown the same. While nobody asks it
does nothing, and holds nothing of any request.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from weakref import WeakKeyDictionary

import msgspec
import trio

from trivet import Reason
from trivet.contrib._taskframes import looks
from trivet.contrib._tasktree import Node, Requests, grow

PERIOD: Final = 0.25
"""Seconds between two looks for those who follow."""

PER_TASK: Final = 0.0005
"""Seconds for each task that was looked at: of a thousand, half a second. So looking takes a twentieth of the time of a
core, whatever there is to see."""

SLICE: Final = 0.002
"""Seconds of looking after which others have their turn."""

REMEMBERED: Final = 30
"""Requests that have ended."""


class Ended(msgspec.Struct, frozen=True):
    """A request that was there, and is not any more."""

    number: int
    """Counted from 1 on, so that a page knows which it has shown."""
    name: str
    request: str
    reason: Reason
    seconds: float
    """That it took, about."""
    kind: str


class View(msgspec.Struct, frozen=True):
    """What there was to see at one time."""

    now: float
    """On Trio's clock, as are all times in the tree."""
    tasks: int
    """In this run."""
    looked: int
    """How many of them were looked at."""
    others: int
    """Requests and WebSockets among these, less those that only look."""
    tree: Node
    ended: list[Ended]
    """The last first."""
    encoded: bytes
    """The tree and what has ended as JSON: what has not changed since need not be sent again."""


class Lookout:
    """Who looks.

    It belongs to one run of Trio.
    """

    def __init__(self) -> None:
        self.names: WeakKeyDictionary[trio.Nursery, str] = WeakKeyDictionary()
        """What to call nurseries."""
        self.next = 0.0
        """When those who follow look again, on Trio's clock: all of them at once, for then one look is enough."""
        self._lock = trio.Lock()
        self._view: View | None = None
        self._due = 0.0  # when the view is too old to be shown again
        self._followers = 0
        self._seen: Requests = {}
        self._ended: deque[Ended] = deque(maxlen=REMEMBERED)
        self._count = 0

    @contextmanager
    def following(self) -> Generator[None]:
        """While inside, what ends is noticed."""
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers:
                self._seen = {}
                self._view = None

    async def look(self) -> View:
        """What there is to see now, or was a moment ago. A checkpoint.

        Cancellation: the next one looks.
        """
        async with self._lock:
            view = self._view
            if view is None or trio.current_time() >= min(self._due, self.next):
                view = await self._read()
                if self._followers:
                    self._view = view
                now = trio.current_time()
                self._due = now + view.looked * PER_TASK
                if now >= self.next:  # else who has just come would have a time of its own ever after
                    self.next = now + max(PERIOD, view.looked * PER_TASK)
            return view

    async def _read(self) -> View:
        seen: Requests = {}
        growing = grow(names=self.names, requests=seen)
        began = time.perf_counter()
        while True:
            try:
                next(growing)
            except StopIteration as end:
                tree, looked = end.value
                break
            if time.perf_counter() - began >= SLICE:
                await trio.lowlevel.checkpoint()
                began = time.perf_counter()
        now = trio.current_time()
        if self._followers:
            self._note_ended(seen, now)
        ended = list(reversed(self._ended))
        tasks = trio.lowlevel.current_statistics().tasks_living
        others = sum(not looks(request) for request in seen)
        return View(now, tasks, looked, others, tree, ended, msgspec.json.encode((tree, ended)))

    def _note_ended(self, seen: Requests, now: float) -> None:
        for request, node in self._seen.items():
            reason = request.ended
            # Without a reason it is still there, but was not among those that were looked at.
            if request not in seen and reason is not None and not looks(request):
                self._count += 1
                seconds = 0.0 if node.began is None else round(now - node.began, 2)
                self._ended.append(Ended(self._count, node.name, request.id, reason, seconds, node.kind))
        self._seen = seen


_lookout: trio.lowlevel.RunVar[Lookout] = trio.lowlevel.RunVar("trivet.contrib.observe lookout")


def lookout() -> Lookout:
    """The one of this run."""
    try:
        return _lookout.get()
    except LookupError:
        made = Lookout()
        _lookout.set(made)
        return made
