"""trivet's own WebSocket protocol over sockets: in the poller and with a task that reads a stream, plain and over TLS.

After each test the site sees that no handler, no task and no descriptor is left, that a new connection is served, and
that nothing was logged as an error (`_http1.site`).
"""

from __future__ import annotations

import dataclasses
import functools
import ssl
import zlib
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
import trio.testing
import trustme

from tests.live._http1 import CLOSE as CLOSE_FIELD
from tests.live._http1 import RST, Site, answers, direct, get, read_body, reply, site, sized
from tests.live._ws import (
    ACCEPT,
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    Peer,
    Recorder,
    close,
    echo,
    frame,
    handshake,
    opened,
    text,
)
from trivet.server import _serve, _ws_exchange
from trivet.server._faults import ClientGone
from trivet.server._limits import Limits
from trivet.server._ws_connection import WebSocketConnection
from trivet.server._ws_decoder import Decoder

pytestmark = pytest.mark.live


class MakeSite(Protocol):
    def __call__(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Site]: ...


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, dict[str, Any]]:
    """How a client connects, and the files of a server."""
    directory: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    cert = authority.issue_cert("localhost")
    cert.private_key_pem.write_to_path(directory / "key.pem")
    cert.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context, {"certfile": str(directory / "cert.pem"), "keyfile": str(directory / "key.pem")}


WAYS = ("poller", "task", "tls", "tls-task")


@pytest.fixture(params=WAYS)
def make(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    secrets: tuple[ssl.SSLContext, dict[str, Any]],
) -> MakeSite:
    """`site`, in each of the ways."""
    if "task" in request.param:
        monkeypatch.setattr(_serve, "POLLS", False)
    if "tls" in request.param:
        context, files = secrets
        return functools.partial(site, tls=context, **files)
    return site


only_plain = pytest.mark.parametrize("make", ["poller", "task"], indirect=True)
"""Of tests that are about the socket itself."""

only_polled = pytest.mark.parametrize("make", ["poller", "tls"], indirect=True)
"""Of tests about what only epoll tells: that a client has left while nobody reads."""


# The handshake -------------------------------------------------------------------------------------------------------


async def test_the_handshake_and_its_scope(make: MakeSite) -> None:
    """As RFC 6455 section 1.3 has it; the scope is ASGI's, with what the client asked for."""
    recorder = Recorder()
    async with (
        make(recorder.app) as served,
        opened(served, b"Sec-WebSocket-Protocol: one, two", b"Sec-WebSocket-Protocol: three", path=b"/a%20b?x=1") as ws,
    ):
        assert ws.status == 101
        assert ws.field(b"sec-websocket-accept") == ACCEPT
        assert (ws.field(b"upgrade"), ws.field(b"connection")) == (b"websocket", b"Upgrade")
        assert ws.field(b"date")
        assert ws.field(b"sec-websocket-protocol") is None
        await ws.send(close())
        await ws.closed()
    scope = recorder.scope
    assert scope["type"] == "websocket"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"x=1")
    assert scope["scheme"] == ("ws" if served.tls is None else "wss")
    assert scope["subprotocols"] == ["one", "two", "three"]
    assert (b"host", b"x") in scope["headers"]
    assert "method" not in scope


async def test_what_the_application_accepts_with() -> None:
    """A subprotocol of those offered, and fields of its own."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "two", "headers": [(b"X-A", b"1"), (b"x-a", b"2")]})
        await send({"type": "websocket.close"})

    async with site(app) as served, opened(served, b"Sec-WebSocket-Protocol: one, two") as ws:
        assert ws.field(b"sec-websocket-protocol") == b"two"
        assert b"X-A: 1\r\nx-a: 2\r\n" in ws.head
        assert await ws.closed() == (1000, "")


REFUSED: dict[str, tuple[bytes, int]] = {
    "version": (handshake(version=b"12"), 426),
    "version-list": (handshake(version=b"13, 8"), 426),
    "no-key": (handshake().replace(b"Sec-WebSocket-Key", b"X-Key"), 400),
    "short-key": (handshake(key=b"AAAA"), 400),
    "key-not-base64": (handshake(key=b"!" * 22 + b"=="), 400),
    "two-keys": (handshake(b"Sec-WebSocket-Key: " + b"A" * 22 + b"=="), 400),
    "protocol-not-ascii": (handshake(b"Sec-WebSocket-Protocol: \xff"), 400),
    "protocol-no-token": (handshake(b"Sec-WebSocket-Protocol: a b"), 400),
    "extension-not-ascii": (handshake(b"Sec-WebSocket-Extensions: \xff"), 400),
    "data-behind": (handshake() + text("early"), 400),
    "request-behind": (handshake() + get(b"/smuggled"), 400),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_handshake_that_is_none_reaches_no_application(name: str) -> None:
    """One answer, and the end of the connection."""
    data, status = REFUSED[name]
    async with site(echo) as served:
        [answer] = answers(await served.exchange(data))
        assert (answer.status, answer.closes) == (status, True)
        assert answer.field(b"sec-websocket-version") == (b"13" if status == 426 else None)
        assert served.paths == []


@pytest.mark.parametrize("name", ["post", "1.0", "with-body", "no-connection"])
async def test_what_asks_for_no_websocket_is_a_request(name: str) -> None:
    """By another method, version or with a body; the application sees HTTP."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await reply(send)

    data = {
        "post": handshake(CLOSE_FIELD).replace(b"GET", b"POST"),
        "1.0": handshake(CLOSE_FIELD).replace(b"1.1", b"1.0"),
        "with-body": handshake(CLOSE_FIELD, b"Content-Length: 1") + b"x",
        "no-connection": handshake(CLOSE_FIELD).replace(b"Connection: Upgrade\r\n", b""),
    }[name]
    async with site(app) as served:
        assert answers(await served.exchange(data))[0].status == 200


