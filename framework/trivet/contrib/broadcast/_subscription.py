"""One subscriber: what waits for it, and what becomes of it when that is too much.

This file owns the queue and its policies. A queue is bounded, so that a subscriber that has stopped reading costs so
much memory and no more; and it is filled without waiting, so that it costs the others nothing. It knows neither topics
nor backends.

    "disconnect"    the subscriber goes, at once: whatever it does is cancelled, and `SlowSubscriber` raised
    "drop_oldest"   the oldest message that waits is dropped
    "drop_new"      the new message is dropped
    "block"         the publisher waits, up to a deadline, then the subscriber goes

With `"block"` the message is put into the queue first, beyond the bound, and the publisher waits until as many have
been taken. So the others have it at once, all have the messages in one order, and a publisher that is cancelled has
published. Since other publishers may come meanwhile, a queue of twice the bound means that the subscriber goes.

News of members stand beside the queue, each with its place in it, and are `_presence`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, final

import trio

from trivet.errors import TrivetError

from ._backend import Kept
from ._message import Joined, Left, Member, Message
from ._presence import News

Slow: TypeAlias = Literal["block", "drop_oldest", "drop_new", "disconnect"]
"""What becomes of a subscriber for whom more waits than its `buffer`."""

T_co = TypeVar("T_co", covariant=True)

AT_ONCE: Final = 16
"""Messages that a subscriber takes before other tasks have their turn: a pass through the scheduler costs more than to
send one."""


class SlowSubscriber(TrivetError):
    """A subscriber did not read as fast as messages came, and had to go: raised at the end of `async with`."""


@dataclass(slots=True)
class Counters:
    """What a `Broadcast` has done. To be read: its numbers go on."""

    published: int = 0
    """Messages that were published in this process."""
    delivered: int = 0
    """Messages, and news of members, that a subscriber has taken, once for each."""
    dropped: int = 0
    """Messages that a subscriber did not get since it was slow, once for each; all that waited for one that had to
    go."""
    disconnected: int = 0
    """Subscribers that had to go."""
    subscribers: int = 0
    """Subscribers that are here now."""


@final
class Subscription(Generic[T_co]):
    """What `async with broadcast.subscribe(topic) as subscription` gives: iterate over it, in one task at a time."""

    __slots__ = (
        "_backlog", "_bound", "_counters", "_ended", "_news", "_policy", "_publishers", "_queue", "_row", "_scope",
        "_taken", "_task", "_too_slow", "delivered", "dropped", "gap", "member", "members", "topic",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        buffer: int,
        slow: Slow,
        scope: trio.CancelScope,
        counters: Counters,
        members: dict[str, Member],
    ) -> None:
        self.topic = topic
        self.delivered = 0
        """How many messages were taken from it."""
        self.dropped = 0
        """How many messages it did not get because it was slow."""
        self.gap = False
        """Whether messages may be missing that no policy has dropped: what it asked to resume from was not kept any
        more, or the backend has lost some. Whoever has told of it may set it to `False`, to see the next one."""
        self.member: Member | None = None
        """What others see of it."""
        self.members: Mapping[str, Member] = members
        """Who is there now, itself included, by their ids. To be read: it is the one of all subscribers."""
        self._bound = buffer
        self._policy: Slow = slow
        self._scope = scope
        self._counters = counters
        self._backlog: deque[Message] | None = None
        """What is kept of the topic. It comes before the queue, and does not count."""
        self._queue = deque[Message]()
        self._news: News | None = None
        """What it is to be told of members; `None`: nothing, whatever happens."""
        self._taken = 0
        """How many messages have left the front of the queue."""
        self._row = 0
        """How many were taken since other tasks had their turn."""
        self._task: trio.lowlevel.Task | None = None
        """Who waits for the queue."""
        self._publishers = deque[tuple[int, trio.Event]]()
        """Who waits until so many have been taken."""
        self._ended = False
        self._too_slow = False

    def __aiter__(self) -> Subscription[T_co]:
        return self

    async def __anext__(self) -> T_co:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> T_co:
        """Wait for the next message.

        Raises:
            trio.EndOfChannel: the `Broadcast` was left: the application ends.
            trio.BusyResourceError: another task waits for it.

        Cancellation: it is noticed each time, and no message is lost. Other tasks have their turn when it has to wait,
        and at least once in sixteen messages.
        """
        if self._task is not None:
            raise trio.BusyResourceError("another task is receiving from this subscription")
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._queue and not self._backlog and not self._news:
            if self._ended:
                if self._too_slow:
                    await trio.lowlevel.checkpoint()  # its body is cancelled: an end like any other would hide that
                raise trio.EndOfChannel
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._give_up)
            self._row = 0
        item: T_co = self._take()
        self._row += 1
        if self._row >= AT_ONCE:
            self._row = 0
            # After the message was taken nothing may be cancelled any more: it would be lost.
            await trio.lowlevel.cancel_shielded_checkpoint()
        return item

    def _give_up(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _take(self) -> Any:
        self.delivered += 1
        self._counters.delivered += 1
        if self._backlog:
            return self._backlog.popleft()
        if self._news is not None:
            news = self._news.take(self._taken)
            if news is not None:
                return news
        self._taken += 1
        while self._publishers and self._publishers[0][0] <= self._taken:
            self._publishers.popleft()[1].set()
        return self._queue.popleft()

    def _begin(self, kept: Kept) -> None:
        """Put what was kept before what has come since."""
        if kept.gap:
            self.gap = True
        if kept.messages:
            self._backlog = deque(kept.messages)
        self._queue = deque(
            message for message in self._queue if message.position is None or message.position > kept.position
        )

    def _watch(self) -> None:
        """From now on, tell it who comes and goes."""
        self._news = News(self._bound, self.members)

    def _tell(self, item: Joined | Left) -> None:
        """Tell it of a member."""
        if self._news is not None:
            self._news.add(item, self._taken + len(self._queue))
            self._wake()

    def _overflows(self) -> bool:
        """Do with a full queue what the policy says; returns whether the subscriber must go."""
        policy = self._policy
        if policy == "drop_oldest":
            self._queue.popleft()
            self._taken += 1
        elif policy == "disconnect" or len(self._queue) >= 2 * self._bound:
            self._drop(1)
            return True
        if policy != "block":
            self._drop(1)
        return False

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._counters.dropped += count

    def _end(self) -> None:
        """Let what waits be taken, then end; no publisher waits for that."""
        self._ended = True
        self._wake()
        self._release()

    def _wake(self) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    def _expel(self) -> None:
        """Give back the memory at once, however long the cancelled task takes to unwind."""
        self._too_slow = True
        self._ended = True
        self._drop(len(self._queue) + len(self._backlog or ()))
        self._queue.clear()
        self._backlog = self._news = None
        self._counters.disconnected += 1
        self._scope.cancel(reason="the subscriber is too slow")
        self._release()

    def _release(self) -> None:
        for _, event in self._publishers:
            event.set()
        self._publishers.clear()

    async def _wait_taken(self, count: int) -> None:
        """Wait until so many messages have been taken from the queue, or the subscriber is gone."""
        if self._taken < count and not self._ended:
            event = trio.Event()
            self._publishers.append((count, event))
            await event.wait()


def fan_out(
    subscriptions: Iterable[Subscription[Any]], message: Message
) -> tuple[list[Subscription[Any]], list[Subscription[Any]]]:
    """Put one message into all queues, without waiting.

    Returns:
        Subscribers that must go, and those that the publisher should wait for.
    """
    gone: list[Subscription[Any]] = []
    full: list[Subscription[Any]] = []
    for subscription in subscriptions:
        queue = subscription._queue
        if len(queue) >= subscription._bound:
            if subscription._overflows():
                gone.append(subscription)
                continue
            if subscription._policy == "drop_new":
                continue
            if subscription._policy == "block":
                full.append(subscription)
        queue.append(message)
        task = subscription._task
        if task is not None:
            subscription._task = None
            trio.lowlevel.reschedule(task)
    return gone, full
