"""How long a shutdown waits for what may end by itself, and that its waits can be skipped.

This file owns that one decision, for all that waits in turn while an application is left: background tasks, then
services. Who waits, for whom and how long, it does not know; nor what makes somebody lose patience, which is a second
signal as a rule.
"""

from __future__ import annotations

from typing import final

import trio


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

    def within(self, seconds: float) -> trio.CancelScope:
        """The scope to wait in, for so many seconds at most."""
        self._scope = trio.CancelScope(deadline=trio.current_time() + (0.0 if self._lost else seconds))
        return self._scope
