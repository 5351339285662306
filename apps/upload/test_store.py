"""What is on the disk, and what is not: whole uploads, no leftovers, no more than there may be."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

from apps.upload.disk import Directory, Partial
from apps.upload.store import COST, PIECE, Arriving, QuotaExceeded, Store, Taken, open_store

ROOM = 100 * 1024 * 1024


def files_below(root: Path) -> list[str]:
    """All files of a store but its lock; directories that go meanwhile have none."""
    files = (os.path.join(where, name) for where, _, names in os.walk(root) for name in names if name != "lock")
    return sorted(os.path.relpath(file, root) for file in files)


async def put(store: Store, upload_id: str, content: bytes, size: int | None = None) -> None:
    async with store.receive(upload_id, upload_id, size, {}) as arrival:
        await arrival.write(content)
        await arrival.keep(None)


async def test_one_that_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    """What is known of an upload is on the disk beside its content, and so is what it takes of the quota."""
    async with open_store(tmp_path, ROOM) as store:
        await put(store, "a", b"abc")
        used = store.used
        assert used == COST + 3
    async with open_store(tmp_path, ROOM) as store:
        about = await store.about("a")
        assert about is not None
        assert (about.id, about.size) == ("a", 3)
        assert store.data("a").read_bytes() == b"abc"
        assert store.used == used
    assert files_below(tmp_path) == ["files/a/about.json", "files/a/data"]


async def test_one_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    """Neither a file nor a claim on the quota, whatever ended it; its id is free again."""
    async with open_store(tmp_path, ROOM) as store:
        for error in (RuntimeError, OSError):
            with suppress(error):
                async with store.receive("a", "a", 3, {}) as arrival:
                    await arrival.write(b"x" * (PIECE + 1))
                    assert len(files_below(tmp_path)) == 1
                    raise error
            assert files_below(tmp_path) == []
            assert store.used == 0
        with trio.CancelScope() as scope:
            async with store.receive("a", "a", None, {}) as arrival:
                await arrival.write(b"x" * PIECE)
                scope.cancel()
                await trio.sleep_forever()
        assert files_below(tmp_path) == []
        assert await store.find("a") is None
        await put(store, "a", b"abc")


async def test_leftovers_of_a_crash_are_removed_at_start(tmp_path: Path) -> None:
    """A directory whose process is no more goes with all that is in it; what is complete stays."""
    async with open_store(tmp_path, ROOM) as store:
        await put(store, "a", b"abc")
    crashed = tmp_path / "arriving" / "crashed" / "b"
    crashed.mkdir(parents=True)
    (crashed / "data").write_bytes(b"half")
    async with open_store(tmp_path, ROOM) as store:
        assert files_below(tmp_path) == ["files/a/about.json", "files/a/data"]
        assert [each.id for each in await store.newest(9)] == ["a"]


async def test_what_another_process_receives_is_left_alone(tmp_path: Path) -> None:
    """At a reload two are there for a while: the new one must not sweep away what comes to the old one."""
    async with open_store(tmp_path, ROOM) as old, old.receive("a", "a", None, {}) as arrival:
        await arrival.write(b"x" * PIECE)
        async with open_store(tmp_path, ROOM) as new:
            assert len(files_below(tmp_path)) == 1
            await put(new, "a", b"faster")
        with pytest.raises(Taken):
            await arrival.keep(None)
    assert files_below(tmp_path) == ["files/a/about.json", "files/a/data"]
    assert (tmp_path / "files" / "a" / "data").read_bytes() == b"faster"


async def test_quota_is_for_all_together(tmp_path: Path) -> None:
    """An announced size is set aside at once, an unknown one is counted as it comes; what is removed is given back."""
    async with open_store(tmp_path, 2 * COST + 1000) as store:
        with pytest.raises(QuotaExceeded):
            async with store.receive("a", "a", COST + 1001, {}):
                raise AssertionError("unreachable")
        async with store.receive("a", "a", 600, {}):
            with pytest.raises(QuotaExceeded):
                await put(store, "b", b"x" * 401)
            await put(store, "c", b"x" * 400)
            with pytest.raises(QuotaExceeded):
                await put(store, "d", b"")
        assert store.used == COST + 400
        await put(store, "e", b"x" * 600)
        assert await store.remove("c")
        assert not await store.remove("c")
        await put(store, "f", b"x" * 400, size=400)
        assert store.used == store.quota
    assert files_below(tmp_path) == [f"files/{name}/{file}" for name in "ef" for file in ("about.json", "data")]


async def test_the_quota_is_right_whoever_removes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken or given back while the disk removes another upload is not forgotten."""
    gate = threading.Event()
    remove = Directory.remove

    def slowly(self: Directory, upload_id: str) -> int:
        assert gate.wait(10)
        return remove(self, upload_id)

    monkeypatch.setattr(Directory, "remove", slowly)
    async with open_store(tmp_path, ROOM) as store:
        for name in ("a", "b"):
            await put(store, name, b"abc")
        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):
                nursery.start_soon(store.remove, name)
            await trio.testing.wait_all_tasks_blocked()
            await put(store, "c", b"abcdef")
            gate.set()
        assert store.used == COST + 6


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_is_like_a_full_quota(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends cannot do anything about either; nothing is left of the upload."""

    def full(self: Partial, pieces: Iterable[bytes]) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Partial, "append", full)
    async with open_store(tmp_path, ROOM) as store:
        with pytest.raises(QuotaExceeded):
            await put(store, "a", b"abc")
    assert files_below(tmp_path) == []


async def test_an_id_is_taken_from_the_first_byte(tmp_path: Path) -> None:
    """Two that send at once under one id: the second is refused, and does no harm to the first."""
    async with open_store(tmp_path, ROOM) as store:
        async with store.receive("a", "a", None, {}) as arrival:
            await arrival.write(b"abc")
            with pytest.raises(Taken):
                await put(store, "a", b"def")
            assert [each.id for each in await store.newest(9)] == ["a"]
            await arrival.keep(None)
        with pytest.raises(Taken):
            await put(store, "a", b"def")
        assert store.data("a").read_bytes() == b"abc"


async def test_a_slow_disk_slows_who_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk does not answer, no more than a piece is taken; a cancellation waits until it does."""
    answers = threading.Event()
    written: list[bytes] = []

    def hang(self: Partial, pieces: Iterable[bytes]) -> None:
        answers.wait()
        written.extend(pieces)

    monkeypatch.setattr(Partial, "append", hang)
    async with open_store(tmp_path, ROOM) as store, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def send() -> None:
            with scope:
                async with store.receive("a", "a", None, {}) as arrival:
                    while True:
                        await arrival.write(b"x" * 1000)
                        await trio.lowlevel.checkpoint()

        nursery.start_soon(send)
        try:
            found = None
            while not isinstance(found, Arriving) or found.received < PIECE:
                found = await store.find("a")
            await trio.testing.wait_all_tasks_blocked()
            found = await store.find("a")
            assert isinstance(found, Arriving)
            assert found.received < PIECE + 1000
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert files_below(tmp_path) != []
        finally:
            answers.set()
    assert sum(map(len, written)) == found.received
    assert files_below(tmp_path) == []


async def test_newest_come_first(tmp_path: Path) -> None:
    """What is on its way comes before what is complete; there are no more than were asked for, and no strangers."""
    async with open_store(tmp_path, ROOM) as store:
        for number, name in enumerate("abc"):
            await put(store, name, b"")
            os.utime(tmp_path / "files" / name, (number, number))
        (tmp_path / "files" / ".DS_Store").write_bytes(b"")
        async with store.receive("d", "d", None, {}):
            assert [each.id for each in await store.newest(9)] == ["d", "c", "b", "a"]
            assert [each.id for each in await store.newest(2)] == ["d", "c"]
    Directory(tmp_path).close()
