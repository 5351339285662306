"""What happened on one side: the two applications write it, and a visitor reads what the client who left could not."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

STEP: Final = 1.0
"""Seconds between charging a card and recording the order."""

RELEASE: Final = 0.1
"""Seconds that giving back a lease takes: it talks to somebody, so it has to wait."""


class Ledger:
    """The last things that happened, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[str] = deque(maxlen=50)

    def note(self, entry: str) -> None:
        """Something happened."""
        self._entries.append(entry)

    @property
    def entries(self) -> list[str]:
        """What happened."""
        return list(self._entries)

    def clear(self) -> None:
        """Forget it."""
        self._entries.clear()

    async def release(self) -> None:
        """Give a lease back: clean-up that waits, as that of a transaction or a lock on another machine does."""
        await trio.sleep(RELEASE)
        self.note("lease given back")
