"""Instructions for a request, counted by valgrind: what a framework adds on stock hypercorn, however noisy the machine.

    python -m benchmarks.instructions              # bare ASGI, trivet, Starlette; some ten minutes

Seconds differ from run to run by more than a framework costs; instructions do not. Each server runs under callgrind
twice, with few requests and with more; the difference, divided, is what one takes. The kernel's own are not in it, nor
what a cold cache costs, which `EstCycles` (callgrind's simulated caches: ten cycles for a miss of the first level, a
hundred for one of the last) includes in part. This file owns that count.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from .peers import STOCK_PEERS, Peer

ROOT: Final = Path(__file__).parent.parent
FEW: Final = 100
MANY: Final = 400
START: Final = 180.0
"""Seconds for the first connection: everything is fifty times slower."""

REQUEST: Final = b"GET /items/%d HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"


def main() -> int:
    """Print a table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="bare,trivet,starlette", help="peers, separated by commas")
    wanted = parser.parse_args().only.split(",")
    if shutil.which("valgrind") is None:
        print("valgrind is missing:  apt install valgrind", file=sys.stderr)
        return 1
    base: tuple[float, float] | None = None
    print("| peer | instructions | bare's of it | cycles, estimated | bare's of it |\n|---|---:|---:|---:|---:|")
    for peer in (peer for peer in STOCK_PEERS if peer.name in wanted):
        instructions, cycles = _cost(peer)
        base = base or (instructions, cycles)
        ratios = base[0] / instructions, base[1] / cycles
        print(f"| {peer.name} | {instructions:.0f} | {ratios[0]:.3f} | {cycles:.0f} | {ratios[1]:.3f} |", flush=True)
    return 0


def _cost(peer: Peer) -> tuple[float, float]:
    few, many = _run(peer, FEW), _run(peer, MANY)
    return (many[0] - few[0]) / (MANY - FEW), (many[1] - few[1]) / (MANY - FEW)


def _run(peer: Peer, count: int) -> tuple[int, int]:
    """Instructions and estimated cycles of a server's whole life, in which it answers `count` requests."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        out = Path(folder) / "callgrind"
        command = ["valgrind", "--quiet", "--tool=callgrind", "--cache-sim=yes", f"--callgrind-out-file={out}"]
        command += [sys.executable, "-m", "hypercorn", "--worker-class", "trio", "--workers", "0"]
        command += ["--bind", f"fd://{listener.fileno()}", "--log-level", "ERROR", peer.target]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL
        )
        try:
            _ask(listener.getsockname(), count)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
        return _read(out.read_text())


def _ask(address: tuple[str, int], count: int) -> None:
    until = time.monotonic() + START
    while True:
        try:
            client = socket.create_connection(address, timeout=START)
            break
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    with client:
        for number in range(count):
            client.sendall(REQUEST % (100 + number % 100))
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(65_536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"answered {answer!r}")


def _read(text: str) -> tuple[int, int]:
    names = re.search(r"^events: (.*)$", text, re.MULTILINE)
    totals = re.search(r"^(?:summary|totals): (.*)$", text, re.MULTILINE)
    if names is None or totals is None:
        raise RuntimeError("callgrind has written no totals")
    counts = dict(zip(names[1].split(), map(int, totals[1].split()), strict=False))
    first = sum(counts[name] for name in ("I1mr", "D1mr", "D1mw"))
    last = sum(counts[name] for name in ("ILmr", "DLmr", "DLmw"))
    return counts["Ir"], counts["Ir"] + 10 * first + 100 * last


if __name__ == "__main__":
    sys.exit(main())
