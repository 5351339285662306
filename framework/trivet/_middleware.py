"""A middleware's call: what stops it before, during and after `call_next`. This file owns its one cancel
scope.

It belongs to the floor of `_scope`, whose first lines have the theory. It knows nothing of requests' and
responses'
contents: a middleware is `fn(call_next)`, and `call_next()` awaits `inner()`.

One scope suffices where a dependency needs two. If it is cancelled before `call_next`, nothing inside is
entered, so nothing has to be left under its protection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Generic, Protocol, TypeVar, final

import trio

from ._leaving import closed
from .errors import RequestCancelled, ResponseError

T = TypeVar("T")


class Owner(Protocol):
    """What a middleware sees of its request: a `RequestScope`, which documents each of these."""

    deadline: float
    grace: float
    frames: list[Any]
    armed: trio.CancelScope | None

    def report(self, message: str, error: BaseException | None) -> None: ...
    def stopped(self) -> RequestCancelled: ...
    async def leave(self, error: BaseException, down_to: int) -> BaseException: ...


@final
class MiddlewareFrame(Generic[T]):
    """One call of one middleware, from its start until all that `inner` left open above it is left."""

    __slots__ = ("base", "called", "depth", "inner", "name", "request", "scope", "task")

    request: Owner
    inner: Callable[[], Awaitable[T]]

    name: str
    """For messages."""

    scope: trio.CancelScope
    """Armed before `call_next`, idle during it, shielded with the grace as its deadline after it; idle again
    when the middleware has returned and a stream's dependencies stay open above."""

    depth: int
    """How many frames are open when this is the topmost one, itself included."""

    task: trio.lowlevel.Task
    """The request's."""

    base: object
    """Where the task stands when it is directly inside `scope`, see `standing`."""

    called: bool
    """`call_next` was awaited and `inner` ran: what the middleware does now is its second half."""

    def __init__(self, request: Owner, inner: Callable[[], Awaitable[T]], name: str) -> None:
        self.request = request
        self.inner = inner
        self.name = name
        self.scope = trio.CancelScope(deadline=request.deadline)
        self.depth = len(request.frames) + 1
        self.task = trio.lowlevel.current_task()
        self.base: object = None
        self.called = False

    async def run(self, fn: Callable[[Callable[[], Awaitable[T]]], Awaitable[T]]) -> T:
        """Await `fn(call_next)`."""
        request, scope = self.request, self.scope
        scope.__enter__()
        self.base = standing()
        request.frames.append(self)
        request.armed = scope
        try:
            value = await fn(self.call_next)
        except BaseException as exc:  # noqa: BLE001  # raised below
            error = exc
        else:
            request.armed = None
            if len(request.frames) == self.depth:
                request.frames.pop()
                scope.__exit__(None, None, None)
                return value
            # In this order: reading `cancel_called` fires a deadline that has passed.
            scope.deadline = inf
            if not scope.cancel_called:
                scope.shield = False
                return value
            # It overran and swallowed the Cancelled. The stream would run inside of a cancelled scope: it is
            # over.
            error = self._overran()
        request.armed = None
        scope.deadline = inf
        try:
            raise await self._closed(error)
        finally:
            del error  # a traceback's frame that holds its own exception is a cycle

    async def call_next(self) -> T:
        """Await `inner()`; afterwards the middleware has its grace."""
        request, scope = self.request, self.scope
        if len(request.frames) != self.depth or trio.lowlevel.current_task() is not self.task:
            raise self._misuse()
        request.armed = None
        # In this order: reading `cancel_called` fires a deadline that has passed.
        scope.deadline = inf
        if scope.cancel_called:
            # It swallowed its Cancelled: nothing can run inside of a cancelled scope.
            raise request.stopped()
        if self.called:
            scope.shield = False
        self.called = True
        holds = standing() is not self.base
        try:
            value = await self.inner()
        except BaseException as exc:  # noqa: BLE001  # raised below
            error = exc
        else:
            if len(request.frames) == self.depth or not holds:
                self._grant_grace()
                return value
            error = self._held()
        if len(request.frames) > self.depth:
            error = await request.leave(error, down_to=self.depth)
        self._grant_grace()
        try:
            raise error
        finally:
            del error  # a traceback's frame that holds its own exception is a cycle

    def close(self, error: BaseException | None) -> BaseException | None:
        """Close the frame when the middleware returned long ago, and return what the request ends with."""
        return closed(self.scope, error)

    async def _closed(self, error: BaseException) -> BaseException:
        """Leave what is open above, close the frame, and return what the middleware ends with."""
        request = self.request
        if len(request.frames) > self.depth:
            error = await request.leave(error, down_to=self.depth)
        request.frames.pop()
        left = closed(self.scope, error)
        if left is None:
            return self._overran() if self.called else request.stopped()
        return left

    def _grant_grace(self) -> None:
        self.scope.shield = True
        self.scope.deadline = trio.current_time() + self.request.grace

    def _overran(self) -> RequestCancelled:
        grace = self.request.grace
        self.request.report(f"the middleware {self.name} ran on for longer than cleanup_grace = {grace:g} s", None)
        return self.request.stopped()

    def _open_above(self) -> str:
        """The outermost dependency that is open above this frame; only a dependency keeps frames open."""
        above = self.request.frames[self.depth :]
        return str(next(frame.name for frame in above if not isinstance(frame, MiddlewareFrame)))

    def _held(self) -> ResponseError:
        return ResponseError(
            f"The middleware {self.name} holds a nursery or a cancel scope open while it awaits `call_next`, "
            f"and the response is a stream: its dependency {self._open_above()} stays open until the last "
            "chunk, long after the middleware has returned. Neither can be closed before the other.\n"
            "Make the nursery or the scope a dependency:\n\n"
            "    @asynccontextmanager\n"
            "    async def limited():\n"
            "        with trio.fail_after(3):\n"
            "            yield"
        )

    def _misuse(self) -> ResponseError:
        if trio.lowlevel.current_task() is self.task and self in self.request.frames:
            return ResponseError(
                f"The middleware {self.name} awaited `call_next` again, but the first response is a stream "
                f"whose dependency {self._open_above()} is still open.\n"
                "Ask for another response only if the first one was an error:\n\n"
                "    response = await call_next(request)\n"
                "    if response.status == 503:\n"
                "        response = await call_next(request)\n"
                "    return response"
            )
        return ResponseError(
            f"The middleware {self.name} called `call_next` from another task, or after it had returned. "
            "Dependencies are entered and left in the request's own task, so `call_next` runs there:\n\n"
            "    async with trio.open_nursery() as nursery:\n"
            "        nursery.start_soon(something_else)  # but not call_next\n"
            "        response = await call_next(request)\n"
            "        nursery.cancel_scope.cancel()\n"
            "    return response"
        )


def standing() -> object:
    """A token for the innermost cancel scope or nursery that the current task is directly inside of.

    Trio has no public way to ask; anyio's Trio backend reads the same attribute. Should it go, the token is
    always `None`, and a scope held in the wrong place is reported by Trio ("Cancel scope stack corrupted")
    instead of us.
    """
    return getattr(trio.lowlevel.current_task(), "_cancel_status", None)
