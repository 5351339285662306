"""What there is of a topic in Redis: where, in which form, and the scripts that write and read it.

This file owns those. It sends nothing, and knows no subscriber.

    PREFIX topic:TOPIC    stream    the last messages, each with the id of the one before it; its last id outlives them
    PREFIX topic:TOPIC    channel   what is told to all processes that have subscribers of the topic
    PREFIX who:TOPIC      hash      member's id -> its process, and what it says of itself
    PREFIX of:PROCESS     hash      member's id -> its topic
    PREFIX alive          sorted set of processes, by when they count as dead unless they have said otherwise
    PREFIX idle           channel   nothing is told on it

Ids
---
A message has its id of the stream, `MILLISECONDS-NUMBER`, and with it goes the id of the message before. So whoever has
one of them knows of the next whether any is missing in between, without a count: after a pause, after Redis has lost
some of its data, has another's, or none. A counter would give the same numbers again then, and a hole would not be
seen. For the same reason a topic of which nothing is kept, or nothing was said yet, has a stream, too, that is empty
but knows its last id; for a minute only, since anybody can name topics.

What is told
------------
`=ID PREVIOUS DATA` is a message, `+PROCESS MEMBER DATA` one who has come, `-PROCESS MEMBER` one who has gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ._script import Script

NOTHING: Final = 0
"""The id before the first one, `0-0`."""

_LAST: Final = """
local function last_of(key)
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then return '0-0' end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end
"""

EMPTY: Final = 60.0
"""Seconds that an empty topic is kept after its last subscriber, or message if none is kept. There is one for whoever
has ever subscribed to any name, and nothing is lost with it but the knowledge that nothing was said since: who comes
back later is told of a gap then."""

_KEEP: Final = """
local function keep(key, full, empty)
  local length = redis.pcall('XLEN', key)
  if type(length) ~= 'number' then return end
  redis.call('PEXPIRE', key, length > 0 and full or empty)
end
"""

NOW: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""
"""The beginning of scripts that need the time: Redis', since no two machines agree about it."""

APPEND: Final = Script(
    _LAST
    + _KEEP
    + """
local last = last_of(KEYS[1])
local id = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], ARGV[3], '*', 'd', ARGV[1], 'p', last)
keep(KEYS[1], ARGV[4], ARGV[5])
redis.call('PUBLISH', KEYS[1], '=' .. id .. ' ' .. last .. ' ' .. ARGV[1])
return id
"""
)
"""Publish: the topic; data, how to trim, how many to keep, milliseconds to keep them, or a topic without any. Returns
the id."""

READ: Final = Script(
    _LAST
    + _KEEP
    + NOW
    + """
local after, most = ARGV[1], tonumber(ARGV[2])
local last, gap, found = last_of(KEYS[1]), 0, {}
if ARGV[3] ~= '0' then
  if last == '0-0' then
    local begun = redis.pcall('XADD', KEYS[1], 'MAXLEN', 0, '*', 'd', '', 'p', last)
    if type(begun) == 'string' then
      last = begun
    elseif not string.find(begun.err, 'OOM') then
      return begun
    end
  end
  keep(KEYS[1], ARGV[3], ARGV[4])
end
if after ~= '' then
  found = redis.call('XRANGE', KEYS[1], '(' .. after, '+')
  local before = last
  if found[1] then before = found[1][2][4] end
  if before ~= after then gap = 1 end
end
if most > 0 and (after == '' or gap == 1) then
  found = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', most)
  for i = 1, math.floor(#found / 2) do found[i], found[#found + 1 - i] = found[#found + 1 - i], found[i] end
end
local who, alive, other = {}, {}, 0
if KEYS[2] then
  local all = redis.pcall('HGETALL', KEYS[2])
  if all.err then
    if not string.find(all.err, 'WRONGTYPE') then return all end
    all, other = {}, 1
  end
  for i = 1, #all, 2 do
    local process = string.sub(all[i + 1], 1, 16)
    if alive[process] == nil then
      local until_ = redis.call('ZSCORE', KEYS[3], process)
      alive[process] = until_ and tonumber(until_) > now or false
    end
    if alive[process] then
      who[#who + 1] = all[i]
      who[#who + 1] = all[i + 1]
    end
  end
end
return {last, gap, found, who, other}
"""
)
"""Read: the topic, and if members are asked for where they and the processes are; the id to begin behind, how many of
the last messages are wanted, without an id, or where something is missing behind it, and for how many milliseconds the
topic shall be there, or be there without any message: 0 leaves it as it is. Without memory for a new topic it is read
as one that is not there. Returns the last id, whether something is missing, the messages, the
members, and whether somebody else has written where those would be."""


