"""The ASGI specification, clause by clause, over HTTP/1.1: what an application may rely on, and what it may not do."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

import pytest
import trio

from tests.live._http1 import CLOSE, LAST, RST, answers, chunked, get, read_body, reply, site, sized, streams
from trivet.server._http1_connection import HTTP1Connection

pytestmark = [pytest.mark.live, pytest.mark.slow]


def start(status: Any = 200, headers: Any = ()) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: Any = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


# The scope -----------------------------------------------------------------------------------------------------------


async def test_the_scope_is_complete() -> None:
    """Every key that the specification names, each of the type that it names."""
    scopes: list[Any] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await reply(send)

    async with site(handler, root_path="/mounted") as served, served.connect() as wire:
        await wire.send(get(b"/a%20b%2Fc?x=%20", b"A: b", b"A: c", method=b"PUT"))
        await wire.answer()
        [scope] = scopes
        expected = {
            "type": "http",
            "http_version": "1.1",
            "method": "PUT",
            "scheme": "http",
            "path": "/a b/c",
            "raw_path": b"/a%20b%2Fc",
            "query_string": b"x=%20",
            "root_path": "/mounted",
            "headers": [(b"host", b"x"), (b"a", b"b"), (b"a", b"c")],
            "client": wire.stream.socket.getsockname(),
            "server": ("127.0.0.1", served.served.port),
        }
        assert {key: scope[key] for key in expected} == expected
        assert set(scope) - set(expected) == {"asgi", "state", "extensions"}
        assert scope["asgi"]["version"] == "3.0"
        assert type(scope["headers"]) is list
        assert type(scope["path"]) is str


async def test_each_request_has_its_own_scope() -> None:
    """What an application writes into a scope, its headers or its state is not seen by the next request."""
    seen: list[bool] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        seen.append("mark" in scope or "mark" in scope["state"] or (b"mark", b"") in list(scope["headers"]))
        scope["mark"] = scope["state"]["mark"] = True
        scope["headers"].append((b"mark", b""))
        await reply(send)

    async with site(handler) as served:
        answers(await served.exchange(get() + get() + LAST))
    assert seen == [False] * 3


@pytest.mark.parametrize("raw", [b"/%ff", b"/%C3%28", b"/%"])
async def test_a_path_that_is_not_utf_8_is_answered(raw: bytes) -> None:
    """`path` is text in any case, `raw_path` what was sent; no such request costs the connection."""
    seen: list[Any] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        seen.append((type(scope["path"]), scope["raw_path"]))
        await reply(send)

    async with site(handler) as served:
        assert [answer.status for answer in answers(await served.exchange(get(raw) + LAST))] == [200, 200]
    assert seen[0] == (str, raw)


async def test_a_request_has_a_context_of_its_own() -> None:
    """A context variable that one request sets is not set in the next of the same connection."""
    variable: ContextVar[int] = ContextVar("variable", default=0)
    seen: list[int] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        seen.append(variable.get())
        variable.set(1)
        await read_body(receive)
        await reply(send)

    async with site(handler) as served:
        answers(await served.exchange(get() + sized(b"x") + LAST))
    assert seen == [0, 0, 0]


# receive -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [get(), sized(b""), chunked()], ids=["get", "sized", "chunked"])
async def test_a_request_without_a_body_has_one_empty_message(data: bytes) -> None:
    """`http.request`, empty, with nothing to follow."""
    seen: list[Any] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        await reply(send)

    async with site(handler) as served:
        await served.exchange(data + LAST)
    assert [(message["type"], message.get("body", b""), message.get("more_body", False)) for message in seen] == [
        ("http.request", b"", False)
    ] * 2


async def test_receive_after_the_body_waits_for_the_client_to_leave() -> None:
    """It does not return before; a scope can stop it; then it says `http.disconnect`, each time."""
    seen: list[str] = []
    waits, over = trio.Event(), trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        with trio.move_on_after(0.05) as stopped:
            await receive()
        assert stopped.cancelled_caught
        waits.set()
        seen.extend([(await receive())["type"] for _ in range(3)])
        over.set()

    async with site(handler) as served:
        async with served.connect() as wire:
            await wire.send(sized(b"body"))
            await waits.wait()
            assert seen == []
        await over.wait()
    assert seen == ["http.disconnect"] * 3


@pytest.mark.parametrize("closes", [False, True])
async def test_receive_after_the_response_says_disconnect(closes: bool) -> None:
    """Once the response is complete, though the client is still there: at once, each time."""
    seen: list[str] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await reply(send)
        seen.extend([(await receive())["type"] for _ in range(3)])

    async with site(handler) as served, served.connect() as wire:
        await wire.send(get(b"/", CLOSE) if closes else get())
        await wire.answer()
        await wire.settle()
        assert seen == ["http.disconnect"] * 3
        if not closes:
            await wire.send(get())
            await wire.answer()


async def test_receive_cancelled_loses_nothing() -> None:
    """A `receive` that was given up leaves the message to the next."""
    got: list[bytes] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            with trio.move_on_after(0.01):
                message = await receive()
                got.append(message["body"])
                more = message["more_body"]
        await reply(send)

    async with site(handler) as served, served.connect() as wire:
        await wire.send(chunked()[:-5])
        for part in (b"one", b"two", b"three"):
            await trio.sleep(0.025)
            await wire.send(b"%x\r\n%s\r\n" % (len(part), part))
        await wire.send(b"0\r\n\r\n")
        await wire.answer()
    assert b"".join(got) == b"onetwothree"


# send: when the bytes go out -----------------------------------------------------------------------------------------


async def test_the_head_waits_for_the_first_part_of_the_body() -> None:
    """So that what fails in between can still be answered with 500."""
    go_on = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await go_on.wait()
        raise RuntimeError("before the body")

    async with site(handler, fails=True) as served, served.connect() as wire:
        await wire.send(get())
        assert await wire.is_quiet()
        go_on.set()
        assert answers(await wire.rest())[0].status == 500


async def test_each_part_goes_out_at_once() -> None:
    """An empty part sends the head; a part is not kept until there are more."""
    step = trio.Semaphore(0)

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        for part in (b"", b"one", b"two"):
            await step.acquire()
            await send(body(part, more=True))
        await step.acquire()
        await send(body())

    async with site(handler) as served, served.connect() as wire:
        await wire.send(get())
        for end in (b"\r\n\r\n", b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
            assert await wire.is_quiet()
            step.release()
            await wire.until(end)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_bodies_of_bytes_like_types(kind: Callable[[bytes], Any]) -> None:
    """Whatever holds bytes; a buffer that is used again after `send` does not change what was sent."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        data = kind(b"x" * 100_000)
        await send(start())
        await send(body(data, more=True))
        if isinstance(data, bytearray):
            data[:] = b"y" * 100_000
        await send(body(data))

    async with site(handler) as served:
        sent = answers(await served.exchange(LAST))[0].body
        assert sent == b"x" * 100_000 + (b"y" if kind is bytearray else b"x") * 100_000


