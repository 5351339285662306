"""The HTTP of it: which requests there are, and what each is answered with.

This file owns statuses, headers and the dependencies that a request stands on. What is kept, and how, is decided below.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from trivet import JSON, Depends, Form, HTTPError, Request, Response, Router

from . import accounts
from .accounts import Passwords, User
from .connections import Unavailable
from .notebook import Draft, Note, Notebook, Page, Patch, Tag
from .preconditions import check
from .settings import Settings, settings
from .storage import Pool, Transaction, open_pool

log = logging.getLogger("apps.notes")

router = Router()

READING: Final = ("GET", "HEAD")


# ---- what a request stands on


@asynccontextmanager
async def pool(settings: Annotated[Settings, Depends(settings, scope="app")]) -> AsyncGenerator[Pool]:
    """The connections, for the application's life; it starts when the tables are up to date."""
    async with open_pool(settings.database_url) as pool:
        yield pool


async def passwords(settings: Annotated[Settings, Depends(settings, scope="app")]) -> Passwords:
    """What hashes passwords: one for all, because it bounds how many are hashed at once."""
    return Passwords(settings.hasher)


Connections: TypeAlias = Annotated[Pool, Depends(pool, scope="app")]
Hashing: TypeAlias = Annotated[Passwords, Depends(passwords, scope="app")]


@asynccontextmanager
async def transaction(request: Request, pool: Connections) -> AsyncGenerator[Transaction]:
    """The transaction of a request.

    It is committed before the response is sent, so that a commit that fails is an error and no lie; and rolled back if
    the handler fails, the client leaves, or the deadline passes.

    Its scope is the handler's, not the request's: it begins when the body is there. Otherwise a client that trickles
    one in would hold a connection all the time, and with SQLite the right to write.
    """
    async with pool.transaction(write=request.method not in READING) as tx:
        yield tx


async def token(request: Request) -> str:
    """The token that a request was sent with.

    Only ever in `Authorization`, which no browser sends on its own: so no other site can use it (CSRF).
    """
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials:
        raise HTTPError(401, "Sign in first.", headers={"www-authenticate": "Bearer"})
    return credentials.strip()


async def user(token: Annotated[str, Depends(token)], pool: Connections) -> User:
    """Who sends a request.

    In a transaction of its own: that of the handler would be held while the body arrives.
    """
    found = await accounts.whose(pool, token)
    if found is None:
        challenge = 'Bearer error="invalid_token"'
        raise HTTPError(401, "This token is not good, or not any more.", headers={"www-authenticate": challenge})
    return found


Signed: TypeAlias = Annotated[User, Depends(user)]
InTransaction: TypeAlias = Annotated[Transaction, Depends(transaction, scope="handler")]


async def notebook(tx: InTransaction, user: Signed) -> Notebook:
    """The user's notes."""
    return Notebook(tx, user.id)


Mine: TypeAlias = Annotated[Notebook, Depends(notebook)]


async def note(note_id: int, notebook: Mine) -> Note:
    """The note that a path names, to be read.

    Raises:
        HTTPError: 404.
    """
    return there(await notebook.find(note_id))


async def note_to_change(note_id: int, notebook: Mine, request: Request) -> Note:
    """The note that a path names, in the version that the client has read; nobody else changes it meanwhile.

    Raises:
        HTTPError: 404; 412, it has another version by now; 428, the client does not say which it has read.
    """
    if "if-match" not in request.headers:
        raise HTTPError(428, "Send If-Match with the ETag of the version that you have read, or * for any.")
    found = there(await notebook.find(note_id, to_change=True))
    check(request, etag=etag(found))
    return found


Read: TypeAlias = Annotated[Note, Depends(note)]
ToChange: TypeAlias = Annotated[Note, Depends(note_to_change)]


# ---- users


