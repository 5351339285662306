"""Whatever clients send: it is answered, request by request, or refused; and it takes no more memory than it is."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from itertools import chain, repeat
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mini_redis.aof import Log, written
from apps.mini_redis.dispatch import execute
from apps.mini_redis.engine import Engine
from apps.mini_redis.protocol import Bounds, Requests
from apps.mini_redis.session import Session
from apps.mini_redis.table import TABLE
from apps.mini_redis.values import Values

OPTIONS: Final = [
    b"NX", b"XX", b"GT", b"EX", b"PX", b"EXAT", b"PXAT", b"KEEPTTL", b"GET", b"MATCH", b"COUNT", b"TYPE", b"string",
    b"ID", b"ADDR", b"LADDR", b"USER", b"SKIPME", b"yes", b"default", b"AUTH", b"SETNAME", b"SYNC", b"normal", b"all",
]  # fmt: skip
EDGES: Final = [
    b"", b"0", b"1", b"-1", b"2", b"3", b"16", b"9223372036854775807", b"-9223372036854775808", b"1e3", b"\0",
    b"\xff\xfe", b"[", b"[^", b"*", b"\\", b"a\r\nb", b"x" * 600,
]  # fmt: skip
MANY: Final = [b"subscribe", b"psubscribe", b"unsubscribe", b"punsubscribe"]
KNOWN: Final = [each.name.split(b"|") for one in TABLE.values() for each in (one, *one.subcommands.values())]
words = st.sampled_from(OPTIONS) | st.sampled_from(EDGES) | st.binary(max_size=4)


def _joined(parts: tuple[list[bytes], list[bytes]]) -> list[bytes]:
    return [*parts[0], *parts[1]]


requests = st.tuples(st.sampled_from(KNOWN), st.lists(words, max_size=4)).map(_joined)


@settings(max_examples=100)
@given(st.lists(requests, min_size=1, max_size=12), st.lists(requests, max_size=3))
def test_each_request_has_one_reply(asked: list[list[bytes]], others: list[list[bytes]]) -> None:
    """Any command with any arguments, of a client and of another one; in a log that is kept there is what is read."""
    now = [1_000]
    engine = Engine(lambda: now[0])
    log = Log()
    engine.record_to(log)
    told: list[bytes] = []
    one, other = (Session(engine, told.append, lambda: None, "a", "b") for _ in range(2))
    for session, said in ((one, asked), (other, others), (one, asked)):
        for request in said:
            now[0] += 400
            replies: list[bytes] = []
            assert execute(session, [request], 0, replies) == len(replies) == 1
            values = Values().feed(replies[0])
            if request[0] not in MANY:
                assert len(values) == 1
    assert len(Values().feed(b"".join(told))) == len(told)
    assert Requests().feed(log.take()) is not None


BOUNDS: Final = Bounds(bulk=64 * 1024 * 1024, request=128 * 1024 * 1024)
MEGABYTE: Final = 1024 * 1024


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        (lambda: [b"*2\r\n$3\r\nGET\r\n$536870912\r\n"], "invalid bulk length"),
        (lambda: [b"*2\r\n$3\r\nGET\r\n$67108864\r\n"], None),
        (lambda: [b"*1048576\r\n"], None),
        (lambda: [b"*1048577\r\n"], "invalid multibulk length"),
        (lambda: repeat(b"*1\r\n" * 1000, 1000), "expected '$', got '*'"),
        (lambda: repeat(b"x" * 1000, 1000), "too big inline request"),
        (lambda: chain([b"*1\r\n$"], repeat(b"1" * 1000, 1000)), "too big bulk count string"),
        (lambda: chain([b"*"], repeat(b"1" * 1000, 1000)), "too big mbulk count string"),
        (lambda: repeat(b"*0\r\n" * 250, 20), None),
        (lambda: repeat(b"\r\n" * 500, 20), None),
    ],
)
def test_what_is_announced_takes_no_memory(pieces: Callable[[], Iterable[bytes]], error: str | None) -> None:
    """Only what has come does, and of that no more than a line, where a line is what is waited for."""
    parser = Requests(BOUNDS)
    tracemalloc.start()
    try:
        for piece in pieces():
            assert parser.feed(piece) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert parser.error == error
    assert peak < MEGABYTE


def test_arguments_without_bytes_are_bounded_too() -> None:
    """They weigh nothing on the wire and something here."""
    parser = Requests(Bounds(request=64 * 1000))
    assert parser.feed(written([b""] * 999)) == [[b""] * 999]
    assert parser.feed(written([b""] * 1001)) == []
    assert parser.error == "too big request"
