"""Spans for OpenTelemetry: its own ASGI instrumentation, told what only the application knows.

This file owns what is told: the route (`http.route`, and the name of the span, as the semantic conventions want it),
and how the request ended (`trivet.outcome`), the word of the access log, found as that is. The instrumentation does all
else, and keeps to context variables, so that it runs on Trio.

It ends the span of a request with the last message of the response, so what is known is told just before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import trio

from trivet._access import accounted
from trivet._logline import Entry
from trivet._outbound import noted
from trivet.asgi import ACCESS, Access, ASGIApp, Message, Reason, Receive, Scope, Send

from ._meter import METHODS, WEBSOCKET

if TYPE_CHECKING:
    from opentelemetry.trace import Span

OUTCOME = "trivet.outcome"
REQUEST_ID = "trivet.request_id"
ROUTE = "http.route"


def opentelemetry(
    app: ASGIApp, *, exclude_spans: Sequence[Literal["receive", "send"]] = ("receive", "send"), **options: Any
) -> ASGIApp:
    """`app` with a span for each request and WebSocket: `app.wrap(observe.opentelemetry)`.

    Args:
        app: any ASGI application; one of trivet's says what becomes of a request.
        exclude_spans: no spans of their own for ASGI's messages. `()`: there are, one for each event of a stream.
        options: those of `opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware`, `tracer_provider` for example.

    Raises:
        ImportError: the extra `opentelemetry` is not installed.
    """
    try:
        from opentelemetry import trace
        from opentelemetry.instrumentation.asgi import (  # pyright: ignore[reportMissingTypeStubs]
            OpenTelemetryMiddleware,
        )
    except ModuleNotFoundError as error:
        raise ImportError(
            "spans are made by OpenTelemetry's instrumentation of ASGI, which is not installed.\n"
            'Write  pip install "trivet[opentelemetry]"',
            name=error.name,
        ) from None

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            await _run(app, scope, receive, send, trace.get_current_span())
        else:
            await app(scope, receive, send)

    instrumented: ASGIApp = OpenTelemetryMiddleware(told, exclude_spans=list(exclude_spans), **options)
    return instrumented


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
    outer: Access | None = scope.get(ACCESS)
    entry = Entry.of(scope, trio.current_time())
    noting = noted(send, entry)

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            _tell(span, scope, entry, "returned")
        await noting(message)

    def done(entry: Entry, outcome: Reason, now: float) -> None:
        if outer is not None:
            entry.tell(outer)
        _tell(span, scope, entry, outcome)

    await accounted(app, scope, receive, telling, entry, done)


def _tell(span: Span, scope: Scope, entry: Entry, outcome: Reason) -> None:
    """Say what is known; `outcome`: what it looks like, if the application has not said."""
    if not span.is_recording():
        return
    span.set_attribute(OUTCOME, entry.outcome or outcome)
    if entry.request_id:
        span.set_attribute(REQUEST_ID, entry.request_id)
    if entry.route is not None:
        span.set_attribute(ROUTE, entry.route)
        method = scope.get("method", WEBSOCKET)
        # `HTTP`: as the semantic conventions have it for a method that they do not know, which any client may send.
        span.update_name(f"{method if method in METHODS else 'HTTP'} {entry.route}")
