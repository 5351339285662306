"""A page that is made of five services in trouble, four ways; and Gotham's application that calls itself."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from trivet import App, File, Request
from trivet.contrib.client import Client
from trivet.contrib.static import StaticFiles

from . import upstreams
from .beside import beside
from .itself import Itself, Tally, on_this_server
from .timeline import Span, Timeline
from .upstreams import PARTS
from .ways import Name, SecondTries, parallel, sequential

STATIC: Final = Path(__file__).parent / "static"
PAGE_HEADERS: Final = {
    # The page runs its own script and talks to its own server.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cache-control": "no-cache",
}


class Part(msgspec.Struct):
    """One part of the page: its text, or why there is none."""

    name: str
    text: str | None
    why: str | None


class Report(msgspec.Struct):
    """A page, and how it was made; times are seconds."""

    way: Name
    took: float
    parts: list[Part]
    calls: list[Span]


def create_app(
    upstreams_url: str | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    own_url: Callable[[Request, str], str] = on_this_server,
) -> App:
    """Make the application.

    Args:
        upstreams_url: where the services are; `None`: it runs them itself, on a port of their own.
        transport: what carries httpx's requests, for tests; `None`: the network.
        own_url: the address under which it reaches a path of its own.
    """

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncGenerator[dict[str, Any]]:
        # How many calls there are at a time is bounded where they are made. A pool that is full would be one more place
        # to wait in, and in a tree of calls that is a standstill. No margin: what is late is cut off by whoever asked.
        # No retries: what a service in trouble is worth is what the ways decide.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        services = (
            beside(upstreams.app, "upstreams") if upstreams_url is None else nullcontext(upstreams_url.rstrip("/"))
        )
        async with (
            services as base,
            Client(transport=transport, limits=limits, margin=0, retry=None) as client,
        ):
            yield {"client": client, "upstreams": base}

    app = App(timeout=10, lifespan=lifespan, title="Fan-out")
    second_tries = SecondTries(PARTS)
    ways = {
        "sequential": sequential,
        "parallel": parallel,
        "hedged": second_tries.hedged,
        "partial": second_tries.partial,
    }

    @app.get("/pages/{way}")
    async def show(way: Name, request: Request) -> Report:
        """The page, made in one of four ways."""
        timeline = Timeline()
        client, base = request.state["client"], request.state["upstreams"]

        async def fetch(part: str) -> str:
            with timeline.call(part) as previous:
                response = await client.get(f"{base}/{part}", headers={"previous-attempts": str(previous)})
                return str(response.raise_for_status().text)

        page = await ways[way](fetch, PARTS)
        for error in page.failed.values():
            if not isinstance(error, httpx.HTTPError):
                raise error  # a bug of ours, and no service in trouble
        why = dict.fromkeys(page.missing, "not there in time") | {part: _reason(e) for part, e in page.failed.items()}
        parts = [Part(name, page.results.get(name), why.get(name)) for name in PARTS]
        return Report(
            way, timeline.now(), parts, sorted(timeline.spans, key=lambda span: (PARTS.index(span.part), span.attempt))
        )

    itself = Itself(lambda request: request.state["client"], own_url)
    app.mount("", itself.routes)

    @app.get("/tally")
    async def show_tally() -> Tally:
        """How many of the requests that call this application again are under way, and were at most."""
        return itself.tally

    @app.get("/", include_in_schema=False)
    async def page() -> File:
        """The page for people."""
        return File(STATIC / "page.html", headers=PAGE_HEADERS)

    app.mount("/static", StaticFiles(STATIC, cache_control="no-cache"))
    return app


def _reason(error: Exception) -> str:
    return f"status {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else "no answer"


app = create_app(os.environ.get("FANOUT_UPSTREAMS") or None)
