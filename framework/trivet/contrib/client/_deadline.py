"""How much time a call has, who ends it when that is over, and what it is called then.

This file owns that arithmetic. The deadline of the request itself is announced: a margin before it the call raises
`DeadlineExceeded`, which is Trio's error and httpx's at once: either is what somebody looks for, and both become 504.
Any other scope around the call is its owner's, who says how it ends: `trio.move_on_after` quietly, `trio.fail_after`
with an error of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, NamedTuple, TypeVar

import httpx
import trio

from trivet import Request

from ._caller import own_deadline

T = TypeVar("T")

FIELD: Final = "X-Request-Timeout-Ms"
"""Milliseconds that the caller will wait; what `App(trusted=[...])` reads of its peers."""

_SHORTEST: Final = 0.001
"""Seconds: what is less cannot be told to anybody."""


class DeadlineExceeded(httpx.TimeoutException, trio.TooSlowError):
    """There is no time left for this call, within the deadline of its request; the text says how much it had.

    Whoever calls has the client's `margin` left, to do without. If it escapes the handler, the answer is 504.
    """


class Limit(NamedTuple):
    """Until when a call may take, on Trio's clock."""

    ours: float
    """When we stop it: the request's deadline, less the margin; `inf`: never."""

    around: float
    """When it is cancelled, by whichever scope comes first; `inf`: never."""

    back: float
    """Seconds that an answer which comes just in time has for its way back, where no request keeps the time."""

    @classmethod
    def of(cls, margin: float, request: Request | None) -> Limit:
        """Here and now; `request`: whose work it is."""
        around = trio.current_effective_deadline()
        own = own_deadline(request)
        # A scope that is later than what surrounds us does not: a shield is in between, or the task is another's child.
        ours = inf if around > own or own == inf else own - margin
        return cls(ours, around, margin if request is None else 0.0)

    @property
    def end(self) -> float:
        """The earlier one."""
        return min(self.ours, self.around)

    def told(self, now: float) -> float:
        """Seconds that whom we ask is told.

        All that a scope of a handler's has: told less, the other service would give up first, and a part of a page that
        is missing, say, would be one that has failed. Where no request keeps the time, less by the margin, but no less
        than half.
        """
        left = self.end - now
        return left if left == inf else max(left - self.back, left / 2)

    async def check(self, request: httpx.Request, began: float) -> None:
        """Return if there is time left; `began`: when the first attempt did.

        Raises:
            DeadlineExceeded: there is none before the request's own deadline.

        Cancellation: by the scope whose time is over; else it is no checkpoint.
        """
        now = trio.current_time()
        if self.around - now < _SHORTEST:
            await trio.sleep(max(self.around - now, 0.0))
        if self.end - now < _SHORTEST:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise _exceeded(request, "it", self.end - began)


async def head_within(
    limit: Limit, request: httpx.Request, began: float, send: Callable[[httpx.Request], Awaitable[T]]
) -> T:
    """Await `send(request)`, within `limit`; `began`: when the first attempt did.

    Raises:
        DeadlineExceeded: we stopped it.
    """
    with trio.CancelScope(deadline=limit.ours):
        return await send(request)
    raise _exceeded(request, "it", limit.ours - began)


async def part_within(limit: Limit, request: httpx.Request, receive: Callable[[], Awaitable[T]]) -> T:
    """Await `receive()`, a part of the body of the response, within `limit`.

    Raises:
        DeadlineExceeded: we stopped it.
    """
    began = trio.current_time()
    with trio.CancelScope(deadline=limit.ours):
        return await receive()
    raise _exceeded(request, "a part of its body", limit.ours - began)


def tell(headers: httpx.Headers, left: float) -> None:
    """Say in the request how long we wait; what it says already counts if it is less."""
    if left == inf:
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
