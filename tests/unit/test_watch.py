"""The disconnect sweep: which requests get a watcher, when, and what becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trivet._watch import PERIOD, DisconnectSweep


@dataclass(eq=False)
class Client:
    """A request whose client leaves at a given time after its watcher began, or whose watcher fails."""

    leaves_after: float = inf
    error: BaseException | None = None
    log: list[str] = field(default_factory=list)
    watcher: trio.CancelScope | None = None

    async def watch(self) -> None:
        self.log.append(f"watched from {trio.current_time():.2f}")
        if self.error is not None:
            raise self.error
        try:
            await trio.sleep(self.leaves_after)
        except trio.Cancelled:
            self.log.append(f"stopped at {trio.current_time():.2f}")
            raise
        self.log.append(f"left at {trio.current_time():.2f}")


@dataclass(eq=False)
class Ticks(trio.abc.Instrument):
    """Counts the turns of Trio's loop."""

    count: int = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@asynccontextmanager
async def sweeping(complaints: list[str] | None = None) -> AsyncIterator[DisconnectSweep]:
    def log(message: str, error: BaseException | None) -> None:
        if complaints is None:
            raise AssertionError(message) from error
        complaints.append(f"{message}: {error!r}")

    sweep = DisconnectSweep(log)
    async with sweep.sweeping():
        await wait_all_tasks_blocked()
        yield sweep


async def test_a_short_request_gets_no_watcher(autojump_clock: MockClock) -> None:
    """A request that is over before two looks costs no task."""
    async with sweeping() as sweep:
        for _ in range(20):
            client = Client()
            sweep.add(client)
            await trio.sleep(PERIOD * 0.9)
            sweep.discard(client)
            assert (client.log, client.watcher) == ([], None)


async def test_a_request_gets_a_watcher_within_two_looks(autojump_clock: MockClock) -> None:
    """One that stays is watched when it is one to two periods old, also if it came between two looks."""
    async with sweeping() as sweep:
        first, second = Client(leaves_after=1), Client(leaves_after=1)
        sweep.add(first)
        await trio.sleep(0.02)
        sweep.add(second)
        await trio.sleep(5)
        assert first.log == ["watched from 0.10", "left at 1.10"]
        assert second.log == ["watched from 0.10", "left at 1.10"]
        sweep.discard(first)
        sweep.discard(second)


async def test_discard_stops_the_watcher(autojump_clock: MockClock) -> None:
    """When the request is over its watcher is cancelled at once, started or not; twice is once."""
    async with sweeping() as sweep:
        client, fresh = Client(), Client()
        sweep.add(client)
        await trio.sleep(1)
        sweep.discard(client)
        sweep.discard(client)
        sweep.watch_now(fresh)
        sweep.discard(fresh)
        await wait_all_tasks_blocked()
        assert client.log == ["watched from 0.10", "stopped at 1.00"]
        assert fresh.watcher is None
        assert "left" not in str(fresh.log)


async def test_the_sweep_parks(autojump_clock: MockClock) -> None:
    """A handler that sleeps for an hour costs a few turns of the loop, not one for each period."""
    ticks = Ticks()
    async with sweeping() as sweep:
        client = Client()
        sweep.add(client)
        trio.lowlevel.add_instrument(ticks)
        await trio.sleep(3600)
        trio.lowlevel.remove_instrument(ticks)
        sweep.discard(client)
    assert ticks.count < 30


async def test_the_sweep_wakes_up_again(autojump_clock: MockClock) -> None:
    """A request that comes after a quiet hour is watched as soon as any."""
    async with sweeping() as sweep:
        early, late = Client(), Client()
        sweep.add(early)
        await trio.sleep(1)
        sweep.discard(early)
        await trio.sleep(3600)
        sweep.add(late)
        await trio.sleep(1)
        assert late.log == ["watched from 3601.10"]
        sweep.discard(late)


