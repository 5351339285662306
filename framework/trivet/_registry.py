"""What an application has registered: routes and their names, services, mounts, ASGI middleware, overrides.

This file owns what becomes of each registration, until the application starts: what is compiled of it, and where it is
kept. It serves no request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import trio

from ._checks import check_wrapper
from ._collect import collecting
from ._compile import compile_plan
from ._docs import Documentation
from ._endpoint import Endpoint, Mounted
from ._limit_checks import check_socket
from ._measured import Asked, asking
from ._options import CommonOptions, Level, Unset
from ._override import Compiled, Override, Overrides
from ._path_types import path_types
from ._pattern import parse, parse_mount
from ._plan import Plan
from ._registered import INJECTABLE, MountedApp, Registered
from ._router import Router
from ._routes import Table
from ._service_plan import ServicePlan, compile_service
from ._service_registration import RegisteredService
from ._services import Services
from ._shared import SharedPlaces
from ._sockets import SocketEndpoint
from ._urls import Urls
from .asgi import ASGIApp
from .errors import RegistrationError

ANY_METHOD: None = None


class Registry(Router):
    """The router at the top: it has the whole path of every route, and a table to put it in.

    Args:
        options: those of `Router`.
        title: see `App`, as for the others.
    """

    def __init__(
        self,
        options: CommonOptions,
        title: str,
        version: str,
        openapi_url: str | Unset | None,
        docs_url: str | Unset | None,
    ) -> None:
        super().__init__(**options)
        self._table: Table[Endpoint | Mounted] = Table()
        # WebSockets have one of their own: they share paths with HTTP's, and no request may find one.
        self._socket_table: Table[Endpoint | Mounted] = Table()
        self._urls = Urls()
        self._mounted: list[Mounted] = []
        self._wrappers: list[Callable[[ASGIApp], ASGIApp]] = []
        self._shared = SharedPlaces()
        self._overrides = Overrides(self._shared)
        self._supervisor = Services()
        self._metered: Asked | None = None
        self._documentation = Documentation(self._table, title, version, openapi_url, docs_url)
        self._documentation.add_pages(self._level, asked=True)

    def _has_started(self) -> bool:
        """Whether it is too late to register anything."""
        raise NotImplementedError

    def _refreeze(self, endpoint: Endpoint) -> None:
        """Compute again what requests need of an endpoint, if that has been done already."""
        raise NotImplementedError

    def _install(self, path: str, entry: Registered | MountedApp, levels: tuple[Level, ...]) -> None:
        if isinstance(entry, MountedApp):
            prefix = parse_mount(path)
            mounted = Mounted(entry, prefix.text)
            self._table.add(prefix, ANY_METHOD, mounted, entry.where)
            self._socket_table.add(prefix, ANY_METHOD, mounted, entry.where)
            self._mounted.append(mounted)
            return
        dependencies = [each for level in (self._level, *levels, entry.level) for each in level.dependencies]
        pattern = parse(path, path_types(entry.handler, dependencies))

        def compiled(overrides: Mapping[Any, Callable[..., Any]]) -> Plan:
            return compile_plan(
                entry.handler,
                pattern.fields,
                INJECTABLE,
                dependencies,
                shared=self._shared,
                overrides=overrides,
                socket=entry.socket,
            )

        plan = compiled(self._overrides.current)
        place, table = (SocketEndpoint, self._socket_table) if entry.socket else (Endpoint, self._table)
        endpoint = place(entry, pattern, plan, (self._level, *levels, entry.level))
        if entry.socket:
            check_socket(path, endpoint.resolve().limits, entry.level.limit)
        metered = asking(path, entry.handler, self._metered)
        table.add(pattern, entry.methods, endpoint, entry.where)
        self._metered = metered
        self._urls.add(endpoint)
        self._overrides.know(Compiled(endpoint, compiled, partial(self._refreeze, endpoint)))

    def _install_service(self, service: RegisteredService) -> None:
        def compiled(overrides: Mapping[Any, Callable[..., Any]]) -> ServicePlan:
            return compile_service(service.fn, trio.Nursery, self._shared, overrides)

        supervised = self._supervisor.add(service, compiled(self._overrides.current))
        self._overrides.know(Compiled(supervised, compiled))

    def _check_open(self, what: str) -> None:
        super()._check_open(what)
        if self._has_started():
            raise RegistrationError(
                f"{what} comes too late:\nthe application has started, and its table is frozen.\n"
                "Register it while its module is imported."
            )

    def wrap(self, middleware: Callable[..., ASGIApp], /, **options: Any) -> None:
        """Put ASGI middleware around the whole application: `app.wrap(CORSMiddleware, allow_origins=[...])`.

        The first wrapped is outermost. It sees every request, those for mounted applications and the lifespan included.

        Args:
            middleware: a class or function that takes an ASGI application first and returns one.
            options: passed on to it.

        Raises:
            RegistrationError: it does not take these options, or the application has started.
        """
        with collecting():
            self._check_open(f"the ASGI middleware {getattr(middleware, '__qualname__', middleware)}")
            check_wrapper(middleware, options)
            self._wrappers.append(partial(middleware, **options))

    def override(self, provider: Callable[..., Any], replacement: Callable[..., Any], /) -> Override:
        """Let `replacement` provide what `provider` does, for tests: `with app.override(database, fake): ...`.

        It is in force at once, for requests that begin from now on and the next runs of services, until the block ends
        or `undo()` is called. The replacement is any provider: what it takes is bound, and it is left like any other;
        where it depends on `provider`, it is given what that makes. An app-scoped provider can be overridden only
        before the application starts.

        Args:
            provider: what stands in `Depends(...)`.
            replacement: what is called in its place.

        Raises:
            RegistrationError: no route and no service depends on `provider`, or `replacement` cannot provide.
        """
        return self._overrides.put(provider, replacement, self._mounted_user)

    def _mounted_user(self, provider: Callable[..., Any]) -> str | None:
        """The prefix of a mounted application that depends on `provider`, or mounts one that does."""
        for each in self._mounted:
            inner: object = each.app
            if isinstance(inner, Registry) and (
                inner._overrides.uses(provider) or inner._mounted_user(provider) is not None
            ):
                return each.prefix
        return None

    def url_for(self, target: Callable[..., Any] | str, /, **params: object) -> str:
        """The path of a route, by handler or name, percent-encoded. `request.url_for` puts the root path before it.

        Raises:
            LookupError: no such route; the message has the nearest name.
            TypeError: a parameter is missing or unknown.
            ValueError: a value cannot be spelt so that the route matches it.
        """
        return self._urls.build(target, params)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document of the application as it is now, mounted trivet applications included.

        Raises:
            RegistrationError: a provider describes itself wrongly.
        """
        return self._documentation.decoded()
