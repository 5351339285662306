"""Sessions without an application: the store in memory, signatures, times, and what they refuse."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from functools import partial
from string import ascii_letters, digits
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.harness import Golden
from tests.unit.linear import growth
from trivet import Description
from trivet._describe import description_of
from trivet.contrib.redis import Redis, RedisSessionStore
from trivet.contrib.sessions import MemoryStore, Session, SessionError, Sessions, SessionStore
from trivet.contrib.sessions._contents import Contents
from trivet.contrib.sessions._keeper import Found
from trivet.contrib.sessions._record import Record, Span, decoded
from trivet.contrib.sessions._signed import SignedCookies
from trivet.contrib.sessions._stored import StoredSessions, _key
from trivet.errors import RegistrationError


async def test_the_memory_forgets_what_is_over(mock_clock: MockClock) -> None:
    """What was set is given for `ttl` seconds, counted from the last `set`; `replace` finds nothing afterwards."""
    store: SessionStore = MemoryStore()
    assert await store.get("a") is None
    assert await store.set("a", b"1", 10)
    mock_clock.jump(9.5)
    assert await store.get("a") == b"1"
    assert await store.set("a", b"2", 10, replace=True)
    mock_clock.jump(9.5)
    assert await store.get("a") == b"2"
    mock_clock.jump(0.5)
    assert await store.get("a") is None
    assert not await store.set("a", b"3", 10, replace=True)
    assert await store.get("a") is None


async def test_a_deleted_session_is_not_replaced() -> None:
    """`replace` brings back nothing that another request has deleted; to delete what is not there is no error."""
    store = MemoryStore()
    await store.set("a", b"1", 10)
    assert [await store.delete("a"), await store.delete("a")] == [True, False]
    assert not await store.set("a", b"2", 10, replace=True)
    assert (await store.get("a"), len(store), store._bytes) == (None, 0, 0)


async def test_only_what_is_still_there_is_exchanged(mock_clock: MockClock) -> None:
    """`compare_and_set` writes, and counts the time anew, over the very bytes that are expected, and over nothing."""
    store = MemoryStore()
    assert not await store.compare_and_set("a", b"1", b"2", 10)
    await store.set("a", b"1", 10)
    assert not await store.compare_and_set("a", b"2", b"3", 20)
    mock_clock.jump(5)
    assert await store.compare_and_set("a", b"1", b"2", 10)
    mock_clock.jump(9)
    assert await store.get("a") == b"2"
    mock_clock.jump(1)
    assert not await store.compare_and_set("a", b"2", b"3", 10)
    assert (await store.get("a"), store._bytes) == (None, 0)


async def test_the_least_recently_used_goes_first() -> None:
    """When there is no room, who was not used for longest is forgotten: a use is a `get` or a `set`."""
    store = MemoryStore(max_sessions=3)
    for key in "abc":
        await store.set(key, b"1", 10)
    await store.get("a")
    await store.set("b", b"2", 10)
    await store.set("d", b"1", 10)
    assert [await store.get(key) for key in "abcd"] == [b"1", b"2", None, b"1"]


async def test_bytes_are_bounded_as_well() -> None:
    """However large sessions are, all together take about `max_bytes`."""
    store = MemoryStore(max_bytes=10_000)
    for number in range(100):
        await store.set(str(number), bytes(number * 20), 10)
        assert store._bytes <= 10_000
    assert await store.get("99") is not None
    assert 3 <= len(store) <= 5


async def test_what_is_over_makes_room_as_others_come(mock_clock: MockClock) -> None:
    """No task cleans up: each that is set forgets up to two that are over and were not used for longest."""
    store = MemoryStore()
    for number in range(100):
        await store.set(str(number), b"", 10)
    mock_clock.jump(10)
    for number in range(60):
        await store.set(f"new {number}", b"", 10)
    assert len(store) == 60


FEW = 1700
"""Of sixteen times as many, half can move within a dict before it is made anew."""

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["get", "set", "replace", "exchange", "delete", "wait"]),
        st.sampled_from("abcd"),
        st.integers(1, 3),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_memory_is_a_table_with_times(steps: list[tuple[str, str, int]]) -> None:
    """With room for all, each call does what it would on a plain table; and the bytes are counted right."""

    async def main() -> None:
        store = MemoryStore()
        plain: dict[str, tuple[float, bytes]] = {}
        for number, (step, key, size) in enumerate(steps):
            now = trio.current_time()
            plain = {each: kept for each, kept in plain.items() if kept[0] > now}
            value = bytes([number]) * size
            if step == "get":
                assert await store.get(key) == plain.get(key, (0, None))[1]
            elif step == "delete":
                assert await store.delete(key) == (plain.pop(key, None) is not None)
            elif step == "wait":
                clock.jump(size)
            elif step == "exchange":
                found = plain.get(key, (0, b"x"))[1]
                assert not await store.compare_and_set(key, found + b"x", value, size)
                assert await store.compare_and_set(key, found, value, size) == (key in plain)
                if key in plain:
                    plain[key] = now + size, value
            else:
                replaces = step == "replace"
                kept = not replaces or key in plain
                assert await store.set(key, value, size, replace=replaces) == kept
                if kept:
                    plain[key] = now + size, value
            assert store._bytes == sum(len(each) + 400 for _, each in store._kept.values())

    clock = MockClock()
    trio.run(main, clock=clock)


async def test_to_forget_one_costs_the_same_however_many_are_kept() -> None:
    """Also behind the places of thousands that have moved: a table is not walked from its beginning each time."""

    async def kept(count: int) -> MemoryStore:
        store = MemoryStore(max_sessions=count, max_bytes=1 << 40)
        for number in range(count):
            await store.set(str(number), b"", 1000)
        for number in range(count * 11 // 20):
            await store.get(str(number))
        return store

    stores = {count: await kept(count) for count in (FEW, 16 * FEW)}
    names = itertools.count()

    def forget_some(count: int) -> None:
        for _ in range(200):
            stores[count]._put(f"new {next(names)}", b"", 1000)

    assert growth(forget_some, FEW) < 3


# ---- what is kept, and how long it is good

TIMES = st.integers(0, 2**32 - 1)


@given(TIMES, TIMES, st.binary(max_size=50))
def test_a_record_is_read_as_it_was_written(began: int, used: int, contents: bytes) -> None:
    """And of another version, or cut, it is none."""
    record = Record(began, used, contents)
    data = record.encoded()
    assert decoded(data) == record
    assert decoded(b"\2" + data[1:]) is None
    assert decoded(data[:8]) is None


@pytest.mark.parametrize(
    ("lifetime", "idle", "began", "used", "now", "left"),
    [
        (100, None, 0, 0, 40, 60),
        (100, None, 0, 90, 100, 0),
        (100, 10, 0, 40, 45, 5),
        (100, 10, 0, 95, 98, 2),
        (100, 10, 0, 40, 51, -1),
        # A clock that is ahead by no more than a minute.
        (100, 10, 60, 60, 0, 70),
        (100, 10, 61, 61, 0, 0),
        (100, 10, 0, 61, 0, 0),
    ],
)
def test_how_long_a_session_is_good(
    lifetime: float, idle: float | None, began: int, used: int, now: float, left: float
) -> None:
    """The shorter of the two times, and not at all if it comes from the future."""
    assert Span(lifetime, idle).left(Record(began, used, b""), now) == left


# ---- forged cookies

KEYS: list[str | bytes] = ["k" * 32, b"\xff" * 32]
SIGNED = SignedCookies(KEYS, "session", 14)


def find(keeper: SignedCookies | StoredSessions, value: str) -> Found | None:
    return trio.run(keeper.find, value)


def sign(keeper: SignedCookies, record: Record) -> str:
    return trio.run(keeper.keep, record, 1.0, None)


GENUINE = sign(SIGNED, Record(7, 8, b"\x80"))
LETTERS = ascii_letters + digits + "-_.="
FORGED = st.one_of(
    st.text(max_size=100),
    st.text(LETTERS, max_size=100),
    # The genuine one with one letter in another's place, without some, or with some more.
    st.builds(
        lambda place, letter: GENUINE[:place] + letter + GENUINE[place + 1 :],
        st.integers(0, len(GENUINE) - 1),
        st.sampled_from(LETTERS) | st.characters(),
    ),
    st.builds(lambda start, end: GENUINE[start:end], st.integers(0, len(GENUINE)), st.integers(0, len(GENUINE))),
    st.builds(
        lambda place, more: GENUINE[:place] + more + GENUINE[place:],
        st.integers(0, len(GENUINE)),
        st.text(LETTERS, min_size=1, max_size=9),
    ),
)


@given(FORGED)
def test_a_forged_cookie_says_nothing(value: str) -> None:
    """Whatever is changed of a genuine one, or made up, is no session, and no error; nothing but what we signed is."""
    assert (find(SIGNED, value) is not None) == (value == GENUINE)


@pytest.mark.parametrize("end", [*(ascii_letters + digits + "-_"), "", "=", "==", "=A"])
def test_a_cookie_has_one_text(end: str) -> None:
    """Base64 has last letters, and a padding, that decode to the same bytes."""
    value = GENUINE[:-1] + end if len(end) == 1 and end != "=" else GENUINE + end
    assert (find(SIGNED, value) is not None) == (value == GENUINE)


@given(FORGED)
def test_a_forged_identifier_asks_for_nothing_that_is_there(value: str) -> None:
    """What cannot be an identifier is not asked for; what can is asked for by its hash."""
    asked: list[str] = []

    class Store(MemoryStore):
        async def get(self, key: str) -> bytes | None:
            asked.append(key)
            return await super().get(key)

    assert find(StoredSessions(Store(), 100, 1), value) is None
    assert asked in ([], [_key(value)] if value.isascii() else [])


def test_each_key_is_believed_and_the_first_one_signs() -> None:
    """What the others have signed is good, and stale."""
    record = Record(1, 2, b"x")
    ours, theirs = sign(SIGNED, record), sign(SignedCookies(KEYS[1:], "session", 14), record)
    assert find(SIGNED, ours) == Found(ours, record)
    assert find(SIGNED, theirs) == Found(theirs, record, stale=True)
    assert find(SignedCookies(KEYS[:1], "session", 14), theirs) is None
    assert find(SignedCookies(KEYS, "other", 14), ours) is None


def test_what_we_signed_of_another_kind_is_no_session() -> None:
    """A signature of ours over something else, by another version say, is no error."""
    for payload in ("", "AA", "=", "A" * 5, "Ag" + "A" * 20):
        assert find(SIGNED, SIGNED._signers[0].sign(payload).decode()) is None


def test_the_browser_has_nothing_that_the_store_has() -> None:
    """The identifier is random; its hash is the key."""
    store = MemoryStore()

    async def main() -> set[str | None]:
        sessions = StoredSessions(store, 100, 1)
        return {await sessions.keep(Record(1, 2, b""), 10, None) for _ in range(50)}

    identifiers = trio.run(main)
    assert len(identifiers) == len(store) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each or "") for each in identifiers)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each) for each in store._kept)
    assert identifiers.isdisjoint(store._kept)


# ---- what is refused


class Needs(msgspec.Struct):
    user: int


class Holds:
    pass


KEY = "x" * 32
WRONG: dict[str, Callable[[], object]] = {
    "nowhere": Sessions,
    "twice": lambda: Sessions(secret=KEY, store=MemoryStore()),
    "secret_first": lambda: Sessions(KEY),  # type: ignore[arg-type]
    "secret_short": lambda: Sessions(secret="secret"),
    "secret_short_old": lambda: Sessions(secret=[KEY, "old"]),
    "secret_none": lambda: Sessions(secret=[]),
    "secret_type": lambda: Sessions(secret=[7]),  # type: ignore[list-item]
    "secret_number": lambda: Sessions(secret=7),  # type: ignore[arg-type]
    "store_class": lambda: Sessions(store=MemoryStore),  # type: ignore[arg-type]
    "store_redis": lambda: Sessions(store=Redis("redis://:secret@localhost")),  # type: ignore[arg-type]
    "store_redis_class": lambda: Sessions(store=RedisSessionStore),  # type: ignore[arg-type]
    "store_methods": lambda: Sessions(store={}),  # type: ignore[arg-type]
    "contents_required": lambda: Sessions(Needs, secret=KEY),  # type: ignore[arg-type]
    "contents_type": lambda: Sessions(Holds, secret=KEY),
    "idle": lambda: Sessions(secret=KEY, idle=0),
    "lifetime": lambda: Sessions(secret=KEY, lifetime=401 * 86400),
    "timeout": lambda: Sessions(store=MemoryStore(), timeout=0),
    "max_bytes": lambda: Sessions(store=MemoryStore(), max_bytes=0),
    "max_sessions": lambda: MemoryStore(max_sessions=0),
    "memory_bytes": lambda: MemoryStore(max_bytes=1.5),  # type: ignore[arg-type]
    "secure": lambda: Sessions(secret=KEY, secure="auto"),  # type: ignore[arg-type]
    "samesite": lambda: Sessions(secret=KEY, samesite="Lax"),  # type: ignore[arg-type]
    "samesite_none": lambda: Sessions(secret=KEY, samesite="none"),
    "prefix": lambda: Sessions(secret=KEY, name="__Host-id"),
    "name": lambda: Sessions(secret=KEY, name="my session"),
    "path": lambda: Sessions(secret=KEY, path="shop"),
    "domain": lambda: Sessions(secret=KEY, domain="bücher.example"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_when_it_is_made(name: str, golden: Golden) -> None:
    """With what came, and the remedy."""
    with pytest.raises(RegistrationError) as caught:
        WRONG[name]()
    golden(f"contrib/sessions_{name}", str(caught.value))


def test_the_extra_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    """Only by what needs it: sessions on the server do without."""
    monkeypatch.setitem(sys.modules, "itsdangerous", None)
    monkeypatch.delitem(sys.modules, "trivet.contrib.sessions._signed")
    Sessions(store=MemoryStore())
    with pytest.raises(ImportError) as caught:
        Sessions(secret=KEY)
    golden("contrib/sessions_extra", str(caught.value))


def test_what_cannot_be_kept_says_where_it_is(golden: Golden) -> None:
    """The key of a mapping, what is wrong with it, and what to keep instead; a session too large says how large."""
    said: list[str] = []
    mappings: list[dict[str, Any]] = [{"ok": 1, "user": Holds()}, {"deep": {"a": [Holds()]}}, {"huge": 2**70}]
    for data in mappings:
        with pytest.raises(SessionError) as caught:
            Contents[dict[str, Any]](dict).encode(data)
        said.append(str(caught.value))
    with pytest.raises(SessionError) as caught:
        Contents(Defaults).encode(Holds())  # type: ignore[arg-type]
    said.append(str(caught.value))
    for keeper in (SIGNED, StoredSessions(MemoryStore(), 1000, 1)):
        with pytest.raises(SessionError) as caught:
            trio.run(keeper.keep, Record(1, 2, bytes(4000)), 1.0, None)
        said.append(str(caught.value))
    with pytest.raises(TypeError) as wrong:
        Session()[7] = 7  # type: ignore[index]
    golden("contrib/sessions_unkept", "\n\n".join([*said, str(wrong.value)]))


def test_a_store_that_does_not_say_what_it_did_is_told(golden: Golden) -> None:
    """Else a login would come to nothing without a word: a method that returns nothing is an error, by its name."""

    class Silent(MemoryStore):
        async def set(self, *args: Any, **options: Any) -> None:  # type: ignore[override]
            await super().set(*args, **options)

        async def compare_and_set(self, *args: Any) -> None:  # type: ignore[override]
            await super().compare_and_set(*args)

        async def delete(self, key: str) -> None:  # type: ignore[override]
            await super().delete(key)

    store: Any = Silent()
    keeper, record = StoredSessions(store, 100, 1), Record(1, 2, b"")
    said: list[str] = []
    for call in (
        partial(keeper.keep, record, 10.0, None),
        partial(keeper.extend, Found("x" * 43, record), record, 10.0),
        partial(keeper.forget, "x" * 43),
    ):
        with pytest.raises(SessionError) as caught:
            trio.run(call)
        said.append(str(caught.value))
    golden("contrib/sessions_store_silent", "\n\n".join(said))


class Defaults(msgspec.Struct):
    user: int = 0


def test_they_describe_themselves() -> None:
    """A store may not answer; a cookie always does."""
    stored = description_of(Sessions(store=MemoryStore()))
    signed = description_of(Sessions(secret=KEY))
    assert stored is not None
    assert signed is not None
    assert set(stored.responses) == set(stored.response_headers) == {503}
    assert signed == Description()
