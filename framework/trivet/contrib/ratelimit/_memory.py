"""Buckets in this process's memory, never more than `max_keys`.

This file owns which bucket is forgotten when there is no room. A full bucket says no more than none at all, so those
go first, without a task that looks for them. If none is full, the fullest goes. Least recently used, the usual choice,
would let a client that has used up its bucket have a new one: by pushing the old one out with requests under many other
keys. The buckets of those are the fullest, and push out each other.
"""

from __future__ import annotations

import heapq

from trivet.errors import RegistrationError

from ._gcra import Decision, Quota, take

_LOOKED_AT = 8
"""How many records are brought up to date to find the fullest bucket: what one request has to do is bounded, even
after all of a hundred thousand keys have come back since they were recorded."""


class MemoryBackend:
    """Keeps buckets in memory: for one process, and gone when it ends.

    Under `trivet run --workers N` each worker counts on its own, so that a client may get N times its quota.

    Args:
        max_keys: how many buckets are kept; one takes about 300 bytes.
    """

    def __init__(self, *, max_keys: int = 100_000) -> None:
        if isinstance(max_keys, bool) or not isinstance(max_keys, int) or max_keys < 1:
            raise RegistrationError(
                f"max_keys={max_keys!r} is not a whole number from 1 on.\nWrite  MemoryBackend(max_keys=100_000)"
            )
        self._max_keys = max_keys
        self._full_at: dict[tuple[str, str], float] = {}
        # One record for each key: when its bucket was to be full as it was recorded, which is now or earlier than now.
        # A bucket is only ever filled later than recorded, so a record is a lower bound.
        self._records: list[tuple[float, tuple[str, str]]] = []

    def __len__(self) -> int:
        return len(self._full_at)

    async def take(self, key: str, quota: Quota, now: float) -> Decision:
        """Take one token out of the bucket of `key`; see `Backend.take`. It does not wait."""
        place = (quota.bucket, key)
        before = self._full_at.get(place)
        full_at, decision = take(before, quota, now)
        self._forget_full(now)
        if place not in self._full_at:
            if len(self._full_at) >= self._max_keys:
                self._forget_fullest()
            heapq.heappush(self._records, (full_at, place))
        self._full_at[place] = full_at
        return decision

    def _forget_full(self, now: float) -> None:
        """Forget up to two full buckets: one more than a request can add."""
        for _ in range(2):
            if not self._records or self._records[0][0] > now:
                return
            self._look()

    def _forget_fullest(self) -> None:
        for _ in range(_LOOKED_AT):
            recorded, place = self._records[0]
            if self._full_at[place] <= recorded:
                break
            heapq.heapreplace(self._records, (self._full_at[place], place))
        _, place = heapq.heappop(self._records)
        del self._full_at[place]

    def _look(self) -> None:
        """Bring the first record up to date, or forget its bucket if the record was right."""
        recorded, place = self._records[0]
        current = self._full_at[place]
        if current > recorded:
            heapq.heapreplace(self._records, (current, place))
        else:
            heapq.heappop(self._records)
            del self._full_at[place]
