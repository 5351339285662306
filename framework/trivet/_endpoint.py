"""What a path and method lead to: a handler's endpoint, with its options and middleware composed once.

This file owns the composition. An endpoint's `respond` takes a request and returns a `Response`, whatever happens
below it: errors become responses at each layer, so that every middleware sees one.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import trio

from ._access import PREFIX
from ._answer import Answerer
from ._delivery import open_file
from ._file import File
from ._instant import Instant, compile_instant
from ._limiting import limited, placed
from ._options import SEND_TIMEOUT, AnyMiddleware, Level, Resolved
from ._options import resolve as resolve_options
from ._owner import Owner
from ._pattern import Pattern
from ._plan import Plan
from ._registered import MountedApp, Registered
from ._request import Request
from ._resolve import Run, runner
from ._respond import Respond, Target
from ._response import Response
from ._results import to_response
from ._sink import close_unsent
from ._source import annotations_of, locate
from ._stream import Stream
from .asgi import ACCESS, Access, AtOnce, Scope
from .errors import ResponseError


class Endpoint(Target):
    """A registered handler at its place in the application."""

    __slots__ = ("_levels", "count", "door", "instant", "pattern", "plan", "reads_body", "registered", "returned")

    instant: Instant | None
    """Answers in one step, where nothing of the route can suspend."""

    door: Instant | None
    """The same by the direct door, where the server sees to `send_timeout` as it thinks best; of a route that reads a
    body, for requests that are whole."""

    count: AtOnce | None
    """Of an application that is measured: told of what the direct door has answered at once."""

    def __init__(self, registered: Registered, pattern: Pattern, plan: Plan, levels: Sequence[Level]) -> None:
        self.registered = registered
        self.pattern = pattern
        self.plan = plan
        # Now, as a name that is local to whoever registers it is gone later.
        self.returned = annotations_of(registered.handler).get("return", inspect.Parameter.empty)
        self.instant = self.door = None
        self.count = None
        self.reads_body = False
        # Outermost first. Read when the application freezes, so that what is added to a level later counts as well.
        self._levels = tuple(levels)

    @property
    def path(self) -> str:
        """The path as registered, prefixes included."""
        return self.pattern.text

    @property
    def name(self) -> str:
        """What `url_for` knows it by."""
        return self.registered.name

    @property
    def handler(self) -> Callable[..., Any]:
        """The handler."""
        return self.registered.handler

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags, outer first."""
        return self.options.tags

    def resolve(self) -> Resolved:
        """The options as they are now."""
        return resolve_options(self._levels)

    def freeze(self, owner: Owner, answerer: Answerer, limiter: trio.CapacityLimiter) -> None:
        """Compose what serves a request; again, if an override has changed the plan."""
        self.options = self.resolve()
        self.instant = self.door = None
        self.reads_body = self.plan.body is not None
        immediate = self.plan.is_immediate()
        self.immediate = immediate and not self.options.middleware
        if self.plan.is_immediate_with_body() and not self.options.middleware:
            instant = compile_instant(self, self.plan, self.registered.status, self.options, owner, answerer)
            self.instant = instant if self.immediate else None
            self.door = instant if self.options.send_timeout == SEND_TIMEOUT else None
        limits = self.options.limits
        run = runner(self.plan, limiter, immediate=immediate)
        handle = _handle_at_once if limits and immediate else _handle
        core: Respond = partial(handle, run, self.registered.status, self.options, answerer)
        if limits and not immediate:
            core = partial(limited, limits, core, answerer, self.options.catchers)
        self.respond = compose(core, self.options, answerer, names_of(self.options))


class Mounted:
    """A mounted ASGI application at its place."""

    __slots__ = ("app", "prefix", "state")

    reads_body: ClassVar[bool] = False
    door: ClassVar[None] = None
    """Whether it waits is not known."""
    count: ClassVar[None] = None

    def __init__(self, mounted: MountedApp, prefix: str) -> None:
        self.app = mounted.app
        self.prefix = prefix
        self.state: dict[str, Any] | None = None
        """What its lifespan made, to be copied for each of its requests; `None` while it is not running."""

    def below(self, scope: Scope) -> Scope:
        """Its own scope: `root_path` gains the prefix, `path` stays whole (ASGI 3, "HTTP")."""
        prefix = scope.get(PREFIX, "") + self.prefix
        access: Access | None = scope.get(ACCESS)
        if access is not None:
            access.route = f"{prefix}/*"  # unless it is one of ours, and says more
        root_path = scope.get("root_path", "") + self.prefix
        return {**scope, "root_path": root_path, PREFIX: prefix, "state": dict(self.state or {})}