async def test_defaults_of_messages() -> None:
    """`headers`, `body` and `more_body` may be left out; a header list may be any iterable of pairs."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/bare":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body"})
        else:
            await send(start(headers=iter([[b"x-a", b"1"], (b"x-a", b"2")])))
            await send(body(b"x"))

    async with site(handler) as served:
        bare, pairs = answers(await served.exchange(get(b"/bare") + LAST))
        assert (bare.status, bare.body) == (200, b"")
        assert pairs.field(b"x-a") == b"1, 2"


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_headers_may_be_an_iterator_in_any_response(method: bytes) -> None:
    """On a connection that goes on too, and with a field that takes a closer look: each is sent, once."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"x-a", b"1"), (b"date", b"its own"), (b"x-b", b"2"), (b"content-length", b"2")]
        await send(start(headers=(field for field in fields)))
        await send(body(b"ok"))

    async with site(handler) as served, served.connect() as wire:
        await wire.send(get(method=method))
        answer = await wire.answer(method.decode())
        assert [answer.field(name) for name in (b"x-a", b"date", b"x-b")] == [b"1", b"its own", b"2"]


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("data", [get(), LAST, get(method=b"HEAD")], ids=["kept", "last", "head"])
async def test_a_status_may_be_an_enum(data: bytes, more: bool) -> None:
    """`http.HTTPStatus` is an int: frameworks hand on what their users write."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/alive":
            await reply(send)
            return
        await send(start(HTTPStatus.CREATED))
        await send(body(b"ok", more=more))
        if more:
            await send(body())

    async with site(handler) as served, served.connect() as wire:
        await wire.send(data)
        assert (await wire.answer(data.split()[0].decode())).status == 201


async def test_a_date_is_added_once() -> None:
    """RFC 9110 section 6.6.1; the application's own stands."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, headers=[(b"date", b"its own")] if scope["path"] == "/own" else [])

    async with site(handler) as served:
        own, ours = answers(await served.exchange(get(b"/own") + LAST))
        assert own.field(b"date") == b"its own"
        assert (ours.field(b"date") or b"").endswith(b" GMT")


