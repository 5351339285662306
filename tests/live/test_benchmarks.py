"""`python -m benchmarks` from end to end, with rounds too short to mean anything: no speed is asserted here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import STOCK, WORK
from benchmarks.peers import ASLEEP_PEERS, PEERS, ROOM_PEERS, STOCK_PEERS
from tests.harness.tools import require

ROOT = Path(__file__).parent.parent.parent

PACKAGES = ("uvloop", "granian", "robyn", "sanic", "blacksheep", "falcon")


def run(*arguments: str, module: str = "benchmarks") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.live
@pytest.mark.slow
def test_every_peer_has_a_row_in_every_case(tmp_path: Path) -> None:
    """All peers start, answer alike, and are in the tables, in the file and on the page."""
    for package in PACKAGES:
        require(f"module:{package}", why="pip install -e '.[bench]' brings it")
    file, page = tmp_path / "figures.json", tmp_path / "RESULTS.md"
    ran = run("--quick", "--json", str(file), "--results", str(page))
    assert ran.returncode == 0, ran.stderr
    kept = json.loads(file.read_text())
    for section, cases, peers in (("work", WORK, PEERS), ("stock", STOCK, STOCK_PEERS)):
        found = {cell.partition("@")[0]: [row["peer"] for row in own] for cell, own in kept["figures"][section].items()}
        expected = {case.name: [peer.name for peer in peers if peer.takes(case)] for case in cases}
        assert found == expected
    assert [each["peer"] for each in kept["asleep"]] == [peer.name for peer in ASLEEP_PEERS]
    assert [each["peer"] for each in kept["room"]] == [peer.name for peer in ROOM_PEERS]
    assert "not measured" not in ran.stdout
    assert page.read_text().count("### ") == ran.stdout.count("### ")
    assert (tmp_path / "results.svg").exists()


@pytest.mark.live
@pytest.mark.slow
def test_the_frameworks_on_stock_hypercorn_need_no_other_server(tmp_path: Path) -> None:
    """What the tests' own packages bring is enough for that section; a page is written only where it is asked for."""
    file = tmp_path / "figures.json"
    ran = run("--quick", "--sections", "stock", "--only", "starlette", "--cases", "typed", "--json", str(file))
    assert ran.returncode == 0, ran.stderr
    (rows,) = json.loads(file.read_text())["figures"]["stock"].values()
    assert [row["peer"] for row in rows] == ["bare", "starlette"]


@pytest.mark.live
@pytest.mark.slow
def test_wrk_drives_what_our_own_generator_does(tmp_path: Path) -> None:
    """Slices shorter than a second, with a body and without: wrk stops when told, and its count is read."""
    require("wrk", why="apt install wrk")
    file = tmp_path / "figures.json"
    arguments = ["--sections", "stock", "--only", "trivet", "--cases", "typed", "--rounds", "1", "--seconds", "0.2"]
    ran = run(*arguments, "--load", "wrk", "--json", str(file))
    assert ran.returncode == 0, ran.stderr
    samples = json.loads(file.read_text())["samples"]["stock"]["typed@16"]
    for (sample,) in samples.values():
        assert sample["answers"] > 0
        assert sample["cpu"] is None or sample["cpu"] > 0


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the profilers are told by a signal")
@pytest.mark.parametrize("how", ["samples", "calls"])
def test_the_profile_names_functions(how: str) -> None:
    """The server runs with the profiler in it, stops as ever, and what it wrote is shown."""
    ran = run("typed", "--how", how, "--seconds", "0.3", "--top", "200", module="benchmarks.profile")
    assert ran.returncode == 0, ran.stderr
    assert "requests/s" in ran.stdout
    # A busy machine leaves time for a few samples only: whose they are is all that is certain.
    assert re.search(r"\b(trivet|server)/_\w+\.py:\d", ran.stdout)


@pytest.mark.live
@pytest.mark.slow
def test_what_tls_costs() -> None:
    """Both ways, and none, have a row in each case."""
    require("wrk", why="apt install wrk")
    ran = run("--rounds", "1", "--seconds", "1", "--idle", "20", module="benchmarks.tls")
    assert ran.returncode == 0, ran.stderr
    for way in ("poller", "task", "plain"):
        assert ran.stdout.count(f"\n  {way} ") == 5
