"""Answers a request in one step: binds, calls a handler that cannot suspend, and makes the response, without a task.

This file owns that step. What it runs was judged beforehand (`_immediate`), so it is a plain function, and most
requests need none of the objects that keep DESIGN's promises about waiting: no `Request`, no scope, no channel. Both
doors lead here, the direct one (`_door`) and ASGI's (`_app`), so that they cannot differ.

What the step cannot finish it hands on as `Unfinished`: an error, whose catchers may wait; a stream; a response that
HTTP cannot carry. Whoever serves that goes on where the step has stopped, by the way that all other requests take
(`_respond.serve`). The handler is never run twice.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias, final

import trio

from ._answer import Answerer, Catchers, report
from ._encode import encode
from ._file import File
from ._headers import Headers
from ._limit import Limit
from ._limiting import placed
from ._modes import Call, Mode
from ._options import Resolved
from ._owner import Owner, RouteInfo
from ._plan import Plan
from ._query import EMPTY as NO_QUERY
from ._query import parse as parse_query
from ._request import Request
from ._resolve import NO_HEADERS, fill_from_head, read_whole
from ._respond import Respond, Target
from ._response import LENGTHS, SMALL, TEXT, Response
from ._response_head import Field
from ._results import JSON_TYPE, UNENCODABLE, json_kinds, to_response
from ._scope import RequestScope
from ._stream import Stream
from .asgi import EXTENSION, Answer, Message, RawHeaders, Receive, Scope
from .errors import HTTPError


class HeadLike(Protocol):
    """What the step may ask of a request's head; `trivet.asgi.Head` is one."""

    @property
    def query_string(self) -> bytes:
        """What follows the question mark."""
        ...

    @property
    def headers(self) -> RawHeaders:
        """The fields, names in lower case."""
        ...

    @property
    def body(self) -> bytes:
        """The body, whole; empty if there is none."""
        ...

    def scope(self) -> Scope:
        """The ASGI scope."""
        ...


@final
class Unfinished(Target):
    """What is left to do when the handler has returned or failed: a target that only answers."""

    __slots__ = ("began", "params", "request", "route")

    def __init__(
        self, route: RouteInfo, options: Resolved, params: Mapping[str, Any], request: Request | None, respond: Respond
    ) -> None:
        self.immediate = True
        self.options = options
        self.respond = respond
        self.route = route
        self.params = params
        self.request = request
        """The one that the handler was given, if it asked for one."""
        self.began = trio.current_time()


Instant: TypeAlias = Callable[[str, Mapping[str, Any], HeadLike], "Answer | Unfinished"]
"""The step, for one route: of a method, path fields and a head, with the body if it reads one, it makes an answer."""


class _Ending:
    """What becomes of the value or the error that the handlers of one route end with."""

    __slots__ = ("answerer", "options", "route", "status")

    def __init__(self, route: RouteInfo, status: int | None, options: Resolved, answerer: Answerer) -> None:
        self.route = route
        self.status = status
        self.options = options
        self.answerer = answerer

    def failed(self, error: BaseException, params: Mapping[str, Any], request: Request | None = None) -> Unfinished:
        respond = partial(_fail, error, self.answerer, self.options.catchers)
        return Unfinished(self.route, self.options, params, request, respond)

    def _giving(self, response: Stream | File) -> Respond:
        limits = self.options.limits
        if not limits:
            return partial(_give, response)
        return partial(_give_placed, limits, response, self.answerer, self.options.catchers)

    def returned(
        self, value: object, method: str, params: Mapping[str, Any], request: Request | None = None
    ) -> Answer | Unfinished:
        try:
            response = to_response(value, self.status)
        except BaseException as error:  # noqa: BLE001 - it becomes the response
            return self.failed(error, params, request)
        if isinstance(response, Stream | File):
            return Unfinished(self.route, self.options, params, request, self._giving(response))
        try:
            status, headers = response.start(method)
        except Exception:  # noqa: BLE001 - `serve` asks again, and knows what to do
            return Unfinished(self.route, self.options, params, request, partial(_give, response))
        if request is not None:
            headers = request._with_own(headers)
            request._status = status
            request._scope.cancel("returned")
        return status, headers, b"" if method == "HEAD" else response.body


def compile_instant(
    route: RouteInfo, plan: Plan, status: int | None, options: Resolved, owner: Owner, answerer: Answerer
) -> Instant:
    """The step for a route whose plan is immediate and that has no middleware.

    Args:
        route: as the request knows it.
        plan: of its handler.
        status: the route's `status=`.
        options: in force there.
        owner: the application.
        answerer: what errors go to.
    """
    ending = _Ending(route, status, options, answerer)
    return _by_path(plan, ending) if plan.path_only else _bound(plan, owner, ending)


