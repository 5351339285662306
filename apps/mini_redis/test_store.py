"""The store against a simple model, with a clock that is set; and the log, from which it comes back."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from apps.mini_redis.aof import Damaged, Log, Reader, written
from apps.mini_redis.dispatch import execute
from apps.mini_redis.ends import SLACK
from apps.mini_redis.engine import Engine
from apps.mini_redis.glob import compiled
from apps.mini_redis.persistence import PIECE, open_journal
from apps.mini_redis.roll import PART, Roll
from apps.mini_redis.session import Session
from apps.mini_redis.settings import Unusable
from apps.mini_redis.store import Store

KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])


class Machine(RuleBasedStateMachine):
    """Keys come, change, expire, go; the model is a dict that is searched. Each change is repeated from the log."""

    @initialize()
    def begin(self) -> None:
        self.now = 1_000
        self.store = Store(0, lambda: self.now)
        self.model: dict[bytes, tuple[bytes, int | None]] = {}
        self.log = Log()
        self.store.record = self.log.record
        self.written = b""

    def _alive(self) -> dict[bytes, tuple[bytes, int | None]]:
        self.model = {key: pair for key, pair in self.model.items() if pair[1] is None or pair[1] > self.now}
        return self.model

    @rule(key=KEYS, value=st.binary(max_size=3), ttl=st.none() | st.integers(1, 50))
    def put(self, key: bytes, value: bytes, ttl: int | None) -> None:
        until = None if ttl is None else self.now + ttl
        self.store.put(key, value, until)
        self.model[key] = value, until

    @rule(key=KEYS, more=st.binary(max_size=2))
    def append(self, key: bytes, more: bytes) -> None:
        old, until = self._alive().get(key, (b"", None))
        assert self.store.append(key, more) == len(old + more)
        self.model[key] = old + more, until

    @rule(key=KEYS)
    def remove(self, key: bytes) -> None:
        assert self.store.remove(key) == (self._alive().pop(key, None) is not None)

    @rule(key=KEYS, ttl=st.integers(-5, 50))
    def expire(self, key: bytes, ttl: int) -> None:
        if self.store.get(key) is not None:
            self.store.expire(key, self.now + ttl)
            self.model[key] = self._alive()[key][0], self.now + ttl

    @rule(key=KEYS)
    def persist(self, key: bytes) -> None:
        old = self._alive().get(key)
        assert self.store.persist(key) == (old is not None and old[1] is not None)
        if old is not None:
            self.model[key] = old[0], None

    @rule(by=st.integers(1, 30))
    def wait(self, by: int) -> None:
        self.now += by

    @rule()
    def purge(self) -> None:
        self.store.purge(1000)
        assert len(self.store) == len(self._alive())
        end = self.store.next_end()
        ends = [until for _, until in self.model.values() if until is not None]
        assert end == (min(ends) if ends else None)

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.model.clear()

    @rule(count=st.integers(1, 3))
    def scan(self, count: int) -> None:
        cursor, seen = 0, set[bytes]()
        while True:
            cursor, keys = self.store.scan(cursor, count)
            seen.update(keys)
            if not cursor:
                break
        assert seen == set(self._alive())

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        assert set(self.store.present()) == set(self._alive())
        assert len(self.store._ends) <= 2 * len(self.store.until) + SLACK + 1

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.store.purge(1000)
        engine = Engine(lambda: 0)
        session = Session(engine, lambda data: None, lambda: None, "", "")
        changes = Reader().feed(self.log.take())
        assert execute(session, changes, 0, []) == len(changes)
        again = engine.stores[0]
        assert {key: (again.get(key), again.until.get(key)) for key in again.present()} == self._alive()


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStore = Machine.TestCase


def test_a_scan_sees_all_that_is_there_all_the_time() -> None:
    """However much comes and goes between two of its parts, and though the roll is cleaned up meanwhile."""
    store = Store(0, lambda: 0)
    stay = {b"stay %d" % number for number in range(50)}
    for key in stay:
        store.put(key, b"")
    cursor, seen, turn = 0, set[bytes](), 0
    while True:
        cursor, keys = store.scan(cursor, 7)
        seen.update(keys)
        if not cursor:
            break
        for number in range(100) if turn < 5 else ():
            store.put(b"%d %d" % (turn, number), b"")
            store.remove(b"%d %d" % (turn, number))
        turn += 1
    assert seen >= stay
    assert len(store._roll) <= 2 * len(store) + PART


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"*", [b"x"], [b""]),
        (b"a?c", [b"abc", b"a\nc"], [b"ac", b"abbc"]),
        (b"[^a-c]x", [b"dx"], [b"ax", b"x"]),
        (b"[c-a]", [b"b"], [b"d"]),
        (b"a\\*", [b"a*"], [b"ab"]),
        (b"*a*a*a*a*a*a*a*a*b", [b"a" * 8 + b"b"], [b"a" * 3000]),
        (b"a*b*a", [b"aba", b"a-b-b-a"], [b"aa", b"ab", b"ba"]),
        (b"*[ab]?c*", [b"-aabcc-", b"bcc"], [b"ac", b"-xbc-"]),
        (b"*?[^b]*", [b"ba", b"bbba"], [b"a", b"bb"]),
    ],
)
def test_patterns(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    """Stars, marks, classes and escapes; without taking exponential time."""
    matches = compiled(pattern)
    assert [key for key in (*yes, *no) if matches(key)] == yes


def _slowly(pattern: bytes, key: bytes) -> bool:
    """By trying all that a star may stand for."""
    if pattern[:1] == b"*":
        return any(_slowly(pattern[1:], key[at:]) for at in range(len(key) + 1))
    if not pattern or not key:
        return pattern == key
    if pattern[:1] == b"[":
        return key[0] in pattern[1:3] and _slowly(pattern[4:], key[1:])
    return pattern[:1] in (b"?", key[:1]) and _slowly(pattern[1:], key[1:])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([b"*", b"a*", b"b*", b"*a", b"?", b"[ab]", b"[bc]*"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(b"abc"), min_size=1, max_size=8),
)
def test_patterns_match_what_trying_everything_finds(pieces: list[bytes], key: list[int]) -> None:
    """Though no star is ever tried again."""
    pattern = b"".join(pieces)
    assert bool(compiled(pattern)(bytes(key))) == _slowly(pattern, bytes(key))


@pytest.mark.parametrize("run", [b"a" * 300 + b"b", b"a?" * 150 + b"b", b"[a-c]" * 300 + b"b", b"?" * 300 + b"b"])
@pytest.mark.parametrize("end", [b"", b"*"])
def test_a_pattern_costs_what_its_key_has(run: bytes, end: bytes) -> None:
    """Not that times its own length: 3,000 bytes with 300 are some 20,000 steps, not a million."""
    steps = 0

    def count(frame: object, event: str, argument: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    matches = compiled(b"*" + run + end)
    before = sys.gettrace()
    sys.settrace(count)
    try:
        assert not matches(b"a" * 3000)
    finally:
        sys.settrace(before)
    assert steps < 60_000


def test_ends_that_are_put_off_leave_no_rubbish() -> None:
    """A key whose end is set a thousand times, as a session's is, is in the heap a few times."""
    store = Store(0, lambda: 0)
    for end in range(1, 1000):
        store.put(b"session", b"", end)
        assert len(store._ends) <= 2 + SLACK + 1
    assert store.next_end() == 999


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400), st.booleans()), max_size=12),
    size=st.integers(1, 300),
)
def test_the_roll_has_each_key_once_and_forgets_what_is_gone(steps: list[tuple[int, int, bool]], size: int) -> None:
    """In the order in which they came, whatever comes back and wherever it stood; a part is never out of order."""
    roll, alive = Roll(), dict[bytes, None]()
    for first, count, comes in steps:
        for number in range(first * 100, first * 100 + count):
            key = b"%d" % number
            if comes and key not in alive:
                roll.add(key)
                alive[key] = None
            elif not comes and key in alive:
                del alive[key]
                roll.drop(key, len(alive))
    cursor, seen = 0, list[bytes]()
    while True:
        following, keys = roll.part(cursor, size)
        assert len(keys) <= size
        seen += keys
        if not following:
            break
        assert following > cursor
        cursor = following
    assert len(seen) == len(set(seen)) == len(roll)
    assert alive.keys() == {key for key in seen if key in alive}


