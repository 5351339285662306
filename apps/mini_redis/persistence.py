"""The log on disk; this file owns when it is written and synced, and who waits for that.

One task writes. While it waits for the disk, others go on recording, and all that has come together meanwhile is its
next write: with `always`, fifty clients share one fsync, though none has its reply before its own change is safe. That
is group commit, and it needs nothing but a list that is taken whole.

With the other policies nobody waits. What was changed is written some 20 ms after all the same, and is safe from
then on if only the process ends; the disk has it when it is synced. (redis-server writes before it replies.)

Disks block, so writing is done in a worker thread: one at a time, which keeps the order.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from math import inf
from pathlib import Path
from typing import Final

import trio

from .aof import Damaged, Log, Reader
from .dispatch import execute
from .engine import Engine
from .session import Session
from .settings import Fsync, Unusable

logger = logging.getLogger("apps.mini_redis")

PIECE: Final = 1024 * 1024
BACKLOG: Final = 64 * 1024 * 1024
"""Bytes that may wait for the disk before clients do too, whatever the policy."""


PERIODS: Final = {"always": 0.0, "everysec": 1.0}
"""Seconds until the disk has what was written."""

GATHER: Final = 0.02
"""Seconds between two writes that nobody waits for. Each costs a thread's turn: with 5 ms a pipeline of SETs is a fifth
slower."""


class Journal:
    """A log that is open. Use `open_journal`.

    Args:
        log: what is recorded.
        path: the file, for who reads the message.
        descriptor: the file.
        fsync: when it is synced.
    """

    def __init__(self, log: Log, path: Path, descriptor: int, fsync: Fsync) -> None:
        self._log = log
        self._path = path
        self._descriptor = descriptor
        self._fsync = fsync
        self._safe = 0  # up to here
        self._broken = False
        self._allowed = 0 if fsync == "always" else BACKLOG
        self._wanted = trio.Event()
        self._written = trio.Event()
        log.when_pending = self._want

    @property
    def behind(self) -> bool:
        """Whether a reply must wait, also one to who only reads: what it has read may not be safe yet."""
        return self._log.position - self._safe > self._allowed

    async def committed(self) -> None:
        """Wait until what has been recorded so far is as safe as the policy says."""
        target = self._log.position - self._allowed
        while self._safe < target:
            await self._written.wait()

    async def run(self) -> None:
        """Write, for ever; the body of a task.

        Raises:
            Unusable: the disk does not take it. There is no way to go on: what was promised cannot be kept.
        """
        due = inf  # when what the kernel has, is to be on the disk
        while True:
            with trio.move_on_at(due):
                await self._wanted.wait()
            self._wanted = trio.Event()
            now = trio.current_time()
            if due == inf and self._fsync != "no":
                due = now + PERIODS[self._fsync]
            sync = due <= now
            # A thread cannot be cancelled: this waits for it, also when this task is to end.
            await trio.to_thread.run_sync(self._write, self._log.take(), sync)
            due = inf if sync else due
            self._safe = self._log.position - sum(map(len, self._log.pending))
            self._written.set()
            self._written = trio.Event()
            if self._fsync != "always":
                await trio.sleep(GATHER)

    def _want(self) -> None:
        self._wanted.set()

    def close(self) -> None:
        """Write what is left. This blocks: it is the end, and nobody else wants to run."""
        try:
            if not self._broken:  # what comes behind a gap could not be read
                self._write(self._log.take(), sync=True)
        finally:
            os.close(self._descriptor)

    def _write(self, data: bytes, sync: bool) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if sync:
                os.fdatasync(self._descriptor)
        except OSError as error:
            self._broken = True
            raise Unusable(
                f"MINI_REDIS_LOG={self._path} cannot be written: {error.strerror}.\n"
                "This server has ended, because it could not keep what it promises. What was safe is in the log: make\n"
                f"room, or copy it and name the copy, and start it again. How much there is:  df -h {self._path.parent}"
            ) from error


def open_journal(path: Path, fsync: Fsync, engine: Engine) -> Journal:
    """Read a log into an engine, which from then on records to it. This blocks.

    Raises:
        Damaged: it cannot be read.
        Unusable: there can be no such file, or another server has it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unusable(f"MINI_REDIS_LOG={path} cannot be opened: {error.strerror}.\n{_remedy(path, error)}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusable(
                f"MINI_REDIS_LOG={path} is written by another server.\n"
                f"Give each its own, for example  MINI_REDIS_LOG={path}.2"
            ) from None
        whole = _replay(path, descriptor, engine)
        torn = os.fstat(descriptor).st_size - whole
        if torn:
            logger.warning("the log %s was torn: cut off its last %d bytes, from byte %d on", path, torn, whole)
        # What was torn was never acknowledged. Behind it, what is written from now on could not be read.
        os.ftruncate(descriptor, whole)
        os.fsync(descriptor)
        _sync_directory(path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    log = Log()
    engine.record_to(log)
    return Journal(log, path, descriptor, fsync)


def _remedy(path: Path, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return f"Its directory has to exist:  mkdir -p {path.parent}"
    return "Name a file that this user may write, for example  MINI_REDIS_LOG=/var/tmp/mini_redis.aof"


def _replay(path: Path, descriptor: int, engine: Engine) -> int:
    """Repeat all changes; returns where the last whole one ends."""
    reader = Reader()
    clocks = [store.clock for store in engine.stores]
    for store in engine.stores:
        # While it is read, nothing expires: a key that did has been deleted by the log, where that belongs.
        store.clock = _never
    session = Session(engine, _ignore, _nothing, "log", "log")
    left = _without_zeros(descriptor)
    try:
        while data := os.read(descriptor, min(PIECE, left)):
            left -= len(data)
            changes = reader.feed(data)
            replies: list[bytes] = []
            at = 0
            while at < len(changes):
                at = execute(session, changes, at, replies)
            for reply, before in zip(replies, reader.before, strict=True):
                if reply.startswith(b"-"):
                    reader.whole = before
                    raise Damaged(reply[1:].decode(errors="replace").strip())
    except Damaged as damage:
        raise Damaged(
            f"The log {path} cannot be read: {damage}. Up to byte {reader.whole} it is whole; to go on with that, and "
            f"without the rest:  truncate --size={reader.whole} {path}"
        ) from None
    finally:
        session.close()
        engine.counted.connections -= 1
        for store, clock in zip(engine.stores, clocks, strict=True):
            store.clock = clock
    return reader.whole


def _without_zeros(descriptor: int) -> int:
    """Where the zeros begin in which a file ends.

    No log ends so, but when the power goes, a file may have the length of what was to be written, and not yet that.
    """
    end = os.fstat(descriptor).st_size
    while end:
        piece = os.pread(descriptor, min(PIECE, end), max(0, end - PIECE))
        if kept := len(piece.rstrip(b"\0")):
            return end - len(piece) + kept
        end -= len(piece)
    return 0


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _never() -> int:
    return 0


def _ignore(data: bytes) -> None:
    pass


def _nothing() -> None:
    pass
