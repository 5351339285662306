"""What callers are told while Redis cannot be reached, and when it is tried again.

This file owns both. It knows no connection.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import cast

from coredis.exceptions import AuthenticationError, AuthenticationRequiredError, ResponseError

from trivet import HTTPError


class RedisAway(HTTPError):
    """Redis cannot be reached, has not answered in time or with what no Redis would say, or refuses now what it may do
    later: it has no memory left, is busy with a script, is a replica and was to write. If it escapes a handler the
    answer is 503.

    Whether a command that was on its way has been carried out is not known.

    Args:
        place: where it was looked for.
        why: what is known, in one line; for logs, not for clients.
        retry_after: seconds after which it makes sense to ask again.
    """

    def __init__(self, place: str, why: str, retry_after: float = 0.0) -> None:
        seconds = str(max(1, math.ceil(retry_after)))
        super().__init__(503, "What this needs is away.", headers={"retry-after": seconds})
        self.place = place
        self.why = why
        self.retry_after = max(0.0, retry_after)

    def __str__(self) -> str:
        return f"Redis at {self.place} is away: {self.why}"


class Backoff:
    """The pauses between attempts that fail: each drawn evenly from 0 to a bound that doubles ("full jitter" of Marc
    Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). Processes that lost one Redis together do
    not come back together.

    Args:
        first: seconds; the first bound.
        longest: seconds; no bound becomes larger.
        chance: gives a number from 0 to 1, as `random.random` does.
    """

    def __init__(self, first: float, longest: float, chance: Callable[[], float]) -> None:
        self._first = first
        self._longest = longest
        self._chance = chance
        self._failed = 0

    def pause(self) -> float:
        """Seconds until the next attempt."""
        bound = min(self._longest, self._first * 2.0 ** min(self._failed, 1000))
        self._failed += 1
        return self._chance() * bound

    def reset(self) -> None:
        """Begin anew: it has gone well."""
        self._failed = 0


class Complaints:
    """What goes wrong again and again is one line in the log, until it goes well or something else is wrong.

    Args:
        log: where to.
        place: of the Redis.
    """

    def __init__(self, log: logging.Logger, place: str) -> None:
        self._log = log
        self._place = place
        self._last = ""

    def say(self, level: int, what: str) -> None:
        """Say it, unless it was the last that was said."""
        if what != self._last:
            self._last = what
            self._log.log(level, "Redis at %s: %s", self._place, what)

    def reset(self) -> None:
        """It has gone well."""
        self._last = ""


def why(error: BaseException | None) -> str:
    """What it comes down to, in one line: of the errors that it was raised from, the first one that says anything."""
    said = "the connection was lost"
    while error is not None:
        if str(error):
            said = _refused(error) or f"{type(error).__name__}: {error}".partition("\n")[0]
        if isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        else:
            error = error.__cause__
    return said


def _refused(error: BaseException) -> str:
    """What is wrong in the URL, if Redis is there and refuses us for it: nobody should look for an outage then."""
    if isinstance(error, AuthenticationRequiredError):
        return "it answers, and wants a password, which the URL does not have: redis://:password@host"
    if isinstance(error, AuthenticationError):
        return f"it answers, and refuses the user or the password of the URL: {error}"
    if isinstance(error, ResponseError) and "DB index" in str(error):
        return f"it answers, and does not have the database of the URL, redis://host/database: {error}"
    return ""
