"""Servers as processes: `hypercorn` and `trivet run` as a user starts them, for signals, exit codes and
output.

This file owns one decision: when a process counts as started (it accepts a connection, and has said that it
is ready where accepting proves nothing: hypercorn listens before it imports the application), and how it is
made sure that none is left behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import trio

from tests.harness.sockets import Address, SocketClient

__all__ = ["ServerProcess", "free_port", "run_server"]

ROOT = Path(__file__).resolve().parent.parent.parent

START_SECONDS = 20
STOP_SECONDS = 20

COMMANDS: dict[str, list[str]] = {
    "hypercorn": ["-m", "hypercorn", "--worker-class", "trio"],
    # Not the script: the checkout must be tested, whether it is installed or not.
    "trivet": ["-c", "import sys; from trivet.cli import main; sys.exit(main())", "run"],
}

READY: dict[str, str] = {"hypercorn": "Running on "}


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class ServerProcess:
    """A server that runs.

    Args:
        process: the process; it leads a group of its own.
        port: where it listens.
    """

    def __init__(self, process: trio.Process, port: int) -> None:
        self.process = process
        self.address: Address = ("127.0.0.1", port)
        # What it has written to stdout and stderr so far.
        self.raw_output = bytearray()
        # Woken when there is more of it.
        self._more = trio.lowlevel.ParkingLot()

    @property
    def output(self) -> str:
        """What it has written so far, stdout and stderr together."""
        return self.raw_output.decode(errors="replace")

    def client(self) -> SocketClient:
        """A client of it; a context manager."""
        return SocketClient(self.address)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, as a supervisor does, not to its workers."""
        self.process.send_signal(number)

    async def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end and return its exit code; negative: the signal that killed it.

        Raises:
            trio.TooSlowError: it did not end.
        """
        with trio.fail_after(seconds):
            return await self.process.wait()

    async def wait_output(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until `text` stands in its output.

        Raises:
            trio.TooSlowError: it did not come.
        """
        with trio.fail_after(seconds):
            while text not in self.output:
                await self._more.park()

    async def copy_output(self) -> None:
        """Collect what it writes; the body of a task."""
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            self.raw_output += chunk
            self._more.unpark_all()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.send_signal(number)
        return await self.wait()


@asynccontextmanager
async def run_server(
    server: Literal["hypercorn", "trivet"],
    app: str,
    *arguments: str,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    listens: bool = True,
    ready: str | None = None,
    port: int | None = None,
) -> AsyncGenerator[ServerProcess]:
    """Run a server in a process of its own; it is killed at the end, with its workers, if it still runs.

    Args:
        server: which.
        app: the application, `module:name`; found from `directory` and from the repository.
        arguments: further ones; the address is given already.
        directory: the working directory; the repository's root by default.
        environment: added to ours.
        listens: wait until it accepts connections; `False`: for one that is meant to fail.
        ready: wait for this text in its output too; by default what the server is known to say.
        port: where it listens; a free one by default. The successor of a server listens where that did.

    Raises:
        AssertionError: it did not listen; with its output.
    """
    port = free_port() if port is None else port
    directory = directory or ROOT
    path = os.pathsep.join([str(directory), str(ROOT / "framework"), str(ROOT)])
    command = [sys.executable, *COMMANDS[server], "--bind", f"127.0.0.1:{port}", *arguments, app]
    process = await trio.lowlevel.open_process(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(environment or {})},
        start_new_session=True,
    )
    started = ServerProcess(process, port)
    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(started.copy_output)
        try:
            if listens:
                await _wait_until_it_listens(started, READY.get(server) if ready is None else ready)
            yield started
        except trio.Cancelled:
            raise
        except BaseException as caught:
            error = caught
        finally:
            _kill_group(process.pid)
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.deadline = trio.current_time() + 1
    if error is not None:
        error.add_note(f"output of {server}:\n{started.output}")
        raise error


async def _wait_until_it_listens(started: ServerProcess, ready: str | None) -> None:
    with trio.move_on_after(START_SECONDS):
        while started.process.poll() is None:
            try:
                stream = await trio.open_tcp_stream(*started.address)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                if ready is None or ready in started.output:
                    return
                await trio.sleep(0.02)
    # Let what it said last arrive.
    await trio.sleep(0.1)
    raise AssertionError(f"it does not listen (exit code {started.process.returncode})")


def _kill_group(leader: int) -> None:
    try:
        # The leader's id is the group's: start_new_session.
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass
