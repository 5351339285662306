"""Our own load generator: a process of its own that keeps connections busy and counts answers.

This file owns how a slice of load is driven and what is measured in it. Plain sockets and one selector: a client that
shares a core or an event loop with what it measures measures itself. It keeps one request on the way per connection
(closed loop), so the server decides the pace. It drives what wrk cannot count (a few long requests), and everything
where there is no wrk; being Python it is then the slower half, and only CPU time tells the servers apart.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection as Pipe
from typing import Final

from .processes import cpu_time

Address = tuple[str, int]

STALL: Final = 10.0
"""Seconds without any answer after which a server counts as hung."""


@dataclass(frozen=True, slots=True)
class Slice:
    """An order for load.

    Attributes:
        address: where the server listens.
        pids: the server's processes, whose CPU time is read.
        requests: sent in turn.
        connections: open at the same time.
        warmup: seconds before anything is counted: connections are made, caches filled.
        seconds: the time that is counted.
        count: requests that are counted instead, shared among the connections; 0: what comes in the time.
    """

    address: Address
    pids: tuple[int, ...]
    requests: list[bytes]
    connections: int
    warmup: float
    seconds: float
    count: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one slice measured. `cpu`: seconds of the server's CPU time; `None` where the system does not tell."""

    answers: int
    elapsed: float
    cpu: float | None


class Broken(Exception):
    """The server did not answer as it should; the message is for the terminal."""


def serve(orders: Pipe, core: int | None) -> None:
    """The process: take `Slice`s from the pipe and answer each with a `Sample`, or with the text of what went wrong."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    while True:
        try:
            order: Slice | None = orders.recv()
        except (EOFError, KeyboardInterrupt):
            return
        if order is None:
            return
        try:
            orders.send(drive(order))
        except (Broken, OSError) as error:
            orders.send(str(error) or repr(error))


def drive(order: Slice) -> Sample:
    """Put one slice of load on a server.

    Raises:
        Broken: an answer that is no 200, or none in all that time.
        OSError: the connection failed.
    """
    if order.count:
        return _drive_count(order)
    with selectors.DefaultSelector() as selector:
        requests = cycle(order.requests)
        clients = [_Client(order.address, requests, selector) for _ in range(order.connections)]
        try:
            _run(selector, time.perf_counter() + order.warmup)
            began, cpu = time.perf_counter(), cpu_time(order.pids)
            answers = _run(selector, began + order.seconds)
            ended, spent = time.perf_counter(), cpu_time(order.pids)
        finally:
            for client in clients:
                client.close()
    return Sample(answers, ended - began, None if cpu is None or spent is None else spent - cpu)


def _drive_count(order: Slice) -> Sample:
    """So many requests and no more: the CPU time is theirs alone, whatever was on its way at any moment.

    A thread per connection: long bodies are the kernel's work, and it does it without Python's lock.
    """
    socks = [socket.create_connection(order.address, timeout=STALL) for _ in range(min(order.connections, order.count))]
    shares = [order.count // len(socks) + (number < order.count % len(socks)) for number in range(len(socks))]
    faults: list[Exception] = []
    threads = [
        threading.Thread(target=_exchange, args=(sock, order.requests[0], share, faults), daemon=True)
        for sock, share in zip(socks, shares, strict=True)
    ]
    began, cpu = time.perf_counter(), cpu_time(order.pids)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended, spent = time.perf_counter(), cpu_time(order.pids)
    for sock in socks:
        sock.close()
    if faults:
        raise faults[0]
    return Sample(order.count, ended - began, None if cpu is None or spent is None else spent - cpu)


def _exchange(sock: socket.socket, request: bytes, times: int, faults: list[Exception]) -> None:
    try:
        for _ in range(times):
            sock.sendall(request)
            head, rest = b"", -1
            while rest:
                data = sock.recv(65536)
                if not data:
                    raise Broken("the server closed a connection in the middle of an answer")
                if rest > 0:
                    rest -= len(data)
                    continue
                head += data
                end = head.find(b"\r\n\r\n")
                if end >= 0:
                    rest = parse_head(head[:end])[0] - (len(head) - end - 4)
    except (Broken, OSError) as fault:
        faults.append(fault)


def _run(selector: selectors.BaseSelector, until: float) -> int:
    """Keep the connections busy until a moment, and until one answer has come; returns how many came."""
    answers = 0
    while (left := until - time.perf_counter()) > 0 or not answers:
        ready = selector.select(left if answers else STALL)
        if not ready and not answers:
            raise Broken(f"no answer for {STALL:g} seconds")
        for key, _ in ready:
            answers += key.data.receive()
    return answers


class _Client:
    """One connection. It parses only what it needs: the status, the length, and whether the server will close."""

    __slots__ = ("_address", "_closing", "_head", "_missing", "_requests", "_selector", "_socket")

    def __init__(self, address: Address, requests: Iterator[bytes], selector: selectors.BaseSelector) -> None:
        self._address = address
        self._requests = requests
        self._selector = selector
        self._head = b""
        # Bytes of the body still to come; None while the head is read.
        self._missing: int | None = None
        self._closing = False
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address, timeout=STALL)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(self._socket, selectors.EVENT_READ, self)
        self._socket.sendall(next(self._requests))

    def close(self) -> None:
        self._socket.close()

    def receive(self) -> int:
        """Read what has come; returns 1 when that ended an answer, and asks again."""
        data = self._socket.recv(65536)
        if not data:
            raise Broken("the server closed a connection in the middle of an answer")
        if self._missing is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return 0
            self._missing, self._closing = parse_head(self._head[:end])
            data, self._head = self._head[end + 4 :], b""
        self._missing -= len(data)
        if self._missing > 0:
            return 0
        if self._missing < 0:
            raise Broken("the server sent more than its Content-Length")
        self._missing = None
        if self._closing:  # hypercorn does that once in `keep_alive_max_requests`
            self._selector.unregister(self._socket)
            self._socket.close()
            self._connect()
        else:
            self._socket.sendall(next(self._requests))
        return 1


def parse_head(head: bytes) -> tuple[int, bool]:
    """The length of the body, and whether the connection ends with it.

    Raises:
        Broken: the status is not 200, or there is no length.
    """
    if not head.startswith(b"HTTP/1.1 200"):
        raise Broken(f"the server answered {head.splitlines()[0].decode('latin-1')!r}")
    lower = head.lower()
    _, found, rest = lower.partition(b"\r\ncontent-length:")
    if not found:
        raise Broken("the answer has no Content-Length")
    return int(rest.partition(b"\r\n")[0]), b"\r\nconnection: close" in lower
