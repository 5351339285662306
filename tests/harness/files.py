"""Which files this process has open, and how to wait until it has not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import trio

__all__ = ["descriptors", "until"]


def descriptors(path: Path) -> int:
    """How many descriptors of this process lead to a file, or to one below a directory."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith(str(path))
        except FileNotFoundError:
            pass  # that of the listing itself
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread does that nobody waits for.

    Raises:
        trio.TooSlowError: it has not done it within five seconds.
    """

    def wait() -> None:
        end = time.monotonic() + 5
        while not condition() and time.monotonic() < end:
            time.sleep(0.001)

    with trio.fail_after(10):
        await trio.to_thread.run_sync(wait, abandon_on_cancel=True)
    if not condition():
        raise trio.TooSlowError
