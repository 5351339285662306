"""All that clients share: databases, channels, who is connected, what has been counted. It decides nothing by itself.

It knows neither sockets nor Trio; a test runs commands on it with a clock that it sets.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import InitVar, dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from .aof import Log
from .memory import LIMIT, Memory
from .pubsub import Hub
from .store import Clock, Store

if TYPE_CHECKING:
    from .session import Session

DATABASES: Final = 16
VERSION: Final = b"7.0.15"
"""Of the redis-server whose replies these are. Clients look at it to see what they may ask."""


@dataclass(slots=True)
class Counted:
    """For INFO."""

    connections: int = 0
    refused: int = 0
    """Times that `accept` failed; not who waits because there are too many: they are in the kernel's queue."""
    commands: int = 0
    """Of those who have gone; the others count for themselves."""
    published: int = 0
    dropped: int = 0
    """Messages that a slow subscriber did not get."""
    cut_off: int = 0
    """Slow subscribers that were disconnected."""


@dataclass(slots=True, eq=False)
class Engine:
    """What there is one of.

    Args:
        clock: milliseconds since 1970.
        config: what CONFIG GET answers.
        limit: bytes that all clients may hold.

    Attributes:
        refusing: why no change is made, as its client is told; `None`: they are.
        turns: one number for each batch of requests that was run.
        warned: when the log was last told that somebody speaks HTTP.
    """

    clock: Clock
    config: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    limit: InitVar[int] = LIMIT
    memory: Memory = field(init=False)
    stores: list[Store] = field(init=False)
    hub: Hub = field(default_factory=Hub)
    clients: dict[int, Session] = field(init=False)
    counted: Counted = field(default_factory=Counted)
    log: Log | None = None
    refusing: bytes | None = None
    started: int = field(init=False)
    turns: count[int] = field(default_factory=lambda: count(1))
    ids: count[int] = field(default_factory=lambda: count(1))
    warned: int = field(init=False)

    def __post_init__(self, limit: int) -> None:
        self.memory = Memory(self.clock, limit)
        self.stores = [Store(number, self.clock) for number in range(DATABASES)]
        self.clients = {}
        self.warned = -(1 << 62)
        self.started = self.clock()

    def record_to(self, log: Log | None) -> None:
        """Tell each change to this."""
        self.log = log
        for store in self.stores:
            store.record = None if log is None else log.record
            store.record_all = None if log is None else log.record_all

    def together(self) -> AbstractContextManager[None]:
        """What changes in this block is recorded as one: after a crash all of it is there, or nothing."""
        return nullcontext() if self.log is None else self.log.together()

    def refuse_changes(self, why: OSError | None) -> None:
        """Refuse them from now on, because the log cannot be written; `None`: no more."""
        self.refusing = None
        if why is not None:
            self.refusing = b"MISCONF Errors writing to the AOF file: %b" % str(why.strerror).encode()
        for session in self.clients.values():
            session.settle()

    def when_earlier(self, call: Callable[[], None]) -> None:
        """Call this when a key is to expire before all others of its database."""
        for store in self.stores:
            store.earlier = call

    @property
    def changes(self) -> int:
        """How many changes there have been."""
        return sum(store.changes for store in self.stores)
