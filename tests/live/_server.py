"""`trivet run` in a process of its own, and raw clients for it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events

ROOT = Path(__file__).parents[2]
APP = "tests.live._server_app:app"


class Running:
    """A server process: its port, its log, its end."""

    def __init__(self, *arguments: str, app: str = APP, cwd: Path = ROOT) -> None:
        self.start([sys.executable, "-m", "trivet", "run", app, "--bind", "127.0.0.1:0", *arguments], cwd)

    def start(
        self, command: list[str], cwd: Path, pass_fds: Sequence[int] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        path = os.pathsep.join([str(ROOT / "framework"), str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str, seconds: float = 40) -> re.Match[str]:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            match = re.search(pattern, self.log)
            if match:
                return match
            time.sleep(0.01)
        raise AssertionError(f"{pattern!r} did not appear in:\n{self.log}")

    @property
    def port(self) -> int:
        return int(self.wait_for(r"Running on https?://127\.0\.0\.1:(\d+)")[1])

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 10) -> int:
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.log}") from None
        self._reader.join(20)  # what was said last may still be on its way
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(1)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(5)
        try:
            sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        return sock

    def get(self, path: str = "/") -> tuple[int, bytes]:
        with self.connect() as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return parse(read_all(sock))

    def stats(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/stats")[1]))

    def settled(self, before: dict[str, Any], seconds: float = 20) -> dict[str, Any]:
        """The statistics, once tasks, sockets and live requests are back to what they were, or as they stay."""
        until = time.monotonic() + seconds
        while True:
            now = self.stats()
            if all(now[key] <= before[key] for key in ("tasks", "fds", "live")) or time.monotonic() > until:
                return now
            time.sleep(0.02)


@contextmanager
def running(*arguments: str, app: str = APP, cwd: Path = ROOT) -> Generator[Running]:
    server = Running(*arguments, app=app, cwd=cwd)
    try:
        yield server
    finally:
        server.close()


def read_all(sock: socket.socket) -> bytes:
    """What comes until the other end closes; `<RST>` at the end if it breaks, `<OPEN>` if nothing more comes."""
    received = b""
    try:
        while data := sock.recv(65_536):
            received += data
    except ConnectionResetError:
        return received + b"<RST>"
    except TimeoutError:
        return received + b"<OPEN>"
    return received


def hold(sock: socket.socket) -> None:
    """Ask for `/held` of the server's application, and return when that has begun; `HELD` is the end of the answer."""
    sock.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while not received.endswith(b"begun"):
        data = sock.recv(65_536)
        assert data, received
        received += data


HELD = b"ended"


def read_some(sock: socket.socket, seconds: float = 0.3) -> bytes:
    sock.settimeout(seconds)
    return read_all(sock)


def read_at_least(sock: socket.socket, count: int, seconds: float) -> bytes:
    """The first bytes that come, at least `count` unless it ends before."""
    sock.settimeout(seconds)
    received = b""
    try:
        while len(received) < count and (data := sock.recv(65_536)):
            received += data
    except OSError:
        pass
    return received


def parse(response: bytes) -> tuple[int, bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


class H2:
    """An HTTP/2 client that says whatever it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config=config)
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def request(
        self,
        stream: int = 1,
        method: bytes | None = b"GET",
        path: bytes | None = b"/",
        *,
        end: bool = True,
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        scheme = None if path is None else b"http"
        pseudo = [(b":method", method), (b":path", path), (b":scheme", scheme), (b":authority", b"x")]
        sent = [(name, value) for name, value in pseudo if value is not None]
        self.h2.send_headers(stream, sent + (headers or []), end_stream=end)
        self.flush()

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(stream, data, end_stream=end)
        self.flush()

    def pump(self, seconds: float = 0.3, *, until: type[h2.events.Event] | None = None, stream: int = 1) -> None:
        """Take what comes, acknowledging it, for a while or until an event on a stream."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65_536)
            except (TimeoutError, ConnectionResetError):
                return
            if not data:
                return
            found = self.h2.receive_data(data)
            self.events += found
            for event in found:
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.flush()
            if until and any(isinstance(event, until) and getattr(event, "stream_id", 0) == stream for event in found):
                return

    def status(self, stream: int = 1) -> int | None:
        for event in self.events:
            if isinstance(event, h2.events.ResponseReceived) and event.stream_id == stream:
                return int(dict(event.headers)[b":status"])
        return None

    def body(self, stream: int = 1) -> bytes:
        return b"".join(
            event.data or b""
            for event in self.events
            if isinstance(event, h2.events.DataReceived) and event.stream_id == stream
        )

    def saw(self, kind: type[h2.events.Event], stream: int = 1) -> bool:
        return any(isinstance(event, kind) and getattr(event, "stream_id", None) == stream for event in self.events)
