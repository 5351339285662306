"""`Redis`: one connection for all, which is made again when it is lost.

This file owns when that is, and what is known of it meanwhile. What goes over a connection is `_link`'s.

    entered ──> first attempt ──> up ──> lost ──> pause ──> attempt ──> up
                      └────────> away ──────────────^  └──────┘

Only the task that is drawn here ever connects. A caller finds a connection or is told at once that there is none, so
that no request waits for the timeout of a connection, and none is cancelled in the middle of making one.
"""

from __future__ import annotations

import logging
import random
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import trio
from coredis.connection import BaseConnection
from coredis.exceptions import NoScriptError

from trivet._companions import companions

from ._address import parse
from ._away import Backoff, RedisAway, why
from ._checks import Value, check_name, check_seconds, encoded, not_entered
from ._link import Link
from ._refusals import Refusals
from ._script import Script

log = logging.getLogger("trivet.contrib.redis")

PING_EVERY: Final = 15.0


class Redis:
    """A Redis, as one connection that all commands of the application share.

    It is a provider: `redis = Redis("redis://localhost")`, then `Annotated[Redis, Depends(redis, scope="app")]` as the
    type of a parameter. Elsewhere it works while it is entered: `async with Redis(url) as redis`. What takes it as an
    argument, as the backend of a limit does, enters it by itself; entered twice it is still one connection.

    While Redis cannot be reached each command raises `RedisAway` at once, and a task of its own tries to connect again.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`; `redis://:password@host:port/database`.
        connect_timeout: seconds that making a connection may take, names, TLS and password included.
        command_timeout: seconds that each command has. When they are over the connection is given up, for whatever
            follows would wait as well.
        backoff: seconds: the pause before an attempt to connect again is drawn from 0 to this, which doubles each time,
        max_backoff: up to so many seconds.
        required: to be entered fails when Redis is not there; else that is a warning in the log.
        ssl_context: for `rediss://`; by default certificates are checked against those that the system trusts.

    Raises:
        RegistrationError: an argument is not what it should be.
    """

    __provided_by__ = 'Depends(redis, scope="app")'

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = 1.0,
        command_timeout: float = 0.5,
        backoff: float = 0.1,
        max_backoff: float = 5.0,
        required: bool = False,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        check_seconds(
            connect_timeout=connect_timeout, command_timeout=command_timeout, backoff=backoff, max_backoff=max_backoff
        )
        self.place, self._open = parse(url, ssl_context)
        """Where it is, without the password."""
        self._connect_timeout = connect_timeout
        self._command_timeout = command_timeout
        self._backoff = backoff
        self._max_backoff = max(backoff, max_backoff)
        self._required = required
        self._contexts: dict[trio.lowlevel.Task, list[AbstractAsyncContextManager[Any]]] = {}
        """What `async with` has entered, by task: in each they are left in the reverse order, in all of them in any."""
        self._nurseries: list[trio.Nursery] = []
        """One for each time that this is entered; what keeps the connection is in the first one."""
        self._link: Link | None = None
        self._refusals = Refusals(log, self.place)
        self._again_at = 0.0
        self.since: float | None = None
        """When it came or went, on Trio's clock; `None`: it was never entered."""
        self._error: str | None = None
        self.losses = 0
        """How many connections have been lost, or given up."""

    @property
    def up(self) -> bool:
        """Whether there is a connection, on which Redis does not refuse whatever it is asked."""
        return self._link is not None and not self._link.reason and not self._refusals.of_all

    @property
    def error(self) -> str | None:
        """Why it is away, in one line; `None` while it is up, or was never entered."""
        if self._link is None:
            return self._error
        return self._link.reason or self._refusals.of_all or None

    async def execute(self, command: str, *arguments: Value) -> Any:
        """Send a command and return its reply: texts as bytes, lists, mappings and numbers as RESP3 has them.

        Args:
            command: its name, `"GET"`. Those that change the connection, or keep it waiting, are for `dedicated`.
            arguments: texts are sent as UTF-8.

        Raises:
            RedisAway: Redis is away, did not answer in time, or cannot do it now: it has no memory left, is busy with a
                script, is a replica and was to write.
            coredis.exceptions.RedisError: it answered with another error.
            TypeError: an argument is something else.
            ValueError: the command is not for a connection that is shared.
            RuntimeError: this is not entered.

        Cancellation: the command may have been carried out; the connection is as good as before.
        """
        given = encoded(command, arguments)
        return await self._ask(check_name(command, given), given)

    async def run(self, script: Script, keys: Sequence[str | bytes] = (), arguments: Sequence[Value] = ()) -> Any:
        """Run a script and return what it returns; see `execute`.

        Args:
            script: which.
            keys: its `KEYS`.
            arguments: its `ARGV`.
        """
        given = encoded("EVAL", [len(keys), *keys, *arguments])
        try:
            return await self._ask(b"EVALSHA", [script.digest.encode(), *given])
        except NoScriptError:
            return await self._ask(b"EVAL", [script.text.encode(), *given])

    async def _ask(self, name: bytes, arguments: Sequence[bytes]) -> Any:
        link = self._link
        if link is None or link.reason:
            self._check_entered()
            await trio.lowlevel.checkpoint()
            reason = self._error or "the connection was lost" if link is None else link.reason
            raise RedisAway(self.place, reason, self._again_at - trio.current_time())
        return await link.ask(name, arguments)

    @asynccontextmanager
    async def dedicated(self) -> AsyncGenerator[BaseConnection]:
        """A connection of one's own, for what a shared one cannot do: subscriptions, or commands that wait.

        It is coredis', with `create_request`, `send_command` and `push_messages`, which raise
        `coredis.exceptions.ConnectionError` when it is lost. It is closed when the body is left, and made once: who
        needs another one enters again.

        Raises:
            RedisAway: there was none to be had in `connect_timeout`.
            RuntimeError: the Redis is not entered.

        Cancellation: it is closed, nothing is waited for.
        """
        self._check_entered()
        link = await self._connect(self._nurseries[0])
        try:
            yield link.connection
        finally:
            link.close("it is not needed any more")

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[Self]:
        """The provider."""
        async with companions() as nursery:
            self._nurseries.append(nursery)
            try:
                if nursery is self._nurseries[0]:
                    await nursery.start(self._keep_connected, nursery, self._required)
                yield self
            finally:
                self._leave(nursery)

    def _leave(self, nursery: trio.Nursery) -> None:
        first = nursery is self._nurseries[0]
        self._nurseries.remove(nursery)
        nursery.cancel_scope.cancel()
        if first:
            self._link = None
            if self._nurseries:  # they were not left in the order in which they were entered: the next one has it now
                successor = self._nurseries[0]
                successor.start_soon(self._keep_connected, successor, False)

    async def __aenter__(self) -> Self:
        context = self()
        await context.__aenter__()
        self._contexts.setdefault(trio.lowlevel.current_task(), []).append(context)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        task = trio.lowlevel.current_task()
        context = self._contexts[task].pop()
        if not self._contexts[task]:
            del self._contexts[task]
        return await context.__aexit__(kind, error, trace)  # noqa: ASYNC102 - nothing in it waits

    async def _connect(self, nursery: trio.Nursery) -> Link:
        failure: Exception | None = None
        with trio.move_on_after(self._connect_timeout) as scope:
            try:
                link = Link(await self._open(), self.place, self._command_timeout, nursery, self._refusals)
                await nursery.start(link.run)
                return link
            except Exception as error:  # noqa: BLE001 - it is the cause of ours
                failure = error
        # coredis raises an error of its own, and not `Cancelled`, if it is cancelled while it says hello.
        await trio.lowlevel.checkpoint_if_cancelled()
        over = f"no connection in {self._connect_timeout:g} s"
        try:
            raise RedisAway(self.place, over if failure is None or scope.cancel_called else why(failure)) from failure
        finally:
            del failure  # a traceback's frame that holds its own exception is a cycle

    async def _keep_connected(
        self, nursery: trio.Nursery, required: bool, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        backoff = Backoff(self._backoff, self._max_backoff, random.random)
        self.since, self._error = trio.current_time(), "not connected yet"
        first = True
        while True:
            try:
                link = await self._connect(nursery)
            except RedisAway as error:
                if first and required:
                    raise
                self._note_away(error.why, first)
                if first:
                    task_status.started()
            else:
                self._note_up(link, first)
                if first:
                    task_status.started()
                link = await self._stay(link, nursery, backoff)
                if link is not self._link:
                    return  # it has been left meanwhile
                if trio.current_time() - (self.since or 0) > self._max_backoff:
                    backoff.reset()
                self.losses += 1
                self._note_away(link.reason, True)
            first = False
            pause = backoff.pause()
            self._again_at = trio.current_time() + pause
            await trio.sleep(pause)

    async def _stay(self, link: Link, nursery: trio.Nursery, backoff: Backoff) -> Link:
        """Return the connection that is lost at last.

        One that leads to a replica is changed for a new one: after a failover the name leads to whoever took its place.
        The new one is there before the old one goes, so nobody is cut off, however long it stays a replica.
        """
        attempts, since = 0, trio.current_time()
        while True:
            await link.watch(PING_EVERY)
            if link.ended.is_set() or link is not self._link:
                return link
            if trio.current_time() - since > self._max_backoff:
                attempts = 0
                backoff.reset()
            with trio.move_on_after(backoff.pause() if attempts else 0):
                await link.ended.wait()
                continue
            attempts, since = attempts + 1, trio.current_time()
            try:
                successor = await self._connect(nursery)
            except RedisAway:
                continue
            if link is not self._link:
                return link  # it has been left meanwhile
            nursery.start_soon(link.retire)
            self.losses += 1
            self._link = link = successor

    def _note_up(self, link: Link, first: bool) -> None:
        now = trio.current_time()
        if not first:
            log.info("Redis at %s is back after %.1f s", self.place, now - (self.since or now))
        self._link, self.since, self._error, self._refusals.of_all = link, now, None, ""

    def _note_away(self, reason: str, changed: bool) -> None:
        self._link, self._error = None, reason
        if changed:  # an outage is one line in the log, however many attempts there are
            self.since = trio.current_time()
            log.warning("Redis at %s is away: %s", self.place, reason)

    def _check_entered(self) -> None:
        if not self._nurseries:
            raise not_entered(self.place)
