"""What a request ends with, once one of its dependencies has left. This file owns that one decision.

It works on exceptions only: it opens no scope, waits for nothing and knows neither frames nor ASGI. It
belongs to the floor of `_scope`, because `trio.Cancelled` has a part in each rule:

1. A dependency may replace the request's error, but not swallow it. An outer transaction would otherwise
   commit after an inner `except Exception: log(...)`.
2. "Replaced" means that the new error says where it comes from: each leaf of the old one is in its chain of
   `__cause__`, `__context__` and group members. A new error without that link stands beside the old one.
3. A nursery wraps what passes through it in a group. The same leaves in a new group are the same error.
4. A dependency whose own scope cancelled the handler (`move_on_after` around a `yield`) absorbs the
   `Cancelled`. If it brings no error of its own there is no response to send, and that is an error too.
5. KeyboardInterrupt and SystemExit go on unchanged; what fails on their way is logged.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias, cast

import trio

from . import _groups
from .errors import NoResponse, RequestCancelled

ExcInfo: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
Log: TypeAlias = Callable[[str, BaseException | None], object]


def as_group(error: BaseException | None) -> BaseExceptionGroup[BaseException] | None:
    """`error`, if it is a group: `isinstance` alone would leave the type of its members unknown."""
    return cast("BaseExceptionGroup[BaseException]", error) if isinstance(error, BaseExceptionGroup) else None


def leaves(error: BaseException | None) -> list[BaseException]:
    """The exceptions that `error` consists of, groups taken apart, in order; none for `None`."""
    return [] if error is None else _groups.leaves(error)


def without(
    error: BaseException | None, kind: type[BaseException] | tuple[type[BaseException], ...]
) -> BaseException | None:
    """`error` less its leaves of `kind`, its groups kept; `None` when nothing is left."""
    group = as_group(error)
    if group is not None:
        return group.split(kind)[1]
    return None if isinstance(error, kind) else error


def cancelled_from_outside(error: BaseException | None) -> bool:
    """Whether a scope that is not the request's own cancelled it.

    To be asked about what a request ended with, after `RequestScope.leave`: its own cancellations have become
    `RequestCancelled` by then, so that a `trio.Cancelled` in it belongs to a scope further out, hypercorn's
    `graceful_timeout` for one. Whoever answers such a request must let the cancellation go on afterwards.
    """
    return any(isinstance(leaf, trio.Cancelled) for leaf in leaves(error))


def exc_info(error: BaseException | None) -> ExcInfo:
    """The three arguments of `__exit__` and `__aexit__`."""
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


def closed(scope: trio.CancelScope, error: BaseException | None) -> BaseException | None:
    """Exit `scope` with `error`; return what is left of it: `__exit__` as a function from error to error."""
    try:
        return None if scope.__exit__(*exc_info(error)) else error
    except BaseException as changed:  # noqa: BLE001  # it is returned, and so not lost
        return changed


def explains(new: BaseException, old: BaseException) -> bool:
    """Whether each leaf of `old` is in the chain of `new`, so that `new` is a translation of it."""
    chain: set[int] = set()
    todo: list[BaseException | None] = [new]
    while todo:
        error = todo.pop()
        if error is None or id(error) in chain:
            continue
        chain.add(id(error))
        todo += (error.__cause__, error.__context__)
        group = as_group(error)
        if group is not None:
            todo += group.exceptions
    return all(id(leaf) in chain for leaf in leaves(old))


def news(
    raised: BaseException | None, shown: BaseException | None, error: BaseException | None
) -> BaseException | None:
    """What a dependency that was shown `shown` and raised `raised` has to say, if it is new.

    A cancellation is not news (rule 4 handles it), nor is the `RequestCancelled` that it was shown in its
    stead, nor what it was shown in another wrapping (rule 3).
    """
    new = without(raised, trio.Cancelled if error is None else (trio.Cancelled, RequestCancelled))
    if new is None:
        return None
    known = {id(leaf) for leaf in leaves(shown)}
    return None if all(id(leaf) in known for leaf in leaves(new)) else new


def settled(
    error: BaseException | None, new: BaseException | None, *, absorbs: bool, dependency: str, log: Log
) -> BaseException | None:
    """What the request ends with after `dependency` has left.

    Args:
        error: what it ended with before.
        new: the dependency's own error, if any, by `news`.
        absorbs: no scope outside of the dependency is cancelled, so a `Cancelled` in `error` was its own.
        dependency: its name, for messages.
        log: is told an error that can go nowhere else.
    """
    cut = cancelled_from_outside(error)
    if cut and absorbs:
        error, cut = without(error, trio.Cancelled), False
        if error is None and new is None:
            return NoResponse(
                f"The dependency {dependency} cancelled the handler without an error: there is no response.\n"
                "If it limits the time with `move_on_after`, let it raise instead:\n\n"
                "    with trio.fail_after(seconds):\n"
                "        yield"
            )
    if new is None or error is None:
        return error if new is None else new
    failure = without(error, trio.Cancelled)
    replaces = isinstance(failure, RequestCancelled) or (isinstance(failure, Exception) and explains(new, failure))
    if replaces and not cut:
        return new
    if cut or isinstance(error, Exception):
        # A cancellation from further out goes on, even if all that stood beside it is replaced.
        kept = next(leaf for leaf in leaves(error) if isinstance(leaf, trio.Cancelled)) if replaces else error
        return BaseExceptionGroup(f"the request failed, and so did its dependency {dependency}", [kept, new])
    log(f"the dependency {dependency} failed while {type(error).__name__} was ending the request", new)
    return error
