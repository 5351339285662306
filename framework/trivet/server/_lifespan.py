"""The lifespan protocol, from the server's side.

This file owns when a server may start and how its application's failure ends it. hypercorn logs one line and serves an
application whose startup has crashed, and serves on when its lifespan dies later; here each of them is a failure.
"""

from __future__ import annotations

import trio

from trivet.asgi import EXTENSION, Message, Scope
from trivet.errors import TrivetError

from ._faults import fault_in
from ._inbox import MessageInbox
from ._link import LifespanLink
from ._state import Server, log


class LifespanFailed(TrivetError):
    """The application could not start, gave up, or could not shut down.

    `stage` is "startup", "lifespan" (it ended by itself in between) or "shutdown".
    """

    def __init__(self, stage: str, message: str) -> None:
        what = "gave up while it ran" if stage == "lifespan" else f"failed in its {stage}"
        super().__init__(f"the application {what}" + (f": {message}" if message else ""))
        self.stage = stage


class Lifespan:
    """Runs the application's lifespan task.

    Args:
        server: the application and the state that requests copy.
        link: goes into the scope.
    """

    def __init__(self, server: Server, link: LifespanLink) -> None:
        self._server = server
        self._link = link
        link.stop = self._stop
        self._inbox = MessageInbox(limit=2)
        self._started = trio.Event()
        self._stopped = trio.Event()
        self._asked = False  # it has called `receive`, so it speaks the protocol
        self._complete = False
        self._ending = False
        self.over = trio.Event()
        """The task has ended."""
        self.gave_up = trio.Event()
        """It failed after startup and before shutdown: the server should stop."""
        self.failure: LifespanFailed | None = None

    async def run(self) -> None:
        """The lifespan task. Logs what the application raises; `failure` says what it means."""
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"spec_version": "2.0", "version": "3.0"},
            "state": self._server.lifespan_state,
            "extensions": {EXTENSION: self._link},
        }
        try:
            await self._server.app(scope, self._receive, self._send)
        except BaseException as error:
            fault = fault_in(error)
            if fault is None:
                raise
            self._failed(fault)
        finally:
            self.over.set()
            self._started.set()
            self._stopped.set()

    def _failed(self, fault: BaseException) -> None:
        if not self._asked:
            # The ASGI specification: an application that raises on the scope itself does not know lifespans.
            log.debug("the application does not support lifespans (%r)", fault)
            return
        stage = "shutdown" if self._ending else "lifespan" if self._complete else "startup"
        if self.failure is None:
            log.error("the application failed in its %s", stage, exc_info=fault)
        self._give_up(stage, f"{type(fault).__name__}: {fault}")

    def _give_up(self, stage: str, message: str) -> None:
        if self.failure is None:
            self.failure = LifespanFailed(stage, message)
        if stage == "lifespan":
            self.gave_up.set()

    def _stop(self) -> None:
        """`Link.abort` of the lifespan scope: the application gives up."""
        self._give_up("lifespan", "what did so stands in the log above")

    async def _receive(self) -> Message:
        self._asked = True
        return await self._inbox.receive()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self._complete = True
            self._started.set()
        elif kind == "lifespan.startup.failed":
            self._give_up("startup", str(message.get("message", "")))
            self._started.set()
        elif kind == "lifespan.shutdown.complete":
            self._stopped.set()
        elif kind == "lifespan.shutdown.failed":
            self._give_up("shutdown" if self._ending else "lifespan", str(message.get("message", "")))
            self._stopped.set()
        else:
            raise ValueError(f"a lifespan cannot send {kind!r}")
        await trio.lowlevel.checkpoint()

    async def startup(self) -> None:
        """Return when requests may come.

        Raises:
            LifespanFailed: they may not.
        """
        self._inbox.feed({"type": "lifespan.startup"})
        await self._wait(self._started, "startup", self._server.config.startup_timeout)
        if self.failure is not None:
            raise self.failure
        if self.over.is_set() and self._asked:
            log.warning("the application's lifespan returned at startup: its shutdown will not be run")

    async def shutdown(self, seconds: float) -> None:
        """Return when the application has cleaned up.

        Args:
            seconds: that it has.

        Raises:
            LifespanFailed: it failed, now or earlier.
        """
        self._ending = True
        if not self.over.is_set():
            self._inbox.feed({"type": "lifespan.shutdown"})
            await self._wait(self._stopped, "shutdown", seconds)
            with trio.move_on_after(self._link.cleanup_grace):
                await self.over.wait()
        if self.failure is not None:
            raise self.failure

    async def _wait(self, event: trio.Event, stage: str, timeout: float | None) -> None:
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            await event.wait()
            return
        raise LifespanFailed(stage, f"it took more than {timeout:g} s (see {stage}_timeout)")
