"""Options of apps, routers and routes: which exist, what values they take, and how the nearest one wins.

This file owns the defaults and their precedents. It knows nothing of what an option does: the plan, the scope and the
app read the resolved values. It runs at registration only.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeVar

from ._limit import Limit
from ._option_checks import check_bytes, check_policy, check_seconds, checked_limit, checked_responses
from ._origin import checked_origins
from ._ported import instead_of_option
from ._suggest import suggest
from .errors import RegistrationError

OnDisconnect: TypeAlias = Literal["cancel", "finish"]
OnDrain: TypeAlias = Literal["cancel", "finish"]
Slash: TypeAlias = Literal["redirect", "strict"]


class Unset(Enum):
    """The type of `UNSET`: told apart from `None`, which says "no bound"."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET

Seconds: TypeAlias = float | Unset | None
AnyCallable: TypeAlias = Callable[..., Any]
AnyMiddleware: TypeAlias = Callable[[Any, Any], Awaitable[Any]]

TIMEOUT: Final = 30.0
"""Seconds up to the response's head. Rocket, tower-http and Go have none by default and document the outage; gunicorn's
worker timeout is 30 s."""
SEND_TIMEOUT: Final = 10.0
"""Seconds without progress of one write. nginx's `send_timeout` is 60 s between two writes; a browser that reads at
all reads within ten."""
BODY_TIMEOUT: Final = 10.0
"""Seconds without progress of the body. nginx's `client_body_timeout` is 60 s; Rocket and tower-http leave it open."""
MAX_BODY: Final = 2 * 1024 * 1024
"""Bytes; axum's `DefaultBodyLimit`."""
CLEANUP_GRACE: Final = 5.0
"""Seconds that each dependency has to clean up after a cancellation. Hypercorn's whole graceful timeout is 3 s."""
DRAIN_TIMEOUT: Final = 10.0
"""Seconds that running requests have after SIGTERM. Kubernetes kills after 30 s: this and the graces fit in."""

ON_DRAIN: Final[OnDrain] = "cancel"
"""A WebSocket may go on for days: a drain that waited for its end would wait for all of `drain_timeout`, each time."""

NO_ORIGINS: Final = frozenset[str]()
"""Of the origins that may open a WebSocket, beside the one that serves it."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""RFC 9110 section 9.2.1: nothing is lost when such a handler stops, so it stops when the client leaves."""


class SharedOptions(TypedDict, total=False):
    """Options that mean something to every route."""

    timeout: float | None
    send_timeout: float | None
    on_disconnect: OnDisconnect
    limit: Limit | None
    dependencies: Sequence[Any]
    tags: Sequence[str]


class HTTPOptions(SharedOptions, total=False):
    """And those that mean something to HTTP alone."""

    body_timeout: float | None
    max_body: int | None
    middleware: Sequence[AnyMiddleware]
    responses: Mapping[int, str]


class SocketOptions(SharedOptions, total=False):
    """And those that mean something to WebSockets alone."""

    idle_timeout: float | None
    on_drain: OnDrain
    origins: Sequence[str] | None


class CommonOptions(HTTPOptions, SocketOptions, total=False):
    """Options of apps and routers, for all their routes."""


class RouteOptions(HTTPOptions, total=False):
    """Options of one route."""

    status: int
    name: str
    summary: str
    include_in_schema: bool


class WebSocketOptions(SocketOptions, total=False):
    """Options of one WebSocket."""

    name: str
    summary: str


@dataclass(slots=True)
class Level:
    """What one app, router or route sets: `UNSET` where it leaves the choice to the next level out."""

    timeout: Seconds = UNSET
    send_timeout: Seconds = UNSET
    body_timeout: Seconds = UNSET
    max_body: int | Unset | None = UNSET
    on_disconnect: OnDisconnect | Unset = UNSET
    idle_timeout: Seconds = UNSET
    on_drain: OnDrain | Unset = UNSET
    origins: frozenset[str] | Unset | None = UNSET
    limit: Limit | Unset | None = UNSET
    middleware: list[AnyMiddleware] = field(default_factory=list[AnyMiddleware])
    dependencies: list[Any] = field(default_factory=list[Any])
    tags: list[str] = field(default_factory=list[str])
    responses: dict[int, str] = field(default_factory=dict[int, str])
    catchers: dict[type[BaseException] | int, AnyCallable] = field(
        default_factory=dict[type[BaseException] | int, AnyCallable]
    )


@dataclass(frozen=True, slots=True)
class Resolved:
    """The options in force for one route: scalars from the nearest level, lists outer first, catchers inner first."""

    timeout: float
    send_timeout: float | None
    body_timeout: float | None
    max_body: int | None
    on_disconnect: OnDisconnect | None
    idle_timeout: float | None
    on_drain: OnDrain
    origins: frozenset[str] | None
    limits: tuple[Limit, ...]
    middleware: tuple[AnyMiddleware, ...]
    dependencies: tuple[Any, ...]
    tags: tuple[str, ...]
    responses: Mapping[int, str]
    catchers: tuple[Mapping[type[BaseException] | int, AnyCallable], ...]

    def cancels(self, method: str) -> bool:
        """Whether a handler of `method` is cancelled when the client leaves: as set, else safe methods are."""
        if self.on_disconnect is None:
            return method in SAFE_METHODS
        return self.on_disconnect == "cancel"


