"""The application: it freezes what was registered, and dispatches.

This file owns the two lives of an application. While modules are imported it takes routes (see `_registry`); from
lifespan startup or the first request on nothing can be registered, and everything that can be computed has been. Its
`_http` is the flow of a request on one screen; each step is owned by the file that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeAlias, Unpack

import trio

from . import _options
from ._access import listened_to, logged, record
from ._answer import Answerer, error_map, report
from ._checks import check_lifespan
from ._delivery import release
from ._door import in_one_step, open_door
from ._drain import Drain
from ._endpoint import Endpoint, Mounted
from ._fence import fenced
from ._forwarded import Proxies
from ._forwarded_timeout import tells_timeout, told_timeout
from ._instant import Unfinished, spent
from ._life import life
from ._lifespan import answer as answer_lifespan
from ._lifespan import check_loop
from ._lifespan import refuse as refuse_lifespan
from ._limit import Limit
from ._limit_checks import check_order
from ._limiting import release as release_places
from ._measured import finishing, measured
from ._option_checks import check_patience
from ._options import UNSET, CommonOptions, Slash, Unset
from ._outbound import Outbound, guarded
from ._owner import RouteInfo
from ._ported import State
from ._registry import Registry
from ._request import Request
from ._respond import Target, serve
from ._scope import RequestScope
from ._service import Service
from ._sockets import Sockets
from ._tasks import Tasks
from ._unmatched import Unmatched
from ._upload import DELETE_SECONDS, delete
from ._watch import DisconnectSweep
from .asgi import ACCESS, ASGIApp, Door, Meter, Notice, Receive, Scope, Send
from .errors import RegistrationError

Lifespan: TypeAlias = Callable[["App"], AbstractAsyncContextManager[Mapping[str, Any] | None]]

THREADS = 40
"""Trio's own default limit for worker threads."""


