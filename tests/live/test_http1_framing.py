"""Where a message begins and ends, in both directions: connections that go on, bodies, and who waits for whom.

However a valid stream of requests is cut into packets, the answers are the same; and neither side can make the other
hold more than a little of what it does not read.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import trio

from tests.live._http1 import (
    CLOSE,
    EXPECT,
    LAST,
    RST,
    Site,
    Wire,
    answers,
    chunked,
    direct,
    echo,
    for_all,
    get,
    mirror,
    read_body,
    reply,
    site,
    sized,
    streams,
)
from trivet.asgi import Answer, Door, Head
from trivet.server._limits import Limits

pytestmark = [pytest.mark.live, pytest.mark.slow]

STREAMS: dict[str, bytes] = {
    "get": get(b"/a?b", b"A: b"),
    "sized": sized(b"body", path=b"/a"),
    "chunked": chunked(b"bo", b"dy", trailers=b"A: b\r\n"),
    "pipelined": get(b"/1") + sized(b"two", path=b"/2") + chunked(b"th", b"ree", path=b"/3") + get(b"/4"),
    "expecting": sized(b"body", EXPECT),
    "empty-lines": b"\r\n" + get(b"/1") + b"\r\n\r\n" + get(b"/2"),
    "unknown-upgrade": get(b"/", b"Connection: Upgrade", b"Upgrade: tea") + get(b"/2"),
    "head": get(b"/1", method=b"HEAD") + get(b"/2"),
}


def final(data: bytes) -> bytes:
    """A stream without what depends on the second, or on whether the body was there before it was asked for."""
    data = data.replace(b"HTTP/1.1 100 \r\n\r\n", b"").replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    return re.sub(rb"(?i)date: [^\r]*\r\n", b"", data)


@pytest.mark.parametrize("name", STREAMS)
async def test_cut_in_two_at_every_byte(name: str) -> None:
    """The bytes that come back are the same wherever the packet ends."""
    data = STREAMS[name] + LAST
    async with site() as served:
        whole = final(await served.exchange(data))
        for cut in range(1, len(data)):
            assert final(await served.exchange(data[:cut], data[cut:])) == whole, data[:cut]


@pytest.mark.parametrize("name", STREAMS)
async def test_by_the_byte(name: str) -> None:
    """The bytes that come back are the same if each comes alone."""
    data = STREAMS[name] + LAST
    async with site() as served:
        whole = final(await served.exchange(data))
        assert final(await served.exchange(*[data[at : at + 1] for at in range(len(data))])) == whole


TOKEN = st.text("abcXYZ019-_.~!%*'()", max_size=12).map(str.encode)
FIELD = st.builds(lambda name, value: b"X-%s: %s" % (name, value), TOKEN.map(lambda name: b"a" + name[:3]), TOKEN)
FIELD = FIELD.filter(lambda field: not re.search(rb"[()].*:", field))
BODY = st.binary(max_size=300)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[str, str, str]]:
    """A valid request, and the method, path and body that must be seen of it."""
    path = b"/" + draw(TOKEN)
    fields = draw(st.lists(FIELD, max_size=4))
    kind = draw(st.sampled_from(["get", "sized", "chunked"]))
    if kind == "get":
        return get(path, *fields), ("GET", path.decode(), "")
    if kind == "sized":
        body = draw(BODY)
        return sized(body, *fields, path=path), ("POST", path.decode(), body.decode("latin-1"))
    parts = draw(st.lists(BODY.filter(bool), max_size=4))
    return chunked(*parts, path=path, fields=fields), ("POST", path.decode(), b"".join(parts).decode("latin-1"))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[str, str, str]]]:
    """Some requests cut into packets anywhere, and what must be seen of them."""
    made = draw(st.lists(requests(), min_size=1, max_size=5))
    data = b"".join(request for request, _ in made) + LAST
    cuts = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=8)))
    return [data[a:b] for a, b in pairwise([0, *cuts, len(data)])], [seen for _, seen in made]


async def test_conversations_of_any_kind_in_packets_of_any_size() -> None:
    """Pipelined requests are answered in order and in full, whatever they are and however they arrive."""
    async with site() as served:

        async def check(conversation: tuple[list[bytes], list[tuple[str, str, str]]]) -> None:
            parts, expected = conversation
            seen = [answer.seen for answer in answers(await served.exchange(*parts))]
            assert [(one["method"], one["raw_path"], one["body"]) for one in seen[:-1]] == expected
            assert seen[-1]["path"] == "/last"

        await for_all(conversations(), check, 200)


# Connections ---------------------------------------------------------------------------------------------------------

PERSISTENCE: dict[str, tuple[bytes, bool]] = {
    "1.1": (get(), True),
    "1.1-close": (get(b"/", b"Connection: close"), False),
    "1.1-close-upper-case": (get(b"/", b"CONNECTION: CLOSE"), False),
    "1.1-close-in-a-list": (get(b"/", b"Connection: foo, close"), False),
    "1.1-close-in-a-second-field": (get(b"/", b"Connection: foo", b"Connection: close"), False),
    "1.1-keep-alive": (get(b"/", b"Connection: keep-alive"), True),
    "1.1-closed-is-not-close": (get(b"/", b"Connection: closed"), True),
    "1.1-post": (sized(b"body"), True),
    "1.1-post-close": (sized(b"body", CLOSE), False),
    "1.1-chunked": (chunked(b"body"), True),
    "1.1-head": (get(method=b"HEAD"), True),
    "1.0": (get(version=b"1.0"), False),
    "1.0-close": (get(b"/", b"Connection: close", version=b"1.0"), False),
}


@pytest.mark.parametrize("name", PERSISTENCE)
async def test_whether_a_connection_goes_on(name: str) -> None:
    """As RFC 9112 section 9.3 has it; and the response says so if it does not."""
    data, goes_on = PERSISTENCE[name]
    method = "HEAD" if b"HEAD" in data else "GET"
    async with site() as served:
        found = answers(await served.exchange(data, LAST), method)
        assert [answer.status for answer in found] == [200] * (1 + goes_on)
        assert found[0].closes != goes_on


async def test_keep_alive_of_1_0_is_said_or_not_done() -> None:
    """HTTP/1.0 with `keep-alive` goes on only if the response says so (RFC 9112 section 9.3)."""
    async with site() as served:
        found = answers(await served.exchange(get(b"/", b"Connection: keep-alive", version=b"1.0"), LAST))
        assert (len(found) == 2) == ((found[0].field(b"connection") or b"").lower() == b"keep-alive")


async def test_a_thousand_requests_on_one_connection() -> None:
    """One after the other, with and without a body."""
    async with site() as served, served.connect() as wire:
        for number in range(500):
            await wire.send(get(b"/%d" % number))
            assert (await wire.answer()).seen["path"] == f"/{number}"
            await wire.send(sized(b"%d" % number))
            assert (await wire.answer()).seen["body"] == str(number)


async def path(scope: Any, receive: Any, send: Any) -> None:
    """A handler that does what `direct` does."""
    await reply(send, scope["raw_path"])


@pytest.mark.parametrize("door", [None, direct])
async def test_twenty_thousand_pipelined_requests(door: Door | None) -> None:
    """All are answered, in order, though the client sends them all before it reads much."""
    count = 20_000
    bodies = bytearray()
    async with site(path, door=door) as served, served.connect() as wire, trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, b"".join(get(b"/%06d" % number) for number in range(count - 1)) + LAST)
        bodies += await wire.rest()
    assert re.findall(rb"\r\n\r\n/(\d{6})", bodies) == [b"%06d" % number for number in range(count - 1)]
    assert bodies.endswith(b"\r\n\r\n/last")


async def test_a_pipelined_request_waits_for_the_one_before() -> None:
    """They run one after the other; a slow first one is answered first."""
    running = 0

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await trio.sleep(0.05 if scope["path"] == "/slow" else 0)
        running -= 1
        await reply(send, scope["raw_path"])

    async with site(handler) as served:
        found = answers(await served.exchange(get(b"/slow") + get(b"/fast") + LAST))
        assert [answer.body for answer in found] == [b"/slow", b"/fast", b"/last"]


@pytest.mark.parametrize("door", [None, direct])
async def test_a_client_that_pipelines_does_not_keep_others_waiting(door: Door | None) -> None:
    """Others are answered while thousands of its requests are still to come."""
    async with (
        site(path, door=door) as served,
        served.connect() as greedy,
        served.connect() as other,
        trio.open_nursery() as nursery,
    ):
        got = bytearray()

        async def read() -> None:
            got.extend(await greedy.rest())

        nursery.start_soon(greedy.send, get() * 10_000 + LAST)
        nursery.start_soon(read)
        for _ in range(10):
            await other.send(get(b"/other"))
            assert (await other.answer()).body == b"/other"
        assert not got


@pytest.mark.parametrize("door", [None, direct])
async def test_a_client_that_pipelines_and_does_not_read_waits(door: Door | None) -> None:
    """Its requests stay with it; when it reads, it gets all answers."""
    request, count, sent = get(b"/" + b"x" * 1000), 20_000, 0
    data = memoryview(request * count + LAST)
    async with site(path, door=door) as served, served.connect(receive_buffer=4096) as wire:
        stuck = trio.CancelScope()
        while not stuck.cancelled_caught:
            with trio.move_on_after(0.3) as stuck:
                sent += await wire.stream.socket.send(data[sent : sent + 65_536])
        assert sent < len(data)
        to_server, from_server = kernel_holds(served.served.port)
        assert sent - to_server - from_server < 2 * READ_AHEAD  # a request and its answer are about as long
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.send, bytes(data[sent:]))
            assert (await wire.rest()).count(b"HTTP/1.1 200") == count + 1


async def test_nothing_is_answered_behind_the_last_request() -> None:
    """What follows `Connection: close` is not run."""
    async with site() as served:
        assert len(answers(await served.exchange(LAST + get(b"/behind") + get(b"/behind")))) == 1
        assert served.paths == [b"/last"]


async def test_a_client_that_ends_its_half_still_gets_what_it_asked_for() -> None:
    """`printf ... | nc`: a half-closed connection is answered, if the application goes on."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"late")

    async with site(handler) as served, served.connect() as wire:
        await wire.send(get() + get())
        wire.stream.socket.shutdown(trio.socket.SHUT_WR)
        found = answers(await wire.rest())
        assert [answer.body for answer in found][:1] == [b"late"]


