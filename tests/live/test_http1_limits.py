"""Each limit is crossed, and just not crossed: what a client may take, and what it is told when it takes more.

Times are short ones, and only their order is asserted: what must have ended, and what must still be there.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from tests.live._http1 import CLOSE, EXPECT, LAST, RST, Answer, Wire, answers, chunked, get, reply, site, sized
from trivet.server._limits import Limits

pytestmark = [pytest.mark.live, pytest.mark.slow]


async def check_refusal(wire: Wire, status: int) -> Answer:
    """One answer, the last of its connection, which ends."""
    [answer] = answers(await wire.rest())
    assert (answer.status, answer.closes) == (status, True)
    return answer


async def drip(wire: Wire, data: bytes, seconds: float) -> None:
    """Send a byte at a time."""
    for byte in data:
        await wire.send(bytes([byte]))
        await trio.sleep(seconds)


async def still_works(wire: Wire) -> None:
    await wire.send(get())
    assert (await wire.answer()).status == 200


# The head ------------------------------------------------------------------------------------------------------------

TARGET = b"/" + b"a" * 99
REQUEST_LINE = len(b"GET " + TARGET + b" HTTP/1.1")


@pytest.mark.parametrize("more", [b"a", b"a" * 10_000, b"?" + b"a" * 200_000])
@pytest.mark.parametrize("whole", [True, False])
async def test_request_line(whole: bool, more: bytes) -> None:
    """A request line of just the limit is answered; a longer one gets 414, whether or not its end is there."""
    async with site(limits=Limits(request_line=REQUEST_LINE)) as served, served.connect() as wire:
        await wire.send(get(TARGET))
        assert (await wire.answer()).seen["raw_path"] == TARGET.decode()
        request = get(TARGET + more)
        # Two more bytes than the limit prove an incomplete line too long, however its end is counted.
        await wire.send(request if whole else request[: request.index(b" HTTP") + 9 + 3])
        await check_refusal(wire, 414)


async def test_request_line_by_default() -> None:
    """8,000 bytes pass, 65,000 do not, and an endless one is refused before it ends."""
    async with site() as served:
        assert answers(await served.exchange(get(b"/" + b"a" * 8000, CLOSE)))[0].status == 200
        for data in (get(b"/" + b"a" * 65_000), b"GET /" + b"a" * 100_000):
            assert [answer.status for answer in answers(await served.exchange(data))] == [414]


async def test_head_size() -> None:
    """A head of just the limit is answered; one of a byte more gets 431."""
    size = 1000

    def head(length: int) -> bytes:
        return get(b"/", b"A: " + b"b" * (length - len(get(b"/", b"A: "))))

    async with site(limits=Limits(head_size=size)) as served, served.connect() as wire:
        assert len(head(size)) == size
        await wire.send_in_parts([head(size)])
        assert (await wire.answer()).status == 200
        await wire.send_in_parts([head(size)[:-1], head(size)[-1:]])
        assert (await wire.answer()).status == 200
        await wire.send(head(size + 1))
        await check_refusal(wire, 431)


@pytest.mark.parametrize("data", [b"A: " + b"b" * 40_000, b"A: b\r\n" * 7000, b"a" * 40_000])
async def test_head_without_an_end(data: bytes) -> None:
    """It is refused when it is too large, and not first read to its end."""
    async with site() as served, served.connect() as wire:
        await wire.send(get()[:-2] + data)
        await check_refusal(wire, 431)


async def test_head_fields() -> None:
    """As many field lines as allowed are answered, one more is not; Host counts."""
    async with site(limits=Limits(head_fields=10)) as served, served.connect() as wire:
        await wire.send(get(b"/", *[b"A: b"] * 9))
        assert len((await wire.answer()).seen["headers"]) == 10
        await wire.send(get(b"/", *[b"A: b"] * 10))
        await check_refusal(wire, 431)


async def test_head_limits_by_default() -> None:
    """100 fields and 32 KiB pass in one segment; 3,000 fields, or 64 KiB, do not."""
    async with site() as served:
        for fields, status in ((99, 200), (100, 431), (3000, 431)):
            [answer] = answers(await served.exchange(get(b"/", *[b"A: b"] * (fields - 1), CLOSE)))
            assert answer.status == status, fields
        for size, status in ((31_000, 200), (64_000, 431)):
            [answer] = answers(await served.exchange(get(b"/", CLOSE, b"A: " + b"b" * size)))
            assert answer.status == status, size


async def test_trailers_are_bounded() -> None:
    """They are ignored, but not without end."""
    async with site() as served:
        found = answers(await served.exchange(chunked(b"12345", trailers=b"A: b\r\n" * 20) + LAST))
        assert [answer.status for answer in found] == [200, 200]
        for trailers in (b"A: b\r\n" * 100_000, b"A: " + b"b" * 200_000, b"a" * 200_000):
            [answer] = answers(await served.exchange(chunked(b"12345", trailers=trailers)[:-4]))
            assert answer.status in (400, 431)
            assert answer.closes


async def test_head_timeout() -> None:
    """It counts from the first byte and bytes do not extend it; a client that was in time is not hurried."""
    async with site(limits=Limits(head_timeout=0.3, idle_timeout=30)) as served, trio.open_nursery() as nursery:
        async with served.connect() as slow, served.connect() as other, served.connect() as silent:
            await still_works(other)
            nursery.start_soon(drip, slow, get(b"/" + b"a" * 200)[:-1], 0.05)
            await check_refusal(slow, 408)
            await still_works(other)
            assert await silent.is_quiet()
        nursery.cancel_scope.cancel()


async def test_head_timeout_of_a_later_request() -> None:
    """On a connection that has been used, and behind a pipelined request, it holds as well."""
    async with site(limits=Limits(head_timeout=0.2, idle_timeout=30)) as served, served.connect() as wire:
        await still_works(wire)
        await trio.sleep(0.3)  # not yet a head
        await wire.send(get(b"/first") + b"GET /sec")
        assert (await wire.answer()).seen["path"] == "/first"
        await check_refusal(wire, 408)


async def test_head_timeout_does_not_count_while_another_is_answered() -> None:
    """The beginning of a pipelined request does not limit how long the one before it takes."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(1.5 if scope["path"] == "/slow" else 0)
        await reply(send)

    # Longer than the half second between two looks at the clock, by which the server may be early or late.
    limits = Limits(head_timeout=1, idle_timeout=1)
    async with site(handler, limits=limits) as served, served.connect() as wire:
        await wire.send(get(b"/slow") + LAST[:10])
        assert (await wire.answer()).status == 200
        await wire.send(LAST[10:])
        assert (await wire.answer()).status == 200


