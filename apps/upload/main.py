"""Files come in and go out again: as they come to the disk, whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

import msgspec
import trio
from msgspec import Meta

from trivet import App, Depends, File, HTTPError, Redirect, Request
from trivet.contrib.csrf import CrossOriginProtection
from trivet.contrib.static import StaticFiles

from .digests import DigestMismatch, announced, field_of
from .disk import Complete
from .settings import Settings
from .store import PATIENCE, Arriving, QuotaExceeded, Store, Taken, open_store

STATIC: Final = Path(__file__).parent / "static"
PAGE_HEADERS: Final = {
    # The page runs its own script and talks to its own server.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cache-control": "no-cache",
}

SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Not echoed: a script in a page could read a cookie that is kept from it (as by TRACE, RFC 9110 section 9.3.8)."""

FILES_OF_FORM: Final = 20

# What the plan of a handler cannot tell OpenAPI: it reads the body by itself, and the store refuses.
MISSING: Final = {404: "There is no complete upload of this id."}
REFUSED: Final = {
    400: "It is malformed, not what its digest says, or not the whole file.",
    408: "Nothing more of it came.",
    413: "It is too large.",
    415: "It has a Content-Encoding.",
    507: "There is no room for it.",
}
TAKEN: Final = {409: "There is an upload of this id, complete or on its way."}

Limit = Annotated[int, Meta(ge=1, le=1000)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]


class UploadId(str):
    """What an upload is asked for by; it is the name of a directory, too, and cannot lead out of the one it is in."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it from a path; what does not fit is no path of this app, and 404."""
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text) is None:
            raise ValueError("letters, digits, dots, dashes and underscores, beginning with a letter or digit")
        return cls(text)


class Echo(msgspec.Struct, frozen=True):
    """A request, as it came."""

    method: str
    uri: str
    version: str
    headers: dict[str, str]


async def store_of(request: Request) -> Store:
    """The uploads, which the lifespan has opened."""
    store: Store = request.state["uploads"]
    return store


@asynccontextmanager
async def refusals() -> AsyncGenerator[None]:
    """Tell the client why the store did not take it.

    A digest that does not fit is 400 as with the other services that know the fields.
    """
    try:
        yield
    except QuotaExceeded as error:
        raise HTTPError(507, "All uploads together may not have more than this.") from error
    except Taken as error:
        raise HTTPError(409, "There is an upload of this id: complete, or on its way.") from error
    except DigestMismatch as error:
        raise HTTPError(400, f"{error}.") from error


Uploads = Annotated[Store, Depends(store_of)]
Created: TypeAlias = tuple[Literal[201], Complete, dict[str, str]]


def create_app(settings: Settings) -> App:
    """Make the app."""

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncGenerator[dict[str, Any]]:
        async with (
            _somewhere(settings.directory) as directory,
            open_store(directory, settings.quota) as store,
        ):
            yield {"uploads": store}

    site = App(lifespan=lifespan)
    site.mount("/static", StaticFiles(STATIC, cache_control="no-cache"))
    _read(site)
    _write(site, settings)
    return site


def _read(site: App) -> None:
    """What only looks."""

    @site.get("/")
    async def echo(request: Request) -> Echo:
        """The request's own method, URI, version and headers."""
        query = request.scope["query_string"].decode("latin-1")
        uri = request.raw_path.decode("latin-1") + ("?" + query if query else "")
        headers = {name: "[hidden]" if name in SECRET else value for name, value in request.headers.items()}
        return Echo(request.method, uri, f"HTTP/{request.scope['http_version']}", headers)

    @site.get("/page")
    async def page() -> File:
        """The page for people."""
        return File(STATIC / "page.html", headers=PAGE_HEADERS)

    @site.get("/uploads")
    async def newest(uploads: Uploads, limit: Limit = 100) -> list[Arriving | Complete]:
        """What is on its way, then what is complete, newest first."""
        return await uploads.newest(limit)

    @site.get("/uploads/{upload_id}", responses={404: "There is no upload of this id."})
    async def show(upload_id: UploadId, uploads: Uploads) -> Arriving | Complete:
        """One upload: how many bytes have come so far, or its size and digest."""
        found = await uploads.find(upload_id)
        if found is None:
            raise HTTPError(404)
        return found

    @site.get("/uploads/{upload_id}/content", responses=MISSING)
    async def content(upload_id: UploadId, uploads: Uploads) -> File:
        """The file, in whole or in part."""
        about = await uploads.about(upload_id)
        if about is None:
            raise HTTPError(404)
        headers = {
            # The content's own: a download that was broken off resumes on whichever server has the same.
            "etag": f'"{about.sha256}"',
            "repr-digest": field_of(bytes.fromhex(about.sha256)),
            # Whatever somebody has uploaded, it is not a page of ours.
            "content-security-policy": "sandbox",
        }
        return File(
            uploads.data(upload_id), filename=about.name, media_type=about.media_type, download=True, headers=headers
        )