@pytest.mark.parametrize("door", [None, direct])
async def test_all_that_was_asked_for_before_a_half_was_ended_is_answered(door: Door | None) -> None:
    """However much it is; half a request behind it is not waited for."""
    asked = [b"/%d" % number for number in range(100)]
    for behind in (b"", b"GET /half HTTP/1.1\r\nHo"):
        async with site(path, door=door) as served, served.connect() as wire:
            await wire.send(b"".join(get(target) for target in asked) + behind)
            wire.stream.socket.shutdown(trio.socket.SHUT_WR)
            assert [answer.body for answer in answers(await wire.rest())] == asked


# Bodies of requests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 5_000_000])
@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_bodies_of_any_size_arrive_whole(framing: str, size: int) -> None:
    """And what follows them is the next request."""
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    chunks = [body[at : at + 70_001] for at in range(0, size, 70_001)]
    got: list[bytes | None] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        got.append(await read_body(receive))
        await reply(send)

    async with site(handler) as served:
        data = sized(body) if framing == "sized" else chunked(*chunks)
        assert len(answers(await served.exchange(data + LAST))) == 2
    assert got == [body, b""]


def echo_at_once(head: Head) -> Answer:
    """A door that answers with the body."""
    return 200, [(b"content-length", b"%d" % len(head.body))], head.body


