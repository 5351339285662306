"""Runs a plan: fill the slots from the request, enter the dependencies, read the body, call the handler.

This file owns the run-time half of binding. The order was decided by `_plan`; when and under which scope user code
runs is decided by `_scope`, which each call here goes through. Leaving the dependencies is the caller's: a stream's
stay open until its last chunk.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import trio

from ._body import check_coding
from ._cookies import CookieValues, parse_cookies
from ._extract import REQUIRED, BodyParam, RawParam
from ._form import FormData
from ._head import announces_body
from ._headers import Headers
from ._inbound import too_large
from ._modes import Call, Mode
from ._plan import REQUEST, FormPlan, Plan, Step
from ._query import EMPTY as NO_QUERY
from ._query import QueryParams
from ._request import Request
from ._scope import RequestScope
from ._threads import InThread, in_thread
from .errors import ClientDisconnected, Fault, InvalidInput

T = TypeVar("T")

NO_HEADERS: Final = Headers([])
"""Stands for the headers of a request where nobody reads them."""

Run: TypeAlias = Callable[[Request, RequestScope], Awaitable[object]]


def runner(plan: Plan, limiter: trio.CapacityLimiter, *, immediate: bool) -> Run:
    """What binds a request to the plan's handler, calls it, and returns what it returns; `immediate`: the plan is.

    Dependencies that are context managers stay entered, in the scope.

    Raises (when it is awaited):
        InvalidInput: the request cannot be bound.
        RequestCancelled: the deadline passed, the client left, or the server drained.
        Exception: whatever the handler or a provider raises.
    """
    fn = plan.handler.fn
    if not plan.path_only or plan.handler.mode is not Mode.ASYNC:
        return partial(_run, plan, limiter)
    if immediate:

        def unstoppable(request: Request, scope: RequestScope) -> Awaitable[object]:
            if scope.reason is not None:
                raise scope.stopped()
            called: Awaitable[object] = fn(**request.path_params)
            return called

        return unstoppable
    # Most handlers take path fields or nothing. These are plain functions that return the scope's own awaitable: a
    # coroutine around it would cost as much as all of binding.
    if not plan.paths:
        return lambda _, scope: scope.call(fn)

    def with_fields(fields: Mapping[str, Any]) -> Awaitable[object]:
        called: Awaitable[object] = fn(**fields)
        return called

    return lambda request, scope: scope.call(with_fields, request.path_params)


async def _run(plan: Plan, limiter: trio.CapacityLimiter, request: Request, scope: RequestScope) -> object:
    slots: list[Any] = [None] * plan.size
    query = request.query if plan.queries else NO_QUERY
    fill_from_head(plan, request.path_params, query, request.headers if plan.in_headers else NO_HEADERS, request, slots)
    for step in plan.before_body:
        slots[step.slot] = await provide(step, slots, scope, limiter)
    if plan.body is not None:
        slot, parameter = plan.body
        slots[slot] = await _read(parameter, request, scope)
    elif plan.form is not None:
        await _read_form(plan.form, request, scope, slots)
    for step in plan.after_body:
        slots[step.slot] = await provide(step, slots, scope, limiter)
    if plan.nursery is not None:
        slots[plan.nursery] = await scope.enter(trio.open_nursery(), name="the nursery", joins=True)
    if plan.inner:
        request._inner = scope.depth + 1
        for step in plan.inner:
            slots[step.slot] = await provide(step, slots, scope, limiter)
    return await invoke(plan.handler, slots, scope, limiter)


def fill_from_head(
    plan: Plan,
    path_params: Mapping[str, Any],
    query: QueryParams,
    headers: Headers,
    request: Request | None,
    slots: list[Any],
) -> None:
    """Path, app-scoped values, injected objects, query, headers and cookies; all faults in one answer."""
    for slot, name in plan.paths:
        slots[slot] = path_params[name]
    for slot, place in plan.shared:
        slots[slot] = place.get()
    for slot, key in plan.injected:  # the nursery has a place of its own
        slots[slot] = request if key is REQUEST or request is None else request._socket
    if not plan.head:
        return
    faults: list[Fault] = []
    for slot, parameter in plan.queries:
        slots[slot] = parameter.read(query, faults)
    if plan.in_headers:
        for slot, parameter in plan.headers:
            slots[slot] = parameter.read(headers, faults)
        if plan.cookies:
            cookies = CookieValues(parse_cookies(headers.getlist("cookie")))
            for slot, parameter in plan.cookies:
                slots[slot] = parameter.read(cookies, faults)
    if faults:
        raise _misfit(faults)


_NOUNS: Final = {"query": "the query does not fit", "form": "the form does not fit"}


def _misfit(faults: Sequence[Fault]) -> InvalidInput:
    # A parameter that the handler and its dependencies all ask for is still one parameter.
    first = {(fault.where, fault.name): fault for fault in reversed(faults)}
    places = {fault.where for fault in faults}
    detail = _NOUNS.get(faults[0].where) if len(places) == 1 else None
    return InvalidInput(
        422,
        detail or "the head of the request does not fit",
        [fault for fault in faults if fault is first[fault.where, fault.name]],
    )


async def _reading(scope: RequestScope, read: Callable[[], Awaitable[T]]) -> T:
    """Read the body for a parameter.

    On a server without a `Link` the reader itself finds that the client has left, before the scope can stop it. Whoever
    is entered already is told the same as on others: that the request was cancelled, and why.
    """
    try:
        return await scope.call(read)
    except ClientDisconnected:
        if scope.reason == "disconnected":
            raise scope.stopped() from None
        raise


async def _has_body(request: Request, scope: RequestScope) -> bool:
    """Whether there is a body, where there need not be one: an empty one is none, however it was sent."""
    announced = announces_body(request.scope)
    return await _reading(scope, request._has_body) if announced is None else announced


async def _read(parameter: BodyParam | RawParam, request: Request, scope: RequestScope) -> Any:
    if parameter.default is not REQUIRED and not await _has_body(request, scope):
        return copy.deepcopy(parameter.default)  # no request changes another's
    decode = _decoder(parameter, request.headers)
    return decode(await _reading(scope, request.body))


def read_whole(parameter: BodyParam | RawParam, headers: Headers, body: bytes, max_body: int | None) -> Any:
    """The value of a body that is here already."""
    decode = _decoder(parameter, headers)
    if max_body is not None and len(body) > max_body:
        raise too_large(max_body)
    return decode(body)


def _decoder(parameter: BodyParam | RawParam, headers: Headers) -> Callable[[bytes], Any]:
    """What makes the value of a body with this head, which is looked at before any of the body is read."""
    coding = headers.get("content-encoding")
    if isinstance(parameter, RawParam):
        check_coding(coding)
        return bytes
    decoder = parameter.decoder
    syntax = decoder.check(headers.get("content-type"), coding)
    return lambda raw: decoder.decode(raw, syntax)


async def _read_form(plan: FormPlan, request: Request, scope: RequestScope, slots: list[Any]) -> None:
    form = FormData()
    if any(part.required for _, part in plan.fields) or await _has_body(request, scope):
        limits = plan.limits
        form = await _reading(
            scope, partial(request.form, **{each: getattr(limits, each) for each in limits.__slots__})
        )
    faults: list[Fault] = []
    for slot, part in plan.fields:
        slots[slot] = part.read(form, faults)
    if faults:
        raise _misfit(faults)


async def provide(step: Step, slots: list[Any], scope: RequestScope, limiter: trio.CapacityLimiter) -> Any:
    """Make what a step makes; a context manager stays entered, in the scope."""
    call = step.call
    if call.mode is Mode.ASYNC_CONTEXT or call.mode is Mode.CONTEXT:
        positional, keyword = call.bind(slots)
        manager: Any = call.fn(*positional, **keyword)
        if call.mode is Mode.CONTEXT:
            manager = InThread(manager, limiter)
        return await scope.enter(manager, name=str(call.where))
    return await invoke(call, slots, scope, limiter)


async def invoke(call: Call, slots: list[Any], scope: RequestScope, limiter: trio.CapacityLimiter) -> Any:
    """Call, in the scope, with what the slots hold."""
    positional, keyword = call.bind(slots)
    fn = partial(call.fn, *positional, **keyword) if positional or keyword else call.fn
    if call.mode is Mode.ASYNC:
        return await scope.call(fn)
    if call.mode is Mode.THREAD:
        return await scope.call(in_thread, fn, limiter)
    return fn()