async def test_idle_timeout() -> None:
    """A new connection, one that was used, and one after empty lines are closed without a word."""
    async with (
        site(limits=Limits(idle_timeout=0.2, head_timeout=30)) as served,
        served.connect() as new,
        served.connect() as used,
        served.connect() as empty,
    ):
        await still_works(used)
        for wire in (new, used):
            assert await wire.rest() == b""
        await empty.send(b"\r\n")
        assert await empty.rest() in (b"", RST)


async def test_idle_timeout_does_not_count_while_a_request_is_answered() -> None:
    """Neither while the handler takes its time, nor while a body comes or goes slowly."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            more = (await receive())["more_body"]
        await trio.sleep(0.5)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await trio.sleep(0.2)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body"})

    limits = Limits(idle_timeout=0.1, head_timeout=0.1, body_rate=None)
    async with site(handler, limits=limits) as served, served.connect() as wire:
        await wire.send(sized(b"", CLOSE, claim=5))
        await drip(wire, b"12345", 0.1)
        assert answers(await wire.rest())[0].body == b"xxx"


async def test_idle_timeout_starts_again_with_each_request() -> None:
    """A connection that is used lives longer than the timeout."""
    async with site(limits=Limits(idle_timeout=0.6)) as served, served.connect() as wire:
        for _ in range(8):
            await still_works(wire)
            await trio.sleep(0.1)


@pytest.mark.polled  # a connection that has a task to read cannot tell what has arrived
async def test_idle_timeout_is_not_held_against_what_the_loop_was_too_late_to_read() -> None:
    """A request that arrived in time is answered, however long something else has kept us from it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(0.01)  # of requests that wait, one begins in each turn of the loop
        await reply(send)

    async with site(app, limits=Limits(idle_timeout=0.2)) as served, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(served.connect()) for _ in range(20)]
        await wires[0].settle()
        for wire in wires:
            wire.stream.socket._sock.sendall(get())
        time.sleep(0.8)  # noqa: ASYNC251 - what is tested: the sweep and the poller are both late now
        for wire in wires:
            assert (await wire.answer()).status == 200


