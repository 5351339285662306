"""The network in memory. This file owns what a socket, epoll and TCP do: partial reads and writes, FIN and RST.

The server's own code runs on it: its `Poller` over `Epoll`, its `SocketTransport` over `MemorySocket`, its
`StreamTransport` over `MemoryStream`. Of Linux it keeps what servers trip over: level-triggered events, descriptors
that are used again at once, an error that is told once, a close that becomes RST if there is unread input, and an
answer that such a RST destroys on its way.
"""

from __future__ import annotations

import errno
import heapq
import select
import socket
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import trio

from trivet.server._poller import Poller
from trivet.server._stream import BoundedStream

CALLS = 300_000
"""System calls after which a run goes round in circles."""


class Livelock(BaseException):
    """The server calls the kernel without end and time stands still. Nothing of the server may catch it."""


class Network:
    """All sockets of a run.

    Args:
        random: what happens by chance.
        note: writes a line of the trace.
    """

    def __init__(self, random: Random, note: Callable[[str, str], None]) -> None:
        self.random = random
        self.note = note
        self.open: dict[int, MemorySocket | Listener] = {}
        self.waiting = trio.lowlevel.ParkingLot()  # the poller
        self.refusals: list[OSError] = []  # what `accept` raised
        self._free = list(range(100, 1000))
        self._calls = 0

    def claim(self, owner: MemorySocket | Listener) -> int:
        """The lowest descriptor that is free, as the kernel's."""
        fd = heapq.heappop(self._free)
        self.open[fd] = owner
        return fd

    def release(self, fd: int) -> None:
        del self.open[fd]
        heapq.heappush(self._free, fd)

    def call(self) -> None:
        """Count a system call."""
        self._calls += 1
        if self._calls > CALLS:
            raise Livelock

    def changed(self) -> None:
        self.waiting.unpark_all()


class Link:
    """A TCP connection: two buffers, and what has become of both ends."""

    def __init__(self, network: Network, name: str, room: int) -> None:
        self.network = network
        self.name = name
        self.room = room  # bytes that either direction holds
        self.up = bytearray()  # from the client
        self.down = bytearray()  # to the client
        self.up_ended = self.down_ended = False  # FIN
        self.server_error: OSError | None = None  # told once
        self.broken = False  # RST has gone either way
        self.client_reset = False
        self.aborted = False  # before it was accepted
        self.end_seen: float | None = None
        self.client_closed = self.server_closed = False
        self.waiting = trio.lowlevel.ParkingLot()

    def changed(self) -> None:
        self.waiting.unpark_all()
        self.network.changed()

    def reset_by_client(self) -> None:
        self.network.note(self.name, "client: RST")
        self.broken = self.up_ended = True
        self.server_error = ConnectionResetError(errno.ECONNRESET, "reset")
        if self.network.random.random() < 0.5:
            self.up.clear()  # it has overtaken the data
        self.changed()

    def reset_by_server(self) -> None:
        self.network.note(self.name, "server: RST")
        self.broken = self.client_reset = True
        del self.down[self.network.random.randint(0, len(self.down)) :]  # what was on its way is lost
        self.changed()

    async def wait(self) -> None:
        await self.waiting.park()


