"""Which trace a request belongs to: `traceparent` and `tracestate` (W3C Trace Context), handed on to whom it calls.

This file owns what of them is believed, and where the request's own are kept meanwhile: in a context variable, which
tasks that a handler starts inherit. It knows no client. Nothing is recorded here, so both are handed on as they came:
"Unmodified header propagation is typically implemented in pass-through services like proxies. This behavior may also be
implemented in a service which currently does not collect distributed tracing information" (section 4.3). For the same
reason no trace begins here: we could only say that it is not sampled, and whoever is called would believe that.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from trivet import Request

# Section 3.2.2. A later version may be followed by more; version ff is none, nor are ids of zeros ids.
_TRACEPARENT: Final = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}"
    r"(?P<more>-[!-~]*)?"
)


@dataclass(frozen=True, slots=True)
class Trace:
    """What a request says of the trace that it is part of.

    Attributes:
        traceparent: as it came.
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


_current: ContextVar[Trace | None] = ContextVar("trivet_trace", default=None)


def current() -> Trace | None:
    """The trace of the request that this task works for; `None`: it has none, or nobody has asked for `traced`."""
    return _current.get()


@asynccontextmanager
async def traced(request: Request) -> AsyncGenerator[Trace | None]:
    """A provider: what the handler calls with a `Client` is part of the request's trace.

    `dependencies=[Depends(traced)]` for a route, a router or the application; as the value of a parameter it is the
    `Trace`, or `None`.
    """
    trace = Trace.of(request)
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)