async def test_an_application_closes_the_connection() -> None:
    """`connection: close` of the application's is said and done, and said once."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, headers=[(b"connection", b"close")])

    async with site(handler) as served:
        [answer] = answers(await served.exchange(get() + get()))
        assert answer.field(b"connection") == b"close"


async def test_a_coding_of_the_application_s_is_not_applied_twice() -> None:
    """`transfer-encoding` is the server's: what the application says of it does not reach the wire."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send(start(headers=[(b"transfer-encoding", b"chunked")]))
        await send(body(b"12345"))

    async with site(handler) as served:
        [answer] = answers(await served.exchange(LAST))
        assert answer.body == b"12345"
        assert answer.field(b"transfer-encoding") in (None, b"chunked")


# send: what is refused -----------------------------------------------------------------------------------------------

# Each raises in the application, before a byte is out: 500.
BEFORE: dict[str, list[Any]] = {
    "body-first": [body(b"x")],
    "unknown-type": [{"type": "http.response.tea"}],
    "no-type": [{}],
    "websocket-message": [{"type": "websocket.accept"}],
    "start-twice": [start(), start()],
    "no-status": [{"type": "http.response.start"}, body()],
    "status-100": [start(100), body()],
    "status-101": [start(101), body()],
    "status-103": [start(103), body()],
    "status-0": [start(0), body()],
    "status-99": [start(99), body()],
    "status-600": [start(600), body()],
    "status-1000": [start(1000), body()],
    "status-negative": [start(-200), body()],
    "status-text": [start("200"), body()],
    "status-none": [start(None), body()],
    "name-text": [start(headers=[("x-a", b"1")]), body()],
    "name-empty": [start(headers=[(b"", b"1")]), body()],
    "name-space": [start(headers=[(b"x a", b"1")]), body()],
    "name-colon": [start(headers=[(b"x:a", b"1")]), body()],
    "name-line-feed": [start(headers=[(b"x\na", b"1")]), body()],
    "name-nul": [start(headers=[(b"x\x00", b"1")]), body()],
    "name-high": [start(headers=[(b"x\xff", b"1")]), body()],
    "name-pseudo": [start(headers=[(b":status", b"200")]), body()],
    "value-text": [start(headers=[(b"x-a", "1")]), body()],
    "value-number": [start(headers=[(b"x-a", 1)]), body()],
    "value-none": [start(headers=[(b"x-a", None)]), body()],
    "value-line-feed": [start(headers=[(b"x-a", b"1\nx-b: 2")]), body()],
    "value-return": [start(headers=[(b"x-a", b"1\rx-b: 2")]), body()],
    "value-both": [start(headers=[(b"x-a", b"1\r\n\r\nbody")]), body()],
    "value-nul": [start(headers=[(b"x-a", b"1\x00")]), body()],
    "no-pair": [start(headers=[(b"x-a",)]), body()],
    "headers-number": [start(headers=1), body()],
    "length-no-number": [start(headers=[(b"content-length", b"five")]), body(b"12345")],
    "length-negative": [start(headers=[(b"content-length", b"-5")]), body(b"12345")],
    "length-twice": [start(headers=[(b"content-length", b"5"), (b"content-length", b"6")]), body(b"12345")],
    "length-too-short": [start(headers=[(b"content-length", b"3")]), body(b"12345")],
    "body-text": [start(), body("12345")],
    "body-none": [start(), body(None)],
    "body-number": [start(), body(5)],
}


@pytest.mark.parametrize("name", BEFORE)
async def test_a_wrong_message_raises_and_is_answered_with_500(name: str) -> None:
    """The application is told by an exception where it is wrong, and no byte of what it meant is on the wire."""
    raised: list[BaseException] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/last":
            await reply(send)
            return
        try:
            for message in BEFORE[name]:
                await send(message)
        except Exception as error:
            raised.append(error)
            raise

    async with site(handler, fails=True) as served:
        found = answers(await served.exchange(get(), LAST))
        assert found[0].status == 500
        assert found[0].field(b"x-a") is None
        assert [answer.status for answer in found[1:]] in ([], [200])
        assert len(found) == 2 or found[0].closes
        assert len(raised) == 1


