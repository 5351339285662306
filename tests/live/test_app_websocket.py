"""WebSockets of an application over sockets: the same in memory, under stock hypercorn and under our own server.

What stock hypercorn cannot do is named where it shows: the list is in `docs/reference/websockets.md`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
import trio

from tests.harness import Serve
from trivet import App, Depends, Header, HTTPError, Request, WebSocket, WebSocketClosed
from trivet.testing import WebSocketRefused

pytestmark = pytest.mark.live


class Site:
    """An application with a WebSocket of each kind, and what its handlers have noted down."""

    def __init__(self, grace: float = 0.2) -> None:
        self.app = App(timeout=5, cleanup_grace=grace)
        self.log: list[Any] = []
        self.over = trio.Event()
        self.app.websocket("/echo/{name}")(self.echo)
        self.app.websocket("/chosen")(self.chosen)
        self.app.websocket("/ends/{how}")(self.ends)
        self.app.websocket("/sends")(self.sends)
        self.app.websocket("/floods")(self.floods)
        self.app.websocket("/waits")(self.waits)
        self.app.websocket("/late", timeout=0.1)(self.late)
        self.app.websocket("/idle", idle_timeout=0.1)(self.idle)
        self.app.websocket("/drains")(self.drains)
        self.app.catch(LookupError)(self.missing)

    async def missing(self, request: Request, error: LookupError) -> tuple[int, str]:
        return 404, "a page"

    @asynccontextmanager
    async def resource(self) -> AsyncIterator[str]:
        yield "resource"
        await trio.lowlevel.checkpoint()
        self.log.append("left")

    async def echo(self, ws: WebSocket, name: str, token: Annotated[str, Header()]) -> None:
        async for message in ws:
            await ws.send(f"{name} {token}: {message}" if isinstance(message, str) else message)
        await trio.lowlevel.checkpoint()
        self.log.append((ws.close_code, ws.close_reason))
        self.over.set()

    async def chosen(self, ws: WebSocket) -> None:
        await ws.accept(ws.subprotocols[-1], {"x-a": "b"})
        await ws.send_json([ws.subprotocol, ws.headers["host"], ws.url.partition(":")[0]])

    async def ends(self, ws: WebSocket, how: str, accept: bool = True) -> None:
        if accept:
            await ws.accept()
        if how == "closes":
            await ws.close(4001, "enough")
        elif how == "refuses":
            raise HTTPError(401, "who are you?", headers={"www-authenticate": "Basic"})
        elif how == "misleads":
            await ws.accept(headers={"sec-websocket-protocol": "a"})
        elif how == "fails":
            raise ValueError("a secret")
        elif how == "caught":
            raise LookupError
        elif how == "text":
            await ws.receive_text()
        elif how == "json":
            await ws.receive_json(list[int])

    async def sends(self, ws: WebSocket) -> None:
        try:
            while True:
                await ws.send("tick")
                await trio.sleep(0.01)
        except WebSocketClosed as error:
            self.log.append(error.code)
            self.over.set()

    async def floods(self, ws: WebSocket) -> None:
        try:
            while True:
                await ws.send("tick")
        except WebSocketClosed as error:
            self.log.append(error.code)
            self.over.set()

    async def waits(self, ws: WebSocket, used: Annotated[str, Depends(lambda: "x")]) -> None:
        await ws.accept()
        try:
            await trio.sleep_forever()
        finally:
            self.log.append(ws.ended)
            self.over.set()

    async def late(self, ws: WebSocket) -> None:
        await trio.sleep_forever()

    async def idle(self, ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async def drains(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.draining.wait()


async def test_who_does_not_receive_knows_how_it_was_closed(serve: Serve) -> None:
    """Though what came before the close is unread."""
    app, log, over = App(cleanup_grace=0.1), list[Any](), trio.Event()

    @app.websocket("/")
    async def sleeps(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await trio.sleep_forever()
        finally:
            log.append((ws.close_code, ws.close_reason, ws.ended))
            over.set()

    async with serve(app) as client, client.websocket("/") as ws:
        await ws.send("unread")
        await ws.close(4002, "bye")
        with trio.fail_after(5):
            await over.wait()
    # Stock hypercorn loses both.
    assert log in ([(4002, "bye", "disconnected")], [(1006, "", "disconnected")])


async def test_messages_come_and_go(serve: Serve) -> None:
    """Texts and binary messages, small and large, in order; bound to the path and the headers of the handshake."""
    site = Site()
    async with serve(site.app) as client:
        async with client.websocket("/echo/a%20b", headers={"token": "t"}) as ws:
            for message in ("x", "é" * 40_000, ""):
                await ws.send(message)
                assert await ws.receive() == f"a b t: {message}"
            for octets in (b"\x00\xff", b"y" * 100_000, b""):
                await ws.send(octets)
                assert await ws.receive() == octets
            await ws.close(4002, "bye")
            assert (await ws.wait_closed())[0] == 4002  # a server may repeat the reason, or not
        with trio.fail_after(5):
            await site.over.wait()
    # Stock hypercorn loses both.
    assert site.log in ([(4002, "bye")], [(1006, "")])


async def test_what_is_agreed_in_the_handshake(serve: Serve) -> None:
    """The subprotocol and headers of our own."""
    async with serve(Site().app) as client, client.websocket("/chosen", subprotocols=["a", "b"]) as ws:
        assert (ws.subprotocol, ws.headers["x-a"]) == ("b", "b")
        chosen, host, scheme = await ws.receive_json()
        assert (chosen, scheme) == ("b", "ws")
        assert host.startswith(("127.0.0.1:", "testserver"))
        assert await ws.wait_closed() == (1000, "")


@pytest.mark.parametrize(
    ("how", "message", "closed"),
    [
        ("returns", None, (1000, "")),
        ("closes", None, (4001, "enough")),
        ("refuses", None, (1008, "who are you?")),
        ("fails", None, (1011, "")),
        ("caught", None, (1008, "")),
        ("text", b"x", (1003, "this takes texts, not binary messages")),
        ("json", "[1, null]", (1007, "/1: expected `int`, got `null`")),
    ],
)
async def test_how_a_handler_ends_is_how_it_closes(
    how: str, message: Any, closed: tuple[int, str], serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """With the code for it, and with the reason."""
    caplog.set_level(logging.CRITICAL, "trivet")
    async with serve(Site().app) as client, client.websocket(f"/ends/{how}") as ws:
        if message is not None:
            await ws.send(message)
        assert await ws.wait_closed() == closed


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/ends/refuses?accept=0", 422),
        ("/ends/returns?accept=false", 403),
        ("/ends/closes?accept=false", 403),
        ("/ends/refuses?accept=false", 401),
        ("/ends/misleads?accept=false", 500),
        ("/ends/fails?accept=false", 500),
        ("/ends/caught?accept=false", 404),
        ("/late", 503),
    ],
)
async def test_a_refusal_is_a_response(path: str, status: int, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """With its status, headers and body, as for any request."""
    caplog.set_level(logging.CRITICAL, "trivet")
    async with serve(Site().app) as client:
        with pytest.raises(WebSocketRefused) as caught:
            async with client.websocket(path):
                raise AssertionError("it was accepted")
        response = caught.value.response
        assert response.status_code == status
        assert "a secret" not in response.text
        if status == 401:
            assert response.headers["www-authenticate"] == "Basic"
            assert response.json()["detail"] == "who are you?"


async def test_a_page_of_another_origin_is_refused(serve: Serve) -> None:
    """By the host that the client asks for; there is none to compare with in memory but the test's own."""
    async with serve(Site().app) as client:
        host = str(client.base_url).rstrip("/")
        async with client.websocket("/ends/returns", headers={"origin": host}) as ws:
            assert await ws.wait_closed() == (1000, "")
        with pytest.raises(WebSocketRefused) as caught:
            async with client.websocket("/ends/returns", headers={"origin": "http://evil.example"}):
                raise AssertionError("it was accepted")
        assert caught.value.status == 403


@pytest.mark.parametrize("path", ["/sends", "/floods"])
async def test_a_handler_that_only_sends_is_told_that_its_client_vanished(serve: Serve, path: str) -> None:
    """Without a word, as by a tab that crashes; also one that waits for nothing else, which would stop all others."""
    site = Site(grace=60)
    async with serve(site.app) as client, client.websocket(path) as ws:
        assert await ws.receive() == "tick"
        ws.leave()
        with trio.fail_after(9):
            await site.over.wait()
    assert site.log == [1006]


async def test_a_handler_that_does_neither_is_cancelled_after_the_grace(serve: Serve) -> None:
    """Nobody reads, so the server says it, or a watcher that reads ahead."""
    site = Site()
    async with serve(site.app) as client, client.websocket("/waits") as ws:
        ws.leave()
        with trio.fail_after(5):
            await site.over.wait()
    assert site.log == ["disconnected"]


async def test_silence_is_closed(serve: Serve) -> None:
    """When neither side says anything for `idle_timeout`."""
    async with serve(Site().app) as client, client.websocket("/idle") as ws:
        await ws.send("x")
        assert await ws.receive() == "x"
        assert await ws.wait_closed() == (1001, "idle timeout")
