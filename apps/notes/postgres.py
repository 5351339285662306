"""PostgreSQL through psycopg, in worker threads.

This file owns how a thread that waits for the server is stopped: it cannot be, so the server is asked to, and the
thread is waited for. psycopg's own asynchronous connections are asyncio's. They can be brought to run on Trio, by
replacing parts that are not documented; threads need only what is, and cost a tenth of a millisecond a statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Final, TypeVar, TypeVarTuple

import outcome
import psycopg
import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from .connections import Dialect, Row, TransactionLost, Unavailable

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE: Final = 5.0
"""Seconds for a new connection to the server: ours, and the one by which a statement is stopped."""

DEFAULTS: Final[dict[str, str | int]] = {
    "application_name": "notes",
    "connect_timeout": int(PATIENCE),
    # A server that has vanished without a word would otherwise hold a thread, and the request, for minutes.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
"""Settings of a connection for what the URL does not say."""

AGAIN: Final = 0.1
"""Seconds until the server is asked again to stop a statement."""

DIALECT: Final = Dialect(
    name="postgresql",
    lock=" FOR UPDATE OF n",
    matches="n.words @@ to_tsquery('simple', {})",
    prefix="'{}':*",
    conjunction=" & ",
)


class PostgreSQL:
    """A database on a server.

    Args:
        url: as libpq takes it: `postgresql://user:password@host/database`.
    """

    dialect = DIALECT
    one_writer = False
    migration_lock = "SELECT pg_advisory_xact_lock(7461830025)"  # any number that nobody else uses

    def __init__(self, url: str) -> None:
        self._conninfo = make_conninfo("", **DEFAULTS | conninfo_to_dict(url))
        # The pool bounds the connections, and each has one thread at most.
        self._limiter = trio.CapacityLimiter(inf)

    async def connect(self, *, write: bool) -> PostgreSQLConnection:
        """Connect; may take `connect_timeout` for each address of the server, and is not cancelled in between."""
        connect = partial(psycopg.connect, self._conninfo, autocommit=True, cursor_factory=psycopg.RawCursor[TupleRow])
        try:
            connection = await trio.to_thread.run_sync(connect, limiter=self._limiter)
        except psycopg.OperationalError as error:
            raise Unavailable(str(error)) from error
        return PostgreSQLConnection(connection, self._limiter)

    async def close(self) -> None:
        """Nothing was made for this run only."""
        await trio.lowlevel.checkpoint()


class PostgreSQLConnection:
    """One connection; see `connections.Connection`. Its autocommit is on: we say ourselves when to begin."""

    def __init__(self, connection: psycopg.Connection[TupleRow], limiter: trio.CapacityLimiter) -> None:
        self._connection = connection
        self._limiter = limiter

    async def begin(self, *, write: bool) -> None:
        """Begin."""
        await self._in_thread(self._execute, "BEGIN" if write else "BEGIN READ ONLY", ())

    async def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and fetch its rows."""
        try:
            return await self._in_thread(self._execute, sql, parameters)
        except psycopg.errors.InFailedSqlTransaction as error:
            raise TransactionLost(str(error)) from error

    async def commit(self) -> None:
        """Commit."""
        await self._in_thread(self._commit)

    async def rollback(self) -> None:
        """Roll back."""
        await self._in_thread(self._execute, "ROLLBACK", ())

    async def close(self) -> None:
        """Close."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._connection.close)

    async def _in_thread(self, fn: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run `fn(*args)` in a worker thread; if the task is cancelled, have the server stop what it runs for us.

        Either way the thread has returned when this does, so that nobody else uses the connection meanwhile.
        """
        done = trio.Event()
        result: outcome.Maybe[T] | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_if_cancelled, done)
            with trio.CancelScope(shield=True):
                # Captured: an error of the statement's is to be raised as it is, not in a group.
                result = await trio.to_thread.run_sync(partial(outcome.capture, fn, *args), limiter=self._limiter)
            done.set()
        if result is None:
            raise AssertionError("nobody cancels this nursery")
        try:
            return result.unwrap()
        except psycopg.OperationalError as error:
            if self._connection.closed:
                raise Unavailable(str(error)) from error
            raise

    async def _stop_if_cancelled(self, done: trio.Event) -> None:
        try:
            await done.wait()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                while not done.is_set():
                    # More than once: the first may come before the server has the statement, and means nothing then.
                    # It returns when the server has taken notice, so none comes late and stops what is run next.
                    await trio.to_thread.run_sync(self._cancel)
                    with trio.move_on_after(AGAIN):
                        await done.wait()
            raise

    # ---- in a worker thread

    def _cancel(self) -> None:
        try:
            self._connection.cancel_safe(timeout=PATIENCE)
        except psycopg.Error:
            pass  # The server is gone, which the statement notices as well; or it is asked again.

    def _execute(self, sql: str, parameters: Sequence[object]) -> list[Row]:
        # Without parameters a text may hold several statements, as migrations do.
        cursor = self._connection.execute(sql.encode(), parameters or None)
        return cursor.fetchall() if cursor.description is not None else []

    def _commit(self) -> None:
        # To commit a transaction in which a statement has failed is no error for PostgreSQL: it answers ROLLBACK.
        answer = self._connection.execute(b"COMMIT").statusmessage
        if answer != "COMMIT":
            raise TransactionLost(f"PostgreSQL has answered {answer} to COMMIT, because an earlier statement failed")
