"""The token bucket, its store and the client's address, without an application."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import Golden
from trivet import Request
from trivet._describe import description_of
from trivet.contrib.ratelimit import ClientAddress, Decision, MemoryBackend, Quota, RateLimit, take
from trivet.contrib.redis import Redis, RedisBuckets
from trivet.errors import RegistrationError

QUOTAS = st.builds(
    Quota, st.just("q"), requests=st.integers(1, 1000), per=st.integers(1, 3600), burst=st.integers(1, 1000)
)
GAPS = st.lists(st.floats(0, 1000, allow_nan=False) | st.just(0.0), min_size=1, max_size=60)


class SlowBucket:
    """The obvious reference: tokens, and when they were counted."""

    def __init__(self, quota: Quota) -> None:
        self.rate = quota.requests / quota.per
        self.burst = quota.burst
        self.tokens = float(quota.burst)
        self.at = 0.0

    def take(self, now: float) -> float:
        """How many tokens there are before this one is taken."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        before = self.tokens
        if before >= 1 - 1e-6:
            self.tokens -= 1
        return before


def test_no_more_remain_than_there_are() -> None:
    """Also of a quota whose tokens come faster than a clock that counts from 1970 can tell apart."""
    quota = Quota("q", requests=10**15 - 1, per=1, burst=2)
    full_at, first = take(None, quota, 1.7e9)
    assert first.remaining == 1
    assert take(full_at, quota, 1.7e9)[1].remaining <= 1


@given(QUOTAS, GAPS)
def test_it_is_a_token_bucket(quota: Quota, gaps: list[float]) -> None:
    """Whom it admits, and how many more it would, is what a bucket of tokens says, up to rounding."""
    slow = SlowBucket(quota)
    full_at: float | None = None
    now = 0.0
    for gap in gaps:
        now += gap
        tokens = slow.take(now)
        full_at, decision = take(full_at, quota, now)
        if abs(tokens - round(tokens)) < 1e-6:  # on the edge of a whole token the two may round differently
            assert abs(decision.admitted + decision.remaining - round(tokens)) <= 1
            slow.tokens = tokens - 1 if decision.admitted else tokens
        else:
            assert decision.admitted == (tokens >= 1)
            assert decision.remaining == (math.floor(tokens - 1) if decision.admitted else 0)


@given(QUOTAS, GAPS)
def test_never_more_than_burst_and_rate_in_any_window(quota: Quota, gaps: list[float]) -> None:
    """Between any two admissions, both counted, there are at most `burst + t * requests / per`."""
    admitted: list[float] = []
    full_at: float | None = None
    now = 0.0
    for gap in gaps:
        now += gap * quota.interval / 100
        for _ in range(3):
            full_at, decision = take(full_at, quota, now)
            if decision.admitted:
                admitted.append(now)
    for start in range(len(admitted)):
        for end in range(start, len(admitted)):
            allowed = quota.burst + (admitted[end] - admitted[start]) * quota.requests / quota.per
            assert end - start + 1 <= allowed + 1e-6


@given(QUOTAS, GAPS)
def test_who_waits_as_told_is_admitted(quota: Quota, gaps: list[float]) -> None:
    """`wait` is when there is one more: exactly then, and not much earlier."""
    full_at: float | None = None
    now = 0.0
    for gap in gaps:
        now += gap
        full_at, decision = take(full_at, quota, now)
        later = take(full_at, quota, now + decision.wait)[1]
        assert later.admitted
        assert later.remaining == decision.remaining
        early = take(full_at, quota, now + decision.wait * 0.99)[1] if decision.wait > 1e-3 else None
        if early is not None:
            assert early.admitted + early.remaining == decision.remaining


@pytest.mark.parametrize("start", [0.0, 123_456.789, 1.8e9])
@pytest.mark.parametrize("requests", [3, 7, 1000])
def test_the_last_bit_of_a_float_refuses_nobody(start: float, requests: int) -> None:
    """Who waits as long as it was told is admitted each time, on a clock that began in 1970 too."""
    quota = Quota("q", requests=requests, per=1, burst=3)
    full_at: float | None = None
    now = start
    for _ in range(3):
        full_at, _ = take(full_at, quota, now)
    for _ in range(2000):
        full_at, refused = take(full_at, quota, now)
        assert not refused.admitted
        now += refused.wait
        full_at, admitted = take(full_at, quota, now)
        assert admitted.admitted
        assert admitted.remaining == 0


