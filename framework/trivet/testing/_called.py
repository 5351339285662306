"""The application's call, as a test sees it: whether it is over, what escaped it, which rule it broke.

This file owns that view, which a request and a WebSocket share. What goes over either is not known here.
"""

from __future__ import annotations

from typing import Protocol

import trio

from ._rules import ProtocolViolation


class Call(Protocol):
    """A connection, as far as it knows of the application's call."""

    returned: trio.Event
    error: Exception | None
    violation: ProtocolViolation | None
    reported: bool


class Called:
    """What an exchange and a WebSocket have in common."""

    @property
    def _call(self) -> Call:
        raise NotImplementedError

    @property
    def returned(self) -> bool:
        """Whether the application's call is over."""
        return self._call.returned.is_set()

    async def wait_returned(self) -> None:
        """Wait until the application's call is over."""
        await self._call.returned.wait()

    @property
    def error(self) -> Exception | None:
        """What escaped the application, if its call is over. Looking at it counts as having seen it."""
        self._call.reported = True
        return self._call.error

    def _raise_violation(self) -> None:
        violation = self._call.violation
        if violation is not None and not self._call.reported:
            self._call.reported = True
            raise violation
