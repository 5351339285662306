"""What a provider says about itself: for OpenAPI, which shows clients what stands before a handler.

This file owns the form of it. It knows no OpenAPI document: `Description` holds the parts that only the provider can
know (a scheme, a status it may answer with), and who writes the document puts them where they belong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import RegistrationError


@dataclass(frozen=True, slots=True)
class Description:
    """What clients should know of a provider: what it asks of them, and what it may answer.

    A provider that has `def describe(self) -> Description` is described so in OpenAPI. Where several in one route name
    the same scheme it is one scheme, which must grant the scopes of all.
    """

    security: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """Name to Security Scheme Object (OpenAPI 3.1); a request needs all of them."""

    scopes: Sequence[str] = ()
    """What each of these schemes must grant."""

    responses: Mapping[int, str] = field(default_factory=dict[int, str])
    """Status to description: what the provider raises, as problem+json."""

    response_headers: Mapping[int, Mapping[str, str]] = field(default_factory=dict[int, Mapping[str, str]])
    """Status to header to description; status 0: every response."""

    optional: bool = False
    """A request without these credentials is served too, as one that is anonymous."""


def description_of(provider: Any) -> Description | None:
    """What `provider` says about itself; `None`: nothing.

    Raises:
        RegistrationError: it has a `describe` that does not give a `Description`.
    """
    describe = getattr(provider, "describe", None)
    if isinstance(provider, type) or not callable(describe):
        return None
    found = describe()
    if not isinstance(found, Description):
        raise RegistrationError(
            f"{provider!r}.describe() gave {type(found).__name__}, not a Description.\n"
            "Write  return Description(responses={403: 'You may not.'})"
        )
    return found
