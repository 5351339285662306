"""What may be tried again, when, and how often: decisions only.

This file owns them. It waits for nothing and sends nothing, and it knows no deadline: who waits does.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from trivet.errors import RegistrationError

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2. Others may have been done although no answer came: doing them again could be doing twice."""

KEY: Final = "idempotency-key"
"""The field with which who calls asks for once, however often it is sent (draft-ietf-httpapi-idempotency-key-header):
made for calls that are sent again. Go's net/http takes it for the same."""

STATUSES: Final = frozenset({502, 503, 504})
"""Somebody on the way could not do it now. A 500 is a bug, which would be there the next time as well."""

_FAILURES: Final = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ProxyError)
"""No connection, or one that broke; an upstream that restarts closes the connections of the pool."""

_TIMEOUTS: Final = (httpx.ConnectTimeout, httpx.ReadTimeout, httpx.WriteTimeout)
"""Time that was said to be enough for one attempt. Not `PoolTimeout`: we have too many requests of our own already."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a `Client` tries an idempotent call again, as far as the deadline allows.

    The pause before an attempt is a random one, between nothing and a bound that doubles each time ("full jitter", M.
    Brooker, "Exponential Backoff And Jitter", 2015): whoever failed together does not come back together. A
    `Retry-After` is waited for on top of it.

    Each origin has a budget, as Finagle's and gRPC's clients have: it starts with `reserve` retries, each retry takes
    one, each call brings `ratio` of one back, up to `reserve`. So an upstream that fails altogether gets `1 + ratio`
    times its load in the long run, not `attempts` times.

    Args:
        attempts: how often a call is made at most, the first time included.
        pause: seconds; the bound of the first pause.
        longest: seconds; no bound becomes larger, and a `Retry-After` beyond it is not waited for.
        ratio: retries for each call, in the long run.
        reserve: retries that may be made at once.
        statuses: responses that are worth another attempt.
        random: a number from 0 to 1, anew each time.

    Raises:
        RegistrationError: an argument is not what it should be.
    """

    attempts: int = 3
    pause: float = 0.05
    longest: float = 5.0
    ratio: float = 0.2
    reserve: float = 10.0
    statuses: frozenset[int] = STATUSES
    random: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise RegistrationError(
                f"attempts={self.attempts!r} is not a number of attempts, of which the first is one.\n"
                "Write  Retry(attempts=3), or  Client(retry=None) to try once."
            )
        for name in ("pause", "longest", "ratio", "reserve"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                default = type(self).__dataclass_fields__[name].default
                raise RegistrationError(f"{name}={value!r} is not a number from 0 on.\nWrite  Retry({name}={default})")

    def wait(self, attempt: int, asked: float = 0.0) -> float | None:
        """Seconds until the next attempt; `None`: there is none.

        Args:
            attempt: how many there have been.
            asked: what a `Retry-After` says, in seconds.
        """
        if attempt >= self.attempts or asked > self.longest:
            return None
        bound = min(self.longest, self.pause * 2.0 ** min(attempt - 1, 60))
        return asked + self.random() * bound

    def wants(self, outcome: httpx.Response | httpx.HTTPError) -> bool:
        """Whether another attempt may end better than this one has."""
        if isinstance(outcome, httpx.Response):
            return outcome.status_code in self.statuses
        return isinstance(outcome, _FAILURES + _TIMEOUTS)


def repeatable(request: httpx.Request) -> bool:
    """Whether it can be made twice: it is idempotent, by its method or its key, and its body is still there."""
    # Else it streams, and what has been sent is gone. `content` is not asked: it is not there after a redirect.
    once = request.method in IDEMPOTENT or request.headers.get(KEY, "").strip() != ""
    return once and isinstance(request.stream, httpx.ByteStream)


def asked_to_wait(outcome: httpx.Response | httpx.HTTPError) -> float:
    """Seconds of a `Retry-After` (RFC 9110 section 10.2.3); 0: there is none, or it says nothing."""
    text = outcome.headers.get("retry-after", "").strip() if isinstance(outcome, httpx.Response) else ""
    if text.isascii() and text.isdigit():
        return float(text) if len(text) < 10 else math.inf
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter is undocumented: of numbers that fit no C integer
        return 0.0
    if until.tzinfo is None:  # "-0000", which no HTTP date says
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
