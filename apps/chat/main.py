"""A chat: rooms over WebSockets, the same rooms as server-sent events, and a page. This file owns the routes."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from trivet import App, Depends, Event, EventSink, EventStream, File, HTTPError, Request, WebSocket
from trivet.contrib.broadcast import Message, SlowSubscriber, Subscription
from trivet.contrib.static import StaticFiles

from .limits import Limits, Name, Room
from .rooms import RoomFull, Rooms, open_rooms
from .visit import Visit

STATIC: Final = Path(__file__).parent / "static"
PAGE_HEADERS: Final = {
    # The page runs its own script and talks to its own server, whatever text people send each other.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cache-control": "no-cache",
}

LATER: Final = 1013
"""Try again later; RFC 6455's registry has it, as HTTP's 503."""

LastId: TypeAlias = Annotated[str, Meta(max_length=100)]


class RoomInfo(msgspec.Struct, frozen=True):
    """A room that has people in it."""

    name: str
    people: int


async def rooms_of(request: Request) -> Rooms:
    """The rooms, which the lifespan has opened."""
    rooms: Rooms = request.state["rooms"]
    return rooms


AllRooms: TypeAlias = Annotated[Rooms, Depends(rooms_of)]


def create_app(limits: Limits, redis_url: str | None = None) -> App:
    """Make the app. With a Redis, it shares its rooms with all that have the same one."""

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncGenerator[dict[str, Any]]:
        async with open_rooms(limits, redis_url) as rooms:
            yield {"rooms": rooms}

    site = App(lifespan=lifespan)
    site.mount("/static", StaticFiles(STATIC, cache_control="no-cache"))

    @site.get("/", include_in_schema=False)
    async def page() -> File:
        """The page for people."""
        return File(STATIC / "page.html", headers=PAGE_HEADERS)

    @site.get("/rooms")
    async def list_rooms(rooms: AllRooms) -> list[RoomInfo]:
        """The rooms that have people in them."""
        return [RoomInfo(name, people) for name, people in sorted((await rooms.people()).items())]

    @site.websocket("/rooms/{room}")
    async def visit(ws: WebSocket, room: Room, name: Name, rooms: AllRooms, after: LastId | None = None) -> None:
        """Be in a room."""
        try:
            with rooms.seat(room):
                await Visit(ws, rooms, room, str(name)).run(after)
        except RoomFull as full:
            # A page's script sees no status of a refusal, but it does see why it was closed.
            await ws.accept()
            await ws.close(LATER, str(full))
        except SlowSubscriber:
            await ws.close(LATER, "too slow: come back, and have the rest")

    @site.get("/rooms/{room}/events")
    async def listen(room: Room, rooms: AllRooms) -> EventStream:
        """What is said in a room; who comes back with `Last-Event-ID` has missed nothing."""

        async def feed(sink: EventSink) -> None:
            try:
                async with rooms.listen(room, sink.last_event_id) as news:
                    if news.gap:
                        await tell_gap(sink, news)
                    async for line in news:
                        if news.gap:
                            await tell_gap(sink, news)
                        await sink.send(Event(line.data, id=line.id))
            except (SlowSubscriber, HTTPError):
                pass  # the stream ends, and the browser comes back for the rest; after a 503 it would not

        return EventStream(feed)

    @site.websocket("/echo", origins=None)  # nobody's data comes by here, so any page may
    async def echo(ws: WebSocket) -> None:
        """Each message back as it came, texts and binary ones."""
        async for message in ws:
            await ws.send(message)

    return site


async def tell_gap(sink: EventSink, news: Subscription[Message]) -> None:
    """Tell it once."""
    news.gap = False
    await sink.send(Event("something may be missing here", event="gap"))


app = create_app(Limits(), os.environ.get("CHAT_REDIS_URL"))
