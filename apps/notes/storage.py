"""The pool of connections, and the transactions in it.

This file owns when a connection is taken, when a transaction is committed or rolled back, and what becomes of a
connection on which that failed. It knows no table.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from .connections import Backend, Connection, Dialect, Row, Unavailable

log = logging.getLogger("apps.notes")

CONNECTIONS: Final = 8
"""How many there are of each kind at most; further transactions wait, first come, first served."""

PATIENCE: Final = 5.0
"""Seconds that a rollback may take; then the connection is closed instead, which is one as well."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Pool:
    """Connections to one database, opened when they are first needed and kept.

    Args:
        backend: how they are made.
        size: how many there may be.
    """

    def __init__(self, backend: Backend, size: int = CONNECTIONS) -> None:
        self.dialect: Dialect = backend.dialect
        self._backend = backend
        # Where only one may write, the others should wait here, in order, and not in the database, where it is luck.
        self._readers = _Places(size)
        self._writers = _Places(1) if backend.one_writer else self._readers

    @asynccontextmanager
    async def transaction(self, *, write: bool) -> AsyncGenerator[Transaction]:
        """A transaction: committed if the block ends well, rolled back if it raises or is cancelled.

        Args:
            write: it may write; otherwise the database refuses that.

        Raises:
            Unavailable: the database cannot be reached.
            Exception: whatever keeps the database from committing; then nothing has been written.
        """
        connection = await self._take(write)
        committed = False
        try:
            yield Transaction(connection, self.dialect)
            await connection.commit()
            committed = True
        finally:
            await self._give_back(connection, write, ended=committed)  # noqa: ASYNC102  # it shields itself

    async def migrate(self) -> None:
        """Bring the tables up to date. Processes that start together do it one after another.

        Raises:
            RuntimeError: a newer version of the program has been here.
        """
        files = sorted((MIGRATIONS / self.dialect.name).glob("*.sql"))
        async with self.transaction(write=True) as transaction:
            if self._backend.migration_lock:
                await transaction.all(self._backend.migration_lock)
            await transaction.all("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
            [(applied,)] = await transaction.all("SELECT coalesce(max(number), 0) FROM migrations")
            if applied > len(files):
                raise RuntimeError(
                    f"the database has migration {applied}, this program knows {len(files)}: run the newer program"
                )
            for number, file in enumerate(files[applied:], applied + 1):
                await transaction.all(file.read_text("utf-8"))
                await transaction.all("INSERT INTO migrations (number) VALUES ($1)", number)
                log.info("migrated the database: %s", file.name)

    async def close(self) -> None:
        """Close the connections; to be called when no transaction is left."""
        for places in {self._readers, self._writers}:
            await places.close()
        await self._backend.close()

    async def _take(self, write: bool) -> Connection:
        """A connection with a transaction begun."""
        places = self._writers if write else self._readers
        connection = await places.take()
        try:
            if connection is not None:
                try:
                    await connection.begin(write=write)
                    return connection
                except Unavailable:
                    # It was lost while nobody used it: the server has been restarted, say. Nothing has been done yet,
                    # so another one is as good.
                    await connection.close()
                    connection = None
            connection = await self._backend.connect(write=write)
            await connection.begin(write=write)
            return connection
        except BaseException:
            await self._give_back(connection, write, ended=False)  # noqa: ASYNC102
            raise

    async def _give_back(self, connection: Connection | None, write: bool, *, ended: bool) -> None:
        """Make a place free again, with the connection in it if that is as good as new."""
        places = self._writers if write else self._readers
        if connection is None or ended:
            places.give_back(connection)
            return
        usable = False
        try:
            with trio.move_on_after(PATIENCE, shield=True):
                await connection.rollback()
                usable = True
        except Exception as error:  # noqa: BLE001  # why the transaction failed is what the request should end with
            log.warning("a rollback failed, the connection is closed: %r", error)
        finally:
            places.give_back(connection if usable else None)
            if not usable:
                await connection.close()  # noqa: ASYNC102


class Transaction:
    """What a handler runs statements in. `Pool.transaction` begins it and ends it."""

    def __init__(self, connection: Connection, dialect: Dialect) -> None:
        self.dialect = dialect
        self._connection = connection

    async def all(self, sql: str, *parameters: object) -> list[Row]:
        """Run one statement and return its rows.

        Args:
            sql: the statement, with `$1`, `$2`, ... for the parameters.
            parameters: their values: str, int, None.

        Raises:
            Unavailable: the database cannot be reached.
            TransactionLost: the database has rolled the transaction back already.

        Cancellation: the statement is stopped where it is, and the transaction can only be rolled back.
        """
        return await self._connection.execute(sql, parameters)

    async def one(self, sql: str, *parameters: object) -> Row | None:
        """Like `all`, for a statement that has at most one row."""
        rows = await self.all(sql, *parameters)
        return rows[0] if rows else None


class _Places:
    """Places for connections: each is empty, has one that is free, or is taken."""

    def __init__(self, count: int) -> None:
        self._free, self._waiting = trio.open_memory_channel[Connection | None](count)
        for _ in range(count):
            self.give_back(None)

    async def take(self) -> Connection | None:
        """Wait for a place, in order; return what is in it."""
        return await self._waiting.receive()

    def give_back(self, connection: Connection | None) -> None:
        """Make a place free again."""
        self._free.send_nowait(connection)

    async def close(self) -> None:
        """Close the connections that are free."""
        while True:
            try:
                connection = self._waiting.receive_nowait()
            except trio.WouldBlock:
                return
            if connection is not None:
                await connection.close()


def backend_of(url: str) -> Backend:
    """The database that a URL means: `sqlite:PATH`, `sqlite:` (a temporary one) or `postgresql://...`.

    Raises:
        ValueError: it means neither.
    """
    scheme, colon, rest = url.partition(":")
    if colon and scheme == "sqlite":
        from .sqlite import SQLite

        return SQLite(rest)
    if colon and scheme in ("postgresql", "postgres"):
        from .postgres import PostgreSQL  # here: who runs on SQLite need not have psycopg

        return PostgreSQL(url)
    raise ValueError(
        f"NOTES_DATABASE_URL={url!r} is no database that we know.\n"
        "Write sqlite:notes.db (a file in the working directory), sqlite:/var/lib/notes.db, or "
        "postgresql://user:password@host/database"
    )


@asynccontextmanager
async def open_pool(url: str, size: int = CONNECTIONS) -> AsyncGenerator[Pool]:
    """A pool of connections to a database whose tables are up to date."""
    pool = Pool(backend_of(url), size)
    try:
        await pool.migrate()
        yield pool
    finally:
        with trio.CancelScope(shield=True):
            await pool.close()
