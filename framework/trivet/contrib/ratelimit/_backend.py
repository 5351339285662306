"""What keeps the buckets: the protocol by which another store than this process's memory is used.

This file owns the protocol only.
"""

from __future__ import annotations

from typing import Protocol

from ._gcra import Decision, Quota


class Backend(Protocol):
    """Where buckets are kept. `MemoryBackend` keeps them in this process; one behind several workers shares them.

    Two calls for one key must not come between each other's reading and writing: in Redis, a script or a transaction
    around what `take` computes. One that has to be connected first has an attribute `connected`: a provider, which each
    application that has the limit enters with the scope `"app"`.
    """

    async def take(self, key: str, quota: Quota, now: float) -> Decision:
        """Take one token out of the bucket of `key`, if there is one.

        Args:
            key: whose bucket; at most 64 characters. Each quota has one of its own for it: tell them apart by
                `quota.bucket`, not by the name, which is the same for all that nobody has named.
            quota: its size and rate.
            now: seconds on Trio's clock, which is this process's own. A shared store has a clock of its own to use.

        Raises:
            Exception: the store failed, or has a bug, which the log tells apart; the limit's `on_failure` decides, as
                it does if no `Decision` is returned. An attribute `retry_after` of it, in seconds, is what clients are
                told who are refused for that.

        Cancellation: the request is going to be cancelled; whether the token is taken does not matter.
        """
        ...
