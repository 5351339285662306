"""TLS: in the poller through memory, or a `trio.SSLStream` and a task for each connection. What each costs.

    python -m benchmarks.tls [--rounds 8] [--seconds 2]

Both ways are trivet's own: the second is what it does where there is no epoll. A third server, in the clear, says what
TLS itself costs. The servers share a core and the load has another; they take turns, the order rotates, and a ratio is
taken within a round. CPU time is the server's own, of all that it does.

This file owns what is compared: small and large responses on kept connections, whole connections with a full handshake
and one request, and the memory of connections that idle. Certificates are ECDSA P-256, made for the occasion.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from . import wrk
from .generator import STALL, Address, Slice
from .processes import cores, cpu_time, descriptors, pinned, resident

ROOT: Final = Path(__file__).parent.parent
APP: Final = "benchmarks.peers.with_trivet:app"
WAYS: Final = ("poller", "task", "plain")
START: Final = 30.0
CONNECTIONS: Final = 32
HANDSHAKES: Final = 150
REQUEST: Final = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n"


@dataclass(frozen=True, slots=True)
class Way:
    """A running server."""

    name: str
    address: Address
    pid: int
    context: ssl.SSLContext | None

    def connect(self) -> socket.socket:
        """Open a connection, with a full handshake."""
        sock = socket.create_connection(self.address, STALL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as HTTP clients have it
        return sock if self.context is None else self.context.wrap_socket(sock, server_hostname="localhost")

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        return cpu_time((self.pid,)) or 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """Of one way in one round: things done in a second, and seconds of CPU time for each."""

    rate: float
    cpu: float


# What is measured -------------------------------------------------------------------------------------------------


def kept(path: bytes, program: str, core: int | None, seconds: float) -> Callable[[Way], Figure]:
    """Requests on connections that are kept."""

    def measure(way: Way) -> Figure:
        order = Slice(way.address, (way.pid,), [REQUEST % (path, b"")], CONNECTIONS, 0.0, seconds)
        sample = wrk.drive(program, order, core, "http" if way.context is None else "https")
        return Figure(sample.answers / sample.elapsed, (sample.cpu or 0.0) / sample.answers)

    return measure


def whole(way: Way) -> Figure:
    """Connections: the handshake, one request, the end. One after another, so that the rate is also the client's."""
    began, cpu = time.monotonic(), way.cpu()
    for _ in range(HANDSHAKES):
        with way.connect() as sock:
            sock.sendall(REQUEST % (b"/hello", b"Connection: close\r\n"))
            while sock.recv(65_536):
                pass
    return Figure(HANDSHAKES / (time.monotonic() - began), (way.cpu() - cpu) / HANDSHAKES)


def memory(way: Way, connections: int) -> list[float]:
    """Resident bytes for each connection that idles: after one small request, and after one for 1 MB as well."""
    sizes: list[float] = []
    with ExitStack() as stack:
        for _ in range(20):  # what is made once does not count
            first = stack.enter_context(way.connect())
            _ask(first, b"/hello")
            _ask(first, b"/download")
        before = resident((way.pid,)) or 0
        idle = [stack.enter_context(way.connect()) for _ in range(connections)]
        for path in (b"/hello", b"/download"):
            for sock in idle:
                _ask(sock, path)
            sizes.append(((resident((way.pid,)) or 0) - before) / connections)
    return sizes


def _ask(sock: socket.socket, path: bytes) -> None:
    sock.sendall(REQUEST % (path, b""))
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    left = length - len(body)
    while left:
        left -= len(sock.recv(65_536))


# The servers ------------------------------------------------------------------------------------------------------


@contextmanager
def running(core: int | None) -> Generator[list[Way]]:
    """One server for each way."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        key, chain = Path(directory, "key.pem"), Path(directory, "chain.pem")
        certificate.private_key_pem.write_to_path(str(key))
        certificate.cert_chain_pems[0].write_to_path(str(chain))
        ways: list[Way] = []
        for name in WAYS:
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                address: Address = sock.getsockname()
            command = [sys.executable, "-m", "benchmarks.tls", "--serve", name, "run", APP, "--log-level", "WARNING"]
            command += ["--bind", f"127.0.0.1:{address[1]}", "--keep-alive", "600"]
            command += [] if name == "plain" else ["--certfile", str(chain), "--keyfile", str(key)]
            with pinned(core):
                process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            way = Way(name, address, process.pid, None if name == "plain" else context)
            _wait(way, process)
            ways.append(way)
        yield ways


def _wait(way: Way, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START
    while process.poll() is None and time.monotonic() < until:
        try:
            way.connect().close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("benchmarks: the server does not start")


def serve(way: str, arguments: Sequence[str]) -> int:
    """What a server's process does."""
    from trivet.cli import main as trivet
    from trivet.server import _serve

    if way == "task":
        _serve.POLLS = False
    return trivet(list(arguments))


# The command ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls", description="What TLS costs, in two ways.")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each server (8)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load in a turn (2)")
    parser.add_argument("--idle", type=int, default=1000, help="connections whose memory is measured (1000)")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        return serve(options.serve[0], options.serve[1:])
    program = wrk.find()
    if program is None:
        raise SystemExit("benchmarks: wrk is needed (apt install wrk)")
    descriptors()
    server_core, load_core = cores()
    cases: dict[str, Callable[[Way], Figure]] = {
        "small responses, through the direct door": kept(b"/hello", program, load_core, options.seconds),
        "small responses, of handlers that wait": kept(b"/waits/1", program, load_core, options.seconds),
        "responses of 1 MB": kept(b"/download", program, load_core, options.seconds),
        "whole connections": whole,
    }
    with running(server_core) as ways, pinned(load_core):
        # Before there is a heap that they would fit into.
        idle = {way.name: memory(way, options.idle) for way in ways}
        for title, measure in cases.items():
            rounds: list[dict[str, Figure]] = []
            for number in range(options.rounds):
                turn = number % len(ways)
                rounds.append({way.name: measure(way) for way in ways[turn:] + ways[:turn]})
            report(title, rounds)
    print(f"\nmemory of {options.idle} idle connections, KiB each: after a small response, after 1 MB as well")
    for name, sizes in idle.items():
        print(f"  {name:8}" + "".join(f"{size / 1024:8.1f}" for size in sizes))
    return 0


def report(title: str, rounds: list[dict[str, Figure]]) -> None:
    """Print the medians, and the ratios to `task` within a round."""
    print(f"\n{title}\n  {'':8}{'per second':>12}{'CPU us':>10}{'CPU of task by its own: median, least, greatest':>52}")
    for name in WAYS:
        ratios = sorted(each["task"].cpu / each[name].cpu for each in rounds)
        rate = median(each[name].rate for each in rounds)
        cpu = median(each[name].cpu for each in rounds) * 1e6
        print(f"  {name:8}{rate:12.0f}{cpu:10.1f}{median(ratios):32.2f}{ratios[0]:10.2f}{ratios[-1]:10.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
