"""The site: registers each visit with a counter service, and never keeps a visitor waiting for it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from trivet import App, Request

PATIENCE = 2.0
"""Seconds that a visitor waits for the counter, whatever it does."""

COUNTER_URL = "http://127.0.0.1:8001/visits"
"""Where `apps.counter.service` is run beside the site, unless the environment's COUNTER_URL says otherwise."""


def create_app(
    counter_url: str | Callable[[Request], str], *, transport: httpx.AsyncBaseTransport | None = None
) -> App:
    """Make a site.

    Args:
        counter_url: where visits are POSTed to; or a function that tells it for a request.
        transport: what carries httpx's requests, for tests; `None`: the network.
    """

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncGenerator[dict[str, Any]]:
        # One client for the application's life: it keeps connections open between requests. Its own timeouts are off,
        # because each is for one step (connect, then each read): a counter that drips a byte a second passes them all.
        async with httpx.AsyncClient(transport=transport, timeout=None, trust_env=False) as client:
            yield {"client": client}

    site = App(timeout=10, lifespan=lifespan)

    @site.get("/")
    async def index(request: Request) -> str:
        """Welcome a visitor, once the visit is registered."""
        client: httpx.AsyncClient = request.state["client"]
        url = counter_url if isinstance(counter_url, str) else counter_url(request)
        try:
            # One deadline over all of it: name look-up, connection, TLS, sending, and the answer to its last byte.
            with trio.fail_after(PATIENCE):
                response = await client.post(url)
            response.raise_for_status()
        except (trio.TooSlowError, httpx.HTTPError):
            # 200 all the same: the visitor asked for the page, and has it; the counter is our trouble.
            return "Error registering your visit"
        return "Welcome to my site!"

    return site


app = create_app(os.environ.get("COUNTER_URL", COUNTER_URL))
