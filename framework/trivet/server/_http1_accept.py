"""How connections come in: who is accepted, when, and what is made of them.

This file owns the limit on connections, and what the system has to say against one more. With a poller the listening
sockets are in it; without, Trio's listeners hand over streams. What becomes of a connection then is for
`HTTP1Connection`, or for hypercorn if its client chose another protocol in the TLS handshake.
"""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import trio

from ._address import ends_of
from ._handshake import Transport as Accepted
from ._handshake import alpn_of
from ._http1_connection import HTTP1Connection
from ._listeners import NO_ROOM
from ._poller import Poller
from ._state import Server, log
from ._stream import BoundedStream
from ._tls_handshake import Handshake
from ._tls_transport import SecureTransport
from ._transport import SocketTransport, StreamTransport

if TYPE_CHECKING:
    from ._http1_service import HTTP1Service

ACCEPTS: Final = 64
"""Connections accepted before others have their turn."""

PATIENCE: Final = 0.5
"""Seconds after which somebody who waits for room looks again."""

_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class Entrance:
    """The listening sockets.

    Args:
        service: what the connections share.
        server: which counts them.
    """

    def __init__(self, service: HTTP1Service, server: Server) -> None:
        self._service = service
        self._server = server
        self._poller = service.poller
        self._listeners: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._handshakes: set[trio.CancelScope] = set()
        self._waiting = trio.lowlevel.ParkingLot()  # listeners without a poller, for room
        self.listening = False

    def _full(self, more: int = 0) -> bool:
        limit = self._service.limits.connections
        return limit is not None and len(self._server.connections) + more >= limit

    def admit(self) -> None:
        """There may be room again: somebody has left, or a descriptor has been closed."""
        if self._waiting:
            self._waiting.unpark_all()
        if not self.listening and self._listeners and not self._full():
            self._listen()

    def listen(self, sockets: Iterable[socket.socket], context: ssl.SSLContext | None = None) -> None:
        """Accept connections from listening sockets, through the poller. `context`: for TLS; None: in the clear."""
        self._unlisten()
        for sock in sockets:
            sock.setblocking(False)
            self._listeners.append((sock, context))
        self._listen()

    def _listen(self) -> None:
        if self._poller is not None and not self.listening:
            self.listening = True
            for sock, context in self._listeners:
                self._poller.listen(sock, functools.partial(self._accept, sock, context))

    def _unlisten(self) -> None:
        if self._poller is not None and self.listening:
            self.listening = False
            for sock, _ in self._listeners:
                self._poller.unlisten(sock)

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
        if self._poller is not None:
            self._poller.close()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None, most: int = ACCEPTS) -> None:
        for _ in range(most):
            if self._full():
                self._unlisten()  # they wait in the kernel's backlog until `admit`
                return
            try:
                sock, name = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in NO_ROOM:
                    log.error("cannot accept a connection: %s; trying again soon", error.strerror)
                    self._unlisten()  # until the next sweep, for the listener stays readable
                    return
                continue  # that client has left already
            self._add(sock, name, context)

    def _add(self, sock: socket.socket, name: Any, context: ssl.SSLContext | None) -> None:
        assert self._poller is not None
        sock.setblocking(False)
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # As Trio's own streams: a blocked write is told of progress long before half the buffer is free.
                sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, 16_384)
            connection = self._connection(self._poller, sock, name, context)
        except OSError:
            sock.close()  # the client left between accept and here
            return
        self._server.joined(connection)
        self._poller.add(sock, connection)

    def _connection(
        self, poller: Poller, sock: socket.socket, name: Any, context: ssl.SSLContext | None
    ) -> HTTP1Connection | Handshake:
        now = trio.current_time()
        if context is None:
            return HTTP1Connection(self._service, SocketTransport(poller, sock, name), now)
        deadline = now + self._server.config.ssl_handshake_timeout
        return Handshake(self._service, SecureTransport(poller, sock, name, context), deadline)

    async def room(self) -> None:
        """Return when `limits.connections` lets another connection in. For listeners that are not in the poller."""
        for _ in range(2):  # who was let in last has taken its place by then: its task starts in the next tick
            await trio.lowlevel.checkpoint()
        while self._full(len(self._handshakes)):
            with trio.move_on_after(PATIENCE):  # a failed handshake, or an end in another protocol, tells nobody
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
        if alpn is None or ends is None or self._service.draining_now:
            return  # Trio, which has accepted it, closes it
        if alpn == "h2":
            await self._service.go_on(accepted, b"")
            return
        client, local = ends
        transport = StreamTransport(accepted, tls=accepted is not lower, client=client, local=local)
        await self._service.serve_transport(transport)
