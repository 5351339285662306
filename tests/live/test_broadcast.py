"""Broadcast over WebSockets on real sockets, under stock hypercorn and under our own server."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from tests.harness import connect, serving
from tests.harness.providers import entering
from tests.harness.serving import SocketServer
from tests.live._tasks import living, watching
from tests.live._ws import handshake
from trivet import App, Depends, WebSocket
from trivet.contrib.broadcast import Broadcast, Joined, Left, Message, Slow, SlowSubscriber

pytestmark = pytest.mark.live

both_servers = pytest.mark.parametrize("server", ["hypercorn", "trivet"])


class Site:
    """A room, as the how-to has it, whose members are told who comes and goes."""

    def __init__(self, **options: Any) -> None:
        self.rooms = rooms = Broadcast(**options)
        self.app = app = App(cleanup_grace=0.2)
        self.ended: list[str] = []

        @app.websocket("/{name}", dependencies=[Depends(entering(rooms), scope="app")])
        async def room(ws: WebSocket, name: str) -> None:
            await ws.accept()
            try:
                async with (
                    rooms.subscribe("tea", member=name, presence=True) as subscription,
                    trio.open_nursery() as nursery,
                ):
                    await ws.send_json([member.data for member in subscription.members.values()])

                    async def tell() -> None:
                        async for item in subscription:
                            match item:
                                case Message(data):
                                    await ws.send(data)
                                case Joined(member):
                                    await ws.send(f"+{member.data}")
                                case Left(member):
                                    await ws.send(f"-{member.data}")
                                case present:
                                    await ws.send(f"={len(present.members)}")

                    nursery.start_soon(tell)
                    async for line in ws:
                        await rooms.publish("tea", f"{name}: {line!s}")
                    nursery.cancel_scope.cancel()
            except SlowSubscriber:
                self.ended.append(name)
                await ws.close(1013)

    async def until(self, count: int) -> None:
        """Wait until so many are there."""
        with trio.fail_after(10):
            while self.rooms.subscribers("tea") != count:  # noqa: ASYNC110 - it tells nobody
                await trio.sleep(0.005)


async def heard(ws: Any, count: int) -> list[str]:
    with trio.fail_after(5):
        return [await ws.receive() for _ in range(count)]


@both_servers
async def test_who_is_in_a_room_hears_who_comes_speaks_and_goes(server: SocketServer) -> None:
    """In one order for all; one that closes and one whose connection breaks have gone alike."""
    site = Site()
    async with serving(server, site.app) as client, client.websocket("/Ann") as ann:
        assert await ann.receive_json() == ["Ann"]
        async with client.websocket("/Bob") as bob:
            assert await bob.receive_json() == ["Ann", "Bob"]
            async with client.websocket("/Cid") as cid:
                assert await cid.receive_json() == ["Ann", "Bob", "Cid"]
                await bob.send("hello")
                assert await heard(cid, 1) == ["Bob: hello"]
                cid.leave()
                assert await heard(bob, 3) == ["+Cid", "Bob: hello", "-Cid"]
            await bob.close()
        assert await heard(ann, 5) == ["+Bob", "+Cid", "Bob: hello", "-Cid", "-Bob"]
        await site.until(1)


@pytest.mark.parametrize("slow", ["disconnect", "drop_oldest", "drop_new", "block"])
@both_servers
async def test_one_that_does_not_read_harms_nobody(slow: Slow, server: SocketServer) -> None:
    """It goes, or misses something, and its queue stays within its bound; the other has each message."""
    site = Site(buffer=8, slow=slow, block_timeout=0.05)
    async with serving(server, site.app) as client, connect(client.address) as stuck:
        await stuck.send(handshake(path=b"/Stuck"))
        await site.until(1)
        async with client.websocket("/Ann") as ann:
            assert await ann.receive_json() == ["Stuck", "Ann"]
            text, number = "x" * 100_000, 0
            with trio.fail_after(20):  # the kernel takes some megabytes before anybody has to wait
                while not site.rooms.counters.dropped or number < 20:
                    await site.rooms.publish("tea", f"{number} {text}")
                    message = str(await ann.receive())
                    if message.startswith("-"):
                        message = str(await ann.receive())
                    assert message.partition(" ")[0] == str(number)
                    number += 1
                    room = site.rooms._hub.rooms["tea"]
                    assert all(len(each._queue) <= 2 * 8 for each in room)
            gone = slow in ("disconnect", "block")
            assert [member.data for member in (await site.rooms.members("tea")).values()] == ["Stuck", "Ann"][gone:]
        stuck.reset()
        await site.until(0)
    assert site.ended == (["Stuck"] if gone else [])


@both_servers
async def test_members_that_break_off_leave_nothing(server: SocketServer) -> None:
    """All at once, half of them by RST: no member, no subscriber, no task; who stays knows that."""
    site = Site(buffer=4)
    async with serving(server, site.app, backlog=200) as client, client.websocket("/Ann") as ann:
        assert await ann.receive_json() == ["Ann"]
        with trio.fail_after(5):
            while watching() < (server == "hypercorn"):  # noqa: ASYNC110 - Ann's is there to stay
                await trio.sleep(0.01)
        before, here = living(), 1
        async with AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(connect(client.address)) for _ in range(40)]
            for number, peer in enumerate(peers):
                await peer.send(handshake(path=f"/{number}".encode()))
            await site.until(41)
            for number, peer in enumerate(peers):
                if number % 2:
                    peer.reset()
                else:
                    peer.leave()
            await site.until(1)
        await site.rooms.publish("tea", "alone")
        with trio.fail_after(5):
            while (told := await ann.receive()) != "alone":
                here = int(told[1:]) if told[0] == "=" else here + (1 if told[0] == "+" else -1)
            assert here == 1
            while living() != before:  # noqa: ASYNC110 - it is in the server's hands
                await trio.sleep(0.01)
    assert site.ended == []
