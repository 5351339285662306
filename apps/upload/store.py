"""The uploads of this process: how they get to the disk without holding up anybody, and how much there may be.

This file owns the quota, what of an upload is in memory, and that one that does not come to its end leaves nothing. It
knows no HTTP; what is on the disk is `disk`'s.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from .digests import Digester
from .disk import Complete, Directory, Partial

T = TypeVar("T")

PIECE: Final = 256 * 1024
"""Bytes that are handed to the disk at a time: a trip to a worker thread costs a tenth of a millisecond. This much of
each upload is in memory, and what the server has read ahead."""

COST: Final = 4096
"""What each upload counts on top of its size, so that not even empty ones are free."""

PATIENCE: Final = 30.0
"""Seconds that the removal of a partial upload may take. What is left then is removed at the next start."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class QuotaExceeded(Exception):
    """There is no room for it."""


class Taken(Exception):
    """There is an upload of this id."""


class Arriving(msgspec.Struct, frozen=True, tag_field="state", tag="arriving"):
    """An upload on its way.

    Attributes:
        id: by which it is asked for.
        name: what a file of it is to be called.
        received: bytes that have come so far.
        size: bytes that there will be; `None`: the client did not say.
    """

    id: str
    name: str
    received: int
    size: int | None


class Store:
    """All uploads. Made by `open_store`."""

    def __init__(self, directory: Directory, quota: int, used: int) -> None:
        self.quota = quota
        self.used = used
        """Bytes that are taken or promised."""
        self._directory = directory
        self._arrivals: dict[str, Arrival] = {}

    @asynccontextmanager
    async def receive(
        self, upload_id: str, name: str, size: int | None, expected: Mapping[str, bytes]
    ) -> AsyncGenerator[Arrival]:
        """Take in an upload. Unless it is kept before the end of the block, nothing is left of it after.

        Args:
            upload_id: by which it will be asked for; fit for the name of a directory.
            name: what a file of it is to be called.
            size: bytes, if they are known: then there is room for it, or it is refused at once.
            expected: its digests, as far as the client has announced them.

        Raises:
            Taken: there is one of this id.
            QuotaExceeded: there is no room for it.
            OSError: the disk is broken.

        Cancellation: is felt when the disk has answered; what has come is removed.
        """
        if upload_id in self._arrivals:
            raise Taken
        arrival = self._arrivals[upload_id] = Arrival(self, upload_id, name, size)
        try:
            self._reserve(arrival, COST + (size or 0))
            digester = Digester(expected)
            arrival._partial = await self._on_disk(partial(self._directory.begin, upload_id, digester))
            yield arrival
        finally:
            try:
                if not arrival._kept:
                    self.used -= arrival._reserved
                    if arrival._partial is not None:
                        with trio.move_on_after(PATIENCE, shield=True):
                            await self._on_disk(arrival._partial.discard)
            finally:
                # Not before: until it is removed, its place is taken.
                del self._arrivals[upload_id]

    async def find(self, upload_id: str) -> Complete | Arriving | None:
        """An upload, complete or on its way; `None`: there is none of this id."""
        arrival = self._arrivals.get(upload_id)
        if arrival is not None:
            await trio.lowlevel.checkpoint()
            return arrival.progress()
        return await self.about(upload_id)

    async def about(self, upload_id: str) -> Complete | None:
        """A complete upload; `None`: there is none of this id."""
        try:
            return await self._on_disk(partial(self._directory.about, upload_id))
        except FileNotFoundError:
            return None

    def data(self, upload_id: str) -> Path:
        """Where the content of a complete upload is."""
        return self._directory.data(upload_id)

    async def newest(self, limit: int) -> list[Arriving | Complete]:
        """What is on its way, then what is complete, newest first; at most so many in all."""
        found: dict[str, Arriving | Complete] = {each._id: each.progress() for each in self._arrivals.values()}
        complete = await self._on_disk(partial(self._directory.newest, limit))
        # One that has become complete while we looked is told of once.
        found.update((each.id, each) for each in complete)
        return list(found.values())[:limit]

    async def remove(self, upload_id: str) -> bool:
        """Remove a complete upload; returns whether there was one."""
        try:
            size = await self._on_disk(partial(self._directory.remove, upload_id))
        except FileNotFoundError:
            return False
        # In a line of its own: `-=` reads first and then awaits, and forgets what others have taken meanwhile.
        self.used -= COST + size
        return True

    def _reserve(self, arrival: Arrival, size: int) -> None:
        if self.used + size > self.quota:
            raise QuotaExceeded
        self.used += size
        arrival._reserved += size

    async def _on_disk(self, fn: Callable[[], T]) -> T:
        """Run `fn` in a worker thread, and wait for it even when cancelled: a thread cannot be stopped.

        Trio's own limiter lets forty run at the same time; the others wait their turn, and their clients with them.
        """
        try:
            return await trio.to_thread.run_sync(fn)
        except FileExistsError:
            raise Taken from None
        except OSError as error:
            if error.errno in _FULL:
                raise QuotaExceeded from error
            raise


class Arrival:
    """An upload that is being received; made by `Store.receive`."""

    def __init__(self, store: Store, upload_id: str, name: str, size: int | None) -> None:
        self.received = 0
        self._store = store
        self._id = upload_id
        self._name = name
        self._size = size
        self._pieces: list[bytes] = []
        self._in_memory = 0
        self._partial: Partial | None = None
        self._reserved = 0
        self._kept = False

    def progress(self) -> Arriving:
        """How far it is."""
        return Arriving(self._id, self._name, self.received, self._size)

    async def write(self, piece: bytes) -> None:
        """Take the next piece; return when there is room in memory for another.

        Raises:
            QuotaExceeded: there is no room for it.
            OSError: the disk is broken.
        """
        missing = COST + self.received + len(piece) - self._reserved
        if missing > 0:
            self._store._reserve(self, missing)
        self.received += len(piece)
        self._pieces.append(piece)
        self._in_memory += len(piece)
        if self._in_memory >= PIECE:
            await self._flush()

    async def keep(self, media_type: str | None) -> Complete:
        """All has come: make it complete.

        Raises:
            DigestMismatch: it is not what was announced.
            QuotaExceeded, Taken, OSError: as `Store.receive`.

        Cancellation: either nothing has happened, or it is complete, and this returns.
        """
        await self._flush()
        keep = partial(self._opened.keep, self._id, self._name, media_type, datetime.now(UTC))
        kept = await self._store._on_disk(keep)
        self._kept = True
        return kept

    async def _flush(self) -> None:
        pieces, self._pieces = self._pieces, []
        self._in_memory = 0
        await self._store._on_disk(partial(self._opened.append, pieces))

    @property
    def _opened(self) -> Partial:
        if self._partial is None:
            raise RuntimeError("an arrival is used within the block of  async with store.receive(...)")
        return self._partial


@asynccontextmanager
async def open_store(root: Path, quota: int) -> AsyncGenerator[Store]:
    """Open the directory of the uploads; what crashes have left in it is removed.

    Args:
        root: the directory.
        quota: bytes that all uploads together may take, each counted with `COST`.

    Raises:
        OSError: the directory cannot be used.
    """
    directory = await trio.to_thread.run_sync(Directory, root)
    try:
        sizes = await trio.to_thread.run_sync(directory.sizes)
        yield Store(directory, quota, sum(size + COST for size in sizes))
    finally:
        with trio.move_on_after(PATIENCE, shield=True):
            await trio.to_thread.run_sync(directory.close)
