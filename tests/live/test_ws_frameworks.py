"""Starlette, FastAPI, Litestar and quart-trio on our WebSocket protocol; and clients other than the tests' own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import fastapi
import litestar
import litestar.exceptions
import pytest
import quart
import quart_trio
import starlette.applications
import starlette.routing
import starlette.websockets
import trio
import trustme
import websockets.exceptions
import websockets.sync.client

from tests.live._http1 import site
from tests.live._ws import BINARY, TEXT, Frame, close, echo, frame, opened, text
from trivet.server._limits import Limits

pytestmark = [pytest.mark.live, pytest.mark.slow]


def make_starlette(ends: list[Any]) -> Any:
    async def socket(ws: starlette.websockets.WebSocket) -> None:
        await ws.accept(subprotocol="two")
        try:
            while True:
                message = await ws.receive()
                if message["type"] == "websocket.disconnect":
                    raise starlette.websockets.WebSocketDisconnect(message["code"], message.get("reason"))
                await ws.send({**message, "type": "websocket.send"})
        except starlette.websockets.WebSocketDisconnect as end:
            ends.append(end.code)

    async def refuse(ws: starlette.websockets.WebSocket) -> None:
        await ws.close()

    async def leave(ws: starlette.websockets.WebSocket) -> None:
        await ws.accept()
        await ws.close(4000, "enough")

    routes = [("/socket", socket), ("/refuse", refuse), ("/leave", leave)]
    return starlette.applications.Starlette(
        routes=[starlette.routing.WebSocketRoute(path, endpoint) for path, endpoint in routes]
    )


def make_fastapi(ends: list[Any]) -> Any:
    app = fastapi.FastAPI()

    @app.websocket("/socket")
    async def socket(ws: fastapi.WebSocket) -> None:
        await ws.accept(subprotocol="two")
        try:
            assert await ws.receive_text() == "é"
            await ws.send_text("é")
            await ws.send_bytes(await ws.receive_bytes())
            await ws.receive_text()
        except fastapi.WebSocketDisconnect as end:
            ends.append(end.code)

    @app.websocket("/refuse")
    async def refuse(ws: fastapi.WebSocket) -> None:
        raise fastapi.WebSocketException(1008)

    @app.websocket("/leave")
    async def leave(ws: fastapi.WebSocket) -> None:
        await ws.accept()
        raise fastapi.WebSocketException(4000, "enough")

    return app


def make_litestar(ends: list[Any]) -> Any:
    @litestar.websocket("/socket")
    async def socket(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept(subprotocols="two")
        try:
            await socket.send_text(await socket.receive_text())
            await socket.send_bytes(await socket.receive_bytes())
            await socket.receive_text()
        except litestar.exceptions.WebSocketDisconnect as end:
            ends.append(end.code)

    @litestar.websocket("/refuse")
    async def refuse(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.close()

    @litestar.websocket("/leave")
    async def leave(socket: litestar.WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.close(4000, "enough")

    return litestar.Litestar([socket, refuse, leave], openapi_config=None)


def make_quart(ends: list[Any]) -> Any:
    app = quart_trio.QuartTrio("shop")

    @app.websocket("/socket")
    async def socket() -> None:
        await quart.websocket.accept(subprotocol="two")
        try:
            while True:
                await quart.websocket.send(await quart.websocket.receive())
        finally:
            ends.append(1000)  # it knows no code

    @app.websocket("/refuse")
    async def refuse() -> Any:
        return "no", 403

    @app.websocket("/leave")
    async def leave() -> None:
        await quart.websocket.accept()
        await quart.websocket.close(4000, "enough")

    return app


FRAMEWORKS: dict[str, Callable[[list[Any]], Any]] = {
    "starlette": make_starlette,
    "fastapi": make_fastapi,
    "litestar": make_litestar,
    "quart-trio": make_quart,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_frameworks(name: str) -> None:
    """A subprotocol, messages both ways, the client's end and its code, a refusal, and an end of the framework's."""
    ends: list[Any] = []
    app = FRAMEWORKS[name](ends)

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    async with site(handler, lifespan=handler) as served:
        async with opened(served, b"Sec-WebSocket-Protocol: one, two", path=b"/socket") as ws:
            assert (ws.status, ws.field(b"sec-websocket-protocol")) == (101, b"two")
            for opcode, payload in ((TEXT, "é".encode()), (BINARY, b"\0" * 100_000)):
                await ws.send(frame(opcode, payload))
                assert await ws.next() == Frame(opcode, payload)
            await ws.send(close(1000))
            assert await ws.closed() == (1000, "")
        with trio.fail_after(5):
            while not ends:  # noqa: ASYNC110
                await trio.sleep(0.005)
        assert ends == [1000]
        async with opened(served, path=b"/refuse") as ws:
            assert ws.status == 403
            await ws.rest()
        async with opened(served, path=b"/leave") as ws:
            await ws.send(text("anybody?"))
            assert await ws.closed() == (4000, "enough")


# Clients -------------------------------------------------------------------------------------------------------------

MESSAGES: list[str | bytes] = ["", "hé\N{PILE OF POO}", b"", b"x" * 126, "long " * 20_000, bytes(200_000)]


def by_websockets(url: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    with websockets.sync.client.connect(url, ssl=context, subprotocols=["two"], max_size=None) as ws:  # type: ignore[list-item]
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv() == message
        ws.send(["in ", "fragments"])
        assert ws.recv() == "in fragments"
        assert ws.ping().wait(5)
        ws.close(4001, "bye")
        assert ws.protocol.close_sent is not None
        return ws.protocol.close_sent.code, ws.protocol.close_sent.reason


def by_aiohttp(url: str, _: ssl.SSLContext | None) -> tuple[int, str]:
    async def main() -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, compress=15, max_msg_size=0) as ws,
        ):
            for message in MESSAGES:
                if isinstance(message, str):
                    await ws.send_str(message)
                    assert await ws.receive_str() == message
                else:
                    await ws.send_bytes(message)
                    assert await ws.receive_bytes() == message
            await ws.close(code=4001, message=b"bye")
            return ws.close_code or 0, "bye"

    return asyncio.run(main())


# aiohttp leaves the end of TLS to the garbage collector.
@pytest.mark.parametrize(("client", "way"), [(by_websockets, "clear"), (by_websockets, "tls"), (by_aiohttp, "clear")])
@pytest.mark.parametrize("compressed", [False, True])
async def test_clients(
    client: Callable[[str, ssl.SSLContext | None], tuple[int, str]],
    compressed: bool,
    way: str,
    tmp_path: Path,
) -> None:
    """`websockets` and aiohttp: messages of all sizes, with and without compression, in the clear and over TLS."""
    context: ssl.SSLContext | None = None
    files: dict[str, Any] = {}
    if way == "tls":
        authority = trustme.CA()
        cert = authority.issue_cert("localhost")
        cert.private_key_pem.write_to_path(tmp_path / "key.pem")
        cert.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        files = {"certfile": str(tmp_path / "cert.pem"), "keyfile": str(tmp_path / "key.pem")}
    async with site(echo, limits=Limits(websocket_deflate=0 if compressed else None), tls=context, **files) as served:
        url = f"{'ws' if context is None else 'wss'}://localhost:{served.served.port}/"
        with trio.fail_after(10):
            assert await trio.to_thread.run_sync(partial(client, url, context)) == (4001, "bye")


async def test_a_library_is_told_why() -> None:
    """A refusal is an error with its status; a message that is too big one with its code."""

    def ask(port: int) -> tuple[int, Any]:
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            websockets.sync.client.connect(f"ws://127.0.0.1:{port}/refuse")
        with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/") as ws:
            ws.send(b"x" * 1001)
            with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
                ws.recv(timeout=5)
        return refused.value.response.status_code, closed.value.rcvd

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/refuse":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await echo(scope, receive, send)

    async with site(app, limits=Limits(websocket_message=1000)) as served:
        status, said = await trio.to_thread.run_sync(ask, served.served.port)
    assert status == 403
    assert (said.code, said.reason) == (1009, "the message is too big")
