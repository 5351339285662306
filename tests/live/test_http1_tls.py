"""The same protocol over TLS, where a task reads a stream in the place of the poller: nothing else may be different."""

from __future__ import annotations

import dataclasses
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
import trustme

from tests.live._http1 import (
    CLOSE,
    LAST,
    RST,
    Site,
    answers,
    chunked,
    direct,
    get,
    mirror,
    read_body,
    reply,
    site,
    sized,
)
from tests.live.test_http1_framing import STREAMS, final
from tests.live.test_http1_malformed import ACCEPTED, BODIES, HEADS, SMUGGLED
from trivet.server._limits import Limits

pytestmark = [pytest.mark.live, pytest.mark.slow]


class SecureSite(Protocol):
    def __call__(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Site]: ...


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA, tmp_path: Path) -> SecureSite:
    """`site`, over TLS."""
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

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})

    body = bytes(range(256)) * 20_000
    async with secure(handler) as served, served.connect() as wire, trio.open_nursery() as nursery:
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
        with trio.fail_after(2):
            await over.wait()


async def test_garbage_in_the_place_of_a_handshake(secure: SecureSite) -> None:
    """Costs its own connection."""
    async with secure(mirror) as served:
        for data in (get(), b"", b"\x16\x03\x01", b"\xff" * 1000):
            async with await served.served.connect() as stream:
                if data:
                    await stream.send_all(data)