class App(Registry):
    """An application: a router that is served, by any ASGI server that runs Trio.

    Args:
        slash: `"redirect"` answers a path that matches but for its last slash with 307; `"strict"` does not.
        debug: show errors to the client, with their traceback. Never in production.
        lifespan: an async context manager function given the app, entered at startup and left at shutdown; what it
            yields (a mapping, or nothing) is `request.state`.
        cleanup_grace: seconds that each dependency, middleware and catcher has once its request is ending.
        drain_timeout: seconds that requests have to end when the server stops (under `trivet run`), and then
            `app.tasks`.
        title: of the application, for its OpenAPI document.
        version: of the application, for its OpenAPI document; not trivet's.
        trusted: the proxies in front, whose `Forwarded` or `X-Forwarded-For` counts: addresses, networks, and `"unix"`
            for whoever connects to a Unix socket. `request.client` and `request.url` are then what they saw.
        openapi_url: where the OpenAPI document is served; by default at `/openapi.json`, unless a route of the
            application takes that path. `None`: nowhere.
        docs_url: where the page is that shows the document, which needs the extra `docs`; by default at `/docs`,
            likewise. `None`: nowhere.
        options: those of `Router`; every route inherits them.
    """

    _kind = "application"
    _own_options = _options.OF_APPLICATION

    def __init__(
        self,
        *,
        slash: Slash = "redirect",
        debug: bool = False,
        lifespan: Lifespan | None = None,
        cleanup_grace: float = _options.CLEANUP_GRACE,
        drain_timeout: float = _options.DRAIN_TIMEOUT,
        trusted: Sequence[str] = (),
        title: str = "API",
        version: str = "0.1.0",
        openapi_url: str | Unset | None = UNSET,
        docs_url: str | Unset | None = UNSET,
        **options: Unpack[CommonOptions],
    ) -> None:
        super().__init__(options, title, version, openapi_url, docs_url)
        if slash not in ("redirect", "strict"):
            raise RegistrationError(f'slash={slash!r}: write slash="redirect" or slash="strict".')
        if lifespan is not None:
            check_lifespan(lifespan)
        for name, value in (("cleanup_grace", cleanup_grace), ("drain_timeout", drain_timeout)):
            check_patience(name, value)
        self.debug = debug
        self.cleanup_grace = cleanup_grace
        self.drain_timeout = drain_timeout
        self._proxies = Proxies(trusted) or None
        self.tasks = Tasks()
        """Background tasks, which outlive the request that starts them."""
        self.thread_limiter = trio.CapacityLimiter(THREADS)
        """How many `def` handlers and providers run at once; the second half of a `@contextmanager` always may."""
        self.file_limiter = trio.CapacityLimiter(THREADS)
        """How many threads open or read files that are responses."""
        self.draining: Notice = trio.Event()
        """Set when the application stops; under `trivet run` as soon as the drain begins."""
        self._lifespan = lifespan
        self._answerer = Answerer(error_map(), debug=debug)
        self._unmatched = Unmatched(self._table, self._socket_table, self._level, self._answerer, slash)
        self._sweep = DisconnectSweep(report)
        self._drain = Drain()
        self._sockets = Sockets(self._socket_table, self._level, self._answerer, self._sweep, self._drain)
        self.state: Mapping[str, Any] = State()
        """What the lifespan yielded, while the application runs."""
        self.limits: tuple[Limit, ...] = ()
        """The limits of its routes, each once, once it has started."""
        self.meter: Meter | None = None
        """What counts its requests, once it has started, if one of its handlers asks for that: see `trivet.asgi`."""
        # The whole application inside its ASGI middleware; made when the table is frozen.
        self._stack: ASGIApp | None = None
        # The application without them. Kept, for a bound method is another object each time it is asked for.
        self._bare: ASGIApp = self._dispatch

    @property
    def services(self) -> tuple[Service, ...]:
        """Its services and how each of them is, in the order they are started; those of mounted routers among them."""
        return self._supervisor.shown

    @property
    def ready(self) -> bool:
        """Whether requests should be sent to it: it runs, is not about to stop, and no service of it has given up.

        Mounted applications count too.
        """
        if self.tasks.nursery is None or self.draining.is_set():
            return False
        inner = [each.app for each in self._mounted if isinstance(each.app, App)]
        return all(each.state != "failed" for each in self.services) and all(each.ready for each in inner)

    def _has_started(self) -> bool:
        return self._stack is not None

    def _refreeze(self, endpoint: Endpoint) -> None:
        if self._stack is not None:
            self._freeze_endpoint(endpoint)

    def _freeze_endpoint(self, endpoint: Endpoint) -> None:
        endpoint.freeze(self, self._answerer, self.thread_limiter)
        if self.meter is not None:
            endpoint.count = self.meter.route(endpoint.path)

    def _freeze(self) -> ASGIApp:
        """Compute what requests need; from here on registration is an error."""
        self._documentation.add_pages(self._level, asked=False)
        places = [entry.value for entry in (*self._table.entries(), *self._socket_table.entries())]
        endpoints = [place for place in places if isinstance(place, Endpoint)]
        self.meter = None if self._metered is None else self._metered.make()
        for endpoint in endpoints:
            self._freeze_endpoint(endpoint)
        check_order((endpoint.path, endpoint.options.limits) for endpoint in endpoints)
        self.limits = tuple(dict.fromkeys(limit for endpoint in endpoints for limit in endpoint.options.limits))
        self._table.freeze()
        self._unmatched.freeze()
        self._sockets.freeze()
        stack = self._bare
        for wrap in reversed(self._wrappers):
            stack = wrap(stack)
        if self._wrappers:
            stack = partial(guarded, partial(fenced, stack))
        self._stack = stack if self.meter is None else partial(measured, stack, self.meter)
        return self._stack

    # ---- serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        stack = self._stack
        if stack is None:
            try:
                check_loop()
                stack = self._freeze()
            except Exception as error:
                if scope["type"] != "lifespan":
                    raise
                await refuse_lifespan(scope, receive, send, error)
                return
        if listened_to() and scope["type"] != "lifespan" and ACCESS not in scope:
            await logged(stack, scope, receive, send)
        elif stack is self._bare and scope["type"] == "http":
            await self._http(scope, receive, send)
        elif stack is self._bare and scope["type"] == "websocket":  # a frame less for as long as it is open
            await self._sockets.serve(self, scope, receive, send)
        else:
            await stack(scope, receive, send)

    def __trivet_door__(self) -> Door | None:
        """The direct door: see `trivet.asgi`. `None`: something is around the application, and must see each request.

        The server asks once, after startup; not one with a root path, of which the door does not know.
        """
        if self._stack is None:
            check_loop()
            self._freeze()
        if self._wrappers or type(self).__call__ is not App.__call__:
            return None
        finish = self._http if self.meter is None else finishing(self._http, self.meter)
        return open_door(self._table, finish, None if self._proxies is None else tells_timeout)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await answer_lifespan(scope, receive, send, partial(life, self, scope))
        elif kind == "websocket":
            await self._sockets.serve(self, scope, receive, send)
        else:
            raise ValueError(f"trivet does not know the ASGI scope type {kind!r}")

    async def _http(self, scope: Scope, receive: Receive, send: Send, unfinished: Unfinished | None = None) -> None:
        """A request, from head to end; `unfinished`: one that the direct door has begun."""
        began = trio.current_time()
        route: RouteInfo | None = None
        params: Mapping[str, Any] = {}
        request: Request | None = None
        target: Target
        left: float | None = None  # what a trusted peer says
        if unfinished is not None:
            target = unfinished
        else:
            path, found = self._unmatched.match(scope)  # the path less root_path
            if not isinstance(found, tuple):
                target = self._unmatched.endpoint(found, path)
            elif isinstance(found[0], Mounted):
                await found[0].app(found[0].below(scope), receive, send)
                return
            else:
                target = route = endpoint = found[0]
                params = found[1]
                if self._proxies is not None and (left := told_timeout(self._proxies, scope)) is not None:
                    if left <= 0:
                        target = spent(endpoint, endpoint.options, params, self._answerer)
                elif endpoint.instant is not None and (outcome := in_one_step(endpoint, params, scope)) is not None:
                    if not isinstance(outcome, Unfinished):
                        await Outbound(send).whole(*outcome)
                        return
                    target = outcome
        if isinstance(target, Unfinished):
            route, params, began, request = target.route, target.params, target.began, target.request
        options = target.options
        if request is None:
            timeout = options.timeout if left is None else min(options.timeout, left)
            request_scope = RequestScope(began + timeout, self.cleanup_grace, report)
            request = Request(self, scope, receive, params, route, options, request_scope, began)
        else:
            request._receive = receive
        outbound = Outbound(send)
        try:
            if request._attach():
                await serve(target, request, outbound, self._answerer)
            elif self._sweep.running:
                request._sweep = self._sweep
                if not target.immediate and options.cancels(request.method):
                    self._sweep.add(request)
                try:
                    await serve(target, request, outbound, self._answerer)
                finally:
                    self._sweep.discard(request)
            else:  # no lifespan, so nobody sweeps: this request has a watcher of its own
                await RequestScope.alongside(request.watch, serve, target, request, outbound, self._answerer)
        finally:
            if request._slots:
                release_places(request)
            if request._descriptors is not None:
                release(request._descriptors)
            if request._uploads:
                await RequestScope.shielded(DELETE_SECONDS, delete, request._uploads)  # noqa: ASYNC102 - it is what shields
            record(request)
