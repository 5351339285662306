"""What can be said of one task, seen from outside: which request it serves, what it waits for, and whether it is the
application's.

This file owns what is read from the frames of a task. It is looked for when somebody looks, so that a request that
nobody looks at pays nothing: no registry is kept, and no name is set. Of a frame it takes the module, the function and
the line, and of those that it knows the request and the limit; never a local variable of the application's.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterable, Mapping
from math import inf
from types import FrameType
from typing import Any, Final, NamedTuple

import trio

from trivet import Limit, Request
from trivet._access import PREFIX

OWN: Final = frozenset({"trio", "trivet", "hypercorn", "outcome"})
"""Packages whose tasks are the server's own, unless something of the application's runs in them."""

HOLDERS: Final[Mapping[tuple[str, str], str]] = {
    ("trivet._app", "_http"): "request",
    ("trivet._sockets", "serve"): "handshake",
}
"""Which functions have the request that a task serves, and what they call it."""

IN_ONE_STEP: Final = ("trivet._instant", "instant")
"""The function that answers a request which never waits: there is no task for it, and as a rule no `Request`."""

QUEUE: Final = ("trivet._limiting", "_park")
"""The function in which a request waits for a place of a limit, just above Trio's."""

A_PLACE: Final = "a place of its limit"

LOOKING: Final = "trivet.contrib.observe"
"""Whose handlers only look at others."""

KEPT: Final = frozenset({"trivet._tasks", "trivet._services"})
"""Whose tasks are the application's, whatever runs in them."""

METHOD: Final = 20
"""Letters of a method that are shown: a client may send any."""

KEPT_WITHIN: Final = 4
"""Frames at the outer end of a task, among which theirs is."""

LIBRARIES: Final = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}", "<frozen ")

_application: dict[str, bool] = {}  # by top-level package: whether it is the application's, rather than a library's


class Place(NamedTuple):
    """Where a task is."""

    waits: str | None
    """What the application called there, as `trio.sleep`; `None`: not known, or it runs."""

    at: str | None
    """The innermost line of the application's, as `shop.orders.place:31`."""

    own: bool
    """Nothing in it is the application's."""

    began_by_us: bool
    """It was the server that began it, and not the application, by `start_soon(trio.sleep, 1)`, say."""


def frames_of(task: trio.lowlevel.Task, running: FrameType | None = None) -> list[FrameType]:
    """The frames of a task, outermost first.

    Args:
        task: that waits, or is about to run.
        running: where it is, if it is the one that runs.
    """
    if running is None:
        try:
            return [frame for frame, _ in task.iter_await_frames()]
        except TypeError:  # it awaits something that Trio cannot see through
            return []
    outermost = getattr(task.coro, "cr_frame", None)
    frames: list[FrameType] = []
    frame: FrameType | None = running
    while frame is not None:
        frames.append(frame)
        if frame is outermost:
            return frames[::-1]
        frame = frame.f_back
    return []  # another thread's, or a task that is not this one


def request_of(task: trio.lowlevel.Task, running: FrameType | None = None) -> Request | None:
    """The request that a task serves; of a WebSocket, its handshake. Reads no more of its frames than it must."""
    if running is not None:
        return request_in(frames_of(task, running))
    try:
        return request_in(frame for frame, _ in task.iter_await_frames())
    except TypeError:  # as above
        return None


def request_in(frames: Iterable[FrameType]) -> Request | None:
    """The same of a task with these frames."""
    for frame in frames:
        name = frame.f_code.co_name
        if name == "_http" or name == "serve":
            key = HOLDERS.get((_module(frame), name))
            if key is not None:
                request: object = frame.f_locals.get(key)
                if isinstance(request, Request):
                    return request
    return None


def request_around(task: trio.lowlevel.Task) -> Request | None:
    """The request of the nearest task, outwards, whose nursery this one runs in."""
    nursery = task.parent_nursery
    while nursery is not None:
        request = request_of(nursery.parent_task)
        if request is not None:
            return request
        nursery = nursery.parent_task.parent_nursery
    return None


def title_of(request: Request) -> str:
    """The method and the pattern of its route, below what it is mounted at; never the path, which may hold a secret."""
    socket = request.scope["type"] == "websocket"
    return _title("WebSocket" if socket else request.method, request.route, request.scope.get(PREFIX, ""))


def looks(request: Request) -> bool:
    """Whether it only looks at others: one of ours."""
    handler = None if request.route is None else request.route.handler
    return str(getattr(handler, "__module__", "")).startswith(LOOKING)


def title_in_one_step(frames: list[FrameType]) -> str | None:
    """The same of a request that is answered without waiting, while that goes on."""
    prefix = ""  # of the application that it has come to; the direct door knows of none, and that is the outermost's
    for frame in frames:
        name, module = frame.f_code.co_name, _module(frame)
        if name == "_http" and (module, name) in HOLDERS:
            scope: Mapping[str, Any] = frame.f_locals.get("scope") or {}
            prefix = scope.get(PREFIX, "")
        elif name == IN_ONE_STEP[1] and module == IN_ONE_STEP[0]:
            known = frame.f_locals
            return _title(str(known.get("method")), getattr(known.get("ending"), "route", None), prefix)
    return None


