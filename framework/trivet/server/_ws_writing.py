"""The writing half of a WebSocket connection: what leaves at once, what waits, and for how long.

This file owns that order. A frame is written at once, for the kernel takes nearly all of them; what follows it in the
same turn of the scheduler's is held back and written together behind that turn, as uvloop does with all it writes. What
the kernel does not take is written by a task that is there only as long, and not by who sends: a sender that is
cancelled leaves no half frame behind. It knows frames only as bytes, and nothing of what comes in.

    -> written at once;  -> held back -> written;  -> pending, where the kernel did not take all -> written, or dropped
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import trio

from ._state import log
from ._ws_clock import Clocked

if TYPE_CHECKING:
    from ._http1_service import HTTP1Service
    from ._transport import Transport

HELD: Final = 65_536
"""Bytes that are held back at most."""


class Writing(Clocked):
    """The middle of a WebSocket connection, above `Clocked`; its arguments."""

    __slots__ = ("_held", "_held_size", "_put_at", "_written")

    def __init__(self, server: HTTP1Service, transport: Transport, now: float) -> None:
        super().__init__(server, transport, now)
        self._written: trio.Event | None = None  # while somebody waits for that
        self._put_at = -inf  # when anything was last read, as of the last write
        self._held: list[bytes] | None = None  # frames to be written together, in this turn of the scheduler's
        self._held_size = 0

    # The upper half's ------------------------------------------------------------------------------------------------

    def send_patience(self) -> float | None:
        """Seconds in which a client has to take some of what waits."""
        raise NotImplementedError

    def abort(self, *, reset: bool = False) -> None:
        """Close at once."""
        raise NotImplementedError

    def all_written(self) -> None:
        """Nothing waits any more; the connection may be gone."""
        raise NotImplementedError

    # Writing ---------------------------------------------------------------------------------------------------------

    def put(self, data: bytes) -> bool:
        """See `Clocked`."""
        now = self.server.now
        if self.pending is None:
            if len(data) >= HELD:
                self.put_held()
            elif self._held is not None or self._put_at == now:
                # Nothing has been read since the last write: this is more than an answer, and perhaps not the last.
                # A room in which ten speak at once says ten things to everybody, for which two system calls will do.
                return self._hold(data)
        if self.pending is not None:
            self.pending.append(data)
            return False
        self._put_at = now
        return self._write(data)

    def _hold(self, data: bytes) -> bool:
        if self._held is None:
            self._held = []
            self._held_size = 0
            self.server.hold(self)
        self._held.append(data)
        self._held_size += len(data)
        return self._held_size < HELD or self.put_held()

    def put_held(self) -> bool:
        """Write what is held back; returns what `put` does."""
        held, self._held = self._held, None
        return held is None or self._write(b"".join(held))

    def _write(self, data: bytes) -> bool:
        rest = self.push(data)
        if rest is None:
            return True
        self.pending = [rest]
        # In our context: who sends may be in that of a request.
        self.server.base_context.copy().run(self.server.nursery.start_soon, self._drain)
        return False

    async def _drain(self) -> None:
        """Write what the kernel did not take, as long as the client takes some of it within `send_timeout`."""
        pending = self.pending
        try:
            while pending and not self.gone:
                piece = pending.pop(0)
                await self.flush(memoryview(piece), self.send_patience())
        except Exception:  # noqa: BLE001 - whatever it is, it costs nobody else anything
            log.exception("a connection ended by an error")
            self.abort(reset=True)
        finally:
            self.pending = None
            if self._written is not None:
                self._written.set()
                self._written = None
        self.all_written()

    async def drained(self) -> None:
        """Return when nothing waits to be written any more; or the connection is over."""
        if self._written is None:
            self._written = trio.Event()
        await self._written.wait()
