"""How long a shutdown waits for what may end by itself, that it says for whom, and that its waits can be skipped.

This file owns that one decision, for all that waits in turn while an application is left: background tasks, then
services. Who waits, for whom and how long, it is told; nor does it know what makes somebody lose patience, which is a
second signal as a rule.
"""

from __future__ import annotations

import logging
from typing import final

import trio

log = logging.getLogger("trivet")


@final
class Patience:
    """How long a shutdown waits for what may end by itself: not at all once somebody is out of patience."""

    __slots__ = ("_lost", "_scope")

    def __init__(self) -> None:
        self._lost = False
        self._scope: trio.CancelScope | None = None

    def lose(self, _: object = None) -> None:
        """Skip the wait, and all that follow; what is given does not matter, so that a `Link` can call it."""
        self._lost = True
        if self._scope is not None:
            self._scope.cancel()

    def within(self, seconds: float, whom: str) -> trio.CancelScope:
        """The scope to wait in, for so many seconds at most; a stop that takes long is a riddle if nobody says why."""
        if seconds and not self._lost:
            log.info("waiting up to %g s for %s", seconds, whom)
        self._scope = trio.CancelScope(deadline=trio.current_time() + (0.0 if self._lost else seconds))
        return self._scope
