"""The command `python -m benchmarks`: which sections, which peers, how long; then the tables.

This file owns the command line and the order of the sections. See README.md for what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from . import asleep, gates, report, resp, results, room, wrk
from .arguments import positive
from .asleep import Asleep
from .cases import STOCK, TYPED, WORK, Case
from .comparison import (
    Cell,
    Load,
    Measured,
    Pace,
    complaints,
    loading,
    measure,
    metrics_cells,
    stock_cells,
    work_cells,
)
from .generator import Broken
from .machine import describe
from .peers import (
    ASLEEP_BASE,
    ASLEEP_PEERS,
    BASE,
    METRICS_BASE,
    METRICS_PEERS,
    PEERS,
    ROOM_BASE,
    ROOM_PEERS,
    ROOM_SHORT,
    STOCK_BASE,
    STOCK_PEERS,
    Peer,
)
from .processes import cores, descriptors
from .resp import Ratio
from .room import Room
from .servers import Unusable, running

SECTIONS: Final = ("work", "metrics", "stock", "asleep", "room", "redis")

PAGE: Final = Path(__file__).with_name("RESULTS.md")

QUICK: Final[dict[str, Any]] = {
    "rounds": 1,
    "seconds": 0.05,
    "warmup": 0.02,
    "connections": 32,
    "sleepers": 50,
    "probes": 50,
    "listeners": 20,
}

SPARE: Final = 500
"""Descriptors that a server needs for other things than sleepers."""


@dataclass(slots=True)
class Run:
    """What has been measured so far."""

    compared: dict[str, Measured] = field(default_factory=dict)
    cells: dict[str, list[Cell]] = field(default_factory=dict)
    sleepers: list[Asleep] = field(default_factory=list)
    rooms: list[Room] = field(default_factory=list)
    redis: list[Ratio] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; returns the exit code: 1 when a peer cannot be measured. No figure is a failure."""
    options = _parser().parse_args(arguments)
    if options.quick:
        vars(options).update({name: value for name, value in QUICK.items() if vars(options)[name] is None})
    _fill(options)
    server_core, load_core = cores()
    program = None if options.load == "own" else wrk.find()
    if options.load == "wrk" and program is None:
        print("benchmarks: there is no wrk here; install it, or say  --load own", file=sys.stderr)
        return 1
    if load_core is not None:
        # The small requests beside the sleepers are ours.
        os.sched_setaffinity(0, {load_core})
    machine = describe(pinned=load_core is not None, with_wrk=program is not None)
    print(*(f"{name}: {text}" for name, text in machine), sep="\n", flush=True)
    run = Run()
    try:
        _sections(run, options, server_core, load_core, program)
    except Unusable as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _finish(run, options, machine, program is not None)
    return 1 if run.wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="trivet beside its peers.")
    parser.add_argument("--full", action="store_true", help="every case with 1, 32 and 1,000 connections; an hour")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, not how fast")
    parser.add_argument(
        "--sections", type=_among(SECTIONS), default=SECTIONS, metavar="NAME,...", help=", ".join(SECTIONS)
    )
    peers = (*PEERS, *METRICS_PEERS, *STOCK_PEERS, *ROOM_PEERS)
    known = sorted({name for peer in peers for name in (peer.name, peer.short)})
    parser.add_argument("--only", type=_among(known), metavar="PEER,...", help=f"of {', '.join(known)}")
    cases = sorted({case.name for case in (*WORK, *STOCK)})
    parser.add_argument("--cases", type=_among(cases), metavar="CASE,...", help=f"of {', '.join(cases)}")
    parser.add_argument("--rounds", type=positive(int), help="how often each peer is measured in each case")
    parser.add_argument("--seconds", type=positive(float), help="how long each time (0.5)")
    parser.add_argument("--warmup", type=positive(float), help="seconds before it (0.1)")
    parser.add_argument("--connections", type=positive(int), help="instead of the usual ones")
    parser.add_argument("--sleepers", type=positive(int), help="connections asleep (10,000)")
    parser.add_argument("--probes", type=positive(int), help="small requests in a series beside them (900)")
    parser.add_argument("--listeners", type=positive(int), help="WebSockets in a room (5,000)")
    parser.add_argument("--load", choices=("auto", "wrk", "own"), default="auto", help="what makes the load")
    parser.add_argument("--protocol", help="passed on to `trivet run`, whose default it is otherwise")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write the page there (a whole run: RESULTS.md)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures and all samples there")
    return parser


