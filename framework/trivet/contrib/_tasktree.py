"""The live tree of tasks as a value: nurseries, requests, and what each of them waits for.

This file owns what is looked at and what is shown of it. However many tasks there are, no more than `LOOK` are looked
at and no more than `SHOW` shown: what is alike is shown a few times and counted. What one task is doing is
`_taskframes`' to say; who asks, and how often, is not known here.

The tree is read level by level, so that ten thousand requests in one nursery do not hide what is in the next; and it is
read in small steps, for the event loop has other things to do. Tasks come and go meanwhile: the tree is not that of one
moment.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import count, islice
from types import FrameType
from typing import Final, Literal, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec
import trio

from trivet import Reason, Request

from ._taskframes import frames_of, is_cancelled, looks, place_of, request_of, times_of, times_of_request, title_of

LOOK: Final = 1000
"""Tasks that are looked at: some ten microseconds each, and fifty for one that is shown."""

SHOW: Final = 300
"""Nodes that are shown."""

ALIKE: Final = 8
"""Nodes of the same name that are shown below one parent."""

DEEP: Final = 60
"""Levels, a nursery being one."""

Kind: TypeAlias = Literal["task", "request", "websocket", "nursery", "more"]
Requests: TypeAlias = dict[Request, "Node"]

_ids = count(1)
_id_of: WeakKeyDictionary[trio.lowlevel.Task, int] = WeakKeyDictionary()
_task_of: WeakValueDictionary[int, trio.lowlevel.Task] = WeakValueDictionary()


class Node(msgspec.Struct, omit_defaults=True, eq=False):
    """One line of the tree. Times are on Trio's clock."""

    kind: Kind
    name: str
    """Of a task, a request's method and route, or what there is more of."""
    id: int = 0
    """Of the task, for `task_of`."""
    request: str | None = None
    """The id of the request."""
    began: float | None = None
    """When the head of the request was complete."""
    deadline: float | None = None
    """When it is cancelled; for the first of all scopes around it."""
    wakes: float | None = None
    """When it has slept for long enough."""
    cancelled: bool = False
    """It has been cancelled, and is still there."""
    ended: Reason | None = None
    """Why the request is ending."""
    waits: str | None = None
    at: str | None = None
    own: bool = False
    """It is the server's own; what is below it need not be."""
    count: int = 0
    """How many more there are."""
    children: list[Node] = []


def task_of(id_: int) -> trio.lowlevel.Task | None:
    """The task that a node is of, if it is still there."""
    return _task_of.get(id_)


def grow(
    *,
    names: Mapping[trio.Nursery, str],
    requests: Requests | None = None,
) -> Generator[None, None, tuple[Node, int]]:
    """The tree of this run, in steps of one task each, after each of which others may have their turn.

    Args:
        names: what to call nurseries that are known.
        requests: takes all requests that were seen.

    Returns:
        The root, and how many tasks were looked at.
    """
    looking = _Looking(names, {} if requests is None else requests)
    yield from looking.spread()
    for node in _whole(looking.top):
        node.children = _collapsed(node.children)
        yield
    _shorten(looking.top)
    for node in _whole(looking.top):
        for child in node.children:
            looking.fill(child, node)
        yield
    for node in reversed(list(_whole(looking.top))):  # from the leaves
        if node.kind == "nursery" and all(child.own for child in node.children):
            node.own = True
    return looking.top.children[0], looking.looked