@pytest.mark.parametrize("size", [5, 100_000])
@pytest.mark.parametrize("data", [get(), LAST], ids=["kept", "last"])
async def test_a_body_that_is_no_bytes_is_a_500_in_any_response(data: bytes, size: int) -> None:
    """However the response would have been written: nothing is given out before all of it is known to be bytes."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body("x" * size))

    async with site(handler, fails=True) as served, served.connect() as wire:
        await wire.send(data)
        assert (await wire.answer()).status == 500


FAULTY: dict[str, tuple[Any, list[bool]]] = {
    "status": (start(99), [True]),
    "status-float": (start(200.0), [True]),
    "header": (start(headers=[(b"x-a", b"1\r\nx-b: 2")]), [False, True]),
    "header-text": (start(headers=[("x-a", b"1")]), [False, True]),
}


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("name", FAULTY)
async def test_a_wrong_status_raises_at_once_a_wrong_header_with_the_body(name: str, more: bool) -> None:
    """Checking the fields where they are written costs no second look at them. Who is told at once can start again."""
    wrong, expected = FAULTY[name]
    raised: list[bool] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        for message in (wrong, body(b"x", more=more)):
            try:
                await send(message)
            except Exception:
                raised.append(True)
                break
            raised.append(False)
        await send(start(201))
        await send(body(b"again"))

    async with site(handler, fails=True) as served:
        [answer] = answers(await served.exchange(LAST))
        assert answer.status == (201 if expected == [True] else 500)
    assert raised == expected


# Each raises once the response has begun: it is cut so that the client can tell.
AFTER: dict[str, tuple[list[Any], Any]] = {
    "length-too-short": ([start(headers=[(b"content-length", b"6")]), body(b"1234", more=True)], body(b"567")),
    "start-again": ([start(), body(b"1234", more=True)], start()),
    "unknown-type": ([start(), body(b"1234", more=True)], {"type": "http.response.tea"}),
    "body-text": ([start(), body(b"1234", more=True)], body("5")),
    "length-too-long": ([start(headers=[(b"content-length", b"6")]), body(b"1234", more=True)], body(b"5")),
}


@pytest.mark.parametrize("name", AFTER)
async def test_a_wrong_message_after_the_head_cuts_the_response(name: str) -> None:
    """What looks whole is whole: the connection ends short of the length, or without the last chunk."""
    raised: list[BaseException] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        good, wrong = AFTER[name]
        for message in good:
            await send(message)
        try:
            await send(wrong)
        except Exception as error:
            raised.append(error)
            raise

    async with site(handler, fails=True) as served:
        raw = await served.exchange(get(), get())
        with pytest.raises(Exception, match="without sending complete message body"):
            answers(raw)
        assert raw.count(b"HTTP/1.1 ") == 1
        assert not raw.removesuffix(RST).endswith(b"\r\n0\r\n\r\n")
        assert len(raised) == 1 or name == "length-too-long"


async def test_a_body_short_of_its_length_cuts_the_response() -> None:
    """An application that states ten bytes and ends after five; with nothing out yet, it is a 500 instead."""
    async with site(streams(b"12345", length=10, more=True), fails=True) as served:
        raw = await served.exchange(get(), get())
        assert raw.removesuffix(RST).endswith(b"\r\n\r\n12345")
    async with site(streams(b"12345", length=10), fails=True) as served:
        raw = await served.exchange(get(), get())
        assert raw.startswith(b"HTTP/1.1 500") or raw.removesuffix(RST).endswith(b"\r\n\r\n12345")


async def test_returning_in_the_middle_cuts_the_response() -> None:
    """Chunked: the last chunk never comes."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"12345", more=True))

    async with site(handler, fails=True) as served:
        raw = await served.exchange(get(), get())
        assert raw.removesuffix(RST).endswith(b"\r\n\r\n5\r\n12345\r\n")


@pytest.mark.parametrize("message", [body(b"more"), start(), {"type": "http.response.tea"}])
async def test_sending_after_the_response_raises_and_sends_nothing(message: Any) -> None:
    """The next response of the connection is not disturbed."""
    raised: list[BaseException] = []

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, scope["raw_path"])
        try:
            await send(message)
        except Exception as error:
            raised.append(error)

    async with site(handler) as served:
        found = answers(await served.exchange(get(b"/first"), LAST))
        assert [answer.body for answer in found] == [b"/first", b"/last"]
    assert len(raised) == 2


