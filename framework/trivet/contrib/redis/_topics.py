"""The topics of which a process has subscribers: from what is heard and what is read, what they are given.

This file owns when a topic is read: when it has been subscribed to, for the first time or again, and when something of
it is missing. Which message follows which is `_chain`'s, the connection `_feed`'s, own members `_roster`'s.

Members of other processes who are missing in what is read after an outage are not gone yet: Redis may have lost them,
and their processes are about to say so again. They have as long for it as a process has before it counts as dead.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Final

import trio
from coredis.exceptions import RedisError

from trivet.contrib.broadcast import Hub, Member, Message

from ._answers import answer
from ._away import Backoff, Complaints, RedisAway
from ._chain import Chain
from ._feed import Feed
from ._redis import Redis
from ._topic_store import EMPTY, READ, TOUCH, Names, Read, Row, id_of, lives, read_member, read_message, read_reply

log = logging.getLogger("trivet.contrib.redis")

WAIT: Final = 2.0
"""Seconds that a subscriber waits for its topic, at most."""

AT_A_TIME: Final = 32
"""Topics that are read."""

TOUCHED: Final = 500
"""Topics in one command."""


class Watched:
    """A topic that has subscribers in this process."""

    __slots__ = ("chain", "error", "gone", "missing", "others", "ready", "topic", "turn")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.chain = Chain()
        self.ready = trio.Event()
        """Set while everything that is said is heard, and was."""
        self.error = "it was not read in time"
        self.others: dict[str, Member] = {}
        """Members of other processes."""
        self.missing: dict[str, float] = {}
        """Those of them of whom Redis does not know any more, and how long they may be."""
        self.gone: set[str] | None = None
        """Who has gone since it was asked who is there, while there is no answer."""
        self.turn = 0
        """Counts when it has been subscribed to: what was read before does not tell of what was said between."""


class Topics:
    """See above; a `Listener`.

    Args:
        redis: where.
        names: of keys and channels.
        hub: whom to give to.
        process: which of all processes this one is.
        nursery: of what is read.
        patience: seconds that members who are missing have.
        kept: seconds that Redis keeps the messages of a topic, after the last one.
        local: whether messages may have been published while Redis was away, that never came there.
        deaf: called when nothing is heard any more.
    """

    def __init__(
        self,
        redis: Redis,
        names: Names,
        hub: Hub,
        process: str,
        nursery: trio.Nursery,
        *,
        patience: float,
        kept: float,
        local: bool,
        deaf: Callable[[], object],
    ) -> None:
        self._redis = redis
        self._names = names
        self._hub = hub
        self._process = process
        self._nursery = nursery
        self._patience = patience
        self._kept = kept
        self._local = local
        self._deaf = deaf
        self._watched: dict[bytes, Watched] = {}
        self._complaints = Complaints(log, redis.place)
        self._foreign = False
        self._room = trio.Semaphore(AT_A_TIME)
        self.feed = Feed(redis, self, names.idle)

    # ---- what the backend calls

    async def watch(self, topic: str) -> Watched:
        """Listen to a topic; returns when everything that is said from now on is heard.

        Raises:
            RedisAway: that takes too long.
        """
        channel = self._names.topic(topic)
        watched = self._watched.get(channel)
        if watched is None:
            watched = self._watched[channel] = Watched(topic)
            self.feed.add(channel)
        with trio.move_on_after(WAIT):
            while not watched.ready.is_set():
                if self.feed.error is not None:
                    break
                await watched.ready.wait()
            else:
                return watched
        raise RedisAway(self._redis.place, self.feed.error or watched.error)

    def unwatch(self, topic: str) -> None:
        """Nobody is there any more who would listen."""
        channel = self._names.topic(topic)
        if self._watched.pop(channel, None) is not None:
            self.feed.remove(channel)

    def place(self, topic: str, position: int) -> int:
        """A position in Redis as one for the hub."""
        watched = self._watched.get(self._names.topic(topic))
        return position if watched is None else watched.chain.place(position)

    async def keep(self) -> None:
        """See that Redis forgets no topic that has subscribers: the next message would seem to follow nothing."""
        while True:
            await trio.sleep(min(self._kept, EMPTY) / 3)
            channels = list(self._watched)
            for start in range(0, len(channels), TOUCHED):
                try:
                    await self._redis.run(TOUCH, channels[start : start + TOUCHED], lives(self._kept))
                except (RedisAway, RedisError):
                    pass  # there are two more times

    # ---- what the feed calls

    def heard(self, channel: bytes, payload: bytes) -> None:
        """See `Listener.heard`."""
        watched = self._watched.get(channel)
        if watched is None:
            return
        try:
            self._heard(watched, payload)
        except ValueError:
            self._leave_out(channel)

    def _heard(self, watched: Watched, payload: bytes) -> None:
        kind = payload[:1]
        if kind == b"=":
            row = read_message(payload)
            whole = watched.chain.whole
            if watched.chain.heard(row):
                self._give(watched, row)
            elif whole and not watched.chain.whole:
                self._read_soon(watched)
        elif kind in (b"+", b"-"):
            process, ident, data = read_member(payload)
            if process == self._process:
                pass  # the hub has its own
            elif kind == b"+":
                self._came(watched, Member(data, ident))
            else:
                self._went(watched, ident)

    def _leave_out(self, channel: bytes) -> None:
        """Say once that somebody else writes or publishes there, which anybody may; who operates it should know."""
        if not self._foreign:
            self._foreign = True
            log.warning("Redis at %s: what is in %r is not all ours; the rest is left out", self._redis.place, channel)

    def subscribed(self, channel: bytes) -> None:
        """See `Listener.subscribed`."""
        self._read_soon(self._watched[channel])

    def deaf(self) -> None:
        """See `Listener.deaf`."""
        for watched in self._watched.values():
            watched.chain.tear()
            watched.turn += 1
            waited_for, watched.ready = watched.ready, trio.Event()
            waited_for.set()  # for it was in vain
        self._deaf()

    # ----

    def _give(self, watched: Watched, row: Row) -> None:
        wait = self._hub.put(self.message(watched, row))
        if wait is not None:
            self._nursery.start_soon(wait)

    @staticmethod
    def message(watched: Watched, row: Row) -> Message:
        """A message from Redis as one for subscribers."""
        return Message(row.data, watched.topic, row.id, watched.chain.place(row.position))

    def _read_soon(self, watched: Watched) -> None:
        watched.chain.tear()
        watched.turn += 1
        self._nursery.start_soon(self._read, watched, watched.turn)

    async def _read(self, watched: Watched, turn: int) -> None:
        backoff = Backoff(0.1, 5.0, random.random)
        while watched.turn == turn and self._is_watched(watched):
            try:
                async with self._room:
                    watched.gone = set()
                    last = watched.chain.ask()
                    after = b"" if last is None else id_of(last)
                    read = await self.read(watched.topic, after, keep=self._kept)
            except (RedisAway, RedisError) as error:
                if not isinstance(error, RedisAway):
                    self._complaints.say(logging.ERROR, f"a topic could not be read: {error}")
                watched.error = str(error)
                await trio.sleep(backoff.pause())
                continue
            self._complaints.reset()
            if watched.turn == turn:
                self._take(watched, read)
                if watched.chain.whole:
                    watched.gone = None
                    watched.ready.set()
                    return

    def _is_watched(self, watched: Watched) -> bool:
        return self._watched.get(self._names.topic(watched.topic)) is watched

    async def read(
        self, topic: str, after: bytes = b"", most: int = 0, *, members: bool = True, keep: float = 0.0
    ) -> Read:
        """Read what there is behind an id, or the last messages; and who is there."""
        keys = [self._names.topic(topic)]
        if members:
            keys += [self._names.who(topic), self._names.alive]
        read = await answer(self._redis, read_reply, READ, keys, [after, most, *lives(keep)])
        if read.foreign:
            self._leave_out(keys[0])
        return read

    def _take(self, watched: Watched, read: Read) -> None:
        again = watched.chain.last is not None
        rows, lost = watched.chain.read(read.last, read.rows)
        if read.gap or lost or (again and self._local):
            self._hub.gap(watched.topic)
        for row in rows:
            self._give(watched, row)
        gone = watched.gone or ()
        for process, ident, data in read.who:
            if process != self._process and ident not in gone:
                self._came(watched, Member(data, ident))
        missing = watched.others.keys() - {ident for _, ident, _ in read.who}
        if missing:
            if not watched.missing:
                self._nursery.start_soon(self._part, watched)
            watched.missing |= dict.fromkeys(missing, trio.current_time() + self._patience)

    def _came(self, watched: Watched, member: Member) -> None:
        if watched.gone:
            watched.gone.discard(member.id)
        watched.missing.pop(member.id, None)
        watched.others[member.id] = member
        self._hub.joined(watched.topic, member)

    def _went(self, watched: Watched, ident: str) -> None:
        if watched.gone is not None:
            watched.gone.add(ident)
        watched.missing.pop(ident, None)
        member = watched.others.pop(ident, None)
        if member is not None:
            self._hub.left(watched.topic, member)

    async def _part(self, watched: Watched) -> None:
        """Let those go who are still missing when their processes must have spoken."""
        while watched.missing and self._is_watched(watched):
            await trio.sleep_until(min(watched.missing.values()))
            overdue = [ident for ident, until in watched.missing.items() if until <= trio.current_time()]
            try:
                read = await self.read(watched.topic)
            except (RedisAway, RedisError):
                watched.missing |= dict.fromkeys(overdue, trio.current_time() + self._patience)
                continue
            there = {ident for _, ident, _ in read.who}
            for ident in overdue:
                if watched.missing.pop(ident, None) is not None and ident not in there:
                    self._went(watched, ident)
