"""Sessions in a real redis-server: what the protocol promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

import pytest
import trio

from tests.harness.redis_server import RedisServer, redis_server
from tests.live.test_redis import connecting, until
from trivet import App, Depends
from trivet.contrib.redis import Redis, RedisAway, RedisSessionStore
from trivet.contrib.sessions import Session, Sessions
from trivet.testing import TestClient

pytestmark = pytest.mark.live


@pytest.fixture
async def server() -> AsyncGenerator[RedisServer]:
    """A redis-server."""
    async with redis_server() as server:
        yield server


async def test_what_is_kept_is_found_until_its_time_is_over(server: RedisServer) -> None:
    """Bytes in, the same bytes out; each `set` counts anew; what is deleted or expired is not there."""
    everything = bytes(range(256)) + b"\r\n$-1\r\n"
    async with connecting(server) as redis:
        store = RedisSessionStore(redis, prefix="s:")
        assert await store.get("k") is None
        assert await store.set("k", everything, 100)
        assert await store.get("k") == everything
        assert 90_000 < await redis.execute("PTTL", "s:k") <= 100_000
        assert await store.set("k", b"", 0.0001)  # at least a millisecond
        await trio.sleep(0.01)
        assert await store.get("k") is None
        assert await store.set("k", b"again", 5)
        assert [await store.delete("k"), await store.delete("k")] == [True, False]
        assert await store.get("k") is None
        assert await redis.execute("DBSIZE") == 0


async def test_a_session_that_was_ended_does_not_come_back(server: RedisServer) -> None:
    """With `replace` only what is there is written."""
    async with connecting(server) as redis:
        store = RedisSessionStore(redis)
        assert not await store.set("k", b"1", 5, replace=True)
        assert await store.get("k") is None
        assert await store.set("k", b"1", 5)
        assert await store.set("k", b"2", 5, replace=True)
        assert await store.get("k") == b"2"


async def test_only_what_is_still_there_is_exchanged(server: RedisServer) -> None:
    """`compare_and_set` writes over the very bytes that are expected, and over nothing; the time counts anew."""
    everything = bytes(range(256)) + b"\r\n$-1\r\n"
    async with connecting(server) as redis:
        store = RedisSessionStore(redis, prefix="s:")
        assert not await store.compare_and_set("k", b"", b"1", 5)
        assert await store.set("k", everything, 5)
        for other in (b"", everything[:-1], everything + b"\0"):
            assert not await store.compare_and_set("k", other, b"1", 5)
        assert await store.get("k") == everything
        assert await store.compare_and_set("k", everything, everything[::-1], 100)
        assert await store.get("k") == everything[::-1]
        assert 90_000 < await redis.execute("PTTL", "s:k") <= 100_000


async def test_a_store_that_is_away_says_so(server: RedisServer) -> None:
    """It raises, and does not take nobody's session for none."""
    async with connecting(server) as redis:
        store = RedisSessionStore(redis)
        server.kill()
        for call in (
            store.get("k"),
            store.set("k", b"", 5),
            store.compare_and_set("k", b"", b"", 5),
            store.delete("k"),
        ):
            with pytest.raises(RedisAway):
                await call


def counting(redis: Redis) -> App:
    """An application that counts in a session."""
    app, sessions = App(), Sessions(store=RedisSessionStore(redis))

    @app.post("/")
    async def count(session: Annotated[Session, Depends(sessions)]) -> int:
        session["n"] = session.get("n", 0) + 1
        number: int = session["n"]
        return number

    @app.delete("/")
    async def end(session: Annotated[Session, Depends(sessions)]) -> None:
        session.clear()

    return app


async def test_applications_share_their_sessions(server: RedisServer) -> None:
    """What one has put into a session another one finds, and what one has ended is over for all."""
    one, other = connecting(server), connecting(server)
    async with TestClient(counting(one)) as first, TestClient(counting(other)) as second:
        assert (await first.post("/")).json() == 1
        cookies = dict(first.cookies)
        for client, number in ((second, 2), (first, 3)):
            client.cookies.clear()
            assert (await client.post("/", headers=sent(cookies))).json() == number
        second.cookies.clear()
        assert (await second.delete("/", headers=sent(cookies))).status_code == 204
        first.cookies.clear()
        assert (await first.post("/", headers=sent(cookies))).json() == 1


async def test_nobody_is_logged_out_by_an_outage(server: RedisServer) -> None:
    """While Redis is away a session is answered with 503, and its cookie stays what it was."""
    redis = connecting(server, command_timeout=0.3)
    async with TestClient(counting(redis)) as client:
        await client.post("/")
        cookies = dict(client.cookies)
        client.cookies.clear()
        server.freeze()
        refused = await client.post("/", headers=sent(cookies))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "set-cookie" not in refused.headers
        server.thaw()
        await until(lambda: redis.up)
        assert (await client.post("/", headers=sent(cookies))).json() == 2


def sent(cookies: dict[str, str]) -> dict[str, str]:
    """The field that a browser sends them in."""
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
