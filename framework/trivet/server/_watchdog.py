"""The last resort: a process that was told to end, ends.

This file owns one timer. A handler that catches `trio.Cancelled` in a loop, or never yields, cannot be ended by
anything on the event loop, so the bound must come from outside of it.
"""

from __future__ import annotations

import faulthandler
import sys

MARGIN = 5.0
"""Seconds beyond what a step may take before the process counts as stuck."""


class Watchdog:
    """Ends the process with status 1, after a dump of its stacks, unless armed anew or disarmed in time.

    `faulthandler` keeps the time in a thread of its own, without the interpreter: arming it is safe in a signal
    handler (starting a `threading.Timer` is not), and it fires even if the interpreter hangs. There is one in a
    process.
    """

    def arm(self, seconds: float) -> None:
        """The step that begins now takes at most `seconds`, plus a margin."""
        faulthandler.dump_traceback_later(seconds + MARGIN, exit=True, file=sys.__stderr__ or sys.stderr)

    def disarm(self) -> None:
        """It ended in time."""
        faulthandler.cancel_dump_traceback_later()
