"""The request scope: what may stop a request, who is told, and in which order it is left.

This file and the others of its floor (`_dependency`, `_middleware`, `_leaving`, `_bounds`, `_companions`) own one
decision: which part of a request can be cancelled when, and why the request ended. Nothing else opens the cancel
scopes and nurseries of a request. It must not know ASGI, routes or responses.

Theory of operation
-------------------
A request runs in one task. Its cancel scopes nest like this, the outermost at the left:

    around_M > entering_A > keep_A > (what A opened) > entering_B > keep_B > (what B opened) > armed > handler

M is a middleware, A and B are dependencies (async context managers). At any time at most one of our scopes is
*armed*, that is, has the request's deadline and is what `cancel` cancels: the innermost one around the
application's code that is running forward. So a deadline, or a client that leaves, stops the handler, or the
dependency that is just being entered, and nothing else. It does not reach what A and B opened themselves:
their nurseries and connections are still whole when they clean up.

Then the dependencies leave, last in first out, in the same task. Each leaves inside of its own `keep` scope,
which is shielded now and has the grace as its deadline: a grace of its own, or a stuck dependency would
starve the outer ones. What it is shown at its `yield` is an ordinary exception, `RequestCancelled`. Only if a
scope of its own was cancelled (a child of its nursery failed, say) does it see `Cancelled`, for that scope
has to catch it. After each one `_leaving` decides what the request ends with.

Why not simpler? A scope around `__aenter__` alone is closed while what the dependency opened is still open
inside of it; one around `__aexit__` alone is opened inside of that and outlives it. Either corrupts Trio's
stack of scopes. One scope for all, shielded in the end, is cancelled by then, and so are the dependencies'
children. Hence two scopes for each dependency, both open as long as it is: `entering`, which may be
cancelled, and `keep`, which may not.

A cancellation from further out (a dependency's nursery, hypercorn's `graceful_timeout`) cannot be kept away
from what the dependencies opened; but those that opened nothing have their grace in that case too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, TypeVarTuple, overload

import trio

from . import _bounds, _companions
from ._bounds import TooLate, bounded
from ._dependency import DependencyFrame
from ._leaving import Log, cancelled_from_outside, leaves
from ._middleware import MiddlewareFrame
from .asgi import Reason
from .errors import RequestCancelled

__all__ = ["RequestScope", "TooLate", "bounded", "cancelled_from_outside", "leaves"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class RequestScope:
    """One request's deadline, its reason for ending, and what it has entered.

    All methods but `cancel` belong to the task of the request.

    Args:
        deadline: when the response's head must be ready, on Trio's clock; `inf`: no such time.
        grace: seconds that each dependency, middleware or catcher has once the request is ending.
        log: is told what can be told to nobody else: a message, and the exception, if there is one.
    """

    __slots__ = ("_log", "armed", "deadline", "fed", "frames", "grace", "leaving", "reason")

    deadline: float
    """Absolute, on Trio's clock. The scope's owner may change it while nothing of the application runs."""

    grace: float
    """Seconds."""

    reason: Reason | None
    """Why the request ended or is ending; `None` while it goes well. Written once: the first reason wins."""

    frames: list[DependencyFrame[Any] | MiddlewareFrame[Any]]
    """What is entered and not yet left, outermost first. Written by this floor only, as are the next
    three."""

    armed: trio.CancelScope | None
    """The one scope that `cancel` cancels; `None` while no code runs that it should stop."""

    leaving: trio.CancelScope | None
    """The `keep` of the dependency that is leaving: `cancel` may shorten its time."""

    fed: bool
    """A stream's body was fed, so that the deadline has lost its meaning."""

    def __init__(self, deadline: float, grace: float, log: Log) -> None:
        self.deadline = deadline
        self.grace = grace
        self._log = log
        self.reason = None
        self.frames = []
        self.armed = None
        self.leaving = None
        self.fed = False

    @property
    def depth(self) -> int:
        """How many dependencies and middleware are open: for `leave(down_to=...)`."""
        return len(self.frames)

    def cancel(self, reason: Reason) -> None:
        """End the request for `reason`: stop the code that is running forward, and start nothing new.

        To be called from any task of the run, at any time. It does nothing if there is a reason already; so
        the owner settles a request that is over with `cancel("returned")` or `cancel("failed")`. A dependency
        that is leaving has its grace from now on, at most.
        """
        if self.reason is not None:
            return
        self.reason = reason
        if self.armed is not None:
            self.armed.cancel(reason)
        elif self.leaving is not None:
            self.leaving.deadline = min(self.leaving.deadline, trio.current_time() + self.grace)

    async def call(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Await `fn(*args)` so that the deadline and `cancel` stop it: a handler, a plain dependency, a
        body's read.

        Below another `call` or `feed`, a dependency's entry or the first half of a middleware it adds
        nothing: they can be stopped already.

        Returns:
            What `fn` returned, however late: work that was done counts.

        Raises:
            RequestCancelled: it was stopped, or the request had ended before.
            BaseException: what `fn` raised.
        """
        if self.armed is not None:
            return await fn(*args)
        if self.reason is not None:
            raise self.stopped()
        with trio.CancelScope(deadline=self.deadline) as self.armed:
            try:
                return await fn(*args)
            finally:
                self.armed = None
        raise self.stopped()

    async def feed(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Await `fn(*args)`, the body of a stream: as `call` does, but it may live past the deadline."""
        if self.reason is not None:
            raise self.stopped()
        self.fed = True
        with trio.CancelScope() as self.armed:
            try:
                return await fn(*args)
            finally:
                self.armed = None
        raise self.stopped()

    async def wait_turn(self, until: float, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> bool:
        """Await `fn(*args)`, a place in a queue, before anything of the request has begun: past `until` it is shed.

        Args:
            until: on Trio's clock; the deadline, or earlier.
            fn: waits.
            args: its arguments.

        Returns:
            Whether it has returned; if not, the reason is `shed` now.

        Raises:
            RequestCancelled: `cancel` was called meanwhile.
        """
        with trio.CancelScope(deadline=until) as self.armed:
            try:
                await fn(*args)
                return True
            finally:
                self.armed = None
        if self.reason is not None:
            raise self.stopped()
        self.reason = "shed"
        return False

    async def enter(self, cm: AbstractAsyncContextManager[T, bool | None], *, name: str, joins: bool = False) -> T:
        """Enter a dependency; `leave` will leave it.

        Args:
            cm: the dependency.
            name: for messages.
            joins: it is an injected nursery: its normal end is waited for under the deadline, for its
                children are the request's work, not its cleanup.

        Raises:
            RequestCancelled: the deadline passed or `cancel` was called before it was entered.
            BaseException: what `cm` raised; it is not entered then.
        """
        if self.reason is not None:
            raise self.stopped()
        return await DependencyFrame(self, cm, name, joins).enter()

    @overload
    async def leave(self, error: BaseException, down_to: int = 0) -> BaseException: ...
    @overload
    async def leave(self, error: None = None, down_to: int = 0) -> BaseException | None: ...
    async def leave(self, error: BaseException | None = None, down_to: int = 0) -> BaseException | None:
        """Leave what is open, last in first out.

        Args:
            error: what the request ends with so far; `None`: it went well.
            down_to: a former `depth`: only what was entered since is left.

        Returns:
            What the request ends with; never `None` if `error` was not. It holds a `trio.Cancelled` only if a
            scope further out is cancelled: see `cancelled_from_outside`.

        Cancellation: none reaches it, but for an injected nursery that waits for its children. It takes at
        most `grace` seconds for each dependency, or what is left until the deadline if all went well.
        """
        while len(self.frames) > down_to:
            frame = self.frames.pop()
            if isinstance(frame, DependencyFrame):
                error = await frame.leave(error)
            else:
                error = frame.close(error)
        return error

    async def around(
        self,
        fn: Callable[[Callable[[], Awaitable[T]]], Awaitable[T]],
        inner: Callable[[], Awaitable[T]],
        *,
        name: str | None = None,
    ) -> T:
        """Await a middleware, `fn(call_next)`, where `call_next()` awaits `inner()`.

        Before `call_next` the middleware is stopped like a handler. While `inner` runs, only what it runs
        through this scope is stopped. After it the middleware has `grace` seconds, shielded. It may do
        without `call_next`, or call it again if the first time has left nothing open. If `inner` returns with
        dependencies open (a stream), they stay open when the middleware has returned, and its frame beneath
        them. If `inner` or `fn` raises, all that was entered since is left first.

        Args:
            fn: the middleware.
            inner: what it is around. A `trio.Cancelled` must come out of it again: the middleware's own
                `move_on_after` may be what cancelled it.
            name: of the middleware, for messages; `fn`'s own by default.

        Raises:
            RequestCancelled: it was stopped before `call_next`, or it overran the grace, which is logged too.
                Out of `call_next`: it had swallowed its cancellation, so `inner` cannot run.
            ResponseError: out of `call_next`: the middleware holds a nursery or a scope over a stream whose
                dependencies are open, or calls it again over such a stream, or from another task.
            BaseException: what `fn` raised.
        """
        if self.reason is not None:
            raise self.stopped()
        return await MiddlewareFrame(self, inner, name or _name_of(fn)).run(fn)

    async def in_grace(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Await the application's code that runs when the request has ended: a catcher.

        Raises:
            TooLate: it ran for longer than `grace` seconds, which is logged too. How the request ended stays as it is.
            BaseException: what `fn` raised.

        Cancellation: none reaches it.
        """
        with trio.CancelScope(relative_deadline=self.grace, shield=True):
            return await fn(*args)
        self.report(f"{_name_of(fn)} ran for longer than cleanup_grace = {self.grace:g} s", None)
        raise TooLate(self.grace)

    alongside = staticmethod(_companions.alongside)
    shielded = staticmethod(_bounds.shielded)

    def report(self, message: str, error: BaseException | None) -> None:
        """Tell the log what can be told to nobody else."""
        self._log(message, error)

    def note_deadline(self) -> None:
        """One of our own scopes was cancelled: if nobody gave a reason, time was it."""
        if self.reason is None:
            self.reason = "deadline"

    def stopped(self) -> RequestCancelled:
        """The error for code that one of our own scopes has stopped, or that must not start any more."""
        self.note_deadline()
        assert self.reason is not None
        return RequestCancelled(self.reason)

    def time_to_join(self) -> float:
        """Until when an injected nursery may wait for its children, on Trio's clock.

        A stream has outlived the deadline as a rule; its children have the time that cleanup has.
        """
        return max(self.deadline, trio.current_time() + self.grace) if self.fed else self.deadline


def _name_of(fn: object) -> str:
    name: str = getattr(fn, "__qualname__", repr(fn))
    return name
