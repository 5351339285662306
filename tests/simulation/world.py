"""One run: a server, its clients, perhaps a drain. This file owns what must hold after it, whatever has happened."""

from __future__ import annotations

import gc
import hashlib
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

import trio
import trio.testing
from hypercorn.config import Config, Sockets
from trio._core import _run as scheduler

from tests.simulation.client import Client, plan
from tests.simulation.kernel import Link, Listener, MemoryPoller, MemorySocket, MemoryStream, Network, Peer
from tests.simulation.site import Ledger, Planned, bare, make_app
from trivet.errors import HTTPError
from trivet.server import _serve, serve
from trivet.server._http1_service import HTTP1Service
from trivet.server._limits import Limits
from trivet.server._transport import StreamTransport

SETTLE = 600.0
"""Virtual seconds after the last client has left, in which all of it must be over: more than all timeouts in a row."""

TOLD = 5.0
"""Virtual seconds in which a handler that reads must learn that nothing more will come; shorter than any timeout."""

DRAIN, GRACE = 10.0, 5.0


class Ordered(dict[Any, None]):
    """A set that is walked in the order of its making: an order by address would differ from run to run."""

    def add(self, item: Any) -> None:
        self[item] = None

    def discard(self, item: Any) -> None:
        self.pop(item, None)


@dataclass
class Run:
    """What came of a seed."""

    seed: int
    trace: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    digest: str = ""

    def digested(self) -> str:
        return hashlib.sha256("\n".join(self.trace + self.faults).encode()).hexdigest()[:16]

    def note(self, who: str, what: str) -> None:
        self.trace.append(f"{trio.current_time():10.3f}  {who:6}  {what}")


class _Log(logging.Handler):
    """Collects what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _logged() -> Iterator[list[logging.LogRecord]]:
    log, handler = logging.getLogger("trivet"), _Log()
    before = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield handler.records
    finally:
        log.propagate = before
        log.removeHandler(handler)


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Trio orders what it runs in one tick by the seed, and nothing is collected at a moment of its own."""
    before, state, collects = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, scheduler._r.getstate(), gc.isenabled()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)
    gc.disable()
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        scheduler._r.setstate(state)
        if collects:
            gc.enable()


def simulate(seed: int) -> Run:
    """Run a seed. Raises nothing of what the server does wrong: that is among the faults."""
    run = Run(seed)
    with _deterministic(seed), _logged() as records:
        try:
            trio.run(_World(run, records).run, clock=trio.testing.MockClock(autojump_threshold=0))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            run.faults.append("it ended with\n" + "".join(traceback.format_exception(error)))
    run.digest = run.digested()
    return run


