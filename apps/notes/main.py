"""The application: the API and the page, with the settings that it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from trivet import HTML, App, Response

from . import api
from .settings import Settings, settings

STATIC: Final = Path(__file__).parent / "static"

HEADERS: Final = {
    # The page runs its own script and nothing else, whatever is written into a note.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def create_app(given: Settings | None = None) -> App:
    """Make a notes service.

    Args:
        given: its settings; those of the environment by default, read when it starts.
    """
    app = App(timeout=10, max_body=512 * 1024)
    app.mount("", api.router)

    page = HTML((STATIC / "index.html").read_text("utf-8"), headers=HEADERS)
    kinds = {"notes.css": "text/css", "notes.js": "text/javascript", "notes.svg": "image/svg+xml"}
    files = {
        name: Response((STATIC / name).read_text("utf-8"), media_type=kind, headers=HEADERS)
        for name, kind in kinds.items()
    }

    @app.get("/", include_in_schema=False)
    async def index() -> HTML:
        """The page to use it with."""
        return page

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: Literal["notes.css", "notes.js", "notes.svg"]) -> Response:
        """What the page needs."""
        return files[name]

    if given is not None:

        async def these() -> Settings:
            return given

        app.override(settings, these)
    return app


app = create_app()
