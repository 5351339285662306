"""A redis-server for tests, from the system's package: on a free port, as long as the block runs; it can be killed,
started again and frozen meanwhile.

This file owns one decision: how it is found, and when it counts as started (it answers).
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.harness.processes import free_port
from tests.harness.tools import require

__all__ = ["RedisServer", "redis_command", "redis_server"]

START_SECONDS = 20


class RedisServer:
    """A server that runs.

    Args:
        command: how it is started.
        port: where it listens.
    """

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        process = self._spawn()
        with trio.fail_after(START_SECONDS):
            while True:
                assert process.poll() is None, "redis-server has ended"
                try:
                    if (await self.ask("PING")).startswith((b"+PONG", b"-NOAUTH")):
                        return
                except OSError:
                    pass
                await trio.sleep(0.01)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return self._process

    def kill(self) -> None:
        """End it at once, as `kill -9` does; connections to it are reset."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def restart(self) -> None:
        """Kill it, and start it again where it was: it has forgotten everything."""
        self.kill()
        await self.start()

    def freeze(self) -> None:
        """Let it do nothing any more, while the system still takes connections for it: as if its machine hung."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def ask(self, command: str) -> bytes:
        """Send a command on a connection of its own, in one line; return the reply as it comes."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(command.encode() + b"\r\n")
            return bytes(await stream.receive_some())


def redis_command(port: int, directory: Path, *options: str, why: str) -> list[str]:
    """How a server is started that keeps nothing but in this directory, and that only this machine reaches.

    Args:
        port: where it listens.
        directory: where it writes, if it does.
        options: further ones of its command line.
        why: a test needs it, for the message where it is not installed.
    """
    program = require("redis-server", why=why)
    return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory), *options]


@asynccontextmanager
async def redis_server(*options: str) -> AsyncGenerator[RedisServer]:
    """Start a server; end it, and delete what it kept.

    A test that needs it is skipped where redis-server is not installed, and fails there under CI.

    Args:
        options: further ones of its command line.
    """
    with tempfile.TemporaryDirectory(prefix="trivet-redis-") as directory:
        port = free_port()
        more = ("--enable-debug-command", "yes", *options)
        server = RedisServer(redis_command(port, Path(directory), *more, why="it stores there"), port)
        try:
            await server.start()
            yield server
        finally:
            server.kill()
