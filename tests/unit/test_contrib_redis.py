"""What a connection to Redis is made of, without a Redis: URLs, pauses, messages."""

from __future__ import annotations

import logging
import ssl
import traceback
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import trio
from coredis.exceptions import ResponseError
from coredis.parser import Parser
from trio.testing import MockClock

from tests.harness import Golden
from trivet.contrib.redis import Redis, RedisAway, RedisBuckets, RedisSessionStore
from trivet.contrib.redis._away import Backoff, why
from trivet.contrib.redis._checks import check_name, encoded
from trivet.contrib.redis._refusals import Refusals, code_of
from trivet.errors import RegistrationError

URL = "redis://localhost"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://localhost", "localhost:6379"),
        ("redis://example.org:6380/7", "example.org:6380"),
        ("redis://ann:secret@example.org?db=7", "example.org:6379"),
        ("redis://[::1]:6380", "[::1]:6380"),
        ("redis://", "localhost:6379"),
        ("rediss://example.org", "example.org:6379"),
        ("unix:///run/redis/redis.sock?db=2", "/run/redis/redis.sock"),
        ("unix://:secret@/run/a%20b", "/run/a b"),
        ("unix:///run/a@b", "/run/a@b"),
        ("redis://:pa%2Fss%3Fw%23rd@example.org", "example.org:6379"),
        ("redis://:p@ss@example.org", "example.org:6379"),
    ],
)
def test_a_url_names_a_place(url: str, place: str) -> None:
    """It is what messages show: without a password, and with the port."""
    assert Redis(url).place == place