async def test_many_silent_connections_are_closed() -> None:
    """All of them, the silent and those with half a head; and others are served meanwhile."""
    async with site(limits=Limits(idle_timeout=0.3, head_timeout=0.3)) as served, trio.open_nursery() as nursery:

        async def silent(data: bytes) -> None:
            async with served.connect() as wire:
                await wire.send(data)
                await wire.rest()

        for number in range(200):
            nursery.start_soon(silent, b"GET / HT" if number % 2 else b"")
        await trio.sleep(0.1)
        await served.check_alive()


# The body ------------------------------------------------------------------------------------------------------------


async def test_body_size_of_a_sized_body() -> None:
    """One that says that it is too large gets 413 before the application is asked, and before it is sent."""
    async with site(limits=Limits(body_size=1000)) as served:
        async with served.connect() as wire:
            await wire.send(sized(b"x" * 1000))
            assert len((await wire.answer()).seen["body"]) == 1000
            served.paths.clear()
            await wire.send(sized(b"", claim=1001))
            await check_refusal(wire, 413)
        for claim in (10**12, 2**64 - 1):
            async with served.connect() as wire:
                await wire.send(sized(b"", EXPECT, claim=claim))
                answer = await check_refusal(wire, 413) if claim == 10**12 else answers(await wire.rest())[0]
                assert answer.early == []
                assert answer.status in (400, 413)
        assert served.paths == []


async def test_body_size_of_a_chunked_body() -> None:
    """Counted as it comes: 413 in the place of the answer, and the application is told that the rest will not come."""
    seen: list[str] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                seen.append("disconnect")
                return
            size, more = size + len(message["body"]), message["more_body"]
            assert size <= 1000
        await reply(send, b"%d" % size)

    async with site(handler, limits=Limits(body_size=1000)) as served, served.connect() as wire:
        await wire.send(chunked(b"x" * 400, b"x" * 600))
        assert (await wire.answer()).body == b"1000"
        await wire.send_in_parts([chunked(b"x" * 400, b"x" * 600)[:-5], b"1\r\nx\r\n"])
        await check_refusal(wire, 413)
        await wire.settle()
    assert seen == ["disconnect"]


async def test_body_size_of_one_huge_chunk() -> None:
    """The size of a chunk is enough to refuse it."""
    async with site(limits=Limits(body_size=1000)) as served, served.connect() as wire:
        await wire.send(chunked()[:-5] + b"fffffff\r\n")
        await check_refusal(wire, 413)


