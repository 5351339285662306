"""The limit: what Trio and httptools can do at most, in the same loop as the real server's.

    python -m benchmarks.limit PORT [--door | --task]

One epoll object keeps every connection registered and is awaited by Trio. What is ready is read, parsed by httptools,
and answered with constant bytes: nothing is routed, nothing encoded, no limit kept, no fault handled. Two variants:

- `--task` (the default): each connection has a parked task, which is rescheduled for each request and moves the
  deadline of its one cancel scope, as every request needs that may wait;
- `--door`: the reader answers by itself, as it may when nothing can wait.

This file owns the figure that the real server is divided by, and therefore imports nothing of trivet.
"""

from __future__ import annotations

import select
import socket
import sys
from typing import Final

import httptools
import trio

_BODY: Final = b'{"item_id":100}'
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    b"date: Fri, 20 Nov 2026 00:00:00 GMT\r\n\r\n%b" % (len(_BODY), _BODY)
)
"""What trivet answers to the first path of the `typed` case, byte for byte but for the date."""

DEADLINE: Final = 30.0
"""Seconds that a request has; it is set, and never passes."""

_FOREVER: Final = float("inf")


class _Connection:
    """A connection with a task of its own, which waits for requests that the reader finds."""

    __slots__ = ("_parser", "_ready", "_scope", "_sock", "_task", "gone")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parser = httptools.HttpRequestParser(self)
        self._ready = 0
        self._task: trio.lowlevel.Task | None = None
        self._scope = trio.CancelScope()
        self.gone = False

    def on_message_complete(self) -> None:
        self._ready += 1
        self._wake()

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def end(self) -> None:
        self.gone = True
        # A parked task is rescheduled or cancelled, never both.
        if self._task is None:
            self._scope.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def run(self) -> None:
        with self._scope as scope:
            while not self.gone:
                if not self._ready:
                    self._task = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._abandon)
                    continue
                self._ready -= 1
                scope.deadline = trio.current_time() + DEADLINE
                await _send(self._sock, await _handler())
                scope.deadline = _FOREVER
        self._sock.close()

    def _abandon(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class _Door:
    """A connection whose requests the reader answers by itself."""

    __slots__ = ("_parser", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parser = httptools.HttpRequestParser(self)

    def on_message_complete(self) -> None:
        # A hundred bytes to a client that waits for them always fit.
        self._sock.send(ANSWER)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def end(self) -> None:
        self._sock.close()


async def _handler() -> bytes:
    return ANSWER


async def _send(sock: socket.socket, data: bytes) -> None:
    try:
        sent = sock.send(data)
    except BlockingIOError:
        sent = 0
    while sent < len(data):
        await trio.lowlevel.wait_writable(sock)
        sent += sock.send(data[sent:])


async def serve(listener: socket.socket, door: bool) -> None:
    """Serve until cancelled."""
    listener.setblocking(False)
    connections: dict[int, _Connection | _Door] = {}
    socks: dict[int, socket.socket] = {}
    with select.epoll() as poller:
        poller.register(listener, select.EPOLLIN)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(poller.fileno())
                for number, _ in poller.poll(0):
                    if number != listener.fileno():
                        if not _read(socks[number], connections[number]):
                            poller.unregister(number)
                            del socks[number]
                            connections.pop(number).end()
                        continue
                    sock = _accept(listener)
                    if sock is None:
                        continue
                    socks[sock.fileno()] = sock
                    poller.register(sock, select.EPOLLIN)
                    if door:
                        connections[sock.fileno()] = _Door(sock)
                    else:
                        connections[sock.fileno()] = connection = _Connection(sock)
                        nursery.start_soon(connection.run)


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        sock, _ = listener.accept()
    except OSError:
        return None  # the client has left again, or it was a false alarm
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _read(sock: socket.socket, connection: _Connection | _Door) -> bool:
    """Read what has come; returns whether the client is still there."""
    try:
        data = sock.recv(65536)
    except BlockingIOError:
        return True
    except OSError:
        return False
    if data:
        connection.feed(data)
    return bool(data)


def main() -> None:
    port = int(sys.argv[1])
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        trio.run(serve, listener, "--door" in sys.argv[2:])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
