"""Several processes that share their listening sockets, or one that is restarted when its source changes.

This file owns when a worker process is started, told to stop, and replaced. What a worker does it does not know: it is
a command line, run again with the sockets inherited. (hypercorn's own supervisor kills the requests of all workers but
the first on SIGTERM, stops for good when one worker dies, and then exits with status 0.)

- SIGTERM or SIGINT: passed on as SIGTERM; all workers drain fully. A second one is passed on too.
- SIGHUP: each worker is replaced by a new one, which is ready before the old one is told to stop.
- A worker that dies is replaced. One that dies again and again, soon after its start, or before any was ever ready,
  ends the whole with a failure, so that whoever supervises us learns of it.
- With `reload`, a changed file replaces the workers, and one that dies is replaced at the next change.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
from collections.abc import Callable, Sequence

import trio
from hypercorn.config import Sockets

from ._reload import Changes
from ._signals import Stopping, stopping_on
from ._worker import environment

log = logging.getLogger("trivet.supervisor")

QUICK_SECONDS = 10.0
"""A worker that lives for less has failed at its task, not met with an accident."""

QUICK_DEATHS = 5
"""Of one worker in a row, after which we give up; systemd's StartLimitBurst."""

BACKOFF_SECONDS = 0.25
"""Before a replacement; doubled with each quick death."""

POLL_SECONDS = 0.4
RELOAD_SECONDS = 1.0
"""Requests of a worker that is reloaded have this long; then it is told to hurry."""