@pytest.mark.parametrize("pause", [0, 0.001])
@pytest.mark.parametrize("then", ["returns", "raises", "wraps"])
async def test_sending_after_the_client_left_raises_oserror(then: str, pause: float) -> None:
    """ASGI 2.4: `send` raises an `OSError`, so that an application that never reads `receive` ends.

    One that lets it pass, or raises its own from it as Starlette does, is not logged as failed.
    """
    raised: list[BaseException] = []
    versions: list[str] = []
    over = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        versions.append(scope["asgi"]["spec_version"])
        await send(start())
        try:
            while True:
                await send(body(b"x" * 1000, more=True))
                await trio.sleep(pause)
        except OSError as error:
            raised.append(error)
            if then == "wraps":
                raise RuntimeError("the client has left, says the framework")  # noqa: B904 - as Starlette does
            if then == "raises":
                raise
        finally:
            over.set()

    async with site(handler) as served:
        async with served.connect() as wire:
            await wire.send(get())
            await wire.some()
        with trio.fail_after(9):
            await over.wait()
        await wire.settle()
    assert len(raised) == 1
    assert tuple(map(int, versions[0].split("."))) >= (2, 4)


@pytest.mark.parametrize("streamed", [False, True])
async def test_answering_who_has_left_raises_oserror(streamed: bool) -> None:
    """Nothing was sent before, and the application knows of the disconnect. A reset leaves nobody to be answered."""
    raised: list[BaseException] = []
    over = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        try:
            await send(start())
            await send(body(b"x", more=streamed))
        except OSError as error:
            raised.append(error)
            raise
        finally:
            over.set()

    async with site(handler) as served:
        async with served.connect() as wire:
            await wire.send(get())
            await wire.settle()
            wire.reset()
        await over.wait()
    assert len(raised) == 1


async def test_returning_after_the_client_left_is_no_failure() -> None:
    """An application that was told `http.disconnect` owes no answer: nothing is sent, not even to half a connection."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        assert await read_body(receive) is None

    async with site(handler) as served, served.connect() as wire:
        await wire.send(sized(b"12345", claim=10))
        wire.stream.socket.shutdown(trio.socket.SHUT_WR)
        assert await wire.rest() in (b"", RST)


# The end of the application ------------------------------------------------------------------------------------------


async def test_returning_without_an_answer_is_500() -> None:
    """And so is returning with only the head announced."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/start":
            await send(start())

    async with site(handler, fails=True) as served:
        for path in (b"/", b"/start"):
            assert answers(await served.exchange(get(path), get(path)))[0].status == 500


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, OSError, EOFError])
async def test_whatever_an_application_raises_is_500(error: type[BaseException]) -> None:
    """Logged, and nobody else's affair; what it raises after a whole answer changes nothing."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/before":
            await reply(send, scope["raw_path"])
        if scope["path"] != "/last":
            raise error

    async with site(handler, fails=True) as served:
        found = answers(await served.exchange(get(b"/after"), LAST))
        assert [(answer.status, answer.body) for answer in found] == [(200, b"/after"), (200, b"/last")]
        assert answers(await served.exchange(get(b"/before"), get(b"/before", CLOSE)))[0].status == 500
        assert len(served.errors) >= 2


async def test_work_after_the_response_holds_up_the_next_request_at_most() -> None:
    """Background work after the last part: the response is out, and the next request of the connection is answered."""
    go_on = trio.Event()

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, scope["raw_path"])
        if scope["path"] == "/":
            await go_on.wait()

    async with site(handler) as served, served.connect() as wire:
        await wire.send(get())
        assert (await wire.answer()).body == b"/"
        assert served.live == 1
        await wire.send(LAST)
        await wire.settle()
        go_on.set()
        assert (await wire.answer()).body == b"/last"


async def test_a_fault_of_ours_costs_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever we have not foreseen, in the task that answers: it is logged, and the others go on."""
    faults: list[str] = []

    def fail(self: HTTP1Connection, *, reusable: bool) -> None:
        if faults:
            raise RuntimeError(faults.pop())
        foreseen(self, reusable=reusable)

    foreseen = HTTP1Connection._next
    monkeypatch.setattr(HTTP1Connection, "_next", fail)
    async with site(fails=True) as served, served.connect() as other:
        await other.send(get())
        assert (await other.answer()).status == 200
        await other.settle()  # the answer may be here before the server is done with the request
        faults.append("unforeseen")
        assert answers(await served.exchange(get()))[0].status == 200  # it was out; then the connection is closed
        await other.send(get())
        assert (await other.answer()).status == 200
        assert len(served.errors) == 1
        assert "unforeseen" in served.errors[0]
