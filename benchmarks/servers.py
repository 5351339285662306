"""The servers: how each is started, checked and ended.

All of a comparison are started before its first measurement. Each has one worker, its own defaults and no access log;
where a server offers a choice of loop and parser, it is what its documentation recommends for speed.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from .cases import Case
from .generator import Address
from .peers import Peer
from .processes import family, pinned

ROOT: Final = Path(__file__).parent.parent

START: Final = 30.0
"""Seconds that a server has to answer its first request; the slowest imports take three on a busy machine."""

TRIVET_RUN: Final = (sys.executable, "-m", "trivet", "run", "--log-level", "WARNING")
"""`trivet run` as it comes; `--protocol` on the command line is put behind it."""

_PYTHON: Final = (sys.executable, "-m")

_UVICORN: Final = (*_PYTHON, "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log")
# No pings, on either side: clients that only count do not answer them, and would be counted out.
_PINGS: Final = ("--ws-ping-interval", "3600")
_WS: Final = (*_UVICORN, *_PINGS, "--log-level", "warning", "--ws")
_GRANIAN: Final = (*_PYTHON, "granian", "--loop", "uvloop", "--no-access-log", "--log-level", "warning")
_SANIC: Final = (*_PYTHON, "sanic", "--single-process", "--no-access-logs", "--no-motd")
_HYPERCORN: Final = (*_PYTHON, "hypercorn", "--worker-class", "trio", "--workers", "0", "--log-level", "WARNING")

COMMANDS: Final[Mapping[str, Callable[[str, int], Sequence[str]]]] = {
    "trivet": lambda target, port: (*TRIVET_RUN, "--bind", f"127.0.0.1:{port}", target),
    "uvicorn": lambda target, port: (*_UVICORN, "--log-level", "warning", "--port", str(port), target),
    "trivet-ws": lambda target, port: (
        *TRIVET_RUN,
        "--websocket-ping-interval",
        "0",
        "--bind",
        f"127.0.0.1:{port}",
        target,
    ),
    "uvicorn-websockets": lambda target, port: (*_WS, "websockets", "--port", str(port), target),
    "uvicorn-wsproto": lambda target, port: (*_WS, "wsproto", "--port", str(port), target),
    "uvicorn-sansio": lambda target, port: (*_WS, "websockets-sansio", "--port", str(port), target),
    "hypercorn": lambda target, port: (*_HYPERCORN, "--bind", f"127.0.0.1:{port}", target),
    "granian-asgi": lambda target, port: (*_GRANIAN, "--interface", "asgi", "--port", str(port), target),
    "granian-rsgi": lambda target, port: (*_GRANIAN, "--interface", "rsgi", "--port", str(port), target),
    "sanic": lambda target, port: (*_SANIC, "--port", str(port), target),
    "robyn": lambda target, port: (*_PYTHON, target, str(port), "--log-level", "WARN"),
    "module": lambda target, port: (*_PYTHON, target, str(port)),
    "limit": lambda target, port: (*_PYTHON, "benchmarks.limit", str(port), target),
}
"""The command lines, by the name that a `Peer` has for its server."""

ENVIRONMENT: Final[Mapping[str, Mapping[str, str]]] = {
    # It takes a megabyte unless told otherwise.
    "robyn": {"ROBYN_MAX_PAYLOAD_SIZE": str(32 * 1024 * 1024)},
}
"""What a server has no option for."""


class Unusable(Exception):
    """A peer that cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `pids` are its processes, the one that was started first."""

    peer: Peer
    address: Address
    pids: tuple[int, ...]


@contextmanager
def running(
    peers: Sequence[Peer], core: int | None, cases: Sequence[Case], extra: Mapping[str, Sequence[str]] | None = None
) -> Generator[list[Server]]:
    """Start a server for each peer and check its answers; all are ended with the body.

    Args:
        peers: to be started.
        core: that they are pinned to; `None`: wherever the system puts them.
        cases: that each must answer correctly, as far as it takes part in them.
        extra: arguments more, by the name of the server.

    Raises:
        Unusable: a server did not start, or an answer is wrong.
    """
    with ExitStack() as stack:
        started = [
            stack.enter_context(_process(peer, port, core, (extra or {}).get(peer.server, ())))
            for peer, port in zip(peers, _ports(len(peers)), strict=True)
        ]
        servers: list[Server] = []
        for peer, address, process, log in started:
            _wait_ready(peer, address, process, log)
            check(peer, address, cases)
            servers.append(Server(peer, address, family(process.pid)))
        yield servers


def _ports(count: int) -> list[int]:
    # All at once, so that they differ. Not every server takes a socket that is bound already.
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in socks]


@contextmanager
def _process(
    peer: Peer, port: int, core: int | None, extra: Sequence[str]
) -> Generator[tuple[Peer, Address, subprocess.Popen[bytes], IO[bytes]]]:
    with tempfile.TemporaryFile() as log:
        *command, target = COMMANDS[peer.server](peer.target, port)
        environment = {**os.environ, **ENVIRONMENT.get(peer.server, {})}
        with pinned(core):
            process = subprocess.Popen(
                [*command, *extra, target],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield peer, ("127.0.0.1", port), process, log
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # Those that answer in children leave them behind when they are killed; here nobody is.
    for pid in reversed(family(process.pid)):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    process.wait()


def _wait_ready(peer: Peer, address: Address, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Wait for any answer: hypercorn listens before it imports the application, so a connection says nothing."""
    until = time.monotonic() + START
    while True:
        try:
            ask(address, "GET", "/", seconds=until - time.monotonic())
            return
        except (OSError, http.client.HTTPException):
            if process.poll() is not None or time.monotonic() > until:
                log.seek(0)
                said = log.read().decode(errors="replace").strip()
                raise Unusable(
                    f"{peer.name} does not start ({peer.target}).\n"
                    f"The peers come with:  pip install -e '.[bench]'\n\n{said}"
                ) from None
            time.sleep(0.02)


def check(peer: Peer, address: Address, cases: Sequence[Case]) -> None:
    """See whether a peer answers as the others do.

    Raises:
        Unusable: it does not.
    """
    for case in cases:
        if not peer.takes(case):
            continue
        # A limit answers the same to all; it must be what the first path should get.
        for path in (case.paths[0],) if peer.kind == "limit" else (case.paths[0], case.paths[-1]):
            wrong = case.check(path, *ask(address, case.method, path, case.body, case.fields()))
            if wrong is not None:
                raise Unusable(f"{peer.name} does not answer {case.method} {path} as the others do: {wrong}")


def ask(
    address: Address,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    seconds: float = START,
) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: the status, the fields with their names in lower case, the body."""
    with closing(http.client.HTTPConnection(*address, timeout=max(seconds, 0.001))) as connection:
        connection.request(method, path, body or None, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
