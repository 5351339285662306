"""A service as it is registered, on a router or an application.

This file owns the decorator, and the rule that a router's services are those of the application that it is mounted in,
each once, wherever it is mounted. It runs none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast, overload

from ._checks import check_service, placing
from ._collect import collecting
from ._option_checks import check_patience
from ._restart import Restart, ServiceOptions, When
from ._source import name_of, show
from .errors import RegistrationError

S = TypeVar("S", bound=Callable[..., Awaitable[object]])


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredService:
    """A service as it was registered."""

    fn: Callable[..., Awaitable[object]]
    name: str
    restart: Restart
    drain_timeout: float
    """Seconds that it has to end by itself before it is cancelled."""


class ServiceRegistry:
    """What has services: every router."""

    _kind: ClassVar[str]

    def __init__(self) -> None:
        self._services: list[RegisteredService] = []

    @overload
    def service(self, fn: S, /) -> S: ...
    @overload
    def service(
        self,
        fn: None = None,
        /,
        *,
        name: str = ...,
        restart: When = ...,
        backoff: float = ...,
        max_backoff: float = ...,
        max_restarts: int | None = ...,
        reset_after: float = ...,
        drain_timeout: float = ...,
    ) -> Callable[[S], S]: ...
    def service(self, fn: Any = None, /, **options: Any) -> Any:
        """Register a service: `async def refresh(cache: Annotated[Cache, Depends(cache, scope="app")]) -> None`.

        It runs from startup to shutdown of the application. It is started after those registered before it, and the
        application serves when all of them are: when their dependencies are entered and, of those that take
        `task_status`, when they have called `task_status.started()`. One that fails before that stops the startup.

        It takes app-scoped dependencies, others (made anew for each of its runs), `nursery: trio.Nursery` and
        `task_status: trio.TaskStatus[None]`; nothing of a request.

        At shutdown, after requests and `app.tasks`, services end in reverse order: each is cancelled, and its
        dependencies see `RequestCancelled("drained")` and have `cleanup_grace` seconds each.

        Args:
            fn: an async function.
            name: what it is called in logs and on pages; its function's name by default.
            restart: `"on-failure"`: it is started again when it raises; `"always"`: when it returns as well; `"never"`.
            backoff: seconds of the longest first pause before that. It doubles each time, and each is drawn from 0 on.
            max_backoff: seconds of the longest pause.
            max_restarts: after how many restarts in a row it gives up, which stops the server with a failure (under
                `trivet run`; elsewhere it is logged, and `app.ready` is false); `None`: never.
            reset_after: seconds after which a run has gone well, and the row begins anew.
            drain_timeout: seconds that it has to end by itself, when `app.draining` is set and requests are over,
                before it is cancelled.

        Returns:
            The function unchanged, or a decorator that does.

        Raises:
            RegistrationError: it cannot be bound, an option is wrong, another one has its name, or the application has
                started.
        """

        def register(fn: S) -> S:
            with collecting():
                self._register_service(fn, cast("ServiceOptions", options))
            return fn

        return register if fn is None else register(fn)

    def _register_service(self, fn: Callable[..., Awaitable[object]], options: ServiceOptions) -> None:
        self._check_open(f"the service {name_of(fn) if callable(fn) else repr(fn)}")
        check_service(fn)
        with placing(fn, "service"):
            restart = Restart.of(options)
            name = options.get("name", name_of(fn).rpartition(".")[2])
            if not isinstance(name, str) or not name:
                raise RegistrationError(f'name={name!r} is not the name of a service.\nWrite name="refresh".')
            drain_timeout = options.get("drain_timeout", 0.0)
            check_patience("drain_timeout", drain_timeout)
            self._take_service(RegisteredService(fn, name, restart, drain_timeout))

    def _take_service(self, service: RegisteredService) -> None:
        """Take a service, from ourselves or from a router mounted here, and pass it on."""
        if service in self._services:  # of a router that is mounted twice
            return
        with placing(service.fn, "service"):
            self._install_service(service)
        self._services.append(service)
        for parent in self._service_parents():
            parent._take_service(service)

    def _install_service(self, service: RegisteredService) -> None:
        """What the application overrides: it compiles the service, and runs it."""

    def _service_parents(self) -> list[ServiceRegistry]:
        """Where this one is mounted."""
        raise NotImplementedError

    def _check_open(self, what: str) -> None:
        raise NotImplementedError


def same_name(service: RegisteredService, other: RegisteredService) -> RegistrationError:
    """The error for two services of one name, by which logs and pages would take one for the other."""
    return RegistrationError(
        f"two services are called {service.name!r}:\n{show(other.fn)}\n{show(service.fn)}\n"
        f'Name one of them:  @app.service(name="{service.name}-{_module(service.fn)}")'
    )


def _module(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__module__", "2")).rpartition(".")[2]
