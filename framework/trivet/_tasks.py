"""Tasks that outlive the request that started them: `app.tasks`.

This file owns their supervision: a task that fails is logged and takes nothing else with it, and at shutdown all of
them are waited for, then cancelled. A request's own children belong into a nursery (ask for `trio.Nursery`).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVarTuple
from weakref import WeakSet

import trio

from ._ported import explain_loop

Ts = TypeVarTuple("Ts")

log = logging.getLogger("trivet")

NURSERIES: Final[WeakSet[trio.Nursery]] = WeakSet()
"""The nurseries of all running applications, mounted ones too: what runs there may outlive its request."""


class Tasks:
    """The application's background tasks."""

    def __init__(self) -> None:
        self.nursery: trio.Nursery | None = None
        """The nursery they run in, while the application runs."""

    def start_soon(self, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts, name: object = None) -> None:
        """Run `fn(*args)` in the background: it goes on when the request is over.

        An exception is logged. At shutdown the task has `drain_timeout` to end and is then cancelled.

        Args:
            fn: an async function.
            args: its arguments.
            name: what the task is called in logs and task trees; `fn`'s name by default.

        Raises:
            RuntimeError: the application is not running.
            TypeError: `fn` was called already, or cannot be.
        """
        _check(fn)
        if self.nursery is None:
            raise RuntimeError(
                "app.tasks.start_soon() was called while the application is not running.\n"
                "Its nursery opens at startup: the server must run the lifespan protocol "
                "(hypercorn does; in a test, `async with TestClient(app) as client`)."
            )
        self.nursery.start_soon(self._run, fn, args, name=name or getattr(fn, "__qualname__", fn))

    async def _run(self, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        try:
            running: object = fn(*args)
            if not isinstance(running, Awaitable):
                name = _name(fn)
                raise TypeError(
                    f"app.tasks.start_soon() runs async functions, and {name}() returned {type(running).__name__}.\n"
                    f"What blocks belongs in a thread:  app.tasks.start_soon(trio.to_thread.run_sync, {name}, ...)"
                )
            await running
        except (
            Exception,
            SystemExit,
        ) as error:  # an exit() somewhere below must not end the server, nor may it in a handler
            explain_loop(error)
            log.exception("the background task %s failed", getattr(fn, "__qualname__", fn))
        except BaseExceptionGroup as group:
            ours, rest = group.split(Exception)
            if ours is not None:
                log.error("the background task %s failed", getattr(fn, "__qualname__", fn), exc_info=ours)
            if rest is not None:
                raise rest from None

    @asynccontextmanager
    async def running(self, drain_timeout: float) -> AsyncGenerator[None]:
        """Keep the nursery open for the body; after it, wait `drain_timeout` seconds for the tasks, then cancel them.

        Cancellation, and an exception of the body: the tasks are cancelled at once.
        """
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                NURSERIES.add(nursery)
                yield
                nursery.cancel_scope.deadline = trio.current_time() + drain_timeout
        finally:
            self.nursery = None


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
