"""Exception groups: which of several errors decides the response.

This file owns the rule. Trio gives the leaves of a group in an order that is random within a tick, so the
rule does not depend on it: a bug is never masked, and of errors alike the lowest status counts. Plain
functions; `trio.Cancelled` is handed in by those above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

R = TypeVar("R")

_FATAL = (KeyboardInterrupt, SystemExit)


def leaves(error: BaseException, drop: tuple[type[BaseException], ...] = ()) -> list[BaseException]:
    """The errors that a group holds, at any depth, in order, each once; any other error is its own leaf.

    Args:
        error: a group or a single error.
        drop: leaves of these types are left out: cancellation, which is no failure of its own.

    Returns:
        The leaves; empty when nothing but `drop` was in it.
    """
    found: dict[int, BaseException] = {}
    waiting = [error]
    while waiting:  # not recursive: a group may be nested as deep as nurseries are
        current = waiting.pop()
        if isinstance(current, BaseExceptionGroup):
            group = cast(BaseExceptionGroup[BaseException], current)
            waiting.extend(reversed(group.exceptions))
        elif not isinstance(current, drop):
            found.setdefault(id(current), current)
    return list(found.values())


def fatal(error: BaseException) -> bool:
    """Whether `error` is a group that holds KeyboardInterrupt or SystemExit at any depth.

    Such a group is not mapped to a response. A handler that raises one by itself, without a group, has a bug
    like any other: it answers 500 and the server lives.
    """
    if not isinstance(error, BaseExceptionGroup):
        return False
    return any(isinstance(leaf, _FATAL) for leaf in leaves(cast(BaseException, error)))


def choose(outcomes: Sequence[tuple[bool, int, R]]) -> R:
    """Of what each leaf led to, the one that counts.

    A bug beats 5xx, which beats 4xx, which beats what a catcher answered with success; among equals the
    lowest status, then the first.

    Args:
        outcomes: for each leaf, whether it is a bug that nobody caught, the status it led to, and the
            response or whatever stands for it.

    Raises:
        ValueError: there are none.
    """
    if not outcomes:
        raise ValueError("choose() needs at least one outcome; a group of nothing but cancellation is not an error")
    return min(outcomes, key=_rank)[2]


def _rank(outcome: tuple[bool, int, object]) -> tuple[int, int]:
    bug, status, _ = outcome
    if bug:
        return 0, status
    return {5: 1, 4: 2}.get(status // 100, 3), status
