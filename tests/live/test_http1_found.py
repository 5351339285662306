"""What the simulation has found, each as one small exchange: clients that end their half, writes that are cancelled.

In all of these a client could take for whole, or for its own fault, what was neither.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.live._http1 import RST, Wire, answers, get, read_body, reply, site, sized
from tests.live._inprocess import Told
from trivet.server._limits import Limits

pytestmark = [pytest.mark.live, pytest.mark.slow]

RACES = 20
"""Server and poller are ready at the same moment, and Trio lets either go first: often enough for both to happen."""


def end_half(wire: Wire) -> None:
    """Send no more, and go on reading."""
    wire.stream.socket.shutdown(trio.socket.SHUT_WR)


async def test_a_body_that_came_before_the_end_of_the_stream_is_handed_on() -> None:
    """A request is found behind another after its client has ended its half: it has its body, and then the disconnect.

    It waits unread behind two others: nothing more is read while so much is held, so that the end of the stream is seen
    between the answer to the second and the look at the third.
    """
    bodies: list[bytes | None] = []
    ends: list[str] = []
    first, go_on = trio.Event(), trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/first":
            first.set()
            await go_on.wait()
        elif scope["path"] == "/third":
            bodies.append(await read_body(receive))
            ends.append((await receive())["type"])
        await reply(send, scope["raw_path"])

    third = sized(b"x" * 500, path=b"/third")
    async with site(handler, limits=Limits(read_ahead=len(third))) as served:
        for _ in range(RACES):
            first, go_on = trio.Event(), trio.Event()
            async with served.connect() as wire:
                await wire.send(get(b"/first"))
                await first.wait()
                await wire.send(get(b"/second") + third)
                await wire.settle()
                end_half(wire)
                await wire.settle()
                go_on.set()
                found = answers(await wire.rest())
                assert [answer.body for answer in found][:2] == [b"/first", b"/second"]
    # What has not been begun when the end is seen need not be: but what is begun is begun with what it came with.
    assert set(bodies) == {b"x" * 500}
    assert set(ends) == {"http.disconnect"}


@pytest.mark.parametrize("stated", [[], [(b"content-length", b"3")]], ids=["chunked", "sized"])
async def test_no_part_is_left_out_for_a_client_that_has_ended_its_half(stated: list[tuple[bytes, bytes]]) -> None:
    """An application that is told by its Link, and goes on all the same, is heard to the end."""
    told = Told()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": stated})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await told.app(scope, receive, send)
        await send({"type": "http.response.body", "body": b"2", "more_body": True})
        await send({"type": "http.response.body", "body": b"3"})

    async with site(handler) as served, served.connect() as wire:
        await wire.send(get())
        await told.began.wait()
        end_half(wire)
        [answer] = answers(await wire.rest())
        assert answer.body == b"123"
    assert told.reasons == ["disconnected"]


@pytest.mark.polled  # a stream that is not read does not tell that it has ended
async def test_who_was_told_by_the_link_owes_no_answer() -> None:
    """The end of the stream is behind a body that nobody reads: an application that obeys and returns is no failure."""
    told = Told()
    async with site(told.app) as served, served.connect() as wire:
        await wire.send(sized(b"x" * 150_000))
        await told.began.wait()
        await wire.settle()
        end_half(wire)
        assert await wire.rest() in (b"", RST)
    assert told.reasons == ["disconnected"]


async def test_the_oserror_of_who_has_left_is_not_answered() -> None:
    """A client that has ended its half is there to see it: an application that lets the error pass has not failed."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        assert await read_body(receive) is None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})

    async with site(handler) as served, served.connect() as wire:
        await wire.send(sized(b"12345", claim=10))
        end_half(wire)
        assert await wire.rest() in (b"", RST)


async def test_half_of_a_body_that_the_end_of_the_connection_ends_is_reset() -> None:
    """HTTP/1.0: with FIN, what was sent before the write was cancelled would look like the whole."""
    writing = trio.CancelScope()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with writing:
            await send({"type": "http.response.body", "body": b"x" * 20_000_000, "more_body": True})

    async with site(handler) as served, served.connect(receive_buffer=4096) as wire:
        await wire.send(get(version=b"1.0"))
        await wire.until(b"\r\n\r\n")
        await wire.settle()
        writing.cancel()
        assert (await wire.rest()).endswith(RST)
    assert writing.cancelled_caught
