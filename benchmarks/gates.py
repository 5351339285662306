"""The gates: what this project has promised of its own speed. This file owns the promises and how they are judged.

A gate is judged by the ratio of requests per second where wrk made the load, and by that of CPU time where our own
generator did, which is slower than the servers. The other ratio is shown beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from . import room
from .asleep import Asleep
from .comparison import Samples
from .peers import ASLEEP_BASE, PEERS
from .report import rows
from .resp import Ratio
from .room import Room

CELL: Final = "typed@32"
"""What the ratios are taken in."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One promise: the ratio must be at least (or at most) the bound. `ratio` is `None` where nothing was measured."""

    promise: str
    bound: float
    ratio: float | None
    other: float | None = None
    most: bool = False

    @property
    def verdict(self) -> str:
        if self.ratio is None:
            return "not measured"
        held = self.ratio <= self.bound if self.most else self.ratio >= self.bound
        return "pass" if held else "FAIL"


_PROMISES: Final = (
    ("bare ASGI on `trivet run`, of bare ASGI on uvicorn", "bare@trivet", "bare@uvicorn", 1.0),
    ("trivet, of Starlette on uvicorn", "trivet", "starlette@uvicorn", 1.2),
    ("trivet, of FastAPI on uvicorn", "trivet", "fastapi@uvicorn", 2.5),
    ("trivet, of quart-trio on hypercorn", "trivet", "quart-trio@hypercorn", 12.0),
    ("trivet, of the limit with a task per connection", "trivet", "limit", 0.7),
)

BINDING: Final = (
    ("a JSON body into a model, of FastAPI's on uvicorn", "order@32", "fastapi@uvicorn", 1.5),
    ("a JSON body into a model, of Litestar's on uvicorn", "order@32", "litestar@uvicorn", 1.2),
    ("three nested dependencies, of FastAPI's on uvicorn", "nested@32", "fastapi@uvicorn", 1.5),
    ("three nested dependencies, of Litestar's on uvicorn", "nested@32", "litestar@uvicorn", 1.2),
)
"""What is promised of binding, with the cell that each is judged in."""

_AIMS: Final = (
    ("trivet, of bare ASGI on uvicorn", "trivet", "bare@uvicorn", 1.0),
    ("trivet through ASGI's door, of Starlette on uvicorn", "trivet-waits", "starlette@uvicorn", 1.2),
    ("Starlette on `trivet run`, of Starlette on uvicorn", "starlette@trivet", "starlette@uvicorn", 1.0),
    ("trivet, of the limit whose reader answers", "trivet", "limit-door", 0.7),
)


def of_work(typed: Samples, by_rate: bool) -> list[Gate]:
    """The gates that the comparison of servers decides.

    Args:
        typed: the samples of the cell `CELL`.
        by_rate: judge by requests per second; else by CPU time.
    """
    gates = [_gate(typed, promise, peer, base, bound, by_rate) for promise, peer, base, bound in _PROMISES]
    best = fastest(typed, by_rate)
    if best is not None:
        gates.insert(2, _gate(typed, f"trivet, of the fastest other framework: {best}", "trivet", best, 1.0, by_rate))
    return gates


def of_binding(cells: Mapping[str, Samples], by_rate: bool) -> list[Gate]:
    """The gates that the cases of bodies and dependencies decide.

    Args:
        cells: the samples of each cell.
        by_rate: judge by requests per second; else by CPU time.
    """
    return [
        _gate(cells.get(cell, {}), promise, "trivet", base, bound, by_rate) for promise, cell, base, bound in BINDING
    ]


def of_metrics(cells: Mapping[str, Samples], by_rate: bool) -> list[Gate]:
    """The gate that the application which is measured decides.

    Args:
        cells: the samples of each cell.
        by_rate: judge by requests per second; else by CPU time.
    """
    hello = cells.get("hello@32", {})
    return [_gate(hello, "trivet with metrics, of trivet without", "trivet-metrics", "trivet", 0.9, by_rate)]


def aims(typed: Samples, by_rate: bool) -> list[Gate]:
    """What we aim for and have not promised."""
    return [_gate(typed, promise, peer, base, bound, by_rate) for promise, peer, base, bound in _AIMS]


