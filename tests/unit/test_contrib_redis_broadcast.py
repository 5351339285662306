"""Broadcast over Redis without one: what follows what, when a connection counts as dead, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
from coredis.exceptions import ConnectionError as Lost
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.harness import Golden
from trivet.contrib.broadcast import Broadcast
from trivet.contrib.redis import Redis, RedisBroadcast
from trivet.contrib.redis._chain import HELD, Chain
from trivet.contrib.redis._feed import LATE, LOOK_EVERY, Feed
from trivet.contrib.redis._topic_store import Row, id_of, position, read_reply, usable
from trivet.errors import RegistrationError


class Log:
    """A topic as it is in Redis, which keeps `keep` messages, and forgets if it is told to."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.rows: list[Row] = []
        self.last = 0
        self.clock = 0

    def append(self) -> Row:
        self.clock += 1
        row = Row(str(self.clock), self.clock, self.last, "")
        self.last = self.clock
        self.rows = [*self.rows, row][-self.keep :] if self.keep else []
        return row

    def begin(self) -> None:
        """As the script `READ` does it."""
        if not self.last:
            self.clock += 1
            self.last = self.clock

    def behind(self, after: int) -> tuple[list[Row], bool]:
        """As the script `READ` does it."""
        found = [row for row in self.rows if row.position > after]
        return found, (found[0].before if found else self.last) != after


EVENTS = st.lists(st.sampled_from(["say", "say", "hear", "hear", "drop", "tear", "snapshot", "read", "forget"]))


@settings(max_examples=500)
@given(keep=st.integers(0, 4), events=EVENTS)
def test_nothing_comes_twice_or_out_of_order_and_what_is_missing_is_known(keep: int, events: list[str]) -> None:
    """Whatever is heard, lost, read late, or forgotten by Redis; positions for the hub only grow."""
    log, chain = Log(keep), Chain()
    on_its_way: list[Row] = []
    reading: tuple[int, list[Row], bool] | None = None
    said: list[Row] = []
    given_: list[Row] = []
    gap = False
    placed = [-1]
    begun = 0

    def give(row: Row) -> None:
        given_.append(row)
        placed.append(chain.place(row.position))

    def finish() -> None:
        nonlocal reading, gap
        assert reading is not None
        first = chain.last is None
        gap = gap or (reading[2] and not first)
        rows, lost = chain.read(reading[0], reading[1])
        gap = gap or lost
        for row in rows:
            give(row)
        reading = None

    def ask() -> tuple[int, list[Row], bool]:
        nonlocal begun
        if chain.last is None:
            begun = log.clock
        log.begin()
        assert chain.ask() == chain.last
        return (log.last, *log.behind(log.last if chain.last is None else chain.last))

    for event in [*events, "tear", "snapshot", "hear all", "read", "read"]:
        if event == "say":
            said.append(log.append())
            on_its_way.append(said[-1])
        elif event in ("hear", "hear all"):
            while on_its_way:
                row = on_its_way.pop(0)
                if chain.heard(row):
                    give(row)
                if event == "hear":
                    break
        elif event == "drop":
            del on_its_way[:1]
        elif event == "tear":
            chain.tear()
            on_its_way.clear()
            reading = None
        elif event == "snapshot" and not chain.whole:
            reading = ask()
        elif event == "read" and not chain.whole:
            reading = reading or ask()
            finish()
        elif event == "forget":
            log.rows, log.last = [], 0
    assert given_ == sorted(given_, key=lambda row: row.position)
    assert len(set(given_)) == len(given_)
    assert placed == sorted(set(placed))
    if not gap and chain.whole:
        assert given_ == [row for row in said if row.position > begun]


def row(position: int, before: int) -> Row:
    """A message."""
    return Row(str(position), position, before, "")


def test_what_others_have_written_is_left_out_of_what_is_read() -> None:
    """And counted; the rest is as it would be without."""
    fields: list[list[bytes]] = [
        [b"d", b"x", b"p", b"1-1"],
        [],
        [b"f"],
        [b"d", b"\xff", b"p", b"1-1"],
        [b"d", b"x"] * 2,
    ]
    found = [[b"%d-0" % number, each] for number, each in enumerate(fields, 2)]
    who = [b"m", b"0123456789abcdefann", b"\xff", b"0123456789abcdef", b"n", b"\xff"]
    read = read_reply([b"9-0", 0, found, who, 0])
    assert read == (9 << 64, False, [Row("2-0", 2 << 64, 1 << 64 | 1, "x")], [("0123456789abcdef", "m", "ann")], 6)
    assert read_reply([b"9-0", 0, [], [], 1]).foreign == 1


def test_what_was_given_already_breaks_nothing() -> None:
    """Neither heard again, nor read again."""
    chain = Chain()
    assert not chain.heard(row(5, 4))
    assert not chain.heard(row(6, 5))
    assert chain.read(5, []) == ([row(6, 5)], False)
    assert not chain.heard(row(6, 5))
    assert chain.whole
    chain.tear()
    assert chain.read(7, [row(6, 5), row(7, 6)]) == ([row(7, 6)], False)
    assert chain.heard(row(9, 7))


def test_what_follows_another_message_is_not_given_yet() -> None:
    """Nor what comes behind it, until what is missing was read."""
    chain = Chain()
    chain.read(5, [])
    assert not chain.heard(row(7, 6))
    assert not chain.whole
    assert chain.ask() == 5
    assert not chain.heard(row(8, 7))
    assert chain.read(7, [row(6, 5), row(7, 6)]) == ([row(6, 5), row(7, 6), row(8, 7)], False)
    assert chain.whole


