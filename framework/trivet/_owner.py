"""What a request is told of the floors above it: the route that it matched and the application it belongs to.

This file owns those two views, and no code: a request sees the application from below, through these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .asgi import Notice


class RouteInfo(Protocol):
    """What a request tells of the route that it matched."""

    @property
    def path(self) -> str:
        """The path as registered, prefixes included: `/users/{id}`."""
        ...

    @property
    def name(self) -> str:
        """What `url_for` knows it by."""
        ...

    @property
    def handler(self) -> Callable[..., Any]:
        """The handler."""
        ...

    @property
    def tags(self) -> Sequence[str]:
        """Its tags, outer first."""
        ...


class Owner(Protocol):
    """What a request needs of the application: the App itself, seen from below."""

    @property
    def draining(self) -> Notice:
        """Set when the application stops."""
        ...

    @property
    def cleanup_grace(self) -> float:
        """Seconds that each dependency, middleware and catcher has once its request is ending."""
        ...

    def url_for(self, target: Callable[..., Any] | str, /, **params: object) -> str:
        """The path of a route."""
        ...
