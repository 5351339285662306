"""Clients that never stop asking, some on fresh connections and some on kept ones, and what became of each request."""

from __future__ import annotations

import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live._server import Running


class Swarm:
    """Asks `port` from several threads until stopped.

    `outcomes` counts: "ok"; "refused", at connect; "fresh", a new connection that ended without an answer; "reused",
    a kept connection that had been closed when the next request was on its way, which clients must expect and repeat
    (RFC 9112 section 9.3.1); "torn", part of an answer.

    `seconds` is how long a handler takes, `round_trip` the longest from the end of a connect to the request.
    """

    def __init__(self, port: int, journal: Path, seconds: float, round_trip: float) -> None:
        self.port = port
        self.outcomes: Counter[str] = Counter()
        self.answered: set[str] = set()
        self.pids: list[tuple[float, int]] = []
        self.detail: list[str] = []
        self._journal = journal
        self._seconds = seconds
        self._round_trip = round_trip
        self._ids = itertools.count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(number % 2 == 0,)) for number in range(12)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def seen_since(self, since: float) -> set[int]:
        with self._lock:
            return {pid for when, pid in self.pids if when >= since}

    @property
    def lost(self) -> set[str]:
        """Requests that an application was called for, and that were not answered."""
        return set(self._journal.read_text().split()) - self.answered

    def _client(self, keep: bool) -> None:
        while not self._stop.is_set():
            try:
                sock = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            except OSError:
                self._count("refused")
                time.sleep(0.01)
                continue
            with sock:
                if not keep:
                    time.sleep(random.uniform(0, self._round_trip))
                reused = False
                while self._ask(sock, keep, reused) and keep and not self._stop.is_set():
                    reused = True

    def _ask(self, sock: socket.socket, keep: bool, reused: bool) -> bool:
        request = f"r{next(self._ids)}"
        close = "" if keep else "Connection: close\r\n"
        received = b""
        try:
            sock.sendall(f"GET /{request}/{self._seconds} HTTP/1.1\r\nHost: x\r\n{close}\r\n".encode())
            while not whole(received) and (data := sock.recv(65536)):
                received += data
            error = "EOF"
        except OSError as failure:
            error = repr(failure)
        if whole(received):
            self._took(request, received)
            return b"connection: close" not in received.lower()
        self._count("torn" if received else "reused" if reused else "fresh", f"{request} {error} {received!r}")
        return False

    def _took(self, request: str, answer: bytes) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        with self._lock:
            if head.split(b" ")[1] != b"200":
                self.outcomes[head.split(b"\r\n")[0].decode()] += 1
                return
            self.outcomes["ok"] += 1
            self.answered.add(request)
            self.pids.append((time.monotonic(), int(body.split()[0])))

    def _count(self, outcome: str, detail: str = "") -> None:
        with self._lock:
            self.outcomes[outcome] += 1
            self.detail.append(detail)


def whole(answer: bytes) -> bool:
    """Whether it is a head and all of its body."""
    head, end, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and bool(lengths) and len(body) >= int(lengths[0].split(b":")[1])


@contextmanager
def swarm(server: Running, journal: Path, seconds: float = 0.02, round_trip: float = 0) -> Generator[Swarm]:
    """A swarm that has got going."""
    it = Swarm(server.port, journal, seconds, round_trip)
    try:
        until = time.monotonic() + 10
        while it.outcomes["ok"] < 50:
            if time.monotonic() > until:
                pytest.fail(f"{it.outcomes} {it.detail[:5]} {server.log}")
            time.sleep(0.02)
        yield it
    finally:
        it.stop()
