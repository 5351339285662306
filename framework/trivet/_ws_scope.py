"""When a WebSocket's handler is stopped: the times of the handshake, of silence, and after the close.

This file owns those three. Stopping itself is `_scope`'s, whose one armed scope serves as the timer: its deadline is
moved, so that a WebSocket needs no task of its own, however long it is idle.
"""

from __future__ import annotations

from math import inf
from typing import Final

import trio

from ._leaving import Log
from ._scope import RequestScope
from .asgi import Reason

SLACK: Final = 16
"""Into how many parts the idle timeout is divided: the timer is moved once in each, not with each message, and passes
up to one part late."""


class SocketScope(RequestScope):
    """The scope of one WebSocket. Up to its acceptance it is that of any request.

    Args:
        deadline: when it must have been accepted, on Trio's clock.
        grace: seconds that each dependency has once it is ending, and that the handler has once it is closed.
        log: as of `RequestScope`.
    """

    __slots__ = ("_due_for", "_idle", "_moved", "watches_silence")

    watches_silence: bool
    """Whether it wants to be told of messages."""

    def __init__(self, deadline: float, grace: float, log: Log) -> None:
        super().__init__(deadline, grace, log)
        # What the deadline stands for.
        self._due_for: Reason = "deadline"
        # Seconds; infinite: silence ends nothing.
        self._idle = inf
        self._moved = 0.0
        self.watches_silence = False

    def accepted(self, idle_timeout: float | None) -> None:
        """The handshake is over, and with it the time for it; from now on silence counts."""
        if self._due_for != "disconnected":  # else it was closed meanwhile
            # A part more than was asked for, as the timer may be a part behind the last message.
            self._idle = inf if idle_timeout is None else idle_timeout * (1 + 1 / SLACK)
            self.watches_silence = idle_timeout is not None
            self._move(trio.current_time() + self._idle)

    def active(self) -> None:
        """A message came or went. To be called if `watches_silence`."""
        now = trio.current_time()
        if now - self._moved >= self._idle / (SLACK + 1):
            self._move(now + self._idle)

    def closed(self) -> None:
        """It is closed, by whichever side: what still runs has the grace to end by itself."""
        self.watches_silence = False
        self._due_for = "disconnected"
        self._move(trio.current_time() + self.grace)

    def _move(self, deadline: float) -> None:
        self._moved = trio.current_time()
        self.deadline = deadline
        if self.armed is not None:
            self.armed.deadline = deadline

    @property
    def ending(self) -> Reason | None:
        """The reason, also while what its deadline has cancelled is not over."""
        if self.reason is None and self.armed is not None and self.armed.cancel_called:
            return self._due_for
        return self.reason

    def note_deadline(self) -> None:
        """See `RequestScope`."""
        if self.reason is None:
            self.reason = self._due_for
