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

from ._address import parse
from ._away import Backoff, RedisAway, why
from ._checks import Value, check_name, check_seconds, encoded
from ._link import Link
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
        for name, value in (
            ("connect_timeout", connect_timeout),
            ("command_timeout", command_timeout),
            ("backoff", backoff),
            ("max_backoff", max_backoff),
        ):
            check_seconds(name, value)
        self.place, self._open = parse(url, ssl_context)
        """Where it is, without the password."""
        self._connect_timeout = connect_timeout
        self._command_timeout = command_timeout
        self._backoff = backoff
        self._max_backoff = max(backoff, max_backoff)
        self._required = required
        self._entered: list[AbstractAsyncContextManager[Any]] = []
        self._nursery: trio.Nursery | None = None
        self._link: Link | None = None
        self._again_at = 0.0
        self.since: float | None = None
        """When it came or went, on Trio's clock; `None`: it was never entered."""
        self.error: str | None = None
        """Why it is away, in one line; `None` while it is up."""
        self.losses = 0
        """How many connections have been lost."""

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._link is not None and not self._link.reason

    async def execute(self, command: str, *arguments: Value) -> Any:
        """Send a command and return its reply: texts as bytes, lists, mappings and numbers as RESP3 has them.

        Args:
            command: its name, `"GET"`. Those that change the connection, or keep it waiting, are for `dedicated`.
            arguments: texts are sent as UTF-8.

        Raises:
            RedisAway: Redis is away, or did not answer in time.
            coredis.exceptions.RedisError: it answered with an error.
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
            reason = self.error or "the connection was lost" if link is None else link.reason
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
        link = await self._connect()
        try:
            yield link.connection
        finally:
            link.close("it is not needed any more")

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[Self]:
        """The provider."""
        if self._nursery is not None:
            yield self  # whoever entered first has it
            return
        error: BaseException | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await nursery.start(self._keep_connected)
                yield self
            except trio.Cancelled:
                raise
            except BaseException as caught:  # noqa: BLE001 - raised below, outside of the nursery and its groups
                error = caught
            finally:
                self._nursery = self._link = None
                nursery.cancel_scope.cancel()
        if error is not None:
            try:
                raise error
            finally:
                del error  # a traceback's frame that holds its own exception is a cycle

    async def __aenter__(self) -> Self:
        context = self()
        await context.__aenter__()
        self._entered.append(context)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        context = self._entered.pop()
        return await context.__aexit__(kind, error, trace)  # noqa: ASYNC102 - nothing in it waits

    async def _connect(self) -> Link:
        nursery = self._nursery
        assert nursery is not None
        with trio.move_on_after(self._connect_timeout) as scope:
            try:
                link = Link(await self._open(), self.place, self._command_timeout, nursery)
                await nursery.start(link.run)
                return link
            except Exception as error:
                # coredis raises one of its own instead of `Cancelled` when it is cancelled while it says hello.
                if not scope.cancel_called:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    raise RedisAway(self.place, why(error)) from error
        await trio.lowlevel.checkpoint_if_cancelled()
        raise RedisAway(self.place, f"no connection in {self._connect_timeout:g} s")

    async def _keep_connected(self, *, task_status: trio.TaskStatus[None]) -> None:
        backoff = Backoff(self._backoff, self._max_backoff, random.random)
        self.since, self.error = trio.current_time(), "not connected yet"
        first = True
        while True:
            try:
                link = await self._connect()
            except RedisAway as error:
                if first and self._required:
                    raise
                self._note_away(error.why, first)
            else:
                self._note_up(link, first)
            if first:
                task_status.started()
                first = False
            if self._link is not None:
                since = trio.current_time()
                await self._link.watch(PING_EVERY)
                self.losses += 1
                self._note_away(self._link.reason, True)
                self._link = None
                if trio.current_time() - since > self._max_backoff:
                    backoff.reset()
            pause = backoff.pause()
            self._again_at = trio.current_time() + pause
            await trio.sleep(pause)

    def _note_up(self, link: Link, first: bool) -> None:
        now = trio.current_time()
        if not first:
            log.info("Redis at %s is back after %.1f s", self.place, now - (self.since or now))
        self._link, self.since, self.error = link, now, None

    def _note_away(self, reason: str, changed: bool) -> None:
        self.error = reason
        if changed:  # an outage is one line in the log, however many attempts there are
            self.since = trio.current_time()
            log.warning("Redis at %s is away: %s", self.place, reason)

    def _check_entered(self) -> None:
        if self._nursery is None:
            raise RuntimeError(
                f"the Redis at {self.place} is not entered.\n"
                "Let a dependency enter it for the application's life:\n\n"
                '    redis: Annotated[Redis, Depends(redis, scope="app")]\n\n'
                "or write  async with redis: ..."
            )
