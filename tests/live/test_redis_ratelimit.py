"""Buckets in a real redis-server: the same decisions as in memory, the same bucket for all processes."""

from __future__ import annotations

import json
import logging
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import Peer, connect, run_server
from tests.harness.redis_server import RedisServer, redis_server
from tests.live.test_redis import SECONDS, connecting, until
from trivet import App, Depends
from trivet.contrib.ratelimit import Quota, RateLimit, take
from trivet.contrib.redis import Redis, RedisBuckets
from trivet.contrib.redis._buckets import TAKE
from trivet.testing import TestClient

pytestmark = pytest.mark.live


QUOTAS = st.builds(
    Quota, st.just("q"), requests=st.integers(1, 1000), per=st.integers(1, 3600), burst=st.integers(1, 1000)
)
TIMES = st.floats(0, 1000) | st.just(0.0) | st.floats(0, 1e-6) | st.floats(-1e7, 0)

EACH = (
    TAKE
    + """
local full_at, decisions = nil, {}
for i = 4, #ARGV do
    local admitted, remaining, wait
    full_at, admitted, remaining, wait =
        take(full_at, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[i]))
    decisions[#decisions + 1] = {string.format('%.17g', full_at), admitted, remaining, string.format('%.17g', wait)}
end
return cjson.encode(decisions)
"""
)


@pytest.fixture
async def server() -> AsyncGenerator[RedisServer]:
    """A redis-server."""
    async with redis_server() as server:
        yield server


def evaluated(wire: socket.socket, script: str, *arguments: str) -> Any:
    """What a script returns, which is JSON."""
    words = [word.encode() for word in ("EVAL", script, "0", *arguments)]
    wire.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
    with wire.makefile("rb") as reader:
        head = reader.readline()
        assert head[:1] == b"$", head
        return json.loads(reader.read(int(head[1:]) + 2))


async def test_the_script_decides_as_the_memory_does(server: RedisServer) -> None:
    """The same times give the same decisions and the same buckets, to the last bit; also when the clock jumps back."""
    with socket.create_connection(("127.0.0.1", server.port)) as wire:

        @settings(max_examples=150)
        @given(QUOTAS, st.floats(0, 2e9), st.lists(TIMES, min_size=1, max_size=40))
        def check(quota: Quota, now: float, gaps: list[float]) -> None:
            times, expected, full_at = list[float](), list[list[Any]](), None
            for gap in gaps:
                now = max(0.0, now + gap)
                times.append(now)
                full_at, decision = take(full_at, quota, now)
                expected.append([full_at, *decision])
            arguments = map(str, (quota.requests, quota.per, quota.burst, *map(repr, times)))
            found = [[float(a), b, c, float(d)] for a, b, c, d in evaluated(wire, EACH, *arguments)]
            assert found == expected

        check()


async def test_a_bucket_is_kept_until_it_is_full(server: RedisServer) -> None:
    """It expires by then; a refusal changes nothing; names, sizes and keys do not run into each other."""
    quota = Quota("a:b", requests=2, per=3600, burst=2)
    async with connecting(server) as redis:
        buckets = RedisBuckets(redis, prefix="limits:")
        decisions = [await buckets.take("c", quota, 0.0) for _ in range(3)]
        assert [decision[:2] for decision in decisions] == [(True, 1), (True, 0), (False, 0)]
        assert all(1790 < decision.wait <= 1800 for decision in decisions)
        (key,) = await redis.execute("KEYS", "*")
        assert key == b'limits:"a:b";q=2;w=3600;b=2:c'
        assert 3500_000 < await redis.execute("PTTL", key) <= 3600_000
        assert (await buckets.take("b:c", Quota("a", requests=2, per=3600, burst=2), 0.0)).remaining == 1
        assert (await RedisBuckets(redis).take("c", quota, 0.0)).remaining == 1
        assert (await buckets.take("c", Quota("a:b", 1000, per=3600, burst=1000), 0.0)).remaining == 999
        assert not (await buckets.take("c", quota, 0.0)).admitted
        for name in ("\ud800", "", "x" * 64, "ü\n"):
            assert (await buckets.take(name, quota, 0.0)).remaining == 1


async def test_a_quota_of_any_size_can_be_kept(server: RedisServer) -> None:
    """The smallest expires in no time, and the largest not in the lifetime of Redis, which is no error."""
    largest = 10**15 - 1
    async with connecting(server) as redis:
        buckets = RedisBuckets(redis)
        for requests in (1, largest):
            for per in (1, largest):
                for burst in (1, largest):
                    quota = Quota(f"{requests}/{per}/{burst}", requests, per, burst)
                    decision = await buckets.take("k", quota, 0.0)
                    assert decision.admitted
                    assert decision.remaining == burst - 1


