"""Rate limits in an application: what clients get, as time passes, in memory and from both servers."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import pytest
import trio
from trio.testing import MockClock

from tests.harness import Golden, Serve
from trivet import App, Depends, HTTPError, Request, Router
from trivet._damping import QUIET
from trivet.contrib.ratelimit import Backend, Decision, MemoryBackend, Quota, RateLimit, take
from trivet.testing import TestClient


class Busy(Exception):
    """A store that knows when it will be back."""

    retry_after = 2.5


def limited(limit: RateLimit, **options: Any) -> App:
    app = App(**options)

    @app.get("/", dependencies=[Depends(limit)])
    async def handler() -> str:
        return "here"

    return app


async def test_a_client_is_told_what_remains(serve: Serve) -> None:
    """The fields of the draft with each answer; then 429 with `Retry-After` and a problem, over memory and sockets."""
    async with serve(limited(RateLimit(2, per=60))) as client:
        for remaining in (1, 0):
            response = await client.get("/")
            assert (response.status_code, response.text) == (200, "here")
            assert response.headers["ratelimit-policy"] == '"default";q=2;w=60'
            told = re.fullmatch(rf'"default";r={remaining};t=(\d+)', response.headers["ratelimit"])
            assert told is not None
            assert 1 <= int(told[1]) <= 30
        refused = await client.get("/")
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["ratelimit-policy"] == '"default";q=2;w=60'
        wait = refused.headers["retry-after"]
        assert refused.headers["ratelimit"] == f'"default";r=0;t={wait}'
        assert 1 <= int(wait) <= 30
        assert refused.json()["violated-policies"] == ["default"]


async def test_limits_without_names_share_a_backend(serve: Serve) -> None:
    """A wide limit and a narrow one of one backend count each for itself, whichever asks in between."""
    backend = MemoryBackend()
    wide, narrow = RateLimit(1000, per=3600, backend=backend), RateLimit(2, per=60, backend=backend)
    app = App()

    @app.get("/wide", dependencies=[Depends(wide)])
    @app.get("/narrow", dependencies=[Depends(narrow)])
    async def handler() -> None: ...

    async with serve(app) as client:
        for status in (204, 204, 429, 429):
            for _ in range(3):
                assert (await client.get("/wide")).status_code == 204
            assert (await client.get("/narrow")).status_code == status


async def test_who_waits_for_retry_after_is_admitted(autojump_clock: MockClock) -> None:
    """Whole seconds, rounded up, so that the next request after so many is not refused again."""
    async with TestClient(limited(RateLimit(3, per=10, burst=1))) as client:
        start = trio.current_time()
        for _ in range(10):
            assert (await client.get("/")).status_code == 200
            refused = await client.get("/")
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "4"
            await trio.sleep(4)
        assert trio.current_time() - start == pytest.approx(40)


async def test_never_more_than_burst_and_rate_whatever_clients_do(autojump_clock: MockClock) -> None:
    """Four clients of one key, as fast as they can, get the burst and then the rate."""
    admitted: list[float] = []
    async with TestClient(limited(RateLimit(60, per=60, burst=5))) as client:

        async def hammer(pause: float) -> None:
            with trio.move_on_after(20):
                while True:
                    if (await client.get("/")).status_code == 200:
                        admitted.append(trio.current_time())
                    await trio.sleep(pause)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(hammer, 0.3 + number / 100)
    assert 24 <= len(admitted) <= 25
    for index, start in enumerate(admitted):
        for count, end in enumerate(admitted[index:], 1):
            assert count <= 5 + (end - start) + 1e-6


async def test_clients_are_counted_by_their_own_address() -> None:
    """By default the peer; behind a proxy that the application trusts, whom it names."""
    app = limited(RateLimit(1, per=60), trusted=["127.0.0.1"])
    async with TestClient(app) as client:
        for name in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
            headers = {"x-forwarded-for": f"6.6.6.6, {name}"}
            assert (await client.get("/", headers=headers)).status_code == 200
            assert (await client.get("/", headers=headers)).status_code == 429
        assert (await client.get("/", headers={"x-forwarded-for": "2001:db8::2"})).status_code == 429  # its network


@pytest.mark.parametrize(
    ("peer", "field", "trusted", "told"),
    [
        ("10.0.0.7", "x-forwarded-for", [], "10.0.0.7"),
        ("::1", "forwarded", [], "::1"),
        (None, "x-forwarded-for", ["10.0.0.7"], "unix"),
        ("10.0.0.7", "x-forwarded-for", ["10.0.0.0/8"], None),
        (None, "x-forwarded-for", ["unix"], None),
        ("8.8.8.8", "x-forwarded-for", [], None),
        ("10.0.0.7", "x-real-ip", [], None),
    ],
)
async def test_a_proxy_that_was_not_named_is_told_to_the_log(
    peer: str | None, field: str, trusted: list[str], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with what to write: without it all clients share one bucket, and who is near enough may be a proxy."""
    app = App(trusted=trusted)
    for path in ("/a", "/b"):

        @app.get(path, dependencies=[Depends(RateLimit(5, per=60, name=path))])
        async def handler() -> None: ...

    async def from_peer(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "client": peer and (peer, 1234)} if scope["type"] == "http" else scope, receive, send)

    value = "for=192.0.2.1" if field == "forwarded" else "192.0.2.1"
    async with TestClient(from_peer) as client:
        for path in ("/a", "/a", "/b"):
            assert (await client.get(path, headers={field: value})).status_code == 204
    said = [record.getMessage() for record in caplog.records]
    assert [line.rpartition("  ")[2] for line in said] == ([f'App(trusted=["{told}"])'] if told else [])


