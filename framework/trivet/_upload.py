"""A file that a client uploaded: small ones in memory, others on disk, written and read in worker threads.

This file owns where the bytes are and when they are gone: the request that brought a file deletes it. On disk it has no
name, so that even a process that is killed leaves none. It knows neither forms nor requests.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import BinaryIO, Final

import trio

from ._headers import Headers
from ._threads import EXITS, in_thread

log = logging.getLogger("trivet")

IN_MEMORY: Final = 1024 * 1024
"""Bytes that the files of one form may have in memory together; Starlette allows that to each."""
PIECE: Final = 256 * 1024
"""Bytes handed to a thread at a time: a hop costs a tenth of a millisecond."""

DELETE_SECONDS: Final = 5.0
"""How long the end of a request waits until its files are deleted, which is nothing unless the disk hangs."""


class Room:
    """The memory that the files of one form share."""

    __slots__ = ("left",)

    def __init__(self, left: int = IN_MEMORY) -> None:
        self.left = left


class UploadFile:
    """A file of a form. Ask for it by type: `async def upload(photo: UploadFile)`.

    It is deleted when the request has ended, however it ends: what is to stay is saved before, with `save`.

    Attributes:
        name: of the field in the form.
        filename: the last component of the name that the client gave; possibly empty, and never to be trusted.
        content_type: what the client says that it is; never to be trusted.
        headers: of this part of the form.
        size: bytes.
    """

    def __init__(
        self, name: str, filename: str, content_type: str, headers: Sequence[tuple[bytes, bytes]], room: Room
    ) -> None:
        self.name = name
        self.filename = filename
        self.content_type = content_type
        self.headers = Headers(list(headers))
        self.size = 0
        self._room = room
        self._memory: io.BytesIO | None = io.BytesIO()
        self._disk: BinaryIO | None = None
        self._piece = bytearray()

    def __repr__(self) -> str:
        return f"<UploadFile {self.filename!a} {self.size} bytes>"

    async def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, or all that are left; `b""` at the end.

        Raises:
            ValueError: the request has ended, and the file is deleted.

        Cancellation: is felt when the disk has answered; the place in the file may have moved.
        """
        if self._memory is not None:
            await trio.lowlevel.checkpoint()
            return self._memory.read(size)
        disk = self._open()
        return await in_thread(lambda: disk.read(size))

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to another place in the file, as `io.IOBase.seek` does; return it.

        Raises:
            ValueError: the request has ended, and the file is deleted.
        """
        if self._memory is not None:
            await trio.lowlevel.checkpoint()
            return self._memory.seek(offset, whence)
        disk = self._open()
        return await in_thread(lambda: disk.seek(offset, whence))

    def __aiter__(self) -> UploadFile:
        """What is left of the file, piece by piece: `async for piece in file`."""
        return self

    async def __anext__(self) -> bytes:
        piece = await self.read(PIECE)
        if not piece:
            raise StopAsyncIteration
        return piece

    async def save(self, path: str | os.PathLike[str], /) -> None:
        """Write the whole file to `path`, in a worker thread; replaces what is there.

        Raises:
            OSError: it cannot be written; what was begun is removed again.
            ValueError: the request has ended, and the file is deleted.

        Cancellation: is felt when the file has been written.
        """
        source = self._memory or self._open()
        await in_thread(lambda: _copy(source, os.fspath(path)))

    def _open(self) -> BinaryIO:
        if self._disk is None:
            raise ValueError(
                f"the uploaded file {self.filename!r} is gone: its request has ended.\n"
                "Save it while the request runs:  await file.save(path)"
            )
        return self._disk

    # ---- for those who fill and end it: the package's own

    async def _write(self, data: bytes) -> None:
        """Append; on disk from where the form's room in memory ends."""
        self.size += len(data)
        if self._memory is not None:
            if len(data) <= self._room.left:
                self._room.left -= len(data)
                self._memory.write(data)
                return
            memory = self._memory
            self._disk = await in_thread(lambda: _to_disk(memory.getvalue()))
            self._room.left += memory.tell()
            self._memory = None
        self._piece += data
        if len(self._piece) >= PIECE:
            await self._flush()

    async def _flush(self) -> None:
        piece, self._piece = self._piece, bytearray()
        disk = self._disk
        if piece and disk is not None:
            await in_thread(lambda: _append(disk, piece))

    async def _complete(self) -> None:
        """All has been written: go to the start."""
        await self._flush()
        if self._memory is not None:
            self._memory.seek(0)
        else:
            disk = self._open()
            await in_thread(lambda: disk.seek(0))

    def _close(self) -> None:
        """Delete it. To be called in a thread if it is on disk."""
        self._memory = None
        self._piece = bytearray()
        disk, self._disk = self._disk, None
        if disk is not None:
            try:
                disk.close()
            except OSError as error:
                log.error("an uploaded file could not be closed", exc_info=error)

    @property
    def _on_disk(self) -> bool:
        return self._disk is not None


async def delete(files: Iterable[UploadFile]) -> None:
    """Delete the files of a request.

    Cancellation: at once; the thread goes on. To be shielded for `DELETE_SECONDS`.
    """
    on_disk: list[UploadFile] = []
    for each in files:
        if each._on_disk:
            on_disk.append(each)
        else:
            each._close()
    if on_disk:
        await trio.to_thread.run_sync(_close_all, on_disk, abandon_on_cancel=True, limiter=EXITS)


def _close_all(files: Iterable[UploadFile]) -> None:
    for each in files:
        each._close()


def _to_disk(data: bytes) -> BinaryIO:
    # Without a buffer of its own: closing it writes nothing, and so cannot fail for want of space.
    disk: BinaryIO = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it outlives this
    try:
        _append(disk, data)
    except BaseException:
        disk.close()
        raise
    return disk


def _append(disk: BinaryIO, data: bytes | bytearray) -> None:
    """Write all of it: a disk that is nearly full takes a part, says how much, and fails at the next byte."""
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(rest) :]


def _copy(source: BinaryIO, path: str) -> None:
    place = source.tell()
    source.seek(0)
    try:
        target = open(path, "wb")  # noqa: SIM115 - closing it is the last of its writes, and may fail as they do
        try:
            with target:
                shutil.copyfileobj(source, target, PIECE)
        except BaseException:
            os.unlink(path)
            raise
    finally:
        source.seek(place)
