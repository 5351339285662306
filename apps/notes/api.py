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
from trivet.contrib.ratelimit import RateLimit
from trivet.contrib.security import OAuth2Password, PasswordForm, Token, token_error, token_response

from . import accounts
from .accounts import Passwords, User
from .buckets import BUCKETS
from .connections import Unavailable
from .notebook import Draft, Note, Notebook, Page, Patch, Tag
from .settings import Settings, settings
from .storage import Pool, Transaction, open_pool

log = logging.getLogger("apps.notes")

router = Router()

READING: Final = ("GET", "HEAD")

oauth2 = OAuth2Password(token_url="token")
"""A token in `Authorization`, and nowhere else: no browser sends it on its own, so no other site can use it (CSRF)."""


# ---- what a request stands on


@asynccontextmanager
async def pool(settings: Annotated[Settings, Depends(settings, scope="app")]) -> AsyncGenerator[Pool]:
    """The connections, for the application's life; it starts when the tables are up to date."""
    async with open_pool(settings.database_url) as pool:
        yield pool


def passwords(settings: Annotated[Settings, Depends(settings, scope="app")]) -> Passwords:
    """What hashes passwords: one for all, because it bounds how many are hashed at once.

    Not `async`, and so in a worker thread: to make it takes the time of a hash.
    """
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


async def user(token: Annotated[str, Depends(oauth2)], pool: Connections) -> User:
    """Who sends a request.

    In a transaction of its own: this is asked before the body is read, and the handler's begins after that.
    """
    found = await accounts.whose(pool, token)
    if found is None:
        raise oauth2.unauthorized()
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
    request.check(etag=etag(found))
    return found


Read: TypeAlias = Annotated[Note, Depends(note)]
ToChange: TypeAlias = Annotated[Note, Depends(note_to_change)]


# ---- how often; when it cannot be counted, nobody signs in: who guesses passwords must not gain by an outage

registrations = RateLimit(10, per=3600, name="registrations", backend=BUCKETS)
logins = RateLimit(20, per=60, name="logins", backend=BUCKETS, on_failure="refuse")


async def name_tried(form: Annotated[PasswordForm, Form()]) -> str:
    """Whose password is tried: so many addresses are no more use to guess it than one."""
    return form.username


logins_of_one = RateLimit(10, per=60, name="logins_of_one", key=name_tried, backend=BUCKETS, on_failure="refuse")


async def writer(user: Signed) -> str:
    """Who writes, from whatever address."""
    return str(user.id)


writes = RateLimit(120, per=60, name="writes", key=writer, backend=BUCKETS)


# ---- users


class NewUser(Struct, forbid_unknown_fields=True):
    """Somebody who wants to keep notes."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,31}$(?!\n)", examples=["ada"])]
    password: Annotated[str, Meta(min_length=8, max_length=200)]


@router.post(
    "/users",
    status=201,
    tags=["users"],
    dependencies=[Depends(registrations)],
    responses={409: "The name is taken."},
)
async def register(new: NewUser, pool: Connections, passwords: Hashing) -> dict[str, str]:
    """Register a user."""
    if await accounts.register(pool, passwords, new.name, new.password) is None:
        raise HTTPError(409, "This name is taken.")
    return {"name": new.name}


@router.post("/token", tags=["users"], dependencies=[Depends(logins), Depends(logins_of_one)])
async def sign_in(form: Annotated[PasswordForm, Form()], pool: Connections, passwords: Hashing) -> JSON[Token]:
    """Sign in: a name and a password for a token."""
    made = await accounts.sign_in(pool, passwords, form.username, form.password)
    if made is None:
        raise token_error("invalid_grant", "Name and password do not belong together.")
    return token_response(made, expires_in=accounts.LIFETIME)


@router.delete("/token", tags=["users"])
async def sign_out(token: Annotated[str, Depends(oauth2)], user: Signed, tx: InTransaction) -> None:
    """Sign out: the token is worthless from here on."""
    await accounts.sign_out(tx, token)


# ---- notes

MISSING: Final = {404: "There is no such note."}
CHANGED: Final = MISSING | {412: "It has another version by now.", 428: "`If-Match` is missing."}


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


@router.post("/notes", tags=["notes"], dependencies=[Depends(writes)])
async def add_note(draft: Draft, notebook: Mine, request: Request) -> tuple[Literal[201], Note, dict[str, str]]:
    """Add a note."""
    added = await notebook.add(draft)
    location = request.url_for(read_note, note_id=added.id)
    return 201, added, {"location": location, "etag": etag(added)}


@router.get("/notes/{note_id}", tags=["notes"], responses=MISSING)
async def read_note(note: Read, request: Request) -> JSON[Note] | Response:
    """Read a note."""
    return request.check(etag=etag(note)) or tagged(note)


@router.put("/notes/{note_id}", tags=["notes"], dependencies=[Depends(writes)], responses=CHANGED)
async def replace_note(note: ToChange, draft: Draft, notebook: Mine) -> JSON[Note]:
    """Replace a note."""
    return tagged(await notebook.replace(note, draft))


@router.patch("/notes/{note_id}", tags=["notes"], dependencies=[Depends(writes)], responses=CHANGED)
async def change_note(note: ToChange, patch: Patch, notebook: Mine) -> JSON[Note]:
    """Change some of a note: a JSON merge patch."""
    return tagged(await notebook.replace(note, patch.applied(Draft(note.title, note.text, note.tags))))


@router.delete("/notes/{note_id}", tags=["notes"], dependencies=[Depends(writes)], responses=CHANGED)
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
