"""One worker process, from the supervisor's end: started, listened to, told to stop.

This file owns what a worker process is and how its end reads. When one is started or stopped it does not decide.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Sequence

import trio
from hypercorn.config import Sockets

from ._signals import unasked
from ._worker import environment

LAST_WORDS_SECONDS = 1.0
"""For what a worker said just before its end. Its end of the channel is closed by then, unless it has forked."""


class Worker:
    """One worker process.

    Args:
        process: the process.
        channel: our end of the socket pair (see `_worker`).
        index: which of the workers it is.
        generation: of the source it was made from, counted by reloads.
    """

    def __init__(self, process: trio.Process, channel: socket.socket, index: int, generation: int) -> None:
        self.process = process
        self.index = index
        self.generation = generation
        self.answers = False
        """It has a handler for SIGUSR1, long before it is ready, perhaps: it can say what it waits for."""
        self.ready = trio.Event()
        self.gone = trio.Event()
        self.retired = False  # told to stop: its end is no accident
        self.started_at = trio.current_time()
        self._channel = channel
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(channel))

    @classmethod
    async def start(cls, command: Sequence[str], sockets: Sockets, index: int, generation: int) -> Worker:
        """Start one that inherits `sockets`.

        Raises:
            OSError: the system has no process for us.
        """
        ours, theirs = socket.socketpair()
        inherited = [*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets, theirs]
        with theirs, unasked():
            try:
                process = await trio.lowlevel.open_process(
                    list(command),
                    env=environment(sockets, theirs, index),
                    pass_fds=[sock.fileno() for sock in inherited],
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, ours, index, generation)

    def __str__(self) -> str:
        return f"worker {self.index} (process {self.process.pid})"

    @property
    def lifetime(self) -> float:
        """Seconds since the start."""
        return trio.current_time() - self.started_at

    @property
    def clean(self) -> bool:
        """Whether it has ended as one does that was told to stop."""
        # SIGTERM kills only a process that does not serve yet, or that has served and is about to exit.
        return self.process.returncode in (0, -signal.SIGTERM)

    @property
    def fate(self) -> str:
        """How it has ended, in words."""
        code = self.process.returncode
        if code is None or code >= 0:
            return f"with status {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"  # a real-time signal has no name
        hint = " (by the kernel, if memory ran out)" if code == -signal.SIGKILL else ""
        return f"by {name}{hint}"

    async def listen(self, on_ready: Callable[[], object], on_files: Callable[[list[str], float], object]) -> None:
        """Take what the worker says, until its process has ended; then set `gone`.

        Args:
            on_ready: it accepts connections.
            on_files: it was made from these files, read since that time (of `time.time`).
        """
        started = time.time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, on_ready, on_files, started)
            await self.process.wait()
            nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_SECONDS
        await self._stream.aclose()
        self.gone.set()

    async def _hear(
        self, on_ready: Callable[[], object], on_files: Callable[[list[str], float], object], started: float
    ) -> None:
        buffer = b""
        try:
            async for data in self._stream:
                *lines, buffer = (buffer + data).split(b"\n")
                for message in map(json.loads, lines):
                    if "answers" in message:
                        self.answers = True
                    if "ready" in message:
                        self.ready.set()
                        on_ready()
                    if "files" in message:
                        on_files(message["files"], started)
        except trio.BrokenResourceError:
            pass  # killed

    def retire(self) -> None:
        """Let it drain and end."""
        if not self.retired and self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        self.retired = True

    def pass_on(self, number: int) -> None:
        """Send it a signal that does not end it, if it has come as far as to have a handler for it."""
        if self.answers and self.process.returncode is None:
            self.process.send_signal(number)

    def hurry(self) -> None:
        """Skip the drain of one that is retired. Does not block: a worker that hears nothing has its watchdog."""
        try:
            self._channel.send(b'{"hurry": true}\n', socket.MSG_DONTWAIT)
        except OSError:
            pass  # it has ended, or been stopped
