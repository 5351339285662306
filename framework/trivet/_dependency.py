"""A dependency that is open: how it is entered, and how it is left. This file owns the two cancel scopes
around it.

It belongs to the floor of `_scope`, whose first lines have the theory. What the request ends with afterwards
is decided in `_leaving`.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any, Generic, Protocol, TypeVar, final

import trio

from ._leaving import cancelled_from_outside, closed, exc_info, news, settled, without
from .asgi import Reason
from .errors import RequestCancelled

T = TypeVar("T")


class Owner(Protocol):
    """What a dependency sees of its request: a `RequestScope`, which documents each of these."""

    deadline: float
    grace: float
    reason: Reason | None
    frames: list[Any]
    armed: trio.CancelScope | None
    leaving: trio.CancelScope | None

    def report(self, message: str, error: BaseException | None) -> None: ...
    def note_deadline(self) -> None: ...
    def stopped(self) -> RequestCancelled: ...
    def time_to_join(self) -> float: ...


@final
class DependencyFrame(Generic[T]):
    """An async context manager inside `entering > keep > (whatever it opened itself)`."""

    __slots__ = ("cm", "entering", "joins", "keep", "name", "request")

    request: Owner

    cm: AbstractAsyncContextManager[T, bool | None]
    """Left exactly once, by the task that entered it."""

    name: str
    """For messages."""

    joins: bool
    """Its normal end is work of the request (an injected nursery waits for its children), so it is waited for
    under the deadline and without a shield. Any other normal end is cleanup."""

    entering: trio.CancelScope
    """Armed while `cm` is being entered, and once more while a joining `cm` ends normally. In between its
    deadline is infinite and nobody cancels it. It may be cancelled all the same, if that came too late to be
    delivered: `keep` is what makes that harmless."""

    keep: trio.CancelScope
    """Idle until `cm` leaves; shielded from then on, with the grace as its deadline. Nothing else ever
    cancels it: what `cm` opened lives inside it and must still be whole when the request is cancelled."""

    def __init__(self, request: Owner, cm: AbstractAsyncContextManager[T, bool | None], name: str, joins: bool) -> None:
        self.request = request
        self.cm = cm
        self.name = name
        self.joins = joins
        self.entering = trio.CancelScope(deadline=request.deadline)
        self.keep = trio.CancelScope()

    async def enter(self) -> T:
        """Enter `cm`; what it raised goes on when the scopes are closed again."""
        request, entering = self.request, self.entering
        entering.__enter__()
        self.keep.__enter__()
        request.armed = entering
        try:
            value = await self.cm.__aenter__()
        except BaseException as exc:  # noqa: BLE001  # raised below
            error = closed(entering, closed(self.keep, exc))
        else:
            request.armed = None
            # In this order: reading `cancel_called` fires a deadline that has passed.
            entering.deadline = inf
            if entering.cancel_called:
                # Too late to be delivered. `cm` is entered, so it will be left, under the shield of `keep`.
                request.note_deadline()
            request.frames.append(self)
            return value
        request.armed = None
        try:
            raise request.stopped() if error is None else error
        finally:
            del error  # a traceback's frame that holds its own exception is a cycle

    async def leave(self, error: BaseException | None) -> BaseException | None:
        """Leave `cm`, told that the request ends with `error`; return what it ends with from here on."""
        request, entering, keep = self.request, self.entering, self.keep
        well = error is None and request.reason is None
        if self.joins and well:
            request.armed = entering
            entering.deadline = request.time_to_join()
        else:
            self._grant_grace(well)
        shown = None if error is None else self._shown(error)
        raised: BaseException | None = None
        try:
            await self.cm.__aexit__(*exc_info(shown))
        except BaseException as exc:  # noqa: BLE001  # `settled` decides what becomes of it
            raised = exc
        request.armed = request.leaving = None
        raised = closed(entering, closed(keep, raised))
        try:
            return self._settled(error, shown, raised)
        finally:
            del error, shown, raised  # a traceback's frame that holds its own exception is a cycle

    def _settled(
        self, error: BaseException | None, shown: BaseException | None, raised: BaseException | None
    ) -> BaseException | None:
        """What the request ends with, `cm` having raised `raised` and both scopes being closed."""
        request = self.request
        overran = self.keep.cancelled_caught
        if overran:
            grace = request.grace
            request.report(f"the dependency {self.name} was not left within cleanup_grace = {grace:g} s", None)
        if error is None:
            if raised is None:
                return request.stopped() if overran or self.entering.cancelled_caught else None
            if cancelled_from_outside(raised):
                # Only a joining nursery has no shield: its children were cut, so the request did not go well.
                return raised
        absorbs = trio.current_effective_deadline() != -inf
        new = news(raised, shown, error)
        return settled(error, new, absorbs=absorbs, dependency=self.name, log=request.report)

    def _grant_grace(self, well: bool) -> None:
        request, keep = self.request, self.keep
        request.leaving = keep
        keep.shield = True
        deadline = trio.current_time() + request.grace
        if well and deadline < request.deadline < inf:
            # A commit is still the request's work: it has what is left of the request's time, if that is
            # more.
            deadline = request.deadline
        keep.deadline = deadline

    def _shown(self, error: BaseException) -> BaseException:
        """What `cm` sees of `error`; to be asked inside of its shielded `keep`."""
        if trio.current_effective_deadline() == -inf:
            # A scope that `cm` opened itself is cancelled, and must get its Cancelled back.
            return error
        return without(error, trio.Cancelled) or RequestCancelled(self.request.reason or "failed")
