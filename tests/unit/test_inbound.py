"""The only reader of `receive`: what is read when, by whom, and what of it is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from trivet._bodystream import BodyStream
from trivet._inbound import SLOT_BYTES, Inbound
from trivet.asgi import Message
from trivet.errors import ClientDisconnected, HTTPError, InvalidInput

LEFT: Message = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class Server:
    """A scripted `receive`, which counts its calls and refuses two readers at once."""

    def __init__(self, *messages: Message, max_body: int | None = 1000) -> None:
        self._send, self._receive = trio.open_memory_channel[Message](100)
        for message in messages:
            self._send.send_nowait(message)
        self.taken = 0
        self.left = 0
        self._busy = False
        self.inbound = Inbound(self.receive, max_body, self._note)

    def put(self, message: Message) -> None:
        self._send.send_nowait(message)

    async def receive(self) -> Message:
        assert not self._busy, "two readers of one receive"
        self._busy = True
        try:
            message = await self._receive.receive()
        finally:
            self._busy = False
        self.taken += 1
        return message

    def _note(self) -> None:
        self.left += 1


async def read_all(inbound: Inbound) -> bytes:
    body = b""
    while (chunk := await inbound.read()) is not None:
        body += chunk
    return body


async def test_nothing_is_read_before_somebody_asks() -> None:
    """So `Expect: 100-continue` is answered at the first read, and an unwanted body stays where it is."""
    server = Server(part(b"a"))
    assert server.inbound.untouched
    assert not server.inbound.complete
    await trio.testing.wait_all_tasks_blocked()
    assert server.taken == 0


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([part(b"", more=False)], b""),
        ([part(b"ab"), part(b"c", more=False)], b"abc"),
        ([part(b"ab"), part(b""), part(b"c"), part(b"", more=False)], b"abc"),
        ([{"type": "http.request"}], b""),  # both keys are optional in ASGI
        ([{"type": "http.request", "body": b"x"}], b"x"),
    ],
)
@pytest.mark.parametrize("watched", [False, True])
async def test_the_body_is_what_came(messages: list[Message], body: bytes, watched: bool) -> None:
    """Directly or through the watcher's slot; its end is `None`, again and again."""
    server = Server(*messages)
    async with trio.open_nursery() as nursery:
        if watched:
            nursery.start_soon(server.inbound.watch)
            await trio.testing.wait_all_tasks_blocked()
        assert await read_all(server.inbound) == body
        assert await server.inbound.read() is None
        assert server.inbound.complete
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("watched", [False, True])
async def test_a_client_that_leaves_midway_is_an_error_after_what_came(watched: bool) -> None:
    """What was read is given first; the disconnect is latched, for hypercorn says it once."""
    server = Server(part(b"a"), LEFT)
    async with trio.open_nursery() as nursery:
        if watched:
            nursery.start_soon(server.inbound.watch)
            await trio.testing.wait_all_tasks_blocked()
        assert await server.inbound.read() == b"a"
        for _ in range(2):
            with pytest.raises(ClientDisconnected):
                await server.inbound.read()
    assert server.inbound.gone
    assert server.left == 1


async def test_a_disconnect_after_the_whole_body_is_told_too() -> None:
    """The scope knows whether it still cares; the body stays whole."""
    server = Server(part(b"a", more=False), LEFT)
    await server.inbound.watch()
    assert server.left == 1
    assert await read_all(server.inbound) == b"a"


async def test_the_watcher_reads_ahead_a_bounded_amount() -> None:
    """Back-pressure: no more than a slot of unread body is taken, and reading makes room."""
    size = SLOT_BYTES // 4
    server = Server(*[part(b"x" * size) for _ in range(20)], part(b"", more=False), LEFT, max_body=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.inbound.watch)
        await trio.testing.wait_all_tasks_blocked()
        assert server.taken == 5  # the slot, at most one message over
        assert server.left == 0
        assert len(await read_all(server.inbound)) == 20 * size
    assert server.inbound.gone


