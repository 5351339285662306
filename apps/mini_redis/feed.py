"""What the HTTP face shows of the engine; this file owns how much, and what a slow reader of a channel misses."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final, Self
from urllib.parse import quote

import msgspec
import trio

from .engine import Engine
from .memory import STEP

SHOWN: Final = 100
LONGEST: Final = 200
LONGEST_NAME: Final = 1024
"""Bytes of a key or a channel. A longer one could not be asked for over HTTP either."""
WAITING: Final = 256
"""Messages that may wait for one reader; the oldest go first, and are counted."""


class Key(msgspec.Struct, frozen=True):
    """A key, as it is shown."""

    key: str
    """Of a long one the beginning, and something that tells it from others which begin so."""
    path: str | None
    """How a URL names it, `/keys/PATH`; `None`: none can."""
    value: str
    """Its beginning."""
    size: int
    until: int | None
    """Milliseconds since 1970."""


class Overview(msgspec.Struct, frozen=True):
    """What there is."""

    total: int
    keys: list[Key]
    channels: dict[str, int]
    """How many have subscribed to each."""
    clients: int
    port: int
    """Where RESP is spoken."""
    slow: int
    """Subscribers that were cut off, and messages that were dropped."""


class Said(msgspec.Struct, frozen=True):
    """A message on a channel."""

    channel: str
    data: str


def overview(engine: Engine, port: int) -> Overview:
    """Database 0, the channels, the clients; `port` is where those connect."""
    store = engine.stores[0]
    shown: list[Key] = []
    for key in list(islice(store.present(), SHOWN)):
        value = store.get(key)
        if value is not None:
            shown.append(Key(_name(key), path_of(key), _text(value[:LONGEST]), len(value), store.until.get(key)))
    channels = {_name(channel): len(heard) for channel, heard in islice(engine.hub.channels.items(), SHOWN)}
    slow = engine.counted.dropped + engine.counted.cut_off
    return Overview(len(store), shown, channels, len(engine.clients), port, slow)


def path_of(key: bytes) -> str | None:
    """The segment of a path that reaches this key, if one does: it is UTF-8, and neither empty nor a dot or two, which
    every client takes out of a path, however they are written (WHATWG URL, "double-dot URL path segment").
    """
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return None if text in ("", ".", "..") or "\0" in text or len(text) > LONGEST_NAME else quote(text, safe="")


def _name(raw: bytes) -> str:
    if len(raw) <= LONGEST_NAME:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return repr(raw)[2:-1]  # with its backslashes escaped: no other bytes look like these
    return f"{_text(raw[:LONGEST_NAME])}\u2026{hash(raw) % 2**32:08x}"  # which it has, being a key of a dict


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


class Feed:
    """The messages of one channel, from the block's beginning to its end. It subscribes as a client over TCP does.

    Args:
        engine: who is asked.
        channel: which.
        limit: bytes that may wait. One message that is more may, if nothing else does.
    """

    def __init__(self, engine: Engine, channel: bytes, limit: int) -> None:
        self.held = 0  # as `memory.py` knows it
        self._size = 0
        self._limit = limit
        self._engine = engine
        self._channel = channel
        # As bytes, which all who hear it share; as text it would be there for each of them, and larger.
        self._waiting: deque[bytes] = deque()
        self._there = trio.Event()

    def __enter__(self) -> Self:
        self._engine.hub.subscribe(self._channel, self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._engine.hub.unsubscribe(self._channel, self)
        self._engine.memory.note(self, 0)

    def message(self, channel: bytes, data: bytes, pattern: bytes | None) -> None:
        """Take a message."""
        while self._waiting and (len(self._waiting) == WAITING or self._size + len(data) > self._limit):
            self._next()
            self._engine.counted.dropped += 1
        self._waiting.append(data)
        self._size += len(data)
        self._there.set()
        self._note()

    def evict(self) -> None:
        """Miss what waits: clients hold too much, and this one most."""
        self._engine.counted.dropped += len(self._waiting)
        self._waiting.clear()
        self._size = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Said:
        while not self._waiting:
            self._there = trio.Event()
            await self._there.wait()
        data = self._next()
        self._note()
        return Said(_text(self._channel), _text(data))

    def _next(self) -> bytes:
        data = self._waiting.popleft()
        self._size -= len(data)
        return data

    def _note(self) -> None:
        if abs(self._size - self.held) > STEP:
            self._engine.memory.note(self, self._size)
