"""`apps/mini_redis` beside redis-server: the same commands, by redis-benchmark, with and without a pipeline.

This file owns how that is measured. Both servers are up and pinned to one core, the load is on another. A round asks
each of them once, and the ratio is taken within a round; the median over the rounds is what is shown. CPU time is not
asked for: redis-benchmark says how fast it was answered, and on a core of its own that is the same.
"""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Final

from .processes import pinned
from .servers import ROOT, START, Unusable

COMMANDS: Final = ("SET", "GET", "INCR")
PIPELINES: Final = (16, 1)
CLIENTS: Final = 50
NEEDED: Final = ("redis-server", "redis-benchmark")


@dataclass(frozen=True, slots=True)
class Ratio:
    """One command with one length of pipeline.

    Attributes:
        command: which.
        pipeline: requests on their way at a time, on each connection.
        ours: a second, the median.
        theirs: the same of redis-server.
        ratios: of the first to the second, of each round.
    """

    command: str
    pipeline: int
    ours: float
    theirs: float
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median."""
        return median(self.ratios)


def missing() -> list[str]:
    """The programs that are not there."""
    return [name for name in NEEDED if shutil.which(name) is None]


def measure(core: int | None, rounds: int, requests: int) -> list[Ratio]:
    """Measure both servers in turns.

    Args:
        core: that the servers are pinned to.
        rounds: how often.
        requests: in each measurement with a pipeline; a quarter of that without.

    Raises:
        Unusable: a server did not start, or redis-benchmark failed.
    """
    figures: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with _running(core) as (ours, theirs):
        for pipeline in PIPELINES:
            count = requests if pipeline > 1 else requests // 4
            for turn in range(rounds):
                ports = (ours, theirs) if turn % 2 == 0 else (theirs, ours)
                rates = {port: _ask(port, pipeline, count) for port in ports}
                for command in COMMANDS:
                    pair = rates[ours][command], rates[theirs][command]
                    figures.setdefault((command, pipeline), []).append(pair)
    return [
        Ratio(
            command,
            pipeline,
            median(own for own, _ in pairs),
            median(other for _, other in pairs),
            tuple(own / other for own, other in pairs),
        )
        for (command, pipeline), pairs in figures.items()
    ]


def table(figures: Sequence[Ratio]) -> Iterator[str]:
    """The lines of the table."""
    yield f"redis-benchmark, {CLIENTS} connections, values of 3 bytes."
    yield ""
    yield "| command | P | mini_redis, per second | redis-server | ratio | min..max |"
    yield "|---|--:|--:|--:|--:|---|"
    for each in figures:
        spread = f"{min(each.ratios):.2f}..{max(each.ratios):.2f}"
        yield (
            f"| {each.command} | {each.pipeline} | {each.ours:.0f} | {each.theirs:.0f} | {each.ratio:.3f} | {spread} |"
        )


def _ask(port: int, pipeline: int, requests: int) -> dict[str, float]:
    command = ["redis-benchmark", "-p", str(port), "-c", str(CLIENTS), "-n", str(requests), "-P", str(pipeline)]
    done = subprocess.run(
        [*command, "-t", ",".join(COMMANDS).lower(), "--csv"], capture_output=True, text=True, check=False
    )
    try:
        rates = {row[0]: float(row[1]) for row in csv.reader(done.stdout.splitlines()) if row and row[0] in COMMANDS}
    except (ValueError, IndexError):
        rates = {}
    if set(rates) != set(COMMANDS):
        raise Unusable(f"redis-benchmark says nothing of use:\n{done.stdout}{done.stderr}")
    return rates


@contextmanager
def _running(core: int | None) -> Generator[tuple[int, int]]:
    """Both servers, and their ports."""
    with tempfile.TemporaryDirectory() as directory:
        first, second = _free_port(), _free_port()
        server = ["redis-server", "--port", str(second), "--bind", "127.0.0.1", "--save", "", "--dir", directory]
        environment = {**os.environ, "MINI_REDIS_BIND": f"127.0.0.1:{first}"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "framework"), str(ROOT)])
        with pinned(core):
            processes = [
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for command in ([sys.executable, "-m", "apps.mini_redis"], server)
            ]
        try:
            for port, process in zip((first, second), processes, strict=True):
                _wait_listening(port, process)
            yield first, second
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _wait_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise Unusable(f"this does not start: {process.args!r}") from None
            time.sleep(0.02)
