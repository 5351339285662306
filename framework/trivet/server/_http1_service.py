"""HTTP/1.1 of one server: what its connections share, how they are accepted, and who looks after their time.

This file owns the way in (accept, the limit on connections, TLS's other protocols, the hand-over to hypercorn's) and
the one sweep that stands for all timeouts: a timer for each connection would cost more than a request.
"""

from __future__ import annotations

import contextvars
import errno
import functools
import socket
import ssl
from collections.abc import Callable, Iterable
from math import inf
from time import time
from typing import Any, Final

import trio

from trivet.asgi import Answer, ASGIApp, Door

from ._address import ends_of
from ._connection import Connection
from ._handshake import Transport as Accepted
from ._handshake import alpn_of
from ._http1_connection import HTTP1Connection
from ._http1_head import HeadParser, RequestHead
from ._http1_scope import template_of
from ._limits import Limits
from ._poller import Poller
from ._state import Open, Server, log
from ._stream import BoundedStream
from ._tls_handshake import Handshake
from ._tls_transport import SecureTransport
from ._transport import SocketTransport, StreamTransport, Transport

TICK: Final = 0.5
"""Seconds between two sweeps: how much later than its limit something may be ended."""

ACCEPTS: Final = 64
"""Connections accepted before others have their turn."""

_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)