async def test_a_handshake_behind_a_request(make: MakeSite) -> None:
    """Pipelined, or later: the connection goes on as a WebSocket either way."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (echo if scope["type"] == "websocket" else slow)(scope, receive, send)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await trio.lowlevel.checkpoint()
        await reply(send)

    async with make(app) as served:
        for together in (True, False):
            async with served.connect() as wire:
                await wire.send(get() + handshake() if together else get())
                assert (await wire.answer()).status == 200
                if not together:
                    await wire.send(handshake())
                ws = Peer(wire, await wire.until(b"\r\n\r\n"))
                await ws.send(text("x"))
                assert await ws.next() == Frame(TEXT, b"x")
                await ws.send(close())
                assert await ws.closed() == (1000, "")


async def test_a_handshake_behind_more_than_is_read_ahead(make: MakeSite) -> None:
    """Reading was paused for the requests before it, and goes on for the WebSocket."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (echo if scope["type"] == "websocket" else slow)(scope, receive, send)

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await trio.lowlevel.checkpoint()
        await reply(send)

    async with make(door=direct, limits=Limits(read_ahead=1024)) as served, served.connect() as wire:
        served.handler = app
        await wire.send(sized(b"x") + get(b"/" + b"a" * 200) * 10 + handshake())
        assert [(await wire.answer()).status for _ in range(11)] == [200] * 11
        ws = Peer(wire, await wire.until(b"\r\n\r\n"))
        await ws.send(text("x"))
        assert await ws.next() == Frame(TEXT, b"x")
        await ws.send(close())
        assert await ws.closed() == (1000, "")


@only_plain
async def test_a_client_that_ends_its_half_behind_the_handshake(make: MakeSite) -> None:
    """While the request before it is answered: it has left, and the application is told."""
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await recorder.app(scope, receive, send)
        else:
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"
            await reply(send)

    async with make(app) as served, served.connect() as wire:
        await wire.send(get() + handshake())
        await wire.stream.send_eof()
        await wire.rest()
    assert served.paths == [b"/", b"/"]
    assert recorder.reasons == ["disconnected"]


