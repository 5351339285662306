"""What all connections of one server share. This file owns the settings in force; it does nothing.

hypercorn's `Config` is copied, never changed: the caller's object may serve elsewhere.
"""

from __future__ import annotations

import copy
import logging
from time import time
from typing import Protocol

import trio
from hypercorn.config import Config
from hypercorn.trio.statsd import StatsdLogger
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from trivet.asgi import ASGIApp

from ._access_log import AccessLog
from ._hangup import Hangups

log = logging.getLogger("trivet.server")

UNLIMITED = 2**31
"""Requests on one connection. hypercorn's limit of 1,000 loses a response each time on HTTP/2 (it sends GOAWAY before
the answer); nothing leaks here that the limit would cure."""

BACKLOG = 2048
"""Connections the kernel keeps for us while the loop is busy; hypercorn's 100 refuses bursts that nginx (511) takes."""


def effective(config: Config) -> Config:
    """A copy of `config` with our defaults where the caller has not chosen."""
    chosen = vars(config)
    config = copy.copy(config)
    if "keep_alive_max_requests" not in chosen:
        config.keep_alive_max_requests = UNLIMITED
    if "backlog" not in chosen:
        config.backlog = BACKLOG
    if "include_server_header" not in chosen:
        config.include_server_header = False  # it tells an attacker what to try (ASVS 13.4.6)
    if not config.websocket_ping_interval and "websocket_ping_interval" in chosen:
        config.websocket_ping_interval = None  # hypercorn's protocols would ping without a pause
    config.set_statsd_logger_class(StatsdLogger)
    config.accesslog = None  # hypercorn's own is not written: see `_access_log`
    return config


class Open(Protocol):
    """A connection, as the server sees it that drains."""

    def drain_begins(self) -> None:
        """Close if idle; otherwise after the response in progress."""
        ...

    def drain_over(self) -> None:
        """Tell the requests to stop; cancel what cannot be told."""
        ...

    def abort(self, *, reset: bool = False) -> None:
        """Close at once, in the middle of whatever is going on. `reset`: with RST."""
        ...


class Server:
    """One server: the application, its settings, and the connections that are open."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        send_timeout: float | None,
        max_requests: int | None,
        access: AccessLog | None = None,
    ) -> None:
        self.app = app
        self.config = config
        self.send_timeout = send_timeout
        self.access = access
        """Writes the access log; `None`: nobody wants one."""
        self.context = WorkerContext(max_requests)
        self.draining = trio.Event()
        self.hangups = Hangups()
        self.lifespan_state = ConnectionState({})
        self.connections: set[Open] = set()
        self.passing = 0  # connections between two protocols: handed over by one, and not yet taken by the other
        self.stop = trio.Event()  # enough requests have been served
        self.quiet = trio.Event()  # set once the drain has begun and no connection is left
        self._headers: dict[str, tuple[int, list[tuple[bytes, bytes]]]] = {}

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """The headers the server adds to each response, made once a second."""
        now = int(time())
        cached = self._headers.get(protocol)
        if cached is not None and cached[0] == now:
            return cached[1]
        headers = self.config.response_headers(protocol)
        self._headers[protocol] = (now, headers)
        return headers

    def deserted(self) -> bool:
        """Whether nobody is connected."""
        return not (self.connections or self.passing)

    def joined(self, connection: Open) -> None:
        """A connection was accepted."""
        self.connections.add(connection)

    def left(self, connection: Open) -> None:
        """A connection is over."""
        self.connections.discard(connection)
        if self.deserted() and self.draining.is_set():
            self.quiet.set()
