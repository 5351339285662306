"""Streams as a connection has them where there is no poller: pauses, and what Trio promises of a stream."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from trivet.server._stream import BoundedStream
from trivet.server._transport import StreamTransport


class Connection:
    """Remembers what it is told."""

    answering = False

    def __init__(self) -> None:
        self.data = b""

    def received(self, data: bytes, now: float) -> None:
        self.data += data

    def hung_up(self) -> None:
        raise AssertionError

    def broken(self) -> None:
        raise AssertionError


async def test_a_pause_holds_that_comes_right_behind_the_end_of_another() -> None:
    """Nothing is read between the two."""
    theirs, ours = trio.testing.memory_stream_pair()
    transport, connection = StreamTransport(ours, tls=False, client=None, local=None), Connection()
    async with trio.open_nursery() as nursery:
        transport.pause()
        nursery.start_soon(transport.run, connection)
        await trio.testing.wait_all_tasks_blocked()
        await theirs.send_all(b"hello")
        transport.resume()
        transport.pause()
        await trio.testing.wait_all_tasks_blocked()
        assert connection.data == b""
        transport.resume()
        await trio.testing.wait_all_tasks_blocked()
        assert connection.data == b"hello"
        nursery.cancel_scope.cancel()


async def test_receiving_nothing_is_refused() -> None:
    """It would look like the end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    async with BoundedStream(ours) as stream:
        with pytest.raises(ValueError, match="max_bytes"):
            await stream.receive_some(0)
    theirs.close()


async def test_a_stream_that_is_closed_says_so() -> None:
    """Whatever is asked of it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = BoundedStream(ours)
    await stream.aclose()
    for call in (stream.receive_some, stream.wait_send_all_might_not_block, lambda: stream.send_all(b"x")):
        with pytest.raises(trio.ClosedResourceError):
            await call()
    theirs.close()
