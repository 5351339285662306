"""The tour: a page from which each sample app can be called, and all of them mounted below it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Final, Literal

from apps import beside_quart, chat, fanout, hello, jobs, sleepers, upload
from apps.counter import service
from apps.counter.main import create_app
from apps.fanout.itself import on_this_server
from apps.gateway import main as gateway_main
from apps.notes import main as notes_main
from apps.notes.settings import Settings as NotesSettings
from trivet import HTML, App, Request, Response
from trivet.contrib import observe

from . import backends, trouble
from .shown import shown

STATIC: Final = Path(__file__).parent / "static"

CLOSED_PORT: Final = "http://127.0.0.1:1/visits"
"""Nobody listens on port 1 (tcpmux, RFC 1078, long out of use), so a connection is refused at once."""

HEADERS: Final = {
    # The page runs its own script and nothing else, whatever text an app sends back to it.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}

app = App()


def on_the_tour(path: str, *, mounted_at: str) -> Callable[[Request], str]:
    """Where `path` of the tour is, as an app that is mounted at `mounted_at` reaches it over HTTP."""

    def url(request: Request) -> str:
        root: str = request.scope["root_path"]
        return on_this_server(request, root.removesuffix(mounted_at) + path)

    return url


# One site, four settings. The first is the app as it is shipped, and its counter runs beside it, on this server; the
# others have a counter that is slow, fails, or is down.
COUNTERS: Final = {
    "/counter": os.environ.get("COUNTER_URL") or on_the_tour("/counter_service/visits", mounted_at="/counter"),
    "/counter_slow": on_the_tour("/trouble/slow", mounted_at="/counter_slow"),
    "/counter_failing": on_the_tour("/trouble/failing", mounted_at="/counter_failing"),
    "/counter_down": CLOSED_PORT,
}
for prefix, counter_url in COUNTERS.items():
    app.mount(prefix, create_app(counter_url))

app.mount("/counter_service", service.app)
app.mount("/trouble", trouble.app)
app.mount("/hello", hello.app)
app.mount("/sleepers", sleepers.app)
app.mount("/upload", upload.app)
app.mount("/jobs", jobs.app)
app.mount("/chat", chat.app)
app.mount("/fanout", fanout.app)
# The backends first: they are there before those who watch them begin, and until those have ended.
app.mount("/gateway_backends", backends.app)
app.mount("/gateway", gateway_main.create_app(backends.SETTINGS, backends.names))
app.mount("/beside_quart", beside_quart.app)
# Gone when the tour ends: nobody who looks around wants a database in the directory where they stand.
app.mount("/notes", notes_main.create_app(NotesSettings("sqlite:")))

# For everybody to see, as the tour is for whoever sits at this machine; where it is not, a dependency comes before it.
app.mount("/observe", observe.router())

PAGE: Final = Template((STATIC / "index.html").read_text("utf-8")).substitute(shown())
FILES: Final = {
    "tour.css": Response((STATIC / "tour.css").read_text("utf-8"), media_type="text/css", headers=HEADERS),
    "tour.svg": Response((STATIC / "tour.svg").read_text("utf-8"), media_type="image/svg+xml", headers=HEADERS),
    "tour.js": Response((STATIC / "tour.js").read_text("utf-8"), media_type="text/javascript", headers=HEADERS),
}


@app.get("/")
async def index() -> HTML:
    """The page."""
    return HTML(PAGE, headers=HEADERS)


@app.get("/static/{name}")
async def static(name: Literal["tour.css", "tour.js", "tour.svg"]) -> Response:
    """What the page needs; another name does not match, and is 404."""
    return FILES[name]
