"""`RedisBroadcast`: topics that are shared by all processes that reach one Redis.

This file owns what its user may choose, and what a `Broadcast` asks of it. What is heard and read is `_topics`', who is
there `_roster`'s, and what is in Redis `_topic_store`'s.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Final, Literal, TypeAlias, get_args

from trivet._companions import companions
from trivet.contrib.broadcast import Hub, Kept, Member, Message
from trivet.errors import RegistrationError

from ._answers import answer
from ._away import RedisAway
from ._checks import Value, check_seconds
from ._redis import Redis
from ._roster import Roster
from ._topic_store import APPEND, Names, lives, read_id, usable
from ._topics import Topics

WhenAway: TypeAlias = Literal["error", "local"]

EXACT: Final = 100
"""Where fewer messages are kept, exactly so many; else some more, in whole nodes of the stream, which is cheaper."""


class RedisBroadcast:
    """For `Broadcast(backend=RedisBroadcast(redis, prefix="chat:"))`: what one process publishes, all get.

    Each process has one connection for all it subscribes to, and gives what comes to its own subscribers as it would
    without. When the connection is lost it is made again, and subscribers go on where they were: with what was kept
    meanwhile, and where something is missing, with `subscription.gap`.

    Args:
        redis: where. It is entered for as long as the broadcast is.
        prefix: what the names of all keys and channels begin with. Another `Broadcast` needs another one; another
            application, too, even with another database of the same Redis, since channels have none.
        member_ttl: seconds after which the members of a process that has died are gone.
        keep: seconds that messages are kept after the topic's last one, where nobody is there. A topic without any is
            kept for a minute, if that is less.
        when_away: what becomes of what is published while Redis cannot be reached: `"error"` raises `RedisAway`;
            `"local"` gives it to the subscribers of this process, with no id, and nobody else will ever get it. Then
            each subscriber is told of a gap when Redis is back, since other processes may have done so; but not if it
            was there all the time, and had no memory left, say.

    Raises:
        RegistrationError: an argument is not what it should be.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str,
        member_ttl: float = 30.0,
        keep: float = 86400.0,
        when_away: WhenAway = "error",
    ) -> None:
        _check(redis, prefix, when_away)
        check_seconds(member_ttl=member_ttl, keep=keep)
        self._redis = redis
        self._names = Names(prefix)
        self._member_ttl = member_ttl
        self._keep = keep
        self._local = when_away == "local"
        self._history = 0
        self._hub: Hub
        self._topics: Topics
        self._roster: Roster

    @asynccontextmanager
    async def connected(self, hub: Hub, history: int) -> AsyncGenerator[None]:
        """See `Backend.connected`. It does not wait for Redis to be there."""
        process = secrets.token_hex(8)
        self._hub, self._history = hub, history
        self._roster = roster = Roster(self._redis, self._names, process, self._member_ttl)
        async with self._redis(), companions(roster.farewell) as nursery:
            self._topics = Topics(
                self._redis,
                self._names,
                hub,
                process,
                nursery,
                patience=self._member_ttl,
                kept=self._keep,
                local=self._local,
                deaf=roster.hurry,
            )
            for task in (self._topics.feed.run, self._topics.keep, roster.run):
                nursery.start_soon(task)
            yield

    async def publish(self, topic: str, data: str) -> Message:
        """See `Backend.publish`. It reaches the subscribers of this process, too, by way of Redis.

        Raises:
            RedisAway: it may have been published or not, unless `when_away` says otherwise; or Redis does not take it
                now, since it has no memory left, say.
        """
        kept = self._history
        trim = b"~" if kept >= EXACT else b"="
        try:
            arguments: list[Value] = [data, trim, kept, *lives(self._keep)]
            ident, place = await answer(self._redis, read_id, APPEND, [self._names.topic(topic)], arguments)
        except RedisAway:
            if not self._local:
                raise
            message = Message(data, topic, None, None)
            await self._hub.deliver(message)
            return message
        return Message(data, topic, ident, self._topics.place(topic, place))

    async def watch(self, topic: str, after: str | None, history: int) -> Kept:
        """See `Backend.watch`.

        Raises:
            RedisAway: nothing can be heard.
        """
        watched = await self._topics.watch(topic)
        last = watched.chain.last
        most = self._history if after is not None else min(history, self._history)
        if after is None and not most:
            return Kept(position=watched.chain.place(last or 0))
        known = after is not None and usable(after)
        read = await self._topics.read(topic, after.encode() if known and after else b"", most, members=False)
        messages = [self._topics.message(watched, row) for row in read.rows]
        gap = read.gap if known else after is not None
        return Kept(messages, gap, watched.chain.place(read.last))

    def unwatch(self, topic: str) -> None:
        """See `Backend.unwatch`."""
        self._topics.unwatch(topic)

    def join(self, topic: str, member: Member) -> None:
        """See `Backend.join`."""
        self._roster.join(topic, member)

    def leave(self, topic: str, member: Member) -> None:
        """See `Backend.leave`."""
        self._roster.leave(member)

    async def members(self, topic: str) -> Iterable[Member]:
        """See `Backend.members`.

        Raises:
            RedisAway: nobody knows.
        """
        read = await self._topics.read(topic)
        return [Member(data, ident) for _, ident, data in read.who]


def _check(redis: object, prefix: object, when_away: object) -> None:
    if not isinstance(redis, Redis):
        came = f"the class {redis.__name__}" if isinstance(redis, type) else f"a {type(redis).__name__}"
        raise RegistrationError(
            f"RedisBroadcast takes a Redis of trivet.contrib.redis, not {came}.\n"
            'Write  RedisBroadcast(Redis("redis://localhost:6379"), prefix="chat:")'
        )
    if not isinstance(prefix, str) or not prefix:
        raise RegistrationError(
            f"prefix={prefix!r} is not what names could begin with: it is text, and not empty.\n"
            'Write  RedisBroadcast(redis, prefix="chat:")'
        )
    if when_away not in get_args(WhenAway):
        raise RegistrationError(
            f"when_away={when_away!r} is not a way to go on.\n"
            'Write when_away="error", and publishers are told, or when_away="local".'
        )