async def test_a_body_that_nobody_reads_is_bounded_too() -> None:
    """An answer before the body is whole does not lift the limit; no further request is run."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send)

    async with site(handler, limits=Limits(body_size=1000)) as served:
        raw = await served.exchange(chunked()[:-5], *[b"64\r\n" + b"x" * 100 + b"\r\n"] * 11, b"0\r\n\r\n" + LAST)
        assert len(answers(raw)) in (1, 2)
        assert served.paths == [b"/"]


async def test_a_bad_body_behind_its_answer_does_not_destroy_the_answer() -> None:
    """The response is whole, its application still at work, and the client still sending: no RST overtakes it."""
    go_on = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"early")
        if scope["path"] == "/":
            await go_on.wait()

    async with site(handler, limits=Limits(body_size=1000)) as served, served.connect() as wire:
        await wire.send(chunked(b"x")[:-5])
        await wire.settle()
        await wire.send(b"x\r\n")
        await wire.settle()
        raw = await wire.rest()
        assert [answer.body for answer in answers(raw, "POST")] == [b"early"]
        assert not raw.endswith(RST)
        go_on.set()


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_body_rate(framing: str) -> None:
    """A body that comes too slowly while it is read gets 408; one that is fast enough on the whole does not."""
    slow = sized(b"", claim=1000) if framing == "sized" else chunked()[:-5] + b"3e8\r\n"
    fast = sized(b"", CLOSE, claim=100) if framing == "sized" else chunked(fields=[CLOSE])[:-5] + b"64\r\n"
    limits = Limits(body_rate=100, body_grace=0.3, idle_timeout=0.1, head_timeout=0.1)
    async with site(limits=limits) as served, trio.open_nursery() as nursery:
        async with served.connect() as wire, served.connect() as other:
            await wire.send(slow)
            await other.send(fast)
            nursery.start_soon(drip, wire, b"x" * 100, 0.05)
            await other.send(b"x" * 80)  # ahead, so that a machine that stops for half a second does no harm
            await drip(other, b"x" * 20, 0.02)
            if framing == "chunked":
                await other.send(b"\r\n0\r\n\r\n")
            await check_refusal(wire, 408)
            assert len((await other.answer()).seen["body"]) == 100
        nursery.cancel_scope.cancel()


async def test_body_rate_of_a_body_that_stops() -> None:
    """Nothing more comes: 408, and the application is told."""
    seen: list[str] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        while not seen or seen[-1] == "http.request":
            seen.append((await receive())["type"])

    async with site(handler, limits=Limits(body_rate=100, body_grace=0.2)) as served, served.connect() as wire:
        await wire.send(sized(b"x", claim=10))
        await check_refusal(wire, 408)
        await wire.settle()
    assert seen == ["http.request", "http.disconnect"]


async def test_body_rate_does_not_count_while_nobody_reads() -> None:
    """A handler that takes its time before it reads, or between two parts, does not make its client slow."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            await trio.sleep(0.5)
            message = await receive()
            assert message["type"] == "http.request"
            size, more = size + len(message["body"]), message["more_body"]
        await reply(send, b"%d" % size)

    async with site(handler, limits=Limits(body_rate=500, body_grace=0.2)) as served, served.connect() as wire:
        await wire.send(sized(b"x", claim=2))
        await trio.sleep(0.8)
        await wire.send(b"x" + LAST)
        assert (await wire.answer()).body == b"2"
        assert (await wire.answer()).body == b"0"


async def test_body_rate_can_be_switched_off() -> None:
    """`None`: as slow as you like."""
    async with site(limits=Limits(body_rate=None, body_grace=0.1)) as served, served.connect() as wire:
        await wire.send(sized(b"x", claim=2))
        await trio.sleep(0.5)
        await wire.send(b"x")
        assert (await wire.answer()).seen["body"] == "xx"


