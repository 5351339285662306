"""One open connection: commands go out on it as they come, and each caller gets its own reply.

This file owns that pairing, whoever is cancelled meanwhile, and when a connection counts as lost. It knows neither when
another one is made nor what commands mean.

Redis answers in the order in which it was asked. So many callers share one connection without waiting for each other,
and a caller that leaves changes nothing for the others as long as its reply is still read and thrown away, which is
what coredis' `Request` does. What is not used is coredis' pool: a caller that is cancelled while it has a connection
from there takes the place with it, for good, and when all 64 are gone the next one waits for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import ConnectionError as Lost
from coredis.exceptions import RedisError

from ._away import RedisAway, why
from ._refusals import OF_ALL, Refusals

BUSY: Final = 1.0
"""Seconds until it is asked again whether it still refuses whatever it is asked."""

_is_ours: Final[ContextVar[bool]] = ContextVar("_is_ours", default=False)
"""Whether this task keeps a connection of ours open."""


def _is_for_the_log(record: logging.LogRecord) -> bool:
    """What an application's own use of coredis says, and not what ours does.

    coredis logs a traceback of a hundred lines for each attempt to connect that fails without Redis' saying why: every
    few seconds while it hangs, and when it is left in the middle of one. That it is away we say ourselves, once.
    """
    return not _is_ours.get()


logging.getLogger("coredis").addFilter(_is_for_the_log)


class Link:
    """A connection that is open, or was.

    Args:
        connection: coredis', that runs or is about to.
        place: where to, for messages.
        timeout: seconds that each command has.
        nursery: as long as this lives, replies are waited for.
        refusals: what is known of its Redis, whichever connection it was seen on.
    """

    def __init__(
        self, connection: BaseConnection, place: str, timeout: float, nursery: trio.Nursery, refusals: Refusals
    ) -> None:
        self.connection = connection
        self.ended = trio.Event()
        self.reason = ""
        """Why it has ended, or is about to, in one line; empty: it can be used."""
        self.is_replica = False
        """Whether it has refused to write: it leads to a replica, since a failover perhaps."""
        self._place = place
        self._timeout = timeout
        self._nursery = nursery
        self._refusals = refusals
        self._stirred = trio.Event()
        """Set when there is something for who watches it."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Open it, keep it open, and close it when cancelled or lost; started when commands may come."""
        _is_ours.set(True)
        try:
            await self.connection.run(task_status=task_status)
        finally:
            self.reason = self.reason or why(self.connection._last_error)
            self.ended.set()
            self._stirred.set()

    async def ask(self, name: bytes, arguments: Sequence[bytes]) -> Any:
        """Send a command and return its reply.

        Raises:
            RedisAway: the connection is lost, or there was no reply in time, and now it is lost.
            coredis.exceptions.RedisError: that is the reply.

        Cancellation: the reply is read and thrown away.
        """
        request: Any = None
        try:
            request = self.connection.create_request(name, *arguments, decode=False)
            reply = await self._reply(request, name)
            if self._refusals.of_all:
                self._refusals.of_all = ""
            return reply
        except RedisError as error:
            if not self._means_away(error):
                raise
            lost: Exception = error
        except Exception as error:
            if error is not self.connection._last_error:
                raise
            lost = error  # coredis could not read what came, and has ended by that
        except trio.Cancelled:
            # Somebody has to notice if no answer ever comes: callers with less time than a command has may all leave
            # before it is over.
            if request is not None and not self.ended.is_set():
                self._nursery.start_soon(self._await_in_its_place, request, name)
            raise
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            raise RedisAway(self._place, self.reason or why(lost)) from lost
        finally:
            del lost  # a traceback's frame that holds its own exception is a cycle

    def _means_away(self, error: RedisError) -> bool:
        """Look at what came instead of a reply."""
        refused_all = self._refusals.of_all
        code = self._refusals.note(error)
        if code == "READONLY" and not self.is_replica:
            self.is_replica = True
            self._stirred.set()
        elif code in OF_ALL and not refused_all:
            self._stirred.set()
        return code != "" or isinstance(error, Lost) or error is self.connection._last_error

    async def _reply(self, request: Any, name: bytes) -> Any:
        # In two halves: if this process itself was busy all the time, the reply may lie there unread, and is had as
        # soon as others have their turn.
        for _ in range(2):
            with trio.move_on_after(self._timeout / 2):
                return await request
        raise self._overdue(name)

    async def _await_in_its_place(self, request: Any, name: bytes) -> None:
        try:
            await self._reply(request, name)
        except Exception:  # noqa: BLE001 - nobody is interested any more
            pass

    def _overdue(self, name: bytes) -> RedisAway:
        """There was no reply in time: give the connection up, since whatever follows would wait behind it."""
        self.close(f"no answer to {name.decode()} in {self._timeout:g} s")
        return RedisAway(self._place, self.reason)

    def close(self, reason: str) -> None:
        """Let it end; all who wait for a reply are told."""
        self.reason = self.reason or reason
        self.connection.invalidate(reason)

    async def retire(self) -> None:
        """Close it when those have their replies who wait for one; nobody else is to use it any more."""
        await trio.sleep(self._timeout)
        self.close("another one has taken its place")

    async def watch(self, every: float) -> None:
        """Return when it has ended, or is known to lead to a replica.

        Ask it every so many seconds whether it has ended, which is not seen when the other machine has gone, or
        something between has forgotten the connection. Sooner while it refuses whatever it is asked, for nobody else
        may ask it then.
        """
        while not (self.ended.is_set() or self.is_replica):
            self._stirred = trio.Event()
            with trio.move_on_after(BUSY if self._refusals.of_all else every):
                await self._stirred.wait()
                continue
            try:
                await self.ask(b"PING", ())
            except (RedisAway, RedisError):  # the latter is an answer, too: to users that may not PING, for example
                pass
