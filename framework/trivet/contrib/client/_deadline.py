"""How much time a call has: what is left of what surrounds it, less a margin.

This file owns that arithmetic, and what it is called when the time is over. `DeadlineExceeded` is Trio's error and
httpx's at once: either is what somebody looks for, and both become 504.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, TypeVarTuple

import httpx
import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

FIELD: Final = "X-Request-Timeout-Ms"
"""Milliseconds that the caller will wait; what `App(trusted=[...])` reads of its peers."""

_SHORTEST: Final = 0.001
"""Seconds: what is less cannot be told to anybody."""


class DeadlineExceeded(httpx.TimeoutException, trio.TooSlowError):
    """There is no time left for this call, within the deadline that surrounds it.

    Whoever calls has the client's `margin` left, to do without. If it escapes the handler, the answer is 504.
    """


def deadline_of(margin: float) -> float:
    """Until when a call may take, on Trio's clock; `inf`: nothing surrounds it."""
    return trio.current_effective_deadline() - margin


async def seconds_until(deadline: float, request: httpx.Request) -> float:
    """What is left.

    Raises:
        DeadlineExceeded: nothing.

    Cancellation: only what has been cancelled already; it is no checkpoint.
    """
    left = deadline - trio.current_time()
    if left < _SHORTEST:
        await trio.lowlevel.checkpoint_if_cancelled()
        raise _exceeded(request)
    return left


async def within(deadline: float, request: httpx.Request, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Await `fn(*args)`, which is stopped at `deadline`.

    Raises:
        DeadlineExceeded: it was stopped.
    """
    with trio.CancelScope(deadline=deadline):
        return await fn(*args)
    raise _exceeded(request)


def tell(headers: httpx.Headers, left: float) -> None:
    """Say in the request how long we wait; what it says already counts if it is less."""
    if math.isinf(left):
        return
    said = headers.get(FIELD, "")
    milliseconds = int(left * 1000)
    # Longer ones are more than anybody waits, and Python refuses to read the longest.
    if not (len(said) < 16 and said.isascii() and said.isdigit() and int(said) < milliseconds):
        headers[FIELD] = str(milliseconds)


def _exceeded(request: httpx.Request) -> DeadlineExceeded:
    url = request.url
    return DeadlineExceeded(f"no time is left for {request.method} {url.scheme}://{url.host}", request=request)
