"""When the log is written and synced: a clock that jumps, and a thread that takes no time."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from apps.mini_redis.engine import Engine
from apps.mini_redis.journal import AT_ONCE, Journal, NotKept
from apps.mini_redis.persistence import open_journal
from apps.mini_redis.settings import Fsync, Unusable

LARGE = b"x" * AT_ONCE


class Disk:
    """What a thread is asked to do, and when it may: at once, until `gate` is another event."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.gate.set()
        self.synced: list[float] = []
        self.aside = 0

    async def run_sync(self, call: Callable[..., Any], *args: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.aside += 1
        with trio.move_on_after(60):  # a test that fails is to end
            await self.gate.wait()
        call(*args)

    def fdatasync(self, descriptor: int) -> None:
        self.synced.append(trio.current_time())


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """One that takes everything."""
    made = Disk()
    monkeypatch.setattr("trio.to_thread.run_sync", made.run_sync)
    monkeypatch.setattr("os.fdatasync", made.fdatasync)
    return made


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


async def settled(journal: Journal) -> None:
    """As `Server.settled`."""
    if not journal.kept():
        await journal.committed()


def read(path: Path) -> dict[bytes, bytes]:
    """What a server that starts would find."""
    engine = Engine(lambda: 0)
    open_journal(path, "no", engine).close()
    return engine.stores[0].values


@pytest.mark.parametrize(("fsync", "expected"), [("always", [0.0, 0.5, 10.0]), ("everysec", [1.0, 11.0]), ("no", [])])
async def test_replies_go_out_when_the_kernel_has_it(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, fsync: Fsync, expected: list[float]
) -> None:
    """Whatever the policy: a process that is killed loses what only it has. The disk has it when the policy says."""
    path = tmp_path / "log"
    async with writing(path, fsync) as (engine, journal):
        begin = trio.current_time()
        for moment in (0.0, 0.5, 10.0):
            await trio.sleep_until(begin + moment)
            engine.stores[0].put(b"k%d" % moment, b"x" * 100)
            assert journal.kept() == (fsync != "always")
            if fsync == "always":
                await journal.committed()
                assert journal.kept()
            assert engine.log is not None
            assert 100 < path.stat().st_size == engine.log.position
        await trio.sleep_until(begin + 20)
        assert [round(moment - begin, 1) for moment in disk.synced] == expected
        assert disk.aside == len(expected)


@pytest.mark.parametrize("fsync", ["everysec", "no"])
async def test_what_nobody_waits_for_is_written_within_a_second(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, fsync: Fsync
) -> None:
    """A key that has expired is deleted, and nobody is told."""
    async with writing(tmp_path / "log", fsync) as (engine, journal):
        for number in range(2):
            engine.stores[0].put(b"k%d" % number, b"")
        assert journal.kept()
        for number in range(2):
            engine.stores[0].remove(b"k%d" % number)
            await trio.sleep(0.5)
        await trio.sleep(0.6)
        assert engine.log is not None
        assert (tmp_path / "log").stat().st_size == engine.log.position


async def test_what_is_large_is_written_aside(tmp_path: Path, autojump_clock: MockClock, disk: Disk) -> None:
    """By a thread, for it takes a while; what comes meanwhile waits for it, as it would be in the file before it."""
    async with writing(tmp_path / "log", "everysec") as (engine, journal):
        store = engine.stores[0]
        disk.gate = trio.Event()
        store.put(b"k", LARGE)
        assert not journal.kept()
        await wait_all_tasks_blocked()
        assert disk.aside == 1
        store.put(b"k", b"small")
        assert not journal.kept()
        with trio.move_on_after(5) as waited:
            await journal.committed()
        assert waited.cancelled_caught
        disk.gate.set()
        await journal.committed()
        assert journal.kept()
        assert disk.aside > 1
    assert read(tmp_path / "log") == {b"k": b"small"}


async def test_nothing_overtakes_what_a_thread_writes(tmp_path: Path, autojump_clock: MockClock, disk: Disk) -> None:
    """However little that is: a key that has expired is deleted, and set again meanwhile."""
    async with writing(tmp_path / "log", "no") as (engine, journal):
        store = engine.stores[0]
        store.put(b"k", b"1")
        assert journal.kept()
        await wait_all_tasks_blocked()
        disk.gate = trio.Event()
        store.remove(b"k")
        await trio.sleep(1.1)
        assert disk.aside == 1
        store.put(b"k", b"2")
        assert not journal.kept()
        disk.gate.set()
        await journal.committed()
    assert read(tmp_path / "log") == {b"k": b"2"}


async def test_a_sync_that_takes_long_keeps_nobody_waiting(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk
) -> None:
    """Who writes meanwhile; and what he has written is for the next one."""
    async with writing(tmp_path / "log", "everysec") as (engine, journal):
        begin = trio.current_time()
        engine.stores[0].put(b"a", b"1")
        assert journal.kept()
        disk.gate = trio.Event()
        await trio.sleep(1.5)
        engine.stores[0].put(b"b", b"1")
        assert journal.kept()
        disk.gate.set()
        await trio.sleep(5)
        assert [moment - begin for moment in disk.synced] == [1.5, 2.5]


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_what_a_thread_was_to_write_is_not_lost_at_the_end(tmp_path: Path, fsync: Fsync) -> None:
    """The task that has taken it is cancelled before the thread has begun."""
    path = tmp_path / "log"
    async with writing(path, fsync) as (engine, journal):
        engine.stores[0].put(b"k", LARGE)
        assert not journal.kept()
    assert read(path) == {b"k": LARGE}


class Full:
    """A disk with so much room, for `os.write`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr("os.write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("value", [b"v" * 99, LARGE], ids=["at once", "aside"])
async def test_a_disk_that_was_full(
    tmp_path: Path,
    autojump_clock: MockClock,
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    value: bytes,
) -> None:
    """Who made the change that it did not take, is not told that all is well; then none is made until it takes it."""
    path = tmp_path / "log"
    async with writing(path, "everysec") as (engine, journal):
        full = Full(monkeypatch, 50)
        engine.stores[0].put(b"k", value)
        with pytest.raises(NotKept):
            await settled(journal)
        assert engine.refusing == b"MISCONF Errors writing to the AOF file: No space left on device"
        await trio.sleep(5)
        assert path.stat().st_size == 50
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert f"MINI_REDIS_LOG={path} cannot be written: No space left on device.\n" in caplog.text
        assert f"df -h {tmp_path}" in caplog.text
        assert journal.kept()  # who only reads, has his reply
        full.room = 10**9
        await trio.sleep(1.1)
        assert not engine.refusing
        assert caplog.records[-1].getMessage().endswith("can be written again; so can keys")
        engine.stores[0].put(b"l", b"1")
        assert journal.kept()
    assert read(path) == {b"k": value, b"l": b"1"}


async def test_a_disk_that_is_full_to_the_end(
    tmp_path: Path, autojump_clock: MockClock, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last try is made when the server ends. What could not be written, was not acknowledged; the rest is there."""
    path = tmp_path / "log"

    async def fill() -> None:
        async with writing(path, "no") as (engine, journal):
            engine.stores[0].put(b"k", b"1")
            assert journal.kept()
            Full(monkeypatch, 10)
            engine.stores[0].put(b"l", b"1")
            with pytest.raises(NotKept):
                journal.kept()

    with pytest.raises(Unusable, match="cannot be written: No space left on device"):
        await fill()
    monkeypatch.undo()
    assert read(path) == {b"k": b"1"}


async def test_who_waits_for_a_log_that_has_ended_is_told(tmp_path: Path, disk: Disk) -> None:
    """It was waiting, or comes later: it does not wait for ever."""
    told: list[str] = []

    async def wait(journal: Journal, who: str) -> None:
        assert not journal.kept()
        with pytest.raises(NotKept):
            await journal.committed()
        told.append(who)

    async def run(journal: Journal) -> None:
        with scope:
            await journal.run()

    scope = trio.CancelScope()
    engine = Engine(lambda: 0)
    journal = open_journal(tmp_path / "log", "always", engine)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, journal)
            await wait_all_tasks_blocked()
            disk.gate = trio.Event()
            engine.stores[0].put(b"a", b"")
            assert not journal.kept()
            await wait_all_tasks_blocked()  # a thread writes it
            engine.stores[0].put(b"b", b"")
            nursery.start_soon(wait, journal, "before")
            await wait_all_tasks_blocked()
            scope.cancel()
            disk.gate.set()
        await wait(journal, "after")
    journal.close()
    assert told == ["before", "after"]
    assert read(tmp_path / "log").keys() == {b"a", b"b"}