@given(QUOTAS, st.floats(0, 1e6), st.floats(0, 1e6))
def test_what_another_clock_has_counted_locks_nobody_out(quota: Quota, then: float, now: float) -> None:
    """Trio's clock begins anew in each run: a bucket that would be full later than any can be has not been used."""
    full_at = then + quota.burst * quota.interval  # nothing is left of it
    _, decision = take(full_at, quota, now)
    assert decision.wait <= (quota.burst + 1) * quota.interval
    if full_at > now + (quota.burst + 1) * quota.interval:
        assert (decision.admitted, decision.remaining) == (True, quota.burst - 1)


def test_a_refusal_costs_nothing() -> None:
    """Who keeps knocking is admitted as soon as who waits."""
    quota = Quota("q", requests=1, per=10, burst=1)
    full_at, _ = take(None, quota, 0.0)
    for now in range(1, 10):
        full_at, decision = take(full_at, quota, float(now))
        assert decision == Decision(False, 0, 10.0 - now)
    assert take(full_at, quota, 10.0)[1].admitted


# ---- the store

ONE = Quota("one", requests=1, per=10, burst=1)
TEN = Quota("ten", requests=10, per=10, burst=10)


async def test_buckets_of_keys_and_quotas_are_their_own() -> None:
    """What one key has used up another has not, nor the same key under another quota."""
    backend = MemoryBackend()
    assert (await backend.take("a", ONE, 0)).admitted
    assert not (await backend.take("a", ONE, 0)).admitted
    assert (await backend.take("b", ONE, 0)).admitted
    assert (await backend.take("a", TEN, 0)).admitted


@pytest.mark.parametrize("other", [Quota("one", 10, 10, 1), Quota("one", 1, 20, 1), Quota("one", 1, 10, 2)])
async def test_quotas_of_one_name_do_not_undo_each_other(other: Quota) -> None:
    """A bucket that a narrow quota has emptied is not full again because another quota of that name looked at it."""
    backend = MemoryBackend()
    assert (await backend.take("a", ONE, 0)).admitted
    for _ in range(3):
        await backend.take("a", other, 0)
        assert not (await backend.take("a", ONE, 0)).admitted


async def test_many_keys_take_bounded_memory() -> None:
    """However many keys come, no more than `max_keys` are kept, and one record for each."""
    backend = MemoryBackend(max_keys=100)
    for number in range(20_000):
        assert (await backend.take(str(number % 5000), TEN, number / 1000)).admitted
        assert len(backend) <= 100
        assert len(backend._records) == len(backend._full_at)


async def test_full_buckets_are_forgotten_as_others_are_used() -> None:
    """No task cleans up: each request forgets up to two buckets that are full again."""
    backend = MemoryBackend()
    for number in range(1000):
        await backend.take(str(number), ONE, 0)
    assert len(backend) == 1000
    for _ in range(600):
        await backend.take("x", ONE, 1000)
    assert len(backend) == 1


async def test_full_buckets_are_forgotten_first_then_the_fullest() -> None:
    """A key that has used up its bucket is remembered, whatever many others ask."""
    backend = MemoryBackend(max_keys=4)
    for _ in range(10):
        assert (await backend.take("greedy", TEN, 0)).admitted  # full again at 10
    for key in ("a", "b", "c"):
        await backend.take(key, TEN, 0)  # at 1
    await backend.take("d", TEN, 0.5)
    assert len(backend) == 4
    assert not (await backend.take("greedy", TEN, 0.5)).admitted
    for number in range(1000):  # a client with many addresses
        await backend.take(f"flood {number}", TEN, 0.5)
    assert not (await backend.take("greedy", TEN, 0.5)).admitted


