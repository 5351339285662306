"""The lower half of an HTTP/1.1 connection: how bytes leave, and how the connection ends.

This file owns writing and closing. A write is tried at once, for the kernel takes nearly all of them; one that would
block has `send_timeout` seconds for each bit of progress. It knows no request: the upper half is `_http1_connection`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import trio

from ._state import log

if TYPE_CHECKING:
    from ._http1_service import HTTP1Service
    from ._transport import Transport

LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 4 * 2**20
"""What a client may go on sending after its early answer, as nginx's `lingering_time` and `lingering_timeout`."""


class Wire:
    """Writes to a transport, and closes it.

    Args:
        server: what it shares with the others.
        transport: how it reads and writes.
        now: on Trio's clock.

    Attributes:
        blocked: exists while a write waits for the client.
        deadline: when the connection is ended, on Trio's clock, unless something happens.
        eof: the client has ended its half, or is gone: nothing more will be read.
        gone: closed, broken, or handed over: nothing more will be written.
        closing: the last byte is written; what the client still sends is thrown away for a while.
    """

    __slots__ = ("_linger_left", "blocked", "closing", "deadline", "eof", "gone", "server", "transport")

    def __init__(self, server: HTTP1Service, transport: Transport, now: float) -> None:
        self.server = server
        self.transport = transport
        self.blocked: trio.Event | None = None
        self.deadline = now + server.limits.idle_timeout
        self.eof = False
        self.gone = False
        self.closing = False
        self._linger_left = LINGER_BYTES

    # The upper half's ----------------------------------------------------------------------------------------------

    def broken(self) -> None:
        """Nothing can be read or written any more."""
        raise NotImplementedError

    def _closed(self) -> None:
        """The transport has been closed."""
        raise NotImplementedError

    def exhausted(self) -> bool:
        """Whether the connection ends because it has carried as many requests as one may."""
        raise NotImplementedError

    # Writing -----------------------------------------------------------------------------------------------------

    def push(self, data: bytes | memoryview) -> memoryview | None:
        """Write without blocking; returns what is left."""
        if self.gone:
            return None
        try:
            sent = self.transport.write_now(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.broken()
            return None
        return None if sent == len(data) else memoryview(data)[sent:]

    async def write(self, pieces: tuple[bytes, ...], patience: float | None) -> None:
        """Write `pieces`; see `flush`."""
        for piece in pieces:
            rest = self.push(piece)
            if rest is not None:
                await self.flush(rest, patience)

    async def flush(self, rest: memoryview, patience: float | None) -> None:
        """Write `rest`, or close a connection whose client takes nothing for `patience` seconds.

        Cancellation: closes the connection, for whatever followed half a message would be misread.
        """
        self.blocked = trio.Event()
        try:
            with trio.CancelScope() as scope:
                while rest and not self.gone:
                    if patience is not None:
                        scope.deadline = trio.current_time() + patience
                    rest = rest[await self.transport.write_some(rest) :]
            if scope.cancelled_caught:
                log.info("dropped %s: it has read nothing for %g s", self._peer(), patience)
                self.close(reset=True)
                self.broken()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.broken()
        except trio.Cancelled:
            self.eof = True
            # With RST: where the end of the connection ends the body, half of one must not look like the whole.
            self.close(reset=True)
            raise
        finally:
            self.blocked.set()
            self.blocked = None

    # Closing -----------------------------------------------------------------------------------------------------

    def finish(self, *, sending: bool) -> None:
        """All that will be written has been: close, with regard for a client that is still sending.

        Closing with unread input sends RST, which destroys the answer on its way (RFC 9112 section 9.6). That may still
        be coming if it is we who end the connection, for a client that pipelines has not been told by then; one that
        wanted the end itself sends nothing more. A drain waits for nobody who only might.

        Args:
            sending: whether something of the client's is known to be unread.
        """
        if self.gone or self.closing:
            return
        if self.eof or not (sending or self.exhausted()):
            self.close()
            return
        self.closing = True
        self.transport.end_writing()
        self.deadline = self.server.now + LINGER_SECONDS

    def throw_away(self, data: bytes) -> None:
        """What came while closing."""
        self._linger_left -= len(data)
        if self._linger_left < 0:
            self.close()

    def close(self, *, reset: bool = False) -> None:
        """Close at once. `reset`: with RST, dropping what the kernel has not sent yet."""
        if not self.gone:
            self.gone = True
            self.deadline = inf
            self.transport.close(reset=reset)
            self._closed()

    def _peer(self) -> str:
        client = self.transport.client
        return "a client" if client is None else f"{client[0]}:{client[1]}"