def fastest(typed: Samples, by_rate: bool) -> str | None:
    """The fastest framework that is not trivet; what it runs on is its users' choice, or ours no more than theirs."""
    others = [peer.name for peer in PEERS if peer.kind == "framework" and "trivet" not in peer.name]
    return max(
        (name for name in others if typed.get(name)), key=lambda name: _speed(typed, name, by_rate), default=None
    )


def _speed(typed: Samples, name: str, by_rate: bool) -> float:
    own = typed[name]
    if by_rate or any(sample.cpu is None for sample in own):
        return median(sample.answers / sample.elapsed for sample in own)
    return median(sample.answers / (sample.cpu or 1) for sample in own)


def _gate(typed: Samples, promise: str, peer: str, base: str, bound: float, by_rate: bool) -> Gate:
    if not (typed.get(peer) and typed.get(base)):
        return Gate(promise, bound, None)
    row = next(row for row in rows(typed, base) if row.peer == peer)
    rate, cpu = row.ratio, row.cpu_ratio
    return Gate(promise, bound, rate, cpu) if by_rate or cpu is None else Gate(promise, bound, cpu, rate)


def of_asleep(figures: Sequence[Asleep]) -> list[Gate]:
    """The gates that the sleepers decide."""
    by_peer: Mapping[str, Asleep] = {each.peer: each for each in figures}
    own, base = by_peer.get("trivet"), by_peer.get(ASLEEP_BASE)
    memory = own.memory / base.memory if own and base and own.memory and base.memory else None
    return [
        Gate("memory of a connection asleep, of Starlette's on uvicorn", 0.75, memory, most=True),
        Gate(
            "p99 of a small request beside the sleepers, of its idle value", 2.0, own.slower if own else None, most=True
        ),
    ]


def of_room(figures: Sequence[Room]) -> list[Gate]:
    """The gates that a room full of WebSockets decides: ours with `Broadcast` beside the best other in each respect."""
    own = next((each for each in figures if each.peer == "trivet"), None)
    others = [each for each in figures if not each.peer.startswith("trivet")]
    rate, cpu, memory = None, None, None
    fastest, smallest = "the fastest other", "the smallest other"
    if own and others:
        best = max(others, key=lambda each: each.deliveries)
        rate, fastest = room.ratio(own, best), best.peer
        cheap = min(others, key=lambda each: each.cpu or math.inf)
        cpu = room.cpu_ratio(own, cheap)
        small = min(
            (each for each in others if each.memory_after), key=lambda each: each.memory_after or 0, default=None
        )
        if small is not None and small.memory_after and own.memory_after:
            memory, smallest = own.memory_after / small.memory_after, small.peer
    return [
        Gate(f"deliveries in a room, of {fastest}", 1.0, rate, cpu),
        Gate(f"memory of a WebSocket in a room, of {smallest}", 1.0, memory, most=True),
    ]


def of_redis(figures: Sequence[Ratio]) -> list[Gate]:
    """What a Redis in Python must reach of the one in C, pipelined. INCR is shown, and not promised."""
    ratios = {each.command: each.ratio for each in figures if each.pipeline == 16}
    return [Gate(f"mini_redis, {name} with P=16, of redis-server", 0.25, ratios.get(name)) for name in ("GET", "SET")]


def table(title: str, gates: Sequence[Gate], by_rate: bool) -> Iterator[str]:
    """The lines of the table, as Markdown."""
    judged, beside = ("req/s", "CPU") if by_rate else ("CPU", "req/s")
    yield f"### {title}"
    yield ""
    yield f"| {'ratio':66} | bound   | by {judged:5} | by {beside:5} | verdict      |"
    yield f"|{'-' * 68}|{'-' * 9}|{'-' * 9}:|{'-' * 9}:|{'-' * 14}|"
    for gate in gates:
        bound = f"{'<=' if gate.most else '>='} {gate.bound:g}"
        ratio = "-" if gate.ratio is None else f"{gate.ratio:.2f}"
        other = "-" if gate.other is None else f"{gate.other:.2f}"
        yield f"| {gate.promise:66} | {bound:7} | {ratio:>8} | {other:>8} | {gate.verdict:12} |"
