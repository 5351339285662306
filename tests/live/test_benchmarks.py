"""`python -m benchmarks` from end to end, with rounds too short to mean anything: no speed is asserted here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import CASES
from benchmarks.peers import PEERS

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", "--rounds", "1", "--seconds", "0.1", "--warmup", "0.05", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.live
@pytest.mark.slow
def test_every_peer_has_a_row_in_every_case(tmp_path: Path) -> None:
    """All peers start, answer alike, and are in the tables and in the file."""
    file = tmp_path / "figures.json"
    ran = run("--json", str(file))
    assert ran.returncode == 0, ran.stderr
    names = [peer.name for peer in PEERS]
    printed = [line.split("|")[1].strip() for line in ran.stdout.splitlines() if line.startswith("| ")]
    assert printed == ["peer", *names] * len(CASES)
    figures = json.loads(file.read_text())["figures"]
    assert {case: [row["peer"] for row in rows] for case, rows in figures.items()} == {
        case.name: names for case in CASES
    }


@pytest.mark.live
def test_an_unknown_peer_is_refused_with_the_known_ones() -> None:
    """A misspelt name ends the command before a server starts, and shows what there is."""
    ran = run("--only", "flask")
    assert ran.returncode == 2
    assert "there is no 'flask'; there are bare, trivet, trivet-finish" in ran.stderr
