"""`App(trusted=...)`: what requests and WebSockets say of their client, behind proxies."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Serve
from trivet import App, HTTPError, Request, WebSocket
from trivet.testing import TestClient

FIELDS = {"x-forwarded-for": "6.6.6.6, 198.51.100.7", "x-forwarded-proto": "https", "x-forwarded-host": "example.com"}


def telling(**options: Any) -> App:
    app = App(**options)

    @app.get("/")
    async def tell(request: Request) -> dict[str, Any]:
        return {"client": request.client and request.client.host, "url": request.url}

    @app.get("/instant")
    async def instant(request: Request) -> str:
        return request.url

    @app.websocket("/")
    async def talk(ws: WebSocket) -> None:
        await ws.send(f"{ws.client and ws.client.host} {ws.url}")

    return app


@pytest.mark.parametrize("path", ["/", "/instant"])
async def test_a_trusted_proxy_says_who_the_client_is(serve: Serve, path: str) -> None:
    """And what it asked for; over a socket, too."""
    async with serve(telling(trusted=["127.0.0.1"])) as client:
        response = await client.get(f"{path}?a=1", headers=FIELDS)
        url = f"https://example.com{path}?a=1"
        found = response.json() if path == "/" else response.text
        assert found == ({"client": "198.51.100.7", "url": url} if path == "/" else url)
        standard = {"forwarded": "for=6.6.6.6, for=198.51.100.7;proto=https;host=example.com"}
        assert (await client.get(f"{path}?a=1", headers=standard)).content == response.content


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"], ["unix"]])
async def test_others_are_not_believed(serve: Serve, trusted: list[str]) -> None:
    """By default nobody is."""
    async with serve(telling(trusted=trusted)) as client:
        response = await client.get("/", headers=FIELDS | {"host": "here"})
        assert response.json() == {"client": "127.0.0.1", "url": "http://here/"}


async def test_whoever_connects_to_a_unix_socket_may_be_trusted() -> None:
    """It has no address of its own."""
    seen: list[Any] = []
    for trusted in (["unix"], ["127.0.0.1"]):
        app = telling(trusted=trusted)

        async def without_client(scope: Any, receive: Any, send: Any, app: App = app) -> None:
            await app(scope if scope["type"] == "lifespan" else {**scope, "client": None}, receive, send)

        async with TestClient(without_client) as client:
            seen.append((await client.get("/", headers=FIELDS)).json()["client"])
    assert seen == ["198.51.100.7", None]


async def test_a_catcher_sees_the_same() -> None:
    """It is the request that knows, whether or not a route has matched."""
    app = telling(trusted=["127.0.0.1"])

    @app.catch(404)
    async def missing(request: Request, error: HTTPError) -> str:
        return request.url

    async with TestClient(app) as client:
        assert (await client.get("/nowhere", headers=FIELDS)).text == "https://example.com/nowhere"


async def test_websockets_too() -> None:
    """With `wss` for `https`; and a page of the host that the proxy serves may open one."""
    headers = FIELDS | {"origin": "https://example.com"}
    async with TestClient(telling(trusted=["127.0.0.1"])) as client, client.websocket("/", headers=headers) as ws:
        assert await ws.receive() == "198.51.100.7 wss://example.com/"
