"""Whose work a call is: the request that the calling task serves, found when the call is made.

This file owns where it is looked for. As with the deadline nothing is kept for a call that may never come: no context
variable is set, and a request that calls nobody pays nothing. What is asked of the request, others know.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import inf
from types import FrameType

import trio

from trivet import Request
from trivet.contrib._taskframes import request_around, request_in


def caller() -> Request | None:
    """The request whose handler, dependency or stream calls, itself or in a task of its nurseries; of a WebSocket, its
    handshake. `None`: it is nobody's, a service's for example.

    Of applications that call each other within one task it is the innermost. A task of `app.tasks` serves no request.
    """
    return request_in(_outwards(sys._getframe(1))) or request_around(trio.lowlevel.current_task())


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def own_deadline(request: Request | None) -> float:
    """Until when `request` lets its own code run now, on Trio's clock; `inf`: no bound, or no request.

    Not `request.deadline`: a stream that is fed has left that behind, and who cleans up has a grace instead.
    """
    if request is None:
        return inf
    own = request._scope.armed or request._scope.leaving
    return inf if own is None else own.deadline
