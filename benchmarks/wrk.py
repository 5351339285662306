"""Load by wrk, which is fast enough to keep every server busy from one core. This file owns how it is run and read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from .generator import STALL, Broken, Sample, Slice
from .processes import cpu_time, pinned

SCRIPT: Final = Path(__file__).with_name("wrk.lua")

LONGER: Final = 10
"""So many times as long an order is put again that was over before its first answer."""

LOST: Final = 0.001
"""The part of the requests that may fail at the level of sockets: a server may close a connection that is idle."""


class NoAnswer(Broken):
    """The time was over before the first one."""


def find() -> str | None:
    """Where wrk is; `None`: not installed (`apt install wrk`)."""
    return shutil.which("wrk")


def drive(program: str, order: Slice, core: int | None, scheme: str = "http") -> Sample:
    """Put one slice of load on a server. Its warm-up counts: connections are made in it, on every server alike.

    One may be over before the handshakes are, on a machine that has more to do: it is put once more, for longer.

    Args:
        program: where wrk is.
        order: the load.
        core: that it is pinned to.
        scheme: `https` for TLS; no certificate is checked.

    Raises:
        Broken: an answer that is no success, or none.
    """
    try:
        return _put(program, order, core, scheme)
    except NoAnswer:
        return _put(program, replace(order, seconds=LONGER * order.seconds), core, scheme)


def _put(program: str, order: Slice, core: int | None, scheme: str) -> Sample:
    with tempfile.NamedTemporaryFile() as file:
        for request in order.requests:
            file.write(b"%d\n%b" % (len(request), request))
        file.flush()
        command = [program, "-t1", f"-c{order.connections}", "-d60s", f"--timeout={STALL:.0f}s", "-s", str(SCRIPT)]
        command.append(f"{scheme}://{order.address[0]}:{order.address[1]}/")
        environment = {**os.environ, "BENCHMARK_REQUESTS": file.name}
        before = cpu_time(order.pids)
        with pinned(core):
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        try:
            # Its own durations are whole seconds; on an interrupt it stops within a tenth of one and counts as ever.
            process.wait(order.warmup + order.seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        try:
            said = process.communicate(timeout=2 * STALL)[0].decode(errors="replace")
        finally:
            process.kill()
        after = cpu_time(order.pids)
    answers, elapsed = read(said)
    return Sample(answers, elapsed, None if before is None or after is None else after - before)


def read(said: str) -> tuple[int, float]:
    """How many answers came, in how many seconds, from what wrk printed.

    Raises:
        Broken: it does not say, no answer came, or too many were errors.
    """
    lines = [line for line in said.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise Broken(f"wrk failed:\n{said}")
    answers, microseconds, connect, receive, send, status, late = map(int, lines[-1].split()[1:])
    if not answers:
        raise NoAnswer(f"no answer for {microseconds / 1e6:.1f} seconds")
    if status:
        raise Broken(f"{status} of {answers} answers were errors")
    if connect + receive + send + late > LOST * answers + 1:
        raise Broken(
            f"of {answers} requests and their connections {connect} could not connect, {receive} could not read, "
            f"{send} could not write, {late} had no answer for {STALL:.0f} seconds"
        )
    return answers, microseconds / 1e6
