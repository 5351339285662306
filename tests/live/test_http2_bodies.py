"""Bodies over HTTP/2, where any method may have one and none has to say so (RFC 9113 section 8.1): those of GET."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
import trio
import trio.testing

from tests.live._inprocess import serving
from trivet import App, Body, Request
from trivet.server._inbox import BodyInbox

pytestmark = pytest.mark.live

app = App()


@app.get("/at-once")
async def at_once() -> str:
    return "at once"


@app.get("/waits")
async def waits() -> str:
    await trio.lowlevel.checkpoint()
    return "waited"


@app.get("/holds")
async def holds() -> None:
    await trio.sleep_forever()


@app.get("/reads")
async def reads(request: Request) -> bytes:
    return await request.body()


@app.get("/parsed")
async def parsed(numbers: Annotated[list[int], Body()]) -> int:
    return sum(numbers)


@app.get("/optional")
async def optional(numbers: Annotated[list[int] | None, Body()] = None) -> str:
    return "nothing" if numbers is None else str(sum(numbers))


@app.get("/small", max_body=100)
async def small(request: Request) -> bytes:
    return await request.body()


class Connection:
    """A client's connection, with one request after the other on it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._h2 = h2.connection.H2Connection(config=h2.config.H2Configuration(header_encoding="latin-1"))
        self._h2.initiate_connection()
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._over: dict[int, str] = {}

    async def begin(self, path: str, *, end: bool = False, **fields: str) -> int:
        """Send the head of a GET; gives the number of the stream."""
        number = self._h2.get_next_available_stream_id()
        pseudo = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "x")]
        headers = [(name.replace("_", "-"), value) for name, value in fields.items()]
        self._h2.send_headers(number, [*pseudo, *headers], end_stream=end)
        await self._flush()
        return number

    async def body(self, number: int, data: bytes, *, end: bool = True) -> None:
        """Send a part of the body as the windows allow; what nobody wants any more is not sent."""
        while data and number not in self._over:
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(data))
            if room:
                self._h2.send_data(number, data[:room])
                data = data[room:]
                await self._flush()
            else:
                await self._take()
        if end and self._over.get(number) != "reset":
            self._h2.end_stream(number)
            await self._flush()

    async def leave(self, number: int) -> None:
        """Reset the stream."""
        self._h2.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
        await self._flush()

    async def answer(self, number: int) -> tuple[int, bytes]:
        """The status and the body of the response."""
        while number not in self._over:
            await self._take()
        return self._answers[number]

    async def get(self, path: str, data: bytes | None = None, **fields: str) -> tuple[int, bytes]:
        """One request with its body, and the response."""
        number = await self.begin(path, end=data is None, **fields)
        if data is not None:
            await self.body(number, data)
        return await self.answer(number)

    async def _flush(self) -> None:
        await self._stream.send_all(self._h2.data_to_send())

    async def _take(self) -> None:
        data = await self._stream.receive_some(65_536)
        assert data, "the server closed the connection"
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self._answers[event.stream_id] = int(dict(event.headers or ())[":status"]), b""
            elif isinstance(event, h2.events.DataReceived):
                status, so_far = self._answers[event.stream_id]
                self._answers[event.stream_id] = status, so_far + (event.data or b"")
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self._over.setdefault(event.stream_id, "ended")
            elif isinstance(event, h2.events.StreamReset):
                self._over[event.stream_id] = "reset"
            elif isinstance(event, h2.events.ConnectionTerminated):
                raise AssertionError(f"GOAWAY: {event.error_code}")
        await self._flush()


@asynccontextmanager
async def connected() -> AsyncGenerator[Connection]:
    async with serving(app) as served, await served.connect() as stream:
        yield Connection(stream)


@pytest.mark.parametrize(
    ("path", "data", "answer"),
    [
        ("/reads", b"hello", (200, b"hello")),
        ("/reads", b"x" * 200_000, (200, b"x" * 200_000)),
        ("/reads", b"", (200, b"")),
        ("/reads", None, (200, b"")),
        ("/parsed", b"[1, 2, 3]", (200, b"6")),
        ("/optional", b"[1, 2, 3]", (200, b"6")),
        ("/optional", b"", (200, b"nothing")),
        ("/optional", None, (200, b"nothing")),
        ("/at-once", b"ignored", (200, b"at once")),
        ("/waits", b"ignored", (200, b"waited")),
    ],
)
async def test_a_get_may_have_a_body(path: str, data: bytes | None, answer: tuple[int, bytes]) -> None:
    """It says no length, and is read by who asks for it, for others ignored; an empty one is none."""
    async with connected() as client:
        assert await client.get(path, data, content_type="application/json") == answer
        assert await client.get("/waits") == (200, b"waited")


async def test_a_body_that_says_no_length_is_bounded() -> None:
    """413, as soon as it is too long."""
    async with connected() as client:
        number = await client.begin("/small")
        await client.body(number, b"x" * 101, end=False)
        status, _ = await client.answer(number)
        assert status == 413
        assert await client.get("/small", b"x" * 100) == (200, b"x" * 100)


@pytest.mark.parametrize("path", ["/at-once", "/waits"])
async def test_who_does_not_read_it_does_not_wait_for_it(path: str) -> None:
    """The answer is there before the body's end, and what comes then is nobody's."""
    async with connected() as client:
        number = await client.begin(path)
        await client.body(number, b"first", end=False)
        assert (await client.answer(number))[0] == 200
        await client.body(number, b"x" * 1000)
        assert await client.get(path) == await client.answer(number)


@pytest.mark.parametrize("path", ["/at-once", "/waits"])
async def test_what_is_not_read_does_not_close_the_window_of_the_others(path: str) -> None:
    """Together it is many times what a connection may send unread (65535 bytes, section 6.9.2)."""
    async with connected() as client:
        for _ in range(20):
            assert (await client.get(path, b"x" * 30_000))[0] == 200
        assert await client.get("/reads", b"y" * 30_000) == (200, b"y" * 30_000)


async def test_who_leaves_in_a_body_does_not_close_the_window_of_the_others() -> None:
    """What nobody has read of it is given back with the stream."""
    async with connected() as client:
        for _ in range(20):
            number = await client.begin("/holds")
            await client.body(number, b"x" * 10_000, end=False)
            await client.leave(number)
        assert await client.get("/reads", b"y" * 30_000) == (200, b"y" * 30_000)


async def test_each_byte_opens_the_window_once() -> None:
    """Whether it was read before the end or is read after it: a part of it may have come just before."""
    inbox, opened, left = BodyInbox(), list[int](), list[int]()

    async def taken(length: int) -> None:
        await trio.lowlevel.checkpoint()
        opened.append(length)

    inbox.taken, inbox.given_up = taken, left.append
    inbox.feed(b"123")
    assert (await inbox.receive())["body"] == b"123"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.receive)
        await trio.testing.wait_all_tasks_blocked()
        inbox.feed(b"12345")
        inbox.end({"type": "http.disconnect"})
        inbox.end({"type": "http.disconnect"})
    assert (await inbox.receive())["type"] == "http.disconnect"
    assert (opened, left) == ([3], [5])
