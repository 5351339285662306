"""When the log is written and synced: a clock that jumps, and a thread that takes no time."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from apps.mini_redis.engine import Engine
from apps.mini_redis.persistence import Journal, open_journal
from apps.mini_redis.settings import Fsync


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the file was synced."""
    found: list[float] = []

    async def run_sync(call: Callable[..., Any], *args: Any) -> None:
        await trio.lowlevel.checkpoint()
        call(*args)

    monkeypatch.setattr("trio.to_thread.run_sync", run_sync)

    def fdatasync(descriptor: int) -> None:
        found.append(trio.current_time())

    monkeypatch.setattr("os.fdatasync", fdatasync)
    return found


@asynccontextmanager
async def writing(path: Path, fsync: Fsync) -> AsyncGenerator[tuple[Engine, Journal]]:
    engine = Engine(lambda: 0)
    journal = open_journal(path, fsync, engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run)
        await wait_all_tasks_blocked()
        yield engine, journal
        nursery.cancel_scope.cancel()
    journal.close()


@pytest.mark.parametrize(("fsync", "expected"), [("always", [0.0, 0.5, 10.0]), ("everysec", [1.0, 11.0]), ("no", [])])
async def test_what_is_not_synced_is_written(
    tmp_path: Path, autojump_clock: MockClock, syncs: list[float], fsync: Fsync, expected: list[float]
) -> None:
    """At once, whatever the policy: a process that is killed loses what only it has, not what the kernel has."""
    path = tmp_path / "log"
    async with writing(path, fsync) as (engine, _):
        begin = trio.current_time()
        for moment in (0.0, 0.5, 10.0):
            await trio.sleep_until(begin + moment)
            engine.stores[0].put(b"k%d" % moment, b"x" * 100)
            await trio.sleep(0.05)
            assert path.stat().st_size > 100
            assert engine.log is not None
            assert path.stat().st_size == engine.log.position
        await trio.sleep_until(begin + 20)
        assert [round(moment - begin, 1) for moment in syncs] == expected


async def test_writes_that_nobody_waits_for_are_gathered(
    tmp_path: Path, autojump_clock: MockClock, syncs: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a thread's turn, which costs as much as a few dozen commands."""
    written: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        written.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr("os.write", counted)
    async with writing(tmp_path / "log", "everysec") as (engine, journal):
        for number in range(100):
            engine.stores[0].put(b"k%d" % number, b"")
            await trio.sleep(0.001)
        assert not journal.behind
    assert 3 <= len(written) <= 8
