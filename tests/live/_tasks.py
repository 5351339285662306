"""How many tasks a server has: what a leak of one is measured by, in the test's process and in the server's."""

from __future__ import annotations

import trio

from trivet.server._crew import Crew
from trivet.server._http1_connection import HTTP1Connection
from trivet.server._ws_connection import WebSocketConnection

_WORK = {HTTP1Connection.work.__code__, WebSocketConnection.work.__code__}


def living() -> int:
    """The tasks of this run; of the crew's only those that answer a request: the others are kept for the next."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    found, pending = 0, [root]
    while pending:
        task = pending.pop()
        pending += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        code = [frame.f_code for frame, _ in task.iter_await_frames()]
        found += code[:1] != [Crew._live.__code__] or not _WORK.isdisjoint(code)
    return found
