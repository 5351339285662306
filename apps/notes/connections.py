"""What the service asks of a database: the words that SQLite and PostgreSQL have in common.

This file owns the seam between the two backends and the rest. SQL goes through it as text that both understand, with
`$1`, `$2`, ... for parameters, first used in that order; where they differ there is a `Dialect`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = tuple[Any, ...]


class Unavailable(Exception):
    """The database cannot be reached: nobody's fault here, and worth another try."""


class TransactionLost(Exception):
    """The database has rolled the transaction back on its own, so that it can be neither continued nor committed.

    A statement that is stopped can do that (a deadline inside of a handler, say). If the handler went on, SQLite would
    keep what it writes after that without what it wrote before.
    """


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the two databases do not agree."""

    name: str
    """Also the directory of its migrations."""

    lock: str
    """What a SELECT ends with that reads a row in order to change it."""

    matches: str
    """A condition on a note `n`, with `{}` for the parameter of a full-text query."""

    prefix: str
    """A word of that query that also matches longer ones, with `{}` for the word."""

    conjunction: str
    """What stands between two such words."""


class Connection(Protocol):
    """One connection, with at most one transaction; used by one task at a time.

    Cancellation: whatever is awaited here may be cancelled, a statement that runs is stopped, and the connection is
    good for a `rollback` and the next transaction.
    """

    async def begin(self, *, write: bool) -> None:
        """Begin a transaction. `write=False`: it only reads, and the database holds it to that.

        Raises:
            Unavailable: the connection is gone.
        """
        ...

    async def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement in the transaction and return its rows.

        Raises:
            TransactionLost: there is none any more.
        """
        ...

    async def commit(self) -> None:
        """Commit, or raise whatever keeps the database from it."""
        ...

    async def rollback(self) -> None:
        """Roll back, if there is anything to roll back."""
        ...

    async def close(self) -> None:
        """Close, whatever state it is in. Not to be cancelled."""
        ...


class Backend(Protocol):
    """A database, before it is connected to."""

    @property
    def dialect(self) -> Dialect:
        """What is its own about its SQL."""
        ...

    @property
    def one_writer(self) -> bool:
        """Whether the database itself lets only one transaction write at a time."""
        ...

    @property
    def migration_lock(self) -> str:
        """A statement that waits until no other process migrates; nothing if the transaction does that anyway."""
        ...

    async def connect(self, *, write: bool) -> Connection:
        """Connect.

        Raises:
            Unavailable: nobody answers, or not to us.
        """
        ...

    async def close(self) -> None:
        """Leave nothing behind that was made for this run only."""
        ...
