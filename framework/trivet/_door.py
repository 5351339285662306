"""The direct door: a request that is answered without waiting, as soon as it is whole, without ASGI in between.

This file owns which requests may enter by it (see "The direct door" in `asgi`). What is declined costs one look at the
table and is served by ASGI like any other: a path or method without a route, a mounted application, a handler that
could wait or that has something around it that could, and all requests while somebody reads the access log, whose
lines are written where a request ends.

What a handler has begun is never declined. Its error, its stream, or a result that cannot be sent becomes an ASGI
application, which the server runs in the request's task and which goes on from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context, copy_context
from time import perf_counter
from typing import Any, TypeAlias

from ._access import PREFIX, listened_to
from ._endpoint import Endpoint, Mounted
from ._head import expects_body
from ._instant import Unfinished
from ._routes import Table
from .asgi import ACCESS, EXTENSION, Access, Answer, ASGIApp, Door, Head, Link, RawHeaders, Reason, Receive, Scope, Send
from .errors import InvalidInput

Finish: TypeAlias = Callable[[Scope, Receive, Send, Unfinished], Awaitable[None]]


def open_door(
    table: Table[Endpoint | Mounted], finish: Finish, declined: Callable[[RawHeaders], bool] | None = None
) -> Door:
    """The door of an application.

    Args:
        table: its routes, frozen.
        finish: serves what the door could only begin.
        declined: says of header fields whether a request needs a closer look, which ASGI has; `None`: none does.
    """
    lookup = table.lookup

    def door(head: Head, /) -> Answer | ASGIApp | None:
        if listened_to():
            return None
        method = head.method
        try:
            hit = lookup(method, head.raw_path)
        except InvalidInput:
            return None
        if hit is None:
            return None
        place, params = hit
        instant = place.door
        if instant is None or bool(head.body) is not place.reads_body:
            return None
        count = place.count
        if count is None:
            outcome = instant(method, params, head)
            return _continued(outcome, finish) if type(outcome) is Unfinished else outcome
        # Here rather than in a function around the step: one more frame costs a request a fiftieth.
        began = perf_counter()
        outcome = instant(method, params, head)
        took = perf_counter() - began
        if type(outcome) is Unfinished:
            outcome.began -= took  # it goes on, and is counted where it ends
            return _continued(outcome, finish)
        count(method, outcome[0], took)
        return outcome

    if declined is None:
        return door

    def wary(head: Head, /) -> Answer | ASGIApp | None:
        return None if declined(head.headers) else door(head)

    return wary


def _continued(unfinished: Unfinished, finish: Finish) -> ASGIApp:
    context = copy_context()

    async def finishing(scope: Scope, receive: Receive, send: Send) -> None:
        _restore(context)
        await finish(scope, receive, send, unfinished)

    return finishing


def _restore(context: Context) -> None:
    """Set what the handler has set: its catchers run in another task, and look for it."""
    for variable, value in context.items():
        if variable.get(_restore) is not value:
            variable.set(value)


def in_one_step(endpoint: Endpoint, params: Mapping[str, Any], scope: Scope) -> Answer | Unfinished | None:
    """The same for a request that came by ASGI; `None`: it has to go the long way.

    A server with a `Link` is told what remains: an answer to write. To attach says that the request is not to be
    cancelled outright when a drain is over, for the answer is on its way.
    """
    instant = endpoint.instant
    if instant is None or listened_to() or expects_body(scope):
        return None
    access: Access | None = scope.get(ACCESS)
    if access is not None:
        access.route = scope.get(PREFIX, "") + endpoint.path  # the rest can be seen from outside
    outcome = instant(scope["method"], params, ScopeHead(scope))
    if type(outcome) is not Unfinished:
        extensions = scope.get("extensions")
        link: Link | None = extensions.get(EXTENSION) if extensions else None
        if link is not None:
            link.send_timeout = endpoint.options.send_timeout
            link.attach(_nothing_to_stop)
    return outcome


def _nothing_to_stop(reason: Reason) -> None:
    pass


class ScopeHead:
    """The head of a request that came by ASGI, for the same step."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def query_string(self) -> bytes:
        """What follows the question mark."""
        query: bytes = self._scope.get("query_string", b"")
        return query

    @property
    def headers(self) -> RawHeaders:
        """The fields, names in lower case."""
        headers: RawHeaders = self._scope["headers"]
        return headers

    @property
    def body(self) -> bytes:
        """None: a request whose body is still to be received goes the long way."""
        return b""

    def scope(self) -> Scope:
        """The ASGI scope."""
        return self._scope