async def user(request: Request) -> str:
    return request.headers["user"]


async def by_user(name: Annotated[str, Depends(user)]) -> str | None:
    return None if name == "admin" else name


async def test_a_key_can_be_who_was_recognized() -> None:
    """It is a provider, with dependencies of its own; `None` is not counted; a long key is one key."""
    async with TestClient(limited(RateLimit(1, per=60, key=by_user))) as client:
        for name in ("ann", "bob", "x" * 5000, "x" * 5000 + "y"):
            assert (await client.get("/", headers={"user": name})).status_code == 200
            assert (await client.get("/", headers={"user": name})).status_code == 429
        for _ in range(3):
            response = await client.get("/", headers={"user": "admin"})
            assert response.status_code == 200
            assert "ratelimit" not in response.headers


async def test_a_key_of_a_plain_function() -> None:
    """Any provider gives a key: this one runs in a worker thread."""

    def by_header(request: Request) -> str:
        return request.headers["user"]

    async with TestClient(limited(RateLimit(1, per=60, key=by_header))) as client:
        assert [(await client.get("/", headers={"user": "a"})).status_code for _ in range(2)] == [200, 429]


async def test_one_limit_counts_a_request_once_and_is_shared_by_routes(autojump_clock: MockClock) -> None:
    """On a router and on a route it is one dependency; two routes take from the same bucket."""
    app, router = App(), Router(dependencies=[Depends(limit := RateLimit(3, per=60))])

    @router.get("/a", dependencies=[Depends(limit)])
    async def a(decision: Annotated[Decision, Depends(limit)]) -> int:
        return decision.remaining

    @router.get("/b")
    async def b() -> str:
        return "b"

    app.mount("/api", router)
    async with TestClient(app) as client:
        assert (await client.get("/api/a")).json() == 2
        assert (await client.get("/api/b")).headers["ratelimit"] == '"default";r=1;t=20'
        assert (await client.get("/api/a")).json() == 0
        assert (await client.get("/api/b")).status_code == 429


async def test_two_limits_are_two_items_of_each_field(autojump_clock: MockClock) -> None:
    """The list of RFC 9651, in two fields; the limit that refuses is named."""
    app = App(dependencies=[Depends(RateLimit(100, per=3600, name="hour"))])

    @app.get("/", dependencies=[Depends(RateLimit(1, per=5, name="burst"))])
    async def handler() -> str:
        return ""

    async with TestClient(app) as client:
        response = await client.get("/")
        assert response.headers["ratelimit-policy"] == '"hour";q=100;w=3600, "burst";q=1;w=5'
        assert response.headers["ratelimit"] == '"hour";r=99;t=36, "burst";r=0;t=5'
        refused = await client.get("/")
        assert refused.json()["violated-policies"] == ["burst"]
        assert refused.headers["retry-after"] == "5"


async def test_who_has_asked_too_often_is_told_so_before_the_body_is_read() -> None:
    """429 beats what is wrong with the body."""
    app = App()

    @app.post("/", dependencies=[Depends(RateLimit(1, per=60))])
    async def handler(body: dict[str, int]) -> str:
        return ""

    async with TestClient(app) as client:
        assert (await client.post("/", json={})).status_code == 200
        assert (await client.post("/", content=b"x" * 3_000_000)).status_code == 429


