"""Tasks that outlive the request that started them: `app.tasks`.

This file owns their supervision: a task that fails is logged and takes nothing else with it, how each has ended is
counted, and at shutdown all of them are waited for, then cancelled. A request's own children belong into a nursery (ask
for `trio.Nursery`); what runs as long as the application is a service.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVarTuple, final
from weakref import WeakSet

import trio

from ._ported import explain_loop
from ._source import name_of

Ts = TypeVarTuple("Ts")

log = logging.getLogger("trivet")

NAMED: Final = 5
"""How many the log names of those that are waited for."""

NURSERIES: Final[WeakSet[trio.Nursery]] = WeakSet()
"""The nurseries of all running applications, mounted ones too: what runs there may outlive its request."""


@final
class BackgroundTask:
    """A task of `app.tasks` that runs, as `Tasks.current` shows it. Read only."""

    __slots__ = ("cut", "name", "scope", "since")

    def __init__(self, name: str, timeout: float | None) -> None:
        self.name = name
        """As given, or its function's."""
        self.since = trio.current_time()
        """When it was started, on Trio's clock."""
        self.scope = trio.CancelScope(deadline=math.inf if timeout is None else self.since + timeout)
        """What it runs in; to cancel it is to stop the task."""
        self.cut = False  # by the shutdown, and not by its deadline before that

    def __repr__(self) -> str:
        return f"<background task {self.name}>"

    @property
    def deadline(self) -> float:
        """When it is stopped, on Trio's clock; infinite without a `timeout`."""
        return self.scope.deadline


class Tasks:
    """The application's background tasks, and how many of them have ended how since the application was made."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery | None = None
        """The nursery they run in, while the application runs."""
        self.completed = 0
        """How many have returned, however late."""
        self.failed = 0
        """How many have raised."""
        self.timed_out = 0
        """How many were stopped by their `timeout`."""
        self.cancelled = 0
        """How many were stopped by the shutdown, or by whoever cancelled their scope."""
        self._current: dict[BackgroundTask, None] = {}
        self._drained = False
        self._quiet: trio.Event | None = None  # somebody waits for the last of them

    def __repr__(self) -> str:
        return f"<background tasks: {self.running} running, {self.failed} failed>"

    @property
    def running(self) -> int:
        """How many there are now."""
        return len(self._current)

    @property
    def current(self) -> tuple[BackgroundTask, ...]:
        """Those that there are now, the oldest first."""
        return tuple(self._current)

    def start_soon(
        self,
        fn: Callable[[*Ts], Awaitable[object]],
        *args: *Ts,
        timeout: float | None = None,
        name: object = None,
    ) -> None:
        """Run `fn(*args)` in the background: it goes on when the request is over.

        An exception is logged. At shutdown the task has `drain_timeout` to end and is then cancelled.

        Args:
            fn: an async function.
            args: its arguments.
            timeout: seconds after which it is cancelled, which counts and is logged as a failure; `None`: no bound.
                The deadline of the request that starts it does not apply to it.
            name: what the task is called in logs and task trees; `fn`'s name by default.

        Raises:
            RuntimeError: the application is not running.
            TypeError: `fn` was called already, or cannot be.
            ValueError: `timeout` is no number of seconds above 0.
        """
        _check(fn)
        if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0  # pyright: ignore[reportUnnecessaryIsInstance]
        ):
            raise ValueError(
                f"app.tasks.start_soon() was given timeout={timeout!r}, which no task could meet.\n"
                "Write the seconds that it may take, timeout=30, or leave it out for no bound."
            )
        if self.nursery is None:
            raise RuntimeError(_DRAINED if self._drained else _NOT_RUNNING)
        task = BackgroundTask(name if isinstance(name, str) else name_of(name if callable(name) else fn), timeout)
        self._current[task] = None
        self.nursery.start_soon(self._run, task, fn, args, timeout, name=task.name)

    async def _run(
        self,
        task: BackgroundTask,
        fn: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        timeout: float | None,
    ) -> None:
        failures: list[BaseException] = []
        returned = False
        try:
            with task.scope:
                await supervised(fn, args, failures.append)
                returned = True
        except BaseException:  # the application is cancelled
            task.cut = True
            raise
        finally:
            del self._current[task]
            self._ended(task, failures, timeout, returned)
            if self._quiet is not None and not self._current:
                self._quiet.set()

    def _ended(
        self, task: BackgroundTask, failures: list[BaseException], timeout: float | None, returned: bool
    ) -> None:
        if failures:
            self.failed += 1
            log.error("the background task %s failed", task.name, exc_info=failures[0])
        elif returned:
            self.completed += 1
        elif timeout is None or task.cut or trio.current_time() < task.deadline:
            self.cancelled += 1
        else:
            self.timed_out += 1
            log.error("the background task %s was stopped: it took longer than timeout = %g s", task.name, timeout)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Let tasks be started within the body; those that are left at its end are cancelled.

        Cancellation, and an exception of the body: the tasks are cancelled at once.
        """
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                NURSERIES.add(nursery)
                yield
                nursery.cancel_scope.cancel()
        finally:
            self.nursery, self._drained = None, False

    async def drain(
        self, drain_timeout: float, cleanup_grace: float, within: Callable[[float, str], trio.CancelScope]
    ) -> None:
        """Wait for the tasks, then cancel those that are left, and wait for them; none can start after it.

        The second time, or before they can be started, it does nothing: those of a mounted application are waited for
        with the outer one's, and it shuts down later.

        Args:
            drain_timeout: seconds that they have to end by themselves.
            within: makes the scope of that wait, which may be skipped; it is told for whom.
            cleanup_grace: seconds that they have once they are cancelled. One that goes on, in a thread say, must not
                keep services from being stopped; `opened` waits for it.

        Cancellation: it stops waiting.
        """
        if self.nursery is None:
            return
        began = trio.current_time()
        if self._current:
            names = ", ".join(each.name for each in self.current[:NAMED])
            more = f" and {len(self._current) - NAMED} more" if len(self._current) > NAMED else ""
            with within(drain_timeout, f"background tasks: {names}{more}"):
                await self._until_quiet()
        self._drained, self.nursery = True, None
        left = self.current
        if left:
            names = ", ".join(each.name for each in left)
            waited = trio.current_time() - began
            after = f"drain_timeout = {drain_timeout:g} s" if waited >= drain_timeout else f"{waited:.1f} s, to hurry"
            log.warning("cancelling %d background tasks after %s: %s", len(left), after, names)
        for task in left:
            if not task.scope.cancel_called:
                task.cut = True
                task.scope.cancel(reason="the application stops")
        with trio.move_on_after(cleanup_grace):
            await self._until_quiet()
            return
        names = ", ".join(each.name for each in self.current)
        log.error("background tasks have not ended %g s after they were cancelled: %s", cleanup_grace, names)

    async def _until_quiet(self) -> None:
        while self._current:
            self._quiet = trio.Event()
            await self._quiet.wait()


