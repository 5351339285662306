"""Which trace a call belongs to: `traceparent` and `tracestate` (W3C Trace Context), handed on to whom it asks.

This file owns what of them is believed, where a trace begins, and who has the first word. Nothing is recorded here, so
what a request came with is handed on as it came: "Unmodified header propagation is typically implemented in
pass-through services like proxies. This behavior may also be implemented in a service which currently does not collect
distributed tracing information" (section 4.3). Where it came with none, or with a malformed one, a trace begins: the
calls of one request belong together, and whoever is called can say so in its log. It is not sampled, for we record
nothing (section 3.2.2.5.1: "When unset, the caller did not record trace data out-of-band"). Who does record says so by
OpenTelemetry, whose context wins.
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import httpx

from trivet import Request

# Section 3.2.2. A later version may be followed by more; version ff is none, nor are ids of zeros ids.
_TRACEPARENT: Final = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}"
    r"(?P<more>-[!-~]*)?"
)

KEY: Final = "trivet.trace"
"""Where in its ASGI scope the trace of a request is, once somebody has asked for it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace that a request is part of.

    Attributes:
        traceparent: as it came, or as it begins here.
        tracestate: as it came, several fields as one list; empty: there was none, or none that can be handed on.
    """

    traceparent: str
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits: the same in every service that the trace goes through; for logs."""
        return self.traceparent[3:35]

    @classmethod
    def of(cls, request: Request) -> Trace | None:
        """What `request` says; `None`: nothing, or something malformed, which is as good as nothing."""
        values = request.headers.getlist("traceparent")
        found = _TRACEPARENT.fullmatch(values[0].strip(" \t")) if len(values) == 1 else None
        if found is None or (found["version"] == "00" and found["more"] is not None):
            return None
        state = ",".join(request.headers.getlist("tracestate"))
        # Section 3.3.1.3: nothing else stands in it. httpx would refuse to send it, and the trace is worth more.
        return cls(found[0], state if state.isascii() else "")

    @classmethod
    def begun(cls) -> Trace:
        """A new one, which nobody has recorded anything of."""
        return cls(f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00")


_current: ContextVar[Trace | None] = ContextVar("trivet_trace", default=None)


def trace_of(request: Request) -> Trace:
    """The trace that the calls of `request` belong to: that of a span that is open here, else what it came with, else
    one that begins now. Of one request it is always the same."""
    trace = _of_span() or request.scope.get(KEY)
    if trace is None:
        trace = request.scope[KEY] = Trace.of(request) or Trace.begun()
    return trace


@asynccontextmanager
async def traced(request: Request) -> AsyncGenerator[Trace]:
    """A provider of the trace that the request's calls belong to: `Annotated[Trace, Depends(traced)]`, for logs.

    As a dependency of a route, a router or the application it also has tasks of `app.tasks` that are started below it
    continue the trace; all others that the handler starts do so anyway.
    """
    trace = trace_of(request)
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def tell(headers: httpx.Headers, caller: Request | None) -> None:
    """Say in a call which trace it belongs to, unless it does so itself; `caller`: the request that makes it."""
    if "traceparent" in headers:
        return
    trace = (_of_span() or _current.get() or Trace.begun()) if caller is None else trace_of(caller)
    headers["traceparent"] = trace.traceparent
    if trace.tracestate:
        headers["tracestate"] = trace.tracestate


def _of_span() -> Trace | None:
    """What OpenTelemetry says, if a span is open here."""
    if "opentelemetry.trace" not in sys.modules:  # then nobody has opened one, and it may not be installed
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    said: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(said)
    return Trace(said["traceparent"], said.get("tracestate", "")) if "traceparent" in said else None