class _Looking:
    """One look at the tasks: first which there are, and then, of those that are shown, what they do."""

    def __init__(self, names: Mapping[trio.Nursery, str], requests: Requests) -> None:
        self.top = Node("task", "", own=True)
        self.looked = 0
        self._names = names
        self._requests = requests
        self._tasks: dict[Node, trio.lowlevel.Task] = {}
        self._nurseries: dict[Node, trio.Nursery] = {}
        self._request_of: dict[Node, Request] = {}
        self._current = _current()

    def spread(self) -> Generator[None]:
        """Level by level, from the root."""
        root = trio.lowlevel.current_root_task()
        assert root is not None
        queue: deque[tuple[trio.lowlevel.Task, Node, int]] = deque([(root, self.top, 0)])
        while queue:
            task, parent, depth = queue.popleft()
            node = Node("task", task.name)
            request = request_of(task, self._running(task))
            if request is not None:
                node.kind = "websocket" if request.scope["type"] == "websocket" else "request"
                node.name = title_of(request)
                node.began = request._began
                self._request_of[node] = request
                self._requests[request] = node
            parent.children.append(node)
            self._tasks[node] = task
            self.looked += 1
            for nursery in task.child_nurseries:
                self._add(nursery, node, depth + 1, queue)
            yield

    def _add(
        self,
        nursery: trio.Nursery,
        parent: Node,
        depth: int,
        queue: deque[tuple[trio.lowlevel.Task, Node, int]],
    ) -> None:
        tasks = nursery.child_tasks
        if not tasks:
            return
        node = Node("nursery", self._names.get(nursery, "nursery"))
        self._nurseries[node] = nursery
        parent.children.append(node)
        # Half of what may still be looked at: others have a right to the other half.
        most = 0 if depth >= DEEP else max((LOOK - self.looked - len(queue)) // 2, 0)
        for task in islice(tasks, most):
            queue.append((task, node, depth + 1))
        if len(tasks) > most:
            node.children.append(Node("more", "tasks, not looked at", count=len(tasks) - most))

    def _running(self, task: trio.lowlevel.Task) -> FrameType | None:
        """The task that asks waits for nothing: it is where we are."""
        return sys._getframe() if task is self._current else None

    def fill(self, node: Node, parent: Node) -> None:
        """Say of a node what it does, once that has been said of its parent."""
        node.own = parent.own
        if node.kind == "nursery":
            nursery = self._nurseries[node]
            node.deadline, node.cancelled = times_of(nursery, [])[0], is_cancelled(nursery)
            node.own = parent.own and nursery not in self._names
        elif node in self._tasks:
            self._fill_task(node, self._tasks[node])

    def _fill_task(self, node: Node, task: trio.lowlevel.Task) -> None:
        running = self._running(task)
        frames = frames_of(task, running)
        waits, node.at, own, began_by_us = place_of(frames)
        node.waits = waits if running is None else None
        node.id = _known(task)
        node.deadline, node.wakes = times_of(task, frames)
        node.cancelled = is_cancelled(task)
        node.own = own and (began_by_us or node.own)
        request = self._request_of.get(node)
        if request is not None:
            node.request = request.id
            node.deadline = times_of_request(request, node.deadline)
            node.ended = request.ended
            node.own = looks(request)


def _known(task: trio.lowlevel.Task) -> int:
    id_ = _id_of.get(task)
    if id_ is None:
        id_ = _id_of[task] = next(_ids)
        _task_of[id_] = task
    return id_


def _current() -> trio.lowlevel.Task | None:
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None


# What is shown ------------------------------------------------------------------------------------------------------


def _whole(root: Node) -> Iterator[Node]:
    queue = deque([root])
    while queue:
        node = queue.popleft()
        yield node
        queue.extend(node.children)


def _collapsed(nodes: list[Node]) -> list[Node]:
    """The first `ALIKE` of each name, the oldest first, and how many more there are."""
    groups: dict[tuple[Kind, str, str], list[Node]] = {}
    for node in nodes:
        if node.kind != "more":
            # Nurseries have no names as a rule: alike are those that begin with the same task.
            first = node.children[0].name if node.kind == "nursery" and node.children else ""
            groups.setdefault((node.kind, node.name, first), []).append(node)
    shown: list[Node] = []
    for (_, name, _), group in groups.items():
        group.sort(key=_age)
        shown += group[:ALIKE]
        rest = group[ALIKE:]
        if rest:
            shown.append(Node("more", name, count=len(rest)))
    return shown + [node for node in nodes if node.kind == "more"]


def _age(node: Node) -> float:
    return 0.0 if node.began is None else node.began


def _shorten(root: Node) -> None:
    """Keep `SHOW` nodes, those of the upper levels first."""
    left = SHOW
    for node in _whole(root):
        if len(node.children) > left:
            hidden = node.children[left:]
            node.children = [*node.children[:left], Node("more", "lines", count=len(hidden))]
        left = max(0, left - len(node.children))


# As text ------------------------------------------------------------------------------------------------------------


def lines(node: Node, now: float, indent: str = "") -> Iterator[str]:
    """The tree as text, for a terminal. `now`: on Trio's clock."""
    yield indent + " ".join(_words(node, now))
    for child in node.children:
        yield from lines(child, now, indent + "  ")


def _words(node: Node, now: float) -> Iterable[str]:
    if node.kind == "more":
        yield f"... {node.count} more: {node.name}"
        return
    yield node.name
    if node.request is not None and node.began is not None:
        yield f"[{node.request}, {now - node.began:.1f} s]"
    if node.ended is not None:
        yield f"ending: {node.ended}"
    elif node.cancelled:
        yield "cancelled"
    if node.deadline is not None:
        yield f"deadline in {node.deadline - now:.1f} s"
    if node.waits is not None:
        yield f"- waits for {node.waits}"
    if node.wakes is not None:
        yield f"until {node.wakes - now:.1f} s from now"
    if node.at is not None:
        yield f"at {node.at}"


def text() -> str:
    """The tree of this run as text, at once. For whoever is in the loop's thread, a signal handler as well."""
    return "\n".join(lines(finished(grow(names={})), trio.current_time()))


def finished(growing: Generator[None, None, tuple[Node, int]]) -> Node:
    """The root of a tree that is to grow at once."""
    while True:
        try:
            next(growing)
        except StopIteration as end:
            root: Node = end.value[0]
            return root
