"""L11: floods, one after the other on one server, while somebody else asks a small thing again and again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from . import _http1_floods as http1
from . import _http2_floods as http2
from . import _websocket_floods as websocket
from ._client import Gone, ask
from ._figures import MEBIBYTE, Report, Scenario, Setting, at_most, exactly, told
from ._server import MemoryPeak, Server, serving
from .l10_websockets import APP

PROBE_MS: Final = 500
MEMORY_MIB: Final = 64
EVERY: Final = 0.05
PATIENCE: Final = 12.0
QUIET: Final = 20.0
"""Seconds after a flood in which its last handler has to be gone: `send_timeout` is 10."""

Flood = Callable[[http1.Target, int], Awaitable[None]]

# How many of each, for the scenario's size.
FLOODS: Final[dict[str, tuple[Flood, int]]] = {
    "random bytes": (http1.random_bytes, 10_000),
    "silent connections": (http1.silent, 2000),
    "one-byte chunks": (http1.one_byte_chunks, 200_000),
    "pipelined requests": (http1.pipelined, 20_000),
    "pipelined, unread": (http1.pipelined_unread, 20_000),
    "long heads": (http1.long_heads, 500),
    "endless heads": (http1.endless_heads, 50),
    "long targets": (http1.long_targets, 500),
    "chunk extensions": (http1.chunk_extensions, 200),
    "refused uploads": (http1.refused_uploads, 50),
    "aborted uploads": (http1.aborted_uploads, 500),
    "aborted downloads": (http1.aborted_downloads, 500),
    "h2 rapid reset": (http2.rapid_reset, 5000),
    "h2 continuations": (http2.continuations, 5000),
    "h2 pings": (http2.pings, 100_000),
    "h2 pings, unread": (http2.pings_unread, 180_000),
    "h2 settings": (http2.settings, 50_000),
    "h2 closed window": (http2.closed_window, 100),
    "h2 too many streams": (http2.too_many_streams, 300),
    "h2 aborted downloads": (http2.aborted_downloads, 80),
    "h2 unread uploads": (http2.unread_uploads, 80),
    "h2 prefaces": (http2.prefaces, 200),
    "ws large message": (websocket.large_message, 1),
    "ws endless message": (websocket.endless_message, 1),
    "ws compressed bomb": (websocket.compressed_bomb, 1),
    "ws pings, unread": (websocket.pings_unread, 50_000),
    "ws echoes, unread": (websocket.unread_echoes, 50_000),
    "ws pushes, unread": (websocket.unread_pushes, 50),
    "ws slow handler": (websocket.slow_handler, 20_000),
}
FULL: Final = 10_000


async def run(setting: Setting, report: Report) -> None:
    """The worst probe of each flood; memory, handlers and sockets over all of them."""
    async with serving(setting, app=APP) as server:
        await _others(server, 50)
        stats = await server.stats()
        before, descriptors, highest, left = server.memory(), stats.descriptors, 0, 0
        for name, (flood, full) in FLOODS.items():
            count = max(1, full * setting.size // FULL)
            worst, failed, peak = await _during(server, flood, count, PATIENCE / setting.haste)
            highest = max(highest, peak - before)
            report(at_most(f"{name}: slowest probe", worst * 1000, PROBE_MS, "ms"))
            if failed:
                report(exactly(f"{name}: probes without an answer", failed))
            report(told(f"{name}: memory at most, over the start", (peak - before) / MEBIBYTE, "MiB"))
            _, stats = await server.quiet(within=QUIET, live=left)
            if stats.live != left:
                report(exactly(f"{name}: live handlers", stats.live - left))
            left = stats.live
        report(at_most("memory over the start, at most", highest / MEBIBYTE, MEMORY_MIB, "MiB"))
        report(exactly("live handlers", stats.live))
        report(exactly("the same process", int(stats.pid == server.pid), 1))
        _, stats = await server.released(descriptors, within=QUIET)
        report(exactly("sockets left", max(0, stats.descriptors - descriptors)))


async def _during(server: Server, flood: Flood, count: int, patience: float) -> tuple[float, int, int]:
    """The slowest probe, how many had no answer, and the greatest memory, while the flood goes on."""
    peak = MemoryPeak(server)
    worst, failed, over = 0.0, 0, False

    async def probe() -> None:
        nonlocal worst, failed
        while not over:
            began = time.monotonic()
            try:
                await ask(server.port, "/", within=30)
            except (OSError, Gone, trio.TooSlowError):
                failed += 1
            worst = max(worst, time.monotonic() - began)
            await trio.sleep(EVERY)

    async with trio.open_nursery() as nursery:
        await nursery.start(peak.watch)
        async with trio.open_nursery() as probing:
            probing.start_soon(probe)
            await flood(http1.Target(server.port, patience), count)
            # The probe on its way counts, too: a server that the flood keeps busy answers it last.
            over = True
        peak.look()
        nursery.cancel_scope.cancel()
    return worst, failed, peak.bytes


async def _others(server: Server, count: int) -> None:
    for _ in range(count):
        await ask(server.port, "/")


SCENARIO = Scenario("L11", "floods", FULL, 100, run)
