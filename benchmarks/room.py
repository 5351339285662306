"""Thousands of WebSockets in one room: what each of them costs, and how fast all of them have a message.

This file owns how that is measured: one server at a time, as its clients take a descriptor each. Some clients say
something, the room repeats it to all, and the clients count what they get. The clients are sockets in one epoll object
that read and count and do nothing else: they are faster than any server here, as what they cost is a system call for
each delivery where the server has one and a room.

No client offers `permessage-deflate`, so nobody compresses.
"""

from __future__ import annotations

import gc
import select
import socket
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from .asleep import BATCH, connect
from .generator import STALL, Address, Broken
from .processes import cpu_time, family, resident
from .report import number
from .servers import Server

HANDSHAKE: Final = (
    b"GET /room HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

TEXT: Final = b"The quick brown fox jumps over the lazy dog, and the room hears of it; it is long as chat goes. "
"""What is said: 96 bytes."""

SAID: Final = bytes((0x81, 0x80 | len(TEXT), 0, 0, 0, 0)) + TEXT
HEARD: Final = bytes((0x81, len(TEXT))) + TEXT

WELCOME: Final = b"\x81\x07welcome"
"""What a room says to who is in it. The answer to the handshake is too early: a server sends it before the application
has put the client among the others, and what is said in between that client does not hear."""

BURST: Final = 10
"""Clients that speak at the same time."""

WARMUP: Final = 2
"""Messages before it counts."""


@dataclass(frozen=True, slots=True)
class Room:
    """What was measured on one server; times in seconds, memory in bytes for each connection.

    Attributes:
        peer: the server and its application.
        connections: in the room.
        memory: for each, of the idle room.
        memory_after: for each, when the last message had been delivered.
        deliveries: for each second, the median of the bursts.
        cpu: of the server for a delivery, the median of the bursts.
        last: from saying one message, while nothing else goes on, until the last client has it: each of them.
    """

    peer: str
    connections: int
    memory: float | None
    memory_after: float | None
    deliveries: float
    cpu: float | None
    last: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is said: `singles` messages one at a time, then `bursts` of ten by ten clients at the same time."""

    singles: int
    bursts: int


class Crowd:
    """The clients of one room.

    Args:
        address: of the server.
        count: how many.

    Raises:
        Broken: the server would not have them all.
    """

    def __init__(self, address: Address, count: int, stack: ExitStack) -> None:
        self._epoll = stack.enter_context(select.epoll())
        self._buffer = bytearray(65536)
        self.socks: dict[int, socket.socket] = {}
        self.heard: dict[int, int] = {}
        while len(self.socks) < count:
            fresh = [
                stack.enter_context(connect(address, len(self.socks) + each))
                for each in range(min(BATCH, count - len(self.socks)))
            ]
            for sock in fresh:
                sock.sendall(HANDSHAKE)
            for sock in fresh:
                _shaken(sock)
                sock.setblocking(False)
                self._epoll.register(sock.fileno(), select.EPOLLIN)
                self.socks[sock.fileno()] = sock
                self.heard[sock.fileno()] = 0
        self._speakers = list(self.socks.values())

    def say(self, messages: int) -> float:
        """Let so many clients say one thing each, and wait until all have all; returns how long that took.

        Raises:
            Broken: somebody got something else, too much, or nothing for a long time.
        """
        socks, heard, buffer, poll = self.socks, self.heard, self._buffer, self._epoll.poll
        for each in heard:
            heard[each] = 0
        missing = len(HEARD) * messages * len(socks)
        began = time.perf_counter()
        for speaker in self._speakers[:messages]:
            speaker.sendall(SAID)
        while missing > 0:
            ready = poll(STALL)
            if not ready:
                raise Broken(f"the room is silent, and {missing // len(HEARD)} deliveries are missing")
            for fd, _ in ready:
                size = socks[fd].recv_into(buffer)
                if not size:
                    raise Broken("the server closed a WebSocket")
                heard[fd] += size
                missing -= size
        took = time.perf_counter() - began
        if set(heard.values()) != {len(HEARD) * messages} or buffer[: len(HEARD)] != HEARD:
            raise Broken("not everybody heard the same")
        return took


def _shaken(sock: socket.socket) -> None:
    got = b""
    while not got.endswith(b"\r\n\r\n" + WELCOME):
        data = sock.recv(4096)
        if not data:
            break
        got += data
    if not got.startswith(b"HTTP/1.1 101"):
        raise Broken(f"no WebSocket: {got[:80]!r}")
    if not got.endswith(WELCOME):
        raise Broken(f"no welcome: {got[-80:]!r}")


def measure(server: Server, connections: int, pace: Pace) -> Room:
    """Fill the room of a server, and speak in it.

    Args:
        server: with a room at `/room`.
        connections: in it, ten or more.
        pace: how much is said.

    Raises:
        Broken: not everybody got every message.
    """
    with _filled(server.address, BATCH) as few:
        few.say(WARMUP)  # what is imported, or made once, at first use
    pids = family(server.pids[0])
    before = resident(pids)
    with _filled(server.address, connections) as crowd:
        idle = resident(pids)
        crowd.say(WARMUP)
        gc.collect()
        last = tuple(crowd.say(1) for _ in range(pace.singles))
        rates: list[float] = []
        costs: list[float | None] = []
        for _ in range(pace.bursts):
            spent = cpu_time(pids)
            took = crowd.say(BURST)
            since = cpu_time(pids)
            rates.append(connections * BURST / took)
            costs.append(None if spent is None or since is None else (since - spent) / (connections * BURST))
        after = resident(pids)
    known = [cost for cost in costs if cost is not None]
    return Room(
        server.peer.name,
        connections,
        None if before is None or idle is None else (idle - before) / connections,
        None if before is None or after is None else (after - before) / connections,
        median(rates),
        median(known) if known else None,
        last,
    )


@contextmanager
def _filled(address: Address, count: int) -> Generator[Crowd]:
    with ExitStack() as stack:
        yield Crowd(address, count, stack)


def table(figures: Sequence[Room], base: str) -> Iterator[str]:
    """The lines of the table, as Markdown."""
    width = max([len("peer"), *(len(each.peer) for each in figures)])
    own = next((each.deliveries for each in figures if each.peer == base), None)
    yield f"### {figures[0].connections if figures else 0} WebSockets in one room, messages of {len(TEXT)} bytes"
    yield ""
    yield (
        f"| {'peer':{width}} | deliveries/s | of {base} | CPU us/delivery | to the last p50, p99 ms"
        " | KiB/connection | after the load |"
    )
    yield f"|{'-' * (width + 2)}|{'-' * 13}:|{'-' * (len(base) + 4)}:|{'-' * 16}:|{'-' * 24}:|{'-' * 15}:|{'-' * 15}:|"
    for each in figures:
        part = None if own is None else each.deliveries / own
        cpu = None if each.cpu is None else each.cpu * 1e6
        p50, p99 = median(each.last) * 1e3, slowest(each.last) * 1e3
        yield (
            f"| {each.peer:{width}} | {each.deliveries:12.0f} | {number(part, '.2f'):>{len(base) + 3}}"
            f" | {number(cpu, '.2f'):>15} | {f'{p50:.0f}, {p99:.0f}':>23}"
            f" | {number(_kib(each.memory), '.1f'):>14} | {number(_kib(each.memory_after), '.1f'):>14} |"
        )


def slowest(times: Sequence[float]) -> float:
    """The slowest hundredth, of however few."""
    return quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else times[0]


def _kib(size: float | None) -> float | None:
    return None if size is None else size / 1024
