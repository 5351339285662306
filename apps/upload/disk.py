"""Uploads on the disk: where they are, and how one is there as a whole or not at all.

    files/ID/data, about.json        an upload that is complete
    arriving/RUN/ID/data             one on its way, to the process that holds the lock of RUN

An upload is made complete by one step, the renaming of its directory, when all that is in it has reached the disk.
Directories below `arriving` whose lock nobody holds are what a crash has left, and are removed at the next start.

This file owns that. Every function here may wait for the disk and is for a worker thread: nothing imports trio.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from .digests import Digester

DATA: Final = "data"
ABOUT: Final = "about.json"

_TAKEN: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY})


class Complete(msgspec.Struct, frozen=True, tag_field="state", tag="complete"):
    """An upload that is there, and will not change.

    Attributes:
        id: by which it is asked for.
        name: what a file of it is to be called.
        media_type: what the client said that it is; `None`: nothing.
        size: bytes.
        sha256: in hexadecimal.
        created: when it was complete.
    """

    id: str
    name: str
    media_type: str | None
    size: int
    sha256: str
    created: datetime


class Directory:
    """The directory of all uploads, as one process has it open.

    Args:
        root: the directory; made if it is not there.

    Raises:
        OSError: it cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self._files = root / "files"
        self._files.mkdir(parents=True, exist_ok=True)
        arriving = root / "arriving"
        arriving.mkdir(exist_ok=True)
        # Nobody sweeps between the making of a directory and its locking.
        with (root / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _sweep(arriving)
            self._own = Path(tempfile.mkdtemp(dir=arriving))
            # Held until the process ends, however it does: the kernel lets go of it.
            self._lock = os.open(self._own, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Give up what is still on its way, and let go."""
        shutil.rmtree(self._own, ignore_errors=True)
        os.close(self._lock)

    def begin(self, upload_id: str, digester: Digester) -> Partial:
        """Make room for an upload.

        Raises:
            FileExistsError: there is one of this id, complete or on its way.
            OSError: there is no room.
        """
        if (self._files / upload_id).exists():
            raise FileExistsError(errno.EEXIST, "there is one already", upload_id)
        return Partial(self._own / upload_id, self._files / upload_id, digester)

    def about(self, upload_id: str) -> Complete:
        """What is known of a complete upload.

        Raises:
            FileNotFoundError: there is none of this id.
        """
        return msgspec.json.decode((self._files / upload_id / ABOUT).read_bytes(), type=Complete)

    def data(self, upload_id: str) -> Path:
        """Where the content of a complete upload is."""
        return self._files / upload_id / DATA

    def remove(self, upload_id: str) -> int:
        """Remove a complete upload; who is downloading it is not disturbed.

        Returns:
            Its size.

        Raises:
            FileNotFoundError: there is none of this id.
        """
        size = self.data(upload_id).stat().st_size
        # Out of sight in one step. If we end before the next, it is among the leftovers.
        grave = Path(tempfile.mkdtemp(dir=self._own, prefix=".removed-"))
        (self._files / upload_id).rename(grave / DATA)
        shutil.rmtree(grave)
        return size

    def sizes(self) -> list[int]:
        """The size of each complete upload."""
        contents = [each / DATA for each in self._files.iterdir()]
        return [each.stat().st_size for each in contents if each.is_file()]

    def newest(self, limit: int) -> list[Complete]:
        """The complete uploads, newest first, at most so many."""
        with os.scandir(self._files) as entries:
            by_time = sorted(((entry.stat().st_mtime_ns, entry.name) for entry in entries), reverse=True)
        found: list[Complete] = []
        for _, name in by_time[:limit]:
            try:
                found.append(self.about(name))
            except (FileNotFoundError, NotADirectoryError):
                pass  # removed meanwhile, or not ours
        return found


class Partial:
    """An upload on its way. Of its methods one is called at a time."""

    def __init__(self, path: Path, target: Path, digester: Digester) -> None:
        path.mkdir()
        self._path = path
        self._target = target
        self._digester = digester
        try:
            self._data = (path / DATA).open("xb", buffering=0)
        except BaseException:
            path.rmdir()
            raise

    def append(self, pieces: Iterable[bytes]) -> None:
        """Write what has come.

        Raises:
            OSError: the disk is full, or broken.
        """
        for piece in pieces:
            self._digester.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[self._data.write(rest) :]

    def keep(self, upload_id: str, name: str, media_type: str | None, created: datetime) -> Complete:
        """Make it complete. When this returns, it is there after a power failure, too.

        Raises:
            DigestMismatch: it is not what was announced.
            FileExistsError: another process was faster with this id.
            OSError: the disk is full, or broken.
        """
        digest = self._digester.sha256()
        size = self._data.tell()
        os.fsync(self._data.fileno())
        self._data.close()
        about = Complete(upload_id, name, media_type, size, digest.hex(), created)
        with (self._path / ABOUT).open("xb") as file:
            file.write(msgspec.json.encode(about))
            file.flush()
            os.fsync(file.fileno())
        _sync(self._path)
        try:
            self._path.rename(self._target)
        except OSError as error:
            if error.errno in _TAKEN:
                raise FileExistsError(errno.EEXIST, "there is one already", upload_id) from None
            raise
        _sync(self._target.parent)
        return about

    def discard(self) -> None:
        """Leave nothing of it."""
        self._data.close()
        shutil.rmtree(self._path)


def _sweep(arriving: Path) -> None:
    """Remove what processes that are no more have left."""
    for each in arriving.iterdir():
        held = os.open(each, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # it lives
        else:
            shutil.rmtree(each)
        finally:
            os.close(held)


def _sync(directory: Path) -> None:
    """Let the names in a directory reach the disk, as `fsync` of a file does not."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