async def test_a_key_that_is_no_text_is_an_error_that_says_what_to_write(
    caplog: pytest.LogCaptureFixture, golden: Golden
) -> None:
    """A bug of the application's: 500, and the message is in the log."""

    async def by_number() -> str:
        return 7  # type: ignore[return-value]

    async with TestClient(limited(RateLimit(1, per=60, key=by_number))) as client:
        assert (await client.get("/")).status_code == 500
    error = next(record.exc_info[1] for record in caplog.records if record.exc_info)
    golden("contrib/ratelimit_key", str(error))


# ---- other stores


class Shared:
    """A store behind a network, as the documentation's for Redis: it has a clock of its own."""

    def __init__(self) -> None:
        self.full_at: dict[str, float] = {}
        self.asked: list[tuple[str, str]] = []
        self.down: Exception | None = None
        self.slow = 0.0

    async def take(self, key: str, quota: Quota, now: float) -> Decision:
        await trio.sleep(self.slow)
        if self.down is not None:
            raise self.down
        self.asked.append((quota.name, key))
        self.full_at[key], decision = take(self.full_at.get(key), quota, 1e9 + now)
        return decision


async def test_two_applications_share_a_store(autojump_clock: MockClock) -> None:
    """As two workers do behind one Redis."""
    store = Shared()
    backend: Backend = store
    first, second = (limited(RateLimit(1, per=60, name="all", backend=backend)) for _ in range(2))
    async with TestClient(first) as one, TestClient(second) as two:
        assert (await one.get("/")).status_code == 200
        assert (await two.get("/")).status_code == 429
    assert store.asked == [("all", "127.0.0.1")] * 2


async def test_a_store_is_connected_with_the_application() -> None:
    """One that has `connected` is entered before the first request and left after the last one."""
    life: list[str] = []

    class Connected(Shared):
        @asynccontextmanager
        async def connected(self) -> AsyncGenerator[None]:
            life.append("entered")
            yield
            life.append("left")

    async with TestClient(limited(RateLimit(1, per=60, backend=Connected()))) as client:
        assert life == ["entered"]
        assert [(await client.get("/")).status_code for _ in range(2)] == [200, 429]
    assert life == ["entered", "left"]


