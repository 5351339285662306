"""What calls earn and second tries cost: a bucket of tokens.

This file owns the arithmetic, and knows neither calls nor clocks: what may be spent depends on how much is called, not
on how much time goes by, so that the share is kept under any load. gRPC's retry throttling (gRFC A6) and Finagle's
RetryBudget are such buckets. What is a second try, `trivet.contrib.client` and `trivet.contrib.concurrency` each know
for themselves.
"""

from __future__ import annotations


class Tokens:
    """A bucket that is full at the beginning.

    Args:
        share: tokens that each call brings.
        most: tokens that it holds; what would be more than that is lost, or a long time without trouble would pay for a
            storm of second tries.
    """

    __slots__ = ("_most", "_share", "_there")

    def __init__(self, share: float, most: float) -> None:
        self._share = share
        self._most = self._there = most

    def earn(self) -> None:
        """There was a call."""
        self._there = min(self._most, self._there + self._share)

    def spend(self) -> bool:
        """Take one out, if there is one."""
        # Ten times 0.1 is a little less than 1 in binary.
        if self._there < 1 - 1e-9:
            return False
        self._there -= 1
        return True
