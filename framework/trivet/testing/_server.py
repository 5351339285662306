"""The in-memory ASGI server: it runs an application's lifespan and calls it once for each request.

This file owns one decision: the life of the server, from startup to a drained end, and what a test is told of
it. Each call of the application is a task of its own in the server's nursery. No exception of the application
ends that nursery: errors are kept until somebody asks, and those that nobody asked for come out at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar, cast

import trio
from trio.testing import MockClock

from trivet._leaving import without
from trivet._threads import EXITS
from trivet.asgi import ASGIApp, Scope

from ._clock import STANDS, HoldClock
from ._connection import Connection
from ._leaks import SERVER_NURSERIES, LeakDetector, Lineage
from ._lifespan import Lifespan
from ._socket_connection import SocketConnection

__all__ = ["MemoryServer"]

T = TypeVar("T")

C = TypeVar("C", Connection, SocketConnection)

AnyConnection: TypeAlias = Connection | SocketConnection


class MemoryServer:
    """One application, served in memory.

    Args:
        app: the application.
        link: whether the server knows trivet.
        raise_app_exceptions: whether what escapes the application is the test's to see.
        drain_timeout: seconds that requests have to end by themselves, and again to clean up.
        check_leaks: whether a task that outlives its request is an error.
    """

    def __init__(
        self, app: ASGIApp, *, link: bool, raise_app_exceptions: bool, drain_timeout: float, check_leaks: bool
    ) -> None:
        self.app = app
        self.linked = link
        self.raise_app_exceptions = raise_app_exceptions
        self.state: dict[str, Any] = {}
        self.draining = trio.Event()
        self._drain_timeout = drain_timeout
        self._check_leaks = check_leaks
        self._lifespan = Lifespan(app, self.state, self.draining, linked=link)
        self._leaks = LeakDetector(self._background)
        self._hold: HoldClock | None = None
        self._stood = False
        # Those whose call is not over; those that are over but hold something the test has not seen.
        self._live: set[AnyConnection] = set()
        self._unreported: list[AnyConnection] = []
        self._changed = trio.lowlevel.ParkingLot()
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None

    # --- the life of the server

    async def __aenter__(self) -> MemoryServer:
        """Start: run the lifespan's startup.

        Raises:
            LifespanFailed: the application could not start.
        """
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        SERVER_NURSERIES.add(self._nursery)
        self._install()
        try:
            self._nursery.start_soon(self._lifespan.run, name="lifespan")
            await self._lifespan.start()
        except BaseException as error:
            self._nursery.cancel_scope.cancel(reason="startup failed")
            with _behind(error):
                await self._close()
            raise
        self._watch_limiters()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain, shut down, and raise what the test has not seen.

        A test that has failed already is not made to wait: its requests are cancelled at once, and what else
        is wrong is added to its error as notes.
        """
        failures: list[Exception] = []
        watch = trio.CancelScope()
        self.nursery.start_soon(self._watch_clock, watch, name="clock")
        with _behind(error):
            try:
                failures = await self._stop(failed=error is not None)
            finally:
                watch.cancel()
                await self._close()
                if self._stood and self._hold is not None:
                    self._hold.stand()
        if self._stood:
            failures.append(RuntimeError(STANDS))
        if error is not None:
            for failure in failures:
                error.add_note(f"Besides, in the application under test: {failure!r}")
        elif len(failures) == 1:
            raise failures[0]
        elif failures:
            raise ExceptionGroup("in the application under test", failures)

    async def _stop(self, *, failed: bool) -> list[Exception]:
        patience = 0 if failed else self._drain_timeout
        self.draining.set()
        for connection in self._live:
            connection.leave()
        if not await self._wait_idle(patience):
            self.cancel_requests("drained")
            if not await self._wait_idle(patience):
                for connection in self._live:
                    connection.cancel_scope.cancel(reason="the server's drain time is over")
                await self._wait_idle(None)
        failures = self._collect()
        if self._check_leaks and not failed:
            failures += await self._leaks.all_leaks()
        failure = await self._lifespan.stop()
        return failures if failure is None else [*failures, failure]

    async def _watch_clock(self, scope: trio.CancelScope) -> None:
        with scope:
            if self._hold is not None and await self._hold.stands():
                self._stood = True
                self._hold.go_on()

    async def _close(self) -> None:
        assert self._manager is not None
        self._uninstall()
        manager, self._manager, self._nursery = self._manager, None, None
        # Not the test's own error: the nursery would wrap it in a group, and has nothing to do with it.
        await manager.__aexit__(None, None, None)

    async def _wait_idle(self, seconds: float | None) -> bool:
        with trio.CancelScope() if seconds is None else trio.move_on_after(seconds):
            await trio.lowlevel.checkpoint()
            while self._live:
                await self._changed.park()
        return not self._live

    def _collect(self) -> list[Exception]:
        failures: list[Exception] = []
        for connection in self._unreported:
            if connection.reported:
                continue
            if connection.violation is not None:
                failures.append(connection.violation)
            elif connection.error is not None and self.raise_app_exceptions:
                failures.append(connection.error)
        return failures

    # --- requests

    def connect(self, scope: Scope) -> Connection:
        """Begin a request: the application is called in a task of its own.

        Raises:
            RuntimeError: the server does not run.
        """
        return self._begin(Connection(scope, self.draining, linked=self.linked))

    def connect_socket(self, scope: Scope) -> SocketConnection:
        """Begin a WebSocket, likewise."""
        return self._begin(SocketConnection(scope, self.draining, linked=self.linked))

    def _begin(self, connection: C) -> C:
        connection.scope["state"] = dict(self.state)
        self.nursery.start_soon(self._call, connection, name=connection.label)
        self._live.add(connection)
        return connection

    @property
    def nursery(self) -> trio.Nursery:
        """Where the server's tasks run.

        Raises:
            RuntimeError: the server does not run.
        """
        if self._nursery is None:
            raise RuntimeError(
                "this TestClient is not open: it runs the application's lifespan and its requests itself.\n"
                "Open it:  async with TestClient(app) as client: ..."
            )
        return self._nursery

    async def _call(self, connection: AnyConnection) -> None:
        lineage = self._leaks.adopt(connection.label)
        error: Exception | None = None
        try:
            with connection.cancel_scope:
                error = await _escaped(self.app, connection)
        finally:
            connection.over(error, answer=not self.raise_app_exceptions)
            self._leaks.release()
            self._live.discard(connection)
            self._changed.unpark_all()
            if connection.error is not None or connection.violation is not None:
                self._unreported.append(connection)
        if lineage.living and self._check_leaks:
            self._inspect(lineage)

    def _inspect(self, lineage: Lineage) -> None:
        self.nursery.start_soon(self._leaks.inspect, lineage, name="leak check")

    def cancel_requests(self, reason: Literal["drained"]) -> None:
        """The drain time is over: cancel what still runs."""
        for connection in list(self._live):
            connection.stop(reason)

    # --- instruments

    def _install(self) -> None:
        if self._check_leaks:
            trio.lowlevel.add_instrument(self._leaks)
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, MockClock):
            self._hold = HoldClock(clock, [EXITS, trio.to_thread.current_default_thread_limiter()])
            trio.lowlevel.add_instrument(self._hold)
            self._watch_limiters()

    def _watch_limiters(self) -> None:
        # Again after startup: the application may create its limiters only when it runs.
        names = ("thread_limiter", "file_limiter")
        own = [_attribute(app, name, trio.CapacityLimiter) for app in _with_mounted(self.app) for name in names]
        if self._hold is not None:
            common = [EXITS, trio.to_thread.current_default_thread_limiter()]
            self._hold.limiters = [*common, *(limiter for limiter in own if limiter is not None)]

    def _uninstall(self) -> None:
        for instrument in (self._leaks, self._hold):
            if instrument is not None:
                with suppress(KeyError):  # it was never installed
                    trio.lowlevel.remove_instrument(instrument)
        if self._hold is not None:
            self._hold.release()

    def _background(self) -> trio.Nursery | None:
        return _attribute(_attribute(self.app, "tasks", object), "nursery", trio.Nursery)


