"""The subscribers of this process: who gets which message, and who must go.

This file owns that a subscriber leaves once, whichever way, and that nobody sees anything twice. It waits for nothing
but subscribers whose policy wants that. It does not know where messages come from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, final

import trio

from ._backend import Backend, Kept
from ._message import Joined, Left, Member, Message
from ._subscription import Counters, Subscription, fan_out


class Room:
    """The subscribers of one topic."""

    __slots__ = ("catching_up", "live", "members", "position", "watching")

    def __init__(self) -> None:
        self.live: dict[Subscription[Any], None] = {}
        self.catching_up: dict[Subscription[Any], int] = {}
        """Who gets nothing up to a position that has not been reached: it was given that from what is kept."""
        self.watching: dict[Subscription[Any], None] = {}
        """Who wants to know of members."""
        self.members: dict[str, Member] = {}
        self.position = 0
        """Of the last message that was delivered."""

    def __iter__(self) -> Iterator[Subscription[Any]]:
        yield from self.live
        yield from self.catching_up

    def caught_up(self, position: int) -> None:
        """Make those live who have been given nothing from this position on."""
        for subscription, last in list(self.catching_up.items()):
            if last < position:
                del self.catching_up[subscription]
                self.live[subscription] = None

    def tell(self, item: Joined | Left) -> None:
        """Tell who wants to know. Nobody has to go for that."""
        for subscription in self.watching:
            subscription._tell(item)


@final
class LocalHub:
    """See `Hub`; and what `Broadcast` needs.

    Args:
        backend: who is told of watchers and members.
        block_timeout: seconds that a publisher waits for subscribers.
    """

    def __init__(self, backend: Backend, block_timeout: float) -> None:
        self.rooms: dict[str, Room] = {}
        self.counters = Counters()
        self._backend = backend
        self._block_timeout = block_timeout

    # ---- what a backend calls

    async def deliver(self, message: Message) -> None:
        """See `Hub.deliver`."""
        full = self._fan_out(message)
        if full:
            await self._wait_for(self._wanted(full))

    def put(self, message: Message) -> Callable[[], Awaitable[None]] | None:
        """See `Hub.put`."""
        full = self._fan_out(message)
        return partial(self._wait_for, self._wanted(full)) if full else None

    def _fan_out(self, message: Message) -> list[Subscription[Any]]:
        """Put it into all queues; returns whom a publisher should wait for."""
        room = self.rooms.get(message.topic)
        if room is None:
            return []
        if message.position is None:
            gone, full = fan_out(room, message)  # nobody can have been given it
        else:
            if message.position <= room.position:
                return []  # a backend that has connected again starts where it is sure of
            if room.catching_up:
                room.caught_up(message.position)
            room.position = message.position
            gone, full = fan_out(room.live, message)
        if gone:
            self._expel(gone)
        return full

    @staticmethod
    def _wanted(full: list[Subscription[Any]]) -> list[tuple[Subscription[Any], int]]:
        """How many each has to have taken, from the messages that it has now."""
        return [(each, each._taken + len(each._queue) - each._bound) for each in full]

    async def _wait_for(self, wanted: list[tuple[Subscription[Any], int]]) -> None:
        with trio.move_on_after(self._block_timeout):
            for subscription, count in wanted:
                await subscription._wait_taken(count)
            return
        self._expel([each for each, count in wanted if each._taken < count])

    def joined(self, topic: str, member: Member) -> None:
        """See `Hub.joined`."""
        room = self.rooms.get(topic)
        if room is not None and member.id not in room.members:
            room.members[member.id] = member
            room.tell(Joined(member))

    def left(self, topic: str, member: Member) -> None:
        """See `Hub.left`."""
        room = self.rooms.get(topic)
        if room is not None and room.members.pop(member.id, None) is not None:
            room.tell(Left(member))

    def gap(self, topic: str) -> None:
        """See `Hub.gap`."""
        for subscription in self.rooms.get(topic, ()):
            subscription.gap = True

    # ---- what Broadcast calls

    def room(self, topic: str) -> Room:
        """The room of a topic, which somebody is about to enter."""
        room = self.rooms.get(topic)
        if room is None:
            room = self.rooms[topic] = Room()
        return room

    def enter(self, room: Room, subscription: Subscription[Any]) -> None:
        """From now on, messages wait for it."""
        room.live[subscription] = None
        self.counters.subscribers += 1

    def begin(self, room: Room, subscription: Subscription[Any], kept: Kept) -> None:
        """Give it what is kept; what is delivered from now on comes behind, without what it has got by that."""
        subscription._begin(kept)
        if kept.position > room.position:
            del room.live[subscription]
            room.catching_up[subscription] = kept.position

    def join(self, room: Room, subscription: Subscription[Any], member: Member) -> None:
        """Show it to the others: it is not among those who watch yet."""
        subscription.member = member
        room.members[member.id] = member
        self._backend.join(subscription.topic, member)
        room.tell(Joined(member))

    def watch(self, room: Room, subscription: Subscription[Any]) -> None:
        """From now on, tell it who comes and goes."""
        subscription._watch()
        room.watching[subscription] = None

    def leave(self, room: Room, subscription: Subscription[Any]) -> None:
        """It is gone, now; a second time this does nothing."""
        subscription._end()
        self._remove(room, subscription)

    def end(self) -> None:
        """Let all end: they leave by themselves."""
        rooms, self.rooms = self.rooms, {}
        for topic, room in rooms.items():
            for subscription in room:
                if subscription.member is not None:
                    self._backend.leave(topic, subscription.member)
                subscription._end()
            self._backend.unwatch(topic)

    def _expel(self, slow: Iterable[Subscription[Any]]) -> None:
        """Those must go, and the others are told."""
        for subscription in slow:
            room = self.rooms.get(subscription.topic)
            if room is not None and (subscription in room.live or subscription in room.catching_up):
                subscription._expel()
                self._remove(room, subscription)

    def _remove(self, room: Room, subscription: Subscription[Any]) -> None:
        """Forget it, and tell the others."""
        if subscription in room.live:
            del room.live[subscription]
        elif subscription in room.catching_up:
            del room.catching_up[subscription]
        else:
            return
        self.counters.subscribers -= 1
        room.watching.pop(subscription, None)
        topic, member = subscription.topic, subscription.member
        current = self.rooms.get(topic) is room  # else all of them are leaving, and everybody has been told
        if member is not None:
            room.members.pop(member.id, None)
            if current:
                self._backend.leave(topic, member)
                room.tell(Left(member))
        if current and not room.live and not room.catching_up:
            del self.rooms[topic]
            self._backend.unwatch(topic)
