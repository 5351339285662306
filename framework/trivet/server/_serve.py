"""`serve`: an application on its listening sockets, from startup to the end of the drain.

This file owns the order of a server's life: start the application, listen, accept; then stop accepting, let requests
finish, tell them to stop, cut them, and shut the application down. It knows nothing of signals or processes.

    lifespan.startup -> accept ... stop -> draining set, idle connections closed, `connection: close`
        -> drain_timeout -> cancel("drained"); requests that cannot be told are cancelled and answered with 503
        -> cleanup_grace -> everything is cancelled -> lifespan.shutdown

It replaces `hypercorn.trio.run.worker_serve`, which kills requests without notice and tells the application last.
"""

from __future__ import annotations

import ssl
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
from ._http1_service import HTTP1Service
from ._lifespan import Lifespan, LifespanFailed
from ._limits import Limits
from ._link import LifespanLink
from ._listeners import Listeners
from ._poller import SUPPORTED as POLLS
from ._poller import Poller
from ._quic import serve_quic
from ._seam import HTTPProtocol
from ._state import UNLIMITED, Server, effective, log
from ._watchdog import A_REQUEST, THE_APPLICATION, Watchdog

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
    limits: Limits | None = None,
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
        hurry_trigger: when it returns during the drain, what is left of `drain_timeout` is skipped, for tasks as well.
        drain_timeout: seconds requests may go on after that. None: what the application set on its `LifespanLink`,
            else 10.
        cleanup_grace: seconds they may clean up after being told to stop. None: as above, else 5.
        send_timeout: seconds a write may make no progress, where the request has not set its own; None: no bound.
        limits: what a client may take. None: the defaults, with those that are hypercorn's too as `config` has them.
            Only of trivet's own protocol.
        protocol: whose HTTP/1.1, and WebSocket on it, to speak: trivet's own, or hypercorn's. HTTP/2 and HTTP/3 are
            hypercorn's.
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
    if limits is None:
        limits = Limits(
            idle_timeout=config.keep_alive_timeout,
            requests=_requests_of(config),
            websocket_message=config.websocket_max_message_size,
        )
    own = limits if protocol == "trivet" else None
    service = _Service(server, link, lifespan, hurry_trigger, watchdog, own)
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
            # Background tasks have a drain of their own in it, which need not be shorter.
            patience = config.shutdown_timeout + link.drain_timeout
            service.bound_by(patience, THE_APPLICATION)
            if hurry_trigger is not None:
                nursery.start_soon(_after, hurry_trigger, link.hurry)
            await lifespan.shutdown(patience)
            log.info("stopped")
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
        limits: Limits | None,
    ) -> None:
        self._server = server
        self._link = link
        self._lifespan = lifespan
        self._hurry = hurry
        self._watchdog = watchdog
        self._limits = limits  # of trivet's own protocol; None: hypercorn's is spoken
        self._http1: HTTP1Service | None = None
        self._listeners: Listeners | None = None  # where there is no poller

    async def run(
        self, sockets: Sockets | None, trigger: Trigger | None, task_status: trio.TaskStatus[list[str]]
    ) -> None:
        """Accept until there is a reason to stop, then drain."""
        server = self._server
        if sockets is None:
            sockets = server.config.create_sockets()
        # Inherited sockets too are announced as `alt-svc`, which hypercorn does for those it has created itself.
        server.config._set_quic_addresses(sockets.quic_sockets)
        try:
            await self._serve(sockets, trigger, task_status)
        finally:
            if self._listeners is not None:
                self._listeners.close()
            if self._http1 is not None:
                self._http1.entrance.close()

    async def _serve(self, sockets: Sockets, trigger: Trigger | None, task_status: trio.TaskStatus[list[str]]) -> None:
        server = self._server
        async with trio.open_nursery() as helpers:
            helpers.start_soon(server.hangups.run)
            async with trio.open_nursery() as connections:
                urls = urls_of(sockets, server.config)
                await self._open_http1(connections, helpers)
                for sock in sockets.quic_sockets:
                    helpers.start_soon(serve_quic, server, sock)
                async with trio.open_nursery() as accepting:
                    reasons = (trigger, server.context.terminate.wait, server.stop.wait, self._lifespan.gave_up.wait)
                    for reason in reasons:
                        if reason is not None:
                            accepting.start_soon(_after, reason, accepting.cancel_scope.cancel)
                    self._accept(accepting, connections, sockets)
                    task_status.started(urls)
                # The kernel has told them that they are connected, and their requests are here already.
                if self._listeners is not None:
                    await self._listeners.stop(self._most())
                if self._http1 is not None:
                    self._http1.entrance.stop_listening(server.config.backlog)
                await self._drain(connections)
            helpers.cancel_scope.cancel()

    async def _open_http1(self, connections: trio.Nursery, helpers: trio.Nursery) -> None:
        if self._limits is None:
            return
        poller = Poller() if POLLS else None
        self._http1 = service = HTTP1Service(self._server, self._limits, connections, poller, self._go_on)
        await helpers.start(service.crew.run)
        helpers.start_soon(service.sweep)

    def _accept(self, accepting: trio.Nursery, connections: trio.Nursery, sockets: Sockets) -> None:
        config, http1 = self._server.config, self._http1
        context = config.create_ssl_context()
        if context is not None:
            context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL 3's default (CVE-2011-1473)
        for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
            sock.listen(config.backlog)
        if http1 is not None and http1.poller is not None:
            http1.entrance.listen(sockets.insecure_sockets)
            http1.entrance.listen(sockets.secure_sockets, context)
            accepting.start_soon(trio.sleep_forever)
            return
        if http1 is None:
            self._listeners = Listeners(sockets, context, None, self._connect, connections)
        else:
            self._listeners = Listeners(sockets, context, http1.entrance.room, http1.entrance.serve_stream, connections)
        accepting.start_soon(self._listeners.run)

    def _most(self) -> int:
        """How many may still be accepted."""
        limit = None if self._limits is None else self._limits.connections
        backlog = self._server.config.backlog
        return backlog if limit is None else min(backlog, limit - len(self._server.connections))

    def _go_on(self, stream: Any, begun: bytes) -> Connection:
        return Connection(self._server, _choose, stream, begun)

    async def _connect(self, transport: Transport) -> None:
        await Connection(self._server, _choose, transport).run()

    async def _drain(self, connections: trio.Nursery) -> None:
        server, link = self._server, self._link
        skip = "" if self._hurry is None else "; a second Ctrl-C or SIGTERM skips the wait"
        log.info("stopping: requests have %g s to finish%s", link.drain_timeout, skip)
        self.bound_by(link.drain_timeout)
        server.draining.set()
        if self._http1 is not None:
            self._http1.draining_now = True
        await server.context.terminated.set()
        await trio.lowlevel.cancel_shielded_checkpoint()  # connections accepted last have yet to enter themselves
        for connection in list(server.connections):
            connection.drain_begins()
        if server.deserted():
            return
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + link.drain_timeout
            nursery.start_soon(_after, server.quiet.wait, nursery.cancel_scope.cancel)
            if self._hurry is not None:
                nursery.start_soon(_after, self._hurry, nursery.cancel_scope.cancel)
        if server.deserted():
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
            if self._http1 is not None:
                self._http1.crew.cancel()
            with trio.move_on_after(1.0, shield=True):  # time for a last answer
                await server.quiet.wait()
            for connection in list(server.connections):
                connection.abort(reset=True)

    def bound_by(self, seconds: float, step: str = A_REQUEST) -> None:
        """The next step takes at most `seconds` and the grace, or the process is stuck."""
        if self._watchdog is not None:
            self._watchdog.arm(seconds + self._link.cleanup_grace, step)


async def _started(lifespan: Lifespan, trigger: Trigger | None) -> bool:
    """Whether the application has started before it was told to stop."""
    started = False
    failure: LifespanFailed | None = None
    async with trio.open_nursery() as nursery:
        if trigger is not None:
            nursery.start_soon(_after, trigger, nursery.cancel_scope.cancel)
        try:
            await lifespan.startup()
            started = True
        except LifespanFailed as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return started


async def _after(wait: Trigger, then: Callable[[], object]) -> None:
    await wait()
    then()


def _choose(connection: Connection, alpn: str) -> HTTPProtocol:
    return HTTP2(connection) if alpn == "h2" else HTTP1(connection)


def _requests_of(config: Config) -> int | None:
    return None if config.keep_alive_max_requests >= UNLIMITED else config.keep_alive_max_requests
