"""One connection: the tasks it consists of, and the promise that nothing in it can hurt another.

This file owns when a connection is read, when it is closed, and what happens to an exception. It knows bytes, a
protocol that turns them into requests, and the application's tasks; not what the bytes mean.

It replaces `hypercorn.trio.tcp_server.TCPServer` (and its TaskGroup and ProtocolWrapper) rather than patching them, so
that another user of hypercorn in the same process is left alone. What differs, and why:

- An exception stays in its connection. hypercorn lets it out, where it cancels the nursery of all connections: one
  malformed request stops the server.
- No handler can stop the server either: what it raises, `SystemExit` and `KeyboardInterrupt` included, is a 500. A
  real Ctrl-C is a signal, and `_signals` receives it; it is never expected as an exception in a handler.
- The idle timer is a deadline on the reader, not a task that each request cancels and starts again. Setting it cannot
  be cancelled, so a handler that is cancelled in its last `send` cannot leave a connection without a timer.
- A connection closed on a client that is still sending lingers: closing with unread input sends RST, which destroys
  the response on its way (RFC 9112 section 9.6).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, TypeAlias

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H2ProtocolAssumedError

from ._address import ends_of
from ._application import run_application
from ._handshake import Transport, alpn_of
from ._http1_wire import LINGER_BYTES, LINGER_SECONDS
from ._seam import HTTPProtocol, Stream
from ._state import Server, log
from ._stream import RECEIVE_SIZE, BoundedStream, Stalled

FIRST_REQUEST_SECONDS = 1.0
"""For a client that connected just before the drain to send its request: more than a round trip."""

CLOSE_SECONDS = 1.0
"""For TLS's close_notify."""

ChooseProtocol: TypeAlias = "Callable[[Connection, str], HTTPProtocol]"