_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class HTTP1Service:
    """What the HTTP/1.1 connections of a server share.

    Args:
        server: the application, its settings, the connections.
        limits: what a client may take.
        nursery: where connections' tasks live.
        poller: None where there is none: then each connection has a task that reads.
        go_on: makes hypercorn's connection of a stream and the bytes read so far.
    """

    def __init__(
        self,
        server: Server,
        limits: Limits,
        nursery: trio.Nursery,
        poller: Poller | None,
        go_on: Callable[[Any, bytes], Connection],
    ) -> None:
        config = server.config
        self.limits = limits
        self.nursery = nursery
        self.poller = poller
        self.parser = HeadParser(limits)
        self.draining = server.draining
        self.draining_now = False
        self.send_timeout = server.send_timeout
        self.lifespan_state = server.lifespan_state
        self.root_path: str = config.root_path
        self.requests = inf if limits.requests is None else limits.requests
        self._server_names = [name.lower() for name in config.server_names]
        self.watchful = bool(self._server_names) or server.context.max_requests is not None
        """Whether `admits` has to be asked."""
        self.template = template_of(self.root_path)
        self.app: ASGIApp = server.app
        self.access = server.access
        # The door knows neither a root path nor the log.
        self.door: Door | None = None if self.root_path or self.access else _door_of(server.app)
        self.base_context = contextvars.copy_context()
        self._server = server
        self._go_on = go_on
        self._listeners: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._listening = False
        self._handshakes: set[trio.CancelScope] = set()
        self._waiting = trio.lowlevel.ParkingLot()  # listeners without a poller, for room
        self._renew_at = -inf
        self.now = trio.current_time()
        """On Trio's clock, as of the last look at the sockets or the clock: fresh enough for idle connections."""
        self._tails = b"", b""

    # What connections ask ----------------------------------------------------------------------------------------

    def tail(self) -> bytes:
        """The fields that the server adds to each response, and the empty line; made once a second."""
        if self.now >= self._renew_at:
            self._make_tails()
        return self._tails[0]

    def tails(self) -> tuple[bytes, bytes]:
        """The same, with and without `Date`."""
        if self.now >= self._renew_at:
            self._make_tails()
        return self._tails

    def _make_tails(self) -> None:
        fields = self._server.response_headers("trivet")
        lines = [(name, b"%b: %b\r\n" % (name, value)) for name, value in fields]
        self._tails = (
            b"".join(line for _, line in lines) + b"\r\n",
            b"".join(line for name, line in lines if name != b"date") + b"\r\n",
        )
        self._renew_at = self.now + 1 - time() % 1  # when the second is over

    def ask_door(self, head: RequestHead) -> Answer | ASGIApp | None:
        """What the direct door says to a request."""
        assert self.door is not None
        try:
            return self.base_context.copy().run(self.door, head)
        except BaseException as error:  # noqa: BLE001 - signals are received elsewhere; here it is a handler's own
            log.error("the application failed on %s %r", head.method, head.raw_path, exc_info=error)
            return 500, [(b"content-length", b"0")], b""

    def admits(self, head: RequestHead) -> bool:
        """Count a request, for `max_requests`; whether `--server-name` lets it in."""
        context = self._server.context
        if context.max_requests is not None:
            context.requests += 1
            if context.requests > context.max_requests:
                self._server.stop.set()
        if not self._server_names:
            return True
        host = next((value for name, value in head.headers if name == b"host"), b"").decode("latin-1").lower()
        return host in self._server_names

    def task_woken(self) -> None:
        """A task has been made runnable: it should have its turn before more is read."""
        if self.poller is not None:
            self.poller.woken = True

    def left(self, connection: Open) -> None:
        """A connection is over."""
        self._server.left(connection)
        if self._waiting:
            self._waiting.unpark_all()
        if not self._listening and self._listeners:
            self._listen()

    def hand_over(self, transport: Transport, data: bytes) -> None:
        """Let hypercorn's protocols go on with a connection."""

        async def take(stream: Any, more: bytes) -> None:
            self._server.passing -= 1
            await self._go_on(stream, data + more).run()

        self._server.passing += 1
        transport.hand_over(take, self.nursery)

    # The way in --------------------------------------------------------------------------------------------------

    def listen(self, sockets: Iterable[socket.socket], context: ssl.SSLContext | None = None) -> None:
        """Accept connections from listening sockets, through the poller. `context`: for TLS; None: in the clear."""
        self._unlisten()
        for sock in sockets:
            sock.setblocking(False)
            self._listeners.append((sock, context))
        self._listen()

    def _listen(self) -> None:
        if self.poller is not None and not self._listening:
            self._listening = True
            for sock, context in self._listeners:
                self.poller.listen(sock, functools.partial(self._accept, sock, context))

    def _unlisten(self) -> None:
        if self.poller is not None and self._listening:
            self._listening = False
            for sock, _ in self._listeners:
                self.poller.unlisten(sock)

    def stop_listening(self, last: int = 0) -> None:
        """Accept `last` more that wait on each socket, and close them all: who comes now is refused at once."""
        for scope in self._handshakes:
            scope.cancel()
        self._unlisten()
        for sock, context in self._listeners:
            self._accept(sock, context, last)
            sock.close()
        self._listeners.clear()

    def close(self) -> None:
        """Release what the way in holds; nobody is served any more."""
        self.stop_listening()
        if self.poller is not None:
            self.poller.close()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None, most: int = ACCEPTS) -> None:
        limit = self.limits.connections
        for _ in range(most):
            if limit is not None and len(self._server.connections) >= limit:
                self._unlisten()  # they wait in the kernel's backlog until `left`
                return
            try:
                sock, name = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    log.error("cannot accept a connection: %s; trying again soon", error.strerror)
                    self._unlisten()  # until the next sweep, for the listener stays readable
                    return
                continue  # that client has left already
            self._add(sock, name, context)

    def _add(self, sock: socket.socket, name: Any, context: ssl.SSLContext | None) -> None:
        assert self.poller is not None
        sock.setblocking(False)
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # As Trio's own streams: a blocked write is told of progress long before half the buffer is free.
                sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, 16_384)
            connection = self._connection(self.poller, sock, name, context)
        except OSError:
            sock.close()  # the client left between accept and here
            return
        self._server.joined(connection)
        self.poller.add(sock, connection)

    def _connection(
        self, poller: Poller, sock: socket.socket, name: Any, context: ssl.SSLContext | None
    ) -> HTTP1Connection | Handshake:
        now = trio.current_time()
        if context is None:
            return HTTP1Connection(self, SocketTransport(poller, sock, name), now)
        deadline = now + self._server.config.ssl_handshake_timeout
        return Handshake(self, SecureTransport(poller, sock, name, context), deadline)

    def secured(self, transport: SecureTransport) -> None:
        """A handshake is over: serve what the client chose."""
        if self.draining_now:
            transport.close()
        elif transport.session.selected_alpn_protocol() == "h2":
            self.hand_over(transport, b"")
        else:
            connection = HTTP1Connection(self, transport, self.now)
            self._server.joined(connection)
            transport.begin(connection, self.now)

    async def room(self) -> None:
        """Return when `limits.connections` lets another connection in. For listeners that are not in the poller."""
        for _ in range(2):  # who was let in last has taken its place by then: its task starts in the next tick
            await trio.lowlevel.checkpoint()
        limit = self.limits.connections
        while limit is not None and len(self._server.connections) + len(self._handshakes) >= limit:
            with trio.move_on_after(TICK):  # a failed handshake, or an end in another protocol, tells nobody
                await self._waiting.park()

    async def serve_stream(self, accepted: Accepted) -> None:
        """Serve an accepted stream, where there is no poller. Raises nothing but cancellation."""
        scope = trio.CancelScope()
        self._handshakes.add(scope)
        try:
            alpn = await alpn_of(accepted, self._server.config.ssl_handshake_timeout, scope)
        finally:
            self._handshakes.discard(scope)
        lower = accepted if isinstance(accepted, BoundedStream) else accepted.transport_stream
        ends = ends_of(lower.socket)
        if alpn is None or ends is None or self.draining_now:
            return  # Trio, which has accepted it, closes it
        if alpn == "h2":
            await self._go_on(accepted, b"").run()
            return
        client, local = ends
        await self.serve_transport(StreamTransport(accepted, tls=accepted is not lower, client=client, local=local))

    async def serve_transport(self, transport: StreamTransport) -> None:
        """Serve one connection over a stream."""
        connection = HTTP1Connection(self, transport, trio.current_time())
        self._server.joined(connection)
        try:
            await transport.run(connection)
        except Exception:  # noqa: BLE001 - whatever it is, it costs nobody else anything
            log.exception("a connection ended by an error")
            connection.broken()
        except trio.Cancelled:
            connection.close()
            raise

    # Time --------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Look after the connections' time until cancelled."""
        before = trio.current_time()
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            self.now = now
            for connection in list(self._server.connections):
                if isinstance(connection, (HTTP1Connection, Handshake)):
                    connection.tick(now, now - before)
            before = now
            if self._listeners and not self.draining_now:
                limit = self.limits.connections
                if limit is None or len(self._server.connections) < limit:
                    self._listen()


def _door_of(app: ASGIApp) -> Door | None:
    """The direct door of the very object that is served: ASGI middleware around it must not be reached past."""
    find = getattr(type(app), "__trivet_door__", None)
    return None if find is None else find(app)
