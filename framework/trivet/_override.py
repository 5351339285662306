"""`app.override`: another provider in the place of one, for tests.

This file owns what an override does to plans that are compiled already, and how it is taken back. A request that is
under way keeps the plan that it began with.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from ._endpoint import Endpoint
from ._modes import Call, provider_mode
from ._plan import Plan
from ._shared import NOT_ENTERED, Needs, Shared, SharedPlaces, in_order
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
        self.current: Mapping[Any, Callable[..., Any]] = {}
        """What stands in for each provider, by its identity."""
        self._stacks: dict[Any, list[Override]] = {}
        """All that are in force for one provider: the last one counts, and each may be taken back at any time."""
        self._routes: list[Compiled] = []
        self._shared = shared
        self._freeze = freeze
        self._runs = False

    def know(self, route: Compiled) -> None:
        """Take a route that has been registered."""
        self._routes.append(route)
        for place, call, needs in self._places(self.current):
            place.call, place.needs = call, needs

    @contextmanager
    def running(self) -> Generator[Sequence[Shared]]:
        """While the application runs; gives the app-scoped dependencies that some route asks for."""
        self._runs = True
        try:
            yield self._wanted()
        finally:
            self._runs = False

    def _wanted(self) -> Sequence[Shared]:
        return list({place: None for route in self._routes for _, place in route.endpoint.plan.shared})

    def uses(self, provider: Callable[..., Any]) -> bool:
        """Whether some route depends on `provider`, for whatever scope."""
        key, place = identity(provider), self._shared.find(provider)
        return place in in_order(self._wanted()) or any(
            key == identity(each) for route in self._routes for each in route.endpoint.plan.providers
        )

    def put(
        self,
        provider: Callable[..., Any],
        replacement: Callable[..., Any],
        mounted_user: Callable[[Callable[..., Any]], str | None],
    ) -> Override:
        """Put `replacement` in the place of `provider`.

        Args:
            provider: what some route depends on.
            replacement: what is called in its place.
            mounted_user: gives the prefix of a mounted application that depends on a provider.

        Raises:
            RegistrationError: no route uses `provider`, or `replacement` cannot stand there, or not now.
        """
        provider_mode(replacement, None)
        if not self.uses(provider):
            raise _unused(provider, mounted_user(provider))
        place = self._shared.find(provider)
        if place is not None and place.value is not NOT_ENTERED:
            raise RegistrationError(
                f"this app-scoped dependency is in use already:\n{_shown(place.provider)}\n"
                f"Override it before the application starts:{_BEFORE}"
            )
        key = identity(provider)
        override = Override(replacement, lambda: self._take_back(key, override))
        self._change(key, replacement, _too_late)
        self._stacks.setdefault(key, []).append(override)
        return override

    def _take_back(self, key: Any, override: Override) -> None:
        stack = self._stacks[key]
        if override is stack[-1]:
            self._change(key, stack[-2].replacement if len(stack) > 1 else None, _too_early)
        stack.remove(override)

    def _change(
        self, key: Any, replacement: Callable[..., Any] | None, missing: Callable[[Shared], RegistrationError]
    ) -> None:
        """Let `replacement`, or the original, provide; for all that use it, or for none if that fails."""
        overrides = {each: made for each, made in self.current.items() if each != key}
        if replacement is not None:
            overrides[key] = replacement
        using = [
            route for route in self._routes if any(identity(each) == key for each in route.endpoint.plan.providers)
        ]
        plans = [route.compile(overrides) for route in using]
        places = self._places(overrides, key)
        if self._runs:
            for plan in plans:
                for _, place in plan.shared:
                    if place.value is NOT_ENTERED:
                        raise missing(place)
        self.current = overrides
        for place, call, needs in places:
            place.call, place.needs = call, needs
        for route, plan in zip(using, plans, strict=True):
            route.endpoint.plan = plan
            self._freeze(route.endpoint)

    def _places(self, overrides: Mapping[Any, Callable[..., Any]], *keys: Any) -> list[tuple[Shared, Call, Needs]]:
        """The places of what is overridden, and of `keys`, with the call that fills each."""
        found = [(self._shared.at(key), overrides.get(key)) for key in (*overrides, *keys)]
        return [(place, *self._shared.compiled(place, instead)) for place, instead in found if place is not None]


class Override:
    """An override that is in force. As a context manager it is taken back at the end of the block."""

    def __init__(self, replacement: Callable[..., Any], undo: Callable[[], None]) -> None:
        self.replacement = replacement
        self._undo: Callable[[], None] | None = undo

    def undo(self) -> None:
        """Take it back, before or after others for the same provider; once is enough.

        Raises:
            RegistrationError: the application runs without what the original needs; the override stays in force.
        """
        if self._undo is not None:
            self._undo()
            self._undo = None

    def __enter__(self) -> Override:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()


def _unused(provider: Any, mounted_at: str | None) -> RegistrationError:
    """The error for a provider that no route depends on; `mounted_at`: the prefix of an application that does."""
    remedy = (
        "Pass the function that stands in Depends(...), the same object:  app.override(provider, replacement)"
        if mounted_at is None
        else f"The application that is mounted at {mounted_at} does, and has overrides of its own:\n\n"
        "    inner.override(provider, replacement)"
    )
    return RegistrationError(
        f"no route depends on this, so overriding it would change nothing:\n{_shown(provider)}\n{remedy}"
    )


def _too_late(place: Shared) -> RegistrationError:
    return RegistrationError(
        "this app-scoped dependency is needed by the replacement, and by no route when the application started:\n"
        f"{_shown(place.provider)}\nOverride before the application starts, so that it is entered:{_BEFORE}"
    )


def _too_early(place: Shared) -> RegistrationError:
    return RegistrationError(
        "this app-scoped dependency is needed by what was overridden when the application started, and so was not "
        f"entered:\n{_shown(place.provider)}\nTake the override back when the application has stopped:{_BEFORE}"
    )


_BEFORE = """

    with app.override(provider, replacement):
        async with TestClient(app) as client:
            ..."""


def _shown(provider: Any) -> str:
    return show(provider) if callable(provider) else f"    {provider!r}"
