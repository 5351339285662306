"""Streams as a connection has them where there is no poller: what Trio promises of a stream."""

from __future__ import annotations

import socket

import pytest
import trio

from trivet.server._stream import BoundedStream


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
