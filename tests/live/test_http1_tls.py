"""The same protocol over TLS, in the poller and with a task that reads a stream: nothing else may be different."""

from __future__ import annotations

import dataclasses
import functools
import ssl
import subprocess
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, cast

import h2.connection
import h2.events
import pytest
import trio
import trustme
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Request

from tests.harness.tools import require
from tests.live._http1 import (
    CLOSE,
    LAST,
    RST,
    Site,
    Wire,
    answers,
    chunked,
    direct,
    echo,
    get,
    mirror,
    read_body,
    reply,
    site,
    sized,
)
from tests.live._inprocess import read_all
from tests.live.test_http1_framing import STREAMS, final
from tests.live.test_http1_malformed import ACCEPTED, BODIES, HEADS, SMUGGLED
from trivet.asgi import Answer as DirectAnswer
from trivet.asgi import Head
from trivet.server import _serve
from trivet.server._http1_service import HTTP1Service
from trivet.server._limits import Limits
from trivet.server._tls_transport import SecureTransport

pytestmark = [pytest.mark.live, pytest.mark.slow]


class SecureSite(Protocol):
    def __call__(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Site]: ...


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["poller", "task"])
def secure(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, tmp_path: Path
) -> SecureSite:
    """`site`, over TLS; in the poller, and with a task for each connection as where there is no epoll."""
    if request.param == "task":
        monkeypatch.setattr(_serve, "POLLS", False)
    cert = authority.issue_cert("localhost")
    cert.private_key_pem.write_to_path(tmp_path / "key.pem")
    cert.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def make(*args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Site]:
        files = {"certfile": str(tmp_path / "cert.pem"), "keyfile": str(tmp_path / "key.pem")}
        return site(*args, tls=context, **files, **kwargs)

    return make


async def refused(served: Site, *parts: bytes) -> int:
    """The status of the last answer of a connection. TLS cannot end one half, so that its end comes a little later."""
    async with served.connect() as wire:
        await wire.send_in_parts(parts)
        answer = await wire.answer()
        assert answer.closes
        return answer.status


@pytest.mark.parametrize("door", [None, direct])
async def test_streams_of_requests_are_answered_as_in_the_clear(secure: SecureSite, door: Any) -> None:
    """Whole, by the byte, and with the same bytes."""
    async with site(door=door) as plain, secure(door=door) as served:
        for name, data in STREAMS.items():
            expected = final(await plain.exchange(data + LAST))
            assert final(await served.exchange(data + LAST)) == expected, name
            parts = [(data + LAST)[at : at + 7] for at in range(0, len(data + LAST), 7)]
            assert final(await served.exchange(*parts)) == expected, name


async def test_the_neighbours_are_accepted(secure: SecureSite) -> None:
    """All of them."""
    async with secure() as served:
        for name, (data, expected) in ACCEPTED.items():
            [answer, *_] = answers(await served.exchange(data + (b"" if b"HTTP/1.0" in data else LAST)))
            assert {key: answer.seen[key] for key in expected} == expected, name


async def test_malformed_requests_are_refused(secure: SecureSite) -> None:
    """With the same answers, which arrive."""
    async with secure() as served:
        for name, (status, data) in HEADS.items():
            assert await refused(served, data + SMUGGLED) == status, name
        assert served.paths == []
        for name, data in BODIES.items():
            assert await refused(served, data + SMUGGLED) == 400, name
        assert b"/smuggled" not in served.paths


async def test_limits(secure: SecureSite) -> None:
    """413, 414, 431 and both kinds of 408, and the end of an idle connection."""
    sizes = Limits(request_line=100, head_size=500, body_size=1000)
    limits = dataclasses.replace(sizes, head_timeout=0.2, idle_timeout=0.4, body_rate=100, body_grace=0.2)
    cases = {
        413: sized(b"", claim=1001),
        414: get(b"/" + b"a" * 200),
        431: get(b"/", b"A: " + b"b" * 600),
        408: get()[:-1],
    }
    async with secure(limits=limits) as served:
        for status, data in cases.items():
            assert await refused(served, data) == status
        assert await refused(served, sized(b"x", claim=10)) == 408
        assert await refused(served, chunked(b"x" * 600)[:-5], b"258\r\n" + b"x" * 600) == 413
        assert [answer.status for answer in answers(await served.exchange(get()))] == [200]
        assert await served.exchange() in (b"", RST)


