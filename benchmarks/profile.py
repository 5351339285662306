"""Where `trivet run` spends its time: `python -m benchmarks.profile typed`.

    python -m benchmarks.profile typed                       # samples, hardly slower
    python -m benchmarks.profile typed --how calls           # cProfile: counts every call, twice as slow
    python -m benchmarks.profile hello --app benchmarks.peers.bare:app

The server runs in a process of its own, on a core of its own, under load from another. Samples are taken by a signal
that arrives after so much CPU time (`ITIMER_PROF`, once in a tick of the kernel at most): Python looks at it between
two instructions, so the time that a call into C takes, a system call for instance, is the time of the line that calls
it. `own` is time at the lines of that function, `with` includes what it calls.

This file owns both profilers and how they get into the server: `serve` is what the child runs.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from . import wrk
from .cases import STOCK, WORK, Case
from .comparison import Cell, Pace, loading
from .peers import Peer
from .processes import cores, cpu_time, pinned
from .servers import ROOT, START, Server, ask

EVERY: Final = 0.001
"""Seconds of CPU time between two samples, if the kernel's timer is as fine as that."""

BEGIN: Final = signal.SIGUSR2
"""Tells the server that its start is over and the load begins."""

DEPTH: Final = 60
"""Frames that are looked at, from the innermost."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile and print; returns the exit code."""
    options = _parser().parse_args(arguments)
    case = next(case for case in (*WORK, *STOCK) if case.name == options.case)
    server_core, load_core = cores()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "profile")
        answers, elapsed, cpu = _under_load(case, options, server_core, load_core, file)
        cost = cpu / answers * 1e6
        print(f"{answers / elapsed:.0f} requests/s; {cost:.1f} us of CPU time each, the profiler's included")
        if options.how == "calls":
            pstats.Stats(str(file)).sort_stats("tottime").print_stats(options.top)
        else:
            print(*_printed(json.loads(file.read_text()), cost, options.top), sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description="Where `trivet run` spends time.")
    parser.add_argument("case", choices=sorted({case.name for case in (*WORK, *STOCK)}), help="what is asked")
    parser.add_argument("--how", choices=("samples", "calls"), default="samples", help="the profiler (samples)")
    parser.add_argument("--app", default="benchmarks.peers.with_trivet:app", help="what is served")
    parser.add_argument("--protocol", help="passed on to `trivet run`")
    parser.add_argument("--connections", type=int, default=32, help="(32)")
    parser.add_argument("--seconds", type=float, default=5.0, help="under load (5)")
    parser.add_argument("--top", type=int, default=30, help="functions and lines shown (30)")
    return parser


def _under_load(
    case: Case, options: argparse.Namespace, server_core: int | None, load_core: int | None, file: Path
) -> tuple[int, float, float]:
    """Serve, put load on it, and stop it so that it writes its profile; answers, seconds, and seconds of CPU time."""
    bind = f"127.0.0.1:{_free_port()}"
    command = [sys.executable, "-m", "benchmarks.profile_server", options.how, str(file)]
    command += ["run", "--log-level", "WARNING", "--bind", bind]
    command += [*(["--protocol", options.protocol] if options.protocol else []), options.app]
    with pinned(server_core):
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        host, _, port = bind.partition(":")
        server = Server(Peer("profiled", "trivet", options.app), (host, int(port)), (process.pid,))
        _wait(server, process)
        began = cpu_time(server.pids) or 0.0
        process.send_signal(BEGIN)
        with loading(load_core, wrk.find()) as load:
            sample = load.measure(server, Cell(case, options.connections, 1), Pace(options.seconds, 0.1))
        cpu = sample.cpu if sample.cpu is not None else (cpu_time(server.pids) or 0.0) - began
        process.send_signal(signal.SIGTERM)
        process.wait(START)
    finally:
        process.kill()
        process.wait()
    return sample.answers, sample.elapsed, cpu


def _free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START
    while process.poll() is None and time.monotonic() < until:
        try:
            ask(server.address, "GET", "/")
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("benchmarks: the server does not start")


def _printed(profile: dict[str, Any], cost: float, top: int) -> Iterator[str]:
    total = profile["samples"] or 1

    def share(count: int) -> str:
        return f"{count / total:7.1%} {count / total * cost:8.2f}"

    yield f"{profile['samples']} samples\n"
    yield "     own    us/req     with    us/req  function"
    for name, count in sorted(profile["own"].items(), key=lambda item: -item[1])[:top]:
        yield f"{share(count)}  {share(profile['with'].get(name, 0))}  {name}"
    yield "\n     own    us/req  line"
    for name, count in sorted(profile["lines"].items(), key=lambda item: -item[1])[:top]:
        yield f"{share(count)}  {name}"


# In the server ----------------------------------------------------------------------------------------------------


class Sampler:
    """Counts where the program is, once in `EVERY` seconds of CPU time."""

    def __init__(self) -> None:
        self.samples = 0
        self._own: Counter[str] = Counter()
        self._with: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._take)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self.samples += 1
        self._own[_named(frame)] += 1
        self._lines[f"{_short(frame)}:{frame.f_lineno}"] += 1
        seen = set()
        for _ in range(DEPTH):
            seen.add(_named(frame))
            if (outer := frame.f_back) is None:
                break
            frame = outer
        self._with.update(seen)

    def write(self, file: Path) -> None:
        plain = {"samples": self.samples, "own": self._own, "with": self._with, "lines": self._lines}
        file.write_text(json.dumps(plain))


def _named(frame: FrameType) -> str:
    return f"{_short(frame)} {frame.f_code.co_qualname}"


def _short(frame: FrameType) -> str:
    return os.sep.join(frame.f_code.co_filename.split(os.sep)[-2:])


def serve(how: str, file: Path, arguments: Sequence[str]) -> int:
    """What the server's process does: `trivet ARGUMENTS` with a profiler, whose profile it writes at the end."""
    from trivet.cli import main as trivet

    if how == "calls":
        profile = cProfile.Profile()
        signal.signal(BEGIN, lambda *_: profile.enable())
        try:
            return trivet(list(arguments))
        finally:
            profile.disable()
            profile.dump_stats(file)
    sampler = Sampler()
    signal.signal(BEGIN, lambda *_: sampler.start())
    try:
        return trivet(list(arguments))
    finally:
        sampler.stop()
        sampler.write(file)


if __name__ == "__main__":
    sys.exit(main())
