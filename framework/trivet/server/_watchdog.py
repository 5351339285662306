"""The last resort: a process that was told to end, ends.

This file owns one timer. A handler that catches `trio.Cancelled` in a loop, or never yields, cannot be ended by
anything on the event loop, so the bound must come from outside of it: from a thread that waits on a pipe.

Two simpler ways do not do. A `threading.Timer` cannot be started in a signal handler, which may have interrupted code
that holds the lock that it needs. `faulthandler.dump_traceback_later(exit=True)` walks the frames of threads that are
running; on CPython 3.11 that sometimes ends the process with SIGSEGV instead of our status.
"""

from __future__ import annotations

import faulthandler
import os
import select
import sys
import threading
import time

A_REQUEST = "a request"
THE_APPLICATION = "the application's own shutdown (its tasks, services, dependencies: see shutdown_timeout)"
"""What may be in the way; the log above says more, of a service that goes on, say."""

MARGIN = 5.0
"""Seconds beyond what a step may take before the process counts as stuck."""


class Watchdog:
    """Ends the process with status 1, after a dump of its stacks, unless armed anew or disarmed in time.

    Its thread runs as long as the interpreter switches threads; only C code that never lets go of the interpreter
    holds it up, and then a second line of defence, `faulthandler`, fires one margin later.
    """

    def __init__(self) -> None:
        # When the process is to end, on the monotonic clock; None: not at all. Written by the main thread only.
        self._due: float | None = None
        self._step = A_REQUEST
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        threading.Thread(target=self._wait, name="trivet watchdog", daemon=True).start()

    def arm(self, seconds: float, step: str = A_REQUEST) -> None:
        """The step that begins now takes at most `seconds`, plus a margin. Safe in a signal handler."""
        self._step = step
        self._due = time.monotonic() + seconds + MARGIN
        self._notify()
        faulthandler.dump_traceback_later(seconds + 2 * MARGIN, exit=True, file=sys.__stderr__ or sys.stderr)

    def disarm(self) -> None:
        """It ended in time."""
        self._due = None
        self._notify()
        faulthandler.cancel_dump_traceback_later()

    def _notify(self) -> None:
        try:
            os.write(self._writer, b"\0")
        except BlockingIOError:
            pass  # the pipe is full of notices: the thread has yet to look

    def _wait(self) -> None:
        while True:
            due = self._due
            patience = None if due is None else max(0.0, due - time.monotonic())
            if select.select([self._reader], [], [], patience)[0]:
                os.read(self._reader, 4096)
            elif self._due is not None and time.monotonic() >= self._due:
                _end(self._step)


def _end(step: str) -> None:
    out = sys.__stderr__ or sys.stderr
    print(f"Timeout: {step} cannot be stopped; the process ends. What each thread does:", file=out, flush=True)
    faulthandler.dump_traceback(file=out)
    os._exit(1)