async def test_connections(secure: SecureSite) -> None:
    """The limit counts them, those that have not finished their handshake too."""
    async with (
        secure(limits=Limits(connections=2, idle_timeout=30)) as served,
        served.connect() as first,
        await served.served.connect() as second,
    ):
        await first.send(get())
        assert (await first.answer()).status == 200
        async with served.connect() as third, trio.open_nursery() as nursery:
            nursery.start_soon(third.send, LAST)
            await trio.sleep(0.2)
            assert served.paths == [b"/"]
            await second.aclose()
            assert (await third.answer()).seen["path"] == "/last"


async def test_a_client_that_does_not_read_is_reset(secure: SecureSite) -> None:
    """So that it cannot take what it has for the whole."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"x" * 20_000_000)

    async with (
        secure(handler, options={"send_timeout": 0.3}) as served,
        served.connect(receive_buffer=4096) as wire,
    ):
        await wire.send(get())
        await trio.sleep(1)
        assert (await wire.rest()).endswith(RST)


async def test_large_bodies_both_ways(secure: SecureSite) -> None:
    """Five megabytes in, five megabytes out, at the same time."""
    body = bytes(range(256)) * 20_000
    async with secure(echo) as served, served.connect() as wire, trio.open_nursery() as nursery:
        nursery.start_soon(wire.send, sized(body, CLOSE))
        [answer] = answers(await wire.rest())
        assert answer.body == body


async def test_an_early_answer_to_an_upload_arrives(secure: SecureSite) -> None:
    """Though the client is still sending."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"too large", 413)

    async with secure(handler) as served, served.connect() as wire, trio.open_nursery() as nursery:
        await wire.stream.do_handshake()
        nursery.start_soon(wire.send, sized(b"x" * 3_000_000, claim=8_000_000))
        assert answers(await wire.rest())[0].body == b"too large"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_who_leaves_is_noticed(secure: SecureSite, how: str) -> None:
    """`http.disconnect` comes, politely ended or not."""
    began, over = trio.Event(), trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        began.set()
        assert await read_body(receive) == b""
        assert (await receive())["type"] == "http.disconnect"
        over.set()

    async with secure(handler) as served:
        async with served.connect() as wire:
            await wire.send(get())
            await began.wait()
            if how == "close":
                await wire.stream.aclose()
        with trio.fail_after(9):
            await over.wait()


async def test_garbage_in_the_place_of_a_handshake(secure: SecureSite) -> None:
    """Costs its own connection."""
    async with secure(mirror) as served:
        for data in (get(), b"", b"\x16\x03\x01", b"\xff" * 1000):
            async with await served.served.connect() as stream:
                if data:
                    await stream.send_all(data)


