"""Accepting connections where there is no poller: with Trio's listeners, and a task for each connection.

This file owns the way in on that path, and its end: who waits in the kernel's queue when we stop has been told that it
is connected, and its request may be here already, so that it is accepted before the socket is closed.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import trio
from hypercorn.config import Sockets

from ._handshake import Transport
from ._state import log
from ._stream import BoundedStream

Handler: TypeAlias = Callable[[Transport], Awaitable[None]]

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What `accept` says when the process, or the machine, has no descriptors or memory left."""


class BoundedListener(trio.abc.Listener[BoundedStream]):
    """Accepts connections as `BoundedStream`s.

    Args:
        listener: of a listening socket.
        room: awaited before each; None: there always is.
    """

    def __init__(self, listener: trio.SocketListener, room: Callable[[], Awaitable[None]] | None = None) -> None:
        self._listener = listener
        self._room = room

    async def accept(self) -> BoundedStream:
        """See `trio.abc.Listener`."""
        if self._room is not None:
            await self._room()
        # trio.SocketStream has set TCP_NODELAY and TCP_NOTSENT_LOWAT by the time we take its socket over.
        accepted = (await self._listener.accept()).socket
        return BoundedStream(socket.socket(accepted.family, accepted.type, accepted.proto, accepted.detach()))

    async def aclose(self) -> None:
        """Close the listening socket."""
        await self._listener.aclose()


class Listeners:
    """The listening sockets of a server.

    Args:
        sockets: bound, and listening.
        context: for those that speak TLS; None: none do.
        room: awaited before each connection is accepted; None: there always is.
        handler: serves a connection, which is closed when it returns. Raises nothing but cancellation.
        nursery: where it runs.
    """

    def __init__(
        self,
        sockets: Sockets,
        context: ssl.SSLContext | None,
        room: Callable[[], Awaitable[None]] | None,
        handler: Handler,
        nursery: trio.Nursery,
    ) -> None:
        self._handler = handler
        self._nursery = nursery
        self._listeners: list[trio.abc.Listener[Any]] = []
        # Trio closes a listener that is cancelled, too early for `stop`: that has descriptors of its own. Of TLS it has
        # none: the drain does not wait for a handshake, so that another worker may as well have the client.
        self._kept: list[socket.socket] = []
        for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
            listener = BoundedListener(trio.SocketListener(trio.socket.from_stdlib_socket(sock)), room)
            if sock in sockets.secure_sockets and context is not None:
                self._listeners.append(trio.SSLListener(listener, context, https_compatible=True))
            else:
                self._listeners.append(listener)
                self._kept.append(sock.dup())

    async def run(self) -> None:
        """Accept until cancelled."""
        if self._listeners:
            await trio.serve_listeners(self._handler, self._listeners, handler_nursery=self._nursery)
        await trio.sleep_forever()

    async def stop(self, most: int) -> None:
        """Accept those who wait, at most so many, and return when they are being served: who comes now is refused."""
        while self._kept:
            with self._kept.pop() as listener:
                listener.setblocking(False)
                while most > 0 and self._accept(listener):
                    most -= 1
        for _ in range(2):  # the tasks start in the next tick, in any order
            await trio.lowlevel.checkpoint()

    def _accept(self, listener: socket.socket) -> bool:
        """Accept one; whether there may be another."""
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in NO_ROOM:
                log.error("cannot accept a connection: %s", error.strerror)
                return False
            return True  # that client has left already
        try:
            trio.SocketStream(trio.socket.from_stdlib_socket(sock))  # sets the same options
        except OSError:
            sock.close()  # the same, a moment later
        else:
            self._nursery.start_soon(self._serve, BoundedStream(sock))
        return True

    async def _serve(self, stream: BoundedStream) -> None:
        """As `trio.serve_listeners` does."""
        try:
            await self._handler(stream)
        finally:
            await trio.aclose_forcefully(stream)

    def close(self) -> None:
        """Release what `stop` would have, where it is not called."""
        while self._kept:
            self._kept.pop().close()
