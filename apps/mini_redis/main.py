"""The HTTP face: keys and channels for who has no Redis client, and a page that shows them.

The TCP server is a service of the application: it is listening before the first request, is drained with the last one,
and shares its engine with the handlers. They need no lock either, for they run in the same thread as all commands.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import trio
from msgspec import Meta

from trivet import App, Body, Depends, Event, EventSink, EventStream, File, HTTPError, Query, Router
from trivet.contrib.csrf import CrossOriginProtection
from trivet.contrib.static import StaticFiles

from .alone import open_server
from .feed import Feed, Overview, Said, overview
from .journal import NotKept
from .server import Server
from .settings import Settings, Unusable

log = logging.getLogger("apps.mini_redis")

STATIC: Final = Path(__file__).parent / "static"
PAGE_HEADERS: Final = {
    # The page runs its own script and talks to its own server.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cache-control": "no-cache",
}
FULL: Final = "Nothing can be changed now: the log cannot be written."
LOOK: Final = 0.25
"""Seconds between two looks at what has changed. A look costs nothing beside telling the page of each of 100,000
changes a second would."""


async def settings() -> Settings:
    """Those of the environment, which are for one process.

    Raises:
        Unusable: they are not, or this is one of several workers of `trivet run`.
    """
    if os.environ.get("TRIVET_WORKER_INDEX", "0") != "0":
        raise Unusable(
            "mini_redis is one process: a second worker could not listen where the first does, and would not have its\n"
            "keys. Serve it with one:  trivet run apps.mini_redis:app --workers 1"
        )
    return Settings.read(os.environ)


Given: TypeAlias = Annotated[Settings, Depends(settings, scope="app")]


@asynccontextmanager
async def open_redis(given: Given) -> AsyncGenerator[Server]:
    """The server, which listens once its service runs."""
    async with open_server(given) as server:
        yield server


Redis: TypeAlias = Annotated[Server, Depends(open_redis, scope="app")]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=1024)]
Value: TypeAlias = Annotated[bytes, Body()]

api = Router()


@api.get("/keys")
async def keys(redis: Redis) -> Overview:
    """The keys of database 0, a hundred at most, and the channels."""
    return overview(redis.engine, redis.port)


@api.get("/keys/{key}", responses={404: "There is no such key."})
async def read(key: Name, redis: Redis) -> bytes:
    """A value. What it is made of, nobody knows: bytes."""
    value = redis.engine.stores[0].get(key.encode())
    if value is None:
        raise HTTPError(404, "There is no such key.")
    await _settled(redis)
    return value


@api.put("/keys/{key}", status=204, responses={503: FULL})
async def write(
    key: Name, value: Value, redis: Redis, ttl: Annotated[float | None, Query(), Meta(gt=0, le=10**9)] = None
) -> None:
    """Set a value, for `ttl` seconds or for ever."""
    _see_that_it_keeps(redis)
    store = redis.engine.stores[0]
    store.put(key.encode(), value, None if ttl is None else store.clock() + round(ttl * 1000))
    await _settled(redis)


@api.delete("/keys/{key}", status=204, responses={404: "There is no such key.", 503: FULL})
async def delete(key: Name, redis: Redis) -> None:
    """Delete a key."""
    _see_that_it_keeps(redis)
    if not redis.engine.stores[0].remove(key.encode()):
        raise HTTPError(404, "There is no such key.")
    await _settled(redis)


def _see_that_it_keeps(redis: Server) -> None:
    if redis.engine.refusing is not None:
        raise HTTPError(503, FULL)


async def _settled(redis: Server) -> None:
    try:
        await redis.settled()
    except NotKept:
        raise HTTPError(503, FULL) from None


@api.post("/channels/{channel}")
async def publish(channel: Name, message: Value, redis: Redis) -> dict[str, int]:
    """Say something; answers how many heard it."""
    redis.engine.counted.published += 1
    return {"heard": redis.engine.hub.publish(channel.encode(), message)}


@api.get("/channels/{channel}/events")
async def subscribe(channel: Name, redis: Redis, given: Given) -> EventStream:
    """What is said there, from now on."""

    async def feed(sink: EventSink) -> None:
        with Feed(redis.engine, channel.encode(), given.outbox) as said:
            await sink.send(Event(Said(channel, ""), event="subscribed"))
            async for message in said:
                await sink.send(Event(message, event="message"))

    return EventStream(feed)


@api.get("/events")
async def watch(redis: Redis) -> EventStream:
    """Keys and channels, whenever they have changed."""

    async def feed(sink: EventSink) -> None:
        shown: Overview | None = None
        while True:
            now = overview(redis.engine, redis.port)
            if now != shown:
                await sink.send(Event(now))
                shown = now
            await trio.sleep(LOOK)

    return EventStream(feed)


@api.get("/", include_in_schema=False)
async def page() -> File:
    """The page for people."""
    return File(STATIC / "page.html", headers=PAGE_HEADERS)


def create_app(given: Settings | None = None) -> App:
    """Make the application.

    Args:
        given: its settings; those of the environment by default, read when it starts.
    """
    if log.level == logging.NOTSET:  # nobody has configured it
        # `trivet run` writes what others say from WARNING on, and where RESP is spoken is worth a line, too.
        log.setLevel(logging.INFO)
    # No page of another site is to have its visitor's browser change keys, or speak on a channel.
    app = App(dependencies=[Depends(CrossOriginProtection())])
    app.mount("", api)
    app.mount("/static", StaticFiles(STATIC, cache_control="no-cache"))

    # A log that cannot be written cannot be written a second later either, and what it has promised is broken: so the
    # application ends with this service, and whoever has started it finds out. It comes before the other one, and so it
    # ends after it, and after the last request over HTTP.
    @app.service(restart="never")
    async def keep(redis: Redis) -> None:
        """Write the log."""
        await redis.keep()

    @app.service(restart="never", drain_timeout=30)
    async def tcp(redis: Redis, task_status: trio.TaskStatus[int]) -> None:
        """Speak RESP."""
        await redis.serve(app.draining, task_status=task_status)

    if given is not None:

        async def these() -> Settings:
            return given

        app.override(settings, these)
    return app


app = create_app()