async def echo_whole(scope: Any, receive: Any, send: Any) -> None:
    await reply(send, await read_body(receive) or b"")


async def test_a_body_that_comes_with_its_head_is_for_the_door() -> None:
    """One that is still coming is not waited for: it goes to the application, as do all whose length is not said."""
    async with site(door=echo_at_once) as served:
        served.handler = echo_whole
        whole, late = sized(b"whole", path=b"/whole"), sized(b"late", path=b"/late")
        expecting = sized(b"expected", b"Expect: 100-continue", path=b"/expected")
        parts = (whole, late[:-4], b"late", late[:-1], b"e" + whole, chunked(b"chunked", path=b"/chunked"), expecting)
        found = answers(await served.exchange(*parts, LAST))
        assert [answer.body for answer in found] == [
            b"whole", b"late", b"late", b"whole", b"chunked", b"expected", b"",
        ]  # fmt: skip
        assert served.paths == [b"/late", b"/late", b"/chunked", b"/expected"]


async def test_bodies_for_the_door_in_one_packet() -> None:
    """Each has its own body, up to the one that goes on in the next packet."""
    bodies = [b"x" * size for size in (1, 0, 1000, 0, 0, 7, 30_000, 2)]
    async with site(door=echo_at_once) as served:
        served.handler = echo_whole
        found = answers(await served.exchange(b"".join(map(sized, bodies)) + get() + LAST))
        assert [answer.body for answer in found] == [*bodies, b"", b""]
        assert served.paths == []
        body = b"0123456789" * 20_000
        found = answers(await served.exchange(sized(b"first") + sized(body, path=b"/large") + sized(b"third") + LAST))
        assert [answer.body for answer in found] == [b"first", body, b"third", b""]
        assert served.paths == [b"/large"]


