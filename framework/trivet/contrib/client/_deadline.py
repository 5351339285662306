"""How much time a call has: what is left of what surrounds it, less a margin.

This file owns that arithmetic, and what it is called when the time is over. `DeadlineExceeded` is Trio's error and
httpx's at once: either is what somebody looks for, and both become 504.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx
import trio

T = TypeVar("T")

FIELD: Final = "X-Request-Timeout-Ms"
"""Milliseconds that the caller will wait; what `App(trusted=[...])` reads of its peers."""

_SHORTEST: Final = 0.001
"""Seconds: what is less cannot be told to anybody."""


class DeadlineExceeded(httpx.TimeoutException, trio.TooSlowError):
    """There is no time left for this call, within the deadline that surrounds it; the text says how much it had.

    Whoever calls has the client's `margin` left, to do without. If it escapes the handler, the answer is 504.
    """


def deadline_of(margin: float) -> float:
    """Until when a call may take, on Trio's clock; `inf`: nothing surrounds it."""
    return trio.current_effective_deadline() - margin


async def seconds_until(deadline: float, request: httpx.Request, began: float) -> float:
    """What is left; `began`: when the first attempt did.

    Raises:
        DeadlineExceeded: nothing.

    Cancellation: only what has been cancelled already; it is no checkpoint.
    """
    left = deadline - trio.current_time()
    if left < _SHORTEST:
        await trio.lowlevel.checkpoint_if_cancelled()
        raise _exceeded(request, "it", deadline - began)
    return left


async def head_within(
    deadline: float, request: httpx.Request, began: float, send: Callable[[httpx.Request], Awaitable[T]]
) -> T:
    """Await `send(request)`, which is stopped at `deadline`; `began`: when the first attempt did.

    Raises:
        DeadlineExceeded: it was stopped.
    """
    with trio.CancelScope(deadline=deadline):
        return await send(request)
    raise _exceeded(request, "it", deadline - began)


async def part_within(deadline: float, request: httpx.Request, receive: Callable[[], Awaitable[T]]) -> T:
    """Await `receive()`, a part of the body of the response, which is stopped at `deadline`.

    Raises:
        DeadlineExceeded: it was stopped.
    """
    began = trio.current_time()
    with trio.CancelScope(deadline=deadline):
        return await receive()
    raise _exceeded(request, "a part of its body", deadline - began)


def tell(headers: httpx.Headers, left: float) -> None:
    """Say in the request how long we wait; what it says already counts if it is less."""
    if math.isinf(left):
        return
    said = headers.get(FIELD, "")
    milliseconds = int(left * 1000)
    # Longer ones are more than anybody waits, and Python refuses to read the longest.
    if not (len(said) < 16 and said.isascii() and said.isdigit() and int(said) < milliseconds):
        headers[FIELD] = str(milliseconds)


def shown(request: httpx.Request) -> str:
    """A request, for messages: neither password nor path nor query, where there may be what is nobody's business."""
    return f"{request.method} {request.url.scheme}://{request.url.netloc.decode('ascii')}"


def _exceeded(request: httpx.Request, what: str, had: float) -> DeadlineExceeded:
    time = "none" if had < _SHORTEST else f"{had:.3f} s"
    return DeadlineExceeded(f"no time is left for {shown(request)}: {what} had {time}", request=request)