async def test_watch_now_does_not_wait_for_the_sweep(autojump_clock: MockClock) -> None:
    """A watcher can be had at once; the sweep does not start a second one."""
    async with sweeping() as sweep:
        client = Client()
        sweep.add(client)
        sweep.watch_now(client)
        sweep.watch_now(client)
        await trio.sleep(1)
        assert client.log == ["watched from 0.00"]
        sweep.discard(client)


@pytest.mark.parametrize(
    "error",
    [OSError("broken"), ExceptionGroup("", [OSError("broken")])],
    ids=["error", "group"],
)
async def test_a_watchers_failure_is_contained(autojump_clock: MockClock, error: BaseException) -> None:
    """It is logged; the sweep and the other watchers go on."""
    complaints: list[str] = []
    async with sweeping(complaints) as sweep:
        bad, good = Client(error=error), Client()
        sweep.add(bad)
        sweep.add(good)
        await trio.sleep(1)
        sweep.discard(bad)
        assert good.log == ["watched from 0.10"]
        sweep.discard(good)
        await wait_all_tasks_blocked()
        assert good.log == ["watched from 0.10", "stopped at 1.00"]
    assert len(complaints) == 1
    assert "that its client leaves will not be noticed" in complaints[0]
    assert "broken" in complaints[0]


async def test_a_failure_while_the_application_stops_is_contained(autojump_clock: MockClock) -> None:
    """A watcher whose group holds the sweep's own cancellation and a failure logs the failure."""
    complaints: list[str] = []

    class Clumsy(Client):
        async def watch(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise OSError("broken")

    async with sweeping(complaints) as sweep:
        sweep.watch_now(Clumsy())
        await wait_all_tasks_blocked()
    assert len(complaints) == 1


async def test_keyboard_interrupt_is_not_contained(autojump_clock: MockClock) -> None:
    """Control-C may hit a watcher too, and must end the program."""

    async def swept() -> None:
        async with sweeping() as sweep:
            sweep.watch_now(Client(error=KeyboardInterrupt()))
            await trio.sleep(1)

    with pytest.raises(BaseExceptionGroup) as caught:
        await swept()
    assert caught.group_contains(KeyboardInterrupt)


async def test_it_says_whether_it_runs(autojump_clock: MockClock) -> None:
    """What is added while it does not run is not watched, and whoever adds can know."""
    sweep = DisconnectSweep(lambda message, error: None)
    seen = [sweep.running]
    async with sweep.sweeping():
        await wait_all_tasks_blocked()
        seen.append(sweep.running)
    seen.append(sweep.running)
    assert seen == [False, True, False]


async def test_without_a_running_sweep_requests_are_noted_only(autojump_clock: MockClock) -> None:
    """On a server without lifespan nobody sweeps; nothing fails and nothing is kept."""
    sweep = DisconnectSweep(lambda message, error: None)
    client = Client()
    sweep.add(client)
    sweep.watch_now(client)
    await trio.sleep(1)
    sweep.discard(client)
    assert client.log == []


async def test_watchers_end_with_the_sweep(autojump_clock: MockClock) -> None:
    """They are its children: cancelling the sweep cancels them."""
    async with sweeping() as sweep:
        client = Client()
        sweep.watch_now(client)
        await trio.sleep(1)
    assert client.log == ["watched from 0.00", "stopped at 1.00"]


async def test_a_loop_that_is_late_is_looked_at_less_often(autojump_clock: trio.testing.MockClock) -> None:
    """When the loop lags, requests are old because of that, and no watcher is started for them until later."""
    sweep = DisconnectSweep(lambda message, error: None)

    class Old:
        watcher: trio.CancelScope | None = None

        async def watch(self) -> None:
            await trio.sleep_forever()

    async with sweep.sweeping():
        first, second = Old(), Old()
        sweep.add(first)
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(PERIOD * 1.8)  # the loop was blocked: the first look comes 0.8 periods late
        await trio.testing.wait_all_tasks_blocked()
        sweep.add(second)
        await trio.sleep(PERIOD * 3)
        assert second.watcher is None
        await trio.sleep(PERIOD * 20)
        assert second.watcher is not None