def _among(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name!r}; there are {', '.join(known)}")
        return chosen

    return names


def _fill(options: argparse.Namespace) -> None:
    # A page that is kept comes from a whole run only, unless one asks for it.
    whole = options.sections == SECTIONS and not (
        options.quick or options.only or options.cases or options.rounds or options.seconds or options.connections
    )
    if whole and options.results is None:
        options.results = PAGE
    if options.quick and options.load == "auto":
        options.load = "own"  # wrk needs a tenth of a second to stop
    options.seconds = options.seconds or 0.5
    options.warmup = options.warmup or 0.1
    options.sleepers = options.sleepers or 10_000
    options.probes = options.probes or 900
    options.listeners = options.listeners or 5_000


# The sections -----------------------------------------------------------------------------------------------------


def _sections(
    run: Run, options: argparse.Namespace, server_core: int | None, load_core: int | None, program: str | None
) -> None:
    allowed = descriptors() - SPARE
    extra = {"trivet": ("--protocol", options.protocol)} if options.protocol else {}
    with loading(load_core, program) as load:
        if "work" in options.sections:
            peers = _chosen(PEERS, BASE, options.only)
            cells = work_cells(full=options.full, rounds=options.rounds)
            _compare("work", run, peers, cells, load, options, server_core, extra)
        if "metrics" in options.sections:
            peers = _chosen(METRICS_PEERS, METRICS_BASE, options.only)
            _compare("metrics", run, peers, metrics_cells(rounds=options.rounds), load, options, server_core, extra)
        if "stock" in options.sections:
            peers = _chosen(STOCK_PEERS, STOCK_BASE, options.only)
            cells = stock_cells(full=options.full, rounds=options.rounds)
            _compare("stock", run, peers, cells, load, options, server_core, extra)
    if "asleep" in options.sections:
        for peer in _chosen(ASLEEP_PEERS, ASLEEP_BASE, options.only):
            with running([peer, peer], server_core, [TYPED], extra) as (server, twin):
                try:
                    run.sleepers.append(asleep.measure(server, twin, min(options.sleepers, allowed), options.probes))
                except (Broken, OSError) as error:
                    run.wrong.append(f"{peer.name} broke with {options.sleepers} asleep: {error}")
        _print(_asleep_lines(run))
    if "room" in options.sections:
        _rooms(run, options, server_core, min(options.listeners, allowed))
    if "redis" in options.sections and options.only is None:
        _redis(run, options, server_core)


def _redis(run: Run, options: argparse.Namespace, core: int | None) -> None:
    if missing := resp.missing():
        _print([*_redis_lines(run), f"Not measured: there is no {' and no '.join(missing)} here."])
        return
    run.redis = resp.measure(core, 1, 4_000) if options.quick else resp.measure(core, options.rounds or 5, 200_000)
    _print(_redis_lines(run))


def _rooms(run: Run, options: argparse.Namespace, core: int | None, listeners: int) -> None:
    everybody = options.full or options.quick or options.only
    peers = [peer for peer in ROOM_PEERS if everybody or peer.name in ROOM_SHORT]
    pace = room.Pace(1, 1) if options.quick else room.Pace(options.rounds or 7, 3)
    with running(_chosen(peers, ROOM_BASE, options.only), core, []) as servers:
        run.rooms, wrong = room.measure(servers, listeners, pace)
    run.wrong += wrong
    _print(_room_lines(run))


def _compare(
    name: str,
    run: Run,
    peers: Sequence[Peer],
    cells: Sequence[Cell],
    load: Load,
    options: argparse.Namespace,
    core: int | None,
    extra: Mapping[str, Sequence[str]],
) -> None:
    chosen = _cells(cells, options)
    cases: list[Case] = list({cell.case.name: cell.case for cell in chosen}.values())
    with running(peers, core, cases, extra) as servers:
        run.compared[name] = measure(servers, chosen, load, Pace(options.seconds, options.warmup))
    run.cells[name] = chosen
    run.wrong += complaints(run.compared[name])
    _print(_tables(run, name))


def _chosen(peers: Sequence[Peer], base: str, only: Sequence[str] | None) -> list[Peer]:
    # What the others are divided by is always there.
    return [peer for peer in peers if only is None or peer.name == base or {peer.name, peer.short} & set(only)]


