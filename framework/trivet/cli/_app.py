"""From the application that a command line names to the trivet `App` in it, for the commands that look inside one."""

from __future__ import annotations

from typing import Any

from trivet import App

from ._load import LoadError


def app_in(found: Any, reference: str) -> App:
    """`found` as an `App`.

    Raises:
        LoadError: it is an ASGI application of another kind.
    """
    if isinstance(found, App):
        return found
    raise LoadError(
        f"{reference!r} is a {type(found).__name__}, not a trivet App: there is no table of routes to look at.\n"
        "Name the App itself; one that is wrapped by other middleware than  app.wrap(...)  hides it."
    )
