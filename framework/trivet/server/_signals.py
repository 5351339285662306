"""SIGTERM and SIGINT as two events: stop, and hurry.

This file owns what a signal means. It knows nothing of what is stopped.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType

import trio


class Stopping:
    """What the signals so far ask for."""

    def __init__(self) -> None:
        self.stop = trio.Event()
        """Set at the first signal."""
        self.hurry = trio.Event()
        """Set at the second."""

    def signalled(self) -> None:
        """One more signal has come."""
        (self.hurry if self.stop.is_set() else self.stop).set()


@asynccontextmanager
async def stopping_on(
    signals: tuple[signal.Signals, ...], at_once: Callable[[], object] = lambda: None, *, again: bool = True
) -> AsyncGenerator[Stopping]:
    """Receive `signals` while inside.

    Args:
        signals: which; all mean the same.
        at_once: called inside the signal handler itself, so also while the event loop is blocked. Must be safe there.
        again: a second one means to hurry; otherwise it means nothing.
    """
    stopping = Stopping()
    came = False

    def call() -> None:
        nonlocal came
        if again or not came:
            came = True
            at_once()

    with trio.open_signal_receiver(*signals) as received, _calling(signals, call):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on, received, stopping, again)
            yield stopping
            nursery.cancel_scope.cancel()


async def _pass_on(received: AsyncIterator[int], stopping: Stopping, again: bool) -> None:
    async for _ in received:
        stopping.signalled()
        if not again:
            return


@contextmanager
def _calling(signals: tuple[signal.Signals, ...], at_once: Callable[[], object]) -> Generator[None]:
    """Put `at_once` in front of the handlers that are installed."""
    installed = {number: signal.getsignal(number) for number in signals}

    def handler(number: int, frame: FrameType | None) -> None:
        at_once()
        inner = installed[signal.Signals(number)]
        if callable(inner):
            inner(number, frame)

    for number in signals:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, inner in installed.items():
            signal.signal(number, inner)
