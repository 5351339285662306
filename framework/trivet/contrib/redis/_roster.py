"""The members of this process, as other processes see them: told, kept alive, and taken away when a process has died.

This file owns that, and the scripts for it. It does not know who listens.

A process says from time to time that it is alive, once for all its members. Who reads the members of a topic leaves out
those of processes that have not said so; and each process that does say so looks whether another one is overdue, and
then takes its members away and tells that they have gone. One that was only held up finds that it is not known any
more, as all do when Redis has lost its data, and tells of its members again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, cast

import trio
from coredis.exceptions import RedisError

from trivet.contrib.broadcast import Member

from ._answers import answer
from ._away import Backoff, Complaints, RedisAway
from ._checks import Value
from ._redis import Redis
from ._script import Script
from ._topic_store import NOW, Names

log = logging.getLogger("trivet.contrib.redis")

AT_ONCE: Final = 200
"""Members in one script: Redis does nothing else meanwhile."""

FAREWELL: Final = 1.0
"""Seconds."""

BEAT: Final = Script(
    NOW
    + """
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
local known = before and tonumber(before) > now and 1 or 0
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return {known, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 10)}
"""
)
"""Say that a process is alive: the processes; this one, milliseconds. Returns whether it was, and who is not."""

TELL: Final = Script("""
local foreign = {}
local function keep(...)
  local kept = redis.pcall(...)
  if type(kept) == 'number' then return end
  if not string.find(kept.err, 'WRONGTYPE') then return kept end
  foreign[#foreign + 1] = select(2, ...)
end
for i = 1, (#ARGV - 1) / 4 do
  local sign, id, topic, data = unpack(ARGV, 4 * i - 2, 4 * i + 1)
  local who, channel = KEYS[2 * i], KEYS[2 * i + 1]
  local failed
  if sign == '+' then
    failed = keep('HSET', who, id, ARGV[1] .. data)
    if failed then return failed end
    redis.call('HSET', KEYS[1], id, topic)
    redis.call('PUBLISH', channel, '+' .. ARGV[1] .. ' ' .. id .. ' ' .. data)
  else
    failed = keep('HDEL', who, id)
    if failed then return failed end
    redis.call('HDEL', KEYS[1], id)
    redis.call('PUBLISH', channel, '-' .. ARGV[1] .. ' ' .. id)
  end
end
return foreign
""")
"""Tell of members: the process' members, and for each its topic's members and the topic; the process, and for each what
has happened, its id, its topic, and what it says of itself. Returns where somebody else has written: who is there now
is told, but it is not kept for those who come later. That must not stop what is told of other topics, as an error of
Redis' would."""

REAP: Final = Script(
    NOW
    + """
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[4] == '' and before and tonumber(before) > now then return 0 end
local scanned = redis.pcall('HSCAN', KEYS[2], 0, 'COUNT', ARGV[3])
if scanned.err then
  redis.call('ZREM', KEYS[1], ARGV[1])
  return 0
end
local found = scanned[2]
for i = 1, #found, 2 do
  local id, topic = found[i], found[i + 1]
  redis.pcall('HDEL', ARGV[2] .. 'who:' .. topic, id)
  redis.call('HDEL', KEYS[2], id)
  redis.call('PUBLISH', ARGV[2] .. 'topic:' .. topic, '-' .. ARGV[1] .. ' ' .. id)
end
local left = redis.call('HLEN', KEYS[2])
if left == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
return left
"""
)
"""Take away members of a dead process: the processes, its members; which, the prefix, how many at once, and
whether it says itself that it is leaving. Returns how many are left. Where somebody else has written there is nothing
to take away, but the process goes, so as not to be found for ever."""


class Roster:
    """See above.

    Args:
        redis: where.
        names: of keys and channels.
        process: which of all processes this one is: 16 characters.
        ttl: seconds for which it counts as alive.
    """

    def __init__(self, redis: Redis, names: Names, process: str, ttl: float) -> None:
        self._redis = redis
        self._names = names
        self._process = process.encode()
        self._ttl = ttl
        self._members: dict[str, tuple[str, str]] = {}
        """By id: the topic, and what they say of themselves."""
        self._told: dict[str, str] = {}
        """Of whom Redis may know, by id, and of what topic."""
        self._changed: dict[str, None] = {}
        """Whose coming or going is still to be told."""
        self._complaints = Complaints(log, redis.place)
        self._foreign = False
        self._wake = trio.Event()
        self._beat_at = trio.current_time()

    def join(self, topic: str, member: Member) -> None:
        """One has come. It is told soon."""
        self._members[member.id] = (topic, member.data)
        self._changed[member.id] = None
        self._wake.set()

    def leave(self, member: Member) -> None:
        """One has gone. It is told soon."""
        self._members.pop(member.id, None)
        if member.id in self._told:
            self._changed[member.id] = None
            self._wake.set()
        else:
            self._changed.pop(member.id, None)

    def hurry(self) -> None:
        """Redis may have lost what it knew: look."""
        self._beat_at = trio.current_time()
        self._wake.set()

    async def run(self) -> None:
        """Tell, for ever."""
        backoff = Backoff(0.1, 5.0, random.random)
        while True:
            self._wake = trio.Event()
            try:
                if trio.current_time() >= self._beat_at:
                    await self._beat()
                    self._beat_at = trio.current_time() + self._ttl / 3
                while self._changed:
                    await self._tell(list(islice(self._changed, AT_ONCE)))
                backoff.reset()
                self._complaints.reset()
            except (RedisAway, RedisError) as error:
                if not isinstance(error, RedisAway):
                    self._complaints.say(logging.ERROR, f"members could not be told of: {error}")
                await trio.sleep(backoff.pause())
                continue
            with trio.move_on_at(self._beat_at):
                await self._wake.wait()

    async def farewell(self) -> None:
        """Take all of them away, if that takes no time; else they are gone when this process counts as dead."""
        with trio.move_on_after(FAREWELL):
            try:
                await self._reap(self._process, b"leaving")
            except (RedisAway, RedisError):
                pass

    async def _beat(self) -> None:
        arguments: list[Value] = [self._process, int(self._ttl * 1000)]
        known, dead = await answer(self._redis, _known_and_dead, BEAT, [self._names.alive], arguments)
        if not known:
            self._changed |= dict.fromkeys(self._members)
        for process in dead:
            if len(process) != len(self._process):
                said = f"{process!r} was in {self._names.alive!r}, and is not one of ours"
                self._complaints.say(logging.WARNING, said)
            await self._reap(process, b"")

    async def _reap(self, process: bytes, leaving: bytes) -> None:
        keys = [self._names.alive, self._names.of(process)]
        while await answer(self._redis, int, REAP, keys, [process, self._names.prefix, AT_ONCE, leaving]):
            pass

    async def _tell(self, ids: list[str]) -> None:
        keys, arguments = [self._names.of(self._process)], [self._process]
        for ident in ids:
            there = self._members.get(ident)
            topic, data = (self._told[ident], "") if there is None else there
            self._told[ident] = topic
            keys += self._names.who(topic), self._names.topic(topic)
            sign = b"-" if there is None else b"+"
            arguments += sign, ident.encode(), self._names.encoded(topic), data.encode()
        said = {ident: self._members.get(ident) for ident in ids}
        foreign = await answer(self._redis, _texts, TELL, keys, arguments)
        if foreign and not self._foreign:
            self._foreign = True
            log.warning("Redis at %s: what is in %r is not ours; members are left out", self._redis.place, foreign[0])
        for ident, there in said.items():
            if self._members.get(ident) is there:
                self._changed.pop(ident, None)
                if there is None:
                    del self._told[ident]


def _known_and_dead(reply: Any) -> tuple[bool, Sequence[bytes]]:
    known, dead = reply
    return bool(known), _texts(dead)


def _texts(reply: Any) -> Sequence[bytes]:
    if not isinstance(reply, list):
        raise TypeError
    found = cast("list[object]", reply)
    texts = [each for each in found if isinstance(each, bytes)]
    if len(texts) < len(found):
        raise TypeError
    return texts
