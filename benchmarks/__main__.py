"""The command `python -m benchmarks`: which peers, how long, in which order.

This file owns the order of the slices. All servers are up from start to end; a round measures every peer once in each
case, the peers of one case directly after one another, each round starting with another peer and every other round
running backwards, so that no peer always comes first, or always after the same one.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol, TypeVar

from . import generator, report
from .cases import CASES, Case
from .generator import Sample, Slice
from .peers import BASE, PEERS, Peer
from .servers import Server, Unusable, running

T = TypeVar("T", bound="Named")


class Named(Protocol):
    @property
    def name(self) -> str: ...


QUICK = {"rounds": 2, "seconds": 0.15, "warmup": 0.05}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; returns the exit code: 1 when a peer cannot be measured. No figure is a failure."""
    options = _parser().parse_args(arguments)
    if options.quick:
        vars(options).update(QUICK)
    server_core, load_core = _cores()
    setting = _setting(options, server_core)
    print(setting, flush=True)
    try:
        with running(options.only, server_core, options.cases) as servers, _generator(load_core) as pipe:
            samples = _measure(servers, pipe, options)
    except (Unusable, generator.Broken) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    figures = {case.name: report.rows(samples[case.name]) for case in options.cases}
    for case in options.cases:
        print("", *report.table(case, figures[case.name]), sep="\n")
    if options.json is not None:
        _write(options.json, figures, samples, setting)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="trivet beside its peers.")
    parser.add_argument("--rounds", type=_positive(int), default=15, help="how often each peer is measured (15)")
    parser.add_argument("--seconds", type=_positive(float), default=0.5, help="how long each time (0.5)")
    parser.add_argument("--warmup", type=_positive(float), default=0.1, help="seconds before it, not counted (0.1)")
    parser.add_argument("--connections", type=_positive(int), default=16, help="busy at the same time (16)")
    parser.add_argument("--only", type=_peers, default=PEERS, metavar="PEER,...", help=f"of {_names(PEERS)}")
    parser.add_argument("--cases", type=_cases, default=CASES, metavar="CASE,...", help=f"of {_names(CASES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures and all samples there")
    parser.add_argument("--quick", action="store_true", help="two short rounds: shows that it works, not how fast")
    return parser


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not a positive number")
        return value

    return number


def _names(known: Iterable[Named]) -> str:
    return ", ".join(each.name for each in known)


def _chosen(text: str, known: Sequence[T]) -> list[T]:
    names = text.split(",")
    for name in names:
        if name not in (each.name for each in known):
            raise argparse.ArgumentTypeError(f"there is no {name!r}; there are {_names(known)}")
    return [each for each in known if each.name in names]


def _peers(text: str) -> list[Peer]:
    # What the others are divided by is always there.
    return _chosen(f"{BASE},{text}", PEERS)


def _cases(text: str) -> list[Case]:
    return _chosen(text, CASES)


def _cores() -> tuple[int | None, int | None]:
    """A core for the servers and another for the load, where there are two and the system lets us choose."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


def _setting(options: argparse.Namespace, core: int | None) -> str:
    used = ["trivet", "hypercorn", "trio", "starlette", "fastapi", "litestar", "quart-trio"]
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}; "
        f"{', '.join(f'{name} {version(name)}' for name in used)}.\n"
        f"{options.rounds} rounds of {options.seconds:g} s for each peer and case, {options.connections} connections, "
        f"servers {'not pinned' if core is None else 'and load pinned to a core each'}."
    )


@contextmanager
def _generator(core: int | None) -> Generator[Connection]:
    # Spawned, not forked: it shares nothing with this process, and it is the same on every system.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=generator.serve, args=(there, core), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()  # it ends at the end of the pipe
        process.join(generator.STALL)


def _measure(
    servers: Sequence[Server], pipe: Connection, options: argparse.Namespace
) -> dict[str, dict[str, list[Sample]]]:
    """All rounds; the samples by case and peer, in the order of the rounds."""
    samples: dict[str, dict[str, list[Sample]]] = {
        case.name: {server.peer.name: [] for server in servers} for case in options.cases
    }
    for number in range(options.rounds):
        for case in options.cases:
            for server in _order(servers, number):
                sample = _ask(server, case, pipe, options)
                samples[case.name][server.peer.name].append(sample)
        if sys.stderr.isatty():
            print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return samples


def _order(servers: Sequence[Server], number: int) -> list[Server]:
    first = number // 2 % len(servers)
    order = [*servers[first:], *servers[:first]]
    return order[::-1] if number % 2 else order


def _ask(server: Server, case: Case, pipe: Connection, options: argparse.Namespace) -> Sample:
    pipe.send(
        Slice(server.address, server.pid, case.requests(), options.connections, options.warmup, options.seconds)
    )
    answer: Sample | str = pipe.recv()
    if isinstance(answer, str):
        raise generator.Broken(f"{server.peer.name}, {case.name}: {answer}")
    return answer


def _write(
    path: Path, figures: dict[str, list[report.Row]], samples: dict[str, dict[str, list[Sample]]], setting: str
) -> None:
    plain = {
        "setting": setting,
        "figures": {case: [asdict(row) for row in table] for case, table in figures.items()},
        "samples": {
            case: {peer: [asdict(sample) for sample in own] for peer, own in by_peer.items()}
            for case, by_peer in samples.items()
        },
    }
    path.write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