async def test_a_body_that_is_too_large_is_not_for_the_door() -> None:
    """It is refused like any other."""
    async with site(door=echo_at_once, limits=Limits(body_size=10)) as served:
        assert [answer.status for answer in answers(await served.exchange(sized(b"x" * 10) + sized(b"x" * 11)))] == [
            200,
            413,
        ]
        assert served.paths == []


async def test_many_small_chunks() -> None:
    """50,000 chunks of one byte are a body like any other."""
    body = bytes(range(256)) * 200
    async with site() as served:
        found = answers(await served.exchange(chunked(*[body[at : at + 1] for at in range(50_000)]) + LAST))
        assert found[0].seen["body"] == body[:50_000].decode("latin-1")


async def test_a_body_that_nobody_reads_is_passed_over() -> None:
    """A short one: the connection goes on behind it, and the body is not taken for a request."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, scope["raw_path"])

    async with site(handler) as served:
        for data in (sized(get(b"/inside")), chunked(get(b"/inside")), sized(b"")):
            served.paths.clear()
            found = answers(await served.exchange(data + LAST))
            assert found[0].body == b"/"
            assert b"/inside" not in served.paths
            assert len(found) == 2 or found[0].closes


async def test_a_body_that_is_read_in_part_is_passed_over() -> None:
    """The application stops reading in the middle of it and answers."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await receive()
        await reply(send, scope["raw_path"])

    async with site(handler) as served:
        found = answers(await served.exchange(chunked(b"part"), chunked()[:-5], b"5\r\n12345\r\n0\r\n\r\n", LAST))
        assert [answer.body for answer in found] == [b"/", b"/", b"/last"]


@pytest.mark.parametrize("data", [sized(b"12345", claim=10), chunked(b"12345")[:-5]], ids=["sized", "chunked"])
async def test_a_body_that_is_cut_never_looks_whole(data: bytes) -> None:
    """The application gets what came and then `http.disconnect`."""
    seen: list[tuple[str, bytes, bool]] = []
    over = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        while not seen or seen[-1][0] != "http.disconnect":
            message = await receive()
            seen.append((message["type"], message.get("body", b""), message.get("more_body", False)))
        over.set()

    async with site(handler) as served:
        async with served.connect() as wire:
            await wire.send(data)
            await wire.settle()
        await over.wait()
    assert b"".join(body for _, body, _ in seen) == b"12345"
    assert all(more for kind, _, more in seen if kind == "http.request")


