"""The clients of one room: WebSockets that say something, and count what they hear.

This file owns what a client does and how many of them wait at a time: sockets in one epoll object that read and count
and do nothing else. They are faster than any server here, as what they cost is a system call for each delivery where
the server has one and a room. They have a process of their own, so that several rooms can be full at the same time:
each takes a descriptor for each client, and a process may not have many.

No client offers `permessage-deflate`, so nobody compresses.
"""

from __future__ import annotations

import gc
import multiprocessing
import select
import socket
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

from .asleep import BATCH, connect
from .generator import STALL, Address, Broken

HANDSHAKE: Final = (
    b"GET /room HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

TEXT: Final = b"The quick brown fox jumps over the lazy dog, and the room hears of it; it is long as chat goes. "
"""What is said: 96 bytes."""

SAID: Final = bytes((0x81, 0x80 | len(TEXT), 0, 0, 0, 0)) + TEXT
HEARD: Final = bytes((0x81, len(TEXT))) + TEXT

WELCOME: Final = b"\x81\x07welcome"
"""What a room says to who is in it. The answer to the handshake is too early: a server sends it before the application
has put the client among the others, and what is said in between that client does not hear."""


class Crowd:
    """The clients of one room, as who measures has them."""

    def __init__(self, pipe: Connection[int, float | str]) -> None:
        self._pipe = pipe

    def say(self, messages: int) -> float:
        """Let so many clients say one thing each, and wait until all have all; returns how many seconds that took.

        Raises:
            Broken: somebody got something else, too much, or nothing for a long time.
        """
        self._pipe.send(messages)
        return self._answer()

    def _answer(self) -> float:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise Broken("the process of the clients has ended") from None
        if isinstance(answer, str):
            raise Broken(answer)
        return answer

    def gather(self) -> None:
        """Wait until all are in the room.

        Raises:
            Broken: the server would not have them all.
        """
        self._answer()


@contextmanager
def crowd(address: Address, count: int) -> Generator[Crowd]:
    """A room full of clients, for as long as the body runs.

    Args:
        address: of the server.
        count: how many.

    Raises:
        Broken: the server would not have them all.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_attend, args=(there, address, count), daemon=True)
    process.start()
    there.close()
    try:
        clients = Crowd(here)
        clients.gather()
        yield clients
    finally:
        here.close()  # it ends at the end of the pipe
        process.join(STALL)


def _attend(orders: Connection[Any, Any], address: Address, count: int) -> None:
    """The process: how many shall speak comes by the pipe, and how long it took goes back, or what went wrong."""
    with ExitStack() as stack:
        try:
            clients = _Clients(address, count, stack)
            orders.send(0.0)
            while True:
                orders.send(clients.say(orders.recv()))
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            return
        except (Broken, OSError) as error:
            orders.send(str(error) or repr(error))


class _Clients:
    """The sockets."""

    def __init__(self, address: Address, count: int, stack: ExitStack) -> None:
        self._epoll = stack.enter_context(select.epoll())
        self._buffer = bytearray(65536)
        self._socks: dict[int, socket.socket] = {}
        self._heard: dict[int, int] = {}
        while len(self._socks) < count:
            fresh = [
                stack.enter_context(connect(address, len(self._socks) + each))
                for each in range(min(BATCH, count - len(self._socks)))
            ]
            for sock in fresh:
                sock.sendall(HANDSHAKE)
            for sock in fresh:
                _shaken(sock)
                sock.setblocking(False)
                self._epoll.register(sock.fileno(), select.EPOLLIN)
                self._socks[sock.fileno()] = sock
                self._heard[sock.fileno()] = 0
        self._speakers = list(self._socks.values())
        gc.collect()

    def say(self, messages: int) -> float:
        socks, heard, buffer, poll = self._socks, self._heard, self._buffer, self._epoll.poll
        for each in heard:
            heard[each] = 0
        missing = len(HEARD) * messages * len(socks)
        began = time.perf_counter()
        for speaker in self._speakers[:messages]:
            speaker.sendall(SAID)
        while missing > 0:
            ready = poll(STALL)
            if not ready:
                raise Broken(f"the room is silent, and {missing // len(HEARD)} deliveries are missing")
            for fd, _ in ready:
                size = socks[fd].recv_into(buffer)
                if not size:
                    raise Broken("the server closed a WebSocket")
                heard[fd] += size
                missing -= size
        took = time.perf_counter() - began
        if set(heard.values()) != {len(HEARD) * messages} or buffer[: len(HEARD)] != HEARD:
            raise Broken("not everybody heard the same")
        return took


def _shaken(sock: socket.socket) -> None:
    got = b""
    while not got.endswith(b"\r\n\r\n" + WELCOME):
        data = sock.recv(4096)
        if not data:
            break
        got += data
    if not got.startswith(b"HTTP/1.1 101"):
        raise Broken(f"no WebSocket: {got[:80]!r}")
    if not got.endswith(WELCOME):
        raise Broken(f"no welcome: {got[-80:]!r}")
