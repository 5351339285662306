"""The time of a WebSocket: when it is pinged, and how long a client may be silent. This file owns these two decisions.

A client of which nothing has been heard for a while is pinged; one of which then nothing is heard at all, be it the
pong or anything else, is gone, though TCP has not noticed. While we do not read, for the application does not, nothing
is held against a client. There is no timer: the server's sweep asks each connection.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

from ._http1_wire import Wire
from ._state import log
from ._ws_frames import INTERNAL_ERROR, PING, closing, control

if TYPE_CHECKING:
    from ._http1_service import HTTP1Service
    from ._transport import Transport


class Clocked(Wire):
    """The middle of a WebSocket connection.

    Attributes:
        heard: when the client last sent anything, on Trio's clock.
        paused: we do not read.
        pending: what waits to be written, in order.
    """

    __slots__ = ("_leaving", "_pinged", "heard", "paused", "pending")

    def __init__(self, server: HTTP1Service, transport: Transport, now: float) -> None:
        super().__init__(server, transport, now)
        self.deadline = inf  # the application decides how long a handshake may take
        self.heard = now
        self.paused = False
        self.pending: list[bytes | memoryview] | None = None
        self._pinged: float | None = None  # when, if nothing has been heard since
        self._leaving = False  # our close frame is out

    # The upper half's ----------------------------------------------------------------------------------------------

    def put(self, data: bytes) -> bool:
        """Write, behind what waits; whether the kernel has all of it, or nobody will. Never blocks."""
        raise NotImplementedError

    def lost(self) -> None:
        """The client is gone, though its connection is not broken: close, behind what has been written."""
        raise NotImplementedError

    # Time ------------------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The handshake is over: pings from now on."""
        interval = self.server.ping_interval
        if interval is not None:
            self.heard = trio.current_time()
            self.deadline = self.heard + interval

    def await_close(self) -> None:
        """Our close frame is out: the client's is waited for."""
        self._leaving = True
        self.deadline = trio.current_time() + self.server.limits.websocket_close

    def tick(self, now: float, seconds: float) -> None:
        """Called every `seconds` or so."""
        if self.deadline <= now:
            if self.closing or self._leaving:
                self.close()
            else:
                self._look(now)

    def _look(self, now: float) -> None:
        """Ping a client that is silent; give up one that stays so."""
        interval = self.server.ping_interval
        if interval is None:
            self.deadline = inf
        elif self.paused or self.pending is not None:  # a client that does not read is `send_timeout`'s
            self._pinged = None
            self.deadline = now + interval
        elif self._pinged is not None and self.heard <= self._pinged:
            log.info("dropped %s: nothing heard for %g s", self._peer(), now - self.heard)
            self.put(closing(INTERNAL_ERROR, "no pong"))
            self.lost()
        elif now - self.heard < interval:
            self._pinged = None
            self.deadline = self.heard + interval
        else:
            self._pinged = now
            self.deadline = now + self.server.limits.websocket_pong
            self.put(control(PING))
