"""Several processes that share their listening sockets, or one that is restarted when its source changes.

This file owns when a worker process is started, told to stop, and replaced. What a worker does it does not know: it is
a command line, run again with the sockets inherited. (hypercorn's own supervisor kills the requests of all workers but
the first on SIGTERM, stops for good when one worker dies, and then exits with status 0.)

- The first worker starts alone, the others when it is ready: what keeps an application from starting is said once, and
  what it prepares for all (a schema, a cache) is there when the second one looks.
- SIGTERM or SIGINT: all workers drain fully. A second one skips the wait.
- SIGHUP: each worker is replaced by a new one, which is ready before the old one is told to stop, and the next one's
  turn comes when the old one has ended: there is never one too few, nor more than one too many. If a new one does not
  become ready, the others stay as they are.
- A worker that dies is replaced. One that dies again and again, soon after its start, or before any was ever ready,
  ends the whole with a failure, so that whoever supervises us learns of it.
- SIGUSR1 is passed on: each worker says what it is doing.
- With `reload`, a changed file replaces the workers, and one that dies is replaced at the next change. SIGHUP ends us:
  it is the terminal that was closed.

The sockets are shared, rather than one for each worker (SO_REUSEPORT): what waits in the queue of a socket of its own
is lost with the worker, while a shared queue outlives it, https://lwn.net/Articles/542629/.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence

import trio
from hypercorn.config import Sockets

from . import _notify
from ._process import Worker
from ._reload import Changes, watch
from ._signals import QUESTION, Stopping, stopping_on

log = logging.getLogger("trivet.supervisor")

QUICK_SECONDS = 10.0
"""A worker that lives for less has failed at its task, not met with an accident."""

QUICK_DEATHS = 5
"""Of one worker in a row, after which we give up; systemd's StartLimitBurst."""

BACKOFF_SECONDS = 0.25
"""Before a replacement; doubled with each quick death."""

GROUP_SECONDS = 0.1
"""Who signals a whole group of processes signals us too: until then we do not know why a worker has ended."""


