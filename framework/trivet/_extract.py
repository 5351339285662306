"""Where a parameter's value comes from, as data: path, query, body, an injected object, or a dependency.

This file owns how one value is taken from what has been parsed already, and the fault if it cannot be. It reads no
socket and knows no handler: `_plan` makes these from a signature, `_resolve` runs them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ._body import JSONDecoder
from ._convert import Converter
from .errors import Fault

REQUIRED: Final[Any] = object()
"""The default of a parameter that has none."""


class Depends:
    """Marks a parameter whose value a provider makes: `user: Annotated[User, Depends(current_user)]`.

    Args:
        provider: a function, an async function, or one decorated with `@contextmanager` or `@asynccontextmanager`.
            Its own parameters are bound like a handler's. It runs once per request however many ask for it.

    A context manager is left after the handler, in reverse order of entering, in the handler's own task; a stream's
    after its last chunk. See `docs/explanation/cancellation.md` for what it sees when the request is cancelled.
    """

    __slots__ = ("provider",)

    def __init__(self, provider: Callable[..., Any]) -> None:
        self.provider = provider

    def __repr__(self) -> str:
        return f"Depends({getattr(self.provider, '__qualname__', self.provider)})"


class Values(Protocol):
    """What query parameters are read from."""

    def getlist(self, name: str) -> Sequence[str]:
        """All values of `name`, in order."""
        ...


@dataclass(frozen=True, slots=True)
class QueryParam:
    """A scalar, an optional, or a list of scalars in the query."""

    name: str
    converter: Converter
    container: Callable[[list[Any]], Collection[Any]] | None = None
    """`list`, `set`, `frozenset` or `tuple` when several values are wanted; else `None`."""
    default: Any = REQUIRED
    copied: bool = False
    """The default is mutable: each request gets its own."""

    def read(self, query: Values, faults: list[Fault]) -> Any:
        """The value; on a fault, `None` with the fault appended."""
        texts = query.getlist(self.name)
        if not texts:
            if self.default is REQUIRED:
                faults.append(Fault("query", self.name, "is required"))
                return None
            return copy.copy(self.default) if self.copied else self.default
        try:
            if self.container is not None:
                return self.container([self.converter.parse(text) for text in texts])
            if len(texts) > 1:
                # Which of two wins differs between proxies and frameworks, and that is an attack (ASVS 15.3.7).
                raise ValueError("is given more than once")
            return self.converter.parse(texts[0])
        except ValueError as error:
            faults.append(Fault("query", self.name, str(error)))
            return None


@dataclass(frozen=True, slots=True)
class BodyParam:
    """The JSON body."""

    name: str
    decoder: JSONDecoder
    default: Any = REQUIRED
    """Stands for a request without a body; `REQUIRED`: that is a 400."""


@dataclass(frozen=True, slots=True)
class Injected:
    """An object that the framework makes for the request: `key` tells `_resolve` which."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class PathParam:
    """A path field: matching has converted it already."""

    name: str


Source = PathParam | QueryParam | BodyParam | Injected
