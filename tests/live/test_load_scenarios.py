"""The load scenarios from end to end, with a few clients and short time limits: no speed and no memory is asserted.

What does not depend on the machine is: nothing lost, nothing left, everybody told.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from benchmarks.load.__main__ import SCENARIOS, main
from benchmarks.load._figures import Figure, Setting, at_most, exactly, told
from benchmarks.load._server import serving

ROOT = Path(__file__).parent.parent.parent
SMALL = {
    "L1": 30,
    "L2": 20,
    "L3": 20,
    "L4": 6,
    "L5": 2,
    "L6": 4,
    "L7": 4,
    "L8": 3,
    "L9": 3,
    "L10": 10,
    "L11": 5,
    "L12": 20,
    "L13": 3,
    "L14": 60,
}


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("key", SCENARIOS)
async def test_a_scenario_counts_right(key: str) -> None:
    """At a small size every count is as it must be."""
    setting = Setting(SMALL[key], haste=10, tools=False)
    figures: list[Figure] = []
    await SCENARIOS[key].run(setting, figures.append)
    assert [f"{figure.name}: {figure.shown}" for figure in figures if figure.counted and not figure.passed] == []
    assert any(figure.counted for figure in figures)


@pytest.mark.live
@pytest.mark.slow
def test_the_command_prints_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    """A row with figure, gate and verdict for each figure; options behind -- reach the server."""
    command = [sys.executable, "-m", "benchmarks.load", "l3", "--size", "10", "--", "--backlog", "100"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ran.stdout.splitlines()]
    assert ["L3", "handlers cancelled", "10", "10", "pass"] in rows
    assert ran.stderr == ""


@pytest.mark.live
async def test_a_server_that_does_not_start_says_why() -> None:
    """An option that `trivet run` refuses is shown with its message, not waited for."""
    with pytest.raises(RuntimeError) as caught, trio.fail_after(20):
        async with serving(Setting(1, ("--no-such-option",))):
            pass
    assert "--no-such-option" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["L99"], "there is no 'L99'; there are L1, L2"),
        (["--size", "0"], "0 is not a positive number"),
        (["--haste", "inf"], "inf is not a positive number"),
    ],
)
def test_what_cannot_be_run_is_refused_with_what_can(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt name, or a size of nothing, ends the command before a server starts."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figure", "passed", "gate", "shown"),
    [
        (at_most("a", 2, 2, "s"), True, "<= 2 s", "2 s"),
        (at_most("a", 2.01, 2, "s"), False, "<= 2 s", "2.01 s"),
        (at_most("a", float("inf"), 2, "s"), False, "<= 2 s", "never"),
        (exactly("a", 0), True, "0", "0"),
        (exactly("a", 1), False, "0", "1"),
        (exactly("a", 39, 40), False, "40", "39"),
        (Figure("a", 0, least=1), False, ">= 1", "0"),
        (told("a", 1234.5, "MiB"), True, "", "1234 MiB"),
    ],
)
def test_a_figure_knows_its_gate(figure: Figure, passed: bool, gate: str, shown: str) -> None:
    """A gate is met at its own value, and missed beyond it."""
    assert (figure.passed, figure.gate, figure.shown) == (passed, gate, shown)
