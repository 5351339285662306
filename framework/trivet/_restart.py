"""What becomes of a service that has ended: it is started again after a pause, or not at all.

This file owns that decision, its options and their defaults. It knows no Trio: how long a run was, and chance, are
given to it.

The pause before the n-th restart in a row is drawn evenly from 0 to `backoff * 2**n`, at most `max_backoff`: "full
jitter" of Marc Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015). What failed together, because a
database went away, does not come back together. A run of `reset_after` seconds has gone well, and ends the row.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypedDict

from ._option_checks import check_patience
from ._suggest import suggest
from .errors import RegistrationError

When: TypeAlias = Literal["never", "on-failure", "always"]

BACKOFF: Final = 1.0
"""Seconds. Kubernetes begins with 10, for a whole container; systemd with 0.1."""
MAX_BACKOFF: Final = 60.0
"""Seconds. Kubernetes stops at 300."""
MAX_RESTARTS: Final = 10
"""Restarts in a row, which with these pauses last for two to three minutes: a database has time to be restarted.
systemd gives up after 5 starts within 10 seconds, Erlang's supervisors after 1 restart within 5."""
RESET_AFTER: Final = 60.0
"""Seconds."""


class ServiceOptions(TypedDict, total=False):
    """What `@app.service(...)` takes."""

    name: str
    restart: When
    backoff: float
    max_backoff: float
    max_restarts: int | None
    reset_after: float
    drain_timeout: float


@dataclass(frozen=True, slots=True)
class Restart:
    """When a service is started again; see `Router.service`."""

    when: When = "on-failure"
    backoff: float = BACKOFF
    max_backoff: float = MAX_BACKOFF
    max_restarts: int | None = MAX_RESTARTS
    reset_after: float = RESET_AFTER

    @classmethod
    def of(cls, options: ServiceOptions) -> Restart:
        """What the options say.

        Raises:
            RegistrationError: one of them has a value that it does not take.
        """
        for each in options:
            if each not in ServiceOptions.__annotations__:
                raise RegistrationError(_unknown(each))
        when = options.get("restart", "on-failure")
        if when not in typing.get_args(When):
            raise RegistrationError(
                f"restart={when!r} does not say when a service is started again.\n"
                'Write restart="on-failure" (when it raises), "always" (when it returns as well) or "never".'
            )
        limit = options.get("max_restarts", MAX_RESTARTS)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise RegistrationError(
                f"max_restarts={limit!r} is not a number of restarts.\n"
                "Write max_restarts=10, or max_restarts=None for one that never gives up."
            )
        backoff = options.get("backoff", BACKOFF)
        longest = options.get("max_backoff", MAX_BACKOFF)
        reset_after = options.get("reset_after", RESET_AFTER)
        for name, value in (("backoff", backoff), ("max_backoff", longest), ("reset_after", reset_after)):
            check_patience(name, value)
        return cls(
            when, backoff, max(longest, backoff) if "max_backoff" not in options else longest, limit, reset_after
        )


def _unknown(name: str) -> str:
    known = sorted(ServiceOptions.__annotations__)
    close = suggest(name, known)
    return f"unknown option {name!r} of a service.\n" + (
        f"Did you mean {close!r}?" if close else f"There are {', '.join(known)}."
    )


class Row:
    """The runs of one service, as far as they count for its next pause.

    Args:
        restart: the service's options.
        chance: gives a number from 0 to 1, as `random.random` does.
    """

    def __init__(self, restart: Restart, chance: Callable[[], float]) -> None:
        self._restart = restart
        self._chance = chance
        self._ended = 0

    @property
    def begins(self) -> bool:
        """The run that has ended last was the first of the row."""
        return self._ended == 1

    def after(self, ran: float, *, failed: bool) -> float | Literal["stopped", "failed"]:
        """What follows a run: the seconds until it is started again, or how the service has ended for good.

        Whatever it ended with counts for `max_restarts`, as for systemd and Erlang's supervisors: one that always
        returns as soon as it was started does not work either.

        Args:
            ran: seconds that it ran, once it was started.
            failed: it raised.
        """
        restart = self._restart
        if restart.when == "never" or (restart.when == "on-failure" and not failed):
            return "failed" if failed else "stopped"
        if ran >= restart.reset_after:
            self._ended = 0
        if restart.max_restarts is not None and self._ended >= restart.max_restarts:
            return "failed"
        bound: float = min(restart.max_backoff, restart.backoff * 2.0 ** min(self._ended, 1000))
        self._ended += 1
        return self._chance() * bound
