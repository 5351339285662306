"""Several processes that share their rooms by a Redis, which is killed and started again under them."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from apps.chat.limits import Limits
from apps.chat.main import create_app
from tests.harness import ServerProcess, run_server
from tests.harness.redis_server import RedisServer, redis_server
from trivet.testing import TestClient, WebSocketRefused

pytestmark = pytest.mark.live

SECONDS = 20


@asynccontextmanager
async def process(redis: RedisServer) -> AsyncGenerator[ServerProcess]:
    """One of the processes."""
    async with run_server("trivet", "apps.chat:app", environment={"CHAT_REDIS_URL": redis.url}) as server:
        yield server


async def got(ws: Any, *kinds: str, seen: list[str] | None = None) -> dict[str, Any]:
    """The next message that is of one of these kinds."""
    with trio.fail_after(SECONDS):
        while (message := await ws.receive_json())["type"] not in kinds:
            if seen is not None:
                seen.append(message["type"])
    found: dict[str, Any] = message
    return found


async def say(ws: Any, text: str) -> None:
    """Say it, and again as long as it is refused, as a person would."""
    with trio.fail_after(SECONDS):
        while True:
            await ws.send_json({"type": "say", "key": f"the key of {text}", "text": text})
            if (await got(ws, "said", "refused"))["type"] == "said":
                return
            await trio.sleep(0.6)  # two messages in a second are not too many


async def people(ws: Any, welcome: dict[str, Any], names: set[str]) -> None:
    """Wait until those are there."""
    there = {each["id"]: each["person"]["name"] for each in welcome["people"]}
    while set(there.values()) != names:
        message = await got(ws, "came", "went")
        if message["type"] == "came":
            there[message["id"]] = message["person"]["name"]
        else:
            del there[message["id"]]


@pytest.mark.slow
async def test_two_processes_share_a_room_and_outlive_their_redis() -> None:
    """Messages, history, who is there; when Redis comes back nobody has lost a connection, and the gap is told."""
    async with (
        redis_server() as redis,
        process(redis) as one,
        process(redis) as other,
        one.client() as here,
        other.client() as there,
        here.websocket("/rooms/tea?name=Ada") as ada,
        there.websocket("/rooms/tea?name=Bob") as bob,
    ):
        await people(ada, await got(ada, "welcome"), {"Ada", "Bob"})
        await people(bob, await got(bob, "welcome"), {"Ada", "Bob"})
        await say(ada, "one")
        line = await got(bob, "said")
        assert line["line"]["text"] == "one"
        await bob.send_json({"type": "typing"})
        assert (await got(ada, "types"))["on"]
        await say(bob, "two")
        async with there.websocket(f"/rooms/tea?name=Cy&after={line['id']}") as cy:
            assert not (await got(cy, "welcome"))["gap"]
            assert (await got(cy, "said"))["line"]["text"] == "two"
            await cy.send_json({"type": "say", "key": "the key of one", "text": "said before, over there"})
            await say(cy, "three")
        assert [(await got(ada, "said"))["line"]["text"] for _ in range(2)] == ["two", "three"]
        assert (await got(ada, "went"))["type"] == "went"
        assert (await got(bob, "said"))["line"]["text"] == "three"

        redis.kill()
        await bob.send_json({"type": "say", "key": "the key of four", "text": "four"})
        assert "try again" in (await got(bob, "refused"))["reason"]
        with pytest.raises(WebSocketRefused, match="503"):
            await here.websocket("/rooms/tea?name=Dan").__aenter__()
        await redis.start()
        seen: list[str] = []
        await say(bob, "four")
        assert (await got(ada, "gap", seen=seen))["type"] == "gap"
        assert (await got(ada, "said", seen=seen))["line"]["text"] == "four"
        await say(ada, "five")
        assert (await got(bob, "said", seen=seen))["line"]["text"] == "five"
        assert not {"went", "came"} & set(seen)
        async with there.websocket("/rooms/tea?name=Eve") as eve:
            await people(eve, await got(eve, "welcome"), {"Ada", "Bob", "Eve"})
            assert (await got(eve, "said"))["line"]["text"] == "four"
        one.send_signal(signal.SIGTERM)
        await got(bob, "went")
        assert (await ada.wait_closed())[0] == 1001
        assert await one.wait() == 0


async def test_who_speaks_to_a_redis_without_memory_is_told_and_stays() -> None:
    """What was not said is said again when there is some; that somebody types is shown where they are."""
    with trio.fail_after(SECONDS):
        async with (
            redis_server() as redis,
            TestClient(create_app(Limits(), redis.url)) as client,
            client.websocket("/rooms/tea?name=Ada") as ada,
            client.websocket("/rooms/tea?name=Bob") as bob,
        ):
            await redis.ask("CONFIG SET maxmemory 1")
            await ada.send_json({"type": "typing"})
            assert (await got(bob, "types"))["on"]
            await ada.send_json({"type": "say", "key": "the key of one", "text": "one"})
            assert "try again" in (await got(ada, "refused"))["reason"]
            await redis.ask("CONFIG SET maxmemory 0")
            await say(ada, "one")
            assert (await got(bob, "said"))["line"]["text"] == "one"


async def test_without_its_redis_nobody_enters() -> None:
    """The page is served, and who comes is told to come again; nothing waits for what is not there."""
    with trio.fail_after(SECONDS):
        async with TestClient(create_app(Limits(), "redis://127.0.0.1:1")) as client:
            assert (await client.get("/")).status_code == 200
            with pytest.raises(WebSocketRefused, match="503"):
                await client.websocket("/rooms/tea?name=Ada").__aenter__()
            async with client.events("/rooms/tea/events") as events:
                assert [event async for event in events] == []
            assert (await client.get("/rooms")).json() == []
