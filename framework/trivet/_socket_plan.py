"""What only the handler of a WebSocket can take, and what it cannot.

This file owns those two refusals, each with its remedy. It runs at registration only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ._extract import BodyParam, FormParam, Injected, RawParam, Source
from ._plan import SOCKET
from ._source import show
from .errors import RegistrationError


def check_place(source: Source, fn: Callable[..., Any], *, socket: bool) -> None:
    """Refuse a body where there is a WebSocket, and a WebSocket where there is none.

    Args:
        source: where a parameter's value would come from.
        fn: the handler or provider that it is a parameter of.
        socket: whether the route is a WebSocket.
    """
    if socket and isinstance(source, BodyParam | RawParam | FormParam):
        raise RegistrationError(
            f"{source.name!r} would be read from a body, and the handshake of a WebSocket has none:\n{show(fn)}\n"
            "Take it from the path or the query, or let the client send it as its first message:\n\n"
            f"    {source.name} = await ws.receive_json(Model)"
        )
    if not socket and isinstance(source, Injected) and source.key == SOCKET:
        raise RegistrationError(
            f"{source.name!r} is a WebSocket, and this route answers requests:\n{show(fn)}\n"
            "Register the handler as one of WebSockets:  @app.websocket(path)"
        )


def check_taken(handler: Callable[..., Any], injected: Collection[str]) -> None:
    """Refuse the handler of a WebSocket that neither takes it nor has a provider that does."""
    if SOCKET not in injected:
        raise RegistrationError(
            f"the handler of a WebSocket does not take it:\n{show(handler)}\nAdd the parameter:  ws: WebSocket"
        )
