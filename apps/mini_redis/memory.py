"""What all clients hold of memory; this file owns how much that may be, and who goes when it is more.

Each of them has bounds of its own: for a request, a transaction, replies and messages that wait. A thousand that use
them up would be more than any machine has. So the sum has a bound, too, and where it is passed, the largest is
disconnected, as by redis-server's `maxmemory-clients`: who holds most is to blame, and with him most is gained. To turn
away new ones instead would punish those who have done nothing.

To find the largest takes no search. Clients are kept by the magnitude of what they hold, one set for each power of two,
and one of the uppermost set that is not empty goes: no other holds twice as much. redis-server does the same.

It knows no socket and no command. What a client holds, its connection says whenever that has changed by much.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

log = logging.getLogger("apps.mini_redis")

LIMIT: Final = 1024 * 1024 * 1024

STEP: Final = 4096
"""Bytes that need not be told: most clients never hold more, and cost nothing here."""

WARNED: Final = 60_000
"""Milliseconds between two warnings: whoever provokes them must not fill the log."""


class Holder(Protocol):
    """A client.

    Attributes:
        held: bytes, as the memory knows it; 0 at first. Only the memory changes it.
    """

    held: int

    def evict(self) -> None:
        """Go, at once, and hold nothing more."""


class Memory:
    """What clients hold.

    Args:
        clock: milliseconds.
        limit: bytes.

    Attributes:
        evicted: how many clients were disconnected.
        total: bytes that are held now.
    """

    def __init__(self, clock: Callable[[], int], limit: int = LIMIT) -> None:
        self.limit = limit
        self.evicted = 0
        self.total = 0
        self._clock = clock
        self._warned = -WARNED
        self._told = 0
        self._by_magnitude: list[dict[Holder, None]] = [{} for _ in range(64)]

    def note(self, holder: Holder, held: int) -> None:
        """What a client holds now. Clients are disconnected, perhaps this one, until all is within the limit."""
        self._put(holder, held)
        while self.total > self.limit:
            self._evict()

    def _put(self, holder: Holder, held: int) -> None:
        before, holder.held = holder.held, held
        self.total += held - before
        old, new = before.bit_length(), held.bit_length()
        if old != new:
            if old:
                del self._by_magnitude[old][holder]
            if new:
                self._by_magnitude[new][holder] = None

    def _evict(self) -> None:
        holder = next(next(iter(holders)) for holders in reversed(self._by_magnitude) if holders)
        held, total = holder.held, self.total
        self._put(holder, 0)  # at once: it is gone when its task has run
        self.evicted += 1
        holder.evict()
        now = self._clock()
        if now - self._warned >= WARNED:
            log.warning(
                "clients held %d bytes, and MINI_REDIS_CLIENTS_MB allows no more than %d: disconnected the largest, "
                "which held %d. Since the last warning: %d",
                total,
                self.limit,
                held,
                self.evicted - self._told,
            )
            self._warned, self._told = now, self.evicted
