"""The server under load: `trivet run` in a process of its own, and what can be learnt of it from outside.

This file owns when it counts as started, how its memory is read, and that it does not outlive the scenario.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

import msgspec
import trio

from trivet.server._limits import Limits

from ._client import Gone, ask
from ._figures import MEBIBYTE, Setting

ROOT: Final = Path(__file__).parents[2]
APP: Final = "benchmarks.load.app:app"
START: Final = 30.0
STOP: Final = 30.0
STEP: Final = 0.02
LOG_LINES: Final = 25

SHORTENED: Final = {
    "--keep-alive": Limits().idle_timeout,
    "--limit-head-timeout": Limits().head_timeout,
    "--limit-body-grace": Limits().body_grace,
}
"""Options of `trivet run` that bound a client's time, with their defaults: `Setting.haste` divides them."""

OWN: Final = "--limit-"
"""How the options begin that only trivet's own protocol has."""


class Stats(msgspec.Struct):
    """What the application knows of itself; see `app.stats`."""

    pid: int
    live: int
    tasks: int
    descriptors: int
    cancelled: int
    last_cancelled: float
    cleaned: int
    left: int


class Server:
    """The running server.

    Attributes:
        pid: of the process that was started; with one worker it is also the one that serves.
        port: on 127.0.0.1.
    """

    def __init__(self, process: trio.Process, log: IO[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self.port = 0
        self._log = log

    @property
    def log(self) -> str:
        """What it has written so far."""
        return os.pread(self._log.fileno(), 16 * MEBIBYTE, 0).decode(errors="replace")

    async def stats(self) -> Stats:
        """Ask the application."""
        return msgspec.json.decode((await ask(self.port, "/stats")).body, type=Stats)

    async def until(self, condition: Callable[[Stats], bool], within: float) -> tuple[float, Stats]:
        """Wait until that is so, or until time is up; returns how long it took, and how it is."""
        began = time.monotonic()
        while True:
            stats = await self.stats()
            if condition(stats) or time.monotonic() - began > within:
                return time.monotonic() - began, stats
            await trio.sleep(STEP)

    async def quiet(self, within: float, live: int = 0) -> tuple[float, Stats]:
        """The same, until only `live` handlers are left."""
        return await self.until(lambda stats: stats.live == live, within)

    async def released(self, descriptors: int, within: float) -> tuple[float, Stats]:
        """The same, until no more than `descriptors` files and sockets are open."""
        return await self.until(lambda stats: stats.descriptors <= descriptors, within)

    def memory(self) -> int:
        """Its resident memory in bytes."""
        return memory_of(self.pid)

    def children(self) -> list[int]:
        """The process ids of its workers."""
        # A child belongs to the thread that started it, and Trio starts processes in threads of its own.
        lists = [path.read_text().split() for path in Path(f"/proc/{self.pid}/task").glob("*/children")]
        return sorted(int(pid) for pids in lists for pid in pids)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it, as a service manager does."""
        self.process.send_signal(number)

    async def workers(self, count: int) -> list[int]:
        """The process ids of its workers, once there are that many of them."""
        while len(pids := self.children()) < count:  # noqa: ASYNC110
            await trio.sleep(STEP)
        return pids

    async def ended(self, within: float = STOP) -> int | None:
        """Wait for its end; returns its exit code, or `None` if it still runs."""
        with trio.move_on_after(within):
            return await self.process.wait()
        return None


class MemoryPeak:
    """The greatest memory of a server while this runs as a task."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.bytes = server.memory()

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look every tenth of a second, until cancelled."""
        task_status.started()
        while True:
            self.look()
            await trio.sleep(0.1)

    def look(self) -> None:
        """Look now."""
        self.bytes = max(self.bytes, self._server.memory())


@asynccontextmanager
async def serving(setting: Setting, *arguments: str, app: str = APP) -> AsyncGenerator[Server]:
    """Run the server for the length of the body.

    Args:
        setting: its `arguments` come last, and win.
        arguments: of `trivet run`.
        app: what it serves.

    Raises:
        RuntimeError: it does not start; with what it said.
    """
    path = os.pathsep.join([str(ROOT / "framework"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "LOAD_HASTE": str(setting.haste)}
    command = [sys.executable, "-m", "trivet", "run", app, "--bind", "127.0.0.1:0", "--backlog", "4096"]
    if setting.haste != 1:
        for option, seconds in SHORTENED.items():
            if not (option.startswith(OWN) and "hypercorn" in setting.arguments):
                command += [option, str(seconds / setting.haste)]
    command += [*arguments, *setting.arguments]
    with tempfile.TemporaryFile() as log:
        process = await trio.lowlevel.open_process(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        server = Server(process, log)
        try:
            await _wait_ready(server)
            yield server
        except BaseException as error:
            error.add_note("\n".join(["The server said at last:", *server.log.splitlines()[-LOG_LINES:]]))
            raise
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)


async def _wait_ready(server: Server) -> None:
    until = trio.current_time() + START
    while trio.current_time() < until and server.process.poll() is None:
        announced = re.search(r"Running on http://127\.0\.0\.1:(\d+)", server.log)
        if announced:
            server.port = int(announced[1])
            try:
                await ask(server.port, "/")
                return
            except (OSError, Gone, trio.TooSlowError):
                pass
        await trio.sleep(STEP)
    raise RuntimeError("the server does not start")


def memory_of(pid: int) -> int:
    """The resident memory of a process in bytes.

    From `smaps_rollup`: `VmRSS` in `status` is kept per CPU and may be off by some hundred KiB.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("smaps_rollup has no Rss")


async def _end(process: trio.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers: it leads a group of its own
    except ProcessLookupError:
        pass
    await process.wait()
