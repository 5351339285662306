"""The same random commands, to ours and to redis-server: the replies are the same, to the byte.

A seed is in the name of its test. What may differ is time: what is left of a key's life, by some seconds; so no
key is given less than a minute. The order of keys is nobody's promise. Other seeds: MINI_REDIS_SEED=1000, and more
commands: MINI_REDIS_COMMANDS=100000.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any, Final

import pytest

from apps.mini_redis.conftest import RedisProcess, Wire
from apps.mini_redis.values import Error, Simple

pytestmark = pytest.mark.live

SEED: Final = int(os.environ.get("MINI_REDIS_SEED", "0"))
COMMANDS: Final = int(os.environ.get("MINI_REDIS_COMMANDS", "6000"))
"""For each of four seeds."""

KEYS: Final = [b"a", b"b", b"c", b"key:1", b"key:2", b"k\r\n", b"", b"\xff\x00", b"[x]", b"h*llo"]
VALUES: Final = [
    b"", b"0", b"1", b"-1", b"10", b"007", b"+5", b" 5", b"-0", b"abc", b"\r\n", b"\x00", b"x" * 5000,
    b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"1e3", b"\xf0",
]  # fmt: skip
NUMBERS: Final = [
    b"1",
    b"-1",
    b"0",
    b"5",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"99999999999999999999",
    b"x",
]
SPANS: Final = [b"100000", b"200000", b"1000000", b"0", b"-1", b"9223372036854775807", b"92233720368547758", b"x", b""]
PATTERNS: Final = [
    b"*",
    b"key:*",
    b"?",
    b"[a-b]",
    b"[^a]*",
    b"k*",
    b"\\[x\\]",
    b"[",
    b"h\\*llo",
    b"*\xff*",
    b"a**b",
    b"",
]
TIMED: Final = {b"TTL": 10, b"PTTL": 10_000}


def _options(r: random.Random, *groups: Sequence[Sequence[bytes]]) -> list[bytes]:
    chosen = [word for group in groups if r.random() < 0.4 for word in r.choice(group)]
    return [r.choice((word, word.lower())) if word.isalpha() else word for word in chosen]


def command(r: random.Random) -> list[bytes]:
    """One, that is mostly right."""
    key, other = r.choice(KEYS), r.choice(KEYS)
    value, number, span = r.choice(VALUES), r.choice(NUMBERS), r.choice(SPANS)
    ends = [[unit, span] for unit in (b"EX", b"PX")] + [[b"KEEPTTL"], [b"EXAT", b"99999999999"], [b"PXAT", b"x"]]
    kinds: list[tuple[int, list[bytes]]] = [
        (8, [b"GET", key]),
        (6, [b"SET", key, value]),
        (6, [b"SET", key, value, *_options(r, ends, [[b"NX"], [b"XX"]], [[b"GET"]], [[b"NX"], [b"EX"], [b"bad"]])]),
        (3, [b"INCR", key]), (2, [b"DECR", key]), (3, [b"INCRBY", key, number]), (2, [b"DECRBY", key, number]),
        (2, [b"APPEND", key, value[:50]]), (1, [b"STRLEN", key]), (2, [b"MGET", key, other, b"none"]),
        (2, [b"MSET", key, value, other, number]), (1, [b"MSET", key, value, other]),
        (3, [b"DEL", key, other]), (1, [b"UNLINK", key]), (2, [b"EXISTS", key, key, other]), (1, [b"TYPE", key]),
        (2, [b"EXPIRE", key, span, *_options(r, [[b"NX"], [b"XX"], [b"GT"], [b"LT"], [b"no"]], [[b"GT"], [b"LT"]])]),
        (2, [b"PEXPIRE", key, r.choice((b"100000", b"200000", b"-5", b"y"))]), (2, [b"EXPIREAT", key, b"99999999999"]),
        (1, [b"PEXPIREAT", key, b"1"]), (2, [b"PERSIST", key]), (3, [b"TTL", key]), (3, [b"PTTL", key]),
        (2, [b"KEYS", r.choice(PATTERNS)]), (2, [b"DBSIZE"]), (1, [b"FLUSHDB", *_options(r, [[b"SYNC"], [b"bad"]])]),
        (1, [b"SELECT", r.choice((b"0", b"0", b"1", b"15", b"16", b"-1", b"x"))]), (1, [b"ECHO", value]),
        (1, [b"PING", *_options(r, [[b"hi"], [b"hi", b"ho"]])]), (4, [b"MULTI"]), (5, [b"EXEC"]), (1, [b"DISCARD"]),
        (2, [b"WATCH", key, other]), (1, [b"UNWATCH"]), (1, [b"PUBLISH", key, value]), (1, [b"CLIENT", b"GETNAME"]),
        (1, [b"CLIENT", b"SETNAME", r.choice((b"ada", b"a b", b""))]), (1, [b"CLIENT", b"nothing"]), (1, [b"CLIENT"]),
        (1, [b"HELLO", r.choice((b"1", b"x"))]), (1, [b"HELLO", b"3", b"bad"]), (1, [b"RESET"]),
        (1, [key, value, number]),

        (1, [b"NO\nSUCH", value, b"z" * 200]),
        (1, [r.choice((b"GET", b"SET", b"INCR", b"TTL", b"SELECT", b"EXEC")), *KEYS]),
        (1, [r.choice((b"get", b"SeT", b"mget", b"append", b"client", b"expire", b"publish"))]),
    ]  # fmt: skip
    (found,) = r.choices([words for _, words in kinds], [weight for weight, _ in kinds])
    return found if found[0] else [b"GET", key]


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


class Conversation:
    """One client of both servers: what is asked, and which replies are the same."""

    def __init__(self, ours: Wire, theirs: Wire, version: bytes) -> None:
        self.ours = ours
        self.theirs = theirs
        self._queued: list[bytes] = []
        for wire in (ours, theirs):
            wire.ask(b"HELLO", version)

    def ask(self, commands: Sequence[list[bytes]]) -> None:
        for words, own, other in zip(commands, self.ours.ask_all(commands), self.theirs.ask_all(commands), strict=True):
            self._compare(words, own, other)

    def _compare(self, words: list[bytes], own: Any, other: Any) -> None:
        name = words[0].upper()
        if other == b"QUEUED" and isinstance(other, Simple):
            self._queued.append(name)
        elif name in (b"MULTI", b"DISCARD", b"RESET") and not isinstance(other, Error):
            self._queued = []
        elif name == b"EXEC" and _is_list(other):
            assert _is_list(own), (own, other)
            assert len(own) == len(other) == len(self._queued)
            for each in zip(self._queued, own, other, strict=True):
                self._same(words, *each)
            self._queued = []
            return
        elif name == b"EXEC" and not isinstance(other, Error):
            self._queued = []
        self._same(words, name, own, other)

    def _same(self, words: list[bytes], name: bytes, own: Any, other: Any) -> None:
        if name == b"KEYS" and _is_list(other):
            own, other = sorted(own), sorted(other)
        if name in TIMED and isinstance(other, int) and other > 0:
            assert isinstance(own, int)
            assert abs(own - other) <= TIMED[name], (words, own, other)
            return
        assert (type(own), own) == (type(other), other), words

    def scan(self, *options: bytes) -> None:
        """All keys, by cursors: each server has its own."""
        found: list[set[bytes]] = []
        for wire in (self.ours, self.theirs):
            cursor, keys = b"0", set[bytes]()
            while True:
                reply = wire.ask(b"SCAN", cursor, *options)
                assert _is_list(reply), reply
                cursor, part = reply
                keys.update(part)
                if cursor == b"0":
                    break
            found.append(keys)
        assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_the_replies_are_those_of_redis_server(mini: RedisProcess, redis: RedisProcess, seed: int) -> None:
    """Three clients of each, in turns, in both versions of the protocol; what one does to a key, the others see."""
    r = random.Random(seed)
    sent = 0
    with mini.wire() as a, mini.wire() as b, mini.wire() as c, redis.wire() as d, redis.wire() as e, redis.wire() as f:
        version = b"3" if seed % 2 else b"2"
        clients = [Conversation(*pair, version) for pair in ((a, d), (b, e), (c, f))]
        clients[0].ask([[b"FLUSHALL"]])
        while sent < COMMANDS:
            batch = [command(r) for _ in range(r.randint(1, 40))]
            r.choice(clients).ask(batch)
            sent += len(batch)
        for client in clients:
            client.ask([[b"RESET"]])
        clients[0].scan(b"COUNT", b"3")
        clients[0].scan(b"MATCH", b"k*", b"TYPE", b"string")
        clients[0].scan(b"TYPE", b"list")


@pytest.mark.parametrize("seed", range(SEED, SEED + 2))
def test_pipelines_of_one_command_are_answered_as_by_redis_server(
    mini: RedisProcess, redis: RedisProcess, seed: int
) -> None:
    """They are run by column where that changes nothing: not in a transaction, nor where keys expire or are watched."""
    r = random.Random(seed)
    keys = [b"%04d" % number for number in range(30)] + [b"k", b"", b"a longer one"]
    texts = [b"xyz", b"1", b"", b"\r\n", b"x" * 511, b"y" * 512, b"z" * 5000]
    with mini.wire() as a, mini.wire() as b, redis.wire() as c, redis.wire() as d:
        first, second = Conversation(a, c, b"2"), Conversation(b, d, b"3")
        first.ask([[b"FLUSHALL"]])
        for _ in range(250):
            names = r.choice((keys[:30], keys))
            kind, value = r.choice((b"GET", b"get", b"SET", b"INCR", b"STRLEN", b"GeT")), r.choice(texts)
            more = [value] if kind == b"SET" or r.random() < 0.05 else []
            same = r.random() < 0.7
            pipeline = [
                [kind, r.choice(names), *(more and [value if same else r.choice(texts)])]
                for _ in range(r.randint(3, 20))
            ]
            chance = r.random()
            if chance < 0.1:
                first.ask([[b"MULTI"]])
                first.ask(pipeline)
                first.ask([[b"EXEC"]])
            elif chance < 0.2:
                second.ask([[b"WATCH", *keys[:3]]])
                first.ask(pipeline)
                second.ask([[b"MULTI"], [b"DBSIZE"], [b"EXEC"]])
            else:
                r.choice((first, second)).ask(pipeline)
            if chance > 0.9:
                first.ask([r.choice(([b"FLUSHDB"], [b"SET", keys[0], b"1", b"EX", b"99"]))])
        first.scan(b"COUNT", b"7")


def test_what_a_cursor_may_be(mini: RedisProcess, redis: RedisProcess) -> None:
    """And which options of SCAN are none."""
    with mini.wire() as ours, redis.wire() as theirs:
        for words in (
            "SCAN x",
            "SCAN --1",
            "SCAN 18446744073709551616",
            "SCAN 0 COUNT 0",
            "SCAN 0 COUNT x",
            "SCAN 0 MATCH",
            "SCAN 0 NO x",
            "SCAN",
        ):
            own, other = (wire.ask(*words.split()) for wire in (ours, theirs))
            assert (type(own), own) == (type(other), other), words


ODD: Final = [
    "FLUSHALL", "SET k v EX 10 EX 20", "SET k v ex 10 PX 20", "SET k v KEEPTTL KEEPTTL", "SET k v KEEPTTL EX 1",
    "TTL k",
    "PEXPIRE k -9223372036854775808", "EXISTS k", "SET k v", "PEXPIREAT k -9223372036854775808", "EXISTS k", "SET k v",
    "EXPIRE k -9223372036854775808", "SET k v PX -9223372036854775808", "SELECT 2147483647", "SELECT 2147483648",
    "SELECT -2147483649", "SELECT 9223372036854775807", "SELECT 9223372036854775808", "COMMAND INFO nosuch",
    "COMMAND LIST x y", "PUBSUB CHANNELS a b", "CONFIG GET appendonl[Y] APPENDONLY", "CONFIG GET APPENDONLY appendonl*",
    "AUTH", "AUTH x", "AUTH default x", "AUTH bob x", "AUTH a b c", "HELLO 3 SETNAME nm FOO", "CLIENT GETNAME",
    "HELLO 2 AUTH bob x", "CONFIG HELP x", "CLIENT", "CLIENT NOSUCH",
]  # fmt: skip


@pytest.mark.parametrize("version", [b"2", b"3"])
def test_odd_requests(mini: RedisProcess, redis: RedisProcess, version: bytes) -> None:
    """What chance seldom finds."""
    with mini.wire() as ours, redis.wire() as theirs:
        for wire in (ours, theirs):
            wire.ask(b"HELLO", version)
        for words in ODD:
            own, other = (wire.ask(*words.split()) for wire in (ours, theirs))
            assert (type(own), own) == (type(other), other), words
        assert ours.ask(b"SCAN", b"") == [b"0", [b"k"]] == theirs.ask(b"SCAN", b"")


def test_who_is_killed_is_gone_for_the_next_request(mini: RedisProcess, redis: RedisProcess) -> None:
    """Of the same pipeline, too: neither listed, nor counted as hearing anything, nor killed again."""
    for server in (mini, redis):
        with server.wire() as killer, server.wire() as killed:
            number = b"%d" % killed.ask(b"CLIENT", b"ID")
            killed.ask(b"SUBSCRIBE", b"told")
            kill, told = [b"CLIENT", b"KILL", b"ID", number], [b"PUBLISH", b"told", b"x"]
            seen = killer.ask_all([told, kill, told, [b"CLIENT", b"LIST", b"ID", number], kill])
            assert seen == [1, 1, 0, b"", 0]


def test_help_tells_of_each_subcommand(mini: RedisProcess) -> None:
    """The error for one that there is not says to ask for it."""
    with mini.wire() as wire:
        for container, known in (
            (b"CLIENT", b"KILL"),
            (b"CONFIG", b"GET"),
            (b"COMMAND", b"DOCS"),
            (b"PUBSUB", b"NUMPAT"),
        ):
            header, *lines = wire.ask(container, b"HELP")
            assert header.startswith(container + b" <subcommand>")
            assert any(line.startswith(known) for line in lines)


BROKEN: Final = [
    b"*x\r\n", b"*-5\r\nPING\r\n", b"*0\r\nPING\r\n", b"*1\r\n+PING\r\n", b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n", b"*1\r\n$99999999999\r\n", b"PING\r\n", b"  PING   hi  \n", b'ECHO "a\\x41\\n b"\r\n',
    b"ECHO 'it\\'s'\r\n",
    b'ECHO "open\r\n', b'ECHO "a"b\r\n', b"\r\n\r\nPING\r\n", b'ECHO ""\r\n',
    b"x" * 70000, b"*" + b"1" * 70000,
    b"*1\r\n$" + b"1" * 70000,
    b"POST / HTTP/1.1\r\nHost: a\r\n\r\nPING\r\n", b"Host: a\r\nPING\r\n", b"*2\r\n$4\r\npOsT\r\n$1\r\n/\r\nPING\r\n",
    b"*1\r\n\n\r\n", b"*1\r\n\r\n\r\n", b"*1\r\n\xff\r\n", b'POST /"\r\n', b'POST /\r\n"\r\n', b'QUIT\r\n"\r\n',
    b"*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n", b"*+1\r\n$4\r\nPING\r\n", b"*01\r\n$4\r\nPING\r\n",
]  # fmt: skip


@pytest.mark.parametrize("data", BROKEN, ids=lambda data: repr(data[:30]))
def test_what_is_no_request(mini: RedisProcess, redis: RedisProcess, data: bytes) -> None:
    """Is answered in the same words, and the connection ends; what is odd and yet one, is taken."""
    answers: list[bytes] = []
    for server in (mini, redis):
        with server.wire() as wire:
            wire.sock.sendall(data if len(data) > 1000 else data + b"QUIT\r\n")
            answer = b""
            try:
                while more := wire.sock.recv(65536):
                    answer += more
            except ConnectionResetError:
                pass  # redis-server does not read the rest
            answers.append(answer)
    assert answers[0] == answers[1]


MARK: Final = b"that was all"


def _until_mark(wire: Wire) -> list[str]:
    """All that has come, in an order of its own: several patterns are served in no order that is promised."""
    wire.send([b"PING", MARK])
    found: list[str] = []
    while (value := wire.read()) not in (MARK, [b"pong", MARK]):
        found.append(repr(value))
    return sorted(found)


@pytest.mark.parametrize("version", [b"2", b"3"])
def test_messages_are_those_of_redis_server(mini: RedisProcess, redis: RedisProcess, version: bytes) -> None:
    """Three clients of each subscribe, leave and speak by chance; each hears the same, in the same form."""
    r = random.Random(SEED)
    names, patterns = [b"a", b"b", b"ab", b""], [b"*", b"a*", b"?", b"[ab]", b"b"]
    with mini.wire() as a, mini.wire() as b, mini.wire() as c, redis.wire() as d, redis.wire() as e, redis.wire() as f:
        clients = [(a, d), (b, e), (c, f)]
        for own, other in clients:
            assert isinstance(own.ask(b"HELLO", version), type(other.ask(b"HELLO", version)))
        for _ in range(300):
            kind = r.choice((b"SUBSCRIBE", b"PSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"PUBLISH", b"PUBLISH"))
            words = [kind, *r.sample(patterns if kind[0] == 0x50 and kind != b"PUBLISH" else names, r.randint(1, 2))]
            if kind == b"PUBLISH":
                words = [kind, r.choice(names), b"text"]
            elif r.random() < 0.1:
                words = r.choice(([b"ECHO", b"x"], [b"GET", b"x"], [b"SUBSCRIBE"], [b"PING"], [b"PUBSUB", b"NUMPAT"]))
            chosen = r.choice(clients)
            for wire in chosen:
                wire.send(words)
            for own, other in (chosen, *clients):
                assert _until_mark(own) == _until_mark(other), words
