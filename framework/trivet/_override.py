"""`app.override`: another provider in the place of one, for tests.

This file owns what an override does to plans that are compiled already, and how it is taken back. A request that is
under way keeps the plan that it began with, as does a run of a service.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from ._modes import Call, provider_mode
from ._shared import NOT_ENTERED, Needs, Shared, SharedPlaces, in_order
from ._source import identity, show
from .errors import RegistrationError


class Providing(Protocol):
    """What an override has to know of a plan."""

    @property
    def shared(self) -> Sequence[tuple[int, Shared]]:
        """App-scoped values."""
        ...

    @property
    def providers(self) -> Sequence[Callable[..., Any]]:
        """Every provider that runs."""
        ...


P = TypeVar("P", bound=Providing)


class Planned(Protocol[P]):
    """What has a plan: an endpoint, a service."""

    plan: P


class Compiled(Generic[P]):
    """What has a plan, and how that is compiled with other providers.

    Args:
        user: what has the plan.
        compile: gives the plan with these overrides.
        changed: lets `user` take notice of its new plan.
    """

    def __init__(
        self,
        user: Planned[P],
        compile: Callable[[Mapping[Any, Callable[..., Any]]], P],  # noqa: A002 - it is what it does
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self.user = user
        self._compile = compile
        self._changed = changed

    def prepare(self, overrides: Mapping[Any, Callable[..., Any]]) -> tuple[P, Callable[[], None]]:
        """The plan with these overrides, and what puts it into force."""
        plan = self._compile(overrides)

        def take() -> None:
            self.user.plan = plan
            self._changed()

        return plan, take


class Overrides:
    """The overrides of one application.

    Args:
        shared: its app-scoped dependencies.
    """

    def __init__(self, shared: SharedPlaces) -> None:
        self.current: Mapping[Any, Callable[..., Any]] = {}
        """What stands in for each provider, by its identity."""
        self._stacks: dict[Any, list[Override]] = {}
        """All that are in force for one provider: the last one counts, and each may be taken back at any time."""
        self._users: list[Compiled[Any]] = []
        self._shared = shared
        self._runs = False

    def know(self, user: Compiled[Any]) -> None:
        """Take a route or a service that has been registered."""
        self._users.append(user)
        for place, call, needs in self._places(self.current):
            place.call, place.needs = call, needs

    @contextmanager
    def running(self) -> Generator[Sequence[Shared]]:
        """While the application runs; gives the app-scoped dependencies that are asked for."""
        self._runs = True
        try:
            yield self._wanted()
        finally:
            self._runs = False

    def _wanted(self) -> Sequence[Shared]:
        return list({place: None for each in self._users for _, place in each.user.plan.shared})

    def uses(self, provider: Callable[..., Any]) -> bool:
        """Whether a route or a service depends on `provider`, for whatever scope."""
        key, place = identity(provider), self._shared.find(provider)
        return place in in_order(self._wanted()) or any(
            key == identity(each) for user in self._users for each in user.user.plan.providers
        )

    def put(
        self,
        provider: Callable[..., Any],
        replacement: Callable[..., Any],
        mounted_user: Callable[[Callable[..., Any]], str | None],
    ) -> Override:
        """Put `replacement` in the place of `provider`.

        Args:
            provider: what a route or a service depends on.
            replacement: what is called in its place.
            mounted_user: gives the prefix of a mounted application that depends on a provider.

        Raises:
            RegistrationError: nothing uses `provider`, or `replacement` cannot stand there, or not now.
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
        using = [each for each in self._users if any(identity(used) == key for used in each.user.plan.providers)]
        plans = [each.prepare(overrides) for each in using]
        places = self._places(overrides, key)
        if self._runs:
            for plan, _ in plans:
                for _, place in plan.shared:
                    if place.value is NOT_ENTERED:
                        raise missing(place)
        self.current = overrides
        for place, call, needs in places:
            place.call, place.needs = call, needs
        for _, take in plans:
            take()

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
    """The error for a provider that nothing depends on; `mounted_at`: the prefix of an application that does."""
    remedy = (
        "Pass the function that stands in Depends(...), the same object:  app.override(provider, replacement)"
        if mounted_at is None
        else f"The application that is mounted at {mounted_at} does, and has overrides of its own:\n\n"
        "    inner.override(provider, replacement)"
    )
    return RegistrationError(
        f"no route and no service depends on this, so overriding it would change nothing:\n{_shown(provider)}\n{remedy}"
    )


def _too_late(place: Shared) -> RegistrationError:
    return RegistrationError(
        "this app-scoped dependency is needed by the replacement, and by nothing else when the application started:\n"
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
