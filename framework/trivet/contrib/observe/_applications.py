"""The application that is looked into, and those that are mounted in it: their work is done in its process.

This file owns which they are, and what is called how where there are several. What is shown of them each page knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trivet import App


def applications(app: Any) -> Iterator[tuple[str, App]]:
    """`app` and the applications of trivet's that are mounted in it, each once, with the prefix of its first place.

    One inside of ASGI middleware of its own is not known to be one, nor is it to `App.ready`.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, App]] = [("", app)]
    while waiting:
        prefix, found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield prefix, found
        waiting += [(prefix + each.prefix, each.app) for each in found._mounted if isinstance(each.app, App)]


def named(name: str, prefix: str) -> str:
    """What something is called that each application may have: `refresh`, and `refresh of /admin`."""
    return f"{name} of {prefix}" if prefix else name
