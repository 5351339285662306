"""How many tasks a server has: what a leak of one is measured by, in the test's process and in the server's."""

from __future__ import annotations

import trio

from trivet.server._crew import Crew


def living() -> int:
    """The tasks of this run, but for those of the crew that wait to be called: they are kept for the next request."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found, pending = 0, [root]
    while pending:
        task = pending.pop()
        pending += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        found += not any(frame.f_code is Crew._park.__code__ for frame, _ in task.iter_await_frames())
    return found
