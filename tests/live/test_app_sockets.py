"""An application over real sockets, under stock hypercorn and under our own server: clients that leave, that stop
reading, that upload what nobody wants, and what HTTP/1 allows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from tests.harness import connect, serving
from tests.harness.serving import SocketServer
from tests.harness.sockets import SocketClient
from tests.live import _scoped_app as scoped
from tests.live._tasks import living
from trivet import App, Depends, Request, RequestCancelled, Sink, Stream

pytestmark = [pytest.mark.live, pytest.mark.slow]

both_servers = pytest.mark.parametrize("server", ["hypercorn", "trivet"])


async def until(check: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something to become true."""
    with trio.fail_after(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is in the server's hands
            await trio.sleep(0.02)


def tasks() -> int:
    return living()


class Seen:
    """An application whose handler waits, and what it and its dependency saw."""

    def __init__(self, **options: Any) -> None:
        self.app = App(timeout=60, **options)
        self.started = self.cancelled = self.finished = 0
        self.reasons: list[str] = []
        self.release = trio.Event()

        @asynccontextmanager
        async def resource() -> AsyncIterator[None]:
            try:
                yield
            except RequestCancelled as error:
                await trio.sleep(0.01)
                self.reasons.append(error.reason)
                raise

        @self.app.route("/", methods=["GET", "POST"])
        async def handler(used: Annotated[None, Depends(resource)]) -> str:
            self.started += 1
            try:
                await self.release.wait()
            except trio.Cancelled:
                self.cancelled += 1
                raise
            self.finished += 1
            return "ok"


@both_servers
async def test_a_thousand_clients_leave_and_every_handler_sees_it(server: SocketServer) -> None:
    """Each handler was cancelled, each dependency cleaned up and knew why, and no task is left behind."""
    seen, count = Seen(), 1000
    async with serving(server, seen.app, backlog=1000) as client:
        await client.get("/missing")
        await trio.testing.wait_all_tasks_blocked(0.1)
        before = tasks()
        async with AsyncExitStack() as stack:
            peers = []
            for _ in range(count):
                peer = await stack.enter_async_context(connect(client.address))
                await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                peers.append(peer)
            await until(lambda: seen.started == count)
            assert seen.cancelled == 0
            for peer in peers:
                peer.leave()
            await until(lambda: len(seen.reasons) == count)
        assert (seen.cancelled, seen.finished, set(seen.reasons)) == (count, 0, {"disconnected"})
        await until(lambda: tasks() <= before)


@pytest.mark.parametrize(("method", "finishes"), [("GET", False), ("POST", True)])
@both_servers
async def test_a_half_close_is_leaving(server: SocketServer, method: str, finishes: bool) -> None:
    """A safe request stops; another finishes, and its dependency leaves in peace."""
    seen = Seen()
    async with serving(server, seen.app) as client, client.open(method, "/") as exchange:
        await until(lambda: seen.started == 1)
        exchange.half_close()
        if finishes:
            await trio.sleep(0.3)
            assert seen.cancelled == 0
            seen.release.set()
            await until(lambda: seen.finished == 1)
        else:
            await until(lambda: seen.reasons == ["disconnected"])
        await exchange.peer.read_until_eof()


async def test_a_client_that_stops_reading_is_dropped() -> None:
    """After `send_timeout`; its stream and its dependency are told that it has left. (Stock hypercorn cannot.)"""
    app, log = App(send_timeout=0.5), list[str]()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            log.append(repr(error))
            raise

    @app.get("/stream")
    async def stream(used: Annotated[None, Depends(resource)]) -> Stream:
        async def feed(sink: Sink) -> None:
            try:
                while True:
                    await sink.send(b"x" * 65536)
            finally:
                log.append("stopped")

        return Stream(feed)

    @app.get("/whole")
    async def whole() -> bytes:
        return b"x" * 64 * 2**20

    async with serving("trivet", app) as client:
        await trio.testing.wait_all_tasks_blocked(0.1)
        before = tasks()
        for path in ("/stream", "/whole"):
            async with client.open("GET", path, small_buffer=True) as exchange:
                assert (await exchange.head())[0] == 200
                exchange.stop_reading()
                await until(lambda: tasks() <= before)
        assert log[0] == "stopped"
        # Which it is depends on whether the write or the cancellation comes first.
        assert log[1].startswith(("ClientDisconnected", "RequestCancelled"))


@both_servers
async def test_keep_alive_stays_and_its_idle_timeout_stays_intact(server: SocketServer) -> None:
    """Slow answers, watched ones, and streams: the connection takes the next request, and is closed when idle."""
    app = App()

    @app.get("/slow")
    async def slow() -> str:
        await trio.sleep(0.25)  # by then it is watched
        return "slow"

    @app.get("/stream")
    async def stream() -> Stream:
        async def feed(sink: Sink) -> None:
            await trio.sleep(0.25)
            await sink.send("stream")

        return Stream(feed)

    async with serving(server, app, keep_alive_timeout=1) as client, connect(client.address) as peer:
        for path, end in (("/slow", b"slow"), ("/stream", b"0\r\n\r\n"), ("/slow", b"slow")):
            await peer.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = await peer.read_until(end)
            assert received.startswith(b"HTTP/1.1 200")
        assert await peer.read_until_eof(10) == b""


@both_servers
async def test_pipelined_requests_are_answered_in_order(server: SocketServer) -> None:
    """Also behind one that fails or times out, each by its own answer."""
    app = App(timeout=0.3)

    @app.get("/{seconds}")
    async def handler(seconds: float) -> str:
        await trio.sleep(seconds)
        return f"<{seconds}>"

    async with serving(server, app) as client, connect(client.address) as peer:
        last = b"GET /0.02 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        await peer.send(b"".join(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % s for s in (b"0.01", b"9.0", b"x")) + last)
        received = await peer.read_until_eof(10)
    places = [received.index(part) for part in (b"<0.01>", b"HTTP/1.1 503", b"HTTP/1.1 404", b"<0.02>")]
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 ") == 4


@both_servers
async def test_http_1_0(server: SocketServer) -> None:
    """A whole answer has its length, a stream ends with the connection, a stream that fails does not end well."""
    app = App()

    @app.get("/whole")
    async def whole() -> str:
        return "whole"

    @app.get("/stream")
    async def stream() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("str")
            await sink.send("eam")

        return Stream(feed)

    async with serving(server, app) as client:
        for path in ("/whole", "/stream"):
            async with connect(client.address) as peer:
                await peer.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                received = await peer.read_until_eof()
                head, _, body = received.partition(b"\r\n\r\n")
                assert (body, b"chunked" in head) == (path[1:].encode(), False)
                assert b" 200 " in head


async def test_a_truncated_stream_is_no_whole_one_in_http_1_0_either(caplog: pytest.LogCaptureFixture) -> None:
    """Where the end of the connection is the end of the body, it has to be a reset. (Stock hypercorn cannot.)"""
    app = App()

    @app.get("/")
    async def stream() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("half")
            await trio.sleep(0.5)
            raise ValueError

        return Stream(feed)

    async with serving("trivet", app) as client, connect(client.address) as peer:
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        await peer.read_until(b"half")
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await peer.stream.receive_some(65536)


@both_servers
async def test_a_truncated_stream_is_cut(server: SocketServer, caplog: pytest.LogCaptureFixture) -> None:
    """Chunked: the last chunk never comes."""
    app = App()

    @app.get("/")
    async def stream() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("half")
            raise ValueError

        return Stream(feed)

    async with serving(server, app) as client, client.open("GET", "/") as exchange:
        await exchange.read()
        assert exchange.truncated


@both_servers
async def test_expect_continue(server: SocketServer) -> None:
    """The body that was announced is read when the client has sent it; ours asks for it only if it is wanted."""
    async with serving(server, scoped.app) as client:
        async with connect(client.address) as peer:
            head = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            await peer.send(head % b"echo")
            assert (await peer.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            await peer.send(b"12345")
            assert (await peer.read_until(b"12345")).startswith(b"HTTP/1.1 200")
        async with connect(client.address) as peer:
            await peer.send(head % b"auth")
            received = await peer.read_until(b"}", 10)
            # Hypercorn asks for the body before the application has seen the head.
            assert received.startswith(b"HTTP/1.1 100" if server == "hypercorn" else b"HTTP/1.1 401")
            assert b"HTTP/1.1 401" in received


@pytest.mark.parametrize(("path", "status"), [("/auth", 401), ("/echo", 413), ("/missing", 404)])
@both_servers
async def test_an_early_answer_to_a_large_upload_arrives_and_leaks_nothing(
    server: SocketServer, path: str, status: int
) -> None:
    """To a client that writes its five megabytes before it reads anything."""
    size = 5 * 2**20
    async with serving(server, scoped.app) as client:
        await client.get("/")
        await trio.testing.wait_all_tasks_blocked(0.1)
        before = tasks()
        for framing in ("length", "chunked"):
            async with connect(client.address) as peer:
                header = f"Content-Length: {size}" if framing == "length" else "Transfer-Encoding: chunked"
                await peer.send(f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
                if framing == "length":
                    await peer.send(b"x" * size)
                else:
                    await peer.send((b"%x\r\n" % 65536 + b"x" * 65536 + b"\r\n") * (size // 65536) + b"0\r\n\r\n")
                received = await peer.read_until(b"}", 10)
                assert int(received.split(b" ")[1]) == status
                assert json.loads(received.partition(b"\r\n\r\n")[2])["status"] == status
        await until(lambda: tasks() <= before)


async def test_on_stock_hypercorn_dependencies_keep_their_grace() -> None:
    """Its `graceful_timeout` cancels from further out; a plain dependency still cleans up, and the 503 arrives."""
    app, log = App(timeout=None), list[Any]()
    started = trio.Event()

    @asynccontextmanager
    async def resource(request: Request) -> AsyncIterator[None]:
        try:
            yield
        except RequestCancelled as error:
            await trio.sleep(0.5)
            log.append((error.reason, request.ended))
            raise

    @app.post("/")
    async def handler(used: Annotated[None, Depends(resource)]) -> None:
        started.set()
        await trio.sleep_forever()

    answers: list[bytes] = []

    async def ask(client: SocketClient, task_status: trio.TaskStatus[None]) -> None:
        async with connect(client.address) as peer:
            await peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            task_status.started()
            answers.append(await peer.read_until_eof(15))

    async with trio.open_nursery() as nursery, serving("hypercorn", app, graceful_timeout=0.3) as client:
        await nursery.start(ask, client)
        await started.wait()
    assert answers[0].startswith(b"HTTP/1.1 503")
    assert len(log) == 1