class Worker:
    """One worker process."""

    def __init__(self, process: trio.Process, channel: trio.SocketStream) -> None:
        self.process = process
        self.ready = trio.Event()
        self.gone = trio.Event()
        self.retired = False  # told to stop: its end is no accident
        self.started_at = trio.current_time()
        self._channel = channel

    async def listen(self, on_ready: Callable[[], object], on_files: Callable[[list[str]], object]) -> None:
        """Take what the worker says, until it ends."""
        buffer = b""
        async with self._channel:
            try:
                async for data in self._channel:
                    *lines, buffer = (buffer + data).split(b"\n")
                    for message in map(json.loads, lines):
                        if "ready" in message:
                            self.ready.set()
                            on_ready()
                        if "files" in message:
                            on_files(message["files"])
            except trio.BrokenResourceError:
                pass  # killed
        await self.process.wait()
        self.gone.set()

    def tell(self, number: signal.Signals) -> None:
        """Send a signal, if there still is somebody."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    def retire(self) -> None:
        """Let it drain and end."""
        self.retired = True
        self.tell(signal.SIGTERM)


class Supervisor:
    """Keeps `count` workers running `command`.

    Args:
        command: the command line of a worker.
        sockets: bound sockets, inherited by each worker.
        count: how many.
        reload: restart them when a file changes that one of them was made from.
        announce: called once, when the first is ready.
    """

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sockets,
        *,
        count: int,
        reload: bool,
        announce: Callable[[], object],
    ) -> None:
        self._command = list(command)
        self._sockets = sockets
        self._count = count
        self._reload = reload
        self._announce = announce
        self._workers: list[Worker | None] = [None] * count
        self._changes = Changes()
        self._reloaded = trio.Event()  # set at each change, then replaced
        self._ever_ready = False
        self._stop = trio.Event()
        self._failed = False
        self._nursery: trio.Nursery

    async def run(self) -> int:
        """Supervise until told to stop. Returns the exit status: 0 if every worker ended cleanly."""
        async with stopping_on((signal.SIGTERM, signal.SIGINT)) as stopping, trio.open_nursery() as helpers:
            helpers.start_soon(self._obey, stopping)
            helpers.start_soon(self._obey_hangups)
            if self._reload:
                helpers.start_soon(self._watch_files)
            async with trio.open_nursery() as self._nursery:
                for slot in range(self._count):
                    self._nursery.start_soon(self._keep, slot)
            helpers.cancel_scope.cancel()
        return 1 if self._failed else 0

    # Signals -----------------------------------------------------------------------------------------------------

    async def _obey(self, stopping: Stopping) -> None:
        await stopping.stop.wait()
        self._stop_all()
        await stopping.hurry.wait()
        for worker in self._present():
            worker.tell(signal.SIGTERM)

    async def _obey_hangups(self) -> None:
        with trio.open_signal_receiver(signal.SIGHUP) as received:
            async for _ in received:
                log.info("SIGHUP: replacing %d workers", self._count)
                for slot in range(self._count):
                    await self._replace(slot)

    def _present(self) -> list[Worker]:
        return [worker for worker in self._workers if worker is not None]

    def _stop_all(self) -> None:
        self._stop.set()
        for worker in self._present():
            worker.retire()

    def _give_up(self, reason: str) -> None:
        log.critical("giving up: %s", reason)
        self._failed = True
        self._stop_all()

    # Workers -----------------------------------------------------------------------------------------------------

    async def _start(self) -> Worker:
        ours, theirs = socket.socketpair()
        sockets = self._sockets
        inherited = [*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets, theirs]
        with theirs:
            process = await trio.lowlevel.open_process(
                self._command,
                env=environment(sockets, theirs),
                pass_fds=[sock.fileno() for sock in inherited],
            )
        worker = Worker(process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        self._nursery.start_soon(worker.listen, self._on_ready, self._changes.watch)
        return worker

    def _on_ready(self) -> None:
        if not self._ever_ready:
            self._ever_ready = True
            self._announce()

    async def _keep(self, slot: int) -> None:
        """Keep a worker in `slot` until told to stop."""
        deaths = 0
        while not self._stop.is_set():
            worker = await self._start()
            self._workers[slot] = worker
            if self._stop.is_set():
                worker.retire()
            worker = await self._outlive(slot, worker)
            code = worker.process.returncode
            if self._stop.is_set() or worker.retired:
                if code != 0:
                    log.error("worker %d ended with status %s", worker.process.pid, code)
                    self._failed = self._failed or not self._reload
                continue
            if code == 0 and worker.ready.is_set():
                log.info("worker %d has ended, as it was to (max-requests); replacing it", worker.process.pid)
                continue
            if self._reload:
                log.error("worker %d ended with status %s; waiting for a change", worker.process.pid, code)
                await self._change_or_stop(worker)
                continue
            quick = trio.current_time() - worker.started_at < QUICK_SECONDS
            deaths = deaths + 1 if quick else 1
            if not self._ever_ready:
                self._give_up(f"worker {worker.process.pid} ended with status {code} before it was ready")
            elif deaths >= QUICK_DEATHS:
                self._give_up(f"a worker died {deaths} times in a row, the last time with status {code}")
            else:
                log.error("worker %d died with status %s; replacing it", worker.process.pid, code)
                with trio.move_on_after(BACKOFF_SECONDS * 2 ** (deaths - 1)):
                    await self._stop.wait()

    async def _outlive(self, slot: int, worker: Worker) -> Worker:
        """Return the worker with which the slot's line ended: replacements (SIGHUP) go on in it."""
        while True:
            await worker.gone.wait()
            current = self._workers[slot]
            if current is worker or current is None:
                return worker
            worker = current

    async def _replace(self, slot: int) -> None:
        """Put a new worker into `slot`; the old one stops when the new one is ready."""
        old = self._workers[slot]
        if self._stop.is_set() or old is None:
            return
        new = await self._start()
        async with trio.open_nursery() as nursery:
            for event in (new.ready, new.gone, self._stop, old.gone):
                nursery.start_soon(_cancel_after, event, nursery.cancel_scope)
        if new.ready.is_set() and not self._stop.is_set() and not old.gone.is_set():
            self._workers[slot] = new
            old.retire()
        else:
            log.error("worker %d was not replaced", old.process.pid)
            new.retire()

    # Reload ------------------------------------------------------------------------------------------------------

    async def _watch_files(self) -> None:
        while True:
            await trio.sleep(POLL_SECONDS)
            changed = self._changes.changed()
            if changed and not self._stop.is_set():
                log.info("changed: %s; reloading", ", ".join(changed[:3]))
                self._reloaded.set()
                self._reloaded = trio.Event()
                for worker in self._present():
                    worker.retire()
                self._nursery.start_soon(self._hurry, self._present())

    async def _hurry(self, workers: list[Worker]) -> None:
        with trio.move_on_after(RELOAD_SECONDS):
            for worker in workers:
                await worker.gone.wait()
        for worker in workers:
            worker.tell(signal.SIGTERM)

    async def _change_or_stop(self, worker: Worker) -> None:
        if worker.retired:
            return
        async with trio.open_nursery() as nursery:
            for event in (self._reloaded, self._stop):
                nursery.start_soon(_cancel_after, event, nursery.cancel_scope)


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
