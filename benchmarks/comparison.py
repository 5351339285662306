"""A comparison: which peer is measured when. This file owns the order of the slices.

All servers are up from start to end; a round measures every peer once in each cell, the peers of one cell directly
after one another, each round starting with another peer and every other round running backwards, so that no peer always
comes first, or always after the same one.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from . import generator, wrk
from .cases import STOCK, WORK, Case
from .generator import Broken, Sample, Slice
from .servers import Server

CROWD = 1000
"""Connections from which on a slice is four times as long: making them takes its part of it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A case with so many connections, measured in so many rounds."""

    case: Case
    connections: int
    rounds: int

    @property
    def name(self) -> str:
        return f"{self.case.name}@{self.connections}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a slice is: seconds that count, and seconds before them."""

    seconds: float
    warmup: float


@dataclass(slots=True)
class Measured:
    """The samples of each peer by cell, in the order of the rounds; and what went wrong, by cell and peer."""

    samples: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    broken: dict[str, dict[str, str]] = field(default_factory=dict)


def work_cells(*, full: bool, rounds: int | None) -> list[Cell]:
    """The cells of the comparison of servers.

    Most gates are judged by `typed` with 32 connections, which therefore has more rounds, and the cases of the others
    have some more, too; those have few peers. A thousand uploads of 10 MB at
    a time would be ten gigabytes in the memory of a peer that cannot take a body in pieces: they are left out always.
    """
    cells = []
    for case in WORK:
        busy = (1, 32, 1000) if full or case.name == "typed" else (32,)
        for connections in busy:
            if case.bulk and connections >= CROWD:
                continue
            own = 7 if (case.name, connections) == ("typed", 32) else 2 if case.common else 5
            cells.append(Cell(case, connections, rounds or (3 * own if full else own)))
    return cells


def metrics_cells(*, rounds: int | None) -> list[Cell]:
    """The one cell of the comparison with and without metrics; its two peers take turns every half a second."""
    hello = next(case for case in WORK if case.name == "hello")
    return [Cell(hello, 32, rounds or 50)]


def stock_cells(*, full: bool, rounds: int | None) -> list[Cell]:
    """The cells of the comparison of frameworks on stock hypercorn."""
    return [Cell(case, 16, rounds or (15 if full else 3)) for case in STOCK]


class Load:
    """What puts load on the servers: wrk where it is installed, our own generator else and for bulk."""

    def __init__(self, core: int | None, pipe: Connection, program: str | None) -> None:
        self._core = core
        self._pipe = pipe
        self.program = program

    def measure(self, server: Server, cell: Cell, pace: Pace) -> Sample:
        """One slice.

        Raises:
            Broken: the server does not answer as it should.
        """
        longer = 4 if cell.connections >= CROWD else 1
        order = Slice(
            server.address,
            server.pids,
            cell.case.requests(),
            cell.connections,
            pace.warmup,
            pace.seconds * longer,
            max(cell.case.bulk, cell.connections) if cell.case.bulk else 0,
        )
        if self.program is not None and not cell.case.bulk:
            return wrk.drive(self.program, order, self._core)
        self._pipe.send(order)
        answer: Sample | str = self._pipe.recv()
        if isinstance(answer, str):
            raise Broken(answer)
        return answer


@contextmanager
def loading(core: int | None, program: str | None) -> Generator[Load]:
    """The load, for as long as the body runs.

    Args:
        core: that it is pinned to.
        program: where wrk is; `None`: do without.
    """
    # Spawned, not forked: it shares nothing with this process, and it is the same on every system.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=generator.serve, args=(there, core), daemon=True)
    process.start()
    there.close()
    try:
        yield Load(core, here, program)
    finally:
        here.close()  # it ends at the end of the pipe
        process.join(generator.STALL)


def measure(servers: Sequence[Server], cells: Sequence[Cell], load: Load, pace: Pace) -> Measured:
    """All rounds of all cells. A peer that breaks in a cell is left out of the rest of that cell."""
    result = Measured()
    for cell in cells:
        taking = [server for server in servers if server.peer.takes(cell.case)]
        result.samples[cell.name] = {server.peer.name: [] for server in taking}
        result.broken[cell.name] = {}
    for number in range(max((cell.rounds for cell in cells), default=0)):
        for cell in cells:
            if number < cell.rounds:
                _round(in_turn(servers, number), cell, load, pace, result)
        _progress(f"round {number + 1}")
    _progress("")
    return result


def _round(servers: Sequence[Server], cell: Cell, load: Load, pace: Pace, result: Measured) -> None:
    samples, broken = result.samples[cell.name], result.broken[cell.name]
    for server in servers:
        name = server.peer.name
        if name not in samples:
            continue
        try:
            samples[name].append(load.measure(server, cell, pace))
        except Broken as error:
            broken[name] = str(error)
            del samples[name]


def in_turn(servers: Sequence[Server], number: int) -> list[Server]:
    """Who comes when in the round of that number: the order rotates, and every other round runs backwards."""
    first = number // 2 % len(servers)
    order = [*servers[first:], *servers[:first]]
    return order[::-1] if number % 2 else order


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def complaints(measured: Measured) -> list[str]:
    """What broke, a line each."""
    return [
        f"{peer} broke in {cell}: {why}" for cell, by_peer in measured.broken.items() for peer, why in by_peer.items()
    ]


Samples = Mapping[str, Sequence[Sample]]
"""The samples of one cell, by peer, one for each round."""