TOUCH: Final = Script(_KEEP + "for i = 1, #KEYS do keep(KEYS[i], ARGV[1], ARGV[2]) end")
"""Keep topics: those; so many milliseconds, or without any message so many."""


class Row(NamedTuple):
    """A message as it comes from Redis."""

    id: str
    position: int
    before: int
    """The position of the message before it."""
    data: str


class Read(NamedTuple):
    """What `READ` has found."""

    last: int
    """The topic's last position."""
    gap: bool
    rows: Sequence[Row]
    who: Sequence[tuple[str, str, str]]
    """Of each member its process, its id, and what it says of itself."""
    foreign: int
    """How many entries are not ours, and left out."""


def position(ident: bytes) -> int:
    """The id as one number; a later id's is greater."""
    milliseconds, _, number = ident.partition(b"-")
    return int(milliseconds) << 64 | int(number)


def read_id(reply: Any) -> tuple[str, int]:
    """What the script `APPEND` has returned: the id, and as a number."""
    return reply.decode(), position(reply)


def id_of(position: int) -> bytes:
    """The other way round."""
    return b"%d-%d" % (position >> 64, position & (1 << 64) - 1)


def usable(text: str) -> bool:
    """Whether this may be an id: a client can send any text for one, which Redis would call a syntax error."""
    parts = text.split("-")
    return len(parts) == 2 and all(
        part.isascii() and part.isdigit() and len(part) <= 20 and int(part) < 1 << 64 for part in parts
    )


def read_message(payload: bytes) -> Row:
    """A message as it was told.

    Raises:
        ValueError: it is something else.
    """
    ident, before, data = payload[1:].split(b" ", 2)
    return Row(ident.decode(), position(ident), position(before), data.decode())


def read_member(payload: bytes) -> tuple[str, str, str]:
    """One who has come or gone, as it was told: its process, its id, and what it says of itself.

    Raises:
        ValueError: it is something else.
    """
    process, ident, *data = payload[1:].split(b" ", 2)
    return process.decode(), ident.decode(), data[0].decode() if data else ""


def read_reply(reply: Any) -> Read:
    """What the script `READ` has returned. What somebody else has written there is left out."""
    last, gap, found, who, other = reply
    rows = list(filter(None, (_row(ident, fields) for ident, fields in found)))
    members = list(filter(None, map(_member, who[::2], who[1::2])))
    foreign = len(found) - len(rows) + len(who) // 2 - len(members) + other
    return Read(position(last), bool(gap), rows, members, foreign)


def _row(ident: bytes, fields: Sequence[bytes]) -> Row | None:
    try:
        d, data, p, before = fields
        if (d, p) != (b"d", b"p"):
            return None
        return Row(ident.decode(), position(ident), position(before), data.decode())
    except ValueError:
        return None


def _member(ident: bytes, value: bytes) -> tuple[str, str, str] | None:
    try:
        return value[:16].decode(), ident.decode(), value[16:].decode()
    except ValueError:
        return None


def lives(keep: float) -> list[int]:
    """How long a topic is kept, in milliseconds: one that has messages, and one that has none."""
    return [int(keep * 1000), int(min(keep, EMPTY) * 1000)]


class Names:
    """The names of keys and channels.

    Args:
        prefix: what they begin with.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.encode()
        self.alive = self.prefix + b"alive"
        self.idle = self.prefix + b"idle"
        self._topic = self.prefix + b"topic:"
        self._who = self.prefix + b"who:"

    @staticmethod
    def encoded(topic: str) -> bytes:
        """Any text is a topic, lone surrogates too."""
        return topic.encode("utf-8", "surrogatepass")

    def topic(self, topic: str) -> bytes:
        """Of a topic's stream, and its channel."""
        return self._topic + self.encoded(topic)

    def who(self, topic: str) -> bytes:
        """Of a topic's members."""
        return self._who + self.encoded(topic)

    def of(self, process: bytes) -> bytes:
        """Of a process' members."""
        return self.prefix + b"of:" + process