def test_what_redis_has_told_and_lost_is_not_waited_for() -> None:
    """It was heard before Redis was asked, and Redis does not have it: it was another one that has died."""
    chain = Chain()
    chain.read(5, [])
    assert not chain.heard(row(9, 8))
    chain.ask()
    assert chain.read(5, []) == ([], True)
    assert chain.whole
    assert chain.heard(row(6, 5))


def test_positions_grow_where_ids_do_not() -> None:
    """A store that has lost its last data may give smaller ids than before: for subscribers they are later."""
    chain = Chain()
    chain.read(100, [])
    places = [chain.place(100)]
    chain.tear()
    assert chain.read(40, []) == ([], False)
    assert chain.heard(row(41, 40))
    places.append(chain.place(41))
    chain.tear()
    chain.read(7, [])
    assert chain.heard(row(8, 7))
    assert [*places, chain.place(8)] == sorted({*places, chain.place(8)})


def test_what_is_held_is_bounded() -> None:
    """A topic that cannot be read costs so much and no more; then it has to be read again."""
    chain = Chain()
    rows = [Row(str(number), number, number - 1, "") for number in range(1, HELD + 10)]
    for row in rows:
        assert not chain.heard(row)
    assert len(chain._held) == HELD
    assert chain.read(0, []) == (rows[:HELD], False)
    assert not chain.heard(rows[HELD + 5])
    assert not chain.whole
    assert chain.read(HELD + 9, rows) == (rows[HELD:], False)
    assert chain.whole


@pytest.mark.parametrize("text", ["0-0", "1795276277523-12", f"{2**64 - 1}-{2**64 - 1}"])
def test_an_id_is_a_number_and_back(text: str) -> None:
    """Redis' own order is the order of the numbers."""
    assert id_of(position(text.encode())) == text.encode()
    assert usable(text)
    assert position(b"2-0") > position(f"1-{2**64 - 1}".encode())


@pytest.mark.parametrize("text", ["", "-", "1", "1-", "-1", "1-2-3", "a-1", " 1-1", "1-+1", f"{2**64}-0", "²-1", "*"])
def test_what_is_no_id_is_seen(text: str) -> None:
    """Before Redis is asked: clients send what they like."""
    assert not usable(text)


class Answering:
    """A connection whose other end answers, until it does not."""

    feed: Feed

    def __init__(self) -> None:
        self.there = True
        self.broken = False

    def send_command(self, command: bytes, *channels: bytes) -> None:
        if self.broken:
            raise Lost
        if self.there:
            for channel in channels:
                self.feed._take([b"subscribe", channel, 1])


class Nobody:
    """Who is told nothing that matters."""

    def __init__(self) -> None:
        self.known: list[bytes] = []

    def heard(self, channel: bytes, payload: bytes) -> None:
        raise AssertionError

    def subscribed(self, channel: bytes) -> None:
        self.known.append(channel)

    def deaf(self) -> None:
        raise AssertionError


async def test_a_connection_is_dead_when_it_does_not_answer(autojump_clock: MockClock) -> None:
    """And not before, however long nothing is said on it."""
    connection = Answering()
    connection.feed = feed = Feed(Redis("redis://localhost"), Nobody(), b"idle")
    feed._subscribe(cast(Any, connection), [b"idle"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed._look, cast(Any, connection))
        await trio.sleep(1000)
        assert len(nursery.child_tasks) == 1
        connection.there = False
        start = trio.current_time()
    assert trio.current_time() - start <= LOOK_EVERY + LATE


def test_only_the_last_of_several_replies_counts() -> None:
    """A topic that was left and entered again: the first reply is of what was left meanwhile."""
    connection, nobody = Answering(), Nobody()
    connection.feed = feed = Feed(Redis("redis://localhost"), nobody, b"idle")
    connection.there = False
    feed._connection = cast(Any, connection)
    feed.add(b"a")
    feed.remove(b"a")
    feed.add(b"a")
    feed.add(b"b")
    feed.remove(b"b")
    feed._take([b"subscribe", b"a", 1])
    assert nobody.known == []
    feed._take([b"unsubscribe", b"a", 0])
    feed._take([b"subscribe", b"a", 1])
    feed._take([b"subscribe", b"b", 2])
    assert nobody.known == [b"a"]
    assert feed._asked == {}
    connection.broken = True
    feed.remove(b"a")
    feed.add(b"a")


WRONG: dict[str, Callable[[], object]] = {
    "redis": lambda: RedisBroadcast("redis://localhost", prefix="chat:"),  # type: ignore[arg-type]
    "prefix": lambda: RedisBroadcast(Redis("redis://localhost"), prefix=""),
    "redis_class": lambda: RedisBroadcast(Redis, prefix="chat:"),  # type: ignore[arg-type]
    "member_ttl": lambda: RedisBroadcast(Redis("redis://localhost"), prefix="chat:", member_ttl=0),
    "when_away": lambda: RedisBroadcast(Redis("redis://localhost"), prefix="chat:", when_away="drop"),  # type: ignore[arg-type]
    "class": lambda: Broadcast(backend=RedisBroadcast),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_when_it_is_made(name: str, golden: Golden) -> None:
    """With the remedy."""
    with pytest.raises(RegistrationError) as caught:
        WRONG[name]()
    golden(f"contrib/redis_broadcast_{name}", str(caught.value))