async def test_a_refusal_is_403(make: MakeSite) -> None:
    """Closing before accepting; the application hears of the end."""
    ends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        ends.append(await receive())
        with pytest.raises(ClientGone):
            await send({"type": "websocket.send", "text": "x"})

    async with make(app) as served, opened(served) as ws:
        assert ws.status == 403
        assert ws.field(b"connection") == b"close"
        await ws.wire.rest()
    assert ends == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_refusal_in_the_applications_own_words(make: MakeSite) -> None:
    """The `websocket.http.response` extension: status, fields, and a body in parts."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await receive()
        headers = [(b"x-why", b"full"), (b"content-length", b"10")]
        await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"12345", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"67890"})

    async with make(app) as served, served.connect() as wire:
        await wire.send(handshake())
        [answer] = answers(await wire.rest())
        assert (answer.status, answer.body, answer.closes) == (503, b"1234567890", True)
        assert answer.field(b"x-why") == b"full"


async def test_data_before_the_handshake_is_answered(make: MakeSite) -> None:
    """400, and the application is told, by the link and in band."""
    recorder = Recorder()
    began = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].attach(recorder.reasons.append)
        await receive()
        began.set()
        recorder.messages.append(await receive())
        with pytest.raises(OSError, match="left"):
            await send({"type": "websocket.accept"})

    async with make(app) as served, served.connect() as wire:
        await wire.send(handshake())
        await began.wait()
        await wire.send(text("early"))
        [answer] = answers(await wire.rest())
        assert answer.status == 400
    assert recorder.end == (1006, "")
    assert recorder.reasons == ["disconnected"]


# Messages ------------------------------------------------------------------------------------------------------------

MESSAGES: list[tuple[int, bytes]] = [
    (TEXT, b""),
    (TEXT, "hé\N{PILE OF POO}".encode()),
    (BINARY, b""),
    *((BINARY, b"x" * size) for size in (125, 126, 65_535, 65_536, 300_000)),
]


async def test_messages_come_back_as_they_were(make: MakeSite) -> None:
    """Of all sizes that have another header, whole, in fragments with a ping between them, and by the byte."""
    async with make(echo) as served, opened(served) as ws:
        for opcode, payload in MESSAGES:
            await ws.send(frame(opcode, payload))
            assert await ws.next() == Frame(opcode, payload)
        await ws.send(frame(TEXT, b"a", fin=False), frame(PING, b"p"), frame(0, b"", fin=False), frame(0, b"b"))
        assert sorted([await ws.next(), await ws.next()], key=str) == [Frame(TEXT, b"ab"), Frame(PONG, b"p")]
        for byte in text("slowly"):
            await ws.send(bytes((byte,)))
            await ws.wire.settle()
        assert await ws.next() == Frame(TEXT, b"slowly")
        await ws.send(close(4000, "bye"))
        assert await ws.closed() == (4000, "")


async def test_pings_are_answered_in_order(make: MakeSite) -> None:
    """Also a flood of them, and while the application does not receive; pongs that nobody asked for are ignored."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await trio.sleep_forever()

    async with make(app, options={"drain_timeout": 0.0}) as served:
        async with opened(served) as ws:
            await ws.send(frame(PONG, b"?"), *(frame(PING, b"%d" % number) for number in range(2000)))
            for number in range(2000):
                assert await ws.next() == Frame(PONG, b"%d" % number)
            served.served.stop.set()
            assert await ws.closed() == (1001, "")
        served.stopped = True


