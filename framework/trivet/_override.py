"""`app.override`: another provider in the place of one, for tests.

This file owns what an override does to plans that are compiled already, and how it is taken back. A request that is
under way keeps the plan that it began with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from ._endpoint import Endpoint
from ._modes import provider_mode
from ._plan import Plan
from ._shared import NOT_ENTERED, Shared, SharedPlaces, in_order
from ._source import identity, show
from .errors import RegistrationError


class Compiled(NamedTuple):
    """An endpoint, and how its plan is compiled with other providers."""

    endpoint: Endpoint
    compile: Callable[[Mapping[Any, Callable[..., Any]]], Plan]


class Overrides:
    """The overrides of one application.

    Args:
        shared: its app-scoped dependencies.
        freeze: lets an endpoint serve its new plan, if the application serves already.
    """

    def __init__(self, shared: SharedPlaces, freeze: Callable[[Endpoint], None]) -> None:
        self.current: dict[Any, Callable[..., Any]] = {}
        """What stands in for each provider, by its identity."""
        self._routes: list[Compiled] = []
        self._shared = shared
        self._freeze = freeze

    def know(self, route: Compiled) -> None:
        """Take a route that has been registered."""
        self._routes.append(route)

    def wanted(self) -> Sequence[Shared]:
        """The app-scoped dependencies that some route asks for."""
        return list({place: None for route in self._routes for _, place in route.endpoint.plan.shared})

    def put(self, provider: Callable[..., Any], replacement: Callable[..., Any]) -> Override:
        """Put `replacement` in the place of `provider`.

        Raises:
            RegistrationError: no route uses `provider`, or `replacement` cannot stand there.
        """
        provider_mode(replacement, None)
        place = self._shared.find(provider)
        if place is not None and place in in_order(self.wanted()):
            return self._put_shared(place, replacement)
        key = identity(provider)
        if not any(key == identity(each) for route in self._routes for each in route.endpoint.plan.providers):
            raise RegistrationError(
                f"no route depends on this, so overriding it would change nothing:\n{_shown(provider)}\n"
                "Pass the function that stands in Depends(...), the same object:  app.override(provider, replacement)"
            )
        before = self.current.get(key)
        self._compile({**self.current, key: replacement}, key)

        def undo() -> None:
            restored = {each: made for each, made in self.current.items() if each != key}
            self._compile(restored if before is None else {**restored, key: before}, key)

        return Override(undo)

    def _put_shared(self, place: Shared, replacement: Callable[..., Any]) -> Override:
        if place.value is not NOT_ENTERED:
            raise RegistrationError(
                f"this app-scoped dependency is in use already:\n{_shown(place.provider)}\n"
                "Override it before the application starts:\n\n"
                "    with app.override(provider, replacement):\n        async with TestClient(app) as client:\n"
                "            ..."
            )
        before = place.call, place.needs
        self._shared.override(place, replacement)

        def undo() -> None:
            place.call, place.needs = before

        return Override(undo)

    def _compile(self, overrides: dict[Any, Callable[..., Any]], key: Any) -> None:
        """Compile what uses the provider `key`; all of it, or nothing if that fails."""
        using = [
            route for route in self._routes if any(identity(each) == key for each in route.endpoint.plan.providers)
        ]
        plans = [route.compile(overrides) for route in using]
        self.current = overrides
        for route, plan in zip(using, plans, strict=True):
            route.endpoint.plan = plan
            self._freeze(route.endpoint)


class Override:
    """An override that is in force. As a context manager it is taken back at the end of the block."""

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    def undo(self) -> None:
        """Take it back; once is enough."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def __enter__(self) -> Override:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()


def _shown(provider: Any) -> str:
    return show(provider) if callable(provider) else f"    {provider!r}"
