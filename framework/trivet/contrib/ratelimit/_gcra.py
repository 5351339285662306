"""The token bucket, as the generic cell rate algorithm: plain arithmetic on one number.

This file owns who is admitted. A bucket of `burst` tokens that is refilled at `requests / per` a second is usually kept
as two numbers, how many tokens there are and since when. GCRA (ITU-T I.371) keeps one that says the same, the
theoretical arrival time: when the bucket will be full again. One number is half the memory; it is in itself the time
from which on the key can be forgotten; it can be changed by one command or a short script in Redis; and nothing is
added up, so that nothing drifts. A window that is counted and reset admits twice its quota around the reset; this
never does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from trivet.errors import RegistrationError

_LARGEST = 10**15 - 1
"""RFC 9651 section 3.3.1."""

_WRITE = (
    "Write  RateLimit(100, per=60)  for a hundred requests a minute, or  RateLimit(100, per=60, burst=10)  for no more "
    "than ten of them at once."
)

_KEY = frozenset(map(chr, range(0x20, 0x7F))) - {'"', "\\"}


@dataclass(frozen=True)
class Quota:
    """How much is admitted: never more than `burst + t * requests / per` in any `t` seconds.

    Args:
        name: what clients know it by.
        requests: how many, in the long run,
        per: in so many seconds, a whole number, which is what `RateLimit-Policy` can say.
        burst: how many at once, after a pause.
    """

    name: str
    requests: int
    per: int
    burst: int
    interval: float = field(init=False, repr=False, compare=False)
    """Seconds in which one more is admitted."""
    bucket: str = field(init=False, repr=False, compare=False)
    """What tells its buckets from those of others in one backend: its name and its size, in visible characters, and no
    two are written alike. The name alone does not do: a wide quota takes a bucket that a narrow one has emptied for a
    full one, so that of two limits that nobody has named the stricter would hold nobody back."""

    def __post_init__(self) -> None:
        for name in ("requests", "per", "burst"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise RegistrationError(f"{name}={value!r} is not a whole number from 1 on.\n{_WRITE}")
            if value > _LARGEST:
                raise RegistrationError(
                    f"{name} has more than the 15 digits that a number in a field may have.\n{_WRITE}"
                )
        if not self.name or not _KEY.issuperset(self.name):
            raise RegistrationError(
                f"name={self.name!r} cannot be sent in RateLimit-Policy: a name has printable ASCII without quotes and "
                'backslashes.\nWrite  RateLimit(100, per=60, name="search")'
            )
        object.__setattr__(self, "interval", self.per / self.requests)
        object.__setattr__(self, "bucket", f'"{self.name}";q={self.requests};w={self.per};b={self.burst}')


class Decision(NamedTuple):
    """What became of one request."""

    admitted: bool
    remaining: int
    """How many more would be admitted now."""
    wait: float
    """Seconds until one more is admitted than now: when `remaining` is 0, until any is."""


def take(full_at: float | None, quota: Quota, now: float) -> tuple[float, Decision]:
    """Take one token, if there is one.

    Args:
        full_at: when the bucket is full again, as the last call returned it; `None`: nobody has taken anything. What
            no bucket of this quota can say comes from another clock (Trio's begins anew in each run) or another quota,
            and counts for nothing: else whoever it belongs to would be refused for as long as the two are apart.
        quota: the bucket's.
        now: seconds, on the same clock.

    Returns:
        When the bucket is full again, and the decision. A refusal changes nothing: who keeps knocking does not wait
        longer.
    """
    interval, burst = quota.interval, quota.burst
    full_at = now if full_at is None else max(full_at, now)
    after = (full_at - now) / interval + 1  # tokens that would be missing, in fractions
    # A client that waits exactly as long as it was told must not be refused for the last bits of a float, of which
    # there are fewer to spare on a clock that counts from 1970.
    slack = 4 * math.ulp(full_at) / interval + _ROUNDING
    if after > burst + 1 + 2 * slack:
        return take(None, quota, now)
    if after > burst + slack:
        return full_at, Decision(False, 0, max(0.0, full_at - (burst - 1) * interval - now))
    full_at += interval
    # Slack is more than a token where there are more of them in a second than a clock that counts from 1970 can tell.
    remaining = min(burst - 1, math.floor(burst - min(after, burst) + slack))
    return full_at, Decision(True, remaining, max(0.0, full_at - (burst - remaining - 1) * interval - now))


_ROUNDING = 1e-9
"""Of a token."""