WRONG: dict[str, tuple[bytes, int]] = {
    "not-utf8": (frame(TEXT, b"\xff"), 1007),
    "not-utf8-across-fragments": (frame(TEXT, b"\xce", fin=False) + frame(0, b"\xce"), 1007),
    "utf8-cut": (frame(TEXT, b"\xce", fin=False) + frame(0, b""), 1007),
    "unmasked": (b"\x81\x01x", 1002),
    "opcode": (frame(3), 1002),
    "reserved": (frame(TEXT, b"x", rsv=4), 1002),
    "continuation-of-nothing": (frame(0, b"x"), 1002),
    "text-in-the-middle": (frame(TEXT, b"x", fin=False) + text("y"), 1002),
    "ping-in-fragments": (frame(PING, fin=False), 1002),
    "long-ping": (frame(PING, b"x" * 126), 1002),
    "close-of-one-byte": (frame(CLOSE, b"x"), 1002),
    "close-reason-not-utf8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    **{f"close-{code}": (close(code), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000)},
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_client_that_breaks_the_protocol(name: str) -> None:
    """It is told so by a close code and a reason, and so is the application; messages before that are delivered."""
    data, code = WRONG[name]
    recorder = Recorder()
    async with site(recorder.app) as served, opened(served) as ws:
        await ws.send(text("before"), data, text("behind"))
        said = await ws.closed()
        assert said[0] == code
        assert said[1]
        await ws.wire.settle()
    assert recorder.said == ["before"]
    assert recorder.end == said
    assert recorder.reasons == ["disconnected"]


@pytest.mark.parametrize("size", [1000, 1001])
@pytest.mark.parametrize("way", ["whole", "announced", "fragments", "compressed"])
async def test_the_limit_of_a_message(way: str, size: int) -> None:
    """Up to it a message arrives; one beyond is refused with 1009 as soon as its size is known, and is not kept."""
    recorder = Recorder()
    payload = b"x" * size
    deflater = zlib.compressobj(wbits=-15)
    packed = (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    data = {
        "whole": frame(BINARY, payload),
        "announced": frame(BINARY, payload)[: None if size == 1000 else 8],
        "fragments": b"".join(frame(0 if at else BINARY, b"x", fin=at == size - 1) for at in range(size)),
        "compressed": frame(BINARY, packed, rsv=4),
    }[way]
    limits = Limits(websocket_message=1000, websocket_deflate=0)
    async with (
        site(recorder.app, limits=limits) as served,
        opened(served, b"Sec-WebSocket-Extensions: permessage-deflate") as ws,
    ):
        await ws.send(data)
        if size == 1000:
            await ws.send(close())
        assert (await ws.closed())[0] == (1000 if size == 1000 else 1009)
        await ws.wire.settle()
    assert recorder.said == ([payload] if size == 1000 else [])
    assert recorder.end[0] == (1000 if size == 1000 else 1009)


# permessage-deflate --------------------------------------------------------------------------------------------------

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def inflated(data: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff")


async def test_compression(make: MakeSite) -> None:
    """From the threshold on our messages are compressed, each for itself; what comes may be or not."""
    long = b"trivet " * 1000
    async with make(echo, limits=Limits(websocket_deflate=100)) as served, opened(served, DEFLATE) as ws:
        agreed = ws.field(b"sec-websocket-extensions")
        assert agreed == b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        for _ in range(2):
            await ws.send(frame(TEXT, long))
            answer = await ws.next()
            assert answer is not None
            assert (answer.opcode, answer.rsv, inflated(answer.payload)) == (TEXT, 4, long)
            await ws.send(frame(TEXT, answer.payload[:9], fin=False, rsv=4), frame(0, answer.payload[9:]))
            assert await ws.next() == answer
        await ws.send(text("short"))
        assert await ws.next() == Frame(TEXT, b"short")
        await ws.send(frame(BINARY, b"\xff\xff\xff", rsv=4))
        assert (await ws.closed())[0] == 1007


async def test_compression_is_off_by_default() -> None:
    """The offer is declined, and a compressed message is a protocol error."""
    async with site(echo) as served, opened(served, DEFLATE) as ws:
        assert ws.field(b"sec-websocket-extensions") is None
        await ws.send(frame(TEXT, b"x", rsv=4))
        assert (await ws.closed())[0] == 1002


# Ends ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, ""), (3000, "x"), (4001, "bye"), (None, "")])
async def test_the_clients_close_is_in_band(code: int | None, reason: str) -> None:
    """Messages before it arrive, then code and reason; the code is answered, and we end the connection."""
    recorder = Recorder()
    async with site(recorder.app) as served, opened(served) as ws:
        await ws.send(text("one"), close(code, reason))
        assert await ws.next() == Frame(CLOSE, b"" if code is None else code.to_bytes(2, "big"))
        assert await ws.next() is None
        await ws.wire.settle()
    assert recorder.said == ["one"]
    assert recorder.end == (1005 if code is None else code, reason)
    assert recorder.reasons == ["disconnected"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, (1000, "")),
        ({"code": None, "reason": None}, (1000, "")),
        ({"code": 4001, "reason": "bye"}, (4001, "bye")),
        ({"code": 1012}, (1012, "")),
        ({"code": 3000, "reason": "é" * 100}, (3000, "é" * 61)),
    ],
)
async def test_the_application_closes(message: dict[str, Any], expected: tuple[int, str]) -> None:
    """With its code and reason, cut after 123 bytes; then `receive` says the end, and `send` raises."""
    ends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", **message})
        ends.append(await receive())
        with pytest.raises(OSError, match="closed"):
            await send({"type": "websocket.send", "text": "x"})

    async with site(app) as served, opened(served) as ws:
        assert await ws.closed() == expected
        await ws.wire.settle()
    assert ends[0]["code"] == expected[0]


async def test_both_close_at_once(make: MakeSite) -> None:
    """Two close frames cross: each is the answer to the other."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.close", "code": 4000})

    async with make(app) as served, opened(served) as ws:
        await ws.send(text("go"))
        frame_of_ours = await ws.next()
        assert frame_of_ours == Frame(CLOSE, (4000).to_bytes(2, "big"))
        await ws.send(close(1000))
        assert await ws.next() is None


async def test_a_client_that_does_not_answer_our_close_frame(monkeypatch: pytest.MonkeyPatch, make: MakeSite) -> None:
    """It is given up after `websocket_close` seconds, whatever else it sends."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    monkeypatch.setattr("trivet.server._http1_service.TICK", 0.05)
    async with make(app, limits=Limits(websocket_close=0.1)) as served, opened(served) as ws:
        assert await ws.next() == Frame(CLOSE, (1000).to_bytes(2, "big"))
        await ws.send(text("still here"), frame(PING))
        with trio.fail_after(5):
            assert await ws.wire.some() in (b"", RST)


@only_plain
@pytest.mark.parametrize("manner", ["fin", "rst", "half"])
async def test_a_client_that_vanishes(make: MakeSite, manner: str) -> None:
    """No close frame: 1006; the link says so at once, and a handler that sends is told by an error."""
    recorder = Recorder()
    async with make(recorder.app) as served, opened(served) as ws:
        await ws.send(text("one"))
        await ws.wire.settle()
        if manner == "rst":
            ws.wire.reset()
        elif manner == "half":
            await ws.wire.stream.send_eof()
            assert await ws.next() is None
        else:
            await ws.wire.stream.aclose()
        with trio.fail_after(5):
            while served.live:  # noqa: ASYNC110
                await trio.sleep(0.005)
    assert recorder.said == ["one"]
    assert recorder.end == (1006, "")
    assert recorder.reasons == ["disconnected"]


@pytest.mark.parametrize("caught", [True, False])
async def test_a_handler_that_only_sends_is_told_by_an_error(make: MakeSite, caught: bool) -> None:
    """`send` raises once the client has left (ASGI 2.4); let through, that is not logged."""
    over = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "text": "tick"})
                await trio.sleep(0.005)
        except OSError:
            over.set()
            if not caught:
                raise

    async with make(app) as served:
        async with opened(served) as ws:
            await ws.next()
        with trio.fail_after(5):
            await over.wait()


