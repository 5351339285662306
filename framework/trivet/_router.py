"""Routers: what is registered where, with which options, and what a mounted router passes on.

This file owns registration: decorators, the chain of levels from the application down to the route, and the rule that
a route registered on a mounted router reaches the application at that very line, so that a conflict shows there. It
matches nothing and runs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, Unpack

from . import _options
from ._checks import check_catcher, check_middleware, check_middlewares, check_path, placing
from ._collect import collecting
from ._options import CommonOptions, Level, RouteOptions, WebSocketOptions
from ._ported import instead_of_attribute
from ._registered import MountedApp, Registered, http_route, socket_route
from ._request import Request
from ._response import Response
from ._service_registration import ServiceRegistry
from ._source import caller, locate
from .asgi import ASGIApp
from .errors import Location, RegistrationError

H = TypeVar("H", bound=Callable[..., Any])
M = TypeVar("M", bound=Callable[[Any, Any], Awaitable[Any]])

Next: TypeAlias = Callable[[Request], Awaitable[Response]]
"""The type of `call_next` in a middleware."""


class Router(ServiceRegistry):
    """A group of routes with options in common, to be mounted: `app.mount("/api", router)`.

    Args:
        options: `timeout`, `send_timeout`, `body_timeout` (seconds up to the response's head, without progress of a
            write, without progress of the body), `max_body` (bytes), `on_disconnect` (`"cancel"` or `"finish"`),
            `limit` (a `Limit`), `middleware`, `dependencies`, `tags`; of WebSockets `idle_timeout` (seconds without a
            message either way), `on_drain` (`"cancel"`, or `"finish"`: go on for `drain_timeout`) and `origins` (of
            pages that may open them, beside their own; `None`: any). They apply to all its routes, whatever the order
            of registration; a route's own value wins, lists and limits add up, but for `limit=None`: those further out
            do not count.

    Raises:
        RegistrationError: an unknown option or a value that it does not take.
    """

    # For messages: what this is, and the options that its own constructor takes.
    _kind: ClassVar[str] = "router"
    _own_options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **options: Unpack[CommonOptions]) -> None:
        super().__init__()
        self._level = _options.level(options, self._own_options, owner=self._kind)
        check_middlewares(self._level)
        self._entries: list[tuple[str, Registered | MountedApp, tuple[Level, ...]]] = []
        self._parents: list[tuple[Router, str]] = []

    if not TYPE_CHECKING:  # to a type checker every name would be one of a router's

        def __getattr__(self, name: str) -> Any:
            kind = type(self).__name__
            remedy = instead_of_attribute(name)
            text = f"{kind!r} object has no attribute {name!r}" if not remedy else f"{kind} has no {name!r}.\n{remedy}"
            raise AttributeError(text, name=name, obj=self)

    # ---- routes

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for GET, and for HEAD unless HEAD is registered on the same path."""
        return self.route(path, methods=["GET"], **options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for POST."""
        return self.route(path, methods=["POST"], **options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for PUT."""
        return self.route(path, methods=["PUT"], **options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for PATCH."""
        return self.route(path, methods=["PATCH"], **options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for DELETE."""
        return self.route(path, methods=["DELETE"], **options)

    def head(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for HEAD; it wins over GET's on the same path, in any order."""
        return self.route(path, methods=["HEAD"], **options)

    def options(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for OPTIONS, instead of the automatic 204 with `Allow`."""
        return self.route(path, methods=["OPTIONS"], **options)

    def route(self, path: str, *, methods: Sequence[str], **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for several methods.

        Args:
            path: literal segments and fields: `/users/{id}`, `/users/{id:int}`, `/{name}.png`, `/files/{rest:path}`.
            methods: tokens (RFC 9110 section 9.1), case-sensitive.
            options: those of `Router`, and `status` (of plain values), `name` (for `url_for`), `summary`,
                `include_in_schema`.

        Returns:
            A decorator that returns the handler unchanged, types and all.

        Raises:
            RegistrationError: the path does not parse, the signature cannot be bound, an option is wrong, or the
                application has started.
            RouteConflict: another route matches the same request, and neither is more specific.
        """

        with collecting():
            check_path(path)

        def register(handler: H) -> H:
            with collecting():
                self._register(path, handler, partial(http_route, methods=methods, options=options))
            return handler

        return register

    def _register(
        self, path: str, handler: Callable[..., Any], make: Callable[[str, Callable[..., Any]], Registered]
    ) -> None:
        self._check_open(f"the route {path!r}")
        with placing(handler):
            registered = make(path, handler)
        self._add(path, registered, ())

    def websocket(self, path: str, **options: Unpack[WebSocketOptions]) -> Callable[[H], H]:
        """Register a handler for WebSockets: `async def room(ws: WebSocket, name: str)`.

        It is bound as a request's handler is, but that there is no body, and shares no path with one: a WebSocket and
        a `get` may have the same. Dependencies and catchers apply to it; middleware does not, but for ASGI's.

        Args:
            path: as for `route`.
            options: those of `Router` but for HTTP's (`middleware`, `body_timeout`, `max_body`, `responses`), where
                `timeout` ends with the acceptance; and `name` (for `url_for`), `summary`.

        Returns:
            A decorator that returns the handler unchanged, types and all.

        Raises:
            RegistrationError, RouteConflict: as `route`.
        """

        with collecting():
            check_path(path, "websocket")

        def register(handler: H) -> H:
            with collecting():
                self._register(path, handler, partial(socket_route, options=options))
            return handler

        return register

    # ---- mounting

    def mount(self, prefix: str, other: Router | ASGIApp, /) -> None:
        """Merge a router's routes under `prefix`, and its services, or mount any ASGI application there.

        A mounted router passes on what is registered on it later. A mounted ASGI application gets everything below the
        prefix that no route takes: `root_path` gains the prefix, `path` stays whole, `receive` is left to it
        (`on_disconnect` does not apply), and its lifespan runs within ours.

        Args:
            prefix: `/api`, or empty to merge a router as it is. It does not end in a slash.
            other: a `Router`, or an ASGI 3 application.

        Raises:
            RegistrationError: the prefix does not parse, `other` is neither, or routers mount one another in a circle.
            RouteConflict: a route of `other` conflicts with one that is here.
        """
        with collecting():
            self._mount(prefix, other)

    def _mount(self, prefix: str, other: Router | ASGIApp) -> None:
        self._check_open(f"the mount at {prefix!r}")
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            inner = prefix.strip("/")
            remedy = f'app.mount("/{inner}", ...)' if inner else 'app.mount("", router)'
            raise RegistrationError(
                f"{prefix!r} is not a prefix.\nIt starts with a slash and does not end in one:  {remedy}"
            )
        if isinstance(other, Router) and (other is self or other in self._ancestors()):
            raise RegistrationError(
                f"mounting this router at {prefix!r} would put it inside itself.\n"
                "Mount it on another one, or on the app."
            )
        if isinstance(other, Router) and not callable(other):
            other._parents.append((self, prefix))
            for path, entry, levels in list(other._entries):
                with collecting():  # one by one: `trivet check` reports the faults of all
                    self._add(prefix + path, entry, (other._level, *levels))
            for service in other._services:
                with collecting():
                    self._take_service(service)
            return
        if not callable(other):
            raise RegistrationError(
                f"{other!r} cannot be mounted: it is neither a Router nor an ASGI application.\n"
                "Pass the application itself, not its module or its name."
            )
        if not prefix:
            raise RegistrationError('an ASGI application needs a prefix: app.mount("/old", other)')
        self._add(prefix, MountedApp(prefix, other, _mounted_from(other)), ())

    def _add(self, path: str, entry: Registered | MountedApp, levels: tuple[Level, ...]) -> None:
        """Take an entry, from ourselves or from a router mounted here, and pass it on."""
        if isinstance(entry, Registered):
            # Here as well: what is wrong with a route of a router may show only where that is mounted.
            with placing(entry.handler):
                self._install(path, entry, levels)
        else:
            self._install(path, entry, levels)
        self._entries.append((path, entry, levels))
        for parent, prefix in self._parents:
            parent._add(prefix + path, entry, (self._level, *levels))

    def _install(self, path: str, entry: Registered | MountedApp, levels: tuple[Level, ...]) -> None:
        """What the application overrides: it has the whole path, and a table to put it in."""

    def _service_parents(self) -> list[ServiceRegistry]:
        return [parent for parent, _ in self._parents]

    def _ancestors(self) -> list[Router]:
        found: list[Router] = []
        waiting = [parent for parent, _ in self._parents]
        while waiting:
            router = waiting.pop()
            found.append(router)
            waiting += [parent for parent, _ in router._parents]
        return found

    def _check_open(self, what: str) -> None:
        for parent, _ in self._parents:
            parent._check_open(what)

    # ---- middleware and catchers

    def middleware(self, fn: M, /) -> M:
        """Register `async def timing(request: Request, call_next: Next) -> Response` around all routes.

        Outer levels come first; within a level, first registered is outermost. It runs in the request's task, before
        `call_next` under the deadline, after it with `cleanup_grace` seconds. `call_next` always returns a `Response`.
        """
        with collecting():
            self._check_open(f"the middleware {locate(fn)}")
            self._level.middleware.append(check_middleware(fn))
        return fn

    def catch(self, what: type[BaseException] | int, /) -> Callable[[H], H]:
        """Register a catcher: `async def on(request: Request, exc: E, /)`, which returns any result.

        The nearest level wins; within a level an exception's own class before its bases, a class before a status.
        `catch(Exception)` sees bugs: what has no status of its own.

        Args:
            what: an exception class, or a status (400 to 599).
        """
        if isinstance(what, int):
            if not 400 <= what <= 599:
                raise RegistrationError(f"catch({what}): an error has a status from 400 to 599.\nWrite catch(404).")
        elif not (isinstance(what, type) and issubclass(what, BaseException)):
            raise RegistrationError(
                f"catch({what!r}): this is neither an exception class nor a status.\n"
                "Write catch(KeyError), or catch(404)."
            )

        def register(fn: H) -> H:
            with collecting():
                self._check_open(f"the catcher {locate(fn)}")
                check_catcher(fn)
                if what in self._level.catchers:
                    first = locate(self._level.catchers[what])
                    raise RegistrationError(
                        f"two catchers for {_spell(what)} on one level:\n    {first}\n    {locate(fn)}\n"
                        "Remove one, or register it on the router whose routes it is meant for."
                    )
                self._level.catchers[what] = fn
            return fn

        return register


def _spell(what: type[BaseException] | int) -> str:
    return str(what) if isinstance(what, int) else what.__name__


def _mounted_from(app: object) -> Location:
    """The line that mounts an ASGI application: it has no line of its own that would say more."""
    return caller(f"{type(app).__qualname__}" if not inspect.isfunction(app) else app.__qualname__)
