"""Broadcast: topics that are published to and subscribed to.

This file owns what users call: what they may ask for, from when to when, and what they get when it is too late. Queues
are `_subscription`'s, who gets what is `_hub`'s, and what is kept the backend's.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Literal, Self, overload

import trio

from ._backend import Backend
from ._checks import check_after, check_backend, check_count, check_seconds, check_slow, check_topic
from ._hub import LocalHub
from ._memory import MemoryBackend
from ._message import Joined, Left, Member, Message, Present, encoded
from ._subscribing import Subscribing
from ._subscription import Counters, Slow, SlowSubscriber, Subscription


class Broadcast:
    """Messages from one to many, by topic. It works while it is entered:

        async with Broadcast(history=100) as broadcast:
            await broadcast.publish("news", "it rains")

    mostly by an app-scoped dependency or the application's lifespan. When it is left, subscribers are given what waits
    for them, and then their iteration ends.

    Args:
        history: how many messages of each topic are kept, for those who come late or come back.
        buffer: how many may wait for one subscriber. They share the messages: what waits is references. As many
            news of members may wait beside them.
        slow: what becomes of one for whom more wait: `"disconnect"`, `"drop_oldest"`, `"drop_new"` or `"block"`.
        block_timeout: seconds that a publisher waits for subscribers with `"block"`; then they go.
        backend: what messages pass through; by default this process's memory, `MemoryBackend()`.

    Raises:
        RegistrationError: an argument is not what it should be.
    """

    __provided_by__ = 'Depends(open_rooms, scope="app")'

    def __init__(
        self,
        *,
        history: int = 0,
        buffer: int = 256,
        slow: Slow = "disconnect",
        block_timeout: float = 10.0,
        backend: Backend | None = None,
    ) -> None:
        check_count("history", history, 0)
        check_count("buffer", buffer, 1)
        check_slow(slow)
        check_seconds("block_timeout", block_timeout)
        if backend is not None:
            check_backend(backend)
        self._history = history
        self._buffer = buffer
        self._slow: Slow = slow
        self._backend: Backend = MemoryBackend() if backend is None else backend
        self._hub = LocalHub(self._backend, block_timeout)
        self._connection: AbstractAsyncContextManager[object] | None = None

    @property
    def counters(self) -> Counters:
        """What it has done so far."""
        return self._hub.counters

    def subscribers(self, topic: str) -> int:
        """How many subscribers a topic has in this process."""
        check_topic(topic)
        room = self._hub.rooms.get(topic)
        return 0 if room is None else len(room.live) + len(room.catching_up)

    async def members(self, topic: str) -> Mapping[str, Member]:
        """Who is there, by their ids: those who subscribed with `member=`, in other processes as well.

        Raises:
            TypeError: the topic is no text.
            RuntimeError: it is not entered.
        """
        self._check_entered("members")
        check_topic(topic)
        await trio.lowlevel.checkpoint()
        room = self._hub.rooms.get(topic)
        if room is not None:
            return dict(room.members)
        return {member.id: member for member in await self._backend.members(topic)}

    async def publish(self, topic: str, value: Any) -> Message:
        """Give a value to all who subscribe to `topic`.

        It does not wait for them, but for those whose policy is `"block"`.

        Args:
            topic: any text. A topic is there when somebody subscribes or publishes to it.
            value: text is sent as it is, anything else as JSON.

        Returns:
            The message; its `id` can be resumed from.

        Raises:
            TypeError: the value cannot be written as JSON, or the topic is no text.
            ValueError: the value is text that UTF-8 cannot carry.
            RuntimeError: it is not entered.

        Cancellation: a checkpoint. It has been published to everybody, or to nobody.
        """
        self._check_entered("publish")
        check_topic(topic)
        data = encoded(value)
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            message = await self._backend.publish(topic, data)
        except trio.Cancelled:
            self._hub.counters.published += 1  # for all that is known: who waits for slow subscribers has published
            raise
        self._hub.counters.published += 1
        await trio.lowlevel.cancel_shielded_checkpoint()
        return message

    @overload
    def subscribe(
        self,
        topic: str,
        *,
        after: str | None = None,
        history: int = 0,
        member: Any = None,
        presence: Literal[False] = False,
        buffer: int | None = None,
        slow: Slow | None = None,
    ) -> AbstractAsyncContextManager[Subscription[Message]]: ...

    @overload
    def subscribe(
        self,
        topic: str,
        *,
        after: str | None = None,
        history: int = 0,
        member: Any = None,
        presence: Literal[True],
        buffer: int | None = None,
        slow: Slow | None = None,
    ) -> AbstractAsyncContextManager[Subscription[Message | Joined | Left | Present]]: ...

    def subscribe(
        self,
        topic: str,
        *,
        after: str | None = None,
        history: int = 0,
        member: Any = None,
        presence: bool = False,
        buffer: int | None = None,
        slow: Slow | None = None,
    ) -> AbstractAsyncContextManager[Subscription[Any]]:
        """Subscribe to a topic for the body of an `async with`:

            async with broadcast.subscribe("news", after=request.headers.get("last-event-id")) as subscription:
                async for message in subscription:
                    ...

        What was kept comes first, then what is published, without a gap or a repetition in between.

        Args:
            topic: any text.
            after: the id of the last message that the client has; it gets those behind it. If that is not kept any
                more, or was never an id, it gets all that are kept, and `subscription.gap` is true.
            history: without `after`: how many of the last messages it gets first.
            member: what others may know of it, text or JSON; it is then one of the topic's `members`.
            presence: whether it is told of members, too: by `Joined` and `Left` among the messages. It is not told of
                itself, nor of those who are there already, whom `subscription.members` has. Nobody has to go for such
                news: where more than `buffer` of them wait, `Present` tells of all at once.
            buffer: as for `Broadcast`, for this one.
            slow: as for `Broadcast`, for this one.

        Raises:
            SlowSubscriber: when the body is left: it was cancelled since it was too slow.
            ValueError: an argument is not what it should be.
            TypeError: `member` cannot be written as JSON, or the topic or `after` is no text.
            RuntimeError: the broadcast is not entered.

        Cancellation: it is gone as soon as the body is left, or when it has become too slow; nothing is waited for.
        """
        self._check_entered("subscribe")
        check_topic(topic)
        check_after(after)
        check_count("history", history, 0, ValueError)
        if buffer is None:
            buffer = self._buffer
        else:
            check_count("buffer", buffer, 1, ValueError)
        if slow is None:
            slow = self._slow
        else:
            check_slow(slow, ValueError)
        person = None if member is None else Member(encoded(member), secrets.token_hex(8))
        return Subscribing(self._subscribed(topic, after, history, person, presence, buffer, slow))

    @asynccontextmanager
    async def _subscribed(
        self,
        topic: str,
        after: str | None,
        history: int,
        member: Member | None,
        presence: bool,
        buffer: int,
        slow: Slow,
    ) -> AsyncGenerator[Subscription[Any]]:
        await trio.lowlevel.checkpoint()
        self._check_entered("subscribe")
        hub, room, scope = self._hub, self._hub.room(topic), trio.CancelScope()
        subscription: Subscription[Any] = Subscription(topic, buffer, slow, scope, hub.counters, room.members)
        with scope:
            hub.enter(room, subscription)
            try:
                kept = await self._backend.watch(topic, after, history)
                await trio.lowlevel.checkpoint_if_cancelled()  # what came meanwhile may have been too much for it
                hub.begin(room, subscription, kept)
                if member is not None:
                    hub.join(room, subscription, member)
                if presence:
                    hub.watch(room, subscription)
                yield subscription
            finally:
                hub.leave(room, subscription)
        if subscription._too_slow and scope.cancelled_caught:
            raise SlowSubscriber(
                f"a subscriber of {topic!r} did not read as fast as messages came: more than {buffer} waited for it"
            )

    async def __aenter__(self) -> Self:
        if self._connection is not None:
            raise RuntimeError("this Broadcast is entered already: one `async with` is for all who use it.")
        self._connection = self._backend.connected(self._hub, self._history)
        try:
            await self._connection.__aenter__()
        except BaseException:
            self._connection = None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        connection, self._connection = self._connection, None
        self._hub.end()
        if connection is None:
            return None
        return await connection.__aexit__(kind, error, trace)  # noqa: ASYNC102 - the backend bounds its own leaving

    def _check_entered(self, name: str) -> None:
        if self._connection is None:
            raise RuntimeError(
                f"Broadcast.{name}() was called, but the Broadcast is not entered.\n"
                "Enter it for the application's life, with an app-scoped dependency:\n\n"
                "    @asynccontextmanager\n"
                "    async def open_rooms() -> AsyncGenerator[Broadcast]:\n"
                "        async with Broadcast() as rooms:\n"
                "            yield rooms\n\n"
                '    rooms: Annotated[Broadcast, Depends(open_rooms, scope="app")]'
            )
