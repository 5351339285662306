"""From the application that a command line names to the trivet `App` in it, for the commands that look inside one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trivet import App
from trivet._docs import is_page
from trivet._endpoint import Endpoint, Mounted
from trivet._routes import Entry

from ._load import LoadError


def entries(app: App, prefix: str = "") -> Iterator[tuple[str, Entry[Endpoint | Mounted]]]:
    """The routes of an application and of the trivet applications mounted in it, WebSockets among them, each with its
    prefix; not the pages that each has by itself."""
    # What is mounted is in both tables.
    sockets = [entry for entry in app._socket_table.entries() if isinstance(entry.value, Endpoint)]
    for entry in (*app._table.entries(), *sockets):
        if isinstance(entry.value, Mounted) and isinstance(entry.value.app, App):
            yield from entries(entry.value.app, prefix + entry.value.prefix)
        elif isinstance(entry.value, Mounted) or not is_page(entry.value):
            yield prefix, entry


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
