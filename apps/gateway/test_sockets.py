"""The gateway over sockets, before real backends that are slow, fall ill, flap, and are killed."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import httpx
import trio

from apps.conftest import Run
from apps.gateway import upstream
from apps.gateway.main import create_app
from apps.gateway.settings import Settings
from tests.harness import Serve, run_server, serving
from tests.harness.serving import Client

MIB = 1024 * 1024


async def until(ask: Callable[[], Awaitable[Any]], expected: Any) -> None:
    """Wait until something is so, at another server."""
    with trio.fail_after(20):
        while (await ask()) != expected:  # noqa: ASYNC110 - nothing here knows when
            await trio.sleep(0.02)


async def until_healthy(client: Client, *expected: bool) -> None:
    """Wait until the gateway sees its backends so."""

    async def seen() -> list[bool]:
        return [each["healthy"] for each in (await client.get("/-/backends")).json()]

    await until(seen, list(expected))


async def who(client: Client) -> set[str]:
    """Who answers."""
    return {(await client.get("/who")).text for _ in range(4)}


async def test_backends_that_fall_ill_and_are_killed(run: Run) -> None:
    """Clients see neither who is ill nor who flaps nor who dies, but for the one whose answer had begun."""
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(
                run_server("trivet", "apps.gateway.upstream:app", environment={"UPSTREAM_NAME": name})
            )
            for name in ("one", "two")
        ]
        urls = " ".join(f"http://127.0.0.1:{each.address[1]}" for each in backends)
        environment = {"GATEWAY_BACKENDS": urls, "GATEWAY_HEALTH": "/health", "GATEWAY_INTERVAL": "0.05"}
        gateway = await stack.enter_async_context(run("apps.gateway:app", environment=environment))
        client = await stack.enter_async_context(gateway.client())
        around = await stack.enter_async_context(backends[0].client())
        await until_healthy(client, True, True)
        assert await who(client) == {"one", "two"}

        # Ill: at once it is nobody's answer, and soon nobody's turn.
        await around.put("/health/ill")
        assert await who(client) == {"two"}
        await until_healthy(client, False, True)
        await around.put("/health/well")
        await until_healthy(client, True, True)
        assert await who(client) == {"one", "two"}

        # Killed, with an answer on its way: that is cut, so that its client sees it; the others go elsewhere.
        async with client.open("GET", "/loop?seconds=60") as exchange:
            assert await exchange.receive() == b"a tenth\n"
            busy = [each["in_flight"] for each in (await client.get("/-/backends")).json()].index(1)
            backends[busy].send_signal(signal.SIGKILL)
            await exchange.read()
            assert exchange.truncated
        assert await who(client) == {("one", "two")[1 - busy]}
        await until_healthy(client, busy == 1, busy == 0)

        # And when the last one goes as well there is nobody.
        backends[1 - busy].send_signal(signal.SIGKILL)
        await until_healthy(client, False, False)
        answer = await client.get("/who")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@asynccontextmanager
async def behind(serve: Serve, **settings: Any) -> AsyncGenerator[tuple[Client, Client]]:
    """A gateway and its one backend, all in this process; gives a client of each."""
    async with serving("trivet", upstream.create_app("one")) as backend:
        urls = (str(backend.base_url).rstrip("/"),)
        async with serve(create_app(Settings(backends=urls, health="/health", **settings))) as client:
            yield client, backend


async def test_who_leaves_and_who_is_out_of_time_is_not_worked_for(serve: Serve) -> None:
    """The backend's handler is cancelled, before its answer and in the middle of it."""
    async with behind(serve, timeout=0.3) as (client, backend):

        async def waiting() -> int:
            return int((await backend.get("/state")).json()["waiting"])

        async def stopped() -> list[str]:
            return list((await backend.get("/state")).json()["stopped"])

        reasons: list[str] = []
        async with client.open("GET", "/loop?seconds=60") as exchange:
            await until(waiting, 1)
            exchange.leave()
        reasons.append("disconnected")
        await until(stopped, reasons)
        # The backend has been told how long, so that either of the two may be the first to see that the time is over.
        assert (await client.post("/slow?seconds=60")).status_code in (503, 504)
        await until(waiting, 0)
        assert (await stopped())[1:] in (["deadline"], ["disconnected"])


