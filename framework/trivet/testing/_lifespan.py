"""The server's end of the lifespan protocol, in memory.

This file owns one decision: what counts as a failure at startup and shutdown. Servers are lenient and log; a
test is not: what an application raises here comes out of the client. Only an application that has no lifespan
at all is let pass: one that raises or returns before it has asked for the first message.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import trio

from trivet.asgi import EXTENSION, ASGIApp, Message, Scope

from ._connection import MemoryLink
from ._rules import ProtocolViolation

__all__ = ["Lifespan", "LifespanFailed"]

SHUTDOWN_TIMEOUT: Final = 60.0
"""Seconds that an application may take to shut down: hypercorn's `Config.shutdown_timeout`."""

ANSWERS: Final = frozenset(
    {
        "lifespan.startup.complete",
        "lifespan.startup.failed",
        "lifespan.shutdown.complete",
        "lifespan.shutdown.failed",
    }
)


class LifespanFailed(RuntimeError):
    """The application reported that it could not start or stop; the text is the application's."""


class Lifespan:
    """One run of an application's lifespan.

    Args:
        app: the application.
        state: what the lifespan leaves for requests in `scope["state"]`.
        draining: the server's event.
        linked: whether the server knows trivet; a plain one cancels the lifespan as soon as it has reported
            its end, as hypercorn does.
    """

    def __init__(self, app: ASGIApp, state: dict[str, Any], draining: trio.Event, *, linked: bool) -> None:
        self._app = app
        self._linked = linked
        self._scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": state,
        }
        if linked:
            self._scope["extensions"] = {EXTENSION: MemoryLink(draining, self._give_up)}
        self._cancel_scope = trio.CancelScope()
        self._received = 0
        # Set once startup is decided: done, failed or not supported.
        self._started = trio.Event()
        self._stopping = trio.Event()
        # Set once shutdown is decided, or there will be none; `_returned` when the call is over.
        self._stopped = trio.Event()
        self._returned = trio.Event()
        self._complete = False
        self._gave_up = False
        # What went wrong, until somebody has raised it.
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Call the application; the body of the lifespan's task."""
        try:
            with self._cancel_scope:
                await self._app(self._scope, self._receive, self._send)
                if self._received and not self._stopping.is_set() and self._failure is None:
                    self._failure = LifespanFailed("the lifespan returned before it was asked to shut down")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test's task raises it
            self._note(error)
        finally:
            for event in (self._started, self._stopped, self._returned):
                event.set()

    def _note(self, error: Exception) -> None:
        if self._failure is not None:
            # It has said "failed" with a text of its own; the exception behind it helps to find out why.
            if self._failure is not error:
                self._failure.__cause__ = error
        elif self._received or isinstance(error, ProtocolViolation):
            self._failure = error

    async def start(self) -> None:
        """Wait for the end of startup.

        Raises:
            LifespanFailed: the application sent `lifespan.startup.failed`.
            Exception: what the application raised instead.
        """
        await self._started.wait()
        if self._failure is not None:
            # Give the application the time to raise what it has reported. Who is cancelled meanwhile hears of it first.
            with suppress(trio.Cancelled), trio.move_on_after(SHUTDOWN_TIMEOUT):
                await self._stopped.wait()
            self._cancel_scope.cancel(reason="startup failed")
            raise self._failure

    async def stop(self) -> Exception | None:
        """Ask the application to shut down, wait for it, and return what went wrong since startup."""
        self._stopping.set()
        with trio.move_on_after(SHUTDOWN_TIMEOUT) as patience:
            await (self._returned if self._linked else self._stopped).wait()
        if patience.cancelled_caught:
            self._failure = self._failure or LifespanFailed(f"no shutdown within {SHUTDOWN_TIMEOUT:g} s")
        self._cancel_scope.cancel(reason="the server is done")
        if self._failure is None and self._gave_up:
            self._failure = LifespanFailed("the application gave up: a service of it did, see the log")
        return self._failure

    def _give_up(self) -> None:
        """`LifespanLink.abort`: a server would stop and exit with a failure. The test goes on, and fails in the end."""
        self._gave_up = True

    async def _receive(self) -> Message:
        self._received += 1
        if self._received == 1:
            await trio.lowlevel.checkpoint()
            return {"type": "lifespan.startup"}
        if self._failure is not None:
            # Startup failed, and the application asks what comes next: nothing.
            self._stopped.set()
        elif self._received == 2:
            await self._stopping.wait()
            return {"type": "lifespan.shutdown"}
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        kind: str = message.get("type", "")
        if kind not in ANSWERS:
            raise ProtocolViolation(f"{kind!r} is not a message of the lifespan protocol")
        phase = "shutdown" if self._stopping.is_set() else "startup"
        # hypercorn takes shutdown.failed at any time: the only way to stop it from inside.
        if phase not in kind and kind != "lifespan.shutdown.failed":
            raise ProtocolViolation(f"{kind!r} during {phase}")
        if self._complete and phase == "startup" and kind.startswith("lifespan.startup"):
            raise ProtocolViolation(f"{kind!r} after lifespan.startup.complete")
        if kind.endswith("failed"):
            self._failure = LifespanFailed(message.get("message") or kind)
        self._complete = True
        (self._stopped if "shutdown" in kind else self._started).set()