async def test_a_bucket_that_is_used_again_is_not_forgotten_for_its_old_record() -> None:
    """Records are lower bounds: they are brought up to date before anything is forgotten."""
    backend = MemoryBackend(max_keys=2)
    await backend.take("a", TEN, 0)  # recorded as full at 1
    for _ in range(9):
        await backend.take("a", TEN, 0)  # now at 10
    await backend.take("b", TEN, 0)  # at 1
    await backend.take("c", TEN, 0)  # there is no room: b is fuller than a
    assert not (await backend.take("a", TEN, 0)).admitted
    # There is room, and at 5 the record of `a` has passed; but its bucket is not full.
    roomy = MemoryBackend()
    for _ in range(10):
        await roomy.take("a", TEN, 0)
    await roomy.take("b", TEN, 5)
    assert (await roomy.take("a", TEN, 5)).remaining == 4


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, 3)), max_size=200))
def test_a_store_with_room_never_forgets(steps: list[tuple[int, float]]) -> None:
    """With room for all keys, each has the decisions that its own bucket gives."""

    async def main() -> None:
        backend = MemoryBackend(max_keys=13)
        alone: dict[int, float] = {}
        now = 0.0
        for key, gap in steps:
            now += gap
            alone[key], expected = take(alone.get(key), TEN, now)
            assert await backend.take(str(key), TEN, now) == expected

    trio.run(main)


# ---- the client's address

ADDRESSES: list[tuple[ClientAddress, str | None, str]] = [
    (ClientAddress(), "192.0.2.1", "192.0.2.1"),
    (ClientAddress(), None, "unix"),
    (ClientAddress(), "testclient", "testclient"),
    # An IPv6 client is its network; an IPv4 address within IPv6 is what it is.
    (ClientAddress(), "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    (ClientAddress(ipv6_prefix=48), "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
    (ClientAddress(), "::ffff:192.0.2.1", "192.0.2.1"),
    (ClientAddress(), "fe80::1%eth0", "fe80::/64"),
]


@pytest.mark.parametrize(("provider", "peer", "expected"), ADDRESSES)
async def test_a_client_is_an_address_or_a_network(provider: ClientAddress, peer: str | None, expected: str) -> None:
    """As text, the same for whoever is the same client."""
    client = None if peer is None else SimpleNamespace(host=peer, port=1)
    assert await provider(cast(Request, SimpleNamespace(client=client, headers={}))) == expected


# ---- what is said of it


def test_a_limit_describes_itself() -> None:
    """429 with `Retry-After`, and the fields of every response; 503 where it may refuse."""
    found = description_of(RateLimit(10, per=60))
    assert found is not None
    assert set(found.responses) == {429}
    assert set(found.response_headers[0]) == {"RateLimit", "RateLimit-Policy"}
    assert set(found.response_headers[429]) == {"Retry-After"}
    closed = description_of(RateLimit(10, per=60, on_failure="refuse"))
    assert closed is not None
    assert set(closed.responses) == {429, 503}


WRONG: dict[str, Callable[[], object]] = {
    "requests": lambda: RateLimit(0, per=60),
    "per": lambda: RateLimit(10, per=0.5),  # type: ignore[arg-type]
    "per_huge": lambda: RateLimit(10, per=10**400),
    "burst": lambda: RateLimit(10, per=60, burst=0),
    "name": lambda: RateLimit(10, per=60, name='the "best"'),
    "on_failure": lambda: RateLimit(10, per=60, on_failure="open"),  # type: ignore[arg-type]
    "timeout": lambda: RateLimit(10, per=60, timeout=0),
    "backend_redis": lambda: RateLimit(5, per=60, backend=Redis("redis://:secret@localhost")),  # type: ignore[arg-type]
    "backend_class": lambda: RateLimit(5, per=60, backend=RedisBuckets),  # type: ignore[arg-type]
    "backend_url": lambda: RateLimit(5, per=60, backend="redis://:secret@localhost"),  # type: ignore[arg-type]
    "backend_mapping": lambda: RateLimit(5, per=60, backend={}),  # type: ignore[arg-type]
    "max_keys": lambda: MemoryBackend(max_keys=0),
    "ipv6_prefix": lambda: ClientAddress(ipv6_prefix=129),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_when_it_is_made(name: str, golden: Golden) -> None:
    """With what came, and the remedy."""
    with pytest.raises(RegistrationError) as caught:
        WRONG[name]()
    golden(f"contrib/ratelimit_{name}", str(caught.value))
