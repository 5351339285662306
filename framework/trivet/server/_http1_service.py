"""HTTP/1.1 of one server: what its connections share, and who looks after their time.

This file owns what a connection asks of its server (the application, the server's own header fields, the hand-over to
hypercorn's protocols) and the one sweep that stands for all timeouts: a timer for each connection would cost more than
a request. How connections come in is `_http1_accept`'s, whose task answers them `_crew`'s.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from math import inf
from time import time
from typing import Any, Final

import trio

from trivet.asgi import Answer, ASGIApp, Door

from ._connection import Connection
from ._crew import Crew
from ._http1_accept import Entrance
from ._http1_connection import HTTP1Connection
from ._http1_head import HeadParser, RequestHead
from ._http1_scope import template_of
from ._limits import Limits
from ._poller import Poller
from ._state import Open, Server, log
from ._tls_handshake import Handshake
from ._tls_transport import SecureTransport
from ._transport import StreamTransport, Transport
from ._ws_connection import WebSocketConnection
from ._ws_writing import Writing

PING_INTERVAL: Final = 20.0
"""Seconds that a WebSocket is silent before it is pinged, unless it is configured: uvicorn's."""

TICK: Final = 0.5
"""Seconds between two sweeps: how much later than its limit something may be ended."""


class HTTP1Service:
    """What the HTTP/1.1 connections of a server share.

    Args:
        server: the application, its settings, the connections.
        limits: what a client may take.
        nursery: where connections' own tasks live, if they have any.
        poller: None where there is none: then each connection has a task that reads.
        go_on: makes hypercorn's connection of a stream and the bytes read so far.

    Attributes:
        crew: the tasks that wait for applications and clients.
        entrance: how connections come in.
    """

    def __init__(
        self,
        server: Server,
        limits: Limits,
        nursery: trio.Nursery,
        poller: Poller | None,
        go_on: Callable[[Any, bytes], Connection],
    ) -> None:
        config = server.config
        self.limits = limits
        self.nursery = nursery
        self.poller = poller
        self.parser = HeadParser(limits)
        self.draining = server.draining
        self.draining_now = False
        self.send_timeout = server.send_timeout
        self.lifespan_state = server.lifespan_state
        self.root_path: str = config.root_path
        chosen = "websocket_ping_interval" in vars(config)
        self.ping_interval: float | None = config.websocket_ping_interval if chosen else PING_INTERVAL
        self.requests = inf if limits.requests is None else limits.requests
        self._server_names = [name.lower() for name in config.server_names]
        self.watchful = bool(self._server_names) or server.context.max_requests is not None
        """Whether `admits` has to be asked."""
        self.template = template_of(self.root_path)
        self.app: ASGIApp = server.app
        self.access = server.access
        # The door knows neither a root path nor the log.
        self.door: Door | None = None if self.root_path or self.access else _door_of(server.app)
        self.base_context = contextvars.copy_context()
        self.crew = Crew(poller, self.base_context)
        self.entrance = Entrance(self, server)
        self._server = server
        self._go_on = go_on
        self._renew_at = -inf
        self.now = trio.current_time()
        """On Trio's clock, as of the last look at the sockets or the clock: fresh enough for idle connections."""
        self._tails = b"", b""
        self._holding: list[Writing] = []
        self.sent = 0
        """Messages on WebSockets since a sender let other tasks have their turn."""

    # What connections ask ----------------------------------------------------------------------------------------

    def tails(self) -> tuple[bytes, bytes]:
        """The fields that the server adds to each response, and the empty line: with `Date`, and without."""
        if self.now >= self._renew_at:
            self._make_tails()
        return self._tails

    def _make_tails(self) -> None:
        fields = self._server.response_headers("trivet")
        lines = [(name, b"%b: %b\r\n" % (name, value)) for name, value in fields]
        self._tails = (
            b"".join(line for _, line in lines) + b"\r\n",
            b"".join(line for name, line in lines if name != b"date") + b"\r\n",
        )
        self._renew_at = self.now + 1 - time() % 1  # when the second is over

    def ask_door(self, head: RequestHead) -> Answer | ASGIApp | None:
        """What the direct door says to a request."""
        assert self.door is not None
        try:
            return self.base_context.copy().run(self.door, head)
        except BaseException as error:  # noqa: BLE001 - signals are received elsewhere; here it is a handler's own
            log.error("the application failed on %s %r", head.method, head.raw_path, exc_info=error)
            return 500, [(b"content-length", b"0")], b""

    def admits(self, head: RequestHead) -> bool:
        """Count a request, for `max_requests`; whether `--server-name` lets it in."""
        context = self._server.context
        if context.max_requests is not None:
            context.requests += 1
            if context.requests > context.max_requests:
                self._server.stop.set()
        if not self._server_names:
            return True
        host = next((value for name, value in head.headers if name == b"host"), b"").decode("latin-1").lower()
        return host in self._server_names

    def task_woken(self) -> None:
        """Something has taken long, or a task is to run: others should have their turn before more is read."""
        if self.poller is not None:
            self.poller.woken = True

    def hold(self, connection: Writing) -> None:
        """Have `connection` write what it holds back, when the tasks that are to run now have run."""
        if not self._holding:
            self.base_context.copy().run(self.nursery.start_soon, self._write_held)
        self._holding.append(connection)

    async def _write_held(self) -> None:
        """Not a checkpoint: it is done even if all is being cancelled."""
        holding, self._holding = self._holding, []
        for connection in holding:
            try:
                connection.put_held()
            except Exception:  # noqa: BLE001 - whatever it is, it costs nobody else anything
                log.exception("a connection ended by an error")
                connection.abort(reset=True)

    def joined(self, connection: Open) -> None:
        """A connection goes on as another."""
        self._server.joined(connection)

    def left(self, connection: Open) -> None:
        """A connection is over."""
        self._server.left(connection)
        self.entrance.admit()

    async def go_on(self, stream: Any, data: bytes) -> None:
        """Serve a stream with hypercorn's protocols; `data` has been read from it."""
        await self._go_on(stream, data).run()

    def hand_over(self, transport: Transport, data: bytes) -> None:
        """Let hypercorn's protocols go on with a connection."""

        async def take(stream: Any, more: bytes) -> None:
            self._server.passing -= 1
            await self.go_on(stream, data + more)

        transport.hand_over(take, self.nursery)
        self._server.passing += 1  # it begins in the next turn of the scheduler; behind what may have raised

    # Connections -------------------------------------------------------------------------------------------------

    def secured(self, transport: SecureTransport) -> None:
        """A handshake is over: serve what the client chose."""
        if self.draining_now:
            transport.close()
        elif transport.session.selected_alpn_protocol() == "h2":
            self.hand_over(transport, b"")
        else:
            connection = HTTP1Connection(self, transport, self.now)
            self._server.joined(connection)
            transport.begin(connection, self.now)

    async def serve_transport(self, transport: StreamTransport) -> None:
        """Serve one connection over a stream."""
        connection = HTTP1Connection(self, transport, trio.current_time())
        self._server.joined(connection)
        try:
            await transport.run(connection)
        except Exception:  # noqa: BLE001 - whatever it is, it costs nobody else anything
            log.exception("a connection ended by an error")
            transport.receiver.broken()
        except trio.Cancelled:
            transport.receiver.close()
            raise
        finally:
            del transport.receiver  # which refers to it: only the collector would free them

    # Time --------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Look after the connections' time until cancelled."""
        before = trio.current_time()
        while True:
            await trio.sleep(TICK)
            now = trio.current_time()
            self.now = now
            self._tick(now, now - before)
            before = now
            self.entrance.admit()

    def _tick(self, now: float, seconds: float) -> None:
        # A function of its own: the loop's variable would hold the last connection for as long as the sweep sleeps.
        for connection in list(self._server.connections):
            if isinstance(connection, (HTTP1Connection, WebSocketConnection, Handshake)):
                connection.tick(now, seconds)


def _door_of(app: ASGIApp) -> Door | None:
    """The direct door of the very object that is served: ASGI middleware around it must not be reached past."""
    find = getattr(type(app), "__trivet_door__", None)
    return None if find is None else find(app)
