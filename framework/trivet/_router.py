"""Routers: what is registered where, with which options, and what a mounted router passes on.

This file owns registration: decorators, the chain of levels from the application down to the route, and the rule that
a route registered on a mounted router reaches the application at that very line, so that a conflict shows there. It
matches nothing and runs nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, Unpack

import trio

from . import _options
from ._collect import collecting
from ._options import CommonOptions, Level, RouteOptions
from ._plan import NURSERY
from ._request import Request
from ._response import Response
from ._source import is_async, locate, show
from .asgi import ASGIApp
from .errors import Location, RegistrationError, RouteConflict

H = TypeVar("H", bound=Callable[..., Any])
M = TypeVar("M", bound=Callable[[Any, Any], Awaitable[Any]])

Next: TypeAlias = Callable[[Request], Awaitable[Response]]
"""The type of `call_next` in a middleware."""

# What a handler may ask for by type, and the key that `_resolve` knows it by.
INJECTABLE: Mapping[Any, str] = {Request: "request", trio.Nursery: NURSERY}

TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
STANDARD = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


@dataclass(frozen=True, slots=True)
class Registered:
    """A route as it was registered on one router; its prefix and options depend on where that is mounted."""

    path: str
    methods: frozenset[str]
    handler: Callable[..., Any]
    name: str
    level: Level
    status: int | None
    summary: str
    include_in_schema: bool
    where: Location


@dataclass(frozen=True, slots=True)
class MountedApp:
    """An ASGI application as it was mounted on one router."""

    prefix: str
    app: ASGIApp
    where: Location


class Router:
    """A group of routes with options in common, to be mounted: `app.mount("/api", router)`.

    Args:
        options: `timeout`, `send_timeout`, `body_timeout` (seconds up to the response's head, without progress of a
            write, without progress of the body), `max_body` (bytes), `on_disconnect` (`"cancel"` or `"finish"`),
            `middleware`, `dependencies`, `tags`. They apply to all its routes, whatever the order of registration; a
            route's own value wins.

    Raises:
        RegistrationError: an unknown option or a value that it does not take.
    """

    def __init__(self, **options: Unpack[CommonOptions]) -> None:
        self._level = _options.level(options, owner="router")
        self._entries: list[tuple[str, Registered | MountedApp, tuple[Level, ...]]] = []
        self._parents: list[tuple[Router, str]] = []

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

        def register(handler: H) -> H:
            with collecting(), placing(handler):
                self._register(path, methods, handler, options)
            return handler

        return register

    def _register(self, path: str, methods: Sequence[str], handler: Callable[..., Any], options: RouteOptions) -> None:
        self._check_open(f"the route {path!r}")
        level = _options.level(options, ("status", "name", "summary", "include_in_schema"))
        registered = Registered(
            path=path,
            methods=_check_methods(methods, handler),
            handler=handler,
            name=options.get("name") or str(getattr(handler, "__name__", type(handler).__name__)),
            level=level,
            status=_check_status(options.get("status"), handler),
            summary=options.get("summary", ""),
            include_in_schema=options.get("include_in_schema", True),
            where=locate(handler),
        )
        self._add(path, registered, ())

    # ---- mounting

    def mount(self, prefix: str, other: Router | ASGIApp, /) -> None:
        """Merge a router's routes under `prefix`, or mount any ASGI application there.

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
            raise RegistrationError(
                f"{prefix!r} is not a prefix.\nIt starts with a slash and does not end in one: "
                f'app.mount("/{prefix.strip("/")}", ...)'
            )
        if isinstance(other, Router) and not callable(other):
            if other is self or other in self._ancestors():
                raise RegistrationError(f"mounting this router at {prefix!r} would put it inside itself.")
            other._parents.append((self, prefix))
            for path, entry, levels in list(other._entries):
                self._add(prefix + path, entry, (other._level, *levels))
            return
        if not callable(other):
            raise RegistrationError(
                f"{other!r} cannot be mounted: it is neither a Router nor an ASGI application.\n"
                "Pass the application itself, not its module or its name."
            )
        if not prefix:
            raise RegistrationError('an ASGI application needs a prefix: app.mount("/old", other)')
        self._add(prefix, MountedApp(prefix, other, _where_is(other)), ())

    def _add(self, path: str, entry: Registered | MountedApp, levels: tuple[Level, ...]) -> None:
        """Take an entry, from ourselves or from a router mounted here, and pass it on."""
        self._install(path, entry, levels)
        self._entries.append((path, entry, levels))
        for parent, prefix in self._parents:
            parent._add(prefix + path, entry, (self._level, *levels))

    def _install(self, path: str, entry: Registered | MountedApp, levels: tuple[Level, ...]) -> None:
        """What the application overrides: it has the whole path, and a table to put it in."""

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
                raise RegistrationError(f"catch({what}): an error has a status from 400 to 599.")
        elif not (isinstance(what, type) and issubclass(what, BaseException)):
            raise RegistrationError(f"catch({what!r}): name an exception class or a status.")

        def register(fn: H) -> H:
            with collecting():
                self._check_open(f"the catcher {locate(fn)}")
                if what in self._level.catchers:
                    first = locate(self._level.catchers[what])
                    raise RegistrationError(f"two catchers for {what} on one level: {first} and {locate(fn)}.")
                self._level.catchers[what] = fn
            return fn

        return register


def check_middleware(fn: M) -> M:
    """Refuse what cannot be called as `await fn(request, call_next)`."""
    if not callable(fn) or not is_async(fn):
        raise RegistrationError(
            f"this is not a middleware:\n{show(fn) if callable(fn) else f'    {fn!r}'}\n"
            "Write\n\n    async def timing(request: Request, call_next: Next) -> Response:\n"
            "        response = await call_next(request)\n        return response\n\n"
            "ASGI middleware is added with app.wrap(Middleware, **options)."
        )
    return fn


@contextmanager
def placing(handler: Callable[..., Any]) -> Generator[None]:
    """Show where the handler is in every registration error of the body that does not say so itself."""
    try:
        yield
    except RegistrationError as error:
        where = locate(handler)
        if not isinstance(error, RouteConflict) and f"{where.file}:{where.line}" not in str(error):
            raise type(error)(f"{error}\n{show(handler)}") from None
        raise


def _check_methods(methods: Sequence[str], handler: Callable[..., Any]) -> frozenset[str]:
    if isinstance(methods, str) or not methods:
        raise RegistrationError(
            f'methods={methods!r} is not a list of methods:\n{show(handler)}\nWrite methods=["GET"].'
        )
    for method in methods:
        if not method or not TOKEN.issuperset(method):
            raise RegistrationError(f"{method!r} is not a method (RFC 9110 section 9.1):\n{show(handler)}")
        if method != method.upper() and method.upper() in STANDARD:
            raise RegistrationError(
                f"methods are case-sensitive, and {method!r} is not {method.upper()!r}:\n{show(handler)}\n"
                f'Write methods=["{method.upper()}"].'
            )
    return frozenset(methods)


def _check_status(status: int | None, handler: Callable[..., Any]) -> int | None:
    if status is not None and not 200 <= status <= 599:
        raise RegistrationError(f"status={status!r} cannot be a response's status (200 to 599):\n{show(handler)}")
    return status


def _where_is(app: object) -> Location:
    """Where an ASGI application comes from: as near as Python knows."""
    if callable(app):
        place = locate(app)
        if place.line:
            return place
    kind = type(app)
    return Location(f"{kind.__module__}.{kind.__qualname__} object", "mounted", 0)
