"""Four ways to ask several services for one page: one by one, side by side, with second tries, what is there in time.

This file owns the ways, and what each of them does about services in trouble. It does not know how a service is called.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Literal, TypeAlias

import httpx

from trivet.contrib.concurrency import HedgeBudget, Partial, hedged, partial_after, partial_at

AFTER: Final = 0.4
"""Seconds after which a call gets a second try: longer than the services take when they are well."""
IN_TIME: Final = 0.8
"""Seconds that a visitor waits for the page of the last way, whatever the services do."""

Name: TypeAlias = Literal["sequential", "parallel", "hedged", "partial"]
Fetch: TypeAlias = Callable[[str], Awaitable[str]]
Page: TypeAlias = Partial[str, str]


async def sequential(fetch: Fetch, parts: Sequence[str]) -> Page:
    """One after the other: it takes as long as all of them together."""
    results: dict[str, str] = {}
    failed: dict[str, Exception] = {}
    for part in parts:
        try:
            results[part] = await fetch(part)
        except httpx.HTTPError as error:
            failed[part] = error
    return Partial(results, failed, ())


async def parallel(fetch: Fetch, parts: Sequence[str]) -> Page:
    """All at once: it takes as long as the slowest."""
    return await partial_at(math.inf, {part: partial(fetch, part) for part in parts})


class SecondTries:
    """The two ways that ask once more for what is late.

    Each service has a budget of its own, for as long as the application runs. Of the calls here most are late, which is
    what the page is about, so that it allows a second try for each; a real service's would be a twentieth.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self.budgets = {part: HedgeBudget(share=1.0, burst=10) for part in parts}

    async def hedged(self, fetch: Fetch, parts: Sequence[str]) -> Page:
        """All at once, and what is late once more: it takes as long as the slowest, of two tries the faster."""
        return await partial_at(math.inf, {part: partial(self._once_more, fetch, part) for part in parts})

    async def partial(self, fetch: Fetch, parts: Sequence[str]) -> Page:
        """The same, and what is not there in time is left out: it never takes longer than that."""
        return await partial_after(IN_TIME, {part: partial(self._once_more, fetch, part) for part in parts})

    async def _once_more(self, fetch: Fetch, part: str) -> str:
        return await hedged(fetch, part, after=AFTER, budget=self.budgets[part])