def _cells(cells: Sequence[Cell], options: argparse.Namespace) -> list[Cell]:
    kept = [cell for cell in cells if options.cases is None or cell.case.name in options.cases]
    if options.connections is None:
        return kept
    once = {cell.case.name: cell for cell in kept}
    return [Cell(cell.case, options.connections, cell.rounds) for cell in once.values()]


# What is printed --------------------------------------------------------------------------------------------------


def _print(lines: Sequence[str]) -> None:
    print("", *lines, sep="\n", flush=True)


def _tables(run: Run, name: str) -> list[str]:
    heading, base = {
        "work": ("## Servers and frameworks", BASE),
        "metrics": ("## With metrics", METRICS_BASE),
        "stock": ("## Frameworks that run on Trio, on stock hypercorn", STOCK_BASE),
    }[name]
    lines = [heading]
    for cell in run.cells[name]:
        figures = report.rows(run.compared[name].samples[cell.name], base)
        plural = "" if cell.connections == 1 else "s"
        title = f"{cell.case.name}: `{cell.case.title}`, {cell.connections} connection{plural}"
        lines += ["", *report.table(title, figures, base)]
    return lines


def _asleep_lines(run: Run) -> list[str]:
    return ["## Asleep", "", *asleep.table(run.sleepers, ASLEEP_BASE)] if run.sleepers else []


def _room_lines(run: Run) -> list[str]:
    return ["## A room of WebSockets", "", *room.table(run.rooms, ROOM_BASE)] if run.rooms else []


def _redis_lines(run: Run) -> list[str]:
    return ["## mini_redis beside redis-server", "", *(resp.table(run.redis) if run.redis else [])]


def _gate_lines(run: Run, by_rate: bool) -> Iterator[str]:
    cells = run.compared["work"].samples if "work" in run.compared else {}
    measured = run.compared["metrics"].samples if "metrics" in run.compared else {}
    typed = cells.get(gates.CELL, {})
    held = [*gates.of_work(typed, by_rate), *gates.of_asleep(run.sleepers)]
    yield "## Gates"
    yield ""
    yield from gates.table(f"Promised, in `{gates.CELL}` and asleep", held, by_rate)
    yield ""
    yield from gates.table("Promised of bodies and dependencies", gates.of_binding(cells, by_rate), by_rate)
    yield ""
    yield from gates.table("Promised of metrics, in `hello@32`", gates.of_metrics(measured, by_rate), by_rate)
    yield ""
    yield from gates.table("Promised of a room of WebSockets", gates.of_room(run.rooms), by_rate=True)
    yield ""
    yield from gates.table("Promised of the Redis to learn from", gates.of_redis(run.redis), by_rate=True)
    yield ""
    yield from gates.table("Aimed for", gates.aims(typed, by_rate), by_rate)


def _finish(run: Run, options: argparse.Namespace, machine: Sequence[tuple[str, str]], by_rate: bool) -> None:
    verdicts = list(_gate_lines(run, by_rate))
    _print(verdicts)
    for wrong in run.wrong:
        print(f"benchmarks: {wrong}", file=sys.stderr)
    tables = [_tables(run, name) for name in run.compared]
    broken = ["## Broken", "", *(f"- {wrong}" for wrong in run.wrong)] if run.wrong else []
    typed = run.compared["work"].samples.get(gates.CELL, {}) if "work" in run.compared else {}
    redis = _redis_lines(run) if run.redis else []
    if options.results is not None:
        sections = [each for each in (verdicts, *tables, _asleep_lines(run), _room_lines(run), redis, broken) if each]
        results.write(options.results, machine, sections, report.rows(typed, BASE))
    if options.json is not None:
        options.json.write_text(json.dumps(_plain(run, machine), indent=1) + "\n")


def _plain(run: Run, machine: Sequence[tuple[str, str]]) -> dict[str, Any]:
    base = {"work": BASE, "metrics": METRICS_BASE, "stock": STOCK_BASE}
    return {
        "machine": dict(machine),
        "figures": {
            name: {cell: [asdict(row) for row in report.rows(own, base[name])] for cell, own in part.samples.items()}
            for name, part in run.compared.items()
        },
        "samples": {
            name: {
                cell: {peer: [asdict(sample) for sample in each] for peer, each in own.items()}
                for cell, own in part.samples.items()
            }
            for name, part in run.compared.items()
        },
        "asleep": [asdict(each) for each in run.sleepers],
        "room": [asdict(each) for each in run.rooms],
        "redis": [asdict(each) for each in run.redis],
        "wrong": run.wrong,
    }


if __name__ == "__main__":
    sys.exit(main())
