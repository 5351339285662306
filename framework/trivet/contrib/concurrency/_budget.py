"""How many second tries there may be: a budget that calls share.

This file owns the arithmetic, and knows neither calls nor clocks: what may be spent depends on how much is called, not
on how much time goes by, so that the share is kept under any load.
"""

from __future__ import annotations


class HedgeBudget:
    """Bounds the second tries of all calls that are given it: `hedged(..., budget=budget)`.

    A bucket of tokens, as gRPC's retry throttling has it (gRFC A6) and Finagle's RetryBudget: each call puts `share` of
    a token into it, and each second try takes one out. When the service behind is slow as a whole, every call would
    like a second try, and these would double its load just then; so after `burst` of them there is one for every
    `1 / share` calls.

    Make one for each service that is called, for the life of the application.

    Args:
        share: of calls, how many may have a second try in the long run: Dean and Barroso ("The Tail at Scale", 2013)
            found 5 % to be enough when the second try comes after the 95th percentile.
        burst: how many at once. That many there are at the beginning, too.

    Raises:
        ValueError: an argument makes no sense.
    """

    __slots__ = ("_burst", "_share", "_tokens", "calls", "hedges", "refused")

    def __init__(self, *, share: float = 0.05, burst: int = 10) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share={share!r} is not a share of calls, above 0 and up to 1.\nWrite  share=0.05")
        if isinstance(burst, bool) or not isinstance(burst, int) or burst < 1:
            raise ValueError(f"burst={burst!r} is not a whole number from 1 on.\nWrite  burst=10")
        self._share = share
        self._burst = float(burst)
        self._tokens = float(burst)
        self.calls = 0
        """How many calls there have been."""
        self.hedges = 0
        """How many had a second try."""
        self.refused = 0
        """How many would have had one, but the budget was spent."""

    def earn(self) -> None:
        """Count a call."""
        self.calls += 1
        self._tokens = min(self._burst, self._tokens + self._share)

    def spend(self) -> bool:
        """Take a token for a second try, if there is one."""
        # Ten times 0.1 is a little less than 1 in binary.
        if self._tokens < 1 - 1e-9:
            self.refused += 1
            return False
        self._tokens -= 1
        self.hedges += 1
        return True
