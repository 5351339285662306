"""The same application in memory, under stock hypercorn and under our own server: the same answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import trio

from tests.harness import Serve, serving
from tests.harness.serving import Server
from trivet import App, Depends, HTTPError, Redirect, Request, Response, Router, Sink, Stream, Text


@dataclass
class Item:
    name: str
    price: int


def application() -> App:
    """A handler for each kind of input, result and error."""
    app, api = App(timeout=5, max_body=10_000), Router()

    @asynccontextmanager
    async def session() -> AsyncIterator[str]:
        yield "session"

    async def user(s: Annotated[str, Depends(session)], token: str = "") -> str:
        if token != "right":
            raise HTTPError(401, "who are you?")
        return f"user of {s}"

    @app.get("/")
    async def text() -> str:
        return "héllo"

    @app.get("/bytes")
    async def octets() -> bytes:
        return b"\x00\xff"

    @app.get("/none")
    async def none() -> None: ...

    @app.get("/json/{number}")
    async def json(number: int, q: list[str] | None = None) -> dict[str, Any]:
        return {"number": number, "q": q}

    @app.get("/created")
    async def created() -> Any:
        return 201, {"id": 1}, {"x-a": "1"}

    @app.get("/cookie")
    async def cookie() -> Response:
        response = Text("x")
        response.set_cookie("a", "1")
        response.headers.add("x-b", "1")
        response.headers.add("x-b", "2")
        return response

    @app.get("/redirect")
    async def redirect() -> Response:
        return Redirect("/elsewhere?a=b")

    @app.get("/thread")
    def thread() -> str:
        return "from a thread"

    @app.get("/private")
    async def private(who: Annotated[str, Depends(user)]) -> str:
        return who

    @app.get("/stream")
    async def stream(s: Annotated[str, Depends(session)]) -> Stream:
        async def feed(sink: Sink) -> None:
            for part in (s, "-", b"end"):
                await sink.send(part)
                await trio.lowlevel.checkpoint()

        return Stream(feed, media_type="text/plain")

    @app.get("/late", timeout=0.1)
    async def late() -> None:
        await trio.sleep_forever()

    @app.get("/upstream")
    async def upstream() -> None:
        with trio.fail_after(0.01):
            await trio.sleep_forever()

    @app.get("/bug")
    async def bug(nursery: trio.Nursery) -> None:
        raise RuntimeError("a secret")

    @api.post("/items")
    async def items(item: Item) -> Item:
        return item

    @api.route("/optional", methods=["POST", "DELETE"])
    async def optional(item: Item | None = None) -> str:
        return "none" if item is None else item.name

    @api.post("/echo")
    async def echo(request: Request) -> bytes:
        return await request.body()

    app.mount("/api", api)
    return app


PROBLEM = "application/problem+json"
PLAIN = "text/plain; charset=utf-8"

# Method, target, body, then what is expected: status, content type, body (a `bytes` is the whole, a dict is part of the
# JSON) and further headers.
TABLE: list[tuple[str, str, Any, int, str | None, Any, dict[str, str]]] = [
    ("GET", "/", None, 200, PLAIN, "héllo".encode(), {"content-length": "6"}),
    ("HEAD", "/", None, 200, PLAIN, b"", {"content-length": "6"}),
    ("GET", "/bytes", None, 200, "application/octet-stream", b"\x00\xff", {}),
    ("GET", "/none", None, 204, None, b"", {}),
    ("GET", "/json/7?q=a&q=b", None, 200, "application/json", {"number": 7, "q": ["a", "b"]}, {}),
    ("GET", "/json/7", None, 200, "application/json", {"number": 7, "q": None}, {}),
    ("GET", "/json/07", None, 404, PROBLEM, {"status": 404}, {}),
    ("GET", "/json/%37", None, 200, "application/json", {"number": 7}, {}),
    ("GET", "/json/a%2Fb", None, 404, PROBLEM, {"status": 404}, {}),
    ("GET", "/created", None, 201, "application/json", {"id": 1}, {"x-a": "1"}),
    ("GET", "/cookie", None, 200, PLAIN, b"x", {"x-b": "1, 2"}),
    ("GET", "/redirect", None, 303, None, None, {"location": "/elsewhere?a=b"}),
    ("GET", "/bytes/?x=1", None, 307, None, None, {"location": "/bytes?x=1"}),
    ("GET", "/thread", None, 200, PLAIN, b"from a thread", {}),
    ("GET", "/private", None, 401, PROBLEM, {"detail": "who are you?"}, {}),
    ("GET", "/private?token=right", None, 200, PLAIN, b"user of session", {}),
    ("GET", "/stream", None, 200, PLAIN, b"session-end", {}),
    ("HEAD", "/stream", None, 200, PLAIN, b"", {}),
    ("GET", "/late", None, 503, PROBLEM, {"status": 503}, {}),
    ("GET", "/upstream", None, 504, PROBLEM, {"status": 504}, {}),
    ("GET", "/bug", None, 500, PROBLEM, {"title": "Internal Server Error"}, {}),
    ("GET", "/missing", None, 404, PROBLEM, {"status": 404}, {}),
    ("DELETE", "/", None, 405, PROBLEM, {"status": 405}, {"allow": "GET, HEAD, OPTIONS"}),
    ("OPTIONS", "/api/items", None, 204, None, b"", {"allow": "POST, OPTIONS"}),
    ("POST", "/api/items", {"name": "a", "price": 1}, 200, "application/json", {"name": "a", "price": 1}, {}),
    ("POST", "/api/items", {"name": "a", "price": "x"}, 422, PROBLEM, {"status": 422}, {}),
    ("POST", "/api/items", b"{", 415, PROBLEM, {"status": 415}, {}),
    ("POST", "/api/echo", b"", 200, None, b"", {}),
    ("POST", "/api/echo", bytes(range(256)) * 39, 200, "application/octet-stream", bytes(range(256)) * 39, {}),
    ("POST", "/api/echo", b"x" * 10_001, 413, PROBLEM, {"status": 413}, {}),
]


async def test_the_same_answers_everywhere(serve: Serve) -> None:
    """Status, headers and body of each request in the table, whatever the server."""
    different: list[str] = []
    async with serve(application()) as client:
        for method, target, body, status, media_type, content, headers in TABLE:
            sent: dict[str, Any] = {"json": body} if isinstance(body, dict) else {"content": body}
            response = await client.request(method, target, **sent)
            seen = [response.status_code, response.headers.get("content-type")]
            wanted = [status, seen[1] if content is None else media_type]
            if isinstance(content, bytes):
                seen, wanted = [*seen, response.content], [*wanted, content]
            elif content is not None:
                got = response.json()
                seen, wanted = [*seen, {name: got.get(name) for name in content}], [*wanted, content]
            seen.append({name: response.headers.get(name) for name in headers})
            wanted.append(headers)
            if b"a secret" in response.content:
                seen.append("leaks the error")
            if seen != wanted:
                different.append(f"{method} {target}: {seen} instead of {wanted}")
    assert different == []


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("server", ["hypercorn", "trivet"])
async def test_a_body_that_the_head_does_not_tell_of(server: Server, version: int) -> None:
    """Chunked, or over HTTP/2, only reading tells whether there is one: a default stands for one that is empty."""

    async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async with serving(server, application(), client={"http1": version == 1, "http2": version == 2}) as client:
        for method in ("POST", "DELETE"):
            for parts, expected in (((), "none"), ((b'{"name": "a"', b', "price": 1}'), "a")):
                response = await client.request(
                    method, "/api/optional", content=chunks(*parts), headers={"content-type": "application/json"}
                )
                assert (response.http_version, response.text) == (f"HTTP/{version}" + ".1" * (version == 1), expected)
