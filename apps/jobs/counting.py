"""Counts in a process beside the server, for as long as somebody waits for it.

This file owns that process. A thread would share the interpreter with the event loop and take turns with it; a process
has a core of its own. And a computation cannot be asked to stop, but a process can be killed: when the task that waits
here is cancelled, its nursery sees to that, and does not end before the process has.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

PROGRAM: Final = str(Path(__file__).with_name("work.py"))

Tell = Callable[[int, int], Awaitable[None]]
"""Takes how far it has come, and how many there are up to there."""


class Counting:
    """Counts primes, for so many at a time; others wait for their turn.

    Args:
        processes: how many.
    """

    def __init__(self, processes: int) -> None:
        self._limiter = trio.CapacityLimiter(processes)

    async def __call__(self, below: int, tell: Tell) -> None:
        """Count the primes below a number.

        Raises:
            ExceptionGroup: the process has failed, or was killed.

        Cancellation: the process is stopped and waited for.
        """
        # Isolated: it needs nothing from here but the interpreter.
        command = [sys.executable, "-I", PROGRAM, str(below)]
        async with self._limiter, trio.open_nursery() as nursery:
            process = await nursery.start(partial(trio.run_process, command, stdout=subprocess.PIPE))
            buffer = b""
            async for chunk in process.stdout:
                *lines, buffer = (buffer + chunk).split(b"\n")
                if lines:  # of several the last one says it all
                    reached, found = map(int, lines[-1].split())
                    await tell(reached, found)
