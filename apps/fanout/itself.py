"""Gotham's example of asynchronous handlers: a string of `z`, made by calling itself over HTTP for each half of it.

This file owns that tree of calls, and what keeps it from exhausting the server: in Gotham `/parallel?length=100` opens
connections to itself until there are none left.

Nobody here waits for a place while it holds one. That is how such a tree comes to a standstill: all places are taken
by calls which wait for calls that find none. So there are two bounds, and neither has a queue:

    forks     a call asks for both halves at once if there is a fork left, else for one after the other
    limit     a request too many is turned away (503), and so is the visitor whose tree it belongs to

A tree is at most eight calls high (127 halved until it is 1), so `visitors` trees with `forks` forks between them have
at most `8 * (visitors + forks)` calls under way, and that is what the limit leaves room for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

import httpx
import trio
from msgspec import Meta

from trivet import Depends, HTTPError, Limit, Request, Router

Length = Annotated[int, Meta(ge=0, le=127)]
"""Gotham's is an `i8`, and may be negative: then it calls itself for ever."""
Pause = Annotated[float, Meta(ge=0, le=1)]
"""Seconds that each `z` takes, so that there is something to see, and to leave."""

HEIGHT: Final = 8
FORKS: Final = 8
VISITORS: Final = 8
MOST: Final = HEIGHT * (VISITORS + FORKS)


@dataclass
class Tally:
    """The requests under way, and how many there were at most."""

    running: int = 0
    most: int = 0


class Itself:
    """The routes, and what they share.

    Args:
        client: gives the client of a request's application.
        own_url: the address of a path of this application, for a request to it.
    """

    def __init__(self, client: Callable[[Request], httpx.AsyncClient], own_url: Callable[[Request, str], str]) -> None:
        self.tally = Tally()
        # No queue: who waits in it may be what those with a place wait for.
        self.routes = Router(limit=Limit(MOST), dependencies=[Depends(self.counted)])
        self._client = client
        self._own_url = own_url
        self._forks = trio.CapacityLimiter(FORKS)
        self.routes.get("/series")(self.series)
        self.routes.get("/loop")(self.loop)
        self.routes.get("/parallel")(self.parallel)

    @asynccontextmanager
    async def counted(self) -> AsyncGenerator[None]:
        """Count a request while it is under way. `async`, to run in the request's own task: nothing else does then."""
        self.tally.running += 1
        self.tally.most = max(self.tally.most, self.tally.running)
        try:
            yield
        finally:
            self.tally.running -= 1

    async def series(self, request: Request, length: Length, pause: Pause = 0.0) -> str:
        """The first half, then the second."""
        if length < 2:
            return await leaf(length, pause)
        first = await self._half(request, self.series, length // 2, pause)
        return first + await self._half(request, self.series, length - length // 2, pause)

    async def loop(self, request: Request, length: Length, pause: Pause = 0.0) -> str:
        """The same, as a loop."""
        if length < 2:
            return await leaf(length, pause)
        found = ""
        for half in (length // 2, length - length // 2):
            found += await self._half(request, self.loop, half, pause)
        return found

    async def parallel(self, request: Request, length: Length, pause: Pause = 0.0) -> str:
        """Both halves at once, as long as there is a fork for it; if one fails, the other is cancelled."""
        if length < 2:
            return await leaf(length, pause)
        try:
            self._forks.acquire_on_behalf_of_nowait(request)
        except trio.WouldBlock:
            first = await self._half(request, self.parallel, length // 2, pause)
            return first + await self._half(request, self.parallel, length - length // 2, pause)
        halves = ["", ""]

        async def ask(index: int, half: int) -> None:
            halves[index] = await self._half(request, self.parallel, half, pause)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, 0, length // 2)
                nursery.start_soon(ask, 1, length - length // 2)
        finally:
            self._forks.release_on_behalf_of(request)
        return halves[0] + halves[1]

    async def _half(self, request: Request, handler: Callable[..., Awaitable[str]], length: int, pause: float) -> str:
        url = self._own_url(request, request.url_for(handler))
        response = await self._client(request).get(url, params={"length": length, "pause": pause})
        if response.status_code == 503:
            raise HTTPError(503, "Too many calls are under way.", headers={"retry-after": "1"})
        return response.raise_for_status().text


async def leaf(length: int, pause: float) -> str:
    """None or one."""
    if pause:
        await trio.sleep(pause)
    return "z" * length


def on_this_server(request: Request, path: str) -> str:
    """The address of a path on this server, by the socket that the request came in by.

    Not by its Host header: a client writes that, and could have the server call whomever it likes.
    """
    server: Any = request.scope["server"]
    if server is None or server[1] is None:
        raise HTTPError(501, "This server cannot call itself: it listens on a Unix socket.")
    host, port = server
    if ":" in host:  # an IPv6 address (RFC 3986 section 3.2.2)
        host = f"[{host}]"
    return f"{request.scope['scheme']}://{host}:{port}{path}"
