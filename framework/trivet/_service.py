"""A service as it can be seen from outside: what it is called, how it is, and what went wrong last.

This file owns those words, which pages, metrics and logs show. What brings one from a state to the next is
`_services`'.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, final

import trio

ServiceState: TypeAlias = Literal["starting", "running", "backing-off", "failed", "stopped"]
"""`starting`: its dependencies are being entered, or it has yet to call `task_status.started()`. `backing-off`: it has
ended, and is started again after a pause. `failed`: it has given up, which stops the server. `stopped`: it has ended as
it should, or the application does not run."""


@final
class Service:
    """One service of an application, see `App.services`. It is read only; the supervisor writes it."""

    __slots__ = ("error", "name", "restarts", "since", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        """As given, or its function's; no other service of the application has it."""
        self.state: ServiceState = "stopped"
        self.since: float | None = None
        """When it entered that state, on Trio's clock (`trio.current_time()`); `None`: it was never started."""
        self.restarts = 0
        """How often it was started again since the application started."""
        self.error: str | None = None
        """The last failure in one line, `KeyError: 'x'`; it stays when the service runs again. `None`: none yet."""

    def enter(self, state: ServiceState) -> None:
        """Note a state, and when it began."""
        self.state = state
        self.since = trio.current_time()

    def __repr__(self) -> str:
        return f"<service {self.name}: {self.state}, {self.restarts} restarts>"


class StartupFailed(RuntimeError):
    """A service ended before it had called `task_status.started()`, or for good while others were being started."""


def never_started(name: str) -> str:
    """What is said of one that ended before the startup could go on."""
    return (
        f"the service {name} ended before it had called task_status.started(), for which the startup waits.\n"
        "Call it when the service is ready, or do not take task_status if there is nothing to wait for."
    )


class KeepsReturning(RuntimeError):
    """A service that is started again when it returns has returned too often in a row."""

    def __init__(self, name: str, most: int | None) -> None:
        super().__init__(
            f"the service {name} is started again whenever it returns, and it has returned more than "
            f"max_restarts={most} times in a row.\n"
            "What is to be done again and again is a loop in it:  async for tick in every(60): ...\n"
            "If it may return as often as it likes, write  max_restarts=None"
        )
