"""Transactions: what stops them, what is left of them, and that the next one finds a connection that works."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

import apsw
import apsw.aio
import pytest
import trio

from apps.notes.connections import TransactionLost, Unavailable
from apps.notes.sqlite import SQLite
from apps.notes.storage import Pool, Transaction, backend_of, open_pool
from tests.harness.postgres import PostgresServer

ENDLESS = {
    "sqlite": "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
    "postgresql": "SELECT pg_sleep(3600)",
}
"""A query that does not end."""

ENDLESS_WRITE = (
    "INSERT INTO users (name, password)"
    " WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT cast(x AS TEXT), '' FROM c"
)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    """A pool with one place, so that what is wrong with a connection is noticed by the next transaction."""
    async with open_pool(database_url, 1) as pool:
        yield pool


async def add(tx: Transaction, name: str) -> None:
    """Write something."""
    await tx.all("INSERT INTO users (name, password) VALUES ($1, $2)", name, "")


async def names(pool: Pool) -> set[str]:
    """What has been written."""
    async with pool.transaction(write=False) as tx:
        return {name for (name,) in await tx.all("SELECT name FROM users")}


async def test_it_commits(pool: Pool) -> None:
    """What was written is there for the next transaction."""
    async with pool.transaction(write=True) as tx:
        await add(tx, "ada")
    assert await names(pool) == {"ada"}


async def test_an_error_rolls_back(pool: Pool) -> None:
    """An error from the block takes back what was written, and goes on as it is."""
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with pool.transaction(write=True) as tx:
            await add(tx, "ada")
            raise ZeroDivisionError
    assert await names(pool) == set()


@pytest.mark.slow
async def test_a_cancelled_query_is_stopped(pool: Pool) -> None:
    """Whenever it comes, cancellation ends a query, rolls back, and leaves a connection that works."""
    moments = random.Random(4)
    with trio.fail_after(30):
        for _ in range(30):
            with trio.move_on_after(moments.random() * 0.02) as scope:
                async with pool.transaction(write=True) as tx:
                    await add(tx, "ada")
                    await tx.all(ENDLESS[pool.dialect.name])
            assert scope.cancelled_caught
        assert await names(pool) == set()


async def test_a_connection_is_kept(pool: Pool) -> None:
    """A rollback is no reason to connect anew."""
    async with pool.transaction(write=True) as tx:
        first = tx._connection
    with trio.move_on_after(0.02):
        async with pool.transaction(write=True) as tx:
            await tx.all(ENDLESS[pool.dialect.name])
    async with pool.transaction(write=True) as tx:
        assert tx._connection is first


async def test_a_lost_transaction_is_not_continued(pool: Pool) -> None:
    """After a write that was stopped nothing is kept, neither what was written before nor what after."""
    with pytest.raises(TransactionLost):  # noqa: PT012
        async with pool.transaction(write=True) as tx:
            await add(tx, "ada")
            with trio.move_on_after(0.02):
                await tx.all(ENDLESS_WRITE)
            await add(tx, "grace")
    assert await names(pool) == set()


async def test_a_lost_transaction_is_not_committed(pool: Pool) -> None:
    """If the block goes on as if nothing had happened, the commit is an error."""
    with pytest.raises(Exception, match=r"ROLLBACK|no transaction"):  # noqa: PT012
        async with pool.transaction(write=True) as tx:
            await add(tx, "ada")
            with trio.move_on_after(0.02):
                await tx.all(ENDLESS_WRITE)
    assert await names(pool) == set()


async def test_a_commit_can_fail(pool: Pool) -> None:
    """What is checked only at the end is an error at the end, and the connection works."""
    async with pool.transaction(write=True) as tx:
        await tx.all("CREATE TABLE late (owner BIGINT REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(Exception, match=r"(?i)foreign key"):  # noqa: PT012
        async with pool.transaction(write=True) as tx:
            await add(tx, "ada")
            await tx.all("INSERT INTO late (owner) VALUES (1000)")
    assert await names(pool) == set()


async def test_reading_does_not_write(pool: Pool) -> None:
    """A transaction for reading is held to it by the database."""
    with pytest.raises(Exception, match=r"(?i)read-?only"):
        async with pool.transaction(write=False) as tx:
            await add(tx, "ada")


async def test_writers_take_turns(database_url: str) -> None:
    """Of many who count up at the same time, none overwrites another's count."""
    async with open_pool(database_url) as pool:
        async with pool.transaction(write=True) as tx:
            await tx.all("CREATE TABLE counter (n BIGINT)")
            await tx.all("INSERT INTO counter (n) VALUES (0)")

        async def count() -> None:
            async with pool.transaction(write=True) as tx:
                lock = " FOR UPDATE" if tx.dialect.lock else ""
                [(n,)] = await tx.all(f"SELECT n FROM counter{lock}")
                await tx.all("UPDATE counter SET n = $1", n + 1)

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(count)
        async with pool.transaction(write=False) as tx:
            assert await tx.all("SELECT n FROM counter") == [(20,)]


