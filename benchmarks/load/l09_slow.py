"""L9: clients that are slow on purpose: a head, a body, a download in drops. Each is turned away; nobody else waits.

Ours always, and slowhttptest's verdict beside it where it is installed (Debian has a package).
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from ._client import Connection, Gone, ask, get, open_many
from ._figures import Report, Scenario, Setting, absent, at_most, exactly, told
from ._server import Server, serving

LINGERS: Final = 5.0
"""Seconds that a server may go on reading after an early answer, so that the answer arrives; nginx does it too."""

RATE: Final = 100
"""Connections that slowhttptest opens in a second."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of slowness.

    Attributes:
        name: of it.
        gate: seconds until the last connection is closed.
        begins: what is sent at once.
        drop: what is sent each second; `None`: a little is read instead.
        options: of slowhttptest for the same.
        share: of the scenario's size.
    """

    name: str
    gate: float
    begins: bytes
    drop: bytes | None
    options: tuple[str, ...]
    share: float = 1.0


KINDS: Final = (
    Kind("head", 10, get("/")[:-2], b"X-a: b\r\n", ("-H", "-i", "10")),
    Kind(
        "body",
        35,
        b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8192\r\n\r\n",
        b"a",
        ("-B", "-i", "10", "-s", "8192"),
    ),
    Kind("read", 35, get("/big/64"), None, ("-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"), 0.6),
)
PATHS: Final = {"head": "/", "body": "/upload", "read": "/big/64"}


async def run(setting: Setting, report: Report) -> None:
    """One kind after the other, on one server."""
    async with serving(setting) as server:
        for kind in KINDS:
            count = max(1, int(setting.size * kind.share))
            took, failed, worst, open_ = await _ours(server, kind, count, setting.haste)
            report(exactly(f"slow {kind.name}: connections still open", open_))
            report(at_most(f"slow {kind.name}: until the last was closed", took, kind.gate / setting.haste, "s"))
            report(exactly(f"slow {kind.name}: requests of others that failed", failed))
            report(told(f"slow {kind.name}: slowest request of others", worst * 1000, "ms"))
        if setting.tools and setting.haste == 1:
            if shutil.which("slowhttptest") is None:
                report(absent("slowhttptest"))
                return
            for kind in KINDS:
                await _theirs(server, kind, max(1, int(setting.size * kind.share)), report)


async def _ours(server: Server, kind: Kind, count: int, haste: float) -> tuple[float, int, float, int]:
    """Seconds until all are closed, requests of others that failed, the slowest of them, connections still open.

    Closed is what the server says it has no longer: the client of a download that is not read sees its end only behind
    the data.
    """
    descriptors = (await server.stats()).descriptors
    failed, worst = 0, 0.0

    async def others() -> None:
        nonlocal failed, worst
        while True:
            began = time.monotonic()
            try:
                await ask(server.port, "/", within=5)
            except (OSError, Gone, trio.TooSlowError):
                failed += 1
            worst = max(worst, time.monotonic() - began)
            await trio.sleep(0.2)

    async def greet(connection: Connection) -> None:
        await connection.send(kind.begins)

    async with trio.open_nursery() as nursery:
        began = time.monotonic()
        connections = await open_many(count, server.port, greet, receive_buffer=1024)
        nursery.start_soon(others)
        for connection in connections:
            nursery.start_soon(_drip, connection, kind.drop, haste)
        await trio.sleep(0.2)
        # One of `others` may be open at the time.
        _, stats = await server.released(descriptors + 1, within=1.5 * kind.gate / haste + LINGERS)
        took = time.monotonic() - began
        nursery.cancel_scope.cancel()
    for connection in connections:
        connection.close()
    return took, failed, worst, max(0, stats.descriptors - descriptors - 1)


async def _drip(connection: Connection, drop: bytes | None, haste: float) -> None:
    while True:
        if drop is None:
            await trio.sleep(5 / haste)
            if not await connection.receive(32):
                return
        else:
            await trio.sleep(1 / haste)
            try:
                await connection.send(drop)
            except OSError:
                return


async def _theirs(server: Server, kind: Kind, count: int, report: Report) -> None:
    """slowhttptest's load, and its verdict on the service.

    Whether it is still connected we ask the server: slowhttptest does not see the end of a connection in an RST.
    """
    opening = count / RATE
    descriptors = (await server.stats()).descriptors
    held = 0.0

    async def look() -> None:
        nonlocal held
        began = time.monotonic()
        while True:
            # Its probe is connected, too, and may be twice for a moment.
            if (await server.stats()).descriptors > descriptors + 2:
                held = time.monotonic() - began
            await trio.sleep(0.25)

    with tempfile.TemporaryDirectory() as directory:
        prefix = Path(directory, "out")
        url = f"http://127.0.0.1:{server.port}{PATHS[kind.name]}"
        common = ["-c", count, "-r", RATE, "-l", int(kind.gate + opening + 5), "-p", 3, "-g", "-o", prefix, "-u", url]
        command = ["slowhttptest", *kind.options, *map(str, common)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.run_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            nursery.cancel_scope.cancel()
        rows = list(csv.DictReader(prefix.with_suffix(".csv").read_text().splitlines()))
    name = f"slowhttptest {kind.name}"
    # It opens them one after the other; the last has the full time.
    report(at_most(f"{name}: until the last was closed", max(0.0, held - opening), kind.gate, "s"))
    report(exactly(f"{name}: seconds of no service", sum(row["Service Available"] == "0" for row in rows)))


SCENARIO = Scenario("L9", "slow heads, bodies and readers", 500, 10, run)
