"""A detector of steps that are too slow: what a task does from one checkpoint to the next, while all others wait.

This file owns when a step is too slow, who is named, and how often. Trio tells an Instrument of the beginning and the
end of each step. What is done in between only another thread can see: it looks at the frames of the loop's own, a few
times in the time that a step may take.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, NamedTuple

import trio

from trivet import Request
from trivet._damping import Damper
from trivet.contrib._taskframes import frames_of, place_of, request_around, request_in, title_in_one_step, title_of

log = logging.getLogger("trivet.slow")

THRESHOLD: Final = 0.1
"""Seconds; asyncio's `slow_callback_duration`."""

DEEP: Final = 30
"""Innermost frames of a stack that is told."""


class Culprit(NamedTuple):
    """Who has held up the others, as far as it can be told."""

    who: str
    """A request's method and route, or a task's name."""
    request: str | None
    at: str | None
    stack: str | None


class SlowSteps(trio.abc.Instrument):
    """Logs each step of a task that holds up the event loop, with who and where it is.

    As a context manager, where a loop runs, `with SlowSteps(threshold=0.1):` in the application's lifespan for example;
    or by `trio.run(..., instruments=[SlowSteps()])`, or `trivet run --slow-steps 0.1`. A line on the logger
    `trivet.slow`, at WARNING; the same culprit at most once in ten seconds. Costs half a microsecond for each step, and
    a thread that wakes a few times in each `threshold`.

    The stack is there if the step let the interpreter switch threads, as nearly all Python does, and `time.sleep`.

    Args:
        threshold: seconds that a step may take.

    Raises:
        TypeError, ValueError: that is not a positive number.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold = _checked(threshold)
        self._clock: Callable[[], float] = time.perf_counter
        self._began = 0.0  # of the step that goes on; 0: none does
        self._step = 0  # counts them, so that two are not taken for one
        self._task: trio.lowlevel.Task | None = None
        self._caught: tuple[int, Culprit] | None = None  # and in which step
        self._told = Damper()
        self._loop = 0  # the thread it runs in
        self._stop: threading.Event | None = None

    # As a context manager -----------------------------------------------------------------------------------------

    def __enter__(self) -> SlowSteps:
        trio.lowlevel.add_instrument(self)
        self.before_run()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(KeyError):  # it failed, and Trio has thrown it out, as it says in the log
            trio.lowlevel.remove_instrument(self)
        self.after_run()

    # What Trio calls ----------------------------------------------------------------------------------------------

    def before_run(self) -> None:
        """Start watching."""
        self._loop = threading.get_ident()
        self._stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(self._stop,), name="trivet slow steps", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # there are as many as the system allows
            log.warning("slow steps are told of without the place in the code: %s", error)

    def after_run(self) -> None:
        """Stop watching."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A step begins."""
        self._task = task
        self._began = self._clock()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It has ended."""
        began, self._began = self._began, 0.0
        if not began:  # the step in which this was added
            return
        took = self._clock() - began
        if took >= self.threshold:
            caught = self._caught
            self._tell(took, caught[1] if caught is not None and caught[0] == self._step else self._from_outside(task))
        self._step += 1

    # Who it was ---------------------------------------------------------------------------------------------------

    def _watch(self, stop: threading.Event) -> None:
        said = False
        while not stop.wait(self.threshold / 3):
            try:
                self._look()
            except Exception:
                # It looks at what another thread is changing. The next look may be luckier; this step is told of all
                # the same, without its place.
                if not said:
                    log.exception("the thread that looks for slow steps failed; it goes on, and says so this once")
                said = True

    def _look(self) -> None:
        """Take down where the loop's thread is, if it has been in one step for too long."""
        began, step, task = self._began, self._step, self._task
        if not began or task is None or self._clock() - began < self.threshold:
            return
        if self._caught is not None and self._caught[0] == step:
            return
        frame = sys._current_frames().get(self._loop)
        if frame is None:
            return
        caught = self._from_inside(task, frame)
        if step == self._step and self._began == began:
            self._caught = step, caught  # the step may end just before this, and the next must not be taken for it

    def _from_inside(self, task: trio.lowlevel.Task, frame: FrameType) -> Culprit:
        frames = frames_of(task, frame)
        request = request_in(frames) or request_around(task)
        at = place_of(frames).at
        # The source is read only here, in this thread.
        inner = traceback.StackSummary.extract((each, each.f_lineno) for each in frames[-DEEP:])
        stack = "".join(traceback.format_list(inner))
        if request is None:
            return Culprit(title_in_one_step(frames) or _name(task), None, at, stack)
        return Culprit(title_of(request), request.id, at, stack)

    def _from_outside(self, task: trio.lowlevel.Task) -> Culprit:
        """The same of a task that has come to a checkpoint: where it is now, and not what it has done."""
        request: Request | None = request_in(frames_of(task)) or request_around(task)
        if request is None:
            return Culprit(_name(task), None, None, None)
        return Culprit(title_of(request), request.id, None, None)

    # Telling ------------------------------------------------------------------------------------------------------

    def _tell(self, took: float, culprit: Culprit) -> None:
        again = self._told.passes((culprit.who, culprit.at), self._clock())
        if again is None:
            return
        request = f", request {culprit.request}" if culprit.request else ""
        at = f", at {culprit.at}" if culprit.at else ""
        stack = f"\n{culprit.stack.rstrip()}" if culprit.stack else ""
        log.warning(
            "%s held up the event loop for %.0f ms%s%s%s%s", culprit.who, took * 1000, at, request, again, stack
        )


def _name(task: trio.lowlevel.Task) -> str:
    return f"the task {task.name}"


def _checked(threshold: object) -> float:
    if not isinstance(threshold, int | float) or isinstance(threshold, bool):
        raise TypeError(
            f"the threshold of SlowSteps is seconds, not {type(threshold).__name__}.\nWrite  SlowSteps(threshold=0.1)"
        )
    if not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(
            f"the threshold of SlowSteps is seconds, more than none: not {threshold!r}.\n"
            "For a tenth of a second:  SlowSteps(threshold=0.1)"
        )
    return threshold
