"""The command `python -m benchmarks.load`: which scenarios, how large, and the table with its verdict.

This file owns the order (one after the other: they load the machine) and the exit code: 1 when a gate is not met,
2 when a scenario could not be run to its end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

import trio

from benchmarks.arguments import positive

from . import (
    l01_idle,
    l02_asleep,
    l03_vanish,
    l04_drain,
    l05_stop,
    l06_kill,
    l07_reload,
    l08_stalled,
    l09_slow,
    l10_websockets,
    l11_floods,
    l12_attacks,
    l13_room,
    l14_overload,
)
from ._client import raise_file_limit
from ._figures import Figure, Scenario, Setting

_EARLY = (l01_idle, l02_asleep, l03_vanish, l04_drain, l05_stop, l06_kill)
_LATE = (l07_reload, l08_stalled, l09_slow, l10_websockets, l11_floods, l12_attacks, l13_room, l14_overload)
SCENARIOS: Final[dict[str, Scenario]] = {module.SCENARIO.key: module.SCENARIO for module in (*_EARLY, *_LATE)}
SPARE_FILES: Final = 200
"""Descriptors that client and server need besides a scenario's connections."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios; returns the exit code."""
    own, passed_on = _split(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(own)
    if options.protocol is not None:
        passed_on = ["--protocol", options.protocol, *passed_on]
    most = raise_file_limit() - SPARE_FILES
    failed = broken = False
    _print_row("", "figure", "measured", "gate", "")
    _print_row("---", "---", "---:", "---:", "---")
    for scenario in options.scenarios or SCENARIOS.values():
        size = options.size or (scenario.small if options.small else scenario.size)
        if size > most:
            print(f"{scenario.key}: {size} clients need more open files than `ulimit -Hn` allows", file=sys.stderr)
            return 2
        setting = Setting(size, tuple(passed_on), options.haste, not options.no_tools)
        try:
            passed = trio.run(_run, scenario, setting)
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            broken = True
            print(f"{scenario.key} did not come to its end: {_explain(error)}", file=sys.stderr, flush=True)
        else:
            failed = failed or not passed
    return 2 if broken else int(failed)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ours, and what follows `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:end]), list(arguments[end + 1 :])


async def _run(scenario: Scenario, setting: Setting) -> bool:
    """One scenario, a row for each figure as it becomes known."""
    passed = True
    key = f"{scenario.key}, {setting.size}"
    _print_row(key, f"*{scenario.title}*", "", "", "")

    def report(figure: Figure) -> None:
        nonlocal passed
        _print_row(scenario.key, figure.name, figure.shown, figure.gate, _verdict(figure))
        passed = passed and figure.passed

    await scenario.run(setting, report)
    return passed


def _verdict(figure: Figure) -> str:
    return "" if not figure.gate else "pass" if figure.passed else "FAIL"


def _print_row(*cells: str) -> None:
    key, figure, measured, gate, verdict = cells
    print(f"| {key:<10} | {figure:<58} | {measured:>12} | {gate:>12} | {verdict:<4} |", flush=True)


def _explain(error: BaseException) -> str:
    """The first leaf of a group, with the end of what the server said."""
    notes = list(getattr(error, "__notes__", []))
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        notes += getattr(error, "__notes__", [])
    return "\n".join([f"{type(error).__name__}: {error}", *notes])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        usage="%(prog)s [options] [L1..L14 ...] [-- options of trivet run]",
        description="trivet run under load and faults.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{each.key:>5}  {each.title} ({each.size})" for each in SCENARIOS.values()),
    )
    parser.add_argument("scenarios", nargs="*", type=_scenario, metavar="L1..L14", help="all of them by default")
    parser.add_argument("--size", type=positive(int), help="how many clients; by default as the gates are meant for")
    parser.add_argument("--small", action="store_true", help="sizes that show that it works, not how well")
    parser.add_argument("--haste", type=positive(float), default=1.0, help="divides all time limits (1)")
    parser.add_argument("--protocol", help="as of trivet run")
    parser.add_argument("--no-tools", action="store_true", help="without slowhttptest, h2spec and wstest")
    return parser


def _scenario(text: str) -> Scenario:
    try:
        return SCENARIOS[text.upper()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no {text!r}; there are {', '.join(SCENARIOS)}") from None


if __name__ == "__main__":
    sys.exit(main())
