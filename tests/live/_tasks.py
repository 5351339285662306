"""How many tasks a server has: what a leak of one is measured by, in the test's process and in the server's."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType

import trio

from trivet._watch import DisconnectSweep
from trivet.server._crew import Crew
from trivet.server._http1_connection import HTTP1Connection
from trivet.server._ws_connection import WebSocketConnection

_WORK = {HTTP1Connection.work.__code__, WebSocketConnection.work.__code__}


def living() -> int:
    """The tasks of this run; of the crew's only those that answer a request: the others are kept for the next."""
    return sum(code[:1] != [Crew._live.__code__] or not _WORK.isdisjoint(code) for code in _running())


def watching() -> int:
    """The tasks that wait for a client to leave, where the server does not tell (`trivet._watch`): one for each that
    has been there for a while."""
    return sum(DisconnectSweep._watch.__code__ in code for code in _running())


def _running() -> Iterator[list[CodeType]]:
    """What each task is in the middle of, the outermost first."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    pending = [root]
    while pending:
        task = pending.pop()
        pending += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        yield [frame.f_code for frame, _ in task.iter_await_frames()]
