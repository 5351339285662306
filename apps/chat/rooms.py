"""The rooms: what was said in them, who is there, and how many may be. This file owns what they have in common.

It knows no WebSocket: who listens to a room's events (`main`) is no person in it, and hears the same.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Final

import msgspec
import trio

from trivet.contrib.broadcast import Broadcast, Joined, Left, Message, Present, Subscription

from .limits import Limits
from .messages import Line, Person, Types
from .place import Here, open_place

RECENT: Final = 50
"""Lines for who comes for the first time."""

KEYS: Final = 10_000
"""Of messages that were said, in all rooms together: longer than anybody waits for an answer."""


class RoomFull(Exception):
    """There is no place left: in this room, or for another one."""


class Rooms:
    """All rooms of this server, or of all that share a place.

    Two ways out, since what is lost matters differently:

    - `lines`: a conversation with holes misleads. Who does not keep up goes, comes back, and resumes without a gap.
    - `signs`: that somebody types. The newest replaces the others, so the oldest is dropped, and nobody goes for it.
    """

    def __init__(self, limits: Limits, place: Here) -> None:
        self.limits = limits
        self.place = place
        self.lines = Broadcast(
            history=limits.history,
            buffer=limits.waiting,
            slow="disconnect",
            backend=place.lines,
        )
        self.signs = Broadcast(buffer=8, slow="drop_oldest", backend=place.signs)
        self._people = Counter[str]()
        self._said = OrderedDict[tuple[str, str], trio.Event]()

    async def people(self) -> dict[str, int]:
        """How many are in each room that has any of this server."""
        return {room: len(await self.lines.members(room)) for room in list(self._people)}

    @contextmanager
    def seat(self, room: str) -> Generator[None]:
        """Have a place in a room.

        Raises:
            RoomFull: there is none.
        """
        if self._people[room] >= self.limits.people:
            raise RoomFull("The room is full.")
        if room not in self._people and len(self._people) >= self.limits.rooms:
            raise RoomFull("There are too many rooms.")
        self._people[room] += 1
        try:
            yield
        finally:
            self._people[room] -= 1
            if not self._people[room]:
                del self._people[room]

    def enter(
        self, room: str, name: str, after: str | None
    ) -> AbstractAsyncContextManager[Subscription[Message | Joined | Left | Present]]:
        """Be in a room, for all to see, and hear what is said: from the message `after` on, or the last few."""
        return self.lines.subscribe(room, after=after, history=RECENT, member=Person(name), presence=True)

    def listen(self, room: str, after: str | None) -> AbstractAsyncContextManager[Subscription[Message]]:
        """Hear what is said, without being there."""
        return self.lines.subscribe(room, after=after, history=RECENT)

    async def say(self, room: str, line: Line) -> None:
        """Say it once: one whose connection broke before the answer came says it again.

        The first one may not be over by then, and may yet fail, or be cancelled as its connection is found to be gone:
        the second one waits for that, and then says it.

        Cancellation: it was said to everybody, or to nobody and may be said again.

        Raises:
            HTTPError: what the rooms are kept in is away; the same.
        """
        once = (room, line.key)
        while once in self._said:
            over = self._said[once]
            if over.is_set():
                return
            await over.wait()
        over = self._said[once] = trio.Event()
        try:
            if not await self.place.was_said(room, line.key):
                await self.lines.publish(room, line)
                await self.place.note_said(room, line.key)
        except BaseException:
            self._said.pop(once, None)
            raise
        finally:
            over.set()
        if len(self._said) > KEYS:
            self._said.popitem(last=False)

    async def sign(self, room: str, member: str, *, types: bool) -> None:
        """Show that somebody types, or does not any more."""
        await self.signs.publish(room, msgspec.json.encode(Types(member, types)).decode())


@asynccontextmanager
async def open_rooms(limits: Limits, redis_url: str | None = None) -> AsyncGenerator[Rooms]:
    """The rooms, for as long as the application runs; then what waits is still read, and iterations end."""
    async with open_place(limits, redis_url) as place:
        rooms = Rooms(limits, place)
        async with rooms.signs, rooms.lines:
            yield rooms
