"""From a service's signature to its plan, once, at registration.

This file owns what a service may take: app-scoped values, dependencies that are made anew for each of its runs, a
nursery, and `task_status`. What needs a request it refuses. The walk over the dependencies is `_compile`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ._compile import Compiler
from ._extract import Injected, Source
from ._modes import Call, Mode
from ._parameter import Parameter
from ._plan import NURSERY, Step
from ._shared import Shared, SharedPlaces
from .errors import RegistrationError

STATUS: Final = "task_status"
"""The parameter's name, as Trio's `nursery.start` passes it, and the key of what it is given."""


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """All that is needed to run one service once."""

    service: Call
    size: int
    shared: tuple[tuple[int, Shared], ...]
    """App-scoped values."""
    steps: tuple[Step, ...]
    """What is made for each run, in this order, and left in reverse."""
    nursery: int | None
    """The slot of an injected nursery, which opens last."""
    status: int | None
    """The slot of its `task_status`."""
    providers: tuple[Callable[..., Any], ...]
    """Every provider that runs, each once."""


class _Compiler(Compiler):
    def source(self, parameter: Parameter, *, provider: bool) -> Source:
        if parameter.name == STATUS and not provider:
            return Injected(STATUS, STATUS)
        for kind, key in self.injectable.items():
            if parameter.annotation is kind:
                return Injected(parameter.name, key)
        raise _needs_request(parameter, provider=provider)


def compile_service(
    fn: Callable[..., Any],
    nursery: type[Any],
    shared: SharedPlaces,
    overrides: Mapping[Any, Callable[..., Any]],
) -> ServicePlan:
    """Compile a service.

    Args:
        fn: an async function.
        nursery: the type that stands for a nursery of its own.
        shared: the app-scoped dependencies of the application.
        overrides: what stands in for a provider, by its identity.

    Raises:
        RegistrationError: it, or one of its dependencies, needs a request, or cannot be bound.
    """
    compiler = _Compiler(fn, {}, {nursery: NURSERY}, shared, overrides, socket=False)
    call, _ = compiler.call(fn, Mode.ASYNC)
    injected = {source.key: slot for slot, source in compiler.of(Injected)}
    return ServicePlan(
        service=call,
        size=len(compiler.sources),
        shared=tuple(compiler.of(Shared)),
        steps=tuple(step for step, _ in compiler.steps),
        nursery=injected.get(NURSERY),
        status=injected.get(STATUS),
        providers=compiler.providers(),
    )


def _needs_request(parameter: Parameter, *, provider: bool) -> RegistrationError:
    whose = "of a service's dependency" if provider else "of a service"
    status = "" if provider else "\n\nor  task_status: trio.TaskStatus[None]  and  nursery: trio.Nursery"
    return parameter.refuse(
        f"{whose} would be read from a request, and a service has none",
        "It takes what others make:\n\n"
        f"    {parameter.name}: Annotated[..., Depends(provider)]                  made for each of its runs\n"
        f'    {parameter.name}: Annotated[..., Depends(provider, scope="app")]     one for the whole application'
        f"{status}",
    )
