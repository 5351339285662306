"""Thousands of WebSockets in one room: what each of them costs, and how fast all of them have a message.

This file owns how that is measured: the rooms of all servers are full from start to end, and speak in turns, as the
machine changes its speed while they do. A ratio is taken within a round. What the clients do is `crowd`'s.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from .asleep import BATCH
from .comparison import in_turn
from .crowd import TEXT, Crowd, crowd
from .generator import Broken
from .processes import cpu_time, family, resident
from .report import number
from .servers import Server

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
        rates: deliveries for each second, in the burst of each round.
        costs: CPU time of the server for a delivery, in the same bursts; empty: not known.
        last: from saying one message, while nothing else goes on, until the last client has it: each of them.
    """

    peer: str
    connections: int
    memory: float | None
    memory_after: float | None
    rates: tuple[float, ...]
    costs: tuple[float, ...]
    last: tuple[float, ...]

    @property
    def deliveries(self) -> float:
        """For each second, the median."""
        return median(self.rates)

    @property
    def cpu(self) -> float | None:
        """Of the server for a delivery, the median."""
        return median(self.costs) if self.costs else None


def ratio(own: Room, other: Room) -> float:
    """Of the deliveries for each second, taken within a round: the median."""
    return median(_ratios(own, other))


def _ratios(own: Room, other: Room) -> list[float]:
    return [a / b for a, b in zip(own.rates, other.rates, strict=True)]


def cpu_ratio(own: Room, other: Room) -> float | None:
    """The other's CPU time for a delivery by ours, taken within a round: the median; `None`: not known."""
    ratios = [b / a for a, b in zip(own.costs, other.costs, strict=False)]
    return median(ratios) if ratios else None


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is said in each of `rounds`: `singles` messages one at a time, then one by each of ten clients."""

    rounds: int
    singles: int


@dataclass(slots=True)
class _Full:
    """A room with all its clients in it, and what has been measured there so far."""

    peer: str
    pids: tuple[int, ...]
    clients: Crowd
    connections: int
    before: int | None
    idle: int | None
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    def turn(self, singles: int) -> None:
        self.last += [self.clients.say(1) for _ in range(singles)]
        spent = cpu_time(self.pids)
        took = self.clients.say(BURST)
        since = cpu_time(self.pids)
        self.rates.append(self.connections * BURST / took)
        if spent is not None and since is not None:
            self.costs.append((since - spent) / (self.connections * BURST))

    def figures(self) -> Room:
        own = (tuple(self.rates), tuple(self.costs), tuple(self.last))
        return Room(self.peer, self.connections, self._more(self.idle), self._more(resident(self.pids)), *own)

    def _more(self, memory: int | None) -> float | None:
        return None if memory is None or self.before is None else (memory - self.before) / self.connections


def measure(servers: Sequence[Server], connections: int, pace: Pace) -> tuple[list[Room], list[str]]:
    """Fill the rooms of all servers, and speak in them in turns.

    Args:
        servers: each with a room at `/room`.
        connections: in each, ten or more.
        pace: how much is said.

    Returns:
        The figures of each, and what broke, a line each: such a room is left out from then on.
    """
    wrong: list[str] = []
    with ExitStack() as stack:
        rooms: dict[str, _Full] = {}
        for server in servers:
            try:
                rooms[server.peer.name] = stack.enter_context(_filled(server, connections))
            except (Broken, OSError) as error:
                wrong.append(f"{server.peer.name} broke with {connections} in a room: {error}")
        for turn in range(pace.rounds):
            for server in in_turn(servers, turn):
                if (room := rooms.get(server.peer.name)) is None:
                    continue
                try:
                    room.turn(pace.singles)
                except Broken as error:
                    wrong.append(f"{room.peer} broke with {connections} in a room: {error}")
                    del rooms[room.peer]
        return [room.figures() for room in rooms.values()], wrong


@contextmanager
def _filled(server: Server, connections: int) -> Generator[_Full]:
    with crowd(server.address, BATCH) as few:
        few.say(WARMUP)  # what is imported, or made once, at first use
    pids = family(server.pids[0])
    before = resident(pids)
    with crowd(server.address, connections) as clients:
        idle = resident(pids)
        clients.say(WARMUP)
        yield _Full(server.peer.name, pids, clients, connections, before, idle)


def table(figures: Sequence[Room], base: str) -> Iterator[str]:
    """The lines of the table, as Markdown."""
    width = max([len("peer"), *(len(each.peer) for each in figures)])
    own = next((each for each in figures if each.peer == base), None)
    yield f"### {figures[0].connections if figures else 0} WebSockets in one room, messages of {len(TEXT)} bytes"
    yield ""
    yield (
        f"| {'peer':{width}} | deliveries/s | of {base} | min..max     | CPU us/delivery | to the last p50, p99 ms"
        " | KiB/connection | after the load |"
    )
    yield (
        f"|{'-' * (width + 2)}|{'-' * 13}:|{'-' * (len(base) + 4)}:|{'-' * 14}|{'-' * 16}:|{'-' * 24}:"
        f"|{'-' * 15}:|{'-' * 15}:|"
    )
    for each in figures:
        ratios = [] if own is None else _ratios(each, own)
        spread = f"{min(ratios):.2f}..{max(ratios):.2f}" if ratios else "-"
        part = median(ratios) if ratios else None
        cpu = None if each.cpu is None else each.cpu * 1e6
        p50, p99 = median(each.last) * 1e3, slowest(each.last) * 1e3
        yield (
            f"| {each.peer:{width}} | {each.deliveries:12.0f} | {number(part, '.2f'):>{len(base) + 3}} | {spread:12}"
            f" | {number(cpu, '.2f'):>15} | {f'{p50:.0f}, {p99:.0f}':>23}"
            f" | {number(_kib(each.memory), '.1f'):>14} | {number(_kib(each.memory_after), '.1f'):>14} |"
        )


def slowest(times: Sequence[float]) -> float:
    """The slowest hundredth, of however few."""
    return quantiles(times, n=100, method="inclusive")[98] if len(times) > 1 else times[0]


def _kib(size: float | None) -> float | None:
    return None if size is None else size / 1024
