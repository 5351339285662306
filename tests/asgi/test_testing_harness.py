"""The suite's own harness: one test body under each server, raw sockets, and servers as processes."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from tests.harness import Serve, connect, run_server, serving
from trivet.asgi import Receive, Scope, Send

START = {"type": "http.response.start", "status": 200, "headers": []}


class App:
    """Notes what its handlers see."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.changed = trio.lowlevel.ParkingLot()

    def note(self, text: str) -> None:
        self.log.append(text)
        self.changed.unpark_all()

    async def wait_for(self, text: str) -> None:
        with trio.fail_after(5):
            while text not in self.log:
                await self.changed.park()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                self.note(phase)
                await send({"type": f"lifespan.{phase}.complete"})
            return
        match scope["path"]:
            case "/echo":
                await send(START)
                more = True
                while more:
                    message = await receive()
                    more = message["more_body"]
                    await send({"type": "http.response.body", "body": message["body"], "more_body": more})
            case "/wait":
                await receive()
                self.note("waiting")
                self.note((await receive())["type"])
                await send(START)
                await send({"type": "http.response.body", "body": b"late"})
            case "/flood":
                await send(START)
                for _ in range(1000):
                    await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            case "/fail":
                await send(START)
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
                raise KeyError("mine")


async def test_same_body_on_every_server(serve: Serve) -> None:
    """Requests, uploads by hand and lifespan look alike in memory and on a socket."""
    app = App()
    async with serve(app) as client:
        assert (await client.post("/echo", content=b"hello")).content == b"hello"
        async with client.open("POST", "/echo", upload=True) as exchange:
            assert (await exchange.head())[0] == 200
            await exchange.send_body(b"one")
            assert await exchange.receive() == b"one"
            await exchange.send_body(b"two")
            await exchange.end_body()
            assert await exchange.read() == b"two"
            assert exchange.complete
    assert app.log == ["startup", "shutdown"]


@pytest.mark.parametrize("how", ["leave", "half_close"])
async def test_leaving_on_every_server(serve: Serve, how: str) -> None:
    """A client that leaves, or closes its half, is reported; the latter still gets its answer."""
    app = App()
    async with serve(app) as client, client.open("GET", "/wait") as exchange:
        await app.wait_for("waiting")
        getattr(exchange, how)()
        await app.wait_for("http.disconnect")
        if how == "half_close":
            assert await exchange.read() == b"late"


async def test_truncation_on_every_server(serve: Serve) -> None:
    """A failure in the middle is a truncated body everywhere."""
    async with serve(App()) as client:
        async with client.open("GET", "/fail") as exchange:
            assert await exchange.read() == b"half"
            assert exchange.truncated
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/fail")


async def test_error_of_the_test_comes_out_plain(serve: Serve) -> None:
    """The test's own error is not wrapped in a group of the server's nursery."""

    async def test() -> None:
        async with serve(App()) as client:
            await client.post("/echo", content=b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await test()


@pytest.mark.live
async def test_raw_connections() -> None:
    """Bytes in, bytes out; half-close, reset, and a reader that stops."""
    app = App()
    async with serving("hypercorn", app, read_timeout=30) as client:
        async with connect(client.address) as peer:
            await peer.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            await app.wait_for("waiting")
            assert await peer.read_until_idle(0.05) == b""
            peer.half_close()
            assert (await peer.read_until_eof()).startswith(b"HTTP/1.1 200")
        app.log.clear()
        async with connect(client.address) as peer:
            await peer.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            await app.wait_for("waiting")
            peer.reset()
            await app.wait_for("http.disconnect")
        async with connect(client.address, small_buffer=True) as peer:
            await peer.send(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await peer.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        wrong = serving("hypercorn", app, drain_time=3)
        with pytest.raises(TypeError, match="no option of hypercorn"):
            await wrong.__aenter__()


MODULE = """
import trio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); await send({"type": "lifespan.startup.complete"})
        await receive(); print("bye", flush=True); await send({"type": "lifespan.shutdown.complete"})
        return
    print("called", scope["path"], flush=True)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})
"""


@pytest.mark.live
@pytest.mark.slow
async def test_server_process(tmp_path: Path) -> None:
    """A process is started, listens, answers, writes, takes a signal and ends with a code."""
    (tmp_path / "served_module.py").write_text(MODULE)
    async with run_server("hypercorn", "served_module:app", directory=tmp_path) as server:
        async with server.client() as client:
            assert (await client.get("/here")).status_code == 204
        await server.wait_output("called /here")
        assert await server.stop(signal.SIGINT) == 0
        assert "bye" in server.output


@pytest.mark.live
@pytest.mark.slow
async def test_server_process_that_fails(tmp_path: Path) -> None:
    """A process that does not start is an error that shows what it said; one that is meant to fail is not."""
    (tmp_path / "broken_module.py").write_text("raise KeyError('broken at import')")
    with pytest.raises(AssertionError, match="does not listen") as caught:
        await run_server("hypercorn", "broken_module:app", directory=tmp_path).__aenter__()
    assert "broken at import" in caught.value.__notes__[0]
    async with run_server("hypercorn", "broken_module:app", directory=tmp_path, listens=False) as server:
        await server.wait()
        await server.wait_output("broken at import")
