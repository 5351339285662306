"""The clients: plain connections that send what they are told and read no more than they are told.

This file owns how a connection is opened (from several addresses of the loopback network, since one has 28,000 ports),
how it is left, and how an answer is told from the next.
"""

from __future__ import annotations

import itertools
import resource
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import trio

PORTS_PER_ADDRESS: Final = 8000
"""Well below the 28,000 ports an address has by default: a closed connection keeps its own for a minute."""

IP_BIND_ADDRESS_NO_PORT: Final = 24

_opened = itertools.count()


class Gone(Exception):
    """The server ended the connection before the answer was complete."""


class Answer(NamedTuple):
    """An answer, whole."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the server said that it is the last one."""
        return self.fields.get(b"connection", b"").lower() == b"close"


def raise_file_limit() -> int:
    """Allow this process and its children as many descriptors as the system lets them have; returns how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def get(path: str, *fields: str) -> bytes:
    """A GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode("latin-1")


class Connection:
    """One connection to the server.

    Args:
        sock: connected.
        number: how many were opened before it.
    """

    __slots__ = ("_buffer", "number", "socket")

    def __init__(self, sock: trio.socket.SocketType, number: int) -> None:
        self.socket = sock
        self.number = number
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        """Send all of it, as fast as the server takes it.

        Raises:
            OSError: the server is gone.
        """
        with memoryview(data) as view:
            sent = 0
            while sent < len(data):
                sent += await self.socket.send(view[sent:])

    async def receive(self, most: int = 65_536) -> bytes:
        """What has come; empty at the end, whether it was orderly or not."""
        try:
            return await self.socket.recv(most)
        except OSError:
            return b""

    async def at_least(self, count: int) -> bytes:
        """The next bytes, `count` of them or a few more.

        Raises:
            Gone: it ended before.
        """
        received = b""
        while len(received) < count:
            data = await self.receive()
            if not data:
                raise Gone(f"after {len(received)} of {count} bytes")
            received += data
        return received

    async def answer(self) -> Answer:
        """Read one answer that has a Content-Length, or that ends with the connection.

        Raises:
            Gone: it ended before.
        """
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            await self._more()
        first, *lines = self._buffer[:end].split(b"\r\n")
        self._buffer = self._buffer[end + 4 :]
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        length = fields.get(b"content-length")
        if length is None:
            return Answer(int(first.split(b" ")[1]), fields, await self._rest())
        while len(self._buffer) < int(length):
            await self._more()
        body, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        return Answer(int(first.split(b" ")[1]), fields, body)

    async def ended(self) -> None:
        """Wait until the server closes; what comes before that is dropped."""
        while await self.receive():
            pass

    async def _more(self) -> None:
        data = await self.receive()
        if not data:
            raise Gone("in the middle of an answer" if self._buffer else "before an answer")
        self._buffer += data

    async def _rest(self) -> bytes:
        while data := await self.receive():
            self._buffer += data
        body, self._buffer = self._buffer, b""
        return body

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def reset(self) -> None:
        """Leave with RST, as a client does that crashes with unread data."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


async def connect(port: int, *, receive_buffer: int | None = None) -> Connection:
    """Open a connection.

    Args:
        port: on 127.0.0.1.
        receive_buffer: bytes that the kernel takes for us while we do not read.

    Raises:
        OSError: refused, or nobody there.
    """
    number = next(_opened)
    sock = trio.socket.socket()
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        await sock.bind((f"127.0.0.{2 + number // PORTS_PER_ADDRESS % 250}", 0))
        await sock.connect(("127.0.0.1", port))
    except BaseException:
        sock.close()
        raise
    return Connection(sock, number)


async def open_many(
    count: int,
    port: int,
    greet: Callable[[Connection], Awaitable[object]],
    *,
    at_once: int = 250,
    receive_buffer: int | None = None,
) -> list[Connection]:
    """Open many connections and say something on each.

    Args:
        count: how many.
        port: of the server.
        greet: called with each new connection; the next is opened when it returns.
        at_once: how many are opened at the same time.
        receive_buffer: as for `connect`.

    Raises:
        OSError, Gone: from any of them, in a group.
    """
    connections: list[Connection] = []
    numbers = iter(range(count))

    async def some() -> None:
        for _ in numbers:
            connection = await connect(port, receive_buffer=receive_buffer)
            connections.append(connection)
            await greet(connection)

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(some)
    return connections


async def ask(port: int, path: str, *, within: float = 10.0) -> Answer:
    """One request on a connection of its own.

    Raises:
        OSError, Gone: there is no answer.
        trio.TooSlowError: it does not come in time.
    """
    with trio.fail_after(within):
        connection = await connect(port)
        try:
            await connection.send(get(path, "Connection: close"))
            return await connection.answer()
        finally:
            connection.close()
