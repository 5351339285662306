"""What the server knows of one client: its database, protocol version, transaction, subscriptions.

This file owns that state and how it is begun and given up, not what leads to it: that is the commands' business. It
knows no socket: what must go out unasked is given to `deliver`, who ends the connection is `kill`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .engine import Engine
from .replies import NULL, bulk, push
from .store import Store

if TYPE_CHECKING:
    from .table import Command

ENTRY: Final = 512
"""Bytes that a name takes in the tables of who has subscribed to it, or watches it, beside its own."""

MESSAGE: Final = b"$7\r\nmessage\r\n"
PMESSAGE: Final = b"$8\r\npmessage\r\n"


class Session:
    """One client.

    Args:
        engine: what it shares with the others.
        deliver: takes what goes to the client unasked.
        kill: ends the connection, at once.
        address: the client's, for CLIENT LIST.
        local: ours.

    Attributes:
        plain: neither in a transaction nor, in RESP2, subscribed, and changes are made: any command may run, now. One
            look where there would be four for each command.
        named: bytes that names take: of its channels and patterns, of the keys that it watches, its own.
        queue: the transaction, if there is one.
        queued: bytes of it.
        broken: whether a command of the transaction was refused.
        dirty: whether a key that was watched has changed.
        closing: whether the connection ends with the reply that is being made.
    """

    __slots__ = (
        "address",
        "born",
        "broken",
        "channels",
        "closing",
        "commands",
        "deliver",
        "dirty",
        "engine",
        "id",
        "kill",
        "last",
        "local",
        "name",
        "named",
        "null",
        "patterns",
        "plain",
        "queue",
        "queued",
        "store",
        "version",
        "watched",
    )

    def __init__(
        self, engine: Engine, deliver: Callable[[bytes], None], kill: Callable[[], None], address: str, local: str
    ) -> None:
        self.engine = engine
        self.deliver = deliver
        self.kill = kill
        self.address = address
        self.local = local
        self.id = next(engine.ids)
        self.born = engine.clock()
        self.last = b"NULL"
        self.commands = 0
        self.closing = False
        self.queued = self.named = 0
        self.name = b""
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.watched: set[tuple[Store, bytes]] = set()
        self.queue: list[tuple[Command, list[bytes]]] | None = None
        self._begin()
        engine.clients[self.id] = self
        engine.counted.connections += 1

    def _begin(self) -> None:
        self.rename(b"")
        self.store = self.engine.stores[0]
        self.broken = self.dirty = False
        self.speak(2)

    def reset(self) -> None:
        """Be as new."""
        self.leave_all()
        self.unwatch()
        self.queue = None
        self._begin()

    def close(self) -> None:
        """The client has gone."""
        self.leave_all()
        self.unwatch()
        self.queue = None
        # A connection has a session, which would have it by this. What was read of a request, up to 128 MB, would stay
        # until the garbage collector looks for such cycles among its oldest, which is seldom.
        self.deliver = _unheard
        if self.engine.clients.pop(self.id, None) is not None:
            self.engine.counted.commands += self.commands

    def speak(self, version: int) -> None:
        """Use this version of the protocol from now on."""
        self.version = version
        self.null = NULL[version]
        self.settle()

    def settle(self) -> None:
        """See what may run, after any of this has changed."""
        listening = self.version == 2 and self.subscribed
        self.plain = self.queue is None and not listening and self.engine.refusing is None

    def rename(self, name: bytes) -> None:
        """Have this name from now on."""
        self.named += len(name) - len(self.name)
        self.name = name

    @property
    def held(self) -> int:
        """Bytes that it keeps: names, and what is queued."""
        return self.named + (self.queued if self.queue else 0)

    # ---- transactions

    def watch(self, key: bytes) -> None:
        """Notice when this key changes."""
        self.store.get(key)  # if it has expired, that is before, not after
        if (self.store, key) not in self.watched:
            self.named += ENTRY + len(key)
        self.watched.add((self.store, key))
        self.store.watchers.setdefault(key, set()).add(self)

    def unwatch(self) -> None:
        """No more."""
        for store, key in self.watched:
            watchers = store.watchers[key]
            watchers.discard(self)
            if not watchers:
                del store.watchers[key]
            self.named -= ENTRY + len(key)
        self.watched.clear()
        self.dirty = False

    def end_transaction(self) -> None:
        """It was run, or given up."""
        self.queue = None
        self.broken = False
        self.queued = 0
        self.unwatch()
        self.settle()

    def touched(self) -> None:
        """A key that it watches has changed."""
        self.dirty = True

    # ---- subscriptions

    @property
    def subscribed(self) -> int:
        """To how many channels and patterns."""
        return len(self.channels) + len(self.patterns)

    def leave_all(self) -> None:
        """Hear nothing more."""
        for name in (*self.channels, *self.patterns):
            self.named -= ENTRY + len(name)
        for channel in self.channels:
            self.engine.hub.unsubscribe(channel, self)
        for pattern in self.patterns:
            self.engine.hub.unsubscribe_pattern(pattern, self)
        self.channels.clear()
        self.patterns.clear()

    def message(self, channel: bytes, data: bytes, pattern: bytes | None) -> None:
        """Something was said on a channel."""
        if pattern is None:
            items = [MESSAGE, bulk(channel), bulk(data)]
        else:
            items = [PMESSAGE, bulk(pattern), bulk(channel), bulk(data)]
        self.deliver(push(items, self.version))


def _unheard(data: bytes) -> None:
    """Nobody is there."""