async def test_parts_arrive_as_they_are_sent() -> None:
    """The application sees the first part of a body before the second is sent; a duplex exchange works."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"].upper(), "more_body": more})

    async with site(handler) as served, served.connect() as wire:
        await wire.send(chunked()[:-5])
        for word in (b"one", b"two", b"three"):
            await wire.send(b"%x\r\n%s\r\n" % (len(word), word))
            await wire.until(word.upper())
        await wire.send(b"0\r\n\r\n")
        await wire.until(b"0\r\n\r\n")


# Expect --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [EXPECT, b"Expect: 100-Continue", b"expect:100-continue"])
async def test_100_is_sent_when_the_application_first_asks(field: bytes) -> None:
    """Not before, and once."""
    ask, asked = trio.Event(), trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await ask.wait()
        asked.set()
        await mirror(scope, receive, send)

    async with site(handler) as served, served.connect() as wire:
        await wire.send(sized(b"", field, claim=5))
        assert await wire.is_quiet()
        ask.set()
        assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await wire.send(b"123")
        assert await wire.is_quiet()
        await wire.send(b"45")
        assert (await wire.answer()).seen["body"] == "12345"


async def test_100_is_not_sent_to_who_is_refused() -> None:
    """The final answer comes alone, and the connection ends, or the body that may still come is passed over."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"too large", 413)

    async with site(handler) as served, served.connect() as wire:
        await wire.send(sized(b"", EXPECT, claim=5))
        answer = await wire.answer()
        assert (answer.status, answer.early) == (413, [])
        if not answer.closes:
            await wire.send(b"12345" + LAST)
            assert (await wire.answer()).status == 413


NOT_EXPECTING: dict[str, bytes] = {
    "body-is-there": sized(b"12345", EXPECT),
    "no-body": get(b"/", EXPECT),
    "length-0": sized(b"", EXPECT),
    "1.0": sized(b"12345", EXPECT).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "another-expectation": sized(b"12345", b"Expect: tea"),
}


@pytest.mark.parametrize("name", NOT_EXPECTING)
async def test_100_is_not_sent_to_who_does_not_wait_for_it(name: str) -> None:
    """The body is there already, or there is none, or the client is too old (RFC 9110 section 10.1.1)."""
    async with site() as served:
        found = answers(await served.exchange(NOT_EXPECTING[name] + (b"" if name == "1.0" else LAST)))
        assert (found[0].status, found[0].early) == (200, [])


# Bodies of responses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("stated", [False, True])
async def test_a_streamed_response_arrives_whole(stated: bool, version: bytes, more: bool) -> None:
    """Sized if the application states a length, else chunked; until the end for HTTP/1.0, which has no chunks."""
    handler = streams(b"one", b"", b"two", b"x" * 100_000, length=100_006 if stated else None, more=more)
    async with site(handler) as served:
        raw = await served.exchange(get(b"/", CLOSE, version=version))
        [answer] = answers(raw)
        assert answer.body == b"onetwo" + b"x" * 100_000
        assert answer.field(b"content-length") == (b"100006" if stated else None)
        assert answer.field(b"transfer-encoding") == (None if stated or version == b"1.0" else b"chunked")
        assert not raw.endswith(RST)


BODILESS: dict[str, tuple[str, int, tuple[bytes, ...], int | None, bytes | None]] = {
    # Method, status, parts, stated length; the Content-Length that has to be seen.
    "head-stated": ("HEAD", 200, (b"12345",), 5, b"5"),
    "head-streamed": ("HEAD", 200, (b"123", b"45"), None, None),
    "head-without-body": ("HEAD", 200, (), 5, b"5"),
    "head-404": ("HEAD", 404, (b"12345",), 5, b"5"),
    "204": ("GET", 204, (), None, None),
    "204-with-body": ("GET", 204, (b"12345",), 5, None),
    "204-streamed": ("GET", 204, (b"123", b"45"), None, None),
    "204-with-length-0": ("GET", 204, (), 0, None),
    "304": ("GET", 304, (), None, None),
    "304-with-body": ("GET", 304, (b"12345",), None, None),
    "head-204": ("HEAD", 204, (b"12345",), None, None),
    "head-304": ("HEAD", 304, (), None, None),
}


@pytest.mark.parametrize("name", BODILESS)
async def test_responses_without_a_body_have_none(name: str) -> None:
    """HEAD, 204 and 304 (RFC 9112 section 6.3): no byte of a body, no coding, and the next response is in step."""
    method, status, parts, length, expected = BODILESS[name]
    plain = streams(b"next", length=4)

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await (streams(*parts, length=length, status=status) if scope["path"] == "/" else plain)(scope, receive, send)

    async with site(handler) as served:
        first, second = answers(await served.exchange(get(method=method.encode()) + LAST), method)
        assert (first.status, first.body) == (status, b"")
        if status != 200:
            assert first.field(b"transfer-encoding") is None
        assert first.field(b"content-length") == expected
        assert second.body == b"next"