async def test_a_direct_read_under_way_keeps_the_watcher_out() -> None:
    """There is one reader at any time; the watcher takes over when the read is done."""
    server = Server()
    got: list[bytes | None] = []

    async def read() -> None:
        got.append(await server.inbound.read())
        got.append(await server.inbound.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(server.inbound.watch)
        await trio.testing.wait_all_tasks_blocked()
        server.put(part(b"a"))
        await trio.testing.wait_all_tasks_blocked()
        assert got == [b"a"]
        server.put(part(b"b"))
        await trio.testing.wait_all_tasks_blocked()
        assert got == [b"a", b"b"]
        server.put(LEFT)
    assert server.left == 1


@pytest.mark.parametrize("watched", [False, True])
async def test_a_cancelled_read_loses_nothing(watched: bool) -> None:
    """The next read goes on where that one was; `interrupted` tells when the client was waited for last."""
    server = Server()
    async with trio.open_nursery() as nursery:
        if watched:
            nursery.start_soon(server.inbound.watch)
            await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.inbound.read()
        assert scope.cancelled_caught
        interrupted = server.inbound.interrupted
        assert -math.inf < interrupted <= trio.current_time()
        server.put(part(b"a", more=False))
        assert await read_all(server.inbound) == b"a"
        assert server.inbound.interrupted == interrupted
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("parts", "fine"), [([500, 500], True), ([500, 501], False), ([1001], False), ([1000, 0], True)]
)
@pytest.mark.parametrize("watched", [False, True])
async def test_the_limit_counts_what_is_handed_out(parts: list[int], fine: bool, watched: bool) -> None:
    """Exactly `max_body` passes, one byte more is 413, in one part or in many."""
    server = Server(*[part(b"x" * size) for size in parts], part(b"", more=False))
    async with trio.open_nursery() as nursery:
        if watched:
            nursery.start_soon(server.inbound.watch)
        if fine:
            assert len(await read_all(server.inbound)) == sum(parts)
        else:
            with pytest.raises(InvalidInput) as caught:
                await read_all(server.inbound)
            assert caught.value.status == 413
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("end", [part(b"", more=False), LEFT])
@pytest.mark.parametrize("watched", [False, True])
async def test_discard_throws_away_until_the_end(end: Message, watched: bool) -> None:
    """However much it is, nothing is kept; those who wait for the end are told."""
    server = Server(*[part(b"x" * 50_000) for _ in range(20)], max_body=10)
    done: list[str] = []

    async def wait() -> None:
        await server.inbound.wait_complete()
        done.append("complete")

    async with trio.open_nursery() as nursery:
        if watched:
            nursery.start_soon(server.inbound.watch)
            await trio.testing.wait_all_tasks_blocked()
            assert server.taken == 2
        nursery.start_soon(server.inbound.discard)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert server.taken == 20
        assert not done
        server.put(end)
        await trio.testing.wait_all_tasks_blocked()
        assert done == ["complete"]
        nursery.cancel_scope.cancel()


# ---- the iterator on top


def stream(server: Server, length: str | None = None, timeout: float | None = 5) -> BodyStream:
    return BodyStream(server.inbound, length, 1000, timeout)


@pytest.mark.parametrize(
    ("length", "fine"),
    [(None, True), ("5", True), ("1000", True), ("1001", False), ("9" * 400, False), ("x", True), ("-1", True)],
)
async def test_an_announced_length_is_refused_before_a_byte_is_read(length: str | None, fine: bool) -> None:
    """What is no number is the server's to judge; a huge one is not converted."""
    server = Server(part(b"12345", more=False))
    if fine:
        assert [chunk async for chunk in stream(server, length)] == [b"12345"]
    else:
        with pytest.raises(InvalidInput) as caught:
            await anext(stream(server, length))
        assert caught.value.status == 413
        assert server.taken == 0


async def test_progress_within_body_timeout(autojump_clock: trio.testing.MockClock) -> None:
    """Each part has the whole time; none in time is 408 with `Connection: close`; `None` waits for ever."""
    server = Server()

    async def drip() -> None:
        for _ in range(3):
            await trio.sleep(4)
            server.put(part(b"x"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        for _ in range(3):
            assert await anext(stream(server)) == b"x"
        with pytest.raises(HTTPError) as caught:
            await anext(stream(server))
    assert (caught.value.status, caught.value.headers) == (408, {"connection": "close"})
    assert trio.current_time() == pytest.approx(17)
    with trio.move_on_after(1000) as scope:
        await anext(stream(server, timeout=None))
    assert scope.cancelled_caught


async def test_a_cancellation_from_outside_is_not_a_timeout(autojump_clock: trio.testing.MockClock) -> None:
    """The two are told apart even when both are due at the same moment."""
    server = Server()
    for seconds in (4.0, 5.0):
        with trio.move_on_after(seconds) as scope:
            try:
                await anext(stream(server, timeout=5))
            except HTTPError:
                assert seconds == 5
        assert scope.cancelled_caught or seconds == 5


async def test_reading_twice_goes_on() -> None:
    """Two iterators share one body: the second has what the first has left."""
    server = Server(part(b"a"), part(b"b", more=False))
    make: Callable[[], Any] = lambda: stream(server, "2")  # noqa: E731
    assert await anext(make()) == b"a"
    assert [chunk async for chunk in make()] == [b"b"]