@contextmanager
def _behind(error: BaseException | None) -> Generator[None]:
    """A cancellation in the body does not hide an error that is there already; the next checkpoint says it again."""
    try:
        yield
    except BaseException as other:
        if without(error, trio.Cancelled) is None or without(other, trio.Cancelled) is not None:
            raise


async def _escaped(app: ASGIApp, connection: AnyConnection) -> Exception | None:
    """Call the application and return the error that escaped it, less any cancellation.

    KeyboardInterrupt and SystemExit go on: they are not the application's to raise, and end the test as they
    would end the process.
    """
    try:
        await app(connection.scope, connection.receive, connection.send)
    except Exception as error:  # noqa: BLE001 - the server's boundary
        return error
    except BaseExceptionGroup as group:
        rest = cast("BaseException | None", group.split(trio.Cancelled)[1])
        if isinstance(rest, Exception):
            return rest
        raise
    return None


def _with_mounted(app: object) -> list[object]:
    """The application and all that are mounted in it, at whatever depth."""
    found = [app]
    for each in found:
        mounted = cast("list[Any]", _attribute(each, "_mounted", list) or [])
        found += [other.app for other in mounted]
    return found


def _attribute(app: object, name: str, kind: type[T]) -> T | None:
    """An attribute of the application, even a wrapped one: ASGI middleware keeps what it wraps as `app`."""
    seen: Callable[..., object] | object | None = app
    for _ in range(20):
        value = getattr(seen, name, None)
        if value is not None and isinstance(value, kind):
            return value
        seen = getattr(seen, "app", None)
        if seen is None:
            break
    return None
