"""What runs beside a piece of work, and ends with it.

This file owns whose error comes out: what the work raised, as it is. A nursery would wrap it in a group, and whoever
keeps it out of the nursery to raise it later loses it, if a scope further out is cancelled as well: then the nursery
raises `Cancelled`, and later never comes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

import trio

from ._leaving import as_group, without

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def alongside(background: Callable[[], Awaitable[object]], fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Await `fn(*args)` in this task while `background()` runs in a child, which is cancelled when `fn` is
    done.

    Returns:
        What `fn` returned, also when a cancellation from further out arrived while the child was ending.

    Raises:
        BaseException: what `fn` raised, as it is: no group around it. What `background` raised likewise, and
            `fn` is cancelled then. Both in one group, if both failed.
    """
    failure: BaseException | None = None
    ended: list[T] = []
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(background)
            try:
                ended.append(await fn(*args))
            except BaseException as exc:  # noqa: BLE001  # raised below, not in the nursery's group
                error = exc
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as exc:
        failure = _of_companions(exc)
    if failure is not None:
        # It cancelled `fn`. If somebody further out did so as well, the next checkpoint will say it again.
        error = without(error, trio.Cancelled)
        error = failure if error is None else BaseExceptionGroup("a request and its companion", [error, failure])
    if error is None:
        return ended[0]
    try:
        raise error
    finally:
        del error, failure  # a traceback's frame that holds its own exception is a cycle


@asynccontextmanager
async def companions(leave: Callable[[], Awaitable[object]] | None = None) -> AsyncGenerator[trio.Nursery]:
    """A nursery for what runs beside the body, and is cancelled when the body is done.

    Args:
        leave: is awaited after the body, while its companions still run. Not after a cancellation or Ctrl-C, which
            nothing should hold up.

    Raises:
        BaseException: what the body raised, as it is: no group around it. What a companion raised likewise, and the
            body is cancelled then; and what `leave` raised. In one group, if several of them failed.

    Cancellation: all are cancelled, and waited for. What one of them raises on its way out is raised instead of
    `Cancelled`, which the next checkpoint says again; and one that arrives while companions are ending is left to it.
    """
    error: BaseException | None = None
    late: BaseException | None = None
    out: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as exc:  # noqa: BLE001  # raised below, not in the nursery's group
                error = exc
            if leave is not None and (error is None or isinstance(error, Exception)):
                try:
                    await leave()
                except BaseException as exc:  # noqa: BLE001  # likewise
                    late = exc
            nursery.cancel_scope.cancel()
            cut = _cancelled(error) or _cancelled(late)
            if cut is not None:
                raise cut  # whether it belongs to a companion that failed, or further out, the nursery's scope knows
    except BaseException as exc:  # noqa: BLE001  # likewise
        out = exc
    failures = [without(error, trio.Cancelled), without(late, trio.Cancelled), _of_companions(out)]
    errors = [each for each in failures if each is not None]
    if not errors and out is not None and (error is not None or late is not None):
        errors = [out]  # nothing but cancelled
    try:
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("what ran, and what ran beside it", errors)
    finally:
        del error, late, out, failures, errors  # a traceback's frame that holds its own exception is a cycle


def _of_companions(error: BaseException | None) -> BaseException | None:
    """What failed, of what a nursery raised: as it is, if it is one."""
    failure = without(error, trio.Cancelled)
    group = as_group(failure)
    return group.exceptions[0] if group is not None and len(group.exceptions) == 1 else failure


def _cancelled(error: BaseException | None) -> BaseException | None:
    """What of it is a cancellation."""
    group = as_group(error)
    if group is not None:
        return group.split(trio.Cancelled)[0]
    return error if isinstance(error, trio.Cancelled) else None