@asynccontextmanager
async def bare(talk: Callable[[trio.SocketStream, bytes], Awaitable[object]]) -> AsyncGenerator[str]:
    """A backend that is well, and does with all other requests what `talk` does, which is given their first line."""

    async def serve_one(stream: trio.SocketStream) -> None:
        async with stream:
            buffer = b""
            try:
                while True:
                    while b"\r\n\r\n" not in buffer:
                        if not (part := await stream.receive_some()):
                            return
                        buffer += part
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    line = head.partition(b"\r\n")[0]
                    if line.startswith(b"GET /health "):
                        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                    elif await talk(stream, line):
                        return
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        listener, *_ = await nursery.start(partial(trio.serve_tcp, serve_one, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_what_a_backend_breaks_off_takes_it_from_nobody_else(serve: Serve) -> None:
    """Its connections are cut by what one client asks for, and all others are served."""

    async def cuts_some(stream: trio.SocketStream, line: bytes) -> bool:
        if not (poison := b"/poison" in line):
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return poison

    async with bare(cuts_some) as one, bare(cuts_some) as two:
        gateway = create_app(Settings(backends=(one, two), health="/health", interval=1000))
        async with serve(gateway) as client:
            for _ in range(4):
                assert (await client.get("/poison")).status_code == 502
                assert (await client.get("/")).status_code == 200
            await until_healthy(client, True, True)


async def test_a_backend_may_take_its_time_for_the_head_and_not_in_the_body(serve: Serve) -> None:
    """Who asks decides how long an answer may be awaited; one that has begun has to go on."""

    async def late_and_short(stream: trio.SocketStream, line: bytes) -> None:
        await trio.sleep(0.3)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npart")

    async with bare(late_and_short) as url:
        gateway = create_app(Settings(backends=(url,), health="/health", stall=0.15))
        async with serve(gateway) as client, client.open("GET", "/") as exchange:
            assert (await exchange.head())[0] == 200
            with trio.fail_after(10):
                await exchange.read()
            assert exchange.truncated


async def test_who_is_slow_to_upload_is_told_so(serve: Serve) -> None:
    """408, whichever of the two servers is the first to see that the time is over."""
    async with behind(serve, timeout=0.3) as (front, _), front.open("POST", "/digest", upload=True) as exchange:
        await exchange.send_body(b"part")
        assert (await exchange.head())[0] == 408


async def test_large_bodies_go_both_ways(serve: Serve) -> None:
    """More than any buffer on the way holds, in both framings; what comes out is what went in."""
    body = os.urandom(4 * MIB)

    async def parts() -> AsyncGenerator[bytes]:
        for start in range(0, len(body), MIB):
            yield body[start : start + MIB]

    async with behind(serve) as (front, _), httpx.AsyncClient(base_url=front.base_url, timeout=30) as client:
        for content in (body, parts()):
            response = await client.post("/digest", content=content)
            assert response.text == hashlib.sha256(body).hexdigest()
        response = await client.get("/zeros?mebibytes=4")
        assert response.content == bytes(4 * MIB)


async def test_of_two_framings_one_goes_on(serve: Serve) -> None:
    """A length beside `Transfer-Encoding` is refused or left out: a backend would wait for another message."""
    async with behind(serve) as (front, _):
        head = b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await _said(front, head + b"5\r\nhello\r\n0\r\n\r\n")
        assert answer.split()[1] == b"400" or answer.endswith(hashlib.sha256(b"hello").hexdigest().encode())


async def test_who_names_no_host_is_served(serve: Serve) -> None:
    """HTTP/1.0 need not; the backend, which is asked in HTTP/1.1, is told its own."""
    async with behind(serve) as (front, _):
        answer = await _said(front, b"GET /who HTTP/1.0\r\n\r\n")
        assert answer.split()[1] == b"200"
        assert answer.endswith(b"one")


async def _said(client: Client, request: bytes) -> bytes:
    stream = await trio.open_tcp_stream(client.base_url.host, client.base_url.port or 0)
    answer = b""
    async with stream:
        await stream.send_all(request)
        with trio.fail_after(5):
            while b"\r\n\r\n" not in answer or not answer.partition(b"\r\n\r\n")[2]:
                answer += await stream.receive_some()
    return answer
