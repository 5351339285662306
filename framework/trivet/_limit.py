"""How many requests may be under way at once, who waits for a place, and who is turned away.

This file owns that decision, and the counts. It is plain data: it is told which moment it is, and wakes who waits by
calling it. How a request waits, and what becomes of one that was turned away, is `_limiting`'s.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, final

from ._aimd import Aimd
from ._damping import QUIET
from .asgi import Reason
from .errors import RegistrationError

SMOOTHING: Final = 0.1
"""The weight of the newest of the times that a place was taken for. TCP smooths its round trips with 1/8 (RFC 6298)."""

LONGEST: Final = 60
"""Seconds that a client is told to stay away, at most. Places that streams hold for an hour make a longer estimate, but
nobody knows today's load in an hour; and who was told an hour is gone, though the next place be free in a second."""

_WRITE: Final = "Write  Limit(20)  for twenty requests at once, or  Limit(20, queue=50, wait=2)  where fifty may wait."
_NAME: Final = 'Write  Limit(20, name="reports")  for what logs, metrics and pages are to call it.'
_ADAPT: Final = "Write  Limit.adaptive(0.5)  for as many at once as can be answered within half a second."


@final
class Waiter:
    """A request that waits for a place."""

    __slots__ = ("wake",)

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        """Called once, when it has its place."""