class Connection:
    """One accepted connection, from the handshake to the close.

    Args:
        server: what it shares with the others.
        choose: makes the protocol for an ALPN name (RFC 7301); called again with "h2" for a client that starts with
            HTTP/2's preface (RFC 9113 section 3.4).
        transport: the accepted stream, plain or TLS.
        begun: what has been read from it already.
    """

    def __init__(self, server: Server, choose: ChooseProtocol, transport: Transport, begun: bytes = b"") -> None:
        self.server = server
        self.transport = transport
        self.ssl = not isinstance(transport, BoundedStream)
        self.bytes = transport if isinstance(transport, BoundedStream) else transport.transport_stream
        self.bytes.patience = self._patience
        self.client: tuple[str, int] | None = None
        self.local: tuple[str, int] | None = None
        self.gone = False  # closed or broken: what is written now goes nowhere
        self.closing = False  # the last byte is written; we only wait for the client to notice
        self.running: set[Stream] = set()  # requests whose application has not returned
        self._choose = choose
        self._begun = begun
        self._idle = True
        self._unused = True  # no request has come yet
        self._linger_left = LINGER_BYTES
        self._reading = trio.CancelScope()
        self._handshake = trio.CancelScope()
        self._write_lock = trio.Lock()
        self._shield = trio.CancelScope()
        self._none_running: trio.Event | None = None
        self._nursery: trio.Nursery
        self._protocol: HTTPProtocol

    async def run(self) -> None:
        """Serve the connection. Raises nothing but what comes from outside: cancellation."""
        self.server.joined(self)
        try:
            await self._run()
        except* Exception as group:  # noqa: BLE001 - whatever it is, it stays here
            log.error("connection of %s ended by an error", self._peer(), exc_info=group)
        finally:
            self.gone = True
            self.bytes.close()
            self.server.left(self)

    async def _run(self) -> None:
        alpn = await alpn_of(self.transport, self.server.config.ssl_handshake_timeout, self._handshake)
        if alpn is None:
            return
        ends = ends_of(self.bytes.socket)
        if ends is None:
            return
        self.client, self.local = ends
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._use(self._choose(self, alpn))
            self._set_idle(True)
            await self._read()
            await self._protocol.handle(Closed())
            if self._idle and not self.gone:
                await self._protocol.farewell()
            if self._idle or self.closing or self.gone:
                await self._close()
            if self.running:
                self._none_running = trio.Event()
                await self._none_running.wait()
            nursery.cancel_scope.cancel()  # what is left are the protocol's own helpers
        await self._close()

    async def _use(self, protocol: HTTPProtocol) -> None:
        self._protocol = protocol
        self.bytes.shielded = protocol.shielded
        await protocol.initiate()

    # Reading -----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        with self._reading:
            if self._begun:
                await self._feed(self._begun)
            while True:
                try:
                    data = await self._receive()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._lost()
                    return
                except trio.TooSlowError:
                    return
                if self.closing:
                    self._linger_left -= len(data)
                    if not data or self._linger_left < 0:
                        return
                    continue
                await self._feed(bytes(data))
                if not data:
                    return

    async def _receive(self) -> bytes | bytearray:
        if self.server.config.read_timeout is None:
            return await self.transport.receive_some(RECEIVE_SIZE)
        with trio.fail_after(self.server.config.read_timeout):
            return await self.transport.receive_some(RECEIVE_SIZE)

    async def _feed(self, data: bytes) -> None:
        try:
            await self._protocol.handle(RawData(data))
        except H2ProtocolAssumedError as assumed:
            await self._use(self._choose(self, "h2"))
            if assumed.data:
                await self._protocol.handle(RawData(assumed.data))

    async def parked(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Let the reader wait for something other than the socket, and notice meanwhile if the client leaves."""
        with self.server.hangups.watch(self.bytes.socket, self._left_while_parked):
            await wait()

    def _left_while_parked(self) -> None:
        # Told, no more: part of a body may lie unread before the end of the stream, and a client that has only ended
        # its half (`nc` does) may rely on its being read.
        for stream in self.running:
            stream.link.client_left()

    # Writing -----------------------------------------------------------------------------------------------------

    async def send(self, event: Event) -> None:
        """What hypercorn's protocols call to act on the connection."""
        if isinstance(event, RawData):
            await self.write(event.data)
        elif isinstance(event, Updated):
            self._set_idle(event.idle)
        elif isinstance(event, Closed):
            self.finish()

    async def write(self, data: bytes) -> None:
        """Send `data`, or nothing if the connection is gone. A checkpoint, unless `data` is empty."""
        if not data:
            return
        if self.gone:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._write(data)
        except Stalled as stalled:
            log.info("dropped %s: %s", self._peer(), stalled)
            self.abort(reset=True)
            await self._lost()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await self._lost()
        except trio.Cancelled:
            # Bytes that the protocol believes sent are not: whatever followed them would be misread.
            self.abort()
            await self._lost()
            raise

    async def _write(self, data: bytes) -> None:
        try:
            self._write_lock.acquire_nowait()
        except trio.WouldBlock:
            with trio.CancelScope(shield=self._protocol.shielded):
                await self._write_lock.acquire()
        try:
            if self.transport is self.bytes:
                await self.bytes.send_all(data)
                return
            # TLS starts with a checkpoint, which would refuse a write in a cancelled scope that the kernel would take.
            with trio.CancelScope(shield=True) as self._shield:
                await self.transport.send_all(data)
        finally:
            self._write_lock.release()

    async def _lost(self) -> None:
        """Nothing can be written any more: tell the requests, release the reader. Does not block."""
        self.gone = True
        self._reading.cancel()
        await self._protocol.handle(Closed())

    def _patience(self) -> float:
        # Asked only when a write blocks: from here on it may be cancelled, where that hurts nobody else. The most
        # patient request decides for those that share the connection.
        self._shield.shield = self._protocol.shielded
        if not self.running:
            return self.server.send_timeout or inf
        timeouts = [stream.link.send_timeout for stream in self.running]
        return max(inf if timeout is None else timeout for timeout in timeouts)

    # Closing -----------------------------------------------------------------------------------------------------

    def _set_idle(self, idle: bool) -> None:
        self._idle = idle
        if self.closing:
            return
        if not idle:
            self._unused = False
            self._reading.deadline = inf
        elif self.server.draining.is_set():
            self._end_idle()
        else:
            self._reading.deadline = trio.current_time() + self.server.config.keep_alive_timeout

    def finish(self) -> None:
        """All that will be written has been: close, with regard for a client that is still sending."""
        if self.closing or self.gone:
            return
        self.closing = True
        if not self._protocol.unread:
            self._reading.cancel()
            return
        # Over TLS this leaves out close_notify, for what follows it could not be read; the response has its length.
        self.bytes.end_writing()
        self._reading.deadline = trio.current_time() + LINGER_SECONDS

    def abort(self, *, reset: bool = False) -> None:
        """Close at once, in the middle of whatever is going on. `reset`: with RST (see `BoundedStream.close`)."""
        self.gone = True
        self._reading.cancel()
        self._handshake.cancel()
        self.bytes.close(reset=reset)

    async def _close(self) -> None:
        if not self.gone:
            self.gone = True
            try:
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await self.transport.aclose()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the client was quicker
        self.bytes.close()

    # The drain ---------------------------------------------------------------------------------------------------

    def drain_begins(self) -> None:
        """Close if idle; otherwise after the response in progress."""
        self._handshake.cancel()
        if self._idle:
            self._end_idle()

    def _end_idle(self) -> None:
        # Who has kept a connection must expect its end (RFC 9112 section 9.3.1); who has just connected need not.
        self._reading.deadline = trio.current_time() + (FIRST_REQUEST_SECONDS if self._unused else 0)

    def drain_over(self) -> None:
        """Tell the requests to stop; cancel them if none of them can be told."""
        for stream in list(self.running):
            stream.link.drain_over()
        if self.running and not any(stream.link.attached for stream in self.running):
            self._nursery.cancel_scope.cancel()
        elif not self.running:
            self._reading.cancel()

    # The application ---------------------------------------------------------------------------------------------

    def spawn(self, function: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Run a helper of the protocol as long as the connection lasts (hypercorn's TaskGroup has this method)."""
        self._nursery.start_soon(function, *args)

    def spawn_application(self, stream: Stream) -> None:
        """Run the application for one request."""
        self.running.add(stream)
        name = f"{stream.scope['type']} {stream.scope['path']}"  # what a dump of the task tree shows
        self._nursery.start_soon(run_application, self.server.app, stream, self._application_ended, name=name)

    def _application_ended(self, stream: Stream) -> None:
        self.running.discard(stream)
        stream.ended()
        if not self.running and self._none_running is not None:
            self._none_running.set()

    def _peer(self) -> str:
        return "a client" if self.client is None else f"{self.client[0]}:{self.client[1]}"
