"""The life of an application: what is started before its first request, and stopped after its last, in which order.

This file owns that order: the user's lifespan, app-scoped dependencies, mounted applications, the disconnect sweep,
services. It is left in reverse, `app.tasks` first, those of mounted applications with them: a task may use what a
service of the other application does, as a request may. It serves no request.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar

import trio

from ._answer import Answerer
from ._drain import Drain
from ._endpoint import Mounted
from ._lifespan import mounted as run_mounted
from ._modes import Mode
from ._override import Overrides
from ._patience import Patience
from ._ported import State
from ._services import Services
from ._shared import NOT_ENTERED, Shared, in_order
from ._tasks import Tasks, together
from ._threads import InThread, in_thread
from ._watch import DisconnectSweep
from .asgi import EXTENSION, LifespanLink, Notice, Scope

T = TypeVar("T")

log = logging.getLogger("trivet")

DRAINS: Final = "trivet.drains"
"""The key in the lifespan scope of a mounted application of a list: it adds what waits for its tasks, below it too."""


class Application(Protocol):
    """What is started of an application: the App itself, seen from below."""

    debug: bool
    cleanup_grace: float
    drain_timeout: float
    draining: Notice
    tasks: Tasks
    state: Mapping[str, Any]
    thread_limiter: trio.CapacityLimiter
    _answerer: Answerer
    _lifespan: Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]] | None
    _sweep: DisconnectSweep
    _drain: Drain
    _supervisor: Services

    @property
    def _mounted(self) -> Sequence[Mounted]: ...

    _overrides: Overrides


@asynccontextmanager
async def life(app: Application, scope: Scope) -> AsyncGenerator[None]:
    """From startup to shutdown. By the time it is left the server has ended all requests.

    Args:
        app: the application.
        scope: of the lifespan.
    """
    stops = trio.Event()
    link = scope.get("extensions", {}).get(EXTENSION)
    app.draining = stops if link is None else link.draining
    patience = Patience()
    below: list[Callable[[], Awaitable[None]]] = []

    async def drain_tasks() -> None:
        stops.set()
        # What was agreed on: the operator's word, or that of the outermost application.
        times = app if link is None else link
        own = partial(app.tasks.drain, times.drain_timeout, times.cleanup_grace, patience.within)
        await together(own, *below)

    scope.get(DRAINS, []).append(drain_tasks)
    if link is not None:
        link.attach(patience.lose)
        app._answerer.debug = app.debug or link.debug
    async with AsyncExitStack() as stack:
        if app._lifespan is not None:
            lifespan = _InGrace(app._lifespan(app), "the application's lifespan", app.cleanup_grace)
            _keep_state(app, await stack.enter_async_context(lifespan), scope)
        for place in in_order(stack.enter_context(app._overrides.running())):
            await stack.enter_async_context(_entered(place, app.cleanup_grace, app.thread_limiter))
        inner, states = {**scope, DRAINS: below}, dict[int, Mapping[str, Any]]()
        for each in app._mounted:
            key = id(each.app)
            if key not in states:  # what is mounted in two places lives once
                states[key] = await stack.enter_async_context(run_mounted(each.app, inner, each.prefix))
            each.state = dict(states[key])
        if link is not None:  # after those of mounted applications: the outermost decides
            link.drain_timeout = app.drain_timeout
            link.cleanup_grace = app.cleanup_grace
        services = app._supervisor
        try:
            async with (
                app._sweep.sweeping(),
                app._drain.awaited(app.draining),
                app.tasks.opened(),
                services.running(
                    app.cleanup_grace, app.thread_limiter, patience, _giving_up(link), app.draining
                ) as failure,
            ):
                if failure is None:
                    yield
                await drain_tasks()
            if failure is not None:
                raise failure
        finally:
            app.state = State()
            for each in app._mounted:
                each.state = None


def _giving_up(link: LifespanLink | None) -> Callable[[], object]:
    """What a service that gives up does to the server: one that does not know trivet cannot be stopped from inside."""
    return (lambda: None) if link is None else link.abort


class _InGrace(AbstractAsyncContextManager[T, None]):
    """What is left in its grace if all is cancelled by then: a server is told to stop before it has started, say, and
    what was entered must be given back all the same. It may replace an error, as a request's dependency may, but not
    swallow it: nobody could say why the application did not start."""

    def __init__(self, manager: AbstractAsyncContextManager[T, bool | None], name: str, grace: float) -> None:
        self._manager = manager
        self._name = name
        self._grace = grace

    async def __aenter__(self) -> T:
        return await self._manager.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if trio.current_effective_deadline() > -math.inf:
            await self._manager.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - it has as long as the server waits
            return
        with trio.move_on_after(self._grace, shield=True):
            await self._manager.__aexit__(kind, error, traceback)
            return
        log.error("%s was not left within cleanup_grace = %g s", self._name, self._grace)


@asynccontextmanager
async def _entered(place: Shared, grace: float, limiter: trio.CapacityLimiter) -> AsyncGenerator[None]:
    """An app-scoped dependency, while it has its value."""
    call = place.call
    positional, keyword = call.bind([each.value for each in place.needs])
    fn = partial(call.fn, *positional, **keyword)
    name = f"the dependency {call.where}"
    async with AsyncExitStack() as stack:
        if call.mode is Mode.ASYNC_CONTEXT:
            place.value = await stack.enter_async_context(_InGrace(fn(), name, grace))
        elif call.mode is Mode.CONTEXT:
            place.value = await stack.enter_async_context(_InGrace(InThread(fn(), limiter), name, grace))
        elif call.mode is Mode.ASYNC:
            place.value = await fn()
        else:
            place.value = fn() if call.mode is Mode.INLINE else await in_thread(fn, limiter)
        try:
            yield
        finally:
            place.value = NOT_ENTERED


def _keep_state(app: Application, state: Mapping[str, Any] | None, scope: Scope) -> None:
    if state is None:
        return
    if not isinstance(state, Mapping):
        raise TypeError(
            f"the lifespan yielded {type(state).__name__}: it yields a mapping, which becomes request.state, "
            'or nothing.\nWrite  yield {"db": db}'
        )
    if "state" in scope:
        scope["state"].update(state)
    app.state = State(state)
