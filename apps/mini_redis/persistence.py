"""The log when the server starts; this file owns what is read out of it, and what of it is refused.

What is then written to it, and when, is `journal.py`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from pathlib import Path
from typing import Final

from .aof import Damaged, Log, Reader
from .dispatch import execute
from .engine import Engine
from .journal import Journal
from .session import Session
from .settings import Fsync, Unusable

logger = logging.getLogger("apps.mini_redis")

PIECE: Final = 1024 * 1024


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
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unusable(
                f"MINI_REDIS_LOG={path} is a device or a pipe: what is written there cannot be read.\n"
                "Name a file, for example  MINI_REDIS_LOG=/var/tmp/mini_redis.aof\n"
                "To keep nothing, leave it away:  unset MINI_REDIS_LOG"
            )
        whole = _replay(path, descriptor, engine)
        _cut_off(path, descriptor, whole)
    except OSError as error:
        os.close(descriptor)
        raise Unusable(
            f"MINI_REDIS_LOG={path} cannot be used: {error.strerror}.\n"
            f"Make room there, or copy it to another disk and name the copy. How much there is:  df -h {path.parent}"
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    log = Log()
    engine.record_to(log)
    return Journal(log, path, descriptor, fsync, engine.refuse_changes)


def _cut_off(path: Path, descriptor: int, whole: int) -> None:
    """Remove what was torn; it was never acknowledged. Behind it, what is written from now on could not be read."""
    torn = os.fstat(descriptor).st_size - whole
    if torn:
        logger.warning("the log %s was torn: cut off its last %d bytes, from byte %d on", path, torn, whole)
    os.ftruncate(descriptor, whole)
    os.fsync(descriptor)
    _sync_directory(path.parent)


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