FAILS: dict[str, tuple[list[dict[str, Any]], int]] = {
    "returns": ([{"type": "websocket.accept"}], 1011),
    "returns-early": ([], 500),
    "subprotocol": ([{"type": "websocket.accept", "subprotocol": "nope"}], 500),
    "accept-field": ([{"type": "websocket.accept", "headers": [(b"x", b"a\nb")]}], 500),
    "accept-field-ours": ([{"type": "websocket.accept", "headers": [(b"Upgrade", b"x")]}], 500),
    "send-early": ([{"type": "websocket.send", "text": "x"}], 500),
    "accept-twice": ([{"type": "websocket.accept"}, {"type": "websocket.accept"}], 1011),
    "unknown": ([{"type": "websocket.accept"}, {"type": "http.response.start"}], 1011),
    "response-late": ([{"type": "websocket.accept"}, {"type": "websocket.http.response.start", "status": 403}], 1011),
    "nothing-to-send": ([{"type": "websocket.accept"}, {"type": "websocket.send"}], 1011),
    "text-that-is-bytes": ([{"type": "websocket.accept"}, {"type": "websocket.send", "text": b"x"}], 1011),
    "bytes-that-are-a-number": ([{"type": "websocket.accept"}, {"type": "websocket.send", "bytes": 5}], 1011),
    "surrogate": ([{"type": "websocket.accept"}, {"type": "websocket.send", "text": "\ud800"}], 1011),
    **{
        f"close-{code}": ([{"type": "websocket.accept"}, {"type": "websocket.close", "code": code}], 1011)
        for code in (0, 999, 1005, 1006, 1015, 2000, 5000, "1000", True)
    },
    "response-status": ([{"type": "websocket.http.response.start", "status": 101}], 500),
    "response-body-first": ([{"type": "websocket.http.response.body"}], 500),
    "response-never": ([{"type": "websocket.http.response.start", "status": 403}], 500),
}


@pytest.mark.parametrize("name", FAILS)
async def test_an_application_that_breaks_the_rules(name: str) -> None:
    """Its fault: 500 before it has accepted, 1011 after; nothing of the wrong message goes out."""
    messages, expected = FAILS[name]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in messages:
            await send(message)

    async with site(app, fails=True) as served, opened(served) as ws:
        if expected == 500:
            assert ws.status == 500
        else:
            assert (await ws.closed())[0] == expected
    assert bool(served.errors) is (not name.startswith(("returns", "response-never")))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
async def test_a_failing_application(error: type[BaseException]) -> None:
    """Logged, and closed with 1011; the server lives."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise error

    async with site(app, fails=True) as served, opened(served) as ws:
        assert (await ws.closed())[0] == 1011
    assert len(served.errors) == 1


@pytest.mark.parametrize("begun", [False, True])
async def test_an_application_that_aborts(make: MakeSite, begun: bool) -> None:
    """The connection ends without a close frame; in the middle of a refusal, so that it cannot look whole."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if begun:
            await send({"type": "websocket.http.response.start", "status": 403})
            await send({"type": "websocket.http.response.body", "body": b"half", "more_body": True})
        else:
            await send({"type": "websocket.accept"})
        scope["extensions"]["trivet"].abort()
        assert (await receive())["type"] == "websocket.disconnect"

    async with make(app) as served, opened(served) as ws:
        rest = await ws.rest()
        assert ws.status == (403 if begun else 101)
        assert b"0\r\n\r\n" not in rest
        assert bytes((0x88,)) not in rest