class Limit:
    """How many requests may be under way at once: `App(limit=Limit(100))`, or of a router, a route, a WebSocket.

    Who comes when all places are taken waits in a queue, first come, first served, or is turned away at once with 503
    and `Retry-After`: when the queue is full, or when it would have to wait for longer than it has time. How long that
    will be is estimated from how long places were taken for so far. The time in the queue counts against the request's
    `timeout`; who has waited for `wait` is turned away as well. One object on several routes is one limit, shared by
    them; each process has its own.

    A place is taken after the middleware, before dependencies and body, and given back when the response is known; a
    stream and a file keep it up to their last byte, a WebSocket to its end. A handler that never waits, and whose
    dependencies do not either, holds it for no time, and so needs none, but for the stream or the file that it returns.
    Requests that no route takes are not counted. A router or a route with `limit=None` stands outside the limits
    further out: it is answered when they are full.

    Args:
        concurrent: how many may be under way at once.
        queue: how many may wait; 0: none.
        wait: seconds for which one may wait, 0 with `queue=0`; `None`: as long as its `timeout` lets it.
        name: what logs, metrics and pages call it, which cannot tell it from others without.

    Raises:
        RegistrationError: an argument is no such number.
    """

    __slots__ = (
        "_aimd", "_concurrent", "_full_since", "_gap", "_held", "_name", "_queue", "_running", "_said", "_shed",
        "_shed_said", "_wait", "_waiting",
    )  # fmt: skip

    def __init__(self, concurrent: int, queue: int = 0, wait: float | None = None, *, name: str | None = None) -> None:
        _check_count("concurrent", concurrent, 1, _WRITE)
        _check_count("queue", queue, 0, _WRITE)
        if queue or wait != 0 or isinstance(wait, bool):  # without a queue 0 says once more that nobody waits
            _check_seconds("wait", wait, _WRITE)
        if wait and not queue:
            raise RegistrationError(f"wait={wait!r} without a queue: nobody could wait.\n{_WRITE}")
        _check_name(name)
        self._name = name
        self._concurrent = concurrent
        self._queue = queue
        self._wait = math.inf if wait is None else wait
        self._aimd: Aimd | None = None
        self._running = 0
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()
        self._shed = 0
        # Of those, how many the log knows of, and when it was told.
        self._shed_said = 0
        self._said = -math.inf
        # Seconds for which a place is taken, smoothed; 0: not known yet.
        self._held = 0.0
        # Seconds from one place that is given back to the next while all are taken, smoothed; and since when they are.
        self._gap = math.inf
        self._full_since = 0.0

    @classmethod
    def adaptive(
        cls,
        target: float,
        *,
        initial: int = 20,
        least: int = 1,
        most: int = 1000,
        queue: int = 0,
        wait: float | None = None,
        name: str | None = None,
    ) -> Limit:
        """A limit that finds `concurrent` by itself: as many as can be answered within `target` seconds.

        It grows by one after a round of answers in time, if it was reached meanwhile, and shrinks to nine tenths when
        more than a tenth of them are late: additive increase, multiplicative decrease, as TCP does it (Chiu and Jain,
        1989; `AIMDLimit` of Netflix's concurrency-limits). An answer is timed from its place to its response, the time
        in the queue not included.

        Args:
            target: seconds within which nine answers in ten should be ready; well above what one takes alone.
            initial: how many at first.
            least: how many at least.
            most: how many at most.
            queue: as of `Limit`.
            wait: as of `Limit`.
            name: as of `Limit`.

        Raises:
            RegistrationError: an argument is no such number, or they contradict each other; later, where a WebSocket
                is registered that would need a place of it.
        """
        if target is None:  # pyright: ignore[reportUnnecessaryComparison]
            raise RegistrationError(f"target=None is not a number of seconds.\n{_ADAPT}")
        _check_seconds("target", target, _ADAPT)
        for argument, value in (("initial", initial), ("least", least), ("most", most)):
            _check_count(argument, value, 1, _ADAPT)
        if not least <= initial <= most:
            raise RegistrationError(
                f"initial={initial} is not between least={least} and most={most}.\n"
                f"Write  Limit.adaptive({target!r}, initial={min(max(initial, least), max(least, most))}, "
                f"least={min(least, most)}, most={max(least, most)})"
            )
        made = cls(initial, queue, wait, name=name)
        made._aimd = Aimd(target, initial, least, most)
        return made

    def __repr__(self) -> str:
        title = "Limit" if self._name is None else f"Limit {self._name}"
        return (
            f"<{title}: {self._running} of {self._concurrent} running, {len(self._waiting)} of {self._queue} waiting, "
            f"{self._shed} shed>"
        )

    @property
    def name(self) -> str | None:
        """What it is called."""
        return self._name

    @property
    def concurrent(self) -> int:
        """How many may be under way at once; of an adaptive limit, just now."""
        return self._concurrent

    @property
    def queue(self) -> int:
        """How many may wait."""
        return self._queue

    @property
    def running(self) -> int:
        """How many have a place."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    @property
    def shed(self) -> int:
        """How many were turned away so far."""
        return self._shed

    # ---- for `_limiting`: the package's own

    def _take(self, now: float) -> bool:
        """Take a place, if there is one and nobody was first."""
        if self._running < self._concurrent:  # then nobody waits: a place that is given back goes to who does
            self._occupy(now)
            return True
        return False

    def _patience(self, left: float, now: float) -> float:
        """Seconds for which a request may wait that has `left`; 0: not at all.

        It is turned away at once where its time would be over before its turn: what waits for nothing is in the way of
        the others. `wait` is not weighed against the estimate, but waited: it is a promise, and an estimate may err.
        """
        if len(self._waiting) >= self._queue or self._expected(len(self._waiting) + 1, now) > left:
            return 0.0
        return max(0.0, min(left, self._wait))

    def _join(self, wake: Callable[[], object]) -> Waiter:
        """Stand in the queue, at its end."""
        waiter = Waiter(wake)
        self._waiting[waiter] = None
        return waiter

    def _quit(self, waiter: Waiter) -> None:
        """Leave the queue, without a place."""
        del self._waiting[waiter]

    def _answered(self, began: float, now: float, cut: Reason | None) -> None:
        """The response of a request is known, which has had its place since `began`; `cut`: why it was stopped."""
        if self._aimd is not None:
            self._aimd.answered(began, now, cut)
            if self._running < self._concurrent:
                self._full_since = now  # if it shrinks to what runs
            self._concurrent = self._aimd.value
            self._fill(now)

    def _leave(self, began: float, now: float) -> None:
        """Give back a place, which was taken at `began`."""
        held = now - began
        self._held = self._held + SMOOTHING * (held - self._held) if self._held else held
        if self._running >= self._concurrent:
            gap = now - self._full_since
            self._gap = gap if self._gap == math.inf else self._gap + SMOOTHING * (gap - self._gap)
            self._full_since = now
        self._running -= 1
        self._fill(now)

    def _fill(self, now: float) -> None:
        """Give free places to those who wait, the first first."""
        while self._waiting and self._running < self._concurrent:
            waiter, _ = self._waiting.popitem(last=False)
            self._occupy(now)
            waiter.wake()

    def _occupy(self, now: float) -> None:
        self._running += 1
        if self._running >= self._concurrent:
            self._full_since = now
            if self._aimd is not None:
                self._aimd.reached()

    def _expected(self, place: int, now: float) -> float:
        """Seconds until whoever is at this place of the queue has its turn: so many places are given back by then.

        The first of them is awaited since the last was given back, or taken; when it is overdue, it comes any moment.

        How often that happens is known from how long they are taken (Little's law), and from how often it did. Either
        may be too long, the one by streams that end after an hour, the other by requests that all begin and end
        together; who waits in vain loses less than who is turned away for nothing.
        """
        step = min(self._held / self._concurrent, self._gap)
        awaited = max(0.0, now - self._full_since)  # a test's clock may begin anew
        return (place - 1) * step + max(0.0, step - awaited)

    def _turn_away(self, now: float) -> int:
        """Count a request that gets no place; returns after how many whole seconds there may be one."""
        self._shed += 1
        return max(1, math.ceil(min(LONGEST, self._expected(len(self._waiting) + 1, now))))

    def _unsaid(self, now: float) -> int:
        """How many were turned away of which the log does not know; 0: it was told a moment ago."""
        if 0 <= now - self._said < QUIET:  # a test's clock may begin anew
            return 0
        unsaid, self._shed_said, self._said = self._shed - self._shed_said, self._shed, now
        return unsaid


def _check_count(name: str, value: object, least: int, remedy: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RegistrationError(f"{name}={value!r} is not a whole number from {least} on.\n{remedy}")


def _check_name(name: object) -> None:
    if name is not None and not (isinstance(name, str) and name and name.isprintable()):
        raise RegistrationError(f"name={name!r} is not a name, in one line.\n{_NAME}")


def _check_seconds(name: str, value: object, remedy: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise RegistrationError(f"{name}={value!r} is not a number of seconds.\n{remedy}")
