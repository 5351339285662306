"""What answers as no Redis would, once it has said hello: a proxy, another program, or replies that are another's.

That is a connection that is lost, and nothing more: whatever else the application does goes on.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.live.test_redis import until
from trivet import App, Depends
from trivet.contrib.broadcast import Broadcast
from trivet.contrib.ratelimit import RateLimit
from trivet.contrib.redis import Redis, RedisAway, RedisBroadcast, RedisBuckets, _topics
from trivet.testing import TestClient

pytestmark = pytest.mark.live

HELLO = b"%3\r\n$5\r\nproto\r\n:3\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$2\r\nid\r\n:7\r\n"

SAID = {
    "no protocol": b"?!\r\n",
    "a push of nothing": b">0\r\n",
    "a push of one": b">1\r\n$7\r\nmessage\r\n",
    "a push of two": b">2\r\n$7\r\nmessage\r\n$1\r\na\r\n",
    "a message that is a number": b">3\r\n$7\r\nmessage\r\n$9\r\nx:topic:a\r\n:1\r\n",
    "a message to a list": b">3\r\n$7\r\nmessage\r\n*0\r\n$1\r\na\r\n",
    "a channel that nobody asked for": b">3\r\n$9\r\nsubscribe\r\n$3\r\nabc\r\n:1\r\n",
    "a mapping": b"%1\r\n:1\r\n:2\r\n",
    "a mapping by lists": b"%1\r\n*1\r\n:1\r\n:2\r\n",
    "nothing": b"_\r\n",
    "a number": b":1\r\n",
    "two numbers": b"*2\r\n:1\r\n:2\r\n",
    "a list in a list": b"*2\r\n:0\r\n*1\r\n:1\r\n",
    "four numbers": b"*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n",
    "a number that is none": b":abc\r\n",
    "a length that is none": b"$x\r\n",
    "no text": b"$2\r\n\xff\xfe\r\n",
}


@asynccontextmanager
async def answering(said: bytes) -> AsyncGenerator[Redis]:
    """What says hello, and then always the same."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            await stream.receive_some()
            await stream.send_all(HELLO)
            while await stream.receive_some():
                await stream.send_all(said)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        yield Redis(f"redis://127.0.0.1:{port}", command_timeout=0.05, backoff=0.01, max_backoff=0.02)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_what_makes_no_sense_is_a_lost_connection(
    said: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of commands and of subscribers: it is told to the log, and a new one is made, as often as it takes."""
    monkeypatch.setattr(_topics, "WAIT", 0.1)
    async with answering(said) as redis, Broadcast(backend=RedisBroadcast(redis, prefix="x:")) as broadcast:
        for _ in range(2):
            await until(lambda: redis.up)
            with pytest.raises(RedisAway):
                await broadcast.publish("a", "x")
        with pytest.raises(RedisAway):
            async with broadcast.subscribe("a"):
                raise AssertionError("it began")
        await until(lambda: redis.losses > 2)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@pytest.mark.parametrize("said", [SAID["a number"], SAID["two numbers"], SAID["no text"], SAID["no protocol"]])
async def test_a_limit_takes_what_is_no_decision_for_an_outage(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """`on_failure` decides, and the log does not call it a bug of the store."""
    async with answering(said) as redis:
        app = App()

        @app.get("/", dependencies=[Depends(RateLimit(1, per=60, backend=RedisBuckets(redis), on_failure="refuse"))])
        async def handler() -> None: ...

        async with TestClient(app) as client:
            assert (await client.get("/")).status_code == 503
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