async def test_a_reader_does_not_wait_for_a_writer(database_url: str) -> None:
    """Who reads sees what was there before, at once."""
    async with open_pool(database_url) as pool, pool.transaction(write=True) as tx:
        await add(tx, "ada")
        with trio.fail_after(10):
            assert await names(pool) == set()


async def test_waiting_for_a_place_is_cancelled(pool: Pool) -> None:
    """Who waits for a connection and is cancelled has taken none."""
    async with pool.transaction(write=True):
        with trio.move_on_after(0.02) as scope:
            async with pool.transaction(write=True):
                raise AssertionError
        assert scope.cancelled_caught
    async with pool.transaction(write=True) as tx:
        await add(tx, "ada")


async def test_waiting_for_another_process_is_cancelled(tmp_path: Path) -> None:
    """SQLite's lock may be another process's; to wait for it can be cancelled as well, and it comes free."""
    url = f"sqlite:{tmp_path / 'notes.db'}"
    async with open_pool(url) as pool, open_pool(url) as other:
        async with other.transaction(write=True):
            with trio.move_on_after(0.2) as scope:
                async with pool.transaction(write=True):
                    raise AssertionError
            assert scope.cancelled_caught
        with trio.fail_after(10):
            async with pool.transaction(write=True) as tx:
                await add(tx, "ada")


async def test_migrations_run_once(database_url: str) -> None:
    """Processes that start together on an empty database all start, and so does the next one."""
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            async with open_pool(database_url) as pool:
                assert await names(pool) == set()

        for _ in range(4):
            nursery.start_soon(start)
    async with open_pool(database_url) as pool, pool.transaction(write=True) as tx:
        assert await tx.all("SELECT number FROM migrations") == [(1,)]
        await tx.all("INSERT INTO migrations (number) VALUES (1000)")
    with pytest.raises(RuntimeError, match="has migration 1000, this program knows 1: run the newer program"):
        async with open_pool(database_url):
            raise AssertionError


@pytest.mark.live
async def test_a_server_that_was_restarted(postgres: PostgresServer) -> None:
    """Connections that were lost while nobody used them are replaced; one that is lost in use is an error."""
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    async with open_pool(postgres.new_schema(), 1) as pool, open_pool(postgres.url(), 1) as other:

        async def kill_others() -> None:
            async with other.transaction(write=True) as tx:
                await tx.all(kill)

        await kill_others()
        async with pool.transaction(write=True) as tx:
            await add(tx, "ada")
        with pytest.raises(Unavailable):  # noqa: PT012
            async with pool.transaction(write=True) as tx:
                await add(tx, "grace")
                await kill_others()
                await add(tx, "barbara")
        assert await names(pool) == {"ada"}


async def test_no_server() -> None:
    """A server that nobody runs is named, at the start."""
    with pytest.raises(Unavailable):
        async with open_pool("postgresql://nobody@127.0.0.1:1/notes"):
            raise AssertionError


@pytest.mark.parametrize("url", ["", "notes.db", "mysql://localhost/notes", "sqlite", "postgresqlite:notes.db"])
def test_no_database(url: str) -> None:
    """A URL of another kind is refused with what could stand there."""
    with pytest.raises(ValueError, match="Write sqlite:"):
        backend_of(url)


async def test_cancelled_while_it_opens() -> None:
    """A connection to SQLite whose opening is cancelled leaves no thread, which the interpreter would wait for."""
    scope = trio.CancelScope()
    made: list[apsw.aio.Trio] = []

    class Cancelling(apsw.aio.Trio):
        """Cancels when the thread has been started, and has not begun."""

        async def send(self, call: Callable[[], Any]) -> Any:
            made.append(self)
            scope.cancel()
            return await super().send(call)

    before, backend = set(threading.enumerate()), SQLite("")
    token = apsw.async_controller.set(cast("Any", Cancelling))
    try:
        with scope:
            await (await backend.connect(write=True)).close()
    finally:
        apsw.async_controller.reset(token)
        await backend.close()
    assert made
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        if "apsw" in thread.name:
            thread.join(5)
            left = thread.is_alive()
            made[0].queue.put(None)  # so that a failure does not keep the interpreter from ending
            assert not left


async def test_a_temporary_database_is_deleted() -> None:
    """`sqlite:` is a file that many connections share and that nobody finds afterwards."""
    async with open_pool("sqlite:") as pool:
        async with pool.transaction(write=True) as tx:
            await add(tx, "ada")
            [(_, _, file)] = await tx.all("PRAGMA database_list")
        assert await names(pool) == {"ada"}
        assert await trio.Path(file).exists()
    assert not await trio.Path(file).exists()
