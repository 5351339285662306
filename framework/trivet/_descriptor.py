"""A file that is open for reading, used by worker threads that may be abandoned.

This file owns how a descriptor is opened, so that nothing but a regular file is ever read, and how it is closed: once,
and never under a thread that still reads from it. A read from a disk that hangs cannot be stopped; the request that
waits for it can, and then `close` must neither wait for that thread nor let it read from whatever file gets the same
number next. So the descriptor is closed by whoever is done with it last. It knows no event loop.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import final

# Not there on all systems. O_NONBLOCK: the open of a FIFO that has become one since we looked must not wait for a
# writer. O_BINARY: Windows would translate line ends.
_FLAGS: int = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK", "O_BINARY"))
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


class Irregular(OSError):
    """What is there is neither a file nor a directory: a FIFO, a socket, a device."""


class Abandoned(Exception):
    """Nobody waits for this thread any more."""


@final
class Descriptor:
    """One open file. All but `close` is for a worker thread, inside of `used`."""

    __slots__ = ("_closing", "_fd", "_lock")

    def __init__(self) -> None:
        self._fd: int | None = None
        self._lock = threading.Lock()
        self._closing = False

    @property
    def closed(self) -> bool:
        """Whether it holds no descriptor, and never will."""
        return self._closing and self._fd is None

    @contextmanager
    def used(self) -> Generator[None]:
        """Keep it from being closed meanwhile.

        Raises:
            Abandoned: it has been closed.
        """
        with self._lock:
            if self._ending():
                raise Abandoned
            try:
                yield
            finally:
                if self._ending():
                    self._close()
        # Whoever has called `close` since that was asked has found the lock taken, and left it to us.
        if self._ending():
            self.close()

    def close(self) -> None:
        """Close it, now or when the thread that uses it is done; never waits."""
        self._closing = True
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()

    def _ending(self) -> bool:
        return self._closing  # a call, since another thread may write it between two looks

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def open(self, path: str, *, directory: int | None = None, follow: bool = True) -> None:
        """Open a regular file.

        Args:
            path: of the file.
            directory: a descriptor that a relative path starts at.
            follow: whether `path` may be a symbolic link.

        Raises:
            OSError: it cannot be opened; `IsADirectoryError` and `Irregular` if it is no regular file.
            ValueError: no file can have this name.
        """
        # Looked at before it is opened, for opening alone does things to a device or to the other end of a FIFO; and
        # again afterwards, for what was opened is what counts.
        self.look(path, directory=directory, follow=follow)
        self._fd = os.open(path, _FLAGS if follow else _FLAGS | _NOFOLLOW, dir_fd=directory)
        _check_regular(self.stat())

    @staticmethod
    def look(path: str, *, directory: int | None = None, follow: bool = True) -> None:
        """Raise what `open` would, as far as that can be told without opening."""
        _check_regular(os.stat(path, dir_fd=directory, follow_symlinks=follow))

    def stat(self) -> os.stat_result:
        """What the open file is, whatever stands at its path by now."""
        assert self._fd is not None
        return os.fstat(self._fd)

    def seek(self, position: int) -> None:
        """Go to a position from the start."""
        assert self._fd is not None
        os.lseek(self._fd, position, os.SEEK_SET)

    def read(self, size: int) -> bytes:
        """The next bytes: `size` of them, unless the file ends before."""
        assert self._fd is not None
        data = os.read(self._fd, size)
        if len(data) in (0, size):
            return data
        parts = [data]  # a signal, or a file system on a network
        left = size - len(data)
        while left and (data := os.read(self._fd, left)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)


def _check_regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(found.st_mode):
        raise Irregular
