"""What is a failure of one call among several, where it goes, and how the others are stopped when they are not wanted.

This file owns these rules: an error is kept, so that the other calls go on; cancellation is not one and passes through,
and neither are KeyboardInterrupt and SystemExit, which end all of them. It does not know what becomes of those kept.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final, cast

import trio

from trivet._damping import Damper
from trivet._repeats import kind

log = logging.getLogger("trivet.contrib.concurrency")


_INSTEAD: Final = {
    "hedged": "Write  hedged({fn}, ..., after=0.3);  its arguments follow it",
    "map_bounded": "Write  map_bounded({fn}, items, limit=8);  each item is its argument",
    "iter_bounded": "Write  iter_bounded({fn}, items, limit=8);  each item is its argument",
}


def refuse_called(name: str, *fns: object) -> None:
    """Refuse calls in the place of functions, as `asyncio.gather` takes them; else each would be one more failure.

    Raises:
        TypeError: with what to write.
    """
    called = [fn for fn in fns if inspect.iscoroutine(fn)]
    for coroutine in called:
        coroutine.close()  # else Python warns that it was never awaited, which the message says better
    if called:
        fn = called[0].__name__
        raise TypeError(
            f"{name}() was given what calling {fn}() returned, a coroutine, instead of the function.\n"
            + _INSTEAD.get(name, "Write  partial({fn}, ...);  its arguments follow it").format(fn=fn)
        )


@contextmanager
def kept(keep: Callable[[Exception], None]) -> Generator[None]:
    """Hand what the body raises to `keep`, unless it is no failure.

    A call with a nursery of its own may fail while it is cancelled, and raises both in one group: they are taken apart.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whoever keeps it raises it, shows it or logs it
        keep(error)
    except BaseExceptionGroup as group:
        cancelled, failure = group.split(trio.Cancelled)
        if not isinstance(failure, ExceptionGroup):
            raise
        keep(cast(ExceptionGroup[Exception], failure))
        if cancelled is not None:
            raise cancelled from None


_told: Final = trio.lowlevel.RunVar[Damper]("trivet.contrib.concurrency told")
"""Of each run of Trio: it goes by its clock."""


def log_failures(what: str, failures: Iterable[Exception]) -> None:
    """Log the failures of calls that nobody will hear of otherwise, with their tracebacks.

    At WARNING once in a while of those that are alike, and at DEBUG all others: a mirror that is down fails for each
    request, and a hundred lines each time hide what else goes wrong.
    """
    for failure in failures:
        again = _damper().passes((what, kind(failure)), trio.current_time())
        level = logging.DEBUG if again is None else logging.WARNING
        log.log(level, "%s: %r%s", what, failure, again or "", exc_info=failure)


def _damper() -> Damper:
    try:
        return _told.get()
    except LookupError:
        _told.set(told := Damper())
        return told


def stop(scope: trio.CancelScope, reason: str) -> None:
    """Cancel the calls in a nursery's scope, and keep what there is although the caller be cancelled as well.

    Losers take a moment to end. Should the caller's deadline pass in that moment, the nursery would raise `Cancelled`,
    and a value that was there in time would be lost. The shield keeps nobody waiting: all behind it is cancelled.
    """
    scope.shield = True
    scope.cancel(reason=reason)