T = TypeVar("T")


def nearest(values: Iterable[T | Unset], default: T) -> T:
    """The first value that is set."""
    for value in values:
        if not isinstance(value, Unset):
            return value
    return default


def resolve(levels: Sequence[Level]) -> Resolved:
    """The options in force below `levels`, given outermost first."""
    inner = levels[::-1]
    policies: list[OnDisconnect | Unset] = [level.on_disconnect for level in inner]
    on_drain: list[OnDrain | Unset] = [level.on_drain for level in inner]
    timeout = nearest((level.timeout for level in inner), TIMEOUT)
    return Resolved(
        timeout=math.inf if timeout is None else timeout,
        send_timeout=nearest((level.send_timeout for level in inner), SEND_TIMEOUT),
        body_timeout=nearest((level.body_timeout for level in inner), BODY_TIMEOUT),
        max_body=nearest((level.max_body for level in inner), MAX_BODY),
        on_disconnect=nearest(policies, None),
        idle_timeout=nearest((level.idle_timeout for level in inner), None),
        on_drain=nearest(on_drain, ON_DRAIN),
        origins=nearest((level.origins for level in inner), NO_ORIGINS),
        limits=_limits(levels),
        middleware=tuple(each for level in levels for each in level.middleware),
        dependencies=tuple(each for level in levels for each in level.dependencies),
        tags=tuple(dict.fromkeys(tag for level in levels for tag in level.tags)),
        responses={status: text for level in levels for status, text in level.responses.items()},
        catchers=tuple(level.catchers for level in inner if level.catchers),
    )


def _limits(levels: Sequence[Level]) -> tuple[Limit, ...]:
    """Those that requests need a place of, outermost first: each once, and none from outside of a `limit=None`."""
    limits: list[Limit] = []
    for level in levels:
        if isinstance(level.limit, Limit):
            limits.append(level.limit)
        elif level.limit is None:
            limits.clear()
    return tuple(dict.fromkeys(limits))


OF_APPLICATION: Final = (
    "slash",
    "debug",
    "lifespan",
    "cleanup_grace",
    "drain_timeout",
    "trusted",
    "title",
    "version",
    "openapi_url",
    "docs_url",
)
SCALARS: Final = ("timeout", "send_timeout", "body_timeout", "max_body", "on_disconnect", "idle_timeout", "on_drain")
LISTS: Final = ("middleware", "dependencies", "tags")
ALL: Final = (*SCALARS, *LISTS, "responses", "origins", "limit")
OF_HTTP: Final = tuple(HTTPOptions.__annotations__)
OF_SOCKETS: Final = tuple(SocketOptions.__annotations__)
ROUTE: Final = "route"
SOCKET: Final = "WebSocket"
"""Both: owners, as `level` and its messages know them."""


def level(options: Mapping[str, Any], known: Iterable[str] = (), owner: str = ROUTE) -> Level:
    """Check `options` and take the common ones; `known` are further names that the owner reads itself.

    Raises:
        RegistrationError: an unknown option, or a value that the option does not take.
    """
    allowed = (*{ROUTE: OF_HTTP, SOCKET: OF_SOCKETS}.get(owner, ALL), *known)
    for name in options:
        if name not in allowed:
            raise RegistrationError(_unknown(name, allowed, owner))
    for name in ("timeout", "send_timeout", "body_timeout", "idle_timeout"):
        check_seconds(name, options.get(name))
    check_bytes(options.get("max_body"))
    check_policy("on_disconnect", options, "when the client leaves")
    check_policy("on_drain", options, "as soon as the server drains")
    given: dict[str, Any] = {name: options.get(name, UNSET) for name in SCALARS}
    taken = Level(**given)
    if "origins" in options:
        taken.origins = checked_origins(options["origins"])
    if "limit" in options:
        taken.limit = checked_limit(options["limit"])
    for name in LISTS:
        values = options.get(name, ())
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise RegistrationError(f"{name}={values!r} is not a list.\nWrite {name}=[...].")
        getattr(taken, name).extend(values)
    taken.responses.update(checked_responses(options.get("responses", {})))
    return taken


def _unknown(name: str, allowed: Sequence[str], owner: str) -> str:
    close = None if name in ALL else suggest(name, allowed)
    ported = instead_of_option(name)
    if ported:
        hint = ported
    elif close:
        hint = f"Did you mean {close!r}?"
    elif name in OF_APPLICATION:
        hint = f"It is one of the whole application:  App({name}=...)"
    elif name == "middleware":
        hint = "Middleware is HTTP's alone. What goes around a WebSocket is a dependency:  dependencies=[Depends(f)]"
    elif name in ALL and owner in (ROUTE, SOCKET):
        others = "HTTP" if owner == SOCKET else "WebSockets"
        hint = f"It is one of {others} alone: of such a route, of a router, or of the App."
    else:
        hint = f"There are {', '.join(sorted(allowed))}."
    return f"unknown option {name!r} of {'an' if owner[0] == 'a' else 'a'} {owner}.\n{hint}"
