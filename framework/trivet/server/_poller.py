"""The poller: one epoll object in which every connection stays registered for as long as it is open.

This file owns the waiting for sockets. Trio's own `wait_readable` registers a socket for each wait and wakes a task for
each event; a server that waits for thousands of sockets all the time does better with one object that knows them all,
whose own descriptor is what Trio waits for. What is ready is read here and handed to its connection, synchronously.

Linux only; elsewhere a connection has a task that reads: `_transport.StreamTransport`.
"""

from __future__ import annotations

import logging
import select
import socket
from collections.abc import Callable
from typing import Final, Protocol

import trio

log = logging.getLogger("trivet.server")

SUPPORTED: Final = hasattr(select, "epoll")

RECEIVE_SIZE: Final = 65_536

ROUNDS: Final = 16
"""How often we look again, before other tasks have their turn."""

LEAVES: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR if SUPPORTED else 0
"""What epoll says of a socket whose peer has ended its half, or all of it."""

BATCH: Final = 16
"""How many sockets are asked for at a time. If a request waits for something, the rest is asked for again."""


class Receiver(Protocol):
    """A connection, as what reads for it sees it."""

    def received(self, data: bytes, now: float) -> None:
        """Bytes arrived; none: the end of the stream. `now`: on Trio's clock."""
        ...

    def hung_up(self) -> None:
        """The peer has ended its half; some of what it sent before is still unread, and reading is paused."""
        ...

    def broken(self) -> None:
        """The connection is broken: nothing can be read or written any more."""
        ...


class Poller:
    """Reads what is ready.

    Attributes:
        woken: set by whoever has taken long, or made a task runnable: others should have their turn before we read on.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, tuple[socket.socket, Receiver]] = {}
        self._listeners: dict[int, Callable[[], object]] = {}
        self.woken = False

    # The kernel, and Trio's waiting for it: all that a simulation in memory replaces ----------------------------------

    async def wait(self) -> None:
        """Return when `poll` has something to say."""
        await trio.lowlevel.wait_readable(self._epoll.fileno())

    async def wait_writable(self, sock: socket.socket) -> None:
        """Return when `sock` takes some more.

        Raises:
            trio.ClosedResourceError: it was closed meanwhile.
        """
        await trio.lowlevel.wait_writable(sock)

    def notify_closing(self, sock: socket.socket) -> None:
        """Wake who waits for `sock`, which is about to be closed."""
        trio.lowlevel.notify_closing(sock)

    # Reading ---------------------------------------------------------------------------------------------------------

    def poll(self) -> list[tuple[int, int]]:
        """What is ready now: descriptors, and what epoll says of them."""
        return self._epoll.poll(0, BATCH)

    def read(self, fd: int, event: int, now: float) -> None:
        """Read what is ready, and hand it on. `now`: on Trio's clock. Raises nothing."""
        reader = self._readers.get(fd)
        if reader is None:
            self._accept(fd)
            return
        sock, receiver = reader
        try:
            if event & select.EPOLLIN:
                receiver.received(sock.recv(RECEIVE_SIZE), now)
            elif event & select.EPOLLERR:
                receiver.broken()
            elif event & select.EPOLLHUP:
                # A unix socket says so at once, though we have paused, and the peer's last words are still unread.
                if data := sock.recv(RECEIVE_SIZE):
                    receiver.received(data, now)
                else:
                    receiver.broken()
            else:
                self.mute(sock)  # level-triggered: it would be told again and again
                receiver.hung_up()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            receiver.broken()
        except Exception:
            log.exception("a connection ended by an error")  # whatever it is, it costs nobody else anything
            receiver.broken()

    def _accept(self, fd: int) -> None:
        accept = self._listeners.get(fd)
        if accept is not None:
            try:
                accept()
            except Exception:
                log.exception("a connection could not be accepted")

    def look(self, sock: socket.socket) -> None:
        """Read `sock` now, if there is something to be read."""
        reader = self._readers.get(sock.fileno())
        if reader is not None:
            self.read(sock.fileno(), select.EPOLLIN, trio.current_time())

    # Connections -------------------------------------------------------------------------------------------------

    def add(self, sock: socket.socket, receiver: Receiver) -> None:
        """Read `sock` from now on."""
        fd = sock.fileno()
        self._readers[fd] = sock, receiver
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP)

    def pass_on(self, sock: socket.socket, receiver: Receiver) -> None:
        """Hand what arrives to `receiver` from now on."""
        self._readers[sock.fileno()] = sock, receiver

    def receiver_of(self, sock: socket.socket) -> Receiver:
        """Who gets what arrives."""
        return self._readers[sock.fileno()][1]

    def pause(self, sock: socket.socket) -> None:
        """Read no more, but notice the end of the stream."""
        self._epoll.modify(sock.fileno(), select.EPOLLRDHUP)

    def mute(self, sock: socket.socket) -> None:
        """Read no more, and notice only that the connection breaks."""
        self._epoll.modify(sock.fileno(), 0)

    def resume(self, sock: socket.socket) -> None:
        """Read again."""
        self._epoll.modify(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def remove(self, sock: socket.socket) -> None:
        """Forget it; called before it is closed."""
        fd = sock.fileno()
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    # Listening sockets -------------------------------------------------------------------------------------------

    def listen(self, sock: socket.socket, accept: Callable[[], object]) -> None:
        """Call `accept` whenever somebody waits to be accepted."""
        self._listeners[sock.fileno()] = accept
        # Of several workers that share the socket one is woken, not all (epoll_ctl(2)).
        self._epoll.register(sock.fileno(), select.EPOLLIN | getattr(select, "EPOLLEXCLUSIVE", 0))

    def unlisten(self, sock: socket.socket) -> None:
        """Take `listen` back."""
        if self._listeners.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def close(self) -> None:
        """Release the descriptor."""
        self._epoll.close()