class MemorySocket:
    """The server's end: a non-blocking socket."""

    family = socket.AF_INET

    def __init__(self, link: Link, port: int) -> None:
        self.link = link
        self.port = port
        self.writer = False  # a task waits to write
        self._linger = False
        self._ended = False
        self._fd = link.network.claim(self)

    def fileno(self) -> int:
        return self._fd

    def getsockname(self) -> tuple[str, int]:
        self._check()
        return "127.0.0.1", 80

    def getpeername(self) -> tuple[str, int]:
        self._check()
        return "127.0.0.1", self.port

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._check()
        if level == socket.SOL_SOCKET and option == socket.SO_LINGER:
            self._linger = True

    def _check(self) -> None:
        self.link.network.call()
        if self._fd == -1:
            raise OSError(errno.EBADF, "bad descriptor")

    def _tell(self) -> None:
        error, self.link.server_error = self.link.server_error, None
        if error is not None:
            raise error

    def recv(self, size: int) -> bytes:
        self._check()
        link = self.link
        if link.up:
            random = link.network.random
            if random.random() < 0.2:  # segments
                size = min(size, random.randint(1, 1500))
            data = bytes(link.up[:size])
            del link.up[:size]
            link.network.note(link.name, f"server: read {len(data)}")
            link.changed()
            return data
        if link.up_ended and link.end_seen is None:
            link.end_seen = trio.current_time()
        self._tell()
        if link.up_ended:
            link.network.note(link.name, "server: read the end")
            return b""
        raise BlockingIOError(errno.EAGAIN, "again")

    def send(self, data: bytes | memoryview) -> int:
        self._check()
        link = self.link
        self._tell()
        if link.broken or self._ended:
            raise BrokenPipeError(errno.EPIPE, "broken pipe")
        if link.client_closed:
            link.reset_by_client()  # the answer of a kernel whose process has closed
            return len(data)
        room = link.room - len(link.down)
        if room <= 0 and data:
            raise BlockingIOError(errno.EAGAIN, "again")
        taken = min(room, len(data))
        link.down += data[:taken]
        link.network.note(link.name, f"server: wrote {taken} of {len(data)}")
        link.changed()
        return taken

    @property
    def writable(self) -> bool:
        link = self.link
        return link.broken or link.client_closed or len(link.down) < link.room

    def shutdown(self, how: int) -> None:
        self._check()
        assert how == socket.SHUT_WR
        if self.link.broken:
            raise OSError(errno.ENOTCONN, "not connected")
        self._ended = self.link.down_ended = True
        self.link.network.note(self.link.name, "server: FIN")
        self.link.changed()

    def close(self) -> None:
        if self._fd == -1:
            return
        link = self.link
        link.network.release(self._fd)
        self._fd = -1
        link.server_closed = link.down_ended = True
        link.network.note(link.name, "server: close")
        if (self._linger or link.up) and not link.broken:
            link.reset_by_server()
        link.changed()

    def events(self) -> int:
        """What epoll says of it."""
        link, events = self.link, 0
        if link.up or link.up_ended:
            events |= select.EPOLLIN
        if link.up_ended:
            events |= select.EPOLLRDHUP
        if link.broken or (link.up_ended and self._ended):
            events |= select.EPOLLHUP
        if link.server_error is not None:
            events |= select.EPOLLERR
        return events


class Listener:
    """A listening socket."""

    family = socket.AF_INET

    def __init__(self, network: Network) -> None:
        self.network = network
        self.backlog: deque[tuple[Link, int]] = deque()
        self._fd = network.claim(self)

    def fileno(self) -> int:
        return self._fd

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 80

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def listen(self, backlog: int) -> None:
        pass

    def accept(self) -> tuple[MemorySocket, tuple[str, int]]:
        network = self.network
        network.call()
        if not self.backlog:
            raise BlockingIOError(errno.EAGAIN, "again")
        chance = network.random.random()
        if chance < 0.02:
            network.refusals.append(OSError(errno.EMFILE, "too many open files"))
            raise network.refusals[-1]
        link, port = self.backlog.popleft()
        if chance < 0.04:
            link.aborted = True
            link.reset_by_server()
            raise ConnectionAbortedError(errno.ECONNABORTED, "aborted")
        network.note(link.name, "server: accept")
        return MemorySocket(link, port), ("127.0.0.1", port)

    def close(self) -> None:
        if self._fd != -1:
            self.network.release(self._fd)
            self._fd = -1
            for link, _ in self.backlog:
                link.reset_by_server()

    def events(self) -> int:
        return select.EPOLLIN if self.backlog else 0