@pytest.mark.parametrize("secure", ["poller"], indirect=True)
async def test_an_error_at_the_end_of_a_handshake_costs_its_connection(
    secure: SecureSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the kernel has not taken the last flight at once, so that the error is not met in the poller."""
    full: list[SecureTransport] = []  # what the kernel takes nothing of for a moment
    flush = SecureTransport.flush

    def flush_later(self: SecureTransport) -> bool:
        if self.session.cipher() is None or self in full:
            return flush(self)
        full.append(self)
        return False

    def fail(self: HTTP1Service, transport: SecureTransport) -> None:
        raise KeyError(transport.tls)

    async with secure(fails=True) as served:
        assert served.tls is not None
        served.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        with monkeypatch.context() as patch:
            patch.setattr(SecureTransport, "flush", flush_later)
            patch.setattr(HTTP1Service, "secured", fail)
            async with served.connect() as wire:
                await wire.send(get())
                assert await wire.rest() in (b"", RST)
        assert len(full) == 1
        await served.check_alive()
    [error] = served.errors
    assert "KeyError: True" in error


async def test_an_error_behind_the_handshake_costs_its_connection(secure: SecureSite) -> None:
    """One that was met in the request that came with the handshake's last flight: nothing of either is left."""

    def door(head: Head) -> DirectAnswer:
        return (200, cast(Any, 0), b"") if head.raw_path == b"/wrong" else direct(head)

    async with secure(door=door, fails=True, limits=Limits(connections=1, idle_timeout=30)) as served:
        assert served.tls is not None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = served.tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with await served.served.connect() as stream:
            while True:
                try:
                    session.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await stream.send_all(outgoing.read())
                    incoming.write(await stream.receive_some())
            session.write(get(b"/wrong"))
            await stream.send_all(outgoing.read())
            assert (await read_all(stream)).endswith((b"", RST))
        await served.check_alive()
    assert len(served.errors) == 1


async def test_a_handshake_that_takes_too_long(secure: SecureSite) -> None:
    """Is ended, however slowly it goes on."""
    async with secure(ssl_handshake_timeout=0.2) as served, await served.served.connect() as stream:
        await stream.send_all(b"\x16\x03\x01\x02")
        with trio.fail_after(9):
            assert await stream.receive_some() == b""


async def test_a_websocket_goes_on_with_the_session(secure: SecureSite) -> None:
    """Handed over with the bytes read so far; both ends say goodbye."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        assert scope["scheme"] == "wss"
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})

    async with secure(handler) as served, served.connect() as wire:
        client = WSConnection(ConnectionType.CLIENT)
        parts = [bytes([number]) * 100_000 for number in range(10)]
        await wire.send(client.send(Request(host="x", target="/")))
        echoed = b""
        assert isinstance(await _event(wire, client), AcceptConnection)
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for part in parts:
                    await wire.send(client.send(BytesMessage(data=part)))

            nursery.start_soon(send)
            while len(echoed) < 1_000_000:
                event = await _event(wire, client)
                assert isinstance(event, BytesMessage)
                echoed += event.data
        assert echoed == b"".join(parts)
        await wire.send(client.send(CloseConnection(code=1000)))
        assert isinstance(await _event(wire, client), CloseConnection)
        assert await wire.some() in (b"", RST)


async def _event(wire: Wire, client: WSConnection) -> Event:
    while True:
        for event in client.events():
            return event
        data = await wire.some()
        client.receive_data(data or None)


async def test_http2_goes_on_with_the_session(secure: SecureSite) -> None:
    """A body of a megabyte there and back, on a connection that ALPN has made one of HTTP/2."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        assert (scope["http_version"], scope["scheme"]) == ("2", "https")
        body = await read_body(receive)
        assert body is not None
        await reply(send, body)

    async with secure(handler) as served:
        assert served.tls is not None
        served.tls.set_alpn_protocols(["h2", "http/1.1"])
        async with served.connect() as wire:
            await wire.stream.do_handshake()
            assert wire.stream.selected_alpn_protocol() == "h2"
            served.tls.set_alpn_protocols(["http/1.1"])
            body = bytes(range(250)) * 4000
            assert await _echoed(wire, body) == body


async def _echoed(wire: Wire, body: bytes) -> bytes:
    client = h2.connection.H2Connection()
    client.initiate_connection()
    client.send_headers(1, [(":method", "POST"), (":path", "/"), (":scheme", "https"), (":authority", "x")])
    left, back = body, b""
    while True:
        while left and (room := min(client.local_flow_control_window(1), client.max_outbound_frame_size)):
            client.send_data(1, left[:room], end_stream=len(left) <= room)
            left = left[room:]
        await wire.send(client.data_to_send())
        data = await wire.some()
        assert data not in (b"", RST)
        for event in client.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                back += event.data or b""
                client.acknowledge_received_data(event.flow_controlled_length or 0, 1)
            elif isinstance(event, h2.events.StreamEnded):
                return back


async def test_renegotiation_is_refused(secure: SecureSite) -> None:
    """TLS 1.2 has it, and it costs a server far more than a client (CVE-2011-1473)."""
    openssl = require("openssl")
    async with secure() as served:
        command = [openssl, "s_client", "-tls1_2", "-connect", f"127.0.0.1:{served.served.port}"]
        async with trio.open_nursery() as nursery:
            start = functools.partial(
                trio.run_process,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            process = await nursery.start(start, command)
            await process.stdin.send_all(b"R\n")
            with trio.fail_after(5):
                assert await process.wait() != 0
            await process.stdin.aclose()
    assert served.paths == []
