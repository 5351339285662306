"""Who notices that a client has left, where the server cannot say so. This file owns when a watcher starts.

Plain ASGI tells of a disconnect only to those who read `receive`. A reader in the background costs a task for
each request (more than all the rest of trivet), and most requests are answered before anybody could leave. So
a request is only noted here, for the price of one `set.add` and one `set.discard`. One sweep for the whole
application looks at what is noted, and starts a watcher for each request that it has seen before.

It must not know ASGI: what a watcher reads, and whom it tells, is the request's own business
(`Watched.watch`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol, final

import trio

from ._leaving import Log, without

PERIOD = 0.05
"""Seconds between two looks. A watcher starts when its request is one to two periods old; it misses nothing,
since the server keeps a disconnect until somebody reads it."""


LAG_FACTOR = 10
"""How many times its lag the sweep waits longer."""

PAUSE_MAX = 1.0
"""Seconds between two looks, however late the loop is: a client that leaves is noticed at last."""

FAILED = "the watcher of a request failed: that its client leaves will not be noticed"


class Watched(Protocol):
    """A request whose client may leave."""

    watcher: trio.CancelScope | None
    """`None` at first. Belongs to the sweep, from `add` to `discard`: around `watch` while that runs."""

    async def watch(self) -> None:
        """Wait until the client has left, and say so to whom it concerns. Cancelled when nobody wants to
        know."""
        ...


@final
class DisconnectSweep:
    """The requests of one application whose clients may leave.

    Args:
        log: is told what a watcher raised; no request may end the application.
    """

    __slots__ = ("_log", "_nursery", "_present", "_wake")

    _present: set[Watched]
    """Noted, and without a watcher so far."""

    _wake: trio.Event | None
    """Set by the first `add` while the sweep is parked; `None` while it sweeps or does not run."""

    _nursery: trio.Nursery | None
    """Of the watchers; `None` while the sweep does not run."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._present = set()
        self._wake = None
        self._nursery = None

    def add(self, watched: Watched) -> None:
        """Note a request: it gets a watcher, unless it has one, if it is still here in a while."""
        if watched.watcher is not None:
            return  # it would stay in `_present` as long as it lives, and keep the sweep awake
        self._present.add(watched)
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    def discard(self, watched: Watched) -> None:
        """The request is over, or does not care any more: forget it, and stop its watcher. Idempotent."""
        self._present.discard(watched)
        if watched.watcher is not None:
            watched.watcher.cancel()
            watched.watcher = None

    def watch_now(self, watched: Watched) -> None:
        """Start a request's watcher at once, unless it has one: for a request that is known to take its time.

        If the sweep does not run (the server has no lifespan), the request is noted and nothing more.
        """
        if self._nursery is None:
            self._present.add(watched)
        elif watched.watcher is None:
            self._present.discard(watched)
            scope = watched.watcher = trio.CancelScope()
            self._nursery.start_soon(self._watch, watched, scope)

    @property
    def running(self) -> bool:
        """Whether what is added will be watched."""
        return self._nursery is not None

    @asynccontextmanager
    async def sweeping(self) -> AsyncGenerator[None]:
        """Sweep while the body runs: for the application's life."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            yield
            nursery.cancel_scope.cancel()

    async def run(self) -> None:
        """Sweep until cancelled; the watchers are cancelled with it.

        It parks while nothing is to be looked at. So a test's autojump clock leaps over a handler that sleeps
        for an hour, and an idle application does not wake the machine.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await self._sweep()
            finally:
                self._nursery = self._wake = None

    async def _sweep(self) -> None:
        seen: set[Watched] = set()
        pause = PERIOD
        while True:
            if not self._present:
                seen.clear()
                self._wake = trio.Event()
                await self._wake.wait()
            due = trio.current_time() + pause
            await trio.sleep_until(due)
            # An overloaded loop is late, and all its requests are old: a task more for each would be the last thing
            # it needs. So the later it is, the longer the next pause.
            pause = min(PERIOD + LAG_FACTOR * (trio.current_time() - due), PAUSE_MAX)
            for watched in seen & self._present:
                self.watch_now(watched)
            seen = self._present.copy()

    async def _watch(self, watched: Watched, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await watched.watch()
        except Exception as error:  # noqa: BLE001  # one request's failure is not the application's
            self._log(FAILED, error)
        except BaseExceptionGroup as error:
            failed = without(error, trio.Cancelled)
            if not isinstance(failed, Exception):
                raise
            self._log(FAILED, failed)
