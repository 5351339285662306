"""The log on disk; this file owns when it is written and synced, who waits for that, and what is if it cannot be.

No reply leaves before the kernel has the change that it speaks of: a process that is killed loses nothing that was
acknowledged. With `everysec` and `no` that is a `write` for each batch of requests, on the loop. It puts bytes into the
kernel's memory, which takes microseconds; mostly, for a disk that cannot follow makes the kernel stop who writes, and
all clients wait then. redis-server pays the same price, except while it syncs: then it puts the write off, for up to
two seconds, and replies all the same, and a kill would lose that. What is large, a thread writes, and who has changed
something meanwhile waits for it.

The disk has it later: a thread syncs within a second, or nobody does. With `always` it comes before the reply, and one
task has a thread do both. While it waits for the disk, others go on recording, and all that has come together meanwhile
is its next write: fifty clients share one fsync, though none has its reply before its own change is safe. That is group
commit, and it needs nothing but a list that is taken whole.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Final

import trio

from .aof import Log
from .settings import Fsync, Unusable

logger = logging.getLogger("apps.mini_redis")

AT_ONCE: Final = 128 * 1024
"""Bytes that are written on the loop. To copy as many takes as long as a thread's turn does, some 0.1 ms."""

PERIODS: Final = {"always": 0.0, "everysec": 1.0, "no": 1.0}
"""Seconds until it is seen to what nobody waits for: the sync, what expired, and a disk that was full."""


class NotKept(OSError):
    """A change could not be written. Who asked for it has no reply: it is there, but would not be after a crash."""


class _Unwritten(Exception):
    def __init__(self, rest: bytes, reason: OSError) -> None:
        super().__init__(reason)
        self.rest = rest
        self.reason = reason


class Journal:
    """A log that is open. Use `persistence.open_journal`.

    Args:
        log: what is recorded.
        path: the file, for who reads the message.
        descriptor: the file.
        fsync: when it is synced.
        refuse: is told why no change can be kept, and `None` once it can again.
    """

    def __init__(
        self, log: Log, path: Path, descriptor: int, fsync: Fsync, refuse: Callable[[OSError | None], None]
    ) -> None:
        self._log = log
        self._path = path
        self._descriptor = descriptor
        self._fsync: Fsync = fsync
        self._refuse = refuse
        self._safe = 0  # up to here
        self._due = inf  # when the period is over
        self._busy = False  # a thread writes: what came later must not come first
        self._failing = False
        self._broken = False
        self._over = False  # nobody writes any more
        self._wanted = trio.Event()
        self._written = trio.Event()
        log.when_pending = self._want

    def kept(self) -> bool:
        """Write what has been recorded, if that is a matter of microseconds; whether replies may go out.

        They may also to who has not changed anything, for what he has read may not be safe yet.

        Raises:
            NotKept: it cannot be written.
        """
        waiting = self._log.position - self._safe
        if not waiting or self._failing:  # then nothing has been changed by who is to have a reply
            return True
        if self._fsync == "always" or self._busy or waiting > AT_ONCE:
            self._wanted.set()
            return False
        try:
            self._write(self._log.take())
        except _Unwritten as error:
            self._fail(error)
            raise NotKept(*error.reason.args) from error.reason
        self._safe = self._log.position
        return True

    async def committed(self) -> None:
        """Wait until what has been recorded so far is as safe as the policy says.

        Raises:
            NotKept: it cannot be written.
        """
        target = self._log.position
        while self._safe < target:
            if self._over:
                raise NotKept
            await self._written.wait()
            if self._failing:
                raise NotKept

    async def run(self) -> None:
        """Write and sync what `kept` leaves, for ever; the body of a task.

        Raises:
            Unusable: the disk does not take it, and was to have it before the reply; or it cannot be synced. There is
                no way to go on: what was promised cannot be kept. A sync that failed is not tried again: the kernel may
                have dropped what it could not write, and would say that all is well.
        """
        try:
            while True:
                await self._turn()
        finally:
            self._over = True
            self._written.set()  # who waits would wait for ever

    def close(self) -> None:
        """Write what is left. This blocks: it is the end, and nobody else wants to run."""
        try:
            if self._broken:  # what comes behind a gap could not be read
                return
            try:
                self._write(self._log.take())
            except _Unwritten as error:
                raise self._unusable(error.reason) from error.reason
            self._sync()
        finally:
            os.close(self._descriptor)

    async def _turn(self) -> None:
        with trio.move_on_at(self._due):
            await self._wanted.wait()
        self._wanted = trio.Event()
        now = trio.current_time()
        self._due = min(self._due, now + PERIODS[self._fsync])
        over = self._due <= now
        if over:
            self._due = inf  # what comes now is for the next one
        if self._log.pending and (over or not self._failing):
            await self._write_aside()
        if over and self._fsync == "everysec":
            await trio.to_thread.run_sync(self._sync)

    def _want(self) -> None:
        if self._due == inf:
            self._wanted.set()

    async def _write_aside(self) -> None:
        always = self._fsync == "always"
        # A thread cannot be cancelled, and what was taken is not to be lost because this task is to end.
        with trio.CancelScope(shield=True):
            self._busy = True
            try:
                await trio.to_thread.run_sync(self._write_and_sync if always else self._write, self._log.take())
            except _Unwritten as error:
                if always:
                    self._broken = True
                    raise self._unusable(error.reason) from error.reason
                self._fail(error)
            else:
                self._recover()
                self._safe = self._log.position - sum(map(len, self._log.pending))
            finally:
                self._busy = False
        self._written.set()
        self._written = trio.Event()

    def _write_and_sync(self, data: bytes) -> None:
        self._write(data)
        self._sync()

    def _write(self, data: bytes) -> None:
        begun = 0
        try:
            while begun < len(data):
                begun += os.write(self._descriptor, data[begun:])  # no copy, if all of it is written at once
        except OSError as error:
            raise _Unwritten(data[begun:], error) from None

    def _sync(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._broken = True
            raise self._unusable(error) from error

    def _fail(self, error: _Unwritten) -> None:
        """Refuse changes from now on, as redis-server does; what there is can be read."""
        self._log.pending.insert(0, error.rest)  # a part of it is written: the next try goes on there
        self._wanted.set()
        if not self._failing:
            self._failing = True
            self._refuse(error.reason)
            logger.error(
                "MINI_REDIS_LOG=%s cannot be written: %s.\nChanges are refused (MISCONF) until it can; that is tried "
                "each second. Make room; how much there is:  df -h %s",
                self._path,
                error.reason.strerror,
                self._path.parent,
            )

    def _recover(self) -> None:
        if self._failing:
            self._failing = False
            self._refuse(None)
            logger.warning("MINI_REDIS_LOG=%s can be written again; so can keys", self._path)

    def _unusable(self, error: OSError) -> Unusable:
        return Unusable(
            f"MINI_REDIS_LOG={self._path} cannot be written: {error.strerror}.\n"
            "This server has ended, because it could not keep what it promises. What was safe is in the log: make\n"
            f"room, or copy it and name the copy, and start it again. How much there is:  df -h {self._path.parent}"
        )
