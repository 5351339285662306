"""What runs beside a body, and whose error comes out of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from tests.unit.scoped import described, failing, groaning, quick, sleeper
from trivet._companions import companions

Run = Callable[[], Awaitable[object]]


async def ended(body: Run, companion: Run = trio.sleep_forever, leave: Run | None = None) -> str:
    """What such a body ends with, on its way through a scope that is cancelled after 10 s."""
    try:
        with trio.move_on_after(10) as outside:
            async with companions(leave) as nursery:
                nursery.start_soon(companion)
                await body()
            return "ended"
    except BaseException as error:
        return described(error)
    return "Cancelled" if outside.cancelled_caught else "nothing"


async def groans_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise OSError("while it was cancelled")


@pytest.mark.parametrize(
    ("body", "companion", "ends"),
    [
        (quick, trio.sleep_forever, "ended"),
        (quick, quick, "ended"),
        (sleeper, quick, "Cancelled"),
        (failing(KeyError(1), 1), trio.sleep_forever, "KeyError(1)"),
        (failing(KeyError(1), 1), quick, "KeyError(1)"),
        (failing(ExceptionGroup("own", [KeyError(1)])), trio.sleep_forever, "group[KeyError(1)]"),
        (sleeper, failing(OSError("pump"), 1), "OSError(pump)"),
        (groaning, failing(OSError("pump"), 1), "group[group[ValueError(in child)], OSError(pump)]"),
        (groans_when_cancelled, trio.sleep_forever, "OSError(while it was cancelled)"),
        (failing(StopAsyncIteration(), 1), trio.sleep_forever, "StopAsyncIteration()"),
        (failing(SystemExit(3), 1), trio.sleep_forever, "SystemExit(3)"),
    ],
)
async def test_what_a_body_raises_comes_out_as_it_is(
    autojump_clock: MockClock, body: Run, companion: Run, ends: str
) -> None:
    """Whatever is cancelled, and wherever: an error of the body or of its companion is not lost, and in no group."""
    assert await ended(body, companion) == ends


async def test_an_error_outlives_a_cancellation_that_comes_while_companions_end(autojump_clock: MockClock) -> None:
    """So does a body that ended well: what comes then is left to the next checkpoint."""

    async def lingering() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(20)
            await trio.lowlevel.checkpoint()

    assert await ended(failing(KeyError(1), 1), lingering) == "KeyError(1)"
    assert await ended(quick, lingering) == "ended"


async def test_who_leaves_does_so_beside_the_companions(autojump_clock: MockClock) -> None:
    """After the body, whether it failed or not, and before they are cancelled; but a cancellation is not held up."""
    said: list[str] = []

    async def companion() -> None:
        try:
            await trio.sleep_forever()
        finally:
            said.append("companion")

    async def leave() -> None:
        await trio.sleep(1)
        said.append("left")

    assert await ended(quick, companion, leave) == "ended"
    assert await ended(failing(KeyError(1), 1), companion, leave) == "KeyError(1)"
    assert said == ["left", "companion"] * 2
    assert await ended(sleeper, companion, leave) == "Cancelled"
    assert await ended(failing(SystemExit(3), 1), companion, leave) == "SystemExit(3)"
    assert said == ["left", "companion"] * 2 + ["companion"] * 2


@pytest.mark.parametrize(
    ("body", "leave", "ends"),
    [
        (failing(KeyError(1), 1), sleeper, "KeyError(1)"),
        (quick, sleeper, "Cancelled"),
        (quick, failing(OSError("leaving")), "OSError(leaving)"),
        (failing(KeyError(1), 1), failing(OSError("leaving")), "group[KeyError(1), OSError(leaving)]"),
    ],
)
async def test_what_fails_while_leaving_hides_nothing(
    autojump_clock: MockClock, body: Run, leave: Run, ends: str
) -> None:
    """A cancellation that cuts the leaving short does not hide what the body raised."""
    assert await ended(body, leave=leave) == ends


async def test_a_body_that_cancels_its_companions_goes_on_after_them(autojump_clock: MockClock) -> None:
    """As with any nursery: the cancellation is that of its scope, and ends there."""
    with trio.move_on_after(10) as outside:
        async with companions() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.cancel_scope.cancel()
            await sleeper()
        await trio.sleep(1)
    assert not outside.cancelled_caught
