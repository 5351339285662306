"""Where sessions are: what a cookie in the browser and a store on the server have in common.

This file owns that protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ._record import Record


@dataclass(frozen=True, slots=True)
class Found:
    """A session that came with a request; whether its time is over nobody has looked yet."""

    value: str
    """The cookie's."""
    record: Record
    stale: bool = False
    """Signed with a key that is not used any more."""


class Keeper(Protocol):
    """Where sessions are."""

    async def find(self, value: str) -> Found | None:
        """What a cookie's value stands for; `None`: nothing, for whatever reason.

        Raises:
            HTTPError: 503, the store does not answer.
        """
        ...

    async def keep(self, record: Record, ttl: float, value: str | None) -> str | None:
        """Keep it.

        Args:
            record: what to keep.
            ttl: seconds.
            value: of the cookie that it came with, whose place it takes; `None`: it is a new one.

        Returns:
            The cookie's value from now on; `None`: what it should take the place of is not there any more.

        Raises:
            SessionError: it is too large.
            HTTPError: 503, the store does not answer.
        """
        ...

    async def extend(self, found: Found, record: Record, ttl: float) -> str | None:
        """Keep it for longer: its contents are what they were.

        Args:
            found: as it came with the request.
            record: the same, used now.
            ttl: seconds.

        Returns:
            The cookie's value from now on; `None`: another request has written it since, which counts as well, or
            ended it.

        Raises:
            HTTPError: 503, the store does not answer.
        """
        ...

    async def forget(self, value: str) -> bool:
        """Forget what this cookie stands for.

        Returns:
            Whether nobody else has done so before, as far as can be told.

        Raises:
            HTTPError: 503, the store does not answer.
        """
        ...
