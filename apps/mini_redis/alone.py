"""The server with an engine and a log of its own, as long as it runs; this file owns in which order they come."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from .engine import Engine
from .journal import Journal
from .persistence import open_journal
from .server import Server
from .settings import Settings


def milliseconds() -> int:
    """What time it is, since 1970: not Trio's clock, because a log outlives the process."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_server(settings: Settings) -> AsyncGenerator[Server]:
    """A server that can be served; its log is read before, and closed after."""
    engine = Engine(milliseconds, settings.shown, settings.clients_memory)
    journal: Journal | None = None
    if settings.log is not None:
        journal = await trio.to_thread.run_sync(open_journal, settings.log, settings.fsync, engine)
    try:
        yield Server(engine, settings, journal)
    finally:
        if journal is not None:
            journal.close()


async def serve_alone(settings: Settings, signals: Sequence[signal.Signals]) -> None:
    """Serve until one of these signals comes; the second one does not wait for clients."""
    draining = trio.Event()
    with trio.open_signal_receiver(*signals) as received:
        async with open_server(settings) as server, trio.open_nursery() as nursery:
            nursery.start_soon(_end_with, received, draining, nursery.cancel_scope)
            nursery.start_soon(server.keep)
            await server.serve(draining)
            nursery.cancel_scope.cancel()


async def _end_with(received: AsyncIterator[int], draining: trio.Event, scope: trio.CancelScope) -> None:
    await anext(received)
    draining.set()
    await anext(received)
    scope.cancel()
