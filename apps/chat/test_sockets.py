"""The same over sockets: in each server, and by processes that are stopped and started again."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest
import trio

from apps.chat.limits import Limits
from apps.chat.main import create_app
from apps.conftest import Run
from tests.harness import Serve

pytestmark = pytest.mark.live


async def got(ws: Any, *kinds: str) -> dict[str, Any]:
    """The next message that is of one of these kinds."""
    with trio.fail_after(5):
        while (message := await ws.receive_json())["type"] not in kinds:
            pass
    found: dict[str, Any] = message
    return found


async def say(ws: Any, text: str) -> None:
    await ws.send_json({"type": "say", "key": f"the key of {text:.9}", "text": text})


async def test_two_people_talk_and_one_is_cut_off(serve: Serve) -> None:
    """The other sees it at once; who comes back has what was said meanwhile, and so do the room's events."""
    async with serve(create_app(Limits())) as client, client.websocket("/rooms/tea?name=Ada") as ada:
        await got(ada, "welcome")
        async with client.websocket("/rooms/tea?name=Bob") as bob:
            you = (await got(bob, "welcome"))["you"]
            assert (await got(ada, "came"))["id"] == you
            await say(bob, "one")
            line = await got(ada, "said")
            assert (line["line"]["text"], line["id"]) == ("one", (await got(bob, "said"))["id"])
            bob.leave()
            assert (await got(ada, "went"))["id"] == you
        await say(ada, "two")
        await got(ada, "said")
        async with client.websocket(f"/rooms/tea?name=Bob&after={line['id']}") as bob:
            assert not (await got(bob, "welcome"))["gap"]
            assert (await got(bob, "said"))["line"]["text"] == "two"
        async with client.open("GET", "/rooms/tea/events") as exchange:
            body = b""
            while b"two" not in body:
                body += await exchange.receive() or pytest.fail("the events ended")
            assert line["id"].encode() in body


async def test_who_does_not_read_costs_the_others_nothing(serve: Serve) -> None:
    """However much is said: it goes, and they talk on."""
    limits = replace(Limits(), burst=2000, waiting=20, text=20_000)
    async with serve(create_app(limits)) as client, client.websocket("/rooms/tea?name=Ada") as ada:
        await got(ada, "welcome")
        async with client.websocket("/rooms/tea?name=Bob") as bob:
            await got(bob, "welcome")
            gone = False
            for number in range(1000):  # a kernel takes some megabytes before anybody has to wait
                await say(ada, f"{number} {20_000 * 'x'}"[:20_000])
                gone = (await got(ada, "said", "went"))["type"] == "went"
                if gone:
                    break
            assert gone
            bob.leave()


@pytest.mark.slow
async def test_the_drain_closes_with_1001_and_who_comes_back_is_told_of_the_gap(run: Run) -> None:
    """The server's successor has nothing of what was said, and says so."""
    async with run("apps.chat:app", "--graceful-timeout", "1") as server, server.client() as client:
        async with client.websocket("/rooms/tea?name=Ada") as ada:
            await got(ada, "welcome")
            await say(ada, "one")
            last = (await got(ada, "said"))["id"]
            server.send_signal(signal.SIGTERM)
            assert await ada.wait_closed() == (1001, "")
        assert await server.wait() == 0
    async with (
        run("apps.chat:app") as server,
        server.client() as client,
        client.websocket(f"/rooms/tea?name=Ada&after={last}") as ada,
    ):
        assert (await got(ada, "welcome"))["gap"]


async def test_echo(serve: Serve) -> None:
    """Texts and binary messages, large ones too."""
    async with serve(create_app(Limits())) as client, client.websocket("/echo") as ws:
        for message in ("text", b"\x00binary", "é" * 100_000, b""):
            await ws.send(message)
            assert await ws.receive() == message
