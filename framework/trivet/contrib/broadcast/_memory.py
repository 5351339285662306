"""Topics in this process's memory.

This file owns what is kept of a topic, and for how long: its last messages, also while nobody subscribes to it, until
other topics need the room. It knows nothing of subscribers.

Ids
---
Messages of all topics are counted together, so that a topic that was forgotten and comes back never gives an id twice.
Before the number stands a word that each instance makes for itself: a client that resumes after a restart comes with an
id of the process before, and must not be taken for one that is up to date.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from itertools import islice

from trivet.errors import RegistrationError

from ._backend import Hub, Kept
from ._message import Member, Message


class _Record:
    """The last messages of one topic."""

    __slots__ = ("lost", "messages")

    def __init__(self, history: int, lost: int) -> None:
        self.messages = deque[Message](maxlen=history)
        self.lost = lost
        """The position of the last message that may have been published and is not here any more."""


class MemoryBackend:
    """For one process; what it keeps is gone when that ends.

    Under `trivet run --workers N` each worker has topics of its own: a message reaches the subscribers of the worker
    that it was published in.

    Args:
        max_topics: of how many topics messages are kept; then the one that was published to least recently goes.
            Whoever can choose the names of topics can otherwise fill the memory.
    """

    def __init__(self, *, max_topics: int = 10_000) -> None:
        if isinstance(max_topics, bool) or not isinstance(max_topics, int) or max_topics < 1:
            raise RegistrationError(
                f"max_topics={max_topics!r} is not a whole number from 1 on.\nWrite  MemoryBackend(max_topics=10_000)"
            )
        self._max_topics = max_topics
        # In the order of their last messages. A dict would be walked from its beginning for the first one, over the
        # places of all that were published to again.
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._epoch = secrets.token_hex(4)
        self._position = 0
        self._forgotten = 0
        """The last position of any message of a topic that has no record."""
        self._history = 0
        self._hub: Hub

    @asynccontextmanager
    async def connected(self, hub: Hub, history: int) -> AsyncGenerator[None]:
        """See `Backend.connected`."""
        self._hub = hub
        self._history = history
        yield

    async def publish(self, topic: str, data: str) -> Message:
        """See `Backend.publish`. It waits only as `Hub.deliver` does."""
        self._position = position = self._position + 1
        message = Message(data, topic, f"{self._epoch}-{position}", position)
        if self._history:
            self._keep(message, position)
        else:
            self._forgotten = position
        await self._hub.deliver(message)
        return message

    def _keep(self, message: Message, position: int) -> None:
        record = self._records.pop(message.topic, None)
        if record is None:
            if len(self._records) >= self._max_topics:
                _, oldest = self._records.popitem(last=False)
                # What is forgotten is the oldest of all, and yet it may be younger than what was before.
                self._forgotten = max(self._forgotten, oldest.messages[-1].position or 0)
            record = _Record(self._history, self._forgotten)
        elif len(record.messages) == self._history:
            record.lost = record.messages[0].position or 0
        self._records[message.topic] = record
        record.messages.append(message)

    async def watch(self, topic: str, after: str | None, history: int) -> Kept:
        """See `Backend.watch`. It does not wait, and so nothing is published meanwhile."""
        record = self._records.get(topic)
        messages = () if record is None else record.messages
        if after is None:
            return Kept(tuple(islice(messages, max(0, len(messages) - history), None)))
        position = self._number(after)
        if position is None:
            return Kept(tuple(messages), gap=True)
        later = tuple(message for message in messages if (message.position or 0) > position)
        return Kept(later, gap=position < (self._forgotten if record is None else record.lost))

    def _number(self, after: str) -> int | None:
        """The position that an id of ours stands for; `None`: it is not ours."""
        epoch, _, digits = after.partition("-")
        if epoch != self._epoch or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
            return None
        position = int(digits)
        return position if position <= self._position else None

    def unwatch(self, topic: str) -> None:
        """Nothing to do: the record stays for those who come back."""

    def join(self, topic: str, member: Member) -> None:
        """Nothing to do: there is no other process."""

    def leave(self, topic: str, member: Member) -> None:
        """Nothing to do: there is no other process."""

    async def members(self, topic: str) -> Iterable[Member]:
        """Nobody: there is no other process."""
        return ()
