"""The detector of slow steps: who is named, with what, and how often. Its clock is the test's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from tests.harness import Golden
from trivet import App, Request
from trivet._damping import QUIET, REMEMBERED
from trivet.contrib.observe._slow_steps import Culprit, SlowSteps
from trivet.testing import TestClient


class Clock:
    """A clock that goes on when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


class Watched:
    """A detector with a clock, whose thread looks when `hold_up` says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.slow = SlowSteps(threshold=0.1)
        self.slow._clock = self.clock

    def hold_up(self, seconds: float, *, seen: bool = True) -> None:
        """Hold up the event loop; `seen`: the other thread looks meanwhile."""
        self.clock.pass_(seconds)
        if seen:
            other = threading.Thread(target=self.slow._look)
            other.start()
            other.join()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Watched:
    """A detector that is not entered yet."""
    monkeypatch.setattr(SlowSteps, "_watch", _not_watching)
    caplog.set_level(logging.WARNING, "trivet.slow")
    return Watched()


def _not_watching(self: SlowSteps, stop: threading.Event) -> None:
    """In the place of the thread."""


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told."""
    return [record.getMessage() for record in caplog.records if record.name == "trivet.slow"]


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
async def test_a_handler_is_named_with_its_request(
    watched: Watched, caplog: pytest.LogCaptureFixture, seen: bool
) -> None:
    """Its route, and the request's id; and where it is, if the other thread has seen it."""
    app, ids, outer = App(), list[str](), App()
    outer.mount("/inner", app)

    @app.get("/block/{token}")
    async def block(token: str, request: Request) -> None:
        ids.append(request.id)
        watched.hold_up(0.25, seen=seen)
        await trio.lowlevel.checkpoint()

    async with TestClient(outer) as client:
        with watched.slow:
            await client.get("/inner/block/s3cret?s3cret")
    (line,) = lines(caplog)
    assert line.startswith("GET /inner/block/{token} held up the event loop for 250 ms")
    assert f", request {ids[0]}" in line
    assert "s3cret" not in line
    assert (", at tests.unit.test_slow_steps." in line) == seen
    assert ("watched.hold_up(0.25, seen=seen)" in line) == seen


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
async def test_a_child_of_a_handler_is_named_with_the_request(
    watched: Watched, caplog: pytest.LogCaptureFixture, seen: bool
) -> None:
    """It runs in a nursery of the handler's, or in one of another child."""
    app, ids = App(), list[str]()

    async def grandchild() -> None:
        await trio.lowlevel.checkpoint()
        watched.hold_up(0.25, seen=seen)

    async def child() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(grandchild)

    @app.get("/block")
    async def block(request: Request) -> None:
        ids.append(request.id)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    async with TestClient(app) as client:
        with watched.slow:
            await client.get("/block")
    (line,) = lines(caplog)
    assert line.startswith("GET /block held up the event loop for 250 ms")
    assert f", request {ids[0]}" in line