async def together(*waits: Callable[[], Awaitable[None]]) -> None:
    """Wait for the tasks of several applications at once: none has to wait for the time of another."""
    async with trio.open_nursery() as nursery:
        for each in waits:
            nursery.start_soon(each)


async def supervised(
    fn: Callable[..., Awaitable[object]], args: tuple[object, ...], failed: Callable[[BaseException], object]
) -> None:
    """Await `fn(*args)`, whose failure is given to `failed` and goes no further.

    Whatever it raises is one, an exit() somewhere below too: it must not end the server, nor may it in a handler. Only
    a cancellation and Ctrl-C are raised.
    """
    try:
        running: object = fn(*args)
        if not isinstance(running, Awaitable):
            name = _name(fn)
            raise TypeError(
                f"app.tasks.start_soon() runs async functions, and {name}() returned {type(running).__name__}.\n"
                f"What blocks belongs in a thread:  app.tasks.start_soon(trio.to_thread.run_sync, {name}, ...)"
            )
        await running
    except BaseExceptionGroup as group:
        rest, ours = group.split(_passing())
        if ours is not None:
            explain_loop(ours)
            failed(ours)
        if rest is not None:
            raise rest from None
    except BaseException as error:
        if isinstance(error, _passing()):
            raise
        explain_loop(error)
        failed(error)


def _passing() -> tuple[type[BaseException], ...]:
    """What goes through. A `Cancelled` that was kept and raised again belongs to no scope: it would end all tasks."""
    if trio.current_effective_deadline() == -math.inf:
        return (KeyboardInterrupt, trio.Cancelled)
    return (KeyboardInterrupt,)


def _check(fn: object) -> None:
    """Refuse a call in the place of a function, as Trio's nurseries do: in the task it would fail far from here."""
    if inspect.iscoroutine(fn):
        name = fn.__name__
        fn.close()  # else Python warns that it was never awaited, which the message says better
        raise TypeError(
            f"app.tasks.start_soon() was given what calling {name}() returned, a coroutine, instead of the function.\n"
            f"Write  app.tasks.start_soon({name}, ...);  its arguments follow it"
        )
    if not callable(fn):
        raise TypeError(
            f"app.tasks.start_soon() was given {type(fn).__name__}, which cannot be called.\n"
            "Write  app.tasks.start_soon(fn, ...);  the function's arguments follow it"
        )


def _name(fn: object) -> str:
    return str(getattr(fn, "__qualname__", type(fn).__name__)).rpartition(".")[2]


_NOT_RUNNING: Final = (
    "app.tasks.start_soon() was called while the application is not running.\n"
    "Its nursery opens at startup: the server must run the lifespan protocol "
    "(hypercorn does; in a test, `async with TestClient(app) as client`)."
)
_DRAINED: Final = (
    "app.tasks.start_soon() was called when the tasks had been waited for: the application stops.\n"
    "What a service or a dependency has to do last, let it do itself:  await fn(...)"
)
