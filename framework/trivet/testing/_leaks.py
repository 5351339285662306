"""Finds tasks that outlive the request they were spawned for.

This file owns one decision: which task belongs to which request, and which of them may live on. Lineage is by
the task that *spawns*: a request that starts a task in somebody else's nursery is what we are after, and the
tree of nurseries does not show it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from weakref import WeakSet

import trio
import trio.testing

from trivet._tasks import NURSERIES

__all__ = ["LeakDetector", "Lineage", "TaskLeak"]

TRIO_DIRECTORY: Final = str(Path(trio.__file__).parent)

SERVER_NURSERIES: Final[WeakSet[trio.Nursery]] = WeakSet()
"""The nurseries of all in-memory servers.

A handler may call another app through a client of its own, and what that server does is not the handler's."""


class TaskLeak(AssertionError):
    """A task that was spawned for a request was still there after the request."""


@dataclass(slots=True, eq=False)
class Lineage:
    """The tasks of one request.

    `living` maps each task to where it was spawned; the detector writes it, and only the request's own task
    is not in it.
    """

    request: str
    living: dict[trio.lowlevel.Task, str] = field(default_factory=dict[trio.lowlevel.Task, str])


class LeakDetector(trio.abc.Instrument):
    """Watches tasks come and go.

    Args:
        background: the nursery whose tasks may outlive a request (`app.tasks`), when there is one.
    """

    def __init__(self, background: Callable[[], trio.Nursery | None]) -> None:
        self._background = background
        self._lineages: dict[trio.lowlevel.Task, Lineage] = {}
        # What was found so far, one message for each task.
        self._leaks: list[TaskLeak] = []
        # Requests that inspect() is looking at; the lot is woken when it is done with one.
        self._inspecting = 0
        self._inspected = trio.lowlevel.ParkingLot()

    def adopt(self, request: str) -> Lineage:
        """Make the current task the root of a request: what it spawns from now on belongs to it."""
        lineage = Lineage(request)
        self._lineages[trio.lowlevel.current_task()] = lineage
        return lineage

    def release(self) -> None:
        """The current task is done with its request."""
        self._lineages.pop(trio.lowlevel.current_task(), None)

    async def inspect(self, lineage: Lineage) -> None:
        """Note what is left of a request whose application has returned.

        Waits until every task is blocked: those that were cancelled as the request ended (the watcher for a
        disconnect, say) have had their chance by then.
        """
        self._inspecting += 1
        try:
            await trio.testing.wait_all_tasks_blocked()
            self._note(lineage)
        finally:
            self._inspecting -= 1
            self._inspected.unpark_all()

    def _note(self, lineage: Lineage) -> None:
        for task, where in lineage.living.items():
            self._leaks.append(
                TaskLeak(
                    f"task {task.name} outlived its request.\n"
                    f"  request: {lineage.request}\n"
                    f"  spawned: {where}\n"
                    "Start it in a nursery that the handler waits for, or, when it is meant to go on,\n"
                    "where the application waits for it:  app.tasks.start_soon(fn, *args)"
                )
            )

    async def all_leaks(self) -> list[TaskLeak]:
        """What was found, when every request that is over has been inspected."""
        # Inspections that were spawned, but have not begun, begin before this returns.
        await trio.testing.wait_all_tasks_blocked()
        while self._inspecting:
            await self._inspected.park()
        return self._leaks

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """Enter a task under the request of the task that spawned it; called by Trio."""
        lineage = self._lineages.get(trio.lowlevel.current_task())
        if lineage is not None and not self._exempt(task.parent_nursery):
            self._lineages[task] = lineage
            lineage.living[task] = _spawned_at()

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Forget a task; called by Trio."""
        lineage = self._lineages.pop(task, None)
        if lineage is not None:
            lineage.living.pop(task, None)

    def _exempt(self, nursery: trio.Nursery | None) -> bool:
        if nursery in SERVER_NURSERIES:
            return True
        background = self._background()
        while nursery is not None:
            if nursery is background or nursery in NURSERIES:
                return True
            nursery = nursery.parent_task.parent_nursery
        return False


def _spawned_at() -> str:
    # The stack is that of the spawning task, with Trio's and our own frames on top.
    frame = sys._getframe(1)
    while frame.f_back is not None:
        code = frame.f_code
        if not code.co_filename.startswith(TRIO_DIRECTORY) and code.co_filename != __file__:
            return f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})"
        frame = frame.f_back
    return "outside of any task"