async def test_a_304_keeps_the_length_of_what_it_stands_for() -> None:
    """RFC 9110 section 8.6 allows it, and it does not take the connection out of step."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await streams(length=5, status=304)(scope, receive, send)

    async with site(handler) as served:
        found = answers(await served.exchange(get() + LAST))
        assert [(answer.status, answer.body) for answer in found] == [(304, b"")] * 2
        assert found[0].field(b"content-length") in (b"5", None)


# Who waits for whom --------------------------------------------------------------------------------------------------


def kernel_holds(port: int) -> tuple[int, int]:
    """Bytes in the kernel on the way to the server, and on the way from it: sent but not read, in either socket."""
    to_server = from_server = 0
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = row.split()
        local, remote = (int(columns[at].rpartition(":")[2], 16) for at in (1, 2))
        unsent, unread = (int(part, 16) for part in columns[4].split(":"))
        if columns[3] == "0A":  # a listener counts connections there
            continue
        if local == port:
            to_server, from_server = to_server + unread, from_server + unsent
        elif remote == port:
            to_server, from_server = to_server + unsent, from_server + unread
    return to_server, from_server


async def fill(served: Site, wire: Wire, data: bytes) -> int:
    """Send `data` again and again until the server takes no more; the bytes that it has read itself."""
    sent = 0
    with trio.move_on_after(60):
        while True:
            with trio.move_on_after(0.3) as stuck:
                sent += await wire.stream.socket.send(data)
            if stuck.cancelled_caught:
                break
    return sent - kernel_holds(served.served.port)[0]


READ_AHEAD = 4 * 65_536
"""What the server may hold of a client that is not being read: its limit and a read or two."""


@pytest.mark.parametrize("ahead", ["sized", "chunked", "pipelined"])
async def test_a_client_waits_while_nobody_reads(ahead: str) -> None:
    """The server holds little of a body, or of further requests, that the application does not ask for."""
    go_on = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await reply(send)

    heads = {"sized": sized(b"", claim=10**12), "chunked": chunked()[:-5], "pipelined": get()}
    further = {"sized": b"x" * 65_536, "chunked": b"10000\r\n%s\r\n" % (b"x" * 65_536), "pipelined": get() * 1000}
    async with site(handler) as served:
        async with served.connect() as wire:
            await wire.send(heads[ahead])
            await wire.settle()
            assert 0 <= await fill(served, wire, further[ahead]) < READ_AHEAD
        go_on.set()


async def test_a_slow_reader_of_a_body_slows_its_sender() -> None:
    """The server reads on as the application does, and not further."""
    may_read, has_read = trio.Semaphore(0), 0

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        nonlocal has_read
        while True:
            await may_read.acquire()
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            has_read += len(message["body"])

    async with site(handler) as served, served.connect() as wire:
        await wire.send(sized(b"", claim=10**12))
        read_by_server = await fill(served, wire, b"x" * 65_536)
        for _ in range(3):
            for _ in range(20):
                may_read.release()
            await trio.sleep(0.05)
            assert read_by_server <= has_read + READ_AHEAD
            before = has_read
            read_by_server += await fill(served, wire, b"x" * 65_536)
            assert has_read >= before > 0
        wire.stream.socket.close()
        for _ in range(10_000):
            may_read.release()


async def test_an_application_waits_for_a_client_that_does_not_read() -> None:
    """`send` returns only as the client reads: nothing piles up in the server."""
    sent = 0

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while sent < 2**30:
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            sent += 65_536

    async with site(handler, fails=True) as served, served.connect(receive_buffer=4096) as wire:
        await wire.send(get())
        before = -1
        while sent != before:
            before = sent
            await trio.sleep(0.1)
        assert sent < 2**30
        assert sent - kernel_holds(served.served.port)[1] < READ_AHEAD
        got = 0
        while got < 2_000_000:
            got += len(await wire.some())
        await trio.sleep(0.05)
        assert sent > before


async def test_both_at_once() -> None:
    """An upload that is echoed while it comes: neither direction holds up the other."""
    body = bytes(range(256)) * 8192
    async with site(echo) as served, served.connect() as wire, trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, sized(body, CLOSE))
        [answer] = answers(await wire.rest())
        assert answer.body == body