class _World:
    def __init__(self, run: Run, records: list[logging.LogRecord]) -> None:
        self.result = run
        self.records = records
        self.random = random = Random(run.seed)
        self.network = Network(Random(f"{run.seed}.network"), run.note)
        self.ledger = Ledger(run.note)
        self.limits = Limits(
            requests=random.choice((None, None, None, 3)),
            connections=random.choice((None, None, None, 2)),
            read_ahead=random.choice((65_536, 65_536, 1000)),
        )
        self.access = random.random() < 0.2
        self.barely = random.random() < 0.25
        self.drain_at = random.uniform(0, 12) if random.random() < 0.3 else None
        self.hurry_after = random.uniform(0, 8) if random.random() < 0.4 else None
        self.plans = [plan(run.seed, number, barely=self.barely) for number in range(random.randint(1, 5))]
        self.clients = [Client(plan, run.note) for plan in self.plans]
        self.services: list[HTTP1Service] = []
        self.pollers: list[MemoryPoller] = []
        self.ended_at = -1.0

    # The run -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        app = make_app(self.ledger)
        config = Config()
        config.accesslog = self._access_log() if self.access else None
        self.listener = Listener(self.network)
        stop, hurry = trio.Event(), trio.Event()
        sockets = Sockets([], [self.listener], [])  # type: ignore[list-item]
        with patch.object(_serve, "Poller", self._poller), patch.object(_serve, "HTTP1Service", self._service):
            async with trio.open_nursery() as nursery:

                async def server(task_status: Any) -> None:
                    await serve(
                        bare(self.ledger, app) if self.barely else app, config, shutdown_trigger=stop.wait,
                        hurry_trigger=hurry.wait, drain_timeout=DRAIN, cleanup_grace=GRACE, limits=self.limits,
                        sockets=sockets, task_status=task_status,
                    )  # fmt: skip
                    self.ended_at = trio.current_time()

                await nursery.start(server)
                async with trio.open_nursery() as clients:
                    for number in range(len(self.plans)):
                        clients.start_soon(self._client, number)
                    if self.drain_at is not None:
                        clients.start_soon(self._drain, stop, hurry)
                if self.drain_at is None:
                    await self._settle()
                    self._check_quiet("after all clients have left")
                    self.result.note("world", "stop")
                    stop.set()
                with trio.move_on_after(SETTLE) as waiting:
                    while self.ended_at < 0:  # noqa: ASYNC110
                        await trio.sleep(0.5)
                if waiting.cancelled_caught:
                    self.result.faults.append("the server does not stop")
                    nursery.cancel_scope.cancel()
        self._check_end()

    def _access_log(self) -> logging.Logger:
        log = logging.Logger("simulated access")
        log.addHandler(logging.NullHandler())
        return log

    def _poller(self) -> MemoryPoller:
        self.pollers.append(MemoryPoller(self.network))
        return self.pollers[-1]

    def _service(self, *args: Any) -> HTTP1Service:
        service = HTTP1Service(*args)
        service._server.connections = Ordered()  # type: ignore[assignment]
        self.services.append(service)
        return service

    async def _drain(self, stop: trio.Event, hurry: trio.Event) -> None:
        assert self.drain_at is not None
        await trio.sleep(self.drain_at)
        self.result.note("world", "drain")
        stop.set()
        if self.hurry_after is not None:
            await trio.sleep(self.hurry_after)
            self.result.note("world", "hurry")
            hurry.set()

    async def _client(self, number: int) -> None:
        client, planned = self.clients[number], self.plans[number]
        await trio.sleep(planned.start)
        service = self.services[0]
        if service.draining_now or self.listener.fileno() == -1:
            return
        link = Link(self.network, planned.name, planned.room)
        about = f"{planned.manner}{' stalling' * planned.stalls}{' pipelined' * planned.pipelined}"
        self.result.note(planned.name, f"client: connects, {planned.way}, {about}, {len(planned.asked)} requests")
        for asked in planned.asked:
            self.result.note(planned.name, f"client: plans {asked.method} {asked.path}, {len(asked.wire)} bytes")
        if planned.way == "socket":
            self.listener.backlog.append((link, 5000 + number))
            self.network.changed()
        else:
            with trio.move_on_after(60):
                await service.entrance.room()
            if service.draining_now or self.ended_at >= 0 or self.listener.fileno() == -1:
                link.reset_by_server()
                return
            stream = MemoryStream(MemorySocket(link, 5000 + number))
            address = ("127.0.0.1", 5000 + number)
            transport = StreamTransport(stream, tls=False, client=address, local=("127.0.0.1", 80))
            service.nursery.start_soon(service.serve_transport, transport)
        await client.run(Peer(link))
        client.link = link

    async def _settle(self) -> None:
        with trio.move_on_after(SETTLE):
            while self._busy():  # noqa: ASYNC110 - nothing of the server's would tell
                await trio.sleep(0.25)

    def _busy(self) -> bool:
        service = self.services[0]
        # A listener that has met EMFILE is heard again at the next sweep; somebody may be in its backlog then.
        waiting = bool(self.listener.backlog) or not service.entrance.listening
        held = bool(service._server.connections) or bool(service.nursery.child_tasks) or service.crew.busy > 0
        return waiting or held or len(self.network.open) > 1

    # What must hold ----------------------------------------------------------------------------------------------

    def _check_quiet(self, when: str) -> None:
        service, fault = self.services[0], self.result.faults.append
        poller = self.pollers[0]
        if service._server.connections:
            fault(f"{when}: {len(service._server.connections)} connections are held")
        if service.crew.busy:
            fault(f"{when}: {service.crew.busy} of the crew are busy")
        for task in service.nursery.child_tasks:
            fault(f"{when}: a task is alive: {task.name}, {_where(task)}")
        for sock in self.network.open.values():
            if isinstance(sock, MemorySocket):
                fault(f"{when}: the socket of {sock.link.name} is open")
        if poller._readers or (set(poller.memory.masks) - set(poller._listeners)):
            fault(f"{when}: the poller knows {sorted(poller.memory.masks)}, {sorted(poller._readers)}")
        if self.drain_at is None and not service.entrance.listening:
            fault(f"{when}: the server does not listen")
        if service.parser._fields.headers and len(service.parser._fields.headers) > 200:
            fault(f"{when}: the parser has kept fields")
        self._check_ledger(when)

    def _check_ledger(self, when: str) -> None:
        ledger, fault = self.ledger, self.result.faults.append
        if ledger.live:
            fault(f"{when}: {ledger.live} handlers live")
        if ledger.opened != ledger.closed or ledger.twice:
            fault(f"{when}: {ledger.opened} opened, {ledger.closed} closed, {ledger.twice} of them twice")

    def _check_end(self) -> None:
        fault, drained = self.result.faults.append, self.drain_at is not None
        if self.services and self.drain_at is not None:
            self._check_quiet("after the drain")
            if self.ended_at > self.drain_at + DRAIN + GRACE + 3:
                fault(f"the drain took {self.ended_at - self.drain_at:g} s")
        self._check_ledger("at the end")
        if self.network.open:
            fault(f"descriptors are open at the end: {sorted(self.network.open)}")
        for client in self.clients:
            for text in client.faults(drained=drained, requests=self.limits.requests):
                fault(f"{client.plan.name} ({client.plan.manner}, {client.plan.way}): {text}")
            self._check_bodies(client)
            self.result.statuses += [answer.status for answer in client.answers.found]
            for answer in client.answers.found:
                self.result.note(client.plan.name, f"client: got {answer.status}, {len(answer.body)} bytes")
        self._check_log()

    def _check_bodies(self, client: Client) -> None:
        """A handler has read what was sent, no more and nothing else; whole only if it was sent whole."""
        planned, fault = client.plan, self.result.faults.append
        begin = 0
        trusted = len(planned.asked) if planned.corrupted is None else planned.corrupted
        for asked in planned.asked[:trusted]:
            began, over = self.ledger.reading.get(asked.name, (0.0, 0.0))
            if client.end_seen is not None and over - max(began, client.end_seen) > TOLD:
                fault(f"{asked.name}: reads for {over - client.end_seen:g} s more when the end of the input has come")
            begin += len(asked.wire)
            came = self.ledger.received.get(asked.name, b"")
            if not asked.body.startswith(came):
                fault(f"{asked.name}: the handler has read something else than was sent")
            if asked.name in self.ledger.whole and (len(came) < len(asked.body) or client.sent < begin):
                fault(f"{asked.name}: the handler took {len(came)} of {len(asked.body)} bytes for the whole body")
            if self.ledger.begun[asked.name] > 1:
                fault(f"{asked.name}: was run {self.ledger.begun[asked.name]} times")

    def _check_log(self) -> None:
        failures, refusals = self.ledger.failures, len(self.network.refusals)
        for record in self.records:
            error = record.exc_info[1] if record.exc_info else None
            if isinstance(error, Planned):
                failures -= 1
            elif isinstance(error, HTTPError) and error.status in (408, 499, 503):
                continue  # a stream that reads a body which does not come
            elif self.drain_at is not None and "503 The server is stopping." in record.getMessage():
                continue
            elif record.getMessage().startswith("cannot accept a connection"):
                refusals -= 1
            else:
                text = "" if error is None else "".join(traceback.format_exception(error))
                self.result.faults.append(f"logged: {record.getMessage()}\n{text}")
        if failures or refusals:
            self.result.faults.append(f"{failures} failures and {refusals} refusals were not logged, or too often")


def _where(task: trio.lowlevel.Task) -> str:
    frames = [f"{frame.f_code.co_name}:{line}" for frame, line in task.iter_await_frames()]
    return " > ".join(frames)
