"""The servers: one stock `hypercorn --worker-class trio` for each peer, all started before the first measurement.

This file owns how they are started, checked and ended. Nothing in hypercorn is changed: its defaults, no access log,
and no second process (`--workers 0`), so that one pid has all the CPU time of the request.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from .cases import Case
from .generator import Address
from .peers import Peer

ROOT: Final = Path(__file__).parent.parent

START: Final = 30.0
"""Seconds that a server has to answer its first request; the slowest imports take three on a busy machine."""


class Unusable(Exception):
    """A peer that cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    peer: Peer
    address: Address
    pid: int


@contextmanager
def running(peers: Sequence[Peer], core: int | None, cases: Sequence[Case]) -> Generator[list[Server]]:
    """Start a server for each peer and check its answers; all are ended with the body.

    Args:
        peers: to be started.
        core: that they are pinned to; `None`: wherever the system puts them.
        cases: that each must answer correctly.

    Raises:
        Unusable: a server did not start, or an answer is wrong.
    """
    with ExitStack() as stack:
        started = [stack.enter_context(_process(peer, core)) for peer in peers]
        servers: list[Server] = []
        for peer, address, process, log in started:
            _wait_ready(peer, address, process, log)
            _check(peer, address, cases)
            servers.append(Server(peer, address, process.pid))
        yield servers


@contextmanager
def _process(peer: Peer, core: int | None) -> Generator[tuple[Peer, Address, subprocess.Popen[bytes], IO[bytes]]]:
    # The socket is bound here and handed over, so that no other program can take the port in between.
    with tempfile.TemporaryFile() as log:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            address: Address = listener.getsockname()
            command = [sys.executable, "-m", "hypercorn", "--worker-class", "trio", "--workers", "0"]
            command += ["--bind", f"fd://{listener.fileno()}", "--log-level", "WARNING", peer.target]
            process = subprocess.Popen(
                command, cwd=ROOT, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            yield peer, address, process, log
        finally:
            process.kill()
            process.wait()


def _wait_ready(peer: Peer, address: Address, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Wait for any answer: hypercorn listens before it imports the application, so a connection says nothing."""
    until = time.monotonic() + START
    while True:
        try:
            _get(address, "/", until - time.monotonic())
            return
        except (OSError, http.client.HTTPException):
            if process.poll() is not None or time.monotonic() > until:
                log.seek(0)
                said = log.read().decode(errors="replace").strip()
                raise Unusable(
                    f"{peer.name} does not start ({peer.target}).\n"
                    f"The peers come with:  pip install -e '.[dev]'\n\n{said}"
                ) from None
            time.sleep(0.02)


def _check(peer: Peer, address: Address, cases: Sequence[Case]) -> None:
    for case in cases:
        for path in (case.paths[0], case.paths[-1]):
            wrong = case.check(path, *_get(address, path, START))
            if wrong is not None:
                raise Unusable(f"{peer.name} does not answer {path} as the others do: {wrong}")


def _get(address: Address, path: str, seconds: float) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection(*address, timeout=max(seconds, 0.001))) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
