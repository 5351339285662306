"""The access log of what is not answered by an application: the line says what the client got."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio

from tests.live._http1 import answers, chunked, get, read_body, reply, site, sized
from tests.live.test_access_log import Lines, lines
from trivet import App
from trivet.asgi import ASGIApp
from trivet.server._access_format import formatter_of
from trivet.server._limits import Limits

pytestmark = [pytest.mark.live, pytest.mark.slow]

LIMITS = Limits(
    request_line=60, head_size=200, head_fields=5, head_timeout=0.1, body_size=1000, body_rate=100, body_grace=0.1
)


@pytest.fixture(autouse=True)
def enabled(caplog: pytest.LogCaptureFixture) -> None:
    """As a program enables it that configures `logging` itself."""
    caplog.set_level(logging.INFO, "trivet.access")


async def own_lines(caplog: pytest.LogCaptureFixture, count: int) -> Lines:
    """The lines but for those of the harness."""
    found = await lines(caplog, count + 1)
    return [line for line in found if line[1] != "/alive"]


# Inside a body -------------------------------------------------------------------------------------------------------

JSON = b"Content-Type: application/json"


def begun(*parts: bytes) -> bytes:
    """A chunked upload whose last chunk has not come."""
    return chunked(*parts, path=b"/upload", fields=[JSON])[:-5]


INSIDE = {
    "too-large": (413, [begun(b"x" * 900), b"65\r\n"]),
    "bad-chunk": (400, [begun(b"1234"), b"x\r\n"]),
    "bad-chunk-at-once": (400, [begun(b"1234") + b"x\r\n"]),
    "too-slow": (408, [sized(b"x", JSON, claim=10, path=b"/upload")]),
}


def reader() -> ASGIApp:
    """An application that ends in silence when its client has left."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and await read_body(receive) is not None:
            await reply(send)

    return app


def raiser() -> ASGIApp:
    """One that takes it for an error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            assert await read_body(receive) is not None
            await reply(send)

    return app


def ours() -> ASGIApp:
    """One that is told by its Link, and says why the request ended as it sees it."""
    app = App(on_disconnect="cancel")

    @app.post("/upload")
    async def upload(body: dict[str, int]) -> None:
        """Never called."""

    @app.get("/alive")
    async def alive() -> str:
        return "ok"

    return app


@pytest.mark.parametrize("made", [reader, raiser, ours])
@pytest.mark.parametrize("name", INSIDE)
async def test_a_refusal_inside_a_body(name: str, made: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The status and the bytes that the client got; the application was only told that nobody takes its answer."""
    status, parts = INSIDE[name]
    async with site(made(), limits=LIMITS, fails=True) as served:
        [answer] = answers(await served.exchange(*parts), "POST")
        assert answer.status == status
        assert await own_lines(caplog, 1) == [("POST", "/upload", status, "failed", len(answer.body))]
    record = next(each for each in caplog.records if getattr(each, "path", "") == "/upload")
    assert 0 <= record.__dict__["time_to_head"] <= record.__dict__["duration"]


async def test_a_refusal_inside_a_body_whose_response_has_begun(caplog: pytest.LogCaptureFixture) -> None:
    """It is cut: the status and the bytes are the application's, and who asked to be told is told."""
    told = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/alive":
            await reply(send)
            return
        scope["extensions"]["trivet"].attach(lambda _: told.set())
        await send({"type": "http.response.start", "status": 201})
        await send({"type": "http.response.body", "body": b"four", "more_body": True})
        await told.wait()

    async with site(handler, limits=LIMITS) as served:
        await served.exchange(chunked()[:-5], b"x\r\n")
        assert await own_lines(caplog, 1) == [("POST", "/", 201, "failed", 4)]


async def test_what_is_refused_at_once_is_not_run() -> None:
    """A body that is wrong already when its head is read: no application acts on half a request."""
    async with site(limits=LIMITS) as served:
        [answer] = answers(await served.exchange(chunked(b"1234")[:-5] + b"x\r\n"), "POST")
        assert (answer.status, served.paths) == (400, [])


