"""SIGTERM and SIGINT as two events: stop, and hurry. SIGUSR1 as a question: what are you doing?

This file owns what a signal means. It knows nothing of what is stopped, or told.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
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


def mortal() -> None:
    """Let SIGTERM end this process before it has a handler for it, also as the first of a container.

    The first process of a pid namespace gets no signal that it has no handler for (pid_namespaces(7)): told to stop
    while its application is imported it would not even know, serve, and be killed.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))


QUESTION: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""The signal that asks; `None`: this system has none."""


@contextmanager
def answering(told: Callable[[], str], *, last: bool) -> Generator[None]:
    """While inside, write what `told` returns to stderr whenever the question comes.

    In the signal handler itself, so that a process is heard whose event loop is blocked. An application that wants the
    signal for itself takes it, when it is imported or later.

    Args:
        told: called in the handler, so perhaps in the middle of anything.
        last: the process ends after this, and is not to be killed by a question that comes while the interpreter does.
    """
    if QUESTION is None:
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        try:
            text = told()
        except Exception as error:  # noqa: BLE001 - a question must not end a server
            text = f"cannot tell: {type(error).__name__}: {error}"
        _write(f"--- process {os.getpid()}", text)

    before = signal.signal(QUESTION, handler)
    try:
        yield
    finally:
        signal.signal(QUESTION, signal.SIG_IGN if last else before)


@contextmanager
def unasked() -> Generator[None]:
    """Let the question mean nothing to processes that are started inside, until they have an answer.

    They inherit that, while a handler does not outlive exec, and a process without one would be killed: by whoever asks
    all processes of a group or a service. A question to us is lost meanwhile, for some milliseconds.
    """
    if QUESTION is None:
        yield
        return
    before = signal.signal(QUESTION, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(QUESTION, before)


def _write(title: str, text: str) -> None:
    """Not by `sys.stderr`, which may be in the middle of a write, and refuses another from inside of that.

    Workers answer at the same time, as a rule into one pipe. So an answer goes out in pieces of whole lines that a pipe
    takes in one, and each piece has the title: nobody else's lines come into it.
    """
    try:
        out = (sys.__stderr__ or sys.stderr).fileno()
        for piece in _pieces(title.encode(), text.encode(errors="backslashreplace")):
            while piece:
                piece = piece[os.write(out, piece) :]
    except (OSError, ValueError, AttributeError):
        pass  # there is nobody to tell


def _pieces(title: bytes, text: bytes) -> Iterator[bytes]:
    """Whole lines below their title, as many as a pipe takes in one (POSIX: `PIPE_BUF`), and at least one."""
    piece = first = title + b"\n"
    going_on = title + b", continued\n"
    for line in text.splitlines(keepends=True):
        if len(piece) + len(line) > select.PIPE_BUF and piece not in (first, going_on):
            yield piece
            piece = going_on
        piece += line
    yield piece if piece.endswith(b"\n") else piece + b"\n"