async def test_a_store_that_fails_lets_requests_through_or_not(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As `on_failure` says, and somebody is told, once; so if it takes longer than `timeout`."""
    caplog.set_level(logging.INFO, "trivet")
    store = Shared()
    opened = limited(RateLimit(1, per=60, backend=store))
    closed = limited(RateLimit(1, per=60, backend=store, on_failure="refuse", timeout=0.5))
    async with TestClient(opened) as lax, TestClient(closed) as strict:
        store.down = OSError("no route to redis")
        for _ in range(3):
            passed = await lax.get("/")
            assert passed.status_code == 200
            assert "ratelimit" not in passed.headers
        refused = await strict.get("/")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        noted = [record for record in caplog.records if record.name == "trivet.contrib.ratelimit"]
        assert [(record.levelno, record.exc_info is not None) for record in noted] == [(logging.WARNING, True)] * 2
        store.down, store.slow = None, 0.7
        start = trio.current_time()
        assert (await strict.get("/")).status_code == 503
        assert trio.current_time() - start == pytest.approx(0.5)
        assert (await lax.get("/")).status_code == 200
        assert (await lax.get("/")).status_code == 429
        said = [record for record in caplog.records if record.name == "trivet.contrib.ratelimit"][len(noted) :]
        assert [(record.levelno, record.getMessage()) for record in said] == [
            (logging.INFO, "the backend of the rate limit 'default' works again; 3 requests were admitted")
        ]
        store.down, store.slow = Busy(), 0.0
        assert (await strict.get("/")).headers["retry-after"] == "3"


class Away(HTTPError):
    """What a store raises that knows that it is away."""


@pytest.mark.parametrize(
    ("error", "levels"),
    [
        (Away(503, "the store is away"), [(logging.WARNING, False)]),
        (Busy("the store is busy"), [(logging.WARNING, False)]),
        (trio.TooSlowError(), [(logging.WARNING, False)]),
        (OSError("no route"), [(logging.WARNING, True)]),
        (AttributeError("'Redis' object has no attribute 'take'"), [(logging.ERROR, True)]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_the_log_tells_an_outage_from_a_bug(
    error: Exception, levels: list[tuple[int, bool]], caplog: pytest.LogCaptureFixture
) -> None:
    """What says itself that it is away is one line; a bug of a store is an error, with the place where it is."""
    store = Shared()
    store.down = error
    async with TestClient(limited(RateLimit(1, per=60, backend=store))) as client:
        for _ in range(2):
            assert (await client.get("/")).status_code == 200
    noted = [record for record in caplog.records if record.name == "trivet.contrib.ratelimit"]
    assert [(record.levelno, bool(record.exc_info)) for record in noted] == levels
    assert "\n" not in noted[0].getMessage()
    assert (str(error) or "it took too long") in noted[0].getMessage()


@pytest.mark.parametrize("error", [OSError("no route"), KeyError("a")], ids=["outage", "bug"])
async def test_a_store_that_fails_now_and_then_does_not_fill_the_log(
    error: Exception, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once in a while, with how many there were; also if the last of them is the one that does not end."""
    caplog.set_level(logging.INFO, "trivet")
    store = Shared()
    pace = QUIET / 99.5  # a hundred of them are more than that, whatever floats make of it
    async with TestClient(limited(RateLimit(10**6, per=1, backend=store))) as client:
        for number in range(250):
            store.down = None if number % 2 else error
            await client.get("/")
            await trio.sleep(pace)
        store.down = error
        for _ in range(100):
            await client.get("/")
            await trio.sleep(pace)
        store.down = None
        await client.get("/")
    said = [record.getMessage().split(": ")[0] for record in caplog.records if record.name.endswith("ratelimit")]
    store_ = "the backend of the rate limit 'default'"
    failed = f"{store_} {'failed' if isinstance(error, OSError) else 'has a bug'}; until it works"
    again = " again" if isinstance(error, OSError) else ""
    assert said == [
        f"{failed}{again} requests are admitted",
        f"{store_} works again; 1 requests were admitted",
        f"{failed}{again} requests are admitted; 49 more like it since the last line",
        f"{store_} works again; 50 requests were admitted",
        f"{failed}{again} requests are admitted; 49 more like it since the last line",
        f"{store_} works again; 50 requests were admitted",
        f"{failed}{again} requests are admitted; 74 more like it since the last line",
        f"{store_} works again; 124 requests were admitted",
    ]


async def test_a_bug_behind_an_outage_is_told_too(caplog: pytest.LogCaptureFixture) -> None:
    """Once, although the outage has been told already."""
    store = Shared()
    async with TestClient(limited(RateLimit(1, per=60, backend=store))) as client:
        for store.down in (Busy(), TypeError("no number"), TypeError("no number"), Busy()):
            assert (await client.get("/")).status_code == 200
    noted = [record.levelno for record in caplog.records if record.name == "trivet.contrib.ratelimit"]
    assert noted == [logging.WARNING, logging.ERROR]


async def test_a_catcher_keeps_what_clients_are_told(autojump_clock: MockClock) -> None:
    """A page of one's own for a 429, or a 503, goes out with the fields of the limit and `Retry-After`."""
    store = Shared()
    app = limited(RateLimit(1, per=60, backend=store, on_failure="refuse"))

    @app.catch(429)
    @app.catch(503)
    async def page(request: Request, error: HTTPError) -> tuple[int, str]:
        return error.status, "later, please"

    async with TestClient(app) as client:
        await client.get("/")
        refused = await client.get("/")
        assert (refused.status_code, refused.text) == (429, "later, please")
        assert refused.headers.get_list("retry-after") == ["60"]
        assert refused.headers["ratelimit"] == '"default";r=0;t=60'
        store.down = Busy()
        away = await client.get("/")
        assert (away.status_code, away.text) == (503, "later, please")
        assert away.headers.get_list("retry-after") == ["3"]


@pytest.mark.parametrize("answer", [None, (True, 1, 1.0), Decision(False, 0, math.inf), Decision(True, 1, math.nan)])
async def test_a_store_that_decides_nothing_has_failed(answer: Any) -> None:
    """What is no decision admits nobody where the limit refuses on failure."""

    class Vague:
        async def take(self, key: str, quota: Quota, now: float) -> Decision:
            found: Decision = answer
            return found

    outcomes: dict[Literal["refuse", "admit"], int] = {"refuse": 503, "admit": 200}
    for on_failure, status in outcomes.items():
        limit = RateLimit(1, per=60, backend=Vague(), on_failure=on_failure)
        async with TestClient(limited(limit)) as client:
            assert (await client.get("/")).status_code == status


async def test_a_client_that_leaves_while_the_store_is_asked_is_no_failure_of_the_store(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The cancellation passes through; nothing is logged about the store."""
    store = Shared()
    store.slow = 0.9
    async with TestClient(limited(RateLimit(1, per=60, backend=store))) as client:
        async with client.open("GET", "/") as exchange:
            await trio.sleep(0.5)
            exchange.leave()
            await exchange.wait_returned()
        assert store.asked == []
        assert (await client.get("/")).status_code == 200
    assert [record for record in caplog.records if record.name == "trivet.contrib.ratelimit"] == []
