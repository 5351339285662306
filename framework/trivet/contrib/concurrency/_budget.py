"""How many second tries there may be: a budget that calls share.

This file owns what it is given, and what it tells of itself; it knows no calls. The arithmetic is `_tokens`'s.
"""

from __future__ import annotations

from trivet.contrib._tokens import Tokens


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

    __slots__ = ("_tokens", "calls", "hedges", "refused")

    def __init__(self, *, share: float = 0.05, burst: int = 10) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share={share!r} is not a share of calls, above 0 and up to 1.\nWrite  share=0.05")
        if isinstance(burst, bool) or not isinstance(burst, int) or burst < 1:
            raise ValueError(f"burst={burst!r} is not a whole number from 1 on.\nWrite  burst=10")
        self._tokens = Tokens(share, burst)
        self.calls = 0
        """How many calls there have been."""
        self.hedges = 0
        """How many had a second try."""
        self.refused = 0
        """How many would have had one, but the budget was spent."""

    def earn(self) -> None:
        """Count a call."""
        self.calls += 1
        self._tokens.earn()

    def spend(self) -> bool:
        """Take a token for a second try, if there is one."""
        spent = self._tokens.spend()
        if spent:
            self.hedges += 1
        else:
            self.refused += 1
        return spent
