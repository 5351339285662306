"""The ends of processes: whose, why, and with which status."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live._processes import alive, children
from tests.live._server import ROOT, Running, parse, read_all, running

pytestmark = [pytest.mark.live, pytest.mark.slow]

APP = "tests.live._journal_app:app"


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "journal"
    monkeypatch.setenv("JOURNAL", str(path))
    return path


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


@contextmanager
def workers(*arguments: str, count: int = 2) -> Generator[Running]:
    with running("--workers", str(count), *arguments, app=APP) as server:
        for index in range(count):
            server.wait_for(rf"worker {index} .*is ready")
        yield server


# The index --------------------------------------------------------------------------------------------------------


def test_each_worker_knows_its_index() -> None:
    """`TRIVET_WORKER_INDEX` is 0 to N - 1; the only process of a server is 0."""

    def index(server: Running) -> bytes:
        return server.get("/index/0")[1].split()[1]

    with workers(count=3) as server:
        seen: set[bytes] = set()
        eventually(lambda: seen.add(index(server)) or len(seen) == 3)
        assert seen == {b"0", b"1", b"2"}
    with running(app=APP) as server:
        assert index(server) == b"0"


# Signals ----------------------------------------------------------------------------------------------------------


def test_sigterm_to_every_process_is_no_hurry(journal: Path) -> None:
    """systemd signals the whole service: what the supervisor passes on is not the user's second signal."""
    with workers("--drain-timeout", "20") as server, server.connect() as client:
        client.settimeout(20)
        client.sendall(b"GET /slow/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: "slow" in journal.read_text())
        for pid in children(server):
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)  # or else the kernel makes one signal of two
        server.signal()
        assert parse(read_all(client))[0] == 200
        assert server.wait(20) == 0


