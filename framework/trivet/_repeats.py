"""What the log is told of failures that repeat: the whole traceback of the first, a line of each that is like it.

This file owns when two are alike, and that line. A service whose database is away fails again at each attempt, and a
hundred lines each time hide what else goes wrong. It knows no services, and who writes the log.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, final

from ._groups import leaves

KINDS: Final = 100
"""How many are remembered; more than that are not a few that repeat."""


@final
class Repeats:
    """The failures of a row of attempts."""

    def __init__(self) -> None:
        self._known: set[Hashable] = set()

    def knows(self, error: BaseException) -> bool:
        """Whether there was one like it, and from now on there was: of the same types, raised by way of the same lines.

        Their texts may differ: there is a time in one, or the number of a port.
        """
        found = kind(error)
        if found in self._known:
            return True
        if len(self._known) >= KINDS:
            self._known.clear()
        self._known.add(found)
        return False

    def forget(self) -> None:
        """Begin anew: after an attempt that has gone well, the next failure is another one."""
        self._known.clear()


def in_one_line(error: BaseException) -> str:
    """The first of its leaves: its type, and the first line of its text."""
    leaf = leaves(error)[0]
    text = str(leaf).partition("\n")[0]
    return f"{type(leaf).__name__}: {text}" if text else type(leaf).__name__


def with_its_root(error: BaseException) -> str:
    """The same, and what that was raised from in the end: `ConnectError: ... (from ConnectionRefusedError: ...)`."""
    told = in_one_line(error)
    root, seen = leaves(error)[0], set[int]()
    while root.__cause__ is not None and id(root) not in seen:
        seen.add(id(root))
        root = leaves(root.__cause__)[0]
    cause = in_one_line(root)
    return told if cause == told else f"{told} (from {cause})"


def kind(error: BaseException) -> Hashable:
    """What two failures have in common that are alike: the types of their leaves, and the lines that raised them."""
    return frozenset(_kind(leaf) for leaf in leaves(error))


def _kind(leaf: BaseException) -> Hashable:
    lines: list[tuple[str, int]] = []
    traceback = leaf.__traceback__
    while traceback is not None:
        lines.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
        traceback = traceback.tb_next
    return type(leaf), tuple(lines)