class Epoll:
    """`select.epoll`, level-triggered."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.masks: dict[int, int] = {}
        self.closed = False

    def register(self, fd: int, mask: int) -> None:
        self.network.call()
        if fd not in self.network.open:
            raise OSError(errno.EBADF, "bad descriptor")
        if fd in self.masks:
            raise FileExistsError(errno.EEXIST, "registered already")
        self.masks[fd] = mask
        self.network.changed()

    def modify(self, fd: int, mask: int) -> None:
        self._check(fd)
        self.masks[fd] = mask
        self.network.changed()  # who waits for the epoll object itself is woken

    def unregister(self, fd: int) -> None:
        self._check(fd)
        del self.masks[fd]

    def _check(self, fd: int) -> None:
        self.network.call()
        if fd not in self.network.open:
            raise OSError(errno.EBADF, "bad descriptor")
        if fd not in self.masks:
            raise FileNotFoundError(errno.ENOENT, "not registered")

    def ready(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for fd, mask in self.masks.items():
            sock = self.network.open.get(fd)
            events = 0 if sock is None else sock.events() & (mask | select.EPOLLHUP | select.EPOLLERR)
            if events:
                found.append((fd, events))
        return found

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        assert timeout == 0
        self.network.call()
        found = self.ready()
        self.network.random.shuffle(found)
        return found[:most]

    def close(self) -> None:
        self.closed = True


class MemoryPoller(Poller):
    """The server's poller, on this network."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._epoll.close()
        self.memory = self._epoll = Epoll(network)  # type: ignore[assignment]

    async def wait(self) -> None:
        while not self.memory.ready():
            await self.memory.network.waiting.park()
        await trio.lowlevel.checkpoint()

    async def wait_writable(self, sock: Any) -> None:
        if sock.fileno() == -1:
            raise trio.ClosedResourceError("closed")
        if sock.writer:
            raise trio.BusyResourceError("another task waits to write to this socket")
        sock.writer = True
        try:
            await trio.lowlevel.checkpoint()
            while not sock.writable:
                await sock.link.wait()
                if sock.fileno() == -1:
                    raise trio.ClosedResourceError("closed")
        finally:
            sock.writer = False

    def notify_closing(self, sock: Any) -> None:
        sock.link.waiting.unpark_all()


class MemoryStream(BoundedStream):
    """A stream over such a socket, with Trio's rules: one writer at a time, each call a checkpoint."""

    def __init__(self, sock: MemorySocket) -> None:
        # Without `super().__init__()`, which wants a real socket; of the class only the closing is used.
        self.socket = self._sock = sock  # type: ignore[assignment]
        self._sending = trio._util.ConflictDetector("another task is using this stream for send")
        self._receiving = trio._util.ConflictDetector("another task is using this stream for receive")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            rest = memoryview(data)
            while rest:
                try:
                    rest = rest[self._sock.send(rest) :]
                except BlockingIOError:
                    await self._wait()
                except OSError as error:
                    raise trio.BrokenResourceError from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        with self._receiving:
            await trio.lowlevel.checkpoint()
            while True:
                try:
                    return self._sock.recv(max_bytes or 65_536)
                except BlockingIOError:
                    await self._wait()
                except OSError as error:
                    raise trio.BrokenResourceError from error

    async def _wait(self) -> None:
        await self._sock.link.wait()
        if self._sock.fileno() == -1:
            raise trio.ClosedResourceError("closed")


class Gone(Exception):
    """The server has closed, or reset, the connection."""


class Peer:
    """The client's end."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def send_some(self, data: bytes) -> int:
        """Hand over what there is room for now.

        Raises:
            Gone: there is nobody any more; the server's kernel has answered with RST.
        """
        link = self.link
        if link.broken:
            raise Gone
        if link.server_closed:
            link.reset_by_server()
            raise Gone
        taken = min(len(data), link.room - len(link.up))
        if taken:
            link.up += data[:taken]
            link.network.note(link.name, f"client: sent {taken}")
            link.changed()
        return taken

    async def send(self, data: bytes) -> None:
        while data:
            data = data[self.send_some(data) :]
            if data:
                await self.link.wait()

    async def receive(self, size: int) -> bytes:
        """Some bytes; none: FIN.

        Raises:
            Gone: RST.
        """
        link = self.link
        while True:
            if link.down:
                data = bytes(link.down[:size])
                del link.down[:size]
                link.network.note(link.name, f"client: read {len(data)}")
                link.changed()
                return data
            if link.client_reset or link.broken:
                raise Gone
            if link.down_ended:
                return b""
            await link.wait()

    def end(self) -> None:
        """FIN: nothing more will be sent, but it goes on reading."""
        if not self.link.broken and not self.link.up_ended:
            self.link.network.note(self.link.name, "client: FIN")
            self.link.up_ended = True
            self.link.changed()

    def close(self, *, reset: bool = False) -> None:
        link = self.link
        if link.client_closed:
            return
        link.client_closed = True
        if not link.broken:
            if reset or link.down:
                link.reset_by_client()
            else:
                self.end()
        link.changed()
