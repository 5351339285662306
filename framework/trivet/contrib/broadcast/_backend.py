"""What messages pass through: the protocol by which something that several processes share can take this one's place.

This file owns the protocol only.

                     publish, watch, join                  XADD, XRANGE, ...
    Broadcast  ------------------------------>  Backend  <------------------>  what is shared, if anything
    and Hub    <------------------------------
                     put, joined, gap

The hub has the subscribers of this process; the backend numbers messages, keeps the last ones of each topic, and hears
what others publish. A backend behind which there is a network fits like this (Redis, say):

- `publish` appends to a stream of the topic, which gives the id, and returns. What was appended comes back to each
  process through its one reader, which hands it to `Hub.put` in the stream's order, its own messages too; so that all
  processes see one order.
- The reader lives in the nursery that `connected` opens. When the connection breaks it connects again and goes on
  behind the last id of each topic; where the store does not have that any more, it says `Hub.gap`.
- `watch` and the reader need no lock between them: the hub drops what it gets twice, by `Message.position`.
- While the store is away, `publish` and `watch` raise, or `publish` makes a message whose `id` is `None` and delivers
  it here: that is for the backend's user to choose.
- `join`, `leave` and `unwatch` do not wait, since they happen while a subscriber is being cancelled: they leave a note
  for the reader's nursery. A process that dies leaves nobody behind if members in the store expire unless renewed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from ._message import Member, Message


class Kept(NamedTuple):
    """What is kept of a topic, for one subscriber."""

    messages: Sequence[Message] = ()
    """The oldest first."""
    gap: bool = False
    """Whether messages between those that were asked for and these may be lost."""
    position: int = 0
    """The position of the topic's last message at the moment when these were read. What is delivered later and is not
    behind it was on its way: the subscriber has it from here, or did not ask for it. 0: nothing can be on its way."""


class Hub(Protocol):
    """The subscribers of this process, as a backend sees them."""

    async def deliver(self, message: Message) -> None:
        """Give a message to its topic's subscribers; those of one topic in the order of their positions.

        All queues have it before this waits; it does so only for subscribers whose policy is `"block"`.

        Cancellation: they have it nevertheless.
        """
        ...

    def put(self, message: Message) -> Callable[[], Awaitable[None]] | None:
        """Give a message to its topic's subscribers as `deliver` does, and wait for nobody.

        For the one reader of all topics: what it gives is in order, and no topic waits for another one's subscribers.

        Returns:
            What is left to do if there are subscribers with `"block"` whose queues are full, for a task of its own: it
            returns when they have made room, or had to go. `None`: nothing.
        """
        ...

    def joined(self, topic: str, member: Member) -> None:
        """Say that a member has come in another process; also for each that is there, when `watch` is called.

        One that comes back under its id is the same, with the same data.
        """
        ...

    def left(self, topic: str, member: Member) -> None:
        """Say that a member of another process has gone."""
        ...

    def gap(self, topic: str) -> None:
        """Say that messages of this topic may have been lost."""
        ...


class Backend(Protocol):
    """What messages pass through. `MemoryBackend` is for one process."""

    def connected(self, hub: Hub, history: int) -> AbstractAsyncContextManager[object]:
        """While this is entered, everything else may be called.

        Args:
            hub: whom to deliver to.
            history: how many messages of each topic to keep.
        """
        ...

    async def publish(self, topic: str, data: str) -> Message:
        """Give a message its id and keep it; see that every process's hub delivers it.

        Cancellation: it has been published or not.
        """
        ...

    async def watch(self, topic: str, after: str | None, history: int) -> Kept:
        """From now on, deliver this topic's messages; each subscriber asks, the first one and others.

        Args:
            topic: the topic.
            after: whatever a client sent for an id: return what was published behind it, or all that is kept and a gap.
            history: without `after`, how many of the last messages to return.
        """
        ...

    def unwatch(self, topic: str) -> None:
        """The last subscriber of this process has gone. This is called after each `watch`, one that failed too."""
        ...

    def join(self, topic: str, member: Member) -> None:
        """Tell the other processes of a member of this one."""
        ...

    def leave(self, topic: str, member: Member) -> None:
        """Tell the other processes that a member of this one has gone."""
        ...

    async def members(self, topic: str) -> Iterable[Member]:
        """Who is there in other processes, of a topic that has no subscriber in this one."""
        ...