class Slot:
    """The place of one worker, which others take after it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.worker: Worker | None = None
        self.successor: Worker | None = None  # started to replace `worker`, not yet ready
        self.vacant = trio.Event()  # `worker` has ended and nobody has taken its place
        self.deaths = 0  # quick ones, in a row

    def left_by(self, worker: Worker) -> None:
        """It has ended."""
        if self.worker is not worker:
            return
        if self.successor is not None and not self.successor.gone.is_set():
            self.worker, self.successor = self.successor, None
        else:
            self.vacant.set()


class Supervisor:
    """Keeps `count` workers running `command`.

    Args:
        command: the command line of a worker.
        sockets: bound sockets, inherited by each worker. They are closed when the drain begins.
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
        self._reload = reload
        self._announce = announce
        self._slots = [Slot(index) for index in range(count)]
        self._living: set[Worker] = set()  # those that drain included
        self._starting = trio.Lock()
        self._changes = Changes()
        self._generation = 0
        self._reloaded = trio.Event()  # set at each change, then replaced
        self._ever_ready = trio.Event()
        self._stop = trio.Event()
        self._failed = False
        self._nursery: trio.Nursery

    async def run(self) -> int:
        """Supervise until told to stop. Returns the exit status: 0 if every worker ended cleanly."""
        ends = (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if self._reload else ()))
        async with stopping_on(ends) as stopping, trio.open_nursery() as helpers:
            helpers.start_soon(self._obey, stopping)
            helpers.start_soon(_notify.keep_alive)
            if QUESTION is not None:
                await helpers.start(self._pass_on, QUESTION)
            if self._reload:
                helpers.start_soon(watch, self._changes, self._changed)
            else:
                helpers.start_soon(self._obey_hangups)
            async with trio.open_nursery() as self._nursery:
                for slot in self._slots:
                    self._nursery.start_soon(self._keep, slot)
            helpers.cancel_scope.cancel()
        return 1 if self._failed else 0

    # The end -----------------------------------------------------------------------------------------------------

    async def _obey(self, stopping: Stopping) -> None:
        await stopping.stop.wait()
        self._stop_all()
        await stopping.hurry.wait()
        for worker in self._living:
            worker.hurry()

    def _stop_all(self) -> None:
        _notify.stopping()
        self._stop.set()
        for worker in self._living:
            worker.retire()
        self._nursery.start_soon(self._close_sockets)

    async def _close_sockets(self) -> None:
        # So that clients are refused when the last worker has stopped accepting, and go elsewhere: in a queue that
        # nobody serves they would wait for the end of the drain.
        async with self._starting:
            sockets = self._sockets
            for sock in (*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets):
                sock.close()

    def _give_up(self, reason: str) -> None:
        if not self._stop.is_set():
            log.critical("giving up: %s", reason)
            self._failed = True
            self._stop_all()

    # Workers -----------------------------------------------------------------------------------------------------

    async def _start(self, slot: Slot) -> Worker | None:
        """A new worker for `slot`; None if it cannot be, or we are to stop."""
        async with self._starting:
            if self._stop.is_set():
                return None
            try:
                worker = await Worker.start(self._command, self._sockets, slot.index, self._generation)
            except OSError as error:
                log.error("worker %d cannot be started: %s", slot.index, error)
                return None
        self._living.add(worker)
        self._nursery.start_soon(self._tend, slot, worker)
        if self._stop.is_set() or worker.generation != self._generation:
            worker.retire()
        return worker

    async def _tend(self, slot: Slot, worker: Worker) -> None:
        def ready() -> None:
            log.info("%s is ready", worker)
            if not self._ever_ready.is_set():
                self._ever_ready.set()
                self._announce()

        await worker.listen(ready, self._changes.watch)
        self._living.discard(worker)
        if worker.retired and not worker.clean:
            log.error("%s was told to stop, and ended %s", worker, worker.fate)
            if self._stop.is_set():
                self._failed = True
        slot.left_by(worker)

    async def _keep(self, slot: Slot) -> None:
        """Keep a worker in `slot` until told to stop."""
        if slot is not self._slots[0]:
            await first_of(self._ever_ready, self._stop)
        while not self._stop.is_set():
            slot.vacant = trio.Event()
            slot.worker = await self._start(slot)
            if slot.worker is not None:
                await slot.vacant.wait()
            if slot.worker is None or not slot.worker.retired:
                await self._mourn(slot, slot.worker)

    async def _mourn(self, slot: Slot, worker: Worker | None) -> None:
        """Find out what follows from the end of a worker that nobody told to stop; return when there may be another."""
        if await self._within(GROUP_SECONDS):
            return
        if worker is not None and worker.clean and worker.ready.is_set():
            log.info("%s has ended by itself, as with --max-requests; replacing it", worker)
            return
        name, fate = (f"worker {slot.index}", "at its start") if worker is None else (str(worker), worker.fate)
        if self._reload:
            log.error("%s ended %s; waiting for a change", name, fate)
            while not self._stop.is_set() and worker is not None and worker.generation == self._generation:
                await first_of(self._reloaded, self._stop)
            return
        quick = worker is None or not worker.ready.is_set() or worker.lifetime < QUICK_SECONDS
        slot.deaths = slot.deaths + 1 if quick else 1
        if not self._ever_ready.is_set():
            self._give_up(f"{name} ended {fate} before it was ready")
        elif slot.deaths >= QUICK_DEATHS:
            self._give_up(f"worker {slot.index} died {slot.deaths} times in a row, the last time {fate}")
        else:
            pause = BACKOFF_SECONDS * 2 ** (slot.deaths - 1)
            log.error("%s died %s; replacing it in %g s", name, fate, pause)
            await self._within(pause)

    async def _within(self, seconds: float) -> bool:
        """Whether we are told to stop within `seconds`."""
        with trio.move_on_after(seconds):
            await self._stop.wait()
        return self._stop.is_set()

    # SIGHUP ------------------------------------------------------------------------------------------------------

    async def _obey_hangups(self) -> None:
        with trio.open_signal_receiver(signal.SIGHUP) as received:
            async for _ in received:
                log.info("SIGHUP: replacing the workers, one by one")
                _notify.reloading()
                for slot in self._slots:
                    if not await self._replace(slot):
                        break
                if not self._stop.is_set():
                    _notify.ready()

    async def _pass_on(self, number: signal.Signals, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(number) as received:
            task_status.started()
            async for _ in received:
                for worker in self._living:
                    worker.pass_on(number)

    async def _replace(self, slot: Slot) -> bool:
        """Put a new worker into `slot`; the old one stops when the new one is ready. Whether to go on to the next."""
        old = slot.worker
        if old is None or old.gone.is_set():
            return True  # it is being replaced as it is
        new = slot.successor = await self._start(slot)
        if new is not None:
            await first_of(new.ready, new.gone, self._stop)
        slot.successor = None
        if self._stop.is_set():
            return False
        if new is None or not new.ready.is_set() or new.gone.is_set():
            fate = "" if new is None else f": the new one ended {new.fate} before it was ready"
            log.error("SIGHUP: %s was not replaced, nor are those after it%s", old, fate)
            return False
        slot.worker = new
        old.retire()
        await first_of(old.gone, self._stop)
        return True

    # Reload ------------------------------------------------------------------------------------------------------

    def _changed(self, files: list[str]) -> None:
        if self._stop.is_set():
            return
        log.info("changed: %s; reloading", ", ".join(files[:3]))
        self._generation += 1
        self._reloaded.set()
        self._reloaded = trio.Event()
        for worker in self._living:
            worker.retire()


async def first_of(*events: trio.Event) -> None:
    """Return when one of `events` is set."""
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(_cancel_after, event, nursery.cancel_scope)


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
