"""App-scoped dependencies: made once, at startup, and handed to every request.

This file owns what one is before it has a value, which others it needs, and that it can need no request. When they are
entered and left is `_life`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, final

from ._modes import Call, Mode, provider_mode
from ._parameter import Parameter, dependency_of, parameters_of
from ._source import identity, locate, show
from .errors import RegistrationError

NOT_ENTERED: Final[Any] = object()


@final
class Shared:
    """The place of one app-scoped value: plans read it, startup fills it."""

    __slots__ = ("call", "needs", "provider", "value")

    def __init__(self, provider: Callable[..., Any]) -> None:
        self.provider = provider
        """As it is asked for; `call` is another's if it was overridden."""
        self.call: Call
        self.needs: tuple[Shared, ...] = ()
        """What its call takes, in the order of its slots."""
        self.value: Any = NOT_ENTERED

    def get(self) -> Any:
        """The value.

        Raises:
            RuntimeError: the application is not running.
        """
        if self.value is NOT_ENTERED:
            raise RuntimeError(
                f"the app-scoped dependency {locate(self.provider)} has not been entered: "
                "this server runs no ASGI lifespan.\nTurn it on, or test with  async with TestClient(app)."
            )
        return self.value


Needs: TypeAlias = tuple[Shared, ...]
"""What a call takes, in the order of its slots."""


class SharedPlaces:
    """The app-scoped dependencies of one application, each once, whichever routes ask for them."""

    def __init__(self) -> None:
        self._places: dict[Any, Shared] = {}

    def find(self, provider: Callable[..., Any]) -> Shared | None:
        """The place of a provider that some route has asked for."""
        return self._places.get(identity(provider))

    def place(self, provider: Callable[..., Any], user: Callable[..., Any] | None = None) -> Shared:
        """The place of a provider and of all that it needs.

        Raises:
            RegistrationError: it needs a request, or is no provider.
        """
        return self._place(provider, user, [])

    def at(self, key: Any) -> Shared | None:
        """The same, by the provider's identity."""
        return self._places.get(key)

    def compiled(self, place: Shared, replacement: Callable[..., Any] | None) -> tuple[Call, Needs]:
        """What fills the place if `replacement` makes the value; `None`: the original, which a replacement may need.

        Raises:
            RegistrationError: it needs a request, or is no provider.
        """
        provider = place.provider
        own = self._compiled(provider, provider_mode(provider, None), [provider])
        if replacement is None:
            return own
        original = Shared(provider)
        original.call, original.needs = own
        return self._compiled(replacement, provider_mode(replacement, None), [provider], original)

    def _place(self, provider: Callable[..., Any], user: Callable[..., Any] | None, chain: list[Any]) -> Shared:
        if provider in chain:
            raise circle([*chain[chain.index(provider) :], provider])
        key = identity(provider) if callable(provider) else provider
        found = self._places.get(key)
        if found is None:
            mode = provider_mode(provider, user)
            found = Shared(provider)
            found.call, found.needs = self._compiled(provider, mode, [*chain, provider])
            self._places[key] = found
        return found

    def _compiled(
        self, fn: Callable[..., Any], mode: Mode, chain: list[Any], original: Shared | None = None
    ) -> tuple[Call, Needs]:
        needs: list[Shared] = []
        positional: list[int] = []
        keyword: list[tuple[str, int]] = []
        for parameter in parameters_of(fn):
            marker = dependency_of(parameter)
            if marker is None:
                raise _needs_request(parameter)
            if marker.scope != "app":
                raise parameter.refuse(
                    f'of an app-scoped provider depends on something of scope "{marker.scope}", made for each request',
                    "What outlives requests can hold nothing of theirs:\n\n"
                    f'    {parameter.name}: Annotated[..., {repr(marker).partition(",")[0].rstrip(")")}, scope="app")]',
                )
            if parameter.positional:
                positional.append(len(needs))
            else:
                keyword.append((parameter.name, len(needs)))
            if original is not None and identity(marker.provider) == identity(original.provider):
                needs.append(original)
            else:
                needs.append(self._place(marker.provider, fn, chain))
        return Call(fn, mode, tuple(positional), tuple(keyword), locate(fn)), tuple(needs)


def in_order(places: Iterable[Shared]) -> list[Shared]:
    """These and all that they need, each once, what is needed first."""
    found: dict[Shared, None] = {}

    def visit(place: Shared) -> None:
        if place not in found:
            for each in place.needs:
                visit(each)
            found[place] = None

    for place in places:
        visit(place)
    return list(found)


def circle(cycle: Iterable[Callable[..., Any]]) -> RegistrationError:
    """The error for providers that need one another."""
    shown = "\n".join(f"    {locate(each)}" for each in cycle)
    return RegistrationError(
        f"these dependencies need one another in a circle:\n{shown}\n"
        "Break it: let one of them take what it needs as an argument."
    )


def _needs_request(parameter: Parameter) -> RegistrationError:
    return RegistrationError(
        f"parameter {parameter.name!r} of an app-scoped provider needs a request:\n{show(parameter.fn)}\n"
        "It is made once, at startup, and can take only others that are:\n\n"
        f'    {parameter.name}: Annotated[..., Depends(provider, scope="app")]\n\n'
        "What is known when the module is imported, let it read by itself."
    )
