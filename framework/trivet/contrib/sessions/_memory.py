"""Sessions in this process's memory, never more than `max_sessions` nor more bytes than `max_bytes`.

This file owns which session is forgotten when there is no room: the one that was not used for longest, since those
whose time is over are not used any more. To refuse new ones instead would let whoever begins very many keep everybody
else out until those expire; this way a session stays as long as it is used before all the room is filled anew.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import Final

import trio

from trivet.errors import RegistrationError

_OVERHEAD: Final = 400
"""Bytes that a session takes beside its contents: its key, and its place in the table."""


class MemoryStore:
    """Keeps sessions in memory: for one process, and gone when it ends.

    Under `trivet run --workers N` a session is known to one worker only, so that users seem to be logged out at random.

    Args:
        max_sessions: how many are kept.
        max_bytes: of all of them together, about.

    Raises:
        RegistrationError: one of them is no whole number from 1 on.
    """

    def __init__(self, *, max_sessions: int = 100_000, max_bytes: int = 64 * 2**20) -> None:
        for name, value in (("max_sessions", max_sessions), ("max_bytes", max_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise RegistrationError(
                    f"{name}={value!r} is not a whole number from 1 on.\n"
                    "Write  MemoryStore(max_sessions=100_000, max_bytes=64 * 2**20)"
                )
        self._max_sessions = max_sessions
        self._max_bytes = max_bytes
        self._bytes = 0
        # When each is over, on Trio's clock, and what it is; the least recently used first. A dict would be walked from
        # its beginning for that one, over the places of all that have moved or gone since it was made anew.
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: str) -> bytes | None:
        """What is kept under `key`; see `SessionStore.get`. It does not wait."""
        found = self._find(key)
        if found is not None:
            self._kept.move_to_end(key)  # now the most recently used
        return found

    async def set(self, key: str, value: bytes, ttl: float, *, replace: bool = False) -> bool:
        """Keep `value` under `key`; see `SessionStore.set`. It does not wait."""
        if replace and self._find(key) is None:
            return False
        self._put(key, value, ttl)
        return True

    async def compare_and_set(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Keep `value` if what is there is `expected`; see `SessionStore.compare_and_set`. It does not wait."""
        if self._find(key) != expected:
            return False
        self._put(key, value, ttl)
        return True

    async def delete(self, key: str) -> bool:
        """Forget what is under `key`; see `SessionStore.delete`. It does not wait."""
        found = self._find(key) is not None
        self._forget(key)
        return found

    def _find(self, key: str) -> bytes | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= trio.current_time():
            self._forget(key)
            return None
        return found[1]

    def _put(self, key: str, value: bytes, ttl: float) -> None:
        self._forget(key)
        self._make_room(len(value) + _OVERHEAD)
        self._kept[key] = trio.current_time() + ttl, value
        self._bytes += len(value) + _OVERHEAD

    def _forget(self, key: str) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._bytes -= len(found[1]) + _OVERHEAD

    def _make_room(self, size: int) -> None:
        now = trio.current_time()
        for key in list(islice(self._kept, 2)):  # one more than is added
            if self._kept[key][0] <= now:
                self._forget(key)
        while self._kept and (len(self._kept) >= self._max_sessions or self._bytes + size > self._max_bytes):
            self._forget(next(iter(self._kept)))
