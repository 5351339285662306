"""`serve`: an application on its listening sockets, from startup to the end of the drain.

This file owns the order of a server's life: start the application, listen, accept; then stop accepting, let requests
finish, tell them to stop, cut them, and shut the application down. It knows nothing of signals or processes.

    lifespan.startup -> accept ... stop -> draining set, idle connections closed, `connection: close`
        -> drain_timeout -> cancel("drained"); requests that cannot be told are cancelled and answered with 503
        -> cleanup_grace -> everything is cancelled -> lifespan.shutdown

It replaces `hypercorn.trio.run.worker_serve`, which kills requests without notice and tells the application last.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from random import randint
from typing import Any, Literal

import trio
from hypercorn.config import Config, Sockets

from trivet.asgi import ASGIApp

from ._access_log import AccessLog
from ._address import urls_of
from ._connection import Connection
from ._h1 import HTTP1
from ._h2 import HTTP2
from ._handshake import Transport
from ._lifespan import Lifespan, LifespanFailed
from ._limits import Limits
from ._link import LifespanLink
from ._quic import serve_quic
from ._seam import HTTPProtocol
from ._state import Server, effective, log
from ._stream import BoundedListener
from ._watchdog import Watchdog

DRAIN_TIMEOUT = 10.0
CLEANUP_GRACE = 5.0
SEND_TIMEOUT = 10.0
LIMITS = Limits()

Trigger = Callable[[], Awaitable[object]]


async def serve(
    app: ASGIApp,
    config: Config,
    *,
    shutdown_trigger: Trigger | None = None,
    hurry_trigger: Trigger | None = None,
    drain_timeout: float | None = None,
    cleanup_grace: float | None = None,
    send_timeout: float | None = SEND_TIMEOUT,
    limits: Limits = LIMITS,
    protocol: Literal["trivet", "hypercorn"] = "trivet",
    sockets: Sockets | None = None,
    debug: bool = False,
    watchdog: Watchdog | None = None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI application until told to stop.

    What a client sends and what a handler raises never ends it. It installs no signal handlers (`trivet run` does); an
    exception `KeyboardInterrupt` or `SystemExit` out of a handler is that request's 500.

    Args:
        app: the application.
        config: hypercorn's configuration. Not changed.
        shutdown_trigger: when it returns, the drain begins. None: only `max_requests`, or the application, stops it.
        hurry_trigger: when it returns during the drain, what is left of `drain_timeout` is skipped.
        drain_timeout: seconds requests may go on after that. None: what the application set on its `LifespanLink`,
            else 10.
        cleanup_grace: seconds they may clean up after being told to stop. None: as above, else 5.
        send_timeout: seconds a write may make no progress, where the request has not set its own; None: no bound.
        limits: of trivet's own protocol.
        protocol: whose HTTP/1.1 is spoken.
        sockets: bound sockets to use instead of those of `config`. They are closed at the end.
        debug: passed on to the application on its `LifespanLink`.
        watchdog: what ends the process if a handler cannot be ended (see `Watchdog`).
        task_status: `started` with the URLs once connections are accepted.

    Raises:
        LifespanFailed: the application could not start, gave up, or failed to shut down.
        OSError: an address cannot be bound, or the access log not be opened.

    Cancellation stops it at once: requests are cancelled (503 where no answer is out), and there is no
    `lifespan.shutdown`.
    """
    access = AccessLog.of(config)
    config = effective(config)
    max_requests = config.max_requests
    if max_requests is not None:
        max_requests += randint(0, config.max_requests_jitter)  # spreads the restarts of several workers
    server = Server(app, config, send_timeout, max_requests, access)
    link = LifespanLink(
        server.draining,
        send_timeout,
        drain_timeout=DRAIN_TIMEOUT if drain_timeout is None else drain_timeout,
        cleanup_grace=CLEANUP_GRACE if cleanup_grace is None else cleanup_grace,
        debug=debug,
    )
    lifespan = Lifespan(server, link)
    service = _Service(server, link, lifespan, hurry_trigger, watchdog)
    failure: LifespanFailed | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lifespan.run, name="lifespan")
        try:
            if not await _started(lifespan, shutdown_trigger):
                nursery.cancel_scope.cancel()
                return
            if drain_timeout is not None:
                link.drain_timeout = drain_timeout
            if cleanup_grace is not None:
                link.cleanup_grace = cleanup_grace
            try:
                await service.run(sockets, shutdown_trigger, task_status)
            finally:
                server.hangups.close()
            service.bound_by(config.shutdown_timeout)
            await lifespan.shutdown()
        except LifespanFailed as error:
            # Kept, and raised outside: the nursery would wrap it in a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _Service:
    """The part of `serve` between startup and shutdown."""

    def __init__(
        self,
        server: Server,
        link: LifespanLink,
        lifespan: Lifespan,
        hurry: Trigger | None,
        watchdog: Watchdog | None,
    ) -> None:
        self._server = server
        self._link = link
        self._lifespan = lifespan
        self._hurry = hurry
        self._watchdog = watchdog

    async def run(
        self, sockets: Sockets | None, trigger: Trigger | None, task_status: trio.TaskStatus[list[str]]
    ) -> None:
        """Accept until there is a reason to stop, then drain."""
        server = self._server
        if sockets is None:
            sockets = server.config.create_sockets()
        # Inherited sockets too are announced as `alt-svc`, which hypercorn does for those it has created itself.
        server.config._set_quic_addresses(sockets.quic_sockets)
        async with trio.open_nursery() as helpers:
            helpers.start_soon(server.hangups.run)
            async with trio.open_nursery() as connections:
                urls = urls_of(sockets, server.config)
                listeners = _listen(sockets, server.config)
                for sock in sockets.quic_sockets:
                    helpers.start_soon(serve_quic, server, sock)
                async with trio.open_nursery() as accepting:
                    for reason in (trigger, server.context.terminate.wait, self._lifespan.gave_up.wait):
                        if reason is not None:
                            accepting.start_soon(_cancel_after, reason, accepting.cancel_scope)
                    accepting.start_soon(
                        functools.partial(trio.serve_listeners, self._connect, listeners, handler_nursery=connections)
                    )
                    task_status.started(urls)
                await self._drain(connections)
            helpers.cancel_scope.cancel()

    async def _connect(self, transport: Transport) -> None:
        await Connection(self._server, _choose, transport).run()

    async def _drain(self, connections: trio.Nursery) -> None:
        server, link = self._server, self._link
        skip = "" if self._hurry is None else "; a second Ctrl-C or SIGTERM skips the wait"
        log.info("stopping: requests have %g s to finish%s", link.drain_timeout, skip)
        self.bound_by(link.drain_timeout)
        server.draining.set()
        await server.context.terminated.set()
        for connection in list(server.connections):
            connection.drain_begins()
        if not server.connections:
            return
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + link.drain_timeout
            nursery.start_soon(_cancel_after, server.quiet.wait, nursery.cancel_scope)
            if self._hurry is not None:
                nursery.start_soon(_cancel_after, self._hurry, nursery.cancel_scope)
        if not server.connections:
            return
        log.info("telling %d connections to stop", len(server.connections))
        self.bound_by(0)
        for connection in list(server.connections):
            connection.drain_over()
        with trio.move_on_after(link.cleanup_grace):
            await server.quiet.wait()
        if server.connections:
            log.warning("cutting %d connections that did not stop", len(server.connections))
            connections.cancel_scope.cancel()
            with trio.move_on_after(1.0, shield=True):  # time for a last answer
                await server.quiet.wait()
            for connection in list(server.connections):
                connection.abort(reset=True)

    def bound_by(self, seconds: float) -> None:
        """The next step takes at most `seconds` and the grace, or the process is stuck."""
        if self._watchdog is not None:
            self._watchdog.arm(seconds + self._link.cleanup_grace)


async def _started(lifespan: Lifespan, trigger: Trigger | None) -> bool:
    """Whether the application has started before it was told to stop."""
    started = False
    failure: LifespanFailed | None = None
    async with trio.open_nursery() as nursery:
        if trigger is not None:
            nursery.start_soon(_cancel_after, trigger, nursery.cancel_scope)
        try:
            await lifespan.startup()
            started = True
        except LifespanFailed as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return started


async def _cancel_after(wait: Trigger, scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()


def _choose(connection: Connection, alpn: str) -> HTTPProtocol:
    return HTTP2(connection) if alpn == "h2" else HTTP1(connection)


def _listen(sockets: Sockets, config: Config) -> list[trio.abc.Listener[Any]]:
    listeners: list[trio.abc.Listener[Any]] = []
    ssl_context = config.create_ssl_context()
    for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
        sock.listen(config.backlog)
        listener = BoundedListener(trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
        if sock in sockets.secure_sockets and ssl_context is not None:
            listeners.append(trio.SSLListener(listener, ssl_context, https_compatible=True))
        else:
            listeners.append(listener)
    return listeners