async def test_tokens_come_back_with_the_clock_of_redis(server: RedisServer) -> None:
    """Who was refused is admitted after the time that it was told, by whatever clock this process has."""
    quota = Quota("q", requests=50, per=1, burst=1)
    async with connecting(server) as redis:
        buckets = RedisBuckets(redis)
        assert (await buckets.take("k", quota, 1e9)).admitted
        wait = (await buckets.take("k", quota, -1e9)).wait
        assert 0 <= wait <= 0.02
        await trio.sleep(wait)
        assert (await buckets.take("k", quota, 0.0)).admitted


def limited(redis: Redis, **options: Any) -> App:
    """An application with a limit of two requests an hour."""
    app = App()

    @app.get("/", dependencies=[Depends(RateLimit(2, per=3600, backend=RedisBuckets(redis), **options))])
    async def handler() -> str:
        return "here"

    return app


async def test_applications_share_their_buckets(server: RedisServer) -> None:
    """Each connects by itself, and takes from the same bucket; a restart of Redis empties it."""
    one, other = connecting(server), connecting(server)
    async with TestClient(limited(one)) as first, TestClient(limited(other)) as second:
        answers = [(await client.get("/")).status_code for client in (first, second, second, first)]
        assert answers == [200, 200, 429, 429]
        await server.restart()
        await until(lambda: one.up and other.up)
        assert (await second.get("/")).headers["ratelimit"].startswith('"default";r=1;')


async def test_a_limit_of_a_redis_that_is_away(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Requests are admitted, or refused with 503, as `on_failure` says, without waiting; then it counts again."""
    redis = connecting(server)
    async with (
        TestClient(limited(redis)) as lax,
        TestClient(limited(redis, name="strict", on_failure="refuse")) as strict,
    ):
        assert (await strict.get("/")).status_code == 200
        server.kill()
        await until(lambda: not redis.up)
        with trio.fail_after(SECONDS):  # a hundred times the limit's `timeout` would be far more
            for _ in range(100):
                assert (await lax.get("/")).status_code == 200
                refused = await strict.get("/")
                assert refused.status_code == 503
                assert refused.headers["retry-after"] == "1"
        said = [record for record in caplog.records if record.name == "trivet.contrib.ratelimit"]
        assert [record.levelno for record in said] == [logging.WARNING] * 2  # one for each limit, not for each request
        await server.start()
        await until(lambda: redis.up)
        assert [(await lax.get("/")).status_code for _ in range(3)] == [200, 200, 429]


async def test_a_limit_of_a_redis_that_hangs(server: RedisServer) -> None:
    """The first request waits for `command_timeout`, the others for nothing."""
    redis = connecting(server, command_timeout=0.1, connect_timeout=0.1)
    async with TestClient(limited(redis)) as client:
        server.freeze()
        with trio.fail_after(SECONDS):  # two hundred times `command_timeout` would be twice as much
            for _ in range(200):
                assert (await client.get("/")).status_code == 200
        server.thaw()
        await until(lambda: redis.up)
        assert (await client.get("/")).headers["ratelimit"].startswith('"default";r=1;')


APP = """
import os
from trivet import App, Depends
from trivet.contrib.ratelimit import RateLimit
from trivet.contrib.redis import Redis, RedisBuckets

app = App()
redis = Redis(os.environ["REDIS_URL"], command_timeout=5, required=True)

@app.get("/", dependencies=[Depends(RateLimit(20, per=3600, backend=RedisBuckets(redis), timeout=10))])
async def handler() -> str:
    return "here"

@app.get("/worker")
async def worker() -> str:
    return os.environ["TRIVET_WORKER_INDEX"]
"""


async def ask(peer: Peer, path: str) -> tuple[bytes, bytes]:
    """The status and the body of an answer, on a connection that stays open."""
    await peer.send(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    head, _, body = (await peer.read_until(b"\r\n\r\n", SECONDS)).partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    while len(body) < size:
        body += await peer.stream.receive_some()
    return head[9:12], body


@pytest.mark.slow
async def test_workers_share_their_buckets(server: RedisServer, tmp_path: Path) -> None:
    """Of many requests at once to two processes exactly as many are admitted as the quota says."""
    (tmp_path / "limited_site.py").write_text(APP)
    statuses: list[bytes] = []

    async def ask_often(peer: Peer) -> None:
        statuses.extend([(await ask(peer, "/"))[0] for _ in range(10)])

    async with (
        run_server(
            "trivet",
            "limited_site:app",
            "--workers",
            "2",
            directory=tmp_path,
            environment={"REDIS_URL": server.url},
        ) as site,
        AsyncExitStack() as connections,
    ):
        for index in range(2):
            await site.wait_output(f"worker {index} (")
        peers, workers = list[Peer](), set[bytes]()
        with trio.fail_after(SECONDS):
            while len(peers) < 6 or len(workers) < 2:
                peers.append(await connections.enter_async_context(connect(site.address)))
                workers.add((await ask(peers[-1], "/worker"))[1])
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(ask_often, peer)
    counted = Counter(statuses)
    assert counted[b"200"] == 20
    assert counted[b"429"] == 10 * len(peers) - 20
