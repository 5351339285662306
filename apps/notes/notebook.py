"""Notes: what one is, and how those of one user are kept.

This file owns the tables of notes. It knows no HTTP.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from .connections import Dialect, Row
from .storage import Transaction

# PostgreSQL keeps no NUL in a text. `(?!\n)`: Python's `$` would let one more line break through.
Title: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\u0000]*$")]
Text: TypeAlias = Annotated[str, Meta(max_length=100_000, pattern=r"^[^\u0000]*$")]
# Spelt out: what `\s` is depends on whose regular expression it is, and clients read this one in the document.
SPACE: Final = r"\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
Tag: TypeAlias = Annotated[
    str,
    Meta(pattern=rf"^[^{SPACE},]{{1,40}}$(?!\n)", description="A word of at most 40 characters.", examples=["todo"]),
]
Tags: TypeAlias = Annotated[list[Tag], Meta(max_length=20)]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

COLUMNS: Final = (
    # A tag has no space in it. The subselect costs less than a join that repeats the text for each tag.
    "n.id, n.version, n.title, n.text, n.created, n.changed,"
    " (SELECT string_agg(t.tag, ' ') FROM note_tags t WHERE t.note = n.id)"
)


class Draft(Struct, forbid_unknown_fields=True):
    """What a client says about a note."""

    title: Title
    text: Text = ""
    tags: Tags = []


class Patch(Struct, forbid_unknown_fields=True):
    """A change of a note: a JSON merge patch (RFC 7396). What is left out stays; `null` is as if never said."""

    title: Title | UnsetType = UNSET
    text: Text | UnsetType | None = UNSET
    tags: Tags | UnsetType | None = UNSET

    def applied(self, to: Draft) -> Draft:
        """The draft that comes out of it."""
        return Draft(
            title=to.title if self.title is UNSET else self.title,
            text=to.text if self.text is UNSET else self.text or "",
            tags=to.tags if self.tags is UNSET else self.tags or [],
        )


class Note(Struct):
    """A note as it is kept."""

    id: int
    version: int
    """Counts from 1. In quotes it is the note's ETag."""
    title: str
    text: str
    tags: list[str]
    created: datetime
    changed: datetime


class Page(Struct):
    """Some notes, newest first."""

    notes: list[Note]
    next: int | None
    """The cursor of those that follow, to be sent as `before`; `null`: there are none."""


class Notebook:
    """The notes of one user, within a transaction.

    Args:
        tx: the transaction.
        owner: the user.
    """

    def __init__(self, tx: Transaction, owner: int) -> None:
        self._tx = tx
        self._owner = owner

    async def page(self, *, tags: Sequence[str], words: str | None, before: int | None, limit: int) -> Page:
        """Notes that have all of these tags and match these words, newest first.

        Args:
            tags: each must be there.
            words: each begins a word of the title or the text; `None`: any note matches.
            before: the number of the last note of the page before.
            limit: how many at most.
        """
        where = _Where("n.owner = {}", self._owner)
        if before is not None:
            where.also("n.id < {}", before)
        for tag in set(tags):
            where.also("EXISTS (SELECT 1 FROM note_tags t WHERE t.note = n.id AND t.tag = {})", tag)
        if words is not None:
            query = _query(self._tx.dialect, words)
            if query is None:
                return Page([], None)
            where.also(self._tx.dialect.matches, query)
        # One more than asked for tells whether there is another page, without counting them all.
        sql = f"SELECT {COLUMNS} FROM notes n WHERE {where} ORDER BY n.id DESC LIMIT ${len(where.values) + 1}"
        rows = await self._tx.all(sql, *where.values, limit + 1)
        notes = [_note(row) for row in rows[:limit]]
        return Page(notes, notes[-1].id if len(rows) > limit else None)

    async def find(self, number: int, *, to_change: bool = False) -> Note | None:
        """The note of this number; `None`: the user has none.

        Args:
            number: of the note.
            to_change: nobody else may change it until the transaction ends.
        """
        lock = self._tx.dialect.lock if to_change else ""
        row = await self._tx.one(
            f"SELECT {COLUMNS} FROM notes n WHERE n.id = $1 AND n.owner = $2{lock}", number, self._owner
        )
        return None if row is None else _note(row)

    async def add(self, draft: Draft) -> Note:
        """Add a note."""
        now = _now()
        [(number,)] = await self._tx.all(
            "INSERT INTO notes (owner, version, title, text, created, changed)"
            " VALUES ($1, 1, $2, $3, $4, $5) RETURNING id",
            self._owner,
            draft.title,
            draft.text,
            now,
            now,
        )
        tags = await self._tag(number, draft.tags)
        return Note(number, 1, draft.title, draft.text, tags, _time(now), _time(now))

    async def replace(self, note: Note, draft: Draft) -> Note:
        """Put a draft in the place of a note, which was found `to_change`."""
        now, version = _now(), note.version + 1
        await self._tx.all(
            "UPDATE notes SET version = $1, title = $2, text = $3, changed = $4 WHERE id = $5",
            version,
            draft.title,
            draft.text,
            now,
            note.id,
        )
        await self._tx.all("DELETE FROM note_tags WHERE note = $1", note.id)
        tags = await self._tag(note.id, draft.tags)
        return Note(note.id, version, draft.title, draft.text, tags, note.created, _time(now))

    async def delete(self, note: Note) -> None:
        """Delete a note, which was found `to_change`."""
        await self._tx.all("DELETE FROM notes WHERE id = $1", note.id)

    async def _tag(self, number: int, tags: Iterable[str]) -> list[str]:
        found = sorted(set(tags))
        for tag in found:
            await self._tx.all("INSERT INTO note_tags (note, tag) VALUES ($1, $2)", number, tag)
        return found


class _Where:
    """Conditions that all hold, and the values of their parameters, numbered in order."""

    def __init__(self, condition: str, value: object) -> None:
        self.values: list[object] = []
        self._conditions: list[str] = []
        self.also(condition, value)

    def also(self, condition: str, value: object) -> None:
        self.values.append(value)
        self._conditions.append(condition.format(f"${len(self.values)}"))

    def __str__(self) -> str:
        return " AND ".join(self._conditions)


def _query(dialect: Dialect, words: str) -> str | None:
    """A full-text query; `None`: there is no word in it, so that nothing matches."""
    # Letters and digits only: what else there is in either language of queries would be an error, or an operator.
    found = re.findall(r"[^\W_]+", words)
    return dialect.conjunction.join(dialect.prefix.format(word) for word in found) or None


def _note(row: Row) -> Note:
    number, version, title, text, created, changed, tags = row
    words = sorted(tags.split(" ")) if tags else []
    return Note(number, version, title, text, words, _time(created), _time(changed))


def _now() -> int:
    return time.time_ns() // 1000


def _time(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