def _by_path(plan: Plan, ending: _Ending) -> Instant:
    """The step of a handler that takes path fields or nothing: what most are, so nothing here is done for others."""
    fn = plan.handler.fn
    fields = bool(plan.paths)
    plain = ending.status is None

    def instant(method: str, params: Mapping[str, Any], head: HeadLike) -> Answer | Unfinished:
        called: Coroutine[Any, Any, Any] = fn(**params) if fields else fn()
        try:
            called.send(None)
        except StopIteration as returned:
            value = returned.value
        except BaseException as error:  # noqa: BLE001 - it becomes the response
            return ending.failed(error, params)
        else:
            return ending.failed(_suspended(called, ending.route), params)
        # What nearly all handlers return goes out without a `Response` in between. One that cannot be encoded comes
        # again below: not inside of `except`, or its traceback would show both.
        field: Field | None = None
        body = b""
        if plain:
            kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
            try:
                if kind in json_kinds:
                    body, field = encode(value), JSON_TYPE
                elif kind is str:
                    body, field = value.encode(), TEXT
            except UNENCODABLE:
                pass
        if field is None:
            return ending.returned(value, method, params)
        length = len(body)
        counted = LENGTHS[length] if length < SMALL else (b"content-length", b"%d" % length)
        return 200, [field, counted], b"" if method == "HEAD" else body

    return instant


def _bound(plan: Plan, owner: Owner, ending: _Ending) -> Instant:
    """The step of any other handler."""

    def instant(method: str, params: Mapping[str, Any], head: HeadLike) -> Answer | Unfinished:
        request: Request | None = None
        try:
            if plan.injected:
                request = _request(owner, head.scope(), params, ending.route, ending.options)
                request._body = head.body or None
            value = _run(plan, params, head, request, ending)
        except BaseException as error:  # noqa: BLE001 - it becomes the response
            return ending.failed(error, params, request)
        return ending.returned(value, method, params, request)

    return instant


def _run(plan: Plan, params: Mapping[str, Any], head: HeadLike, request: Request | None, ending: _Ending) -> object:
    """`_resolve`'s order of work, for a plan in which nothing can wait."""
    slots: list[Any] = [None] * plan.size
    query = NO_QUERY
    if plan.queries:
        query = parse_query(head.query_string) if request is None else request.query
    headers = NO_HEADERS
    if plan.in_headers or plan.body is not None:
        headers = Headers(head.headers) if request is None else request.headers
    fill_from_head(plan, params, query, headers, request, slots)
    for step in plan.before_body:
        slots[step.slot] = _called(step.call, slots, ending.route)
    if plan.body is not None:
        slot, parameter = plan.body
        slots[slot] = read_whole(parameter, headers, head.body, ending.options.max_body)
        for step in plan.after_body:
            slots[step.slot] = _called(step.call, slots, ending.route)
    for step in plan.inner:
        slots[step.slot] = _called(step.call, slots, ending.route)
    return _called(plan.handler, slots, ending.route)


def _called(call: Call, slots: list[Any], route: RouteInfo) -> object:
    positional, keyword = call.bind(slots)
    value = call.fn(*positional, **keyword)
    return _returned(value, route) if call.mode is Mode.ASYNC else value


def _returned(called: Coroutine[Any, Any, object], route: RouteInfo) -> object:
    try:
        called.send(None)
    except StopIteration as returned:
        return returned.value
    raise _suspended(called, route)


def _suspended(called: Coroutine[Any, Any, object], route: RouteInfo) -> RuntimeError:
    """The error for a handler that waits although its code had no way to: what replaces code at run time does that.

    It runs in the server's own task, so it cannot be waited for; and it has begun, so it must not be begun again.
    """
    called.close()
    return RuntimeError(
        f"{route.path}: a function without `await` has suspended; was its code replaced after the start?\n"
        "Restart the server: what runs without waiting is decided when the application starts."
    )


def _request(owner: Owner, scope: Scope, params: Mapping[str, Any], route: RouteInfo, options: Resolved) -> Request:
    began = trio.current_time()
    request_scope = RequestScope(began + options.timeout, owner.cleanup_grace, report)
    request = Request(owner, scope, _no_body(), params, route, options, request_scope, began)
    extensions = scope.get("extensions")
    if extensions:
        request._link = extensions.get(EXTENSION)
    return request


def _no_body() -> Receive:
    """`receive` of a request that has none, for those who keep it and read it later; the response is out by then."""
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def spent(route: RouteInfo, options: Resolved, params: Mapping[str, Any], answerer: Answerer) -> Unfinished:
    """What serves a request that nobody waits for any more: a 504 in the handler's place."""
    error = HTTPError(504, "The time that the caller allowed was over before the request began.")
    return Unfinished(route, options, params, None, partial(_too_late, error, answerer, options.catchers))


async def _too_late(error: HTTPError, answerer: Answerer, catchers: Catchers, request: Request) -> Response:
    response = await answerer.answer(error, request, catchers)
    request._failed = "deadline"  # its own, which had passed before there was anything to stop
    return response


async def _fail(error: BaseException, answerer: Answerer, catchers: Catchers, request: Request) -> Response:
    return await answerer.answer(error, request, catchers)


async def _give(response: Response, request: Request) -> Response:
    return response


async def _give_placed(
    limits: Sequence[Limit], response: Stream | File, answerer: Answerer, catchers: Catchers, request: Request
) -> Response:
    try:
        return await placed(limits, response, request)
    except BaseException as failure:  # noqa: BLE001 - it becomes the response
        error = failure
    return await answerer.answer(error, request, catchers)