def _write(site: App, settings: Settings) -> None:
    """What takes in, and removes."""
    # Who reaches the port may upload; the page of another site must not, through any of its visitors' browsers.
    guarded = [Depends(CrossOriginProtection()), Depends(refusals)]

    @site.put(
        "/uploads/{upload_id}",
        max_body=settings.max_size,
        timeout=settings.timeout,
        body_timeout=settings.stall,
        dependencies=guarded,
        responses=REFUSED | TAKEN,
    )
    async def put(request: Request, upload_id: UploadId, uploads: Uploads, name: Name | None = None) -> Created:
        """Take in a file under an id of the client's choice, so that it can ask for the progress meanwhile."""
        own = str(upload_id)
        return await receive(request, uploads, own, name or own, settings.max_size)

    @site.post(
        "/uploads",
        max_body=settings.max_size,
        timeout=settings.timeout,
        body_timeout=settings.stall,
        dependencies=guarded,
        responses=REFUSED | {422: "A parameter or the form is not right."},
    )
    async def post(
        request: Request, uploads: Uploads, name: Name | None = None
    ) -> Created | tuple[Literal[201], list[Complete]] | Redirect:
        """Take in a file, or the files of a browser's form, each under an id of its own."""
        if _media_type(request) == "multipart/form-data":
            return await receive_form(request, uploads)
        upload_id = uuid.uuid4().hex
        return await receive(request, uploads, upload_id, name or upload_id, settings.max_size)

    @site.delete("/uploads/{upload_id}", dependencies=guarded, responses=MISSING)
    async def delete(upload_id: UploadId, uploads: Uploads) -> None:
        """Remove a complete upload."""
        if not await uploads.remove(upload_id):
            raise HTTPError(404)


async def receive(request: Request, uploads: Store, upload_id: str, name: str, max_size: int) -> Created:
    """The body is the file."""
    expected = _checked(request)
    length = request.headers.get("content-length")
    # One that is too large needs no room: it is refused with 413 when it is read.
    size = min(int(length), max_size) if length else None
    async with uploads.receive(upload_id, name, size, expected) as arrival:
        async for piece in request.stream():
            await arrival.write(piece)
        kept = await arrival.keep(_media_type(request))
    headers = {
        "location": request.url_for("show", upload_id=UploadId(kept.id)),
        "repr-digest": field_of(bytes.fromhex(kept.sha256)),
    }
    return 201, kept, headers


async def receive_form(request: Request, uploads: Store) -> tuple[Literal[201], list[Complete]] | Redirect:
    """Each file of the form is one. What can be refused is refused before the first of them is kept."""
    form = await request.form(max_files=FILES_OF_FORM, max_parts=2 * FILES_OF_FORM, max_text=4096)
    files = [value for _, value in form.multi_items() if not isinstance(value, str) and value.filename]
    if not files:
        raise HTTPError(422, "The form has no file.")
    async with AsyncExitStack() as stack:
        arrivals = [
            (file, await stack.enter_async_context(uploads.receive(uuid.uuid4().hex, file.filename, file.size, {})))
            for file in files
        ]
        for file, arrival in arrivals:
            async for piece in file:
                await arrival.write(piece)
        kept = [await arrival.keep(_plain(file.content_type)) for file, arrival in arrivals]
    if "text/html" in request.headers.get("accept", ""):  # a browser whose page has no script
        return Redirect(request.url_for("page"))
    return 201, kept


def _checked(request: Request) -> dict[str, bytes]:
    """What the client announces of the digests; what the head is enough to refuse is refused."""
    headers = request.headers
    if "content-range" in headers:  # RFC 9110 section 14.5: else a part would pass for the whole
        raise HTTPError(400, "A file is uploaded as a whole.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPError(415, "A file is uploaded as it is, without a Content-Encoding.")
    try:
        return announced([headers.get("repr-digest"), headers.get("content-digest")])
    except ValueError as error:
        raise HTTPError(400, f"Repr-Digest or Content-Digest: {error}.") from None


def _media_type(request: Request) -> str | None:
    return _plain(request.headers.get("content-type", ""))


def _plain(content_type: str) -> str | None:
    """A media type without its parameters; `None` for what is none.

    Nor is the one that curl gives to whatever it sends with `--data-binary`.
    """
    plain = content_type.partition(";")[0].strip().lower()
    if re.fullmatch(r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}", plain, re.ASCII) is None:
        return None
    return None if plain == "application/x-www-form-urlencoded" else plain


@asynccontextmanager
async def _somewhere(configured: Path | None) -> AsyncGenerator[Path]:
    """Where the uploads are: as configured, or in a directory that goes when the server does."""
    if configured is not None:
        yield configured
        return
    made = await trio.to_thread.run_sync(partial(tempfile.mkdtemp, prefix="trivet-upload-"))
    try:
        yield Path(made)
    finally:
        with trio.move_on_after(PATIENCE, shield=True):
            await trio.to_thread.run_sync(shutil.rmtree, made, True)


app = create_app(Settings.read(os.environ))
