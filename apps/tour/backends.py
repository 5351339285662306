"""Three servers for the gateway of the tour: each on a port of its own, which is known when they run.

This file owns where they are. The gateway knows them by their names, and reaches them over sockets, so that what it
does about one that is slow, ill, or left by its client is what it does elsewhere, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Literal, TypeAlias

import httpx

from apps.fanout.beside import beside
from apps.gateway import upstream
from apps.gateway.settings import Settings
from trivet import App, HTTPError

Name: TypeAlias = Literal["one", "two", "three"]
NAMES: Final[tuple[Name, ...]] = ("one", "two", "three")

SETTINGS: Final = Settings(backends=tuple(f"http://{name}" for name in NAMES), health="/health")
"""Of the gateway before them."""


class Names(httpx.AsyncBaseTransport):
    """The network, and where those of these names are in it."""

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}
        self._network = httpx.AsyncBaseTransport()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Serve each of them for as long as the block runs."""
        async with httpx.AsyncHTTPTransport() as self._network, AsyncExitStack() as stack:
            for name in NAMES:
                url = await stack.enter_async_context(beside(upstream.create_app(name), f"backend {name}"))
                self._ports[name] = httpx.URL(url).port or 80
            yield

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to whoever has the name of its host."""
        request.url = request.url.copy_with(host="127.0.0.1", port=self._ports[request.url.host])
        return await self._network.handle_async_request(request)


names: Final = Names()


@asynccontextmanager
async def lifespan(app: App) -> AsyncGenerator[None]:
    """While it runs, they do."""
    async with names.serving():
        yield


app = App(timeout=5, lifespan=lifespan)
"""Past the gateway: how each of them is, and how it is to be."""


async def _ask(method: str, name: str, path: str) -> httpx.Response:
    response = await names.handle_async_request(httpx.Request(method, f"http://{name}{path}"))
    await response.aread()
    if response.is_error:
        raise HTTPError(502, f"{name} said {response.status_code}.")
    return response


@app.get("/")
async def states() -> dict[str, upstream.State]:
    """What became of the requests that each of them had."""
    return {name: upstream.State(**(await _ask("GET", name, "/state")).json()) for name in NAMES}


@app.put("/{name}/{how}")
async def fall(name: Name, how: Literal["ill", "well"]) -> None:
    """Let one fall ill, or be well again."""
    await _ask("PUT", name, f"/health/{how}")
