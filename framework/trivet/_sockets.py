"""The WebSockets of an application: their routes, which path leads to which, and a handshake that none takes.

This file owns the way of a WebSocket from the application to its handler. Their table is one of their own, so that a
WebSocket and a GET may share a path, and so that no method of HTTP leads to one. What happens from the handler on is
`_ws_serve`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import trio

from ._access import record
from ._answer import Answerer, report
from ._drain import Drain
from ._endpoint import Endpoint, Mounted
from ._handshake import Handshake
from ._head import target_path
from ._limiting import limited_run, release
from ._options import Level, Resolved
from ._options import resolve as resolve_options
from ._outbound import SocketOutbound
from ._owner import Owner
from ._registered import WEBSOCKET
from ._request import Request
from ._resolve import Run, runner
from ._routes import Hit, Table
from ._scope import RequestScope
from ._watch import DisconnectSweep
from ._websocket import WebSocket
from ._ws_scope import SocketScope
from ._ws_serve import serve
from .asgi import Receive, Scope, Send
from .errors import HTTPError, InvalidInput

NO_PARAMS: Final[Mapping[str, Any]] = {}


class SocketEndpoint(Endpoint):
    """A registered WebSocket at its place in the application; of `Endpoint` it uses the place and the options."""

    __slots__ = ("run",)

    run: Run

    def freeze(self, owner: Owner, answerer: Answerer, limiter: trio.CapacityLimiter) -> None:
        """See `Endpoint`."""
        self.options = self.resolve()
        run = runner(self.plan, limiter, immediate=False)
        limits = self.options.limits
        self.run = partial(limited_run, limits, run) if limits else run


class Sockets:
    """The WebSockets of one application.

    Args:
        table: their routes, and what is mounted.
        level: of the application, for handshakes that no route takes.
        answerer: makes responses of errors.
        sweep: watches for clients that leave, where the server does not tell.
        drain: tells those that do not wait for its end.
    """

    def __init__(
        self,
        table: Table[Endpoint | Mounted],
        level: Level,
        answerer: Answerer,
        sweep: DisconnectSweep,
        drain: Drain,
    ) -> None:
        self._table = table
        self._level = level
        self._answerer = answerer
        self._sweep = sweep
        self._drain = drain
        self._options = resolve_options([level])

    def freeze(self) -> None:
        """Take the application's options as they are now."""
        self._options = resolve_options([self._level])
        self._table.freeze()

    async def serve(self, app: Owner, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket, from its handshake to its end."""
        began = trio.current_time()
        hit = self._find(scope)
        if isinstance(hit, tuple) and isinstance(hit[0], Mounted):
            await hit[0].app(hit[0].below(scope), receive, send)
            return
        params = NO_PARAMS
        route: SocketEndpoint | None = None
        options: Resolved = self._options
        if not isinstance(hit, HTTPError):
            assert isinstance(hit[0], SocketEndpoint)
            route, params = hit[0], hit[1]
            options = route.options
        socket_scope = SocketScope(began + options.timeout, app.cleanup_grace, report)
        handshake = Handshake(app, scope, receive, params, route, options, socket_scope, began)
        told = handshake._attach()
        ws = handshake._socket = WebSocket(handshake, socket_scope, SocketOutbound(send))
        run = route.run if route is not None else _refusal(hit)
        drain_begins = ws._drain_begins
        self._drain.add(drain_begins)
        try:
            if told and (options.on_drain == "finish" or self._drain.notice is ws.draining):
                await serve(run, ws, self._answerer)
            elif told:  # no lifespan, or one of another server's: this WebSocket has a watcher of its own
                await RequestScope.alongside(partial(_at_drain, ws), serve, run, ws, self._answerer)
            elif self._sweep.running:
                self._sweep.add(handshake)
                try:
                    await serve(run, ws, self._answerer)
                finally:
                    self._sweep.discard(handshake)
            else:
                await RequestScope.alongside(handshake.watch, serve, run, ws, self._answerer)
        finally:
            self._drain.discard(drain_begins)
            release(handshake)
            handshake.closed = handshake._socket = None  # they refer to each other
            record(handshake)

    def _find(self, scope: Scope) -> Hit[Endpoint | Mounted] | HTTPError:
        try:
            path: bytes = scope.get("raw_path") or b""
            if path[:1] != b"/" or scope.get("root_path"):
                path = target_path({**scope, "method": WEBSOCKET})
            hit = self._table.lookup(WEBSOCKET, path)
        except InvalidInput as error:
            return error
        return HTTPError(404, "there is no WebSocket at this path") if hit is None else hit


async def _at_drain(ws: WebSocket) -> None:
    await ws.draining.wait()
    ws._drain_begins()


def _refusal(error: object) -> Run:
    async def refuse(handshake: Request, scope: RequestScope) -> object:
        assert isinstance(error, HTTPError)
        raise error

    return refuse
