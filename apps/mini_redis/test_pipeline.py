"""Pipelines of one command: by column or one by one, nobody can tell the difference."""

from __future__ import annotations

import pytest

from apps.mini_redis.aof import Log, written
from apps.mini_redis.dispatch import execute
from apps.mini_redis.engine import Engine
from apps.mini_redis.pipeline import ROWS, Alike
from apps.mini_redis.protocol import Requests
from apps.mini_redis.session import Session

TEXTS = ["GET {}", "SET {} new", "SET {} 1 NX", "SET {} 1 GET", "SET {}", "GET {} x", "INCR {}", "NO {}", "PING {}"]
HIGHEST = 2**63 - 1
BEFORE = {
    "nothing": "",
    "keys": "SET k0 a;SET k2 1",
    "numbers": "SET k0 -3;SET k2 99",
    "numbers that do not go on": f"SET k0 {HIGHEST - ROWS};SET k1 {HIGHEST}",
    "a long value": f"SET k0 {'x' * 600}",
    "a key that ends": "SET k0 a;SET k1 b PX 100",
    "a key that has ended": "SET k0 a;SET k1 b PX 10",
    "a transaction": "MULTI",
    "subscribed": "SUBSCRIBE news",
}


def _engine() -> tuple[Engine, list[int]]:
    now = [1_000]
    return Engine(lambda: now[0]), now


def _session(engine: Engine) -> Session:
    return Session(engine, lambda data: None, lambda: None, "a", "b")


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE.keys())
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("beside", ["nobody", "log", "watcher"])
def test_by_column_or_one_by_one(text: str, before: str, beside: str) -> None:
    """The same replies, the same keys and ends, the same log; whoever watches, hears of it."""
    pipeline = [text.format(f"k{number % 3}").encode().split() for number in range(2 * ROWS)]
    alike = Requests().feed(b"".join(map(written, pipeline)))
    assert isinstance(alike, Alike)
    seen: list[object] = []
    for requests in (alike, pipeline):
        engine, now = _engine()
        log = Log()
        engine.record_to(log if beside == "log" else None)
        session, watching = _session(engine), _session(engine)
        setting = [line.encode().split() for line in before.split(";") if line]
        execute(session, setting, 0, [])
        if beside == "watcher":
            watching.watch(b"k2")
        now[0] += 50
        replies: list[bytes] = []
        at = 0
        while at < len(requests):
            at = execute(session, requests, at, replies)
        store = engine.stores[0]
        told = (
            store.values,
            store.until,
            store.changes,
            b"".join(log.pending),
            watching.dirty,
            session.commands,
            session.last,
        )
        seen.append((b"".join(replies), *told, store.scan(0, 100)))
    assert seen[0] == seen[1]


def test_many_keys_are_set_in_one_turn() -> None:
    """And SCAN finds them; but not where one of them had an end."""
    engine, _ = _engine()
    pipeline = [[b"SET", b"k%d" % number, b"v"] for number in range(ROWS)]
    assert engine.stores[0].put_all([words[1] for words in pipeline], [words[2] for words in pipeline])
    assert sorted(engine.stores[0].scan(0, 100)[1]) == [b"k%d" % number for number in range(ROWS)]
    engine.stores[0].put(b"k0", b"v", 2_000)
    assert not engine.stores[0].put_all([b"k0"], [b"w"])


@pytest.mark.parametrize("other", [b"PUT", b"SETS"])
def test_two_commands_are_no_table(other: bytes) -> None:
    """However alike they are otherwise."""
    pipeline = [[b"SET" if number % 2 else other, b"k" * number, b"v"] for number in range(2 * ROWS)]
    assert Requests().feed(b"".join(map(written, pipeline))) == pipeline


def test_who_speaks_http_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """Before what stands in the body is run; the log says so, once a minute however often it happens."""
    engine, now = _engine()
    for now[0] in (0, 59_999, 60_000):
        session = Session(engine, lambda data: None, lambda: None, "192.0.2.1:5", "")
        requests = [line.split() for line in (b"POST / HTTP/1.1", b"Host: x", b"SET evil 1")]
        assert execute(session, requests, 0, []) == 1
        assert session.closing
    assert not engine.stores[0].values
    assert [record.args for record in caplog.records] == [("192.0.2.1:5",)] * 2