def _title(method: str, route: Any, prefix: str = "") -> str:
    return f"{ascii(method)[1:-1][:METHOD]} {'(no route)' if route is None else prefix + route.path}"


def place_of(frames: list[FrameType]) -> Place:
    """Where a task with these frames is."""
    inner: int | None = None
    foreign: int | None = None
    for index in range(len(frames) - 1, -1, -1):
        root = _module(frames[index]).partition(".")[0]
        if root in OWN:
            continue
        if foreign is None:
            foreign = index
        known = _application.get(root)
        if known is None:
            known = _application[root] = _is_applications(frames[index].f_code.co_filename)
        if known:
            inner = index
            break
    begun = _module(frames[0]) if frames else ""
    if inner is None and foreign is None:
        return Place(_waiting_in(frames), None, True, begun.partition(".")[0] != "trio" and begun not in KEPT)
    # A library by itself is of whoever has begun it: the client of Redis that a package of ours keeps is the server's.
    own = inner is None and not any(_module(frame) in KEPT for frame in frames[:KEPT_WITHIN])
    innermost = foreign if inner is None else inner
    assert innermost is not None
    frame = frames[innermost]
    waits = None if innermost + 1 == len(frames) else _place(frames) or _called(frames[innermost + 1])
    place = f"{_module(frame)}.{_function(frame)}:{frame.f_lineno}"
    return Place(waits, place, own, own and begun.partition(".")[0] in ("trivet", "hypercorn"))


def _is_applications(filename: str) -> bool:
    return not any(part in filename for part in INSTALLED) and not filename.startswith(LIBRARIES)


def _waiting_in(frames: list[FrameType]) -> str | None:
    """For tasks of the server's own: what it called of Trio."""
    if place := _place(frames):
        return place
    for frame in frames[1:]:
        if _module(frame).startswith("trio."):
            return _called(frame)
    return _called(frames[-1]) if frames else None


def _place(frames: list[FrameType]) -> str | None:
    """The place of a limit that it waits for, if that is what it does."""
    for frame in frames[-3:]:
        if frame.f_code.co_name == QUEUE[1] and _module(frame) == QUEUE[0]:
            limit: object = frame.f_locals.get("limit")
            return f"{A_PLACE} {limit.name}" if isinstance(limit, Limit) and limit.name else A_PLACE
    return None


def _called(frame: FrameType) -> str:
    function = _function(frame)
    if function == "NurseryManager.__aexit__":
        return "the tasks it started"
    return f"{_module(frame).partition('.')[0]}.{function}"


def _function(frame: FrameType) -> str:
    return frame.f_code.co_qualname.replace("<locals>.", "")


def _module(frame: FrameType) -> str:
    name: object = frame.f_globals.get("__name__")
    return name if isinstance(name, str) else "?"


def times_of(thing: trio.lowlevel.Task | trio.Nursery, frames: list[FrameType]) -> tuple[float | None, float | None]:
    """When what runs there is cancelled, by whichever scope comes first, and when it wakes up, if it sleeps.

    On Trio's clock; `None`: never. Trio has no public way to ask for another task; should this one go, no times are
    shown.

    Args:
        thing: a task or a nursery.
        frames: of the task. `trio.sleep` is a scope with a deadline too, and the innermost.
    """
    status: Any = getattr(thing, "_cancel_status", None)
    if status is None or status.effectively_cancelled:
        return None, None
    wakes: float | None = None
    if _sleeps(frames):
        wakes = status._scope.deadline
        status = status.parent
        if status is None:
            return None, wakes
    try:
        deadline: float = status.effective_deadline()
    except RecursionError:
        return None, wakes
    return (None if deadline == inf else deadline), wakes


def _sleeps(frames: list[FrameType]) -> bool:
    """Whether this task is inside of `trio.sleep_until`; the frames below that are Trio's, a few."""
    return any(frame.f_code.co_name == "sleep_until" and _module(frame) == "trio._timeouts" for frame in frames[-5:])


def times_of_request(request: Request, deadline: float | None) -> float | None:
    """When a request is cancelled that is under way: by its own deadline, which does not bound what it streams."""
    own: float = request.deadline
    if request._scope.fed:
        return deadline
    return None if own == inf else own


def is_cancelled(thing: trio.lowlevel.Task | trio.Nursery) -> bool:
    """Whether its next checkpoint raises `Cancelled`. Reads what Trio keeps, for its own property would fire a deadline
    that has passed."""
    status: Any = getattr(thing, "_cancel_status", None)
    return status is not None and bool(status.effectively_cancelled)