WRONG: dict[str, Callable[[], object]] = {
    "url_scheme": lambda: Redis("http://:secret@localhost"),
    "url_password": lambda: Redis("redis://:s3cret/s3cret@localhost:6379/0"),
    "url_unreadable": lambda: Redis("redis://:[s3cret@localhost"),
    "url_unix_host": lambda: Redis("unix://:s3cret/s3cret@/run/redis.sock"),
    "url_none": lambda: Redis("localhost:6379"),
    "url_type": lambda: Redis(None),  # type: ignore[arg-type]
    "url_database": lambda: Redis("redis://localhost/first"),
    "url_option": lambda: Redis("redis://localhost?connect_timeout=3"),
    "url_port": lambda: Redis("redis://localhost:99999"),
    "seconds": lambda: Redis(URL, command_timeout=0),
    "seconds_infinite": lambda: Redis(URL, max_backoff=float("inf")),
    "seconds_type": lambda: Redis(URL, connect_timeout="1s"),  # type: ignore[arg-type]
    "buckets_url": lambda: RedisBuckets(URL),  # type: ignore[arg-type]
    "buckets_class": lambda: RedisBuckets(Redis),  # type: ignore[arg-type]
    "sessions_prefix": lambda: RedisSessionStore(Redis(URL), prefix=None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_when_it_is_made(name: str, golden: Golden) -> None:
    """With what came, but no password, and the remedy."""
    with pytest.raises(RegistrationError) as caught:
        WRONG[name]()
    golden(f"contrib/redis_{name}", str(caught.value))


@pytest.mark.parametrize("character", [*"/?#[]", "/?", "#?/", "@/", "/@", "\u2100"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix", "http"])
def test_nothing_of_a_password_that_is_not_escaped_is_shown(scheme: str, character: str) -> None:
    """Neither by the refusal nor as the place, wherever the URL is taken apart; digits, too, which may be a port."""
    rests = ["host", "host:6379", "host:6379/0", "host/0?db=1", "host?connect_timeout=3", "/run/x"]
    for password, rest in product((f"tellno{character}tellno", f"4711{character}4711"), rests):
        try:
            said = Redis(f"{scheme}://:{password}@{rest}").place
        except RegistrationError as error:
            said = "".join(traceback.format_exception(error))
        assert "tellno" not in said
        assert "4711" not in said


CALLS: dict[str, Callable[[], object]] = {
    "command_waits": lambda: check_name("BLPOP", []),
    "command_of_connections": lambda: check_name("multi", []),
    "command_of_connections_by_word": lambda: check_name("client", [b"reply", b"SKIP"]),
    "command_words": lambda: check_name("CLIENT LIST", []),
    "command_type": lambda: check_name(b"GET", []),  # type: ignore[arg-type]
    "argument": lambda: encoded("SET", ["key", {"a": 1}]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_says_what_to_write(name: str, golden: Golden) -> None:
    """At the line that calls it, before anything is sent."""
    with pytest.raises((TypeError, ValueError)) as caught:
        CALLS[name]()
    golden(f"contrib/redis_{name}", str(caught.value))


@pytest.mark.parametrize(
    "words",
    [
        *("CLIENT REPLY OFF", "CLIENT TRACKING ON", "CLIENT CACHING YES", "CLIENT NO-EVICT ON", "CLIENT NO-TOUCH ON"),
        *("SCRIPT DEBUG YES", "REPLCONF ACK 0", "HELLO 3", "RESET", "MONITOR", "SSUBSCRIBE a", "ASKING"),
    ],
)
def test_what_would_change_how_many_replies_there_are_is_refused(words: str) -> None:
    """Or anything else of a connection that all share, however it is written."""
    for given in (words, words.lower()):
        name, *rest = given.split()
        with pytest.raises(ValueError, match=r"is shared"):
            check_name(name, encoded(name, rest))


@pytest.mark.parametrize(
    "words", ["CLIENT", "CLIENT LIST", "CLIENT SETINFO LIB-NAME a", "SCRIPT EXISTS a", "GET REPLY"]
)
def test_what_leaves_the_connection_as_it_is_may_be_asked(words: str) -> None:
    """Though another word of the same command may not."""
    name, *rest = words.split()
    assert check_name(name, encoded(name, rest)) == name.encode()


async def test_it_has_to_be_entered(golden: Golden) -> None:
    """A command and a connection of one's own say how."""
    redis = Redis(URL)
    with pytest.raises(RuntimeError) as caught:
        await redis.execute("PING")
    golden("contrib/redis_not_entered", str(caught.value))
    with pytest.raises(RuntimeError, match="is not entered"):
        async with redis.dedicated():
            pass
    assert (redis.up, redis.since, redis.error, redis.losses) == (False, None, None, 0)


@pytest.mark.parametrize(
    ("value", "sent"),
    [("ü", b"\xc3\xbc"), (b"\xff", b"\xff"), (0, b"0"), (-(2**70), b"-1180591620717411303424"), (0.1, b"0.1")],
)
def test_an_argument_is_sent_as_it_is_written(value: Any, sent: bytes) -> None:
    """Text as UTF-8, and numbers so that they can be read back without a loss."""
    assert encoded("SET", [value]) == [sent]


def test_pauses_double_up_to_the_longest() -> None:
    """They are drawn from 0 to a bound, and begin anew when it has gone well."""
    backoff = Backoff(0.1, 1.0, lambda: 0.5)
    assert [backoff.pause() for _ in range(6)] == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert backoff.pause() == 0.05
    for _ in range(3000):  # until 2.0**n would be too large for a float
        backoff.pause()
    assert backoff.pause() == 0.5


def test_the_cause_of_an_error_is_its_first_one() -> None:
    """What libraries wrap is looked through, as far as it says anything."""
    refused = ConnectionRefusedError(111, "Connection refused")
    wrapped = OSError("all attempts failed")
    wrapped.__cause__ = ExceptionGroup("two attempts", [refused, OSError("other")])
    outer = RuntimeError("unable")
    outer.__cause__ = wrapped
    assert why(outer) == "ConnectionRefusedError: [Errno 111] Connection refused"
    outer.__cause__ = EOFError()
    assert why(outer) == "RuntimeError: unable"
    assert why(None) == "the connection was lost"


def test_away_tells_logs_more_than_clients() -> None:
    """Clients learn when to ask again, in whole seconds, and not where it is nor why."""
    error = RedisAway("10.0.0.7:6379", "no answer to GET in 0.5 s", 2.1)
    assert (error.status, error.headers) == (503, {"retry-after": "3"})
    assert "10.0.0.7" not in error.detail
    assert str(error) == "Redis at 10.0.0.7:6379 is away: no answer to GET in 0.5 s"
    assert RedisAway("a", "b", -5).headers == {"retry-after": "1"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("ERR Error running script (call to f_0): @user_script:1: @user_script: 1: -OOM command not allowed.", "OOM"),
        ("BUSY Redis is busy running a script.", "BUSY"),
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("READONLY You can't write against a read only replica.", "READONLY"),
        ("MISCONF Redis is configured to save RDB snapshots, but", "MISCONF"),
        ("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN"),
        ("BUSYGROUP Consumer Group name already exists", ""),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", ""),
        ("ERR value is not an integer or out of range", ""),
        ("ERR Error running script (call to f_0): @user_script:1: no such thing", ""),
        ("NOSCRIPT No matching script.", ""),
    ],
)
def test_an_answer_that_would_be_another_one_later_means_away(answer: str, code: str) -> None:
    """As coredis has it: with its code, without, or from a script of a Redis before 7."""
    assert code_of(Parser().parse_error(answer)) == code


async def test_what_is_refused_for_long_is_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """And again when it has gone well for a minute."""
    refusals = Refusals(logging.getLogger("trivet.contrib.redis"), "localhost:6379")
    for seconds in (1, 40, 40, 40, 61):
        await trio.sleep(seconds)
        assert refusals.note(ResponseError("OOM command not allowed")) == "OOM"
    assert [record.getMessage() for record in caplog.records] == [
        "Redis at localhost:6379 refuses commands: ResponseError: OOM command not allowed"
    ] * 2
    assert refusals.of_all == ""
    assert refusals.note(ResponseError("BUSY running a script")) == "BUSY"
    assert refusals.of_all == "ResponseError: BUSY running a script"


async def test_the_name_in_a_certificate_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `rediss://` the context is one that checks it, unless another one is given."""
    import anyio

    given: list[ssl.SSLContext] = []

    async def connect(host: str, port: int, **options: Any) -> None:
        given.append(options["ssl_context"])
        raise OSError("that is enough")

    monkeypatch.setattr(anyio, "connect_tcp", connect)
    own = ssl.create_default_context()
    for context in (None, own):
        with pytest.raises(RedisAway, match="that is enough"):
            async with Redis("rediss://example.org", ssl_context=context, required=True):
                pass
    assert given[0].check_hostname
    assert given[0].verify_mode is ssl.CERT_REQUIRED
    assert given[1] is own
    assert trio.current_effective_deadline() == float("inf")
