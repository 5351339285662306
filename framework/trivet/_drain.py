"""Who is ended as soon as the server drains. This file owns that list, and the one task that waits for the drain.

A WebSocket may be open for days, and nothing else would end it in time. A task of its own for each, to wait for a
moment that is the same for all, would cost as much as the rest of it. So it is noted here, for the price of one
`set.add` and one `set.discard`. What a drain means to whom it is told is not known here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, final

import trio

from .asgi import Notice

Told: TypeAlias = Callable[[], object]
"""Called when the drain begins: at most once, synchronously, from any task. It may not fail."""


@final
class Drain:
    """The drain of one application, as those see it that it ends."""

    __slots__ = ("_present", "notice")

    _present: set[Told]

    notice: Notice | None
    """What is waited for; `None`: nothing is, for the application has no lifespan."""

    def __init__(self) -> None:
        self._present = set()
        self.notice = None

    def add(self, told: Told) -> None:
        """Note who is to be told. Whether it has begun already is to be asked of the notice."""
        self._present.add(told)

    def discard(self, told: Told) -> None:
        """It is over, and need not be told any more."""
        self._present.discard(told)

    @asynccontextmanager
    async def awaited(self, notice: Notice) -> AsyncGenerator[None]:
        """Wait for the drain while the body runs: for the application's life."""
        self.notice = notice
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait, notice)
                yield
                nursery.cancel_scope.cancel()
        finally:
            self.notice = None

    async def _wait(self, notice: Notice) -> None:
        await notice.wait()
        for told in list(self._present):
            told()
