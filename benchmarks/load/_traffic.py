"""Clients that keep a server busy while something happens to it, and an account of each request.

This file owns how the end of a request is classed: answered, refused, or lost, and on which kind of connection.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import trio

from ._client import Connection, Gone, connect, get

Outcome = Literal["answered", "refused", "lost"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        sent: when its last byte was handed to the kernel, or its connection was refused.
        ended: when its answer was complete, or was known not to come.
        outcome: `refused`: there was no connection. `lost`: there was one, and no whole answer.
        connection: its number.
        fresh: it was the first on its connection.
        pid: of the process that answered.
        closes: the answer had `Connection: close`.
        status: of the answer.
    """

    sent: float
    ended: float
    outcome: Outcome
    connection: int
    fresh: bool
    pid: int = 0
    closes: bool = False
    status: int = 0


@dataclass(slots=True)
class Traffic:
    """The clients.

    Attributes:
        port: of the server.
        path: they ask for; it answers with its process id.
        requests: the account, in the order of their ends.
        stopped: set it, and no further request is sent.
    """

    port: int
    path: str
    requests: list[Request] = field(default_factory=list)
    stopped: bool = False

    async def keep_alive(self) -> None:
        """One client that uses its connection for as long as the server lets it."""
        while not self.stopped:
            connection = await self._connect()
            if connection is not None:
                try:
                    fresh = True
                    while not self.stopped and await self._exchange(connection, fresh):
                        fresh = False
                finally:
                    connection.close()

    async def fresh(self) -> None:
        """One client with a connection for each request."""
        while not self.stopped:
            connection = await self._connect()
            if connection is not None:
                try:
                    await self._exchange(connection, True, "Connection: close")
                finally:
                    connection.close()

    async def _connect(self) -> Connection | None:
        try:
            return await connect(self.port)
        except OSError:
            now = time.monotonic()
            self.requests.append(Request(now, now, "refused", connection=0, fresh=True))
            await trio.sleep(0.02)
            return None

    async def _exchange(self, connection: Connection, fresh: bool, *fields: str) -> bool:
        """Ask once; returns whether the connection may be used again."""
        sent, number = time.monotonic(), connection.number
        try:
            await connection.send(get(self.path, *fields))
            sent = time.monotonic()
            answer = await connection.answer()
        except (OSError, Gone):
            self.requests.append(Request(sent, time.monotonic(), "lost", number, fresh))
            return False
        pid = int(answer.body) if answer.status == 200 else 0
        ended = time.monotonic()
        self.requests.append(Request(sent, ended, "answered", number, fresh, pid, answer.closes, answer.status))
        return not answer.closes

    def failed(self) -> int:
        """How many were answered, and not with 200."""
        return sum(request.outcome == "answered" and request.status != 200 for request in self.requests)

    def count(self, outcome: Outcome, *, after: float = 0.0, fresh: bool | None = None) -> int:
        """How many ended so, after a moment, on that kind of connection (`None`: either)."""
        return sum(
            request.outcome == outcome and request.ended >= after and fresh in (None, request.fresh)
            for request in self.requests
        )
