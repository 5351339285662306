"""A route as it is registered on one router: what is known of it before it has a place in an application.

This file owns what a registration holds, and what its handler may ask for by type. It knows no routers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from . import _options
from ._checks import check_middlewares, check_socket, checked_methods, checked_status
from ._options import Level, RouteOptions, WebSocketOptions
from ._plan import NURSERY, REQUEST, SOCKET
from ._request import Request
from ._signature import UPLOAD
from ._source import locate
from ._upload import UploadFile
from ._websocket import WebSocket
from .asgi import ASGIApp
from .errors import Location

# What a handler may ask for by type, and the key that `_resolve` knows it by.
INJECTABLE: Mapping[Any, str] = {Request: REQUEST, WebSocket: SOCKET, trio.Nursery: NURSERY, UploadFile: UPLOAD}

WEBSOCKET: Final = "WEBSOCKET"
"""What stands for the method of a WebSocket in the table of those, and in messages about it."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A route as it was registered on one router; its prefix and options depend on where that is mounted."""

    path: str
    methods: frozenset[str]
    handler: Callable[..., Any]
    name: str
    level: Level
    status: int | None
    summary: str
    include_in_schema: bool
    where: Location
    socket: bool = False
    """It is a WebSocket."""


@dataclass(frozen=True, slots=True)
class MountedApp:
    """An ASGI application as it was mounted on one router."""

    prefix: str
    app: ASGIApp
    where: Location


def http_route(path: str, handler: Callable[..., Any], methods: Sequence[str], options: RouteOptions) -> Registered:
    """A route that answers requests.

    Raises:
        RegistrationError: a method or an option is wrong.
    """
    level = _options.level(options, ("status", "name", "summary", "include_in_schema"))
    check_middlewares(level)
    return Registered(
        path=path,
        methods=checked_methods(methods, handler),
        handler=handler,
        name=options.get("name") or _name_of(handler),
        level=level,
        status=checked_status(options.get("status"), handler),
        summary=options.get("summary", ""),
        include_in_schema=options.get("include_in_schema", True),
        where=locate(handler),
    )


def socket_route(path: str, handler: Callable[..., Any], options: WebSocketOptions) -> Registered:
    """A WebSocket.

    Raises:
        RegistrationError: an option is wrong, or the handler is not async.
    """
    level = _options.level(options, ("name", "summary"), owner=_options.SOCKET)
    check_socket(handler)
    return Registered(
        path=path,
        methods=frozenset({WEBSOCKET}),
        handler=handler,
        name=options.get("name") or _name_of(handler),
        level=level,
        status=None,
        summary=options.get("summary", ""),
        include_in_schema=False,  # OpenAPI has no words for it
        where=locate(handler),
        socket=True,
    )


def _name_of(handler: Callable[..., Any]) -> str:
    return str(getattr(handler, "__name__", type(handler).__name__))