class NewUser(Struct, forbid_unknown_fields=True):
    """Somebody who wants to keep notes."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$(?!\n)", examples=["ada"])]
    password: Annotated[str, Meta(min_length=8, max_length=200)]


class Grant(Struct):
    """What OAuth2's clients send to sign in (RFC 6749, section 4.3.2)."""

    username: Annotated[str, Meta(max_length=200, pattern=r"^[^\u0000]*$")]
    password: Annotated[str, Meta(max_length=200)]
    grant_type: Literal["password"] = "password"


class Token(Struct):
    """A token (RFC 6749, section 5.1)."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int


@router.post("/users", status=201, tags=["users"])
async def register(new: NewUser, pool: Connections, passwords: Hashing) -> dict[str, str]:
    """Register a user."""
    if await accounts.register(pool, passwords, new.name, new.password) is None:
        raise HTTPError(409, "This name is taken.")
    return {"name": new.name}


@router.post("/token", tags=["users"])
async def sign_in(grant: Annotated[Grant, Form()], pool: Connections, passwords: Hashing) -> JSON[Token]:
    """Sign in: a name and a password for a token."""
    made = await accounts.sign_in(pool, passwords, grant.username, grant.password)
    if made is None:
        # 400, and `error`: what clients of OAuth2 look for (RFC 6749, section 5.2).
        raise HTTPError(400, "Name and password do not belong together.", error="invalid_grant")
    return JSON(Token(made, "bearer", accounts.LIFETIME), headers={"cache-control": "no-store"})


@router.delete("/token", tags=["users"])
async def sign_out(token: Annotated[str, Depends(token)], user: Signed, tx: InTransaction) -> None:
    """Sign out: the token is worthless from here on."""
    await accounts.sign_out(tx, token)


# ---- notes


@router.get("/notes", tags=["notes"])
async def list_notes(
    notebook: Mine,
    tag: list[Tag] = [],  # noqa: B006  # each request has a copy
    q: Annotated[str | None, Meta(max_length=200)] = None,
    before: Annotated[int | None, Meta(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Meta(ge=1, le=100)] = 20,
) -> Page:
    """List notes, newest first: those that have all of these tags, and words that begin so."""
    return await notebook.page(tags=tag, words=q, before=before, limit=limit)


@router.post("/notes", tags=["notes"])
async def add_note(draft: Draft, notebook: Mine, request: Request) -> JSON[Note]:
    """Add a note."""
    added = await notebook.add(draft)
    location = request.url_for(read_note, note_id=added.id)
    return JSON(added, status=201, headers={"location": location, "etag": etag(added)})


@router.get("/notes/{note_id}", tags=["notes"])
async def read_note(note: Read, request: Request) -> Response:
    """Read a note."""
    return check(request, etag=etag(note)) or tagged(note)


@router.put("/notes/{note_id}", tags=["notes"])
async def replace_note(note: ToChange, draft: Draft, notebook: Mine) -> JSON[Note]:
    """Replace a note."""
    return tagged(await notebook.replace(note, draft))


@router.patch("/notes/{note_id}", tags=["notes"])
async def change_note(note: ToChange, patch: Patch, notebook: Mine) -> JSON[Note]:
    """Change some of a note: a JSON merge patch."""
    return tagged(await notebook.replace(note, patch.applied(Draft(note.title, note.text, note.tags))))


@router.delete("/notes/{note_id}", tags=["notes"])
async def delete_note(note: ToChange, notebook: Mine) -> None:
    """Delete a note."""
    await notebook.delete(note)


@router.catch(Unavailable)
async def unavailable(request: Request, error: Unavailable, /) -> Response:
    """The database is away: 503, and nothing of why, which is in the log."""
    log.error("the database cannot be reached: %s", error)
    raise HTTPError(503, "The database cannot be reached.", headers={"retry-after": "5"})


def there(found: Note | None) -> Note:
    """The note, or 404; that of somebody else is not there either."""
    if found is None:
        raise HTTPError(404, "There is no such note.")
    return found


def etag(note: Note) -> str:
    """The entity tag of a note, strong: the same version is the same bytes."""
    return f'"{note.version}"'


def tagged(note: Note) -> JSON[Note]:
    """A note as a response."""
    return JSON(note, headers={"etag": etag(note)})