# By its head ---------------------------------------------------------------------------------------------------------

HEADS: dict[str, tuple[bytes, tuple[str, str, int]]] = {
    "line-too-long": (b"GET /a?secret=" + b"x" * 60, ("GET", "/a", 414)),
    "path-too-long": (b"GET /" + b"x" * 60, ("GET", "-", 414)),
    "head-too-large": (b"GET /a?secret HTTP/1.1\r\n" + b"A: secret\r\n" * 20, ("GET", "/a", 431)),
    "too-many-fields": (b"GET /a HTTP/1.1\r\n" + b"A: 1\r\n" * 7, ("GET", "/a", 431)),
    "stray": (b"GET /a HTTP/1.1\r\nA: \0secret", ("GET", "/a", 400)),
    "too-slow": (b"GET /a HTTP/1.1\r\nA: secret", ("GET", "/a", 408)),
    "too-slow-a-path": (b"GET /a", ("GET", "-", 408)),
    "unknown-method": (b"TEA /a HTTP/1.1\r\n", ("TEA", "/a", 501)),
    "unknown-version": (b"GET /a HTTP/3.0\r\n", ("GET", "/a", 505)),
    "no-request": (b"\x16\x03\x01\x02\0\x01 /a b\r\n", ("-", "-", 400)),
    "whole-bad-field": (b"GET /a?secret HTTP/1.1\r\nHost: x\r\nA : secret\r\n\r\n", ("GET", "/a", 400)),
    "whole-unknown-method": (b"TEA /a?secret HTTP/1.1\r\nHost: x\r\n\r\n", ("TEA", "/a", 501)),
    "whole-and-more": (b"GET /a?secret HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n", ("GET", "/a", 400)),
    "another-host": (b"GET /a?secret HTTP/1.1\r\nHost: y\r\n\r\n", ("GET", "/a", 404)),
    "length-too-large": (sized(b"", path=b"/a?secret", claim=1001), ("POST", "/a", 413)),
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_refusal_of_a_head(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Method and path as far as they can be read, the status, and the bytes of the answer."""
    data, (method, path, status) = HEADS[name]
    async with site(limits=LIMITS, server_names=["x"]) as served:
        [answer] = answers(await served.exchange(data))
        assert await own_lines(caplog, 1) == [(method, path, status, "failed", len(answer.body))]
        assert answer.body
    [record] = [each for each in caplog.records if each.__dict__.get("status") == status]
    shown = [formatter_of(shape).format(record) for shape in ("text", "json")]
    assert f" {method} {path} {status} failed {len(answer.body)}B " in shown[0]
    assert json.loads(shown[1])["path"] == (None if path == "-" else path)
    assert "secret" not in "".join(shown)


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("status", [204, 304])
async def test_a_body_that_is_not_sent_is_not_counted(
    status: int, more: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What an application gives along with a status that has none (RFC 9110 section 6.4.1)."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/alive":
            await reply(send)
            return
        await send({"type": "http.response.start", "status": status})
        await send({"type": "http.response.body", "body": b"four", "more_body": more})
        if more:
            await send({"type": "http.response.body"})

    async with site(handler, limits=LIMITS) as served, served.connect() as wire:
        await wire.send(get(b"/a"))
        assert (await wire.answer()).body == b""
        assert await own_lines(caplog, 1) == [("GET", "/a", status, "returned", 0)]


async def test_what_the_server_answers_for_an_application_has_its_size(caplog: pytest.LogCaptureFixture) -> None:
    """A 500, whose body HEAD does not get."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError

    async with site(handler, limits=LIMITS, fails=True) as served:
        for number, method in enumerate((b"GET", b"HEAD"), 1):
            [answer] = answers(await served.exchange(get(b"/a", method=method)), method.decode())
            assert answer.status == 500
            assert (await own_lines(caplog, number))[-1] == (method.decode(), "/a", 500, "failed", len(answer.body))
            assert bool(answer.body) == (method == b"GET")
