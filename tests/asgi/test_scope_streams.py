"""Streams and uploads through the whole application: whole or visibly cut, and early answers that arrive."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import httpx
import hypothesis.strategies as st
import msgspec
import pytest
import trio
from hypothesis import given
from trio.testing import MockClock

from trivet import App, Depends, HTTPError, Next, Request, Response, Sink, Stream, Text
from trivet._sink import _line
from trivet.errors import ClientDisconnected
from trivet.testing import TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])


@both_servers
async def test_a_stream_lives_past_the_deadline(link: bool, autojump_clock: MockClock) -> None:
    """`timeout` is up to the head; each write has `send_timeout`, and pauses between writes have no bound."""
    app, requests = App(timeout=2), list[Request]()

    @app.get("/")
    async def handler(request: Request) -> Stream:
        requests.append(request)

        async def feed(sink: Sink) -> None:
            for part in ("a", b"b", "", "c"):
                await trio.sleep(3600)
                await sink.send(part)

        return Stream(feed)

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).content == b"abc"
    assert requests[0].ended == "returned"


class Broken(BaseException):
    """Not even an `Exception`."""


@pytest.mark.parametrize("error", [ValueError("bug"), HTTPError(404), SystemExit(3), KeyboardInterrupt(), Broken()])
@both_servers
async def test_a_stream_that_fails_is_cut_and_the_server_lives(
    error: BaseException, link: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Never ended as if it were whole, whatever its source raises; nothing worse than an `Exception` gets out."""
    app, requests = App(), list[Request]()

    @app.get("/")
    async def handler(request: Request) -> Stream:
        requests.append(request)

        async def feed(sink: Sink) -> None:
            await sink.send("part")
            raise error

        return Stream(feed)

    async with TestClient(app, link=link, raise_app_exceptions=False) as client:
        async with client.open("GET", "/") as exchange:
            assert await exchange.receive() == b"part"
            assert await exchange.receive() is None
            assert exchange.truncated
            await exchange.wait_returned()
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")
    assert requests[0].ended == "failed"
    told = [record.getMessage().partition(" failed after its head was sent: ") for record in caplog.records]
    assert [what for _, how, what in told if how] == [f"the response is cut, request {each.id}" for each in requests]


