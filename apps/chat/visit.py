"""One person in one room, over one WebSocket: what runs for them, and when it ends. This file owns that nursery.

                          the WebSocket's nursery
            read     what the page sends       -> the room, or a refusal back
            write    what is said, who comes   -> the page
            show     who types                 -> the page
            beat     silence                   -> the page

Each of the four may be the first to know that it is over: the page has closed, its connection takes nothing any more,
the application ends, nothing was heard for too long, there is a bug. It returns or raises, and the others are cancelled
where they are; nobody has to be told, and nothing has to be remembered. When the server drains, all four are: trivet
closes with 1001, and the page comes back to another server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Final

import msgspec
import trio

from trivet import HTTPError, WebSocket
from trivet.contrib import broadcast
from trivet.contrib.broadcast import Joined, Left, Message, Present, Subscription
from trivet.errors import InvalidMessage

from .limits import Allowance, checked
from .messages import Beat, Beats, Came, FromPage, Gap, Here, Line, Member, Refused, Said, Say, Typing, Welcome, Went
from .rooms import Rooms

BEAT: Final = 20.0
"""Seconds between two signs of life, as between uvicorn's pings: proxies give up what is silent for 60 (nginx's
`proxy_read_timeout`)."""

SILENT: Final = 2.5 * BEAT
"""Seconds without an answer, after which a page is taken for gone: two beats were not answered."""

TYPING: Final = 5.0
"""Seconds that one keystroke counts as typing. The page says so every three while there are more."""

TOO_MANY: Final = 1008
NOT_HEARD: Final = 4408
"""Our own; as HTTP's 408. Pages come back after this one, and after 1001 and 1013; not after 1008."""

_BEAT: Final = msgspec.json.encode(Beats()).decode()


class Visit:
    """One person in one room.

    Args:
        ws: the connection.
        rooms: all of them.
        room: the name of this one.
        name: of the person.
    """

    def __init__(self, ws: WebSocket, rooms: Rooms, room: str, name: str) -> None:
        self.ws = ws
        self.rooms = rooms
        self.room = room
        self.name = name
        self.you = ""
        self.heard = trio.current_time()
        """When the page has sent something the last time."""
        self.types_until = inf
        """Until when the last keystroke counts, while others see this person type; infinite: they do not."""
        self.allowance = Allowance(rooms.limits.burst, rooms.limits.rate)
        self.excess = 0
        """Messages in a row that were too many."""

    async def run(self, after: str | None) -> None:
        """Be there, until one side has enough.

        Args:
            after: the id of the last message that the page has, if it comes back.

        Raises:
            SlowSubscriber: the page has not read for so long that too much waits for it.
        """
        async with (
            self.rooms.signs.subscribe(self.room) as signs,
            self.rooms.enter(self.room, self.name, after) as news,
        ):
            await self.welcome(news)
            async with trio.open_nursery() as nursery:
                for task in (self.read, partial(self.write, news), partial(self.show, signs), partial(self.beat, news)):
                    nursery.start_soon(_until_first, nursery.cancel_scope, task)

    async def welcome(self, news: Subscription[Message | Joined | Left | Present]) -> None:
        """Tell who is there. Whoever comes and goes from now on waits in `news`."""
        assert news.member is not None
        self.you = news.member.id
        gap, news.gap = news.gap, False
        await self.ws.send_json(Welcome(self.you, _shown(news.members), gap, BEAT, self.rooms.limits.text))

    # ---- the four

    async def read(self) -> None:
        """Take what the page sends, until it closes. What is wrong is answered, and nobody else hears of it."""
        incoming: AsyncIterator[FromPage] = self.ws.iter(FromPage)
        while True:
            message: FromPage | str | None = None
            try:
                # A receive that is cancelled loses no message, so there may be a timeout around it.
                with trio.move_on_at(self.types_until):
                    message = await anext(incoming)
            except StopAsyncIteration:
                return
            except InvalidMessage as error:
                message = error.detail
            if message is None:
                await self.types(False)
                continue
            self.heard = trio.current_time()
            if self.allowance.take():
                self.excess = 0
                await self.take(message)
            elif self.excess < self.rooms.limits.patience:
                self.excess += 1
                await self.refuse(message, "That was too fast; wait a moment.")
            else:
                await self.ws.close(TOO_MANY, "too many messages")
                return

    async def write(self, news: Subscription[Message | Joined | Left | Present]) -> None:
        """Send what is said, and who comes and goes: in the order in which it happens."""
        async for item in news:
            await self.tell_gap(news)
            match item:
                case Message():
                    await self.ws.send_json(Said(item.id, msgspec.Raw(item.data)))
                case Joined(member):
                    await self.ws.send_json(Came(member.id, msgspec.Raw(member.data)))
                case Left(member):
                    await self.ws.send_json(Went(member.id))
                case Present(members):
                    await self.ws.send_json(Here(_shown(members)))

    async def tell_gap(self, news: Subscription[Message | Joined | Left | Present]) -> None:
        """Send that something may be missing, each time that what the rooms are kept in has lost something."""
        if news.gap:
            news.gap = False
            await self.ws.send_json(Gap())

    async def show(self, signs: Subscription[Message]) -> None:
        """Send who types: what was published is what is sent."""
        async for sign in signs:
            await self.ws.send(sign.data)

    async def beat(self, news: Subscription[Message | Joined | Left | Present]) -> None:
        """Send a sign of life from time to time, until the page answers none."""
        while trio.current_time() - self.heard < SILENT:
            await trio.sleep(BEAT)
            await self.tell_gap(news)
            await self.ws.send(_BEAT)
        await self.ws.close(NOT_HEARD, "nothing was heard of this page")

    # ---- what the page has sent

    async def take(self, message: FromPage | str) -> None:
        """Do what it asks for."""
        match message:
            case Say(key, text):
                try:
                    text = checked(text, self.rooms.limits.text)
                except ValueError as error:
                    await self.refuse(message, str(error))
                    return
                try:
                    await self.rooms.say(self.room, Line(self.you, self.name, key, text, datetime.now(UTC)))
                except HTTPError:
                    await self.refuse(message, "The rooms are away; try again in a moment.")
                await self.types(False)
            case Typing():
                await self.types(True)
            case Beat():
                pass  # it was heard
            case str():
                await self.refuse(message, message)

    async def refuse(self, message: FromPage | str, reason: str) -> None:
        """Tell the sender, and only the sender, why not."""
        key = message.key if isinstance(message, Say) else None
        await self.ws.send_json(Refused(key, reason))

    async def types(self, on: bool) -> None:
        """Show the others, unless they know that it is over; and note until when it holds."""
        if on or self.types_until < inf:
            self.types_until = trio.current_time() + TYPING if on else inf
            await self.rooms.sign(self.room, self.you, types=on)


def _shown(members: Mapping[str, broadcast.Member]) -> list[Member]:
    return [Member(each.id, msgspec.Raw(each.data)) for each in members.values()]


async def _until_first(scope: trio.CancelScope, task: Callable[[], Awaitable[object]]) -> None:
    """Run a task, and let its end be the end of all; an error ends them without that."""
    await task()
    scope.cancel()
