"""Two servers in processes of their own, ours and Debian's, and a socket that speaks to either."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from apps.mini_redis.aof import written
from apps.mini_redis.values import Values
from tests.harness import free_port
from tests.harness.redis_server import redis_command

ROOT = Path(__file__).parents[2]
SECONDS = 20.0


class Wire:
    """A connection: bytes and values, nothing between."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._values = Values()
        self._waiting: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(self, *commands: Sequence[bytes | str]) -> None:
        """Send requests."""
        self.sock.sendall(b"".join(written(map(_raw, command)) for command in commands))

    def read(self) -> Any:
        """The next value.

        Raises:
            EOFError: there is none.
        """
        while not self._waiting:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._waiting += self._values.feed(data)
        return self._waiting.pop(0)

    def ask(self, *words: bytes | str) -> Any:
        """The reply to one request."""
        self.send(words)
        return self.read()

    def ask_all(self, commands: Sequence[Sequence[bytes]]) -> list[Any]:
        """The replies to several."""
        self.send(*commands)
        return [self.read() for _ in commands]


def _raw(word: bytes | str) -> bytes:
    return word if isinstance(word, bytes) else word.encode()


class RedisProcess:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def wire(self) -> Wire:
        """Connect to it."""
        return Wire(self.port)


@contextmanager
def running(command: Sequence[str], port: int, environment: dict[str, str]) -> Generator[RedisProcess]:
    """Run a server until the end of the block."""
    path = os.pathsep.join([str(ROOT / "framework"), str(ROOT)])
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if "redis-server" in command[0] else None,
    )
    try:
        until = time.monotonic() + SECONDS
        while True:
            try:
                with Wire(port) as wire:
                    if "PONG" in str(wire.ask(b"PING")):  # redis-server listens before it has read its log: LOADING
                        break
            except (OSError, EOFError):
                if process.poll() is not None:
                    raise
            if time.monotonic() > until:
                raise TimeoutError(f"no PONG from {command[0]} in {SECONDS:g} s")
            time.sleep(0.02)
        yield RedisProcess(process, port)
    finally:
        process.kill()
        process.wait()


def start_mini(**settings: str | Path) -> AbstractContextManager[RedisProcess]:
    """Ours: `with start_mini(log=path, fsync="always") as server`."""
    port = free_port()
    environment = {f"MINI_REDIS_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "apps.mini_redis"]
    return running(command, port, {"MINI_REDIS_BIND": f"127.0.0.1:{port}", **environment})


def start_redis(*options: str, directory: Path) -> AbstractContextManager[RedisProcess]:
    """Debian's."""
    port = free_port()
    return running(redis_command(port, directory, *options, why="the replies are compared with its"), port, {})


@pytest.fixture(scope="module")
def mini() -> Generator[RedisProcess]:
    """Ours."""
    with start_mini() as server:
        yield server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisProcess]:
    """Theirs."""
    with start_redis("--appendonly", "no", directory=tmp_path_factory.mktemp("redis")) as server:
        yield server
