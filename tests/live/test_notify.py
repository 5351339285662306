"""What systemd is told of `trivet run`, over a real notification socket."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from tests.live._server import running
from trivet.server import _notify

pytestmark = [pytest.mark.live, pytest.mark.slow]

APP = "tests.live._journal_app:app"
SUPERVISED = ("--max-requests", "1000")
"""One worker, and a supervisor."""


class Manager:
    """The end of the notification socket that is systemd's."""

    def __init__(self, address: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.settimeout(20)

    def hears(self) -> tuple[str, int]:
        """The next message, and which process it is from."""
        data, ancillary, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(12))
        (_, _, credentials), *_ = ancillary
        return data.decode(), int.from_bytes(credentials[:4], sys.byteorder)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL", str(tmp_path / "journal"))


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: None
) -> Generator[Manager]:
    path = str(tmp_path / "notify")
    abstract = request.param == "abstract"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{path}" if abstract else path)
    manager = Manager(f"\0{path}" if abstract else path)
    with manager.sock:
        yield manager


def test_one_process_says_when_it_is_ready_and_when_it_stops(manager: Manager) -> None:
    """Ready means that it answers; nothing else is said where no watchdog is wanted."""
    with running(app=APP) as server:
        assert manager.hears() == ("READY=1", server.process.pid)
        assert server.get("/index/0")[0] == 200
        server.signal()
        assert manager.hears() == ("STOPPING=1", server.process.pid)
        assert server.wait() == 0


@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_the_supervisor_speaks_for_its_worker(manager: Manager) -> None:
    """That says nothing: systemd believes the main process alone. A reload has a beginning and an end."""
    with running(*SUPERVISED, app=APP) as server:
        pid = server.process.pid
        assert manager.hears() == ("READY=1", pid)
        assert server.get("/index/0")[0] == 200
        before = time.monotonic_ns() // 1000
        server.signal(signal.SIGHUP)
        said, by = manager.hears()
        first, _, second = said.partition("\n")
        assert (first, by) == ("RELOADING=1", pid)
        assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        assert manager.hears() == ("READY=1", pid)
        server.wait_for(r"(?s)(is ready.*){2}")
        assert server.log.count("is ready") == 2
        server.signal()
        assert manager.hears() == ("STOPPING=1", pid)
        assert server.wait() == 0


@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_the_watchdog_hears_of_a_loop_that_turns(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the main process only, whose id it may name; a worker has the same variables, and is not meant."""
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with running(*SUPERVISED, app=APP) as server:
        early = list(iter(manager.hears, ("READY=1", server.process.pid)))
        heard = early + [manager.hears() for _ in range(4)]
    assert set(heard) == {("WATCHDOG=1", server.process.pid)}


async def test_a_watchdog_is_told_twice_in_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    """Half a second apart for one of a second; and not at all where another process is meant, or none."""
    manager = Manager(str(tmp_path / "notify"))
    manager.sock.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with manager.sock:
        for pid, count in ((os.getpid(), 3), (1, 0)):
            monkeypatch.setenv("WATCHDOG_PID", str(pid))
            with trio.move_on_after(1.25):
                await _notify.keep_alive()
            assert [manager.hears()[0] for _ in range(count)] == ["WATCHDOG=1"] * count
            with pytest.raises(BlockingIOError):
                manager.hears()


def test_a_manager_that_is_gone_costs_a_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It serves all the same."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    _notify.ready()
    assert caplog.messages == [f"cannot say READY=1 to {tmp_path / 'gone'}: No such file or directory"]


@pytest.mark.parametrize("value", [None, "", "vsock:2:1234"])
def test_where_nobody_listens_nothing_is_said(
    value: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor tried."""
    if value is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    _notify.stopping()
    assert caplog.messages == []
