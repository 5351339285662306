"""Who has cancelled a request from further out: the server, which stops, or a scope of somebody's in between.

This file owns that distinction, for a drain is said of a server that drains only. One that knows trivet says when it
does. Of any other it is known only that whatever comes from outside of the application comes from it; so where there is
ASGI middleware, whose scopes are within, a scope of ours stands around all of it. What is cancelled in spite of a
shield there has been cancelled inside.
"""

from __future__ import annotations

from math import inf
from typing import Final

import trio

from .asgi import EXTENSION, ASGIApp, Link, Receive, Scope, Send

FENCE: Final = "trivet.fence"
"""The key in the scope of the outermost application's `Fence`, where that has ASGI middleware."""


class Fence:
    """Stands around an application with its middleware."""

    __slots__ = ("scope",)

    def __init__(self) -> None:
        self.scope = trio.CancelScope()

    def __deepcopy__(self, memo: object) -> Fence:
        """Itself, as a `Link`: middleware that copies scopes deeply means the same request."""
        return self

    def holds(self) -> bool:
        """Whether nothing inside has been cancelled but from outside. For a task inside."""
        self.scope.shield = True
        try:
            return trio.current_effective_deadline() > -inf
        finally:
            self.scope.shield = False


async def fenced(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run `app`, a stack of ASGI middleware with our application inside."""
    if scope["type"] == "lifespan" or FENCE in scope:
        await app(scope, receive, send)
        return
    fence = scope[FENCE] = Fence()
    with fence.scope:
        await app(scope, receive, send)


def stopped_by_server(scope: Scope) -> bool:
    """Whether a cancellation that has come to the application of `scope` is the server's way to stop a request."""
    link: Link | None = scope.get("extensions", {}).get(EXTENSION)
    if link is not None:
        return link.draining.is_set()
    fence: Fence | None = scope.get(FENCE)
    return fence is None or fence.holds()