def test_a_second_signal_hurries_all_workers(journal: Path) -> None:
    """Requests of each are cut with 503, long before the drain time is over; the exit status is 0."""
    with workers("--drain-timeout", "60") as server:
        clients = [server.connect() for _ in range(10)]
        for number, client in enumerate(clients):
            client.settimeout(20)
            client.sendall(f"GET /slow{number}/59 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: journal.read_text().count("slow") == 10)
        server.signal()
        eventually(lambda: server.log.count("stopping") == 2)
        server.signal()
        assert {parse(read_all(client))[0] for client in clients} == {503}
        for client in clients:
            client.close()
        assert server.wait(20) == 0


def test_the_address_is_free_as_soon_as_the_drain_begins(journal: Path) -> None:
    """New clients are refused, and go elsewhere, rather than wait in a queue that nobody serves."""
    with workers("--drain-timeout", "20") as server, server.connect() as client:
        client.settimeout(20)
        client.sendall(b"GET /slow/15 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: "slow" in journal.read_text())
        server.signal()

        def refused() -> bool:
            try:
                server.connect().close()
            except ConnectionRefusedError:
                return True
            return False

        eventually(refused, 10)
        assert server.process.poll() is None
        server.signal()
        assert parse(read_all(client))[0] == 503
        assert server.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_import_is_a_clean_end(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was served, so nothing is lost: status 0 at once, and no traceback. Ctrl-C reaches all processes."""
    block = tmp_path / "block"
    block.touch()
    monkeypatch.setenv("SLOW_IMPORT", str(block))
    with running("--workers", "2", app=APP) as server:
        eventually((tmp_path / "journal").exists)
        time.sleep(0.5)
        for pid in (*children(server), server.process.pid):
            os.kill(pid, number)
        assert server.wait(10) == 0
        assert "Traceback" not in server.log


def test_a_closed_terminal_does_not_kill_workers(journal: Path) -> None:
    """SIGHUP to all of them is the supervisor's to act on: the request that runs is answered."""
    with workers() as server, server.connect() as client:
        client.settimeout(20)
        client.sendall(b"GET /slow/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: "slow" in journal.read_text())
        for pid in (*children(server), server.process.pid):
            os.kill(pid, signal.SIGHUP)
        assert parse(read_all(client))[0] == 200
        server.wait_for(r"(?s)(is ready.*){4}", 20)


@pytest.fixture
def heard() -> Generator[None]:
    """SIGHUP as a terminal leaves it: who runs the suite under nohup hands down to every process that it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("arguments", [(), ("--reload",)])
def test_sighup_drains_where_there_is_no_worker_to_replace(arguments: tuple[str, ...]) -> None:
    """One process, or one in development: the terminal was closed, and nobody should hold the address."""
    with running(*arguments, app=APP) as server:
        assert server.get("/one/0")[0] == 200
        server.signal(signal.SIGHUP)
        assert server.wait(20) == 0


# A supervisor that is gone ----------------------------------------------------------------------------------------


def all_end(pids: set[int]) -> None:
    """By themselves; or else they are killed, to harm no other test."""
    try:
        eventually(lambda: not alive(pids))
    finally:
        for pid in alive(pids):
            os.kill(pid, signal.SIGKILL)


def test_workers_of_a_killed_supervisor_drain_and_end(journal: Path) -> None:
    """The request that runs is answered; then nobody holds the address."""
    with workers() as server, server.connect() as client:
        pids = children(server)
        assert len(pids) == 2
        client.settimeout(20)
        client.sendall(b"GET /slow/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: "slow" in journal.read_text())
        server.process.kill()
        assert parse(read_all(client))[0] == 200
        all_end(pids)


def test_a_killed_supervisor_ends_a_worker_that_still_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take connections that nobody serves."""
    block = tmp_path / "block"
    block.touch()
    monkeypatch.setenv("SLOW_IMPORT", str(block))
    with running("--workers", "2", app=APP) as server:
        eventually(lambda: (tmp_path / "journal").exists() and children(server))
        pids = children(server)
        server.process.kill()
        all_end(pids)


def test_a_killed_supervisor_ends_a_worker_whose_loop_is_blocked(journal: Path) -> None:
    """Its watchdog does."""
    arguments = ["run", APP, "--bind", "127.0.0.1:0", "--workers", "2"]
    arguments += ["--drain-timeout", "0.2", "--cleanup-grace", "0.2"]
    code = (
        "import sys, trivet.server._watchdog as watchdog; watchdog.MARGIN = 0.3\n"
        f"sys.argv = {['trivet', *arguments]}\nfrom trivet.cli import main\nsys.exit(main())"
    )
    server = Running.__new__(Running)
    server.start([sys.executable, "-c", code], ROOT)
    try:
        server.wait_for(r"(?s)(is ready.*){2}")
        pids = children(server)
        assert len(pids) == 2
        with server.connect() as client:
            client.sendall(b"GET /spin/0 HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda: "spin" in journal.read_text())
            server.process.kill()
            all_end(pids)
    finally:
        server.close()


# Workers that do not start ----------------------------------------------------------------------------------------


def test_the_first_worker_starts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others when it is ready, and at once then."""
    block = tmp_path / "block"
    block.touch()
    monkeypatch.setenv("SLOW_IMPORT", str(block))
    with running("--workers", "3", app=APP) as server:
        eventually((tmp_path / "journal").exists)
        assert len(children(server)) == 1
        block.unlink()
        server.wait_for(r"(?s)worker 0 .*(is ready.*){3}", 20)


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While it exists, no application starts."""
    path = tmp_path / "broken"
    monkeypatch.setenv("BROKEN", str(path))
    return path


def test_a_replacement_that_cannot_start_is_tried_again(broken: Path) -> None:
    """Meanwhile the other worker serves; the reason is in the log."""
    with workers() as server:
        before = children(server)
        broken.touch()
        os.kill(max(before), signal.SIGKILL)
        server.wait_for(r"worker \d \(process \d+\) died with status 1; replacing it")
        assert "no database" in server.log
        assert server.get("/one/0")[0] == 200
        broken.unlink()
        server.wait_for(r"(?s)(is ready.*){3}")
        server.signal()
        assert server.wait(20) == 0


def test_a_replacement_that_never_starts_ends_the_server(broken: Path) -> None:
    """With a failure, and the other worker drained: an orchestrator is to know, and to try elsewhere."""
    shorter = "import trivet.server._supervisor as it; it.QUICK_DEATHS = 2; it.BACKOFF_SECONDS = 0.01\n"
    arguments = ["run", APP, "--bind", "127.0.0.1:0", "--workers", "2"]
    code = f"{shorter}import sys; from trivet.cli import main; sys.exit(main({arguments}))"
    server = Running.__new__(Running)
    server.start([sys.executable, "-c", code], ROOT)
    try:
        server.wait_for(r"(?s)(is ready.*){2}")
        broken.touch()
        os.kill(max(children(server)), signal.SIGKILL)
        assert server.wait(20) == 1
        assert re.search(r"giving up: worker \d died 2 times in a row, the last time with status 1", server.log)
    finally:
        server.close()


def test_sighup_stops_at_the_first_that_does_not_start(broken: Path) -> None:
    """The old ones serve on, and are replaced by the next SIGHUP, when it is mended."""
    with workers() as server:
        before = children(server)
        broken.touch()
        server.signal(signal.SIGHUP)
        server.wait_for(r"SIGHUP: worker 0 .* was not replaced, nor are those after it: .* with status 1")
        assert children(server) == before
        assert server.get("/one/0")[0] == 200
        broken.unlink()
        server.signal(signal.SIGHUP)
        server.wait_for(r"(?s)(is ready.*){4}", 20)
        eventually(lambda: len(children(server)) == 2)
        assert before.isdisjoint(children(server))
        server.signal()
        assert server.wait(20) == 0
