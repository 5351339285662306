"""Workers that are stopped, killed and replaced while clients never stop asking."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live._processes import alive, children
from tests.live._server import Running, running
from tests.live._swarm import swarm

pytestmark = [pytest.mark.live, pytest.mark.slow]

APP = "tests.live._journal_app:app"


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "journal"
    monkeypatch.setenv("JOURNAL", str(path))
    return path


@contextmanager
def two_workers(*arguments: str) -> Generator[Running]:
    with running("--workers", "2", *arguments, app=APP) as server:
        server.wait_for(r"worker 0 .*is ready")
        server.wait_for(r"worker 1 .*is ready")
        yield server


def eventually(check: Callable[[], object], what: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, what()
        time.sleep(0.02)


def ready(server: Running) -> list[tuple[int, int]]:
    """Index and process of each worker that was ready, in order."""
    return [(int(index), int(pid)) for index, pid in re.findall(r"worker (\d+) \(process (\d+)\) is ready", server.log)]


@contextmanager
def counted(server: Running) -> Generator[list[int]]:
    """How many processes there are, again and again."""
    counts: list[int] = []
    stop = threading.Event()

    def count() -> None:
        while not stop.wait(0.02):
            counts.append(len(children(server)))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


def test_sigterm_loses_no_request(journal: Path) -> None:
    """Each request that reached an application before the end has its whole answer; the exit status is 0."""
    with two_workers() as server:
        with swarm(server, journal, seconds=0.2) as clients:
            server.signal()
            assert server.wait(20) == 0
        assert clients.lost == set()
        assert clients.outcomes.keys() <= {"ok", "refused", "reused", "fresh"}, clients.detail


def test_a_killed_worker_is_replaced_while_the_other_serves(journal: Path) -> None:
    """Nobody is refused, the survivor answers meanwhile, and the new one has the index of the old."""
    with two_workers() as server:
        before = dict(ready(server))
        with swarm(server, journal) as clients:
            os.kill(before[1], signal.SIGKILL)
            server.wait_for(re.escape(f"worker 1 (process {before[1]}) died by SIGKILL"))
            died = time.monotonic()
            eventually(lambda: clients.seen_since(died) == {before[0]}, lambda: server.log)
            eventually(lambda: len(ready(server)) == 3, lambda: server.log)
            now = dict(ready(server))
            again = time.monotonic()
            eventually(lambda: clients.seen_since(again) == set(now.values()), lambda: server.log)
        assert now[0] == before[0]
        assert now[1] != before[1]
        assert clients.outcomes["refused"] == 0
        # What the killed one had taken is lost with it: of 12 clients, at most one request each.
        assert len(clients.lost) <= 12
        server.signal()
        assert server.wait(20) == 0


def test_sighup_replaces_all_one_by_one_and_loses_nothing(journal: Path) -> None:
    """No connection is refused, no request lost, and there is never more than one process too many."""
    with two_workers() as server:
        before = set(children(server))
        with swarm(server, journal) as clients:
            with counted(server) as counts:
                server.signal(signal.SIGHUP)
                eventually(lambda: len(ready(server)) == 4 and len(children(server)) == 2, lambda: server.log)
            replaced = time.monotonic()
            after = children(server)
            eventually(lambda: clients.seen_since(replaced) == after, lambda: server.log)
        assert before.isdisjoint(after)
        assert [index for index, _ in ready(server)[2:]] == [0, 1]
        assert min(counts) >= 2  # it may be 3 all the time that somebody looked
        assert max(counts) == 3
        assert clients.lost == set()
        assert clients.outcomes.keys() <= {"ok", "reused", "fresh"}, clients.detail
        server.signal()
        assert server.wait(20) == 0


@pytest.mark.parametrize("moment", ["at once", "while the new one starts", "when it is ready"])
def test_sigterm_during_a_sighup(journal: Path, moment: str) -> None:
    """Old and new drain, nothing is lost, and no process is left."""
    with two_workers() as server:
        with swarm(server, journal, seconds=0.3) as clients:
            server.signal(signal.SIGHUP)
            if moment != "at once":
                eventually(lambda: len(children(server)) == 3, lambda: server.log)
            if moment == "when it is ready":
                eventually(lambda: len(ready(server)) == 3, lambda: server.log)
            workers = children(server)
            assert len(workers) in (2, 3)
            server.signal()
            assert server.wait(20) == 0
        assert clients.lost == set()
        assert clients.outcomes.keys() <= {"ok", "refused", "reused", "fresh"}, clients.detail
        assert alive(workers) == set()


def test_sighup_answers_whoever_has_just_connected(journal: Path) -> None:
    """A connection made before the old worker stops, whose request is under way after it, gets its answer."""
    with two_workers() as server:
        with swarm(server, journal, round_trip=0.1) as clients:
            server.signal(signal.SIGHUP)
            eventually(lambda: len(ready(server)) == 4 and len(children(server)) == 2, lambda: server.log)
        assert clients.lost == set()
        assert clients.outcomes.keys() <= {"ok", "reused"}, clients.detail
        server.signal()
        assert server.wait(20) == 0