async def test_a_request_that_is_answered_in_one_step_is_named_by_its_route(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no task for it, and no request that could be asked."""
    app, inner = App(), App()
    hold_up = partial(watched.hold_up, 0.25)
    app.mount("/inner", inner)

    @app.get("/block")
    @inner.get("/block")
    async def block() -> str:
        hold_up()
        return "blocked"

    async with TestClient(app) as client:
        with watched.slow:
            assert (await client.get("/block")).text == "blocked"
            assert (await client.get("/inner/block")).text == "blocked"
    assert [line.partition(" for ")[0] for line in lines(caplog)] == [
        "GET /block held up the event loop", "GET /inner/block held up the event loop",
    ]  # fmt: skip
    assert all(" for 250 ms, at tests.unit.test_slow_steps." in line for line in lines(caplog))


async def test_a_task_is_named(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """Where there is no request; one that is fast is not."""

    async def work(seconds: float) -> None:
        watched.hold_up(seconds)

    with watched.slow:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, 0.0999, name="the fast one")
            nursery.start_soon(work, 0.1001, name="the slow one")
    assert [line.partition(",")[0] for line in lines(caplog)] == [
        "the task the slow one held up the event loop for 100 ms"
    ]


async def test_the_same_is_told_once_in_a_while(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """With how often it was not told; another is told at once."""

    async def work() -> None:
        watched.hold_up(1)

    async def other() -> None:
        watched.hold_up(1)

    with watched.slow:
        for pause, fn in [(0, work), (0, work), (0, work), (0, other), (QUIET, work), (QUIET, work)]:
            watched.clock.pass_(pause)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fn)
    told = [(line.split()[2].rpartition(".")[2], "2 more like it" in line) for line in lines(caplog)]
    told = [each for each in told if each[0] in ("work", "other")]  # and not the test, in whose steps time passes
    assert told == [("work", False), ("other", False), ("work", True), ("work", False)]


async def test_what_is_remembered_is_bounded(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """However many names there are."""

    async def work() -> None:
        watched.hold_up(1, seen=False)

    with watched.slow:
        for number in range(REMEMBERED + 5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(work, name=f"task {number}")
    assert len(watched.slow._told._told) <= REMEMBERED


def test_in_a_run_of_its_own_its_thread_sees_what_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """By `instruments=`; the thread ends with the run."""

    async def main() -> None:
        deadline = time.monotonic() + 5
        while slow._caught is None and time.monotonic() < deadline:
            time.sleep(0.005)  # noqa: ASYNC251 - that is the point
        await trio.lowlevel.checkpoint()

    slow = SlowSteps(threshold=0.02)
    trio.run(main, instruments=[slow])
    (line,) = lines(caplog)
    assert "at tests.unit.test_slow_steps.test_in_a_run_of_its_own_its_thread_sees_what_goes_on.main:" in line
    for thread in threading.enumerate():
        if thread.name == "trivet slow steps":
            thread.join(5)
            assert not thread.is_alive()


class Looks:
    """In the place of the event that stops the thread: it is not set the first few times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def wait(self, timeout: float) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_look_that_fails_is_told_of_once_and_the_next_ones_are_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The frames that it looks at are those of another thread, which goes on meanwhile."""
    slow, made = SlowSteps(threshold=0.1), list[int]()

    def look(self: SlowSteps) -> None:
        made.append(1)
        raise AttributeError("gone")

    monkeypatch.setattr(SlowSteps, "_look", look)
    stop: Any = Looks(5)
    slow._watch(stop)
    assert len(made) == 5
    (record,) = [record for record in caplog.records if record.name == "trivet.slow"]
    assert record.exc_info is not None
    assert "failed; it goes on" in record.getMessage()


async def test_without_a_thread_slow_steps_are_told_of_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The system has no more of them: that is no reason not to start."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def work() -> None:
        clock.pass_(1)

    slow, clock = SlowSteps(threshold=0.1), Clock()
    slow._clock = clock
    monkeypatch.setattr(threading.Thread, "start", start)
    with slow:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, name="the slow one")
    assert lines(caplog) == [
        "slow steps are told of without the place in the code: can't start new thread",
        "the task the slow one held up the event loop for 1000 ms",
    ]


async def test_one_that_trio_has_thrown_out_can_be_left(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """It failed between two steps: Trio says so, and goes on without it, and so does the application."""

    def broken() -> float:
        raise ValueError("no time")

    with watched.slow:
        watched.slow._clock = broken
        await trio.lowlevel.checkpoint()
    (record,) = [record for record in caplog.records if record.name.startswith("trio")]
    assert "disabled" in record.getMessage()


async def test_who_was_seen_too_late_is_not_taken_for_the_next(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """The other thread may come to the end of its look when the step is over that it looked at."""

    async def first() -> None:
        watched.hold_up(1)
        late.append(watched.slow._caught)

    async def second(seen: bool) -> None:
        watched.hold_up(1, seen=seen)

    async def step(fn: Callable[..., Awaitable[None]], *args: bool) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fn, *args)

    late = list[tuple[int, Culprit] | None]()
    with watched.slow:
        for seen in (False, True):
            await step(first)
            watched.slow._caught = late[-1]
            await step(second, seen)
            watched.clock.pass_(QUIET)
    told = [line.partition(" held")[0].rpartition(".")[2] for line in lines(caplog)]
    assert [each for each in told if each in ("first", "second")] == ["first", "second", "first", "second"]


@pytest.mark.parametrize("threshold", ["0.1", True, None, 0, -1, float("inf"), float("nan")])
def test_a_threshold_is_a_number_of_seconds(threshold: object, golden: Golden) -> None:
    """Each mistake has its remedy."""
    with pytest.raises((TypeError, ValueError)) as refused:
        SlowSteps(threshold)  # type: ignore[arg-type]
    kind = "kind" if isinstance(refused.value, TypeError) else "value"
    if threshold in ("0.1", -1):
        golden(f"observe/slow_steps_{kind}", f"{type(refused.value).__name__}: {refused.value}\n")
    assert "SlowSteps(threshold=0.1)" in str(refused.value)