@both_servers
async def test_a_group_with_an_interrupt_goes_on_to_the_server(link: bool) -> None:
    """Ctrl-C landed in a task of the stream's: that is the operator's wish and no failure of a response."""
    app, cut = App(), list[Any]()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("part")
            raise BaseExceptionGroup("", [KeyboardInterrupt(), ValueError()])

        return Stream(feed)

    async def boundary(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except BaseExceptionGroup as group:
            cut.append(group)
            raise RuntimeError from None

    async with (
        TestClient(boundary, link=link, raise_app_exceptions=False) as client,
        client.open("GET", "/") as exchange,
    ):
        await exchange.read()
        assert exchange.truncated
    assert [type(leaf) for leaf in cut[0].exceptions] == [KeyboardInterrupt, ValueError]


@pytest.mark.parametrize(("sends", "whole"), [([b"12345"], True), ([b"12", b"345"], True), ([b"123"], False)])
@both_servers
async def test_a_content_length_is_kept_or_the_stream_is_cut(
    sends: list[bytes], whole: bool, link: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that ends short of what its head has promised is incomplete."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            for part in sends:
                await sink.send(part)

        return Stream(feed, headers={"Content-Length": "5"})

    async with (
        TestClient(app, link=link, raise_app_exceptions=False) as client,
        client.open("GET", "/") as exchange,
    ):
        assert await exchange.read() == b"".join(sends)
        assert (exchange.complete, exchange.truncated) == (whole, not whole)
        assert exchange.headers["content-length"] == "5"


@both_servers
async def test_more_than_the_content_length_is_refused_before_it_is_sent(
    link: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes past the promised length would be read as the next answer."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("1234")
            await sink.send("56")

        return Stream(feed, headers={"Content-Length": "5"})

    async with (
        TestClient(app, link=link, raise_app_exceptions=False) as client,
        client.open("GET", "/") as exchange,
    ):
        assert await exchange.read() == b"1234"
        assert exchange.truncated
    assert "more than its Content-Length of 5" in caplog.text


@both_servers
async def test_head_of_a_stream_does_not_begin_it(link: bool) -> None:
    """The same head, no body, and the dependencies leave as they do after a success."""
    app, log = App(), list[str]()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        yield
        log.append("left")

    @app.get("/")
    async def handler(used: Annotated[None, Depends(resource)]) -> Stream:
        async def feed(sink: Sink) -> None:
            log.append("feed")

        return Stream(feed, status=203, headers={"X-A": "1"}, media_type="text/csv")

    async with TestClient(app, link=link) as client:
        got, head = await client.get("/"), await client.head("/")
    assert log == ["feed", "left", "left"]
    assert (head.status_code, head.headers, head.content) == (got.status_code, got.headers, b"")


async def test_sending_after_the_client_left_raises(autojump_clock: MockClock) -> None:
    """A source that is out of reach of the cancellation learns it from the sink, as an `OSError`."""
    app, log = App(), list[str]()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            with trio.CancelScope(shield=True):
                try:
                    while True:
                        await sink.send("x")
                        await trio.sleep(1)
                except OSError as error:
                    log.append(type(error).__name__)
                    raise

        return Stream(feed)

    for link in (True, False):
        async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
            assert await exchange.receive() == b"x"
            exchange.leave()
            await exchange.wait_returned()
    assert log == [ClientDisconnected.__name__] * 2


# --- uploads that nobody wants

MEBIBYTE = 2**20


def refusing() -> App:
    """Every early answer that there is."""
    app = App(max_body=MEBIBYTE)

    @app.middleware
    async def slow(request: Request, call_next: Next) -> Response:
        await trio.sleep(0.3)  # meanwhile the server's queue fills
        return await call_next(request)

    async def login() -> None:
        raise HTTPError(401)

    @app.post("/auth")
    async def auth(user: Annotated[None, Depends(login)], request: Request) -> bytes:
        return await request.body()

    @app.post("/large")
    async def large(request: Request) -> bytes:
        return await request.body()

    @app.post("/ignored")
    async def ignored() -> str:
        return "thanks"

    @app.post("/part", max_body=None)
    async def part(request: Request) -> int:
        return len(await anext(request.stream().__aiter__()))

    @app.post("/deadline", timeout=1, send_timeout=0.5)
    async def deadline() -> None:
        await trio.sleep_forever()

    @app.post("/stream")
    @app.get("/stream")
    async def stream() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("thanks")

        return Stream(feed)

    @app.post("/bug")
    async def bug() -> None:
        raise ValueError

    return app


EARLY = [
    ("POST", "/auth", 401),
    ("POST", "/large", 413),
    ("POST", "/ignored", 200),
    ("POST", "/part", 200),
    ("POST", "/deadline", 503),
    ("POST", "/stream", 200),
    ("POST", "/bug", 500),
    ("POST", "/missing", 404),
    ("PUT", "/large", 405),
    ("POST", "/large/", 307),
    ("HEAD", "/stream", 200),
]


@pytest.mark.parametrize("size", [1000, 5 * MEBIBYTE])
@pytest.mark.parametrize(("method", "path", "status"), EARLY)
@both_servers
async def test_an_early_answer_to_an_upload_arrives(
    method: str, path: str, status: int, size: int, link: bool, autojump_clock: MockClock
) -> None:
    """To a client that writes all before it reads, past a queue of ten messages; and nothing is left behind."""
    async with TestClient(refusing(), link=link) as client:
        headers = {"Content-Length": str(size)}
        if path == "/large" and size == 1000 and method == "POST":
            status = 200
        async with client.open(method, path, upload=True, headers=headers) as exchange:
            await exchange.send_body(b"x" * size)
            await exchange.end_body()
            await exchange.read()
            assert (exchange.status, exchange.complete) == (status, True)
            await exchange.wait_returned()
            assert exchange.error is None


@pytest.mark.parametrize(("method", "path", "status"), EARLY)
@both_servers
async def test_an_upload_that_never_ends_is_waited_for_only_so_long(
    method: str, path: str, status: int, link: bool, autojump_clock: MockClock
) -> None:
    """The answer is there before; the request is over within seconds, and complete."""
    async with (
        TestClient(refusing(), link=link) as client,
        client.open(method, path, upload=True, headers={"Content-Length": str(5 * MEBIBYTE)}) as exchange,
    ):
        began = trio.current_time()
        await exchange.send_body(b"x" * MEBIBYTE)
        assert (await exchange.head())[0] == status
        await exchange.read()
        assert exchange.complete
        await exchange.wait_returned()
        assert trio.current_time() - began < 5


@both_servers
async def test_a_body_that_grows_too_large_is_413_while_it_comes(link: bool, autojump_clock: MockClock) -> None:
    """Without a `Content-Length` the bytes are counted as they are read."""
    async with TestClient(refusing(), link=link) as client, client.open("POST", "/large", upload=True) as exchange:
        sent = 0
        while await exchange.send_body(b"x" * 65536):
            sent += 65536
            if sent > 3 * MEBIBYTE:
                await exchange.end_body()
                break
        assert (await exchange.head())[0] == 413
        await exchange.read()
        assert exchange.complete


@both_servers
async def test_a_client_that_leaves_its_refused_upload_leaves_nothing(link: bool, autojump_clock: MockClock) -> None:
    """Lingering ends with the client."""
    async with (
        TestClient(refusing(), link=link) as client,
        client.open("POST", "/auth", upload=True) as exchange,
    ):
        await exchange.send_body(b"x" * 1000)
        assert (await exchange.head())[0] == 401
        began = trio.current_time()
        exchange.leave()
        await exchange.wait_returned()
        assert trio.current_time() - began < 1


class Rows:
    """An async iterable that is no generator: a cursor, say."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = list(rows)
        self.closed = 0

    def __aiter__(self) -> Rows:
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        if not self.rows:
            raise StopAsyncIteration
        return self.rows.pop(0)

    async def aclose(self) -> None:
        self.closed += 1
        await trio.lowlevel.checkpoint()


@both_servers
async def test_an_async_iterable_is_a_source(link: bool) -> None:
    """Each item is a chunk; it is closed at the end, and not begun for HEAD."""
    app, made = App(), list[Rows]()

    @app.get("/")
    async def handler() -> Stream:
        made.append(Rows(["a", b"b", "", "c"]))
        return Stream(made[-1], media_type="text/plain")

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).text == "abc"
        assert (await client.head("/")).content == b""
    assert [(len(rows.rows), rows.closed) for rows in made] == [(0, 1), (4, 1)]


class Stuck(Rows):
    """Never done with closing."""

    async def aclose(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.closed += 1


class Failing(Rows):
    """Cannot be closed."""

    async def aclose(self) -> None:
        self.closed += 1
        raise OSError("the disk is gone")


UNSENT: dict[str, tuple[int, str, int]] = {
    # status, content, and how often it was closed when the dependency left
    "kept": (200, "ab", 1),
    "head": (200, "", 1),
    "another": (200, "another", 1),
    "wrapped": (200, "<ab>", 1),
    "ignored": (200, "<>", 1),
    "changed": (200, "ab", 1),
    "fails": (500, "", 1),
    "bad head": (500, "", 1),
    "dependency": (500, "", 0),  # it leaves when the handler has returned
    "caught": (500, "", 0),  # the stream is what a catcher made of what the dependency had seen
}


@pytest.mark.parametrize("how", UNSENT)
@both_servers
async def test_an_iterable_is_closed_once_whatever_becomes_of_its_stream(how: str, link: bool) -> None:
    """Also when a middleware has put another stream around it, or in its place."""
    app, rows, log = App(), Rows(["a", "b"]), list[int]()
    status, content, closed = UNSENT[how]
    bad = {"content-length": "x"}

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append(rows.closed)
        if how == "dependency":
            raise ValueError

    async def around(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        assert isinstance(response, Stream)
        response.headers["x-a"] = "b"
        items = response.items

        async def feed(sink: Sink) -> None:
            await sink.send("<")
            if how == "wrapped" and items is not None:
                async for item in items:
                    await sink.send(str(item))
            await sink.send(">")

        if how == "fails":
            raise ValueError
        if how == "another":
            return Text("another")
        return response if how == "changed" else Stream(feed)

    @app.catch(LookupError)
    async def page(request: Request, error: LookupError) -> Stream:
        return Stream(rows, headers=bad)

    wrapped = how in ("another", "wrapped", "ignored", "changed", "fails")
    scope: Literal["handler", "request"] = "handler" if how == "dependency" else "request"

    @app.get("/", middleware=[around] if wrapped else [])
    async def handler(used: Annotated[None, Depends(resource, scope=scope)]) -> Stream:
        if how == "caught":
            raise LookupError
        return Stream(rows, headers=bad if how == "bad head" else None)

    async with TestClient(app, link=link, raise_app_exceptions=False) as client:
        response = await client.request("HEAD" if how == "head" else "GET", "/")
    assert response.status_code == status
    assert status == 500 or response.text == content
    assert (rows.closed, log) == (1, [closed])


@pytest.mark.parametrize("kind", [Stuck, Failing])
@both_servers
async def test_an_iterable_that_cannot_be_closed_spoils_nothing(
    kind: type[Rows], link: bool, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It has `cleanup_grace` for it, and what it raises is logged; the answer is out of its hands."""
    app, rows = App(cleanup_grace=1), kind(["a"])

    @app.get("/")
    async def handler() -> Stream:
        return Stream(rows)

    begin = trio.current_time()
    async with TestClient(app, link=link) as client:
        assert (await client.head("/")).status_code == 200
    assert rows.closed == 1
    assert trio.current_time() - begin == (1 if kind is Stuck else 0)
    assert ("cleanup_grace = 1 s" if kind is Stuck else "the disk is gone") in caplog.text


@both_servers
async def test_a_memory_channel_is_a_source(link: bool) -> None:
    """A producer further out learns from its channel that nobody listens any more."""
    app, log = App(), list[str]()
    sender, receiver = trio.open_memory_channel[str](0)

    @app.get("/")
    async def handler() -> Stream:
        return Stream(receiver)

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        await exchange.head()
        await sender.send("x")
        assert await exchange.receive() == b"x"
        exchange.leave()
        await exchange.wait_returned()
        with pytest.raises(trio.BrokenResourceError):
            await sender.send("y")
        log.append("told")
    assert log == ["told"]


@both_servers
async def test_a_generator_runs_in_a_task_of_its_own(link: bool, autojump_clock: MockClock) -> None:
    """So it may hold a nursery and a deadline over its `yield`, and is left where they were opened (PEP 789)."""
    app, log = App(send_timeout=None), list[str]()

    async def ticks() -> AsyncIterator[str]:
        try:
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(3):
                    for tick in "abcdef":
                        yield tick  # noqa: ASYNC119
                        await trio.sleep(1.2)
                log.append("late")
                nursery.start_soon(trio.sleep, 60)
                yield "end"  # noqa: ASYNC101, ASYNC119 - what is tested
                nursery.cancel_scope.cancel()
        finally:
            log.append("left")

    @app.get("/")
    async def handler() -> Stream:
        return Stream(ticks())

    async with TestClient(app, link=link) as client:
        assert (await client.get("/")).text == "abcend"
        assert log == ["late", "left"]
        async with client.open("GET", "/") as exchange:
            assert await exchange.receive() == b"a"
            exchange.leave()
            await exchange.wait_returned()
        assert log == ["late", "left", "left"]


async def test_a_generators_nursery_does_not_reach_who_sends(autojump_clock: MockClock) -> None:
    """It is left where it was opened, also by a client that goes while an item is being sent."""
    app, log = App(send_timeout=None), list[str]()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield b"x" * 100_000  # noqa: ASYNC101, ASYNC119 - what is tested
        finally:
            log.append("left")

    @app.get("/")
    async def handler() -> Stream:
        return Stream(chunks())

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        await exchange.head()
        exchange.stop_reading()
        await trio.sleep(10)
        exchange.leave()
        await exchange.wait_returned()
        assert exchange.error is None
    assert log == ["left"]


async def late() -> AsyncIterator[bytes]:
    with trio.move_on_after(3):
        yield b"x" * 100_000  # noqa: ASYNC101, ASYNC119 - what is tested
    yield b"never"


async def failing() -> AsyncIterator[bytes]:
    async def child() -> None:
        await trio.sleep(3)
        raise ValueError("the child's bug")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        yield b"x" * 100_000  # noqa: ASYNC101, ASYNC119 - what is tested


@pytest.mark.parametrize(
    ("chunks", "logged"),
    [(late, "late() was cancelled at a `yield`, by a scope of its own"), (failing, "the child's bug")],
)
async def test_a_generator_whose_own_scope_ends_it_is_no_whole_body(
    chunks: Any, logged: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A scope over a `yield` cannot be told that it is over: so the response is cut, and the log says why."""
    app = App(send_timeout=None)

    @app.get("/")
    async def handler() -> Stream:
        return Stream(chunks())

    async with TestClient(app, raise_app_exceptions=False) as client, client.open("GET", "/") as exchange:
        await exchange.head()
        exchange.stop_reading()
        await trio.sleep(10)
        exchange.start_reading()
        await exchange.read()
        assert exchange.truncated
    assert logged in caplog.text


@both_servers
async def test_a_generator_that_fails_cuts_the_stream(link: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Its own error is logged, not a group around it; the id of the request stands beside it."""
    app, requests = App(), list[Request]()

    async def rows() -> AsyncIterator[str]:
        yield "part"
        raise ValueError("bug")

    @app.get("/")
    async def handler(request: Request) -> Stream:
        requests.append(request)
        return Stream(rows())

    async with (
        TestClient(app, link=link, raise_app_exceptions=False) as client,
        client.open("GET", "/") as exchange,
    ):
        assert await exchange.read() == b"part"
        assert exchange.truncated
    [record] = [record for record in caplog.records if "failed after its head" in record.message]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert record.message.endswith(f"request {requests[0].id}")


@pytest.mark.parametrize("media_type", ["application/jsonl", "application/x-ndjson; charset=utf-8"])
@both_servers
async def test_json_lines_from_a_function_and_from_an_iterable(media_type: str, link: bool) -> None:
    """Each value is a line, text too; what is sent with `send` goes out as it is."""
    app, values = App(), [{"a": "x\ny"}, "text", None, [1, 2.5]]

    @app.get("/function")
    async def function() -> Stream:
        async def feed(sink: Sink) -> None:
            for value in values:
                await sink.send_json(value)
            await sink.send(b'{"made": 1}\n')

        return Stream(feed, media_type=media_type)

    @app.get("/iterable")
    async def iterable() -> Stream:
        return Stream(Rows(values), media_type=media_type)

    async with TestClient(app, link=link) as client:
        response = await client.get("/iterable")
        assert response.headers["content-type"] == media_type
        lines = b'{"a":"x\\ny"}\n"text"\nnull\n[1,2.5]\n'
        assert response.content == lines
        assert (await client.get("/function")).content == lines + b'{"made": 1}\n'


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('a"\\\n\r\u2028é'), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(_JSON, min_size=1, max_size=4), st.sampled_from(["\n", "\r\n", "\r", " "]), st.booleans())
def test_each_value_is_one_line_of_json(values: list[Any], break_: str, nested: bool) -> None:
    """Also what is JSON already, spread over lines by whoever has made it."""
    raw = [msgspec.Raw(json.dumps(value, indent=1).replace("\n", break_).encode()) for value in values]
    lines = [_line({"raw": each} if nested else each) for each in raw]
    assert [json.loads(line) for line in b"\n".join(lines).splitlines()] == [
        {"raw": value} if nested else value for value in values
    ]


async def test_lines_that_are_no_json_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Where they would be read as several; the stream is cut, and the log says why."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send_json(msgspec.Raw(b"two\nlines"))

        return Stream(feed, media_type="application/jsonl")

    async with TestClient(app, raise_app_exceptions=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")
    assert "something in a msgspec.Raw that is no JSON, and has a line break" in caplog.text


async def test_a_value_where_bytes_are_wanted_shows_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    """JSON Lines have a media type, and a method of the sink."""
    app = App()

    @app.get("/")
    async def handler() -> Stream:
        return Stream(Rows([{"a": 1}]))

    async with TestClient(app, raise_app_exceptions=False) as client, client.open("GET", "/") as exchange:
        await exchange.read()
        assert exchange.truncated
    assert 'Stream(source, media_type="application/jsonl")' in caplog.text
    assert "await sink.send_json(value)" in caplog.text


@both_servers
async def test_nurseries_and_deadlines_nest_inside_of_a_source(link: bool, autojump_clock: MockClock) -> None:
    """A deadline around children that send: each chunk is whole, and the stream goes on behind it."""
    app = App(timeout=1)

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            async def child(letter: str) -> None:
                while True:
                    await sink.send(letter * 10_000 + "\n")
                    await trio.sleep(1)

            with trio.move_on_after(9.5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(child, "a")
                    nursery.start_soon(child, "b")
            await sink.send("end\n")

        return Stream(feed)

    async with TestClient(app, link=link) as client:
        lines = (await client.get("/")).text.splitlines()
    assert lines[-1] == "end"
    assert sorted(lines[:-1]) == ["a" * 10_000] * 10 + ["b" * 10_000] * 10


@both_servers
async def test_a_child_that_fails_ends_its_siblings_and_cuts_the_stream(
    link: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A nursery in a source is a nursery: the failure is the stream's, whoever was sending."""
    app, log = App(), list[str]()

    @app.get("/")
    async def handler() -> Stream:
        async def feed(sink: Sink) -> None:
            async def waits() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    log.append("sibling")

            async def fails() -> None:
                await sink.send("part")
                raise ValueError("bug")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits)
                nursery.start_soon(fails)

        return Stream(feed)

    async with (
        TestClient(app, link=link, raise_app_exceptions=False) as client,
        client.open("GET", "/") as exchange,
    ):
        assert await exchange.read() == b"part"
        assert exchange.truncated
    assert log == ["sibling"]
    assert "bug" in caplog.text
