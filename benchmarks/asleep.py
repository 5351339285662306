"""Thousands of connections whose handlers sleep: the memory of each, and how long a small request takes beside them.

This file owns how both are measured: the memory of a server before and after, and the same closed loop of small
requests, one after another on one connection, where nobody sleeps and where all do. These are two servers of the same
kind, which are asked in turns, as the machine changes its speed while they are; a ratio is taken within a turn.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from .cases import TYPED
from .generator import STALL, Address, Broken, parse_head
from .processes import family, resident
from .report import number
from .servers import Server, ask

BATCH: Final = 50
"""Connections that are made before it is seen whether their handlers sleep: less than any server's backlog."""

SOURCES: Final = tuple(f"127.0.0.{number}" for number in range(1, 6))
"""Client addresses in turn, where the system has them: one has ports for some 28,000 connections, also those that have
just ended."""

TURNS: Final = 7
"""Series of small requests on each of the two servers."""

PATIENCE: Final = 60.0
"""Seconds for one batch to fall asleep."""


@dataclass(frozen=True, slots=True)
class Asleep:
    """What was measured; times in seconds, memory in bytes for each connection.

    Attributes:
        peer: the server and its application.
        connections: whose handlers sleep.
        memory: for each.
        idle: of each turn, the median and the slowest hundredth of a small request where nobody sleeps.
        beside: the same beside the sleepers.
    """

    peer: str
    connections: int
    memory: float | None
    idle: tuple[tuple[float, float], ...]
    beside: tuple[tuple[float, float], ...]

    @property
    def slower(self) -> float:
        """How many times as long the slowest hundredth takes beside the sleepers: the median of the turns."""
        return median(beside[1] / idle[1] for idle, beside in zip(self.idle, self.beside, strict=True))


def measure(server: Server, twin: Server, connections: int, probes: int) -> Asleep:
    """Put sleepers on a server.

    Args:
        server: with `/sleep`, `/asleep` (how many do) and the `typed` case.
        twin: another with the same, where nobody will sleep.
        connections: that sleep.
        probes: small requests in a series; each server has `TURNS` of them.

    Raises:
        Broken: not all fell asleep, or an answer was wrong.
    """
    for each in (server, twin):
        _series(each.address, probes)
    before = resident(family(server.pids[0]))
    with contextlib.ExitStack() as stack:
        opened = 0
        while opened < connections:
            for _ in range(min(BATCH, connections - opened)):
                sock = stack.enter_context(connect(server.address, opened))
                sock.sendall(b"GET /sleep HTTP/1.1\r\nHost: localhost\r\n\r\n")
                opened += 1
            _wait_asleep(server.address, opened)
        after = resident(family(server.pids[0]))
        idle, beside = _in_turns(twin.address, server.address, probes)
        if _asleep(server.address) != connections:
            raise Broken("some did not sleep on")
    memory = None if before is None or after is None else (after - before) / connections
    return Asleep(server.peer.name, connections, memory, idle, beside)


def connect(address: Address, number: int) -> socket.socket:
    """A connection, the `number`-th of many."""
    sock = socket.socket()
    sock.settimeout(STALL)
    if hasattr(socket, "IP_BIND_ADDRESS_NO_PORT"):
        # The port is chosen at connect, when the other end is known: more are free then.
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((SOURCES[number % len(SOURCES)], 0))
    # Closing resets: thousands of ports in TIME_WAIT would be missing in the next measurement.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.connect(address)
    return sock


def _wait_asleep(address: Address, count: int) -> None:
    until = time.monotonic() + PATIENCE
    while (asleep := _asleep(address)) < count:
        if time.monotonic() > until:
            raise Broken(f"{asleep} of {count} requests reached their handler in {PATIENCE:g} seconds")
        time.sleep(0.002)


def _asleep(address: Address) -> int:
    return int(json.loads(ask(address, "GET", "/asleep")[2]))


def _in_turns(
    first: Address, second: Address, probes: int
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """The median and the slowest hundredth of a small request, of each turn of either server."""
    taken: dict[Address, list[tuple[float, float]]] = {first: [], second: []}
    for turn in range(TURNS):
        for address in (first, second) if turn % 2 == 0 else (second, first):
            taken[address].append(_series(address, probes))
    return tuple(taken[first]), tuple(taken[second])


def _series(address: Address, probes: int) -> tuple[float, float]:
    requests = TYPED.requests()
    times: list[float] = []
    with socket.create_connection(address, timeout=STALL) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for turn in range(probes):
            began = time.perf_counter()
            sock.sendall(requests[turn % len(requests)])
            closing = _answer(sock)
            times.append(time.perf_counter() - began)
            if closing:
                break  # hypercorn's thousandth; what was timed is enough
    return median(times), quantiles(times, n=100)[98]


def _answer(sock: socket.socket) -> bool:
    """Read one answer; returns whether it is the connection's last."""
    data = b""
    while True:
        data += sock.recv(65536)
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            length, closing = parse_head(head)
            if len(body) >= length:
                return closing
        elif not data:
            raise Broken("the server closed a connection in the middle of an answer")


def table(figures: Sequence[Asleep], base: str) -> Iterator[str]:
    """The lines of the table, as Markdown."""
    own = {each.peer: each.memory for each in figures}.get(base)
    count = figures[0].connections if figures else 0
    yield f"### {count} connections asleep in a handler, and a small request beside them"
    yield ""
    yield f"| {'peer':19} | KiB/connection | of {base} | idle p50, p99 us | beside p50, p99 us | p99 by idle |"
    yield f"|{'-' * 21}|{'-' * 15}:|{'-' * (len(base) + 4)}:|{'-' * 17}:|{'-' * 19}:|{'-' * 12}:|"
    for each in figures:
        kib = None if each.memory is None else each.memory / 1024
        part = None if not own or each.memory is None else each.memory / own
        yield (
            f"| {each.peer:19} | {number(kib, '.1f'):>14} | {number(part, '.2f'):>{len(base) + 3}}"
            f" | {_pair(each.idle):>16} | {_pair(each.beside):>18} | {each.slower:11.2f} |"
        )


def _pair(series: Sequence[tuple[float, float]]) -> str:
    return f"{median(each[0] for each in series) * 1e6:.0f}, {median(each[1] for each in series) * 1e6:.0f}"
