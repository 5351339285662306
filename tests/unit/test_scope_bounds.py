"""What runs after a request's end and beside it, and the arithmetic of what a request ends with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from tests.unit.scoped import (
    Request,
    described,
    failing,
    groaning,
    quick,
    sleeper,
)
from trivet._bounds import TooLate, bounded
from trivet._leaving import explains, leaves, settled, without
from trivet.errors import RequestCancelled


async def test_a_catcher_runs_in_grace(autojump_clock: MockClock) -> None:
    """It is out of reach of any cancellation, and has its grace."""
    request = Request(timeout=1)
    await request.run(sleeper)
    with trio.CancelScope() as outside:
        outside.cancel()
        await request.scope.in_grace(trio.sleep, 4)
        request.note_time("caught")
        await trio.lowlevel.checkpoint()
    assert request.log == ["caught t=5.0"]


async def test_a_catcher_that_overruns_is_cut(autojump_clock: MockClock) -> None:
    """It is logged, and does not change how the request ended."""
    request = Request()
    with pytest.raises(TooLate):
        await request.scope.in_grace(trio.sleep, 50)
    assert (request.scope.reason, request.elapsed) == (None, 5)
    assert request.complaints == ["sleep ran for longer than cleanup_grace = 5 s"]


async def test_shielded_tells_whether_it_completed(autojump_clock: MockClock) -> None:
    """`shielded` runs under a fired scope, and says when it had to give up."""
    scope = Request().scope
    with trio.CancelScope() as outside:
        outside.cancel()
        assert await scope.shielded(2, trio.sleep, 1)
        assert not await scope.shielded(2, trio.sleep, 3)
        assert await scope.shielded(None, trio.sleep, 300)


async def test_bounded_tells_its_own_time_from_a_cancellation(autojump_clock: MockClock) -> None:
    """TooLate is the bound's, Cancelled is somebody else's, and a value counts."""
    assert await bounded(1, quick) == "ok"
    assert await bounded(None, quick) == "ok"
    with pytest.raises(TooLate):
        await bounded(1, sleeper)
    with trio.move_on_after(1) as outside:
        await bounded(5, sleeper)
    assert outside.cancelled_caught


async def test_alongside_runs_a_companion_until_the_end(autojump_clock: MockClock) -> None:
    """The companion runs as long as the function, and is cancelled then."""
    request = Request()

    async def pump() -> None:
        try:
            await trio.sleep_forever()
        finally:
            request.note_time("pump ended")

    async def work(text: str) -> str:
        await trio.sleep(3)
        return text

    assert await request.scope.alongside(pump, work, "done") == "done"
    assert request.log == ["pump ended t=3.0"]


@pytest.mark.parametrize(
    ("background", "fn", "ends"),
    [
        (trio.sleep_forever, failing(KeyError(1), 1), "KeyError(1)"),
        (failing(OSError("pump"), 1), sleeper, "OSError(pump)"),
        (failing(OSError("pump"), 1), groaning, "group[group[ValueError(in child)], OSError(pump)]"),
        (trio.sleep_forever, failing(ExceptionGroup("own", [KeyError(1)])), "group[KeyError(1)]"),
        (quick, failing(KeyError(1), 1), "KeyError(1)"),
    ],
    ids=["fn", "companion", "both", "a group of fn's own", "companion ended before"],
)
async def test_alongside_does_not_wrap_errors(
    autojump_clock: MockClock,
    background: Callable[[], Awaitable[object]],
    fn: Callable[[], Awaitable[str]],
    ends: str,
) -> None:
    """The function's error comes out as it is, the companion's too; both in one group."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # compared below
        await Request().scope.alongside(background, fn)
    assert described(caught.value) == ends


async def test_alongside_passes_a_cancellation_on_but_loses_no_value(autojump_clock: MockClock) -> None:
    """From outside it stops both; but a value that is there when it arrives counts."""
    scope = Request().scope
    with trio.move_on_after(1) as outside:
        await scope.alongside(trio.sleep_forever, sleeper)
    assert outside.cancelled_caught

    async def lingering() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            await trio.lowlevel.checkpoint()

    with trio.move_on_after(1) as outside:
        assert await scope.alongside(lingering, quick) == "ok"
        await trio.lowlevel.checkpoint()
    assert outside.cancelled_caught


# --- the arithmetic of errors


def test_leaves_and_without() -> None:
    """Groups are taken apart in order; `without` keeps the shape of what is left."""
    a, b, c = KeyError("a"), ValueError("b"), OSError("c")
    group = ExceptionGroup("", [a, ExceptionGroup("", [b, c])])
    assert leaves(group) == [a, b, c]
    assert leaves(a) == [a]
    assert leaves(None) == []
    assert leaves(without(group, ValueError)) == [a, c]
    assert without(group, Exception) is None
    assert without(a, KeyError) is None
    assert without(a, OSError) is a
    assert without(None, OSError) is None


def test_explains() -> None:
    """An error explains another if each leaf of it is among its causes, contexts or members."""
    old, new, other = KeyError("old"), ValueError("new"), OSError("other")
    assert not explains(new, old)
    new.__cause__ = other
    assert not explains(new, old)
    other.__context__ = old
    old.__context__ = new
    assert explains(new, old)
    assert explains(ExceptionGroup("", [new]), old)
    assert not explains(new, ExceptionGroup("", [old, TypeError()]))
    assert explains(ExceptionGroup("", [new, other]), ExceptionGroup("", [old, other]))


def test_settled_table() -> None:
    """What an error and a dependency's news make together."""
    log: list[str] = []
    bug, other, over = KeyError("bug"), OSError("other"), RequestCancelled("deadline")
    linked = ValueError("linked")
    linked.__context__ = bug

    def end(error: BaseException | None, new: BaseException | None) -> BaseException | None:
        return settled(error, new, absorbs=True, dependency="D", log=lambda text, exc: log.append(text))

    assert end(None, None) is None
    assert end(bug, None) is bug
    assert end(None, bug) is bug
    assert end(over, bug) is bug
    assert end(bug, linked) is linked
    assert leaves(end(bug, other)) == [bug, other]
    stop = KeyboardInterrupt()
    assert end(stop, bug) is stop
    assert log == ["the dependency D failed while KeyboardInterrupt was ending the request"]