async def test_the_rest_of_an_unread_body_is_not_waited_for_without_end() -> None:
    """Answered early, the client sends no more of its body and does not leave: the connection ends by itself."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"early")

    limits = Limits(body_rate=500, body_grace=0.2, idle_timeout=0.3)
    async with site(handler, limits=limits) as served, served.connect() as wire:
        await wire.send(sized(b"x", claim=1_000_000))
        [answer] = answers(await wire.rest())
        assert answer.body == b"early"


# Connections ---------------------------------------------------------------------------------------------------------


async def test_connections() -> None:
    """One more than allowed is neither refused nor answered: it waits until another ends."""
    async with (
        site(limits=Limits(connections=2, idle_timeout=30)) as served,
        served.connect() as first,
        served.connect() as second,
    ):
        await still_works(first)
        await still_works(second)
        async with served.connect() as third:
            await third.send(LAST)
            await trio.sleep(0.1)
            assert await third.is_quiet()
            await still_works(second)
            await first.stream.aclose()
            assert answers(await third.rest())[0].status == 200


async def test_connections_recover() -> None:
    """A crowd of many times the limit is served in the end, each of it."""
    got: list[int] = []
    async with site(limits=Limits(connections=3)) as served, trio.open_nursery() as nursery:

        async def visit() -> None:
            got.append(answers(await served.exchange(LAST))[0].status)

        for _ in range(50):
            nursery.start_soon(visit)
    assert got == [200] * 50


async def test_requests() -> None:
    """The last that is allowed says so, and what is pipelined behind it is not run."""
    async with site(limits=Limits(requests=3)) as served:
        found = answers(await served.exchange(get(b"/1") + get(b"/2") + sized(b"x", path=b"/3") + get(b"/4")))
        assert [answer.seen["path"] for answer in found] == ["/1", "/2", "/3"]
        assert [answer.closes for answer in found] == [False, False, True]
        assert served.paths == [b"/1", b"/2", b"/3"]
        async with served.connect() as wire:
            for _ in range(3):
                await still_works(wire)
            assert await wire.rest() == b""


async def test_the_last_answer_within_requests_is_not_lost() -> None:
    """A client that has pipelined more than that, and is still sending, reads it whole before it meets the end."""
    size = 8_000  # two are more than the client's kernel takes, and less than ours

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"x" * size)

    async with site(handler, limits=Limits(requests=2)) as served, served.connect(receive_buffer=4096) as wire:
        await wire.send(get(b"/1") + get(b"/2"))
        await wire.settle()  # both are answered, and not read yet; what follows has been on its way
        await wire.send(sized(b"y" * 1_000_000, path=b"/3"))
        found = answers(await wire.rest())
    assert [(len(answer.body), answer.closes) for answer in found] == [(size, False), (size, True)]
    assert served.paths == [b"/1", b"/2"]


@pytest.mark.parametrize("kind", ["requests", "body"])
async def test_read_ahead(kind: str) -> None:
    """A small limit holds the client back sooner than a large one; everything is answered nevertheless."""
    go_on = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        more = True
        while more:
            more = (await receive())["more_body"]
        await reply(send, scope["raw_path"])

    data = get(b"/1") * 300 if kind == "requests" else sized(b"x" * 100_000)
    async with (
        site(handler, limits=Limits(read_ahead=1000)) as served,
        trio.open_nursery() as nursery,
        served.connect() as wire,
    ):
        nursery.start_soon(wire.send, data + LAST)
        await wire.settle()
        go_on.set()
        assert answers(await wire.rest())[-1].body == b"/last"


# Writing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"/whole", b"/stream"])
async def test_send_timeout(path: bytes) -> None:
    """A client that does not take its response is dropped, a handler that streams is told, the others are served."""
    told, over = trio.Event(), trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            await reply(send)
            return
        try:
            if scope["path"] == "/whole":
                await reply(send, b"x" * 20_000_000)
            else:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                while True:
                    await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        except OSError:
            told.set()
        finally:
            over.set()

    async with (
        site(handler, options={"send_timeout": 0.3}) as served,
        served.connect(receive_buffer=4096) as stuck,
        served.connect() as other,
    ):
        await stuck.send(get(path))
        await still_works(other)
        with trio.fail_after(9):
            await over.wait()
        assert told.is_set() or path == b"/whole"  # which was taken as a whole before
        await still_works(other)
        assert (await stuck.rest()).endswith(RST)


async def test_send_timeout_does_not_end_a_slow_reader() -> None:
    """Who takes a little now and then makes progress."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"x" * 3_000_000)

    async with (
        site(handler, options={"send_timeout": 0.4}) as served,
        served.connect(receive_buffer=65_536) as wire,
    ):
        await wire.send(LAST)
        got = bytearray()
        while data := await wire.some():
            got += data
            if len(got) < 1_500_000:
                await trio.sleep(0.02)
        assert len(answers(bytes(got))[0].body) == 3_000_000
