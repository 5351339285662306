"""From a handler or a name back to a path: `url_for`.

This file owns the look-up and its messages; how values become text is the pattern's. It is filled at registration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Protocol

from ._pattern import Pattern
from ._source import identity


class Named(Protocol):
    """What has a place and a name."""

    @property
    def pattern(self) -> Pattern:
        """Its path."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def handler(self) -> Callable[..., Any]:
        """Its handler."""
        ...


class Urls:
    """The routes of an application by handler and by name."""

    def __init__(self) -> None:
        # By name, and by the handler's `identity`; the application keeps its handlers, so that an id stays theirs.
        self._by_target: dict[Any, list[Pattern]] = {}

    def add(self, route: Named) -> None:
        """Take a route."""
        self._by_target.setdefault(route.name, []).append(route.pattern)
        self._by_target.setdefault(identity(route.handler), []).append(route.pattern)

    def build(self, target: Callable[..., Any] | str, params: Mapping[str, object]) -> str:
        """The path of `target`. A handler at several paths is told apart by its parameters.

        Raises:
            LookupError: no such route.
            TypeError: parameters are missing or unknown.
            ValueError: a value cannot be spelt.
        """
        patterns = self._by_target.get(identity(target), [])
        if not patterns:
            raise LookupError(self._unknown(target))
        fitting = [pattern for pattern in patterns if set(pattern.fields) == set(params)]
        if len({pattern.text for pattern in fitting}) > 1:
            paths = ", ".join(pattern.text for pattern in fitting)
            raise LookupError(
                f"{_spell(target)} has several paths with these parameters: {paths}.\n"
                'Give each a name of its own:  @app.get(path, name="...")'
            )
        return (fitting or patterns)[0].build(params)

    def _unknown(self, target: Callable[..., Any] | str) -> str:
        name = _spell(target)
        names = sorted(each for each in self._by_target if isinstance(each, str))
        close = get_close_matches(name, names, n=1, cutoff=0.5)
        if close:
            return f"no route is called {name!r}; the nearest is {close[0]!r}."
        return f"no route is called {name!r}. Known are: {', '.join(names) or 'none'}."


def _spell(target: Callable[..., Any] | str) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", repr(target))