def test_a_large_key_that_is_gone_is_let_go() -> None:
    """And not kept with the next sixty that go."""
    roll = Roll()
    roll.add(b"a")
    for number in range(3):
        roll.add(key := b"%d" % number * 5000)
        roll.drop(key, 1)
    assert roll.part(0, 10) == (0, [b"a"])


def _worst(calls: Iterator[Callable[[], object]]) -> int:
    """Of these calls the most steps that one takes."""
    steps = worst = 0

    def count(frame: object, event: str, argument: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    for call in calls:
        steps = 0
        sys.settrace(count)
        try:
            call()
        finally:
            sys.settrace(before)
        worst = max(worst, steps)
    return worst


MANY = 6000


def _come_and_go(store: Store) -> Iterator[Callable[[], object]]:
    for number in range(2 * MANY):
        yield lambda number=number: store.put(b"new %d" % number, b"")  # type: ignore[misc]
        yield lambda number=number: store.remove(b"new %d" % number)  # type: ignore[misc]


def _go(store: Store) -> Iterator[Callable[[], object]]:
    for number in range(MANY):
        yield lambda number=number: store.remove(b"%d" % number)  # type: ignore[misc]


def _put_off(store: Store) -> Iterator[Callable[[], object]]:
    for number in range(3 * MANY):
        yield lambda number=number: store.put(b"%d" % (number % MANY), b"", 10_000 + number)  # type: ignore[misc]


def _stay(store: Store) -> Iterator[Callable[[], object]]:
    for number in range(MANY):
        store.persist(b"%d" % number)
    yield store.next_end
    yield lambda: store.put(b"last", b"", 20_000)
    yield store.next_end
    yield lambda: store.purge(100)


@pytest.mark.parametrize("what", [_come_and_go, _go, _put_off, _stay])
def test_nobody_waits_for_the_store_to_clean_up(what: Callable[[Store], Iterator[Callable[[], object]]]) -> None:
    """With thousands of keys, no command takes more steps than what is done for a hundred or so of them."""
    store = Store(0, lambda: 30_000 if what is _stay else 0)
    for number in range(MANY):
        store.put(b"%d" % number, b"", 1_000 + number)
    assert _worst(what(store)) < 1400


def test_ends_that_were_put_off_are_forgotten() -> None:
    """There are never much more than two for each key, though they go a few at a time; and the first is the first."""
    store = Store(0, lambda: 0)
    for turn in range(1, 8):
        for number in range(1000):
            store.put(b"%d" % number, b"", 1000 * turn + (number * 7) % 1000)
        assert len(store._ends) <= 3 * len(store.until) + SLACK
    assert store.next_end() is not None
    assert len(store.until) == 1000
    for now in (6_999, 7_000, 7_400, 7_999):
        store.clock = lambda now=now: now  # type: ignore[misc]
        while store.purge(100):
            pass
        assert len(store) == 7_999 - now
    assert store.next_end() is None


def test_an_end_before_all_others_is_told() -> None:
    """To who sleeps until the first one; a later one wakes nobody."""
    store, told = Store(0, lambda: 0), list[int]()
    for end in (500, 600, 400, 450, 399):
        store.earlier = lambda end=end: told.append(end)  # type: ignore[misc]
        store.put(b"%d" % end, b"", end)
    assert told == [500, 400, 399]


def test_an_end_that_comes_back_is_there_once() -> None:
    """Of two that take turns none is kept for each time it came, though it is the one that counts, again and again."""
    store = Store(0, lambda: 0)
    for number in range(2000):
        store.put(b"a", b"", int(f"{1000 + number % 2}"))
        assert len(store._ends) <= 2 + SLACK + 1


@pytest.mark.parametrize(("before", "after", "done"), [(20, 0, True), (0, 20, False), (0, 5, True)])
def test_what_expires_is_changed_for_who_watches(before: int, after: int, done: bool) -> None:
    """If it expires while it is watched; not if that was before, though nobody had noticed."""
    now = 1_000
    session = Session(Engine(lambda: now), lambda data: None, lambda: None, "", "")
    _run(session, "SET a 1 PX 10")
    now += before
    _run(session, "WATCH a", "MULTI", "PING")
    now += after
    replies: list[bytes] = []
    execute(session, [[b"EXEC"]], 0, replies)
    assert replies == [b"*1\r\n+PONG\r\n" if done else b"*-1\r\n"]


# ---- the log


def _engine(now: int = 1_000) -> tuple[Engine, Session]:
    engine = Engine(lambda: now)
    return engine, Session(engine, lambda data: None, lambda: None, "", "")


def _skip(descriptor: int) -> None:
    pass


def _run(session: Session, *commands: str) -> None:
    requests = [line.encode().split() for line in commands]
    assert execute(session, requests, 0, []) == len(requests)


def test_a_log_that_was_torn_is_whole_up_to_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every byte: of a transaction all or nothing is there, and what is written next can be read."""
    for sync in ("fsync", "fdatasync"):
        monkeypatch.setattr(f"os.{sync}", _skip)  # six hundred times
    engine, session = _engine()
    path = tmp_path / "log"
    journal = open_journal(path, "no", engine)
    _run(
        session, "SET a 1", "MULTI", "SET b 2", "SELECT 3", "SET c 3", "EXEC", "INCR a", "SET d 4 PX 500", "APPEND d 5"
    )
    journal.close()
    whole = path.read_bytes()
    states = set[tuple[bytes | None, ...]]()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        again, other = _engine()
        journal = open_journal(path, "no", again)
        zero, three = again.stores[0], again.stores[3]
        state = (zero.get(b"a"), zero.get(b"b"), three.get(b"c"), three.get(b"a"), three.get(b"d"))
        states.add(state)
        _run(other, "SET z 9")
        journal.close()
        third, _ = _engine()
        open_journal(path, "no", third).close()
        assert third.stores[0].get(b"z") == b"9"
        assert third.stores[0].get(b"a") == state[0]
    assert states == {
        (None, None, None, None, None),
        (b"1", None, None, None, None),
        (b"1", b"2", b"3", None, None),
        (b"1", b"2", b"3", b"1", None),
        (b"1", b"2", b"3", b"1", b"4"),
        (b"1", b"2", b"3", b"1", b"45"),
    }


def test_what_is_cut_off_a_log_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where and how much, once; of a log that is whole nothing is said."""
    path = tmp_path / "log"
    whole = written([b"SET", b"a", b"1"])
    path.write_bytes(whole + written([b"SET", b"b", b"2"])[:-3])
    torn = path.stat().st_size - len(whole)
    for _ in range(2):
        open_journal(path, "no", _engine()[0]).close()
    assert caplog.messages == [f"the log {path} was torn: cut off its last {torn} bytes, from byte {len(whole)} on"]


@pytest.mark.parametrize(
    "command",
    [
        "MSET a 8 b 9",
        "DEL a b",
        "UNLINK a b",
        "FLUSHALL",
        "FLUSHDB",
        "MULTI;MSET a 8 b 9;DEL a b;FLUSHALL;SET a 5;EXEC",
    ],
)
def test_a_command_is_in_the_log_as_a_whole(command: str) -> None:
    """Or not at all, however many keys it changes: behind every line at which a log may be torn."""
    engine, session = _engine()
    log = Log()
    engine.record_to(log)
    _run(session, "MSET a 1 b 2", "SELECT 1", "SET c 3", "SELECT 0")
    whole, before = log.take(), _values(engine)
    _run(session, *command.split(";"))
    states: list[list[dict[bytes, bytes]]] = []
    for line in [b"", *log.take().splitlines(keepends=True)]:
        whole += line
        again, reading = _engine()
        execute(reading, Reader().feed(whole), 0, [])
        if _values(again) not in states:
            states.append(_values(again))
    assert states == [before, _values(engine)]
    assert Reader().feed(whole)
    assert log.position == len(whole)


def test_one_change_is_no_transaction_in_the_log() -> None:
    """Two lines of every log would say nothing."""
    log = Log()
    with log.together():
        log.record(0, (b"DEL", b"a"))
    assert log.take() == written([b"SELECT", b"0"]) + written([b"DEL", b"a"])


def _values(engine: Engine) -> list[dict[bytes, bytes]]:
    return [dict(store.values) for store in engine.stores]


def test_what_expired_stays_expired(tmp_path: Path) -> None:
    """Also when it is set again afterwards, and what was over while nobody ran is gone."""
    path = tmp_path / "log"
    now = 1_000
    engine = Engine(lambda: now)
    session = Session(engine, lambda data: None, lambda: None, "", "")
    journal = open_journal(path, "no", engine)
    _run(session, "SET a old PX 10", "SET b old PX 10", "APPEND b er", "SET c old PX 5000")
    now = 2_000
    _run(session, "APPEND a new", "INCR n")
    journal.close()
    now = 9_000
    again = Engine(lambda: now)
    open_journal(path, "no", again).close()
    assert [again.stores[0].get(key) for key in (b"a", b"b", b"c", b"n")] == [b"new", None, None, b"1"]


@pytest.mark.parametrize(
    "data",
    [
        b"*x\r\n",
        b"\0" * 70_000,
        b"\0\n",
        b"PING\r\n",
        b"*0\r\n",
        b"*1\r\n$3\r\nSET\r\n",
        written([b"NOSUCH"]),
        b"*1\r\n$1\r\nabc\r\n",
        written([b"MULTI"]) + written([b"SET", b"c", b"1"]) + written([b"INCR"]) + written([b"EXEC"]),
    ],
)
def test_a_log_that_is_none_is_refused(tmp_path: Path, data: bytes) -> None:
    """With what can be done about it; nothing is thrown away."""
    path = tmp_path / "log"
    path.write_bytes(written([b"SET", b"a", b"1"]) + data + written([b"SET", b"b", b"2"]))
    before = path.read_bytes()
    with pytest.raises(Damaged) as caught:
        open_journal(path, "no", _engine()[0])
    assert path.read_bytes() == before
    remedy = re.search(r"truncate --size=(\d+) ", str(caught.value))
    assert remedy is not None
    path.write_bytes(before[: int(remedy[1])])
    engine = _engine()[0]
    open_journal(path, "no", engine).close()
    assert engine.stores[0].values == {b"a": b"1"}


@pytest.mark.parametrize("begun", [b"", b"*", written([b"MULTI"]), b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$9\r\nab"])
@pytest.mark.parametrize("zeros", [1, 100_000, PIECE, PIECE + 1])
def test_zeros_behind_a_log_are_torn_off(tmp_path: Path, begun: bytes, zeros: int) -> None:
    """After a power cut a file may have the length of what was to be written to it, and nothing there."""
    path = tmp_path / "log"
    whole = written([b"SET", b"a", b"\0"])
    path.write_bytes(whole + begun + bytes(zeros))
    engine = _engine()[0]
    open_journal(path, "no", engine).close()
    assert engine.stores[0].values == {b"a": b"\0"}
    assert path.read_bytes() == whole
    path.write_bytes(bytes(zeros))
    open_journal(path, "no", _engine()[0]).close()
    assert path.read_bytes() == b""


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    """A second server with it does not start."""
    journal = open_journal(tmp_path / "log", "no", _engine()[0])
    with pytest.raises(Unusable, match="Give each its own"):
        open_journal(tmp_path / "log", "no", _engine()[0])
    journal.close()
    open_journal(tmp_path / "log", "no", _engine()[0]).close()
