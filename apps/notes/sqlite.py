"""SQLite through `apsw.aio`: each connection has a thread of its own, which Trio waits for.

This file owns what it takes for that to be safe under cancellation. `apsw.aio` stops a statement whose task was
cancelled, by a progress handler that looks every so many steps; what comes next for the connection waits until it has.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import apsw
import apsw.aio
import trio

from .connections import Dialect, Row, TransactionLost

T = TypeVar("T")

STEPS: Final = 10_000
"""Of SQLite's virtual machine between two looks at whether the task was cancelled: well under a millisecond."""

BUSY_MS: Final = 50
"""How long SQLite itself waits for another process's lock: its thread can do nothing else in the meantime, so this is
short, and `begin` tries again."""

FIRST_WAIT, LONGEST_WAIT = 0.002, 0.1
"""Seconds between two attempts to begin, doubled each time."""

DIALECT: Final = Dialect(
    name="sqlite",
    lock="",  # `BEGIN IMMEDIATE` has locked the whole database
    matches="n.id IN (SELECT rowid FROM notes_fts WHERE notes_fts MATCH {})",
    prefix='"{}"*',
    conjunction=" ",
)


class SQLite:
    """A database in a file.

    Args:
        path: the file, made if it is not there; empty: a temporary one, which `close` deletes.
    """

    dialect = DIALECT
    one_writer = True
    migration_lock = ""  # as for `lock`

    def __init__(self, path: str) -> None:
        # Not `:memory:`, which each connection would have for itself.
        self._directory = None if path else tempfile.mkdtemp(prefix="notes-")
        self._path = path or str(Path(self._directory or "") / "notes.db")

    async def connect(self, *, write: bool) -> SQLiteConnection:
        """Open the file."""
        # Shielded: were this cancelled, the thread would have been started, and nobody would have what stops it. It
        # would wait for work for ever, and so would the interpreter at exit for it.
        with trio.CancelScope(shield=True):
            return await self._connect(write)
        raise AssertionError("nobody cancels this scope")

    async def _connect(self, write: bool) -> SQLiteConnection:
        before = apsw.aio.check_progress_steps.set(STEPS)
        try:
            opened: Any = await _counted(partial(apsw.Connection.as_async, self._path))
        finally:
            apsw.aio.check_progress_steps.reset(before)
        connection = SQLiteConnection(opened)
        try:
            await connection.prepare(write=write)
        except BaseException:
            await connection.close()  # noqa: ASYNC102  # shielded by its caller
            raise
        return connection

    async def close(self) -> None:
        """Delete the file, if it was a temporary one."""
        if self._directory is not None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(shutil.rmtree, self._directory, True)


async def _counted(work: Callable[[], Awaitable[T]]) -> T:
    """Let a connection's thread count as one of Trio's while it is waited for: as all of them it is one of so many, and
    `trivet.testing` keeps a mock clock from jumping meanwhile."""
    limiter, borrower = trio.to_thread.current_default_thread_limiter(), object()
    await limiter.acquire_on_behalf_of(borrower)
    try:
        return await work()
    finally:
        limiter.release_on_behalf_of(borrower)


class _Database(Protocol):
    """What is used of `apsw.Connection`, whose own types need Python 3.12. The first two are for the event loop, the
    others for the connection's thread."""

    async def async_run(self, call: Callable[..., T], /, *args: object) -> T: ...
    async def aclose(self, force: bool = False) -> None: ...

    in_transaction: bool

    def execute(self, statements: str, bindings: Sequence[object]) -> Any: ...
    def pragma(self, name: str, value: str | bool) -> object: ...
    def set_busy_timeout(self, milliseconds: int) -> None: ...


class SQLiteConnection:
    """One connection; see `connections.Connection`."""

    def __init__(self, db: _Database) -> None:
        self._db = db

    async def prepare(self, *, write: bool) -> None:
        """Set what SQLite sets for each connection, and not once for the file."""
        # SQLite does not wait before it makes the file's journal another: of several that open a new file, one can.
        await self._patiently(self._prepare, write)

    async def begin(self, *, write: bool) -> None:
        """Begin; wait for another process that writes, for as long as the task may."""
        # IMMEDIATE: a transaction that has read, and only then wants to write, is refused if another has written since.
        await self._patiently(self._rows, "BEGIN IMMEDIATE" if write else "BEGIN", ())

    async def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and fetch its rows, in one trip to the thread."""
        return await self._in_worker(self._execute, sql, parameters)

    async def commit(self) -> None:
        """Commit; without a transaction that is an error, and should be."""
        await self._in_worker(self._rows, "COMMIT", ())

    async def rollback(self) -> None:
        """Roll back, once the statement that was stopped has noticed."""
        await self._in_worker(self._rollback)

    async def close(self) -> None:
        """Close; this also ends the thread."""
        with trio.CancelScope(shield=True):
            await _counted(partial(self._db.aclose, True))

    async def _patiently(self, fn: Callable[..., object], *args: object) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                await self._in_worker(fn, *args)
                return
            except apsw.BusyError:
                await trio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    async def _in_worker(self, fn: Callable[..., T], *args: object) -> T:
        return await _counted(partial(self._db.async_run, fn, *args))

    # ---- in the connection's thread, where apsw is not asynchronous

    def _rows(self, sql: str, parameters: Sequence[object]) -> list[Row]:
        rows: list[Row] = self._db.execute(sql, parameters).fetchall()
        return rows

    def _execute(self, sql: str, parameters: Sequence[object]) -> list[Row]:
        if not self._db.in_transaction:
            # An INSERT, UPDATE or DELETE that is stopped takes its whole transaction with it
            # (https://sqlite.org/c3ref/interrupt.html), and from then on each statement would commit itself.
            raise TransactionLost("SQLite has rolled back, because an earlier statement was stopped or failed")
        return self._rows(sql, parameters)

    def _rollback(self) -> None:
        if self._db.in_transaction:
            self._rows("ROLLBACK", ())

    def _prepare(self, write: bool) -> None:
        db = self._db
        db.set_busy_timeout(BUSY_MS)
        db.pragma("foreign_keys", True)
        if write:
            # So that those who read see a snapshot and hold up nobody who writes. `synchronous` stays at FULL: what a
            # client was told is saved survives a power cut.
            db.pragma("journal_mode", "wal")
        else:
            db.pragma("query_only", True)
