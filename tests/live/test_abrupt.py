"""A thousand WebSockets that vanish in the middle of what is sent to them leave nothing: in memory and on sockets."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest
import trio
import trio.testing

from tests.harness import connect, serving
from tests.harness.providers import entering
from tests.harness.serving import Client, Server
from tests.harness.sockets import SocketClient
from tests.live._tasks import living
from tests.live._ws import handshake
from trivet import App, Depends, WebSocket
from trivet.contrib.broadcast import Broadcast, Message, Subscription

pytestmark = [pytest.mark.live, pytest.mark.slow]

MANY = 1000
STALLED = 125
"""Every so many does not read, and the server is in the middle of a message to it that the kernel does not take."""

AT_A_TIME = 100
TOO_LONG = b"x" * 8_000_000


class Site:
    """A room that says everything to everybody, and answers each with what it has said."""

    def __init__(self, *, presence: bool) -> None:
        self.rooms = rooms = Broadcast(buffer=4, slow="drop_oldest")
        self.app = app = App(cleanup_grace=0.2)
        self.accepted = 0
        self.told = set[str]()
        self.open = trio.Event()

        @app.websocket("/{name}", dependencies=[Depends(entering(rooms), scope="app")])
        async def room(ws: WebSocket, name: str) -> None:
            await ws.accept()
            self.accepted += 1
            # All enter in the same moment. One after the other, each would be told of each that comes behind it.
            await self.open.wait()
            async with (
                (
                    rooms.subscribe("tea", member=name, presence=True) if presence else rooms.subscribe("tea")
                ) as subscription,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self.tell, ws, name, subscription)
                async for line in ws:
                    await ws.send(line)
                nursery.cancel_scope.cancel()

    async def tell(self, ws: WebSocket, name: str, subscription: Subscription[object]) -> None:
        if name.startswith("stalled"):
            await ws.send(TOO_LONG)
        async for item in subscription:
            await ws.send(item.data if isinstance(item, Message) else "news")
            if isinstance(item, Message):
                self.told.add(name)


class Left(NamedTuple):
    """What there is to be left behind."""

    tasks: int
    descriptors: int
    queues: int

    @classmethod
    def now(cls) -> Left:
        gc.collect()
        queues = sum(isinstance(each, Subscription) for each in gc.get_objects())
        return cls(living(), len(os.listdir("/proc/self/fd")), queues)


async def until(check: Callable[[], bool]) -> None:
    """Wait for something that is in the server's hands."""
    with trio.move_on_after(30):  # what is wrong then is for the assertions to show
        while not check():  # noqa: ASYNC110 - it tells nobody
            await trio.sleep(0.01)


async def come(client: Client, number: int, stack: AsyncExitStack) -> Callable[[], object]:
    """Begin a WebSocket; returns how it vanishes: every other with RST, or with FIN and no close frame."""
    stalled = number % STALLED == 0
    name = f"stalled{number}" if stalled else f"{number}"
    if not isinstance(client, SocketClient):
        ws = await stack.enter_async_context(client.websocket(f"/{name}"))
        if stalled:
            ws.stop_reading()
        return ws.leave
    peer = await stack.enter_async_context(connect(client.address, small_buffer=stalled))
    await peer.send(handshake(path=f"/{name}".encode()))
    if number % 2:
        return peer.reset
    # Who is gone but for its reading half is not gone for a server that waits for it to read on.
    return peer.leave if stalled or number % 4 else peer.half_close


@pytest.mark.parametrize("presence", [False, True], ids=["echo", "presence"])
@pytest.mark.parametrize("server", ["memory", "hypercorn", "trivet"])
async def test_a_thousand_that_vanish_leave_nothing(server: Server, presence: bool) -> None:
    """No task, no descriptor, no member, no queue: what there is afterwards is what there was before the first came."""
    site = Site(presence=presence)
    rooms = site.rooms
    options = {} if server == "memory" else {"backlog": 2 * AT_A_TIME, "keep_alive_timeout": 60}
    async with serving(server, site.app, **options) as client:
        await trio.testing.wait_all_tasks_blocked()
        before = Left.now()
        async with AsyncExitStack() as stack:
            vanishing = list[Callable[[], object]]()
            for number in range(MANY):
                vanishing.append(await come(client, number, stack))
                if len(vanishing) % AT_A_TIME == 0:
                    await until(lambda: site.accepted == len(vanishing))
            site.open.set()
            await until(lambda: rooms.subscribers("tea") == MANY)
            assert len(await rooms.members("tea")) == (MANY if presence else 0)
            await rooms.publish("tea", "hello")
            await until(lambda: len(site.told) == MANY - MANY // STALLED)
            assert len(site.told) == MANY - MANY // STALLED, "those that stall, and only those"
            for number, vanish in enumerate(vanishing):
                if number % AT_A_TIME == 0:
                    await rooms.publish("tea", "x" * 1000)
                vanish()
            await rooms.publish("tea", "is anybody there?")
            await until(lambda: rooms.subscribers("tea") == 0)
        await until(lambda: living() <= before.tasks and len(os.listdir("/proc/self/fd")) <= before.descriptors)
        assert rooms.subscribers("tea") == rooms.counters.subscribers == 0
        assert await rooms.members("tea") == {}
        assert rooms._hub.rooms == {}
        assert Left.now() == before