# The drain -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attached", [False, True])
async def test_the_drain_closes_with_1001(make: MakeSite, attached: bool) -> None:
    """`draining` is set at once; who does not leave by itself is told, or cancelled, when the time is over."""
    told: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        link = scope["extensions"]["trivet"]
        over = trio.Event()
        if attached:

            def cancel(reason: str) -> None:
                told.append(reason)
                over.set()

            link.attach(cancel)
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/leaves":
            await link.draining.wait()
            await send({"type": "websocket.close", "code": 1001, "reason": "by itself"})
            return
        await over.wait()
        await send({"type": "websocket.close", "code": 1001, "reason": "told"})

    async with make(app, options={"drain_timeout": 0.1}) as served, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(opened(served, path=path)) for path in (b"/leaves", b"/stays")]
        served.served.stop.set()
        assert await peers[0].closed() == (1001, "by itself")
        assert await peers[1].closed() == (1001, "told" if attached else "")
        served.stopped = True
    assert told == (["drained"] if attached else [])


async def test_the_drain_before_the_handshake_is_answered() -> None:
    """503."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    async with site(app, options={"drain_timeout": 0.05}) as served, served.connect() as wire:
        await wire.send(handshake())
        await wire.settle()
        served.served.stop.set()
        assert answers(await wire.rest())[0].status == 503
        served.stopped = True


# Back-pressure -------------------------------------------------------------------------------------------------------


async def test_what_is_not_received_is_not_read(make: MakeSite) -> None:
    """The client has to wait; all of it arrives, in order, once the application receives."""
    going = trio.Event()
    total: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await going.wait()
        while (message := await receive())["type"] == "websocket.receive":
            total.append(int(message["bytes"][:8]))

    async with make(app) as served, opened(served) as ws, trio.open_nursery() as nursery:
        sent = 0

        async def push() -> None:
            nonlocal sent
            for number in range(250):
                await ws.wire.stream.send_all(frame(BINARY, b"%08d" % number + bytes(50_000)))
                sent += 1
            await ws.send(close())

        nursery.start_soon(push)
        await ws.wire.settle()
        held = sent
        assert held < 250
        going.set()
        assert await ws.closed() == (1000, "")
    assert total == list(range(250))


async def test_small_messages_are_taken_apart_as_they_are_received(make: MakeSite) -> None:
    """A read may hold ten thousand of them: of these some 250 are messages that wait, the others are still bytes."""
    counts: list[int] = []
    going = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inbox = scope["extensions"]["trivet"].inbox
        await receive()
        await send({"type": "websocket.accept"})
        await going.wait()
        counts.append(len(inbox._messages))
        received = 0
        while (await receive())["type"] == "websocket.receive":
            received += 1
        counts.append(received)

    async with make(app) as served, opened(served) as ws:
        await ws.send(frame(BINARY, b"", mask=b"abcd") * 5000)
        await ws.wire.settle()
        going.set()
        await ws.send(close())
        assert await ws.closed() == (1000, "")
    assert 100 < counts[0] <= 256
    assert counts[1] == 5000


async def test_a_client_that_does_not_read_is_dropped(make: MakeSite) -> None:
    """`send` waits for it, for `send_timeout`, then raises; the others have not waited."""
    raised: list[BaseException] = []
    count = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal count
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/slow":
            scope["extensions"]["trivet"].send_timeout = 0.2
            try:
                while True:
                    await send({"type": "websocket.send", "bytes": bytes(100_000)})
                    count += 1
            except OSError as error:
                raised.append(error)
        else:
            await echo_on(receive, send)

    async def echo_on(receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    async with make(app) as served, opened(served) as quick, opened(served, path=b"/slow", receive_buffer=4096):
        while not raised:
            await quick.send(text("x"))
            with trio.fail_after(5):
                assert await quick.next() == Frame(TEXT, b"x")
        await quick.send(close())
        await quick.closed()
    assert isinstance(raised[0], ClientGone)
    assert count < 200


async def test_concurrent_sends_do_not_mix(make: MakeSite) -> None:
    """Frames of several tasks come whole, though each takes several writes and some senders are cancelled."""
    size = 200_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(sender, send, number)
        await send({"type": "websocket.close"})

    async def sender(send: Any, number: int) -> None:
        with trio.move_on_after(0.02 if number % 3 == 0 else 10):
            for _ in range(3):
                await send({"type": "websocket.send", "bytes": bytes((number,)) * size})

    async with make(app) as served, opened(served, receive_buffer=4096) as ws:
        await ws.send(text("go"))
        await trio.sleep(0.1)  # the kernels are full by then, and some have been cancelled
        numbers: list[int] = []
        while (found := await ws.next()) is not None and found.opcode == BINARY:
            assert found.payload == found.payload[:1] * size
            numbers.append(found.payload[0])
        assert found == Frame(CLOSE, (1000).to_bytes(2, "big"))
        await ws.send(close())
    assert {number for number in numbers if numbers.count(number) == 3} >= {n for n in range(12) if n % 3}


async def test_what_is_sent_in_one_turn_is_written_together(monkeypatch: pytest.MonkeyPatch, make: MakeSite) -> None:
    """In order, whatever is read meanwhile and whatever comes behind it: the first at once, the rest with one write."""
    write = WebSocketConnection._write
    writes: list[bytes] = []

    def noted(self: WebSocketConnection, data: bytes) -> bool:
        writes.append(data)
        return write(self, data)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"]["trivet"]._connection
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        monkeypatch.setattr(WebSocketConnection, "_write", noted)
        for number in range(10):
            await send({"type": "websocket.send", "text": str(number)})
        connection.received(frame(PING, b"now"), connection.server.now + 1)
        await send({"type": "websocket.send", "bytes": bytes(70_000)})
        await send({"type": "websocket.send", "text": "last"})
        await send({"type": "websocket.close"})

    async with make(app) as served, opened(served, receive_buffer=4096) as ws:
        await ws.send(text("go"))
        for number in range(10):
            assert await ws.next() == Frame(TEXT, str(number).encode())
        assert await ws.next() == Frame(PONG, b"now")
        assert await ws.next() == Frame(BINARY, bytes(70_000))
        assert await ws.next() == Frame(TEXT, b"last")
        assert await ws.closed() == (1000, "")
    assert [len(data) for data in writes[:2]] == [3, 9 * 3 + 5 + 10]


@only_polled
async def test_what_is_held_back_reaches_a_client_that_has_ended_its_half(make: MakeSite) -> None:
    """It has all that was sent before its end was seen."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"]["trivet"]._connection
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        for number in range(3):
            await send({"type": "websocket.send", "text": str(number)})
        connection.received(b"", connection.server.now)

    async with make(app) as served, opened(served) as ws:
        await ws.send(text("go"))
        for number in range(3):
            assert await ws.next() == Frame(TEXT, str(number).encode())