async def _handle(
    run: Run,
    status: int | None,
    options: Resolved,
    answerer: Answerer,
    request: Request,
) -> Response:
    """The innermost layer: bind, call, convert, and leave the dependencies, but for a stream's."""
    scope = request._scope
    frames = scope.frames
    depth = len(frames)
    error: BaseException | None = None
    try:
        response = to_response(await run(request, scope), status)
        opened = isinstance(response, File)
        if isinstance(response, File):
            # Now, while what the dependencies made is still there; a temporary directory, say.
            response = await scope.call(open_file, response, request)
        if len(frames) == depth:
            return response
        if isinstance(response, Stream) and not opened:
            if not request._inner:
                return response
            error = await scope.leave(None, down_to=request._inner - 1)
            if error is None:
                return response
            await close_unsent(response, request)
    except BaseException as failure:  # noqa: BLE001 - dependencies see it, then it becomes the response
        error = failure
    if len(frames) > depth:
        error = await scope.leave(error, down_to=depth)
    if error is None:
        return response  # pyright: ignore[reportPossiblyUnboundVariable]
    return await answerer.answer(error, request, options.catchers)


async def _handle_at_once(
    run: Run, status: int | None, options: Resolved, answerer: Answerer, request: Request
) -> Response:
    """The same for a handler that is over in no time, where there are limits: what it returns may need places."""
    try:
        response = to_response(await run(request, request._scope), status)
        return await placed(options.limits, response, request) if isinstance(response, Stream | File) else response
    except BaseException as failure:  # noqa: BLE001 - it becomes the response
        error = failure
    return await answerer.answer(error, request, options.catchers)


def names_of(options: Resolved) -> tuple[str, ...]:
    """What `compose` calls each middleware in messages: looked up once, for it costs more than a request does."""
    return tuple(str(locate(middleware)) for middleware in options.middleware)


def compose(core: Respond, options: Resolved, answerer: Answerer, names: Sequence[str]) -> Respond:
    """`core` inside its middleware, outermost first; `names` are theirs."""
    respond = core
    for middleware, name in zip(reversed(options.middleware), reversed(names), strict=True):
        respond = partial(_around, middleware, name, respond, options, answerer)
    return respond


async def _around(
    middleware: AnyMiddleware,
    name: str,
    inner: Respond,
    options: Resolved,
    answerer: Answerer,
    request: Request,
) -> Response:
    """One middleware. What it raises becomes a response here, so that the next one out sees a response."""
    scope = request._scope
    depth = scope.depth

    async def call(call_inner: Callable[[], Awaitable[Response]]) -> Response:
        below: Response | None = None

        async def call_next(given: Request) -> Response:
            if given is not request:
                raise ResponseError(f"{name} called call_next with another request.\nWrite call_next(request).")
            nonlocal below
            below = await call_inner()
            return below

        try:
            response = await middleware(request, call_next)
        except BaseException:
            if isinstance(below, Stream):
                await close_unsent(below, request)
            raise
        if response is not below and isinstance(below, Stream):
            if isinstance(response, Stream):
                response.replaces = below
            else:
                await close_unsent(below, request)
        if not isinstance(response, Response):
            raise ResponseError(
                f"the middleware {name} returned {type(response).__name__}, not a Response.\n"
                "End it with:  return await call_next(request)"
            )
        return response

    try:
        return await scope.around(call, partial(inner, request), name=name)
    except BaseException as error:  # noqa: BLE001 - it becomes the response
        failure: BaseException | None = error
    failure = await scope.leave(failure, down_to=depth)
    assert failure is not None
    return await answerer.answer(failure, request, options.catchers)
