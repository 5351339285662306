"""The services of a running application: started, watched, started again, and stopped.

This file owns what happens to one in which state. When it is started again `_restart` decides; which part of a run can
be cancelled, and what its dependencies see of that, `_scope` does: a run is to it a request without a deadline, which
ends by itself or is told that the server drains.

Each service is one task, in a nursery of its own, so that none takes another with it. It passes through

    starting -> running -> (ended) -> backing-off -> starting ...
                                   -> stopped, failed
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final, NamedTuple

import trio

from ._answer import report
from ._patience import Patience
from ._ported import explain_loop
from ._repeats import Repeats, in_one_line, with_its_root
from ._resolve import invoke, provide
from ._restart import Row
from ._scope import RequestScope, cancelled_from_outside, leaves
from ._service import KeepsReturning, Service, StartupFailed, never_started
from ._service_plan import ServicePlan
from ._service_registration import RegisteredService, same_name
from .asgi import Notice
from .errors import RequestCancelled

log = logging.getLogger("trivet.services")


class Surroundings(NamedTuple):
    """What the application gives to all of its services."""

    cleanup_grace: float
    limiter: trio.CapacityLimiter
    """Of the threads that plain functions run in."""
    give_up: Callable[[str, BaseException], object]
    """Stops the server; is told the name of the service, and what it failed with."""
    draining: Notice
    """Set when the application stops."""
    chance: Callable[[], float]
    """Gives a number from 0 to 1."""


class Services:
    """The services of one application."""

    def __init__(self) -> None:
        self.random = Random()
        """Draws the pauses between restarts."""
        self._all: list[Supervised] = []

    def add(self, service: RegisteredService, plan: ServicePlan) -> Supervised:
        """Take a service; it is started after those taken before it.

        Raises:
            RegistrationError: there is one of its name.
        """
        for each in self._all:
            if each.registered.name == service.name:
                raise same_name(service, each.registered)
        supervised = Supervised(service, plan)
        self._all.append(supervised)
        return supervised

    @property
    def shown(self) -> tuple[Service, ...]:
        """Each as it is to be seen from outside."""
        return tuple(each.shown for each in self._all)

    @asynccontextmanager
    async def running(
        self,
        cleanup_grace: float,
        limiter: trio.CapacityLimiter,
        patience: Patience,
        give_up: Callable[[], object],
        draining: Notice,
    ) -> AsyncGenerator[Exception | None]:
        """Start all, one after the other; after the body, stop all in reverse.

        Yields what one of them failed with before it was started, after which no other was, or what one failed with for
        good before all were. Not raised, for the nurseries around would wrap it in groups; the application is not to
        serve then.

        Cancellation, and an exception of the body: they are cancelled at once, all together.
        """
        if not all(each.is_over for each in self._all):
            yield RuntimeError(_TWICE)
            return
        starting, started = trio.CancelScope(), False
        failure: Exception | None = None

        def gave_up(name: str, error: BaseException) -> None:
            nonlocal failure
            if started:
                give_up()
            elif failure is None:
                # The server waits for the startup, and would not run the shutdown if it were told to stop now.
                failure = StartupFailed(f"the service {name} gave up before the application had started")
                failure.__cause__ = error
                starting.cancel()

        around = Surroundings(cleanup_grace, limiter, gave_up, draining, self.random.random)
        async with trio.open_nursery() as nursery:
            try:
                with starting:
                    for each in self._all:
                        await nursery.start(each.run, around, name=f"service {each.shown.name}")
            except Exception as error:  # noqa: BLE001 - it is yielded
                failure = failure or error
            started = True
            yield failure
            for each in reversed(self._all):
                await each.stop(cleanup_grace, patience)


class Supervised:
    """One service, with its options, its plan and its task.

    Args:
        registered: what was registered.
        plan: what it takes; another one counts from the next run on.
    """

    def __init__(self, registered: RegisteredService, plan: ServicePlan) -> None:
        self.registered = registered
        self.plan = plan
        self.shown = Service(registered.name)
        self._stopping = False
        self._over = trio.Event()
        self._over.set()
        self._run: _Run | None = None
        self._pause: trio.CancelScope = trio.CancelScope()

    @property
    def is_over(self) -> bool:
        """It has no task."""
        return self._over.is_set()

    async def run(self, around: Surroundings, *, task_status: trio.TaskStatus[None]) -> None:
        """Run it until it has ended for good; `task_status`: of its first start.

        Raises:
            Exception: it failed before it was started for the first time.

        Cancellation: that of a run from further out; there is no other after it.
        """
        shown, row, told = self.shown, Row(self.registered.restart, around.chance), Repeats()
        self._stopping, self._over, shown.restarts = False, trio.Event(), 0
        try:
            first = _Run(self, around, task_status)
            error = await self._once(first)
            if not first.has_started:
                shown.enter("failed")
                raise error if isinstance(error, Exception) else StartupFailed(never_started(shown.name)) from error
            run = first
            while not self._stopping:
                # Told that the application stops, one may well return; to start it again would only tell it again.
                told_to = error is None and around.draining.is_set()
                pause = "stopped" if told_to else row.after(run.ran, failed=error is not None)
                if isinstance(pause, str):
                    self._ended(pause, error, around)
                    return
                if row.begins:
                    told.forget()
                if not await self._back_off(pause, error, told):
                    return
                shown.restarts += 1
                run = _Run(self, around, trio.TASK_STATUS_IGNORED)
                error = await self._once(run)
            if error is not None:
                log.error("the service %s failed while it was stopped", shown.name, exc_info=error)
        finally:
            if shown.state != "failed":
                shown.enter("stopped")
            self._over.set()

    async def _once(self, run: _Run) -> BaseException | None:
        """Run it once; returns its failure, if it is one that is to be supervised."""
        self.shown.enter("starting")
        self._run = run
        try:
            error = await run.go()
        finally:
            self._run = None
        if error is None:
            return None
        if any(isinstance(each, KeyboardInterrupt) for each in leaves(error)):
            raise error
        # A `Cancelled` that was kept and raised again is a failure: no scope would catch it, and all would end with it.
        if cancelled_from_outside(error) and trio.current_effective_deadline() == -math.inf:
            raise error
        if run.scope.reason == "drained" and all(isinstance(each, RequestCancelled) for each in leaves(error)):
            return None
        explain_loop(error)
        self.shown.error = in_one_line(error)
        return error

    def _ended(self, state: Any, error: BaseException | None, around: Surroundings) -> None:
        if state == "failed" and error is None:
            error = KeepsReturning(self.shown.name, self.registered.restart.max_restarts)
            self.shown.error = in_one_line(error)
        self.shown.enter(state)
        if error is None:
            log.info("the service %s has returned", self.shown.name)
            return
        log.critical(
            "the service %s gave up (restarts: %d), and the application with it",
            self.shown.name,
            self.shown.restarts,
            exc_info=error,
        )
        around.give_up(self.shown.name, error)

    async def _back_off(self, seconds: float, error: BaseException | None, told: Repeats) -> bool:
        """Wait; returns whether it is to be started again. `told`: what the log knows of this row."""
        self.shown.enter("backing-off")
        if error is None:
            log.info("the service %s has returned; it is started again in %.2f s", self.shown.name, seconds)
        elif told.knows(error):
            text = "the service %s failed again; it is started again in %.2f s: %s"
            log.error(text, self.shown.name, seconds, with_its_root(error))
        else:
            log.error("the service %s failed; it is started again in %.2f s", self.shown.name, seconds, exc_info=error)
        with trio.CancelScope() as self._pause:
            await trio.sleep(seconds)
        return not self._stopping

    async def stop(self, cleanup_grace: float, patience: Patience) -> None:
        """Stop it for good, and wait for it; not for ever, for others have to be stopped as well."""
        self._stopping = True
        self._pause.cancel()
        if self._run is not None and self.registered.drain_timeout:
            with patience.within(self.registered.drain_timeout, f"the service {self.shown.name}"):
                await self._over.wait()
        if self._run is not None:
            self._run.scope.cancel("drained")
        grace = cleanup_grace * (1 + len(self.plan.steps))  # each of them has its own
        with trio.move_on_after(grace):
            await self._over.wait()
            return
        log.error("the service %s has not ended %g s after it was cancelled", self.shown.name, grace)


class _Run:
    """A service from one start to its end. It is the `task_status` that the service is given."""

    def __init__(self, service: Supervised, around: Surroundings, task_status: trio.TaskStatus[None]) -> None:
        self.scope = RequestScope(math.inf, around.cleanup_grace, report)
        self.has_started = False
        self._service = service
        self._plan = service.plan
        self._limiter = around.limiter
        self._task_status = task_status
        self._began = trio.current_time()

    def started(self, value: object = None) -> None:
        """See `trio.TaskStatus`; the value is nobody's.

        Raises:
            RuntimeError: it was called already.
        """
        if self.has_started:
            raise RuntimeError("task_status.started() was called twice; a service is started once in each run.")
        self.has_started = True
        self._began = trio.current_time()
        self._service.shown.enter("running")
        self._task_status.started()

    @property
    def ran(self) -> float:
        """Seconds since it was started; 0 if it was not."""
        return trio.current_time() - self._began if self.has_started else 0.0

    async def go(self) -> BaseException | None:
        """Enter what it depends on, call it, leave; returns what it ended with."""
        error: BaseException | None = None
        try:
            await self._call()
        except BaseException as raised:  # noqa: BLE001 - the caller decides which of them goes on
            error = raised
        try:
            return await self.scope.leave(error)
        finally:
            del error  # a traceback's frame that holds its own exception is a cycle

    async def _call(self) -> None:
        plan, scope = self._plan, self.scope
        slots: list[Any] = [None] * plan.size
        for slot, place in plan.shared:
            slots[slot] = place.get()
        for step in plan.steps:
            slots[step.slot] = await provide(step, slots, scope, self._limiter)
        if plan.nursery is not None:
            slots[plan.nursery] = await scope.enter(trio.open_nursery(), name="the nursery", joins=True)
        if plan.status is not None:
            slots[plan.status] = self
        else:
            self.started()
        await invoke(plan.service, slots, scope, self._limiter)


_TWICE: Final = (
    "the application was started while it runs: it is served twice, or mounted in two others of one tree.\n"
    "Its services and its state are there once. Make one application for each place:  def make() -> App: ..."
)