async def test_who_sends_to_many_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch, make: MakeSite) -> None:
    """Though it sends one message to each only."""
    monkeypatch.setattr(_ws_exchange, "AT_ONCE_TO_ALL", 4)
    sends: list[Any] = []
    turns = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] != "/all":
            sends.append(send)
        else:
            await receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                await trio.lowlevel.checkpoint()
                before = turns
                for each in sends:
                    await each({"type": "websocket.send", "text": str(turns - before)})
                nursery.cancel_scope.cancel()
        await receive()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with make(app) as served, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(opened(served)) for _ in range(12)]
        speaker = await stack.enter_async_context(opened(served, path=b"/all"))
        await speaker.wire.settle()
        await speaker.send(text("go"))
        heard = [await each.next() for each in clients]
        assert all(each is not None and each.opcode == TEXT for each in heard)
        assert len({each.payload for each in heard if each is not None}) > 1
        for each in (*clients, speaker):
            await each.send(close())
            await each.closed()


async def test_a_ping_behind_a_blocked_write_is_answered_later(make: MakeSite) -> None:
    """Behind the frame; and a client that pings without reading is not read for ever."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "bytes": bytes(1_000_000)})
        while (await receive())["type"] == "websocket.receive":
            pass

    async with make(app) as served, opened(served, receive_buffer=4096) as ws, trio.open_nursery() as nursery:
        sent = 0

        async def push() -> None:
            nonlocal sent
            for _ in range(200):
                await ws.wire.stream.send_all(frame(PING, b"p" * 100, mask=b"1234") * 1000)
                sent += 1

        await ws.send(text("go"))
        await ws.wire.settle()
        nursery.start_soon(push)
        await ws.wire.settle()
        await trio.sleep(0.05)
        assert sent < 200
        first = await ws.next()
        assert first is not None
        assert len(first.payload) == 1_000_000
        for _ in range(1000):
            assert await ws.next() == Frame(PONG, b"p" * 100)
        nursery.cancel_scope.cancel()


@only_polled
@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_leaves_while_nobody_receives(make: MakeSite, reset: bool) -> None:
    """Its messages fill the queue and it goes: the link says so at once; what it said can still be received."""
    told = trio.Event()
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"]["trivet"].attach(lambda _: told.set())
        await receive()
        await send({"type": "websocket.accept"})
        await told.wait()
        with pytest.raises(OSError, match="left"):
            await send({"type": "websocket.send", "text": "x"})
        while (message := await receive())["type"] == "websocket.receive":
            found.append(message["bytes"])

    async with make(app) as served:
        async with opened(served) as ws:
            await ws.send(*(frame(BINARY, b"x" * 1000) for _ in range(100)))
            await ws.wire.settle()
            if reset and served.tls is None:
                ws.wire.reset()
        with trio.fail_after(5):
            await told.wait()
    # RST takes with it what is in the kernel, but not what has been read.
    assert len(found) == 100 or (reset and len(found) > 30)


async def test_sends_that_are_given_up_do_not_pile_up(make: MakeSite) -> None:
    """A frame that has begun is held until it is out; one that waits for that is dropped with its sender."""
    held: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        link = scope["extensions"]["trivet"]
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(10):
            with trio.move_on_after(0.01):
                while True:
                    await send({"type": "websocket.send", "bytes": bytes(300_000)})
            held.append(sum(map(len, link._connection.pending)))
        link.abort()

    async with make(app) as served, opened(served, receive_buffer=4096) as ws:
        await ws.rest()
    assert max(held) <= 300_000 + 10


# Many ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["poller"], indirect=True)
async def test_abrupt_ends_leave_nothing(make: MakeSite) -> None:
    """A thousand clients that break their connections in the middle of something; the site counts what is left."""
    room: set[Any] = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        room.add(send)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                for each in list(room):
                    with trio.move_on_after(1):
                        try:
                            await each({"type": "websocket.send", "text": message["text"]})
                        except OSError:
                            pass
        finally:
            room.discard(send)

    async with make(app) as served:
        for _ in range(10):
            async with AsyncExitStack() as stack:
                peers = [await stack.enter_async_context(opened(served)) for _ in range(100)]
                for number, peer in enumerate(peers):
                    if number % 25 == 0:
                        await peer.send(text("to all"))
                    elif number % 3 == 0:
                        await peer.send(frame(BINARY, bytes(1000))[:500])
                await trio.testing.wait_all_tasks_blocked(0.01)
                for peer in peers:
                    peer.wire.reset()
        with trio.fail_after(5):
            while served.live:  # noqa: ASYNC110
                await trio.sleep(0.005)
    assert not room


async def test_a_connection_goes_with_its_last_reference(make: MakeSite) -> None:
    """Not when the garbage collector comes by: a message may have 16 MiB."""
    import gc

    async with make(Recorder().app) as served:
        await served.check_alive()
        gc.collect()
        gc.disable()
        try:
            for end in (close(), frame(BINARY, bytes(500), fin=False), frame(3), b""):
                async with opened(served) as ws:
                    await ws.send(end)
                    await ws.wire.settle()
            with trio.fail_after(5):  # a reference that is left stays for ever
                while any(isinstance(each, (WebSocketConnection, Decoder)) for each in gc.get_objects()):  # noqa: ASYNC110
                    await trio.sleep(0.01)
        finally:
            gc.enable()


@dataclasses.dataclass
class Silence:
    """What a client does that the server pings, and whether it is still there."""

    answers: bool
    stays: bool


@pytest.mark.parametrize("silence", [Silence(True, True), Silence(False, False)])
async def test_pings(monkeypatch: pytest.MonkeyPatch, make: MakeSite, silence: Silence) -> None:
    """A silent client is pinged; one that answers stays, one that does not is dropped, and its application told."""
    monkeypatch.setattr("trivet.server._http1_service.TICK", 0.02)
    recorder = Recorder()
    limits = Limits(websocket_pong=0.1)
    async with make(recorder.app, limits=limits, websocket_ping_interval=0.05) as served, opened(served) as ws:
        for _ in range(5):
            found = await ws.next()
            if not silence.stays:
                break
            assert found == Frame(PING, b"")
            await ws.send(frame(PONG))
        if not silence.stays:
            assert found == Frame(PING, b"")
            with trio.fail_after(5):
                assert (await ws.next()) == Frame(CLOSE, (1011).to_bytes(2, "big") + b"no pong")
                assert await ws.next() is None
            await ws.wire.settle()
            assert recorder.end == (1006, "")
            assert recorder.reasons == ["disconnected"]
        else:
            await ws.send(close())
            while (found := await ws.next()) is not None and found.opcode == PING:
                pass
            assert found == Frame(CLOSE, (1000).to_bytes(2, "big"))
