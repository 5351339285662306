"""Files through the whole application: who sees what when, and that each is closed however its request ends."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import pytest
import trio

from tests.harness import Serve
from tests.harness.files import descriptors, until
from trivet import JSON, App, Depends, File, HTTPError, Next, Request, Response, Sink, Stream
from trivet._descriptor import Descriptor
from trivet._file import PIECE
from trivet.testing import TestClient

both_servers = pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])
LARGE = bytes(range(256)) * (4 * PIECE // 256) + b"end"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text("<p>page")
    os.utime(path, (784111777, 784111777))
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    os.utime(path, ns=(784111777000000005, 784111777000000005))
    return path


async def closed(path: Path) -> None:
    """Wait until no descriptor leads to `path`: a thread closes it, and nobody waits for that."""
    await until(lambda: not descriptors(path))


async def test_files_are_sent_on_every_server(serve: Serve, page: Path, large: Path) -> None:
    """Small and large, from handlers that wait and that do not; in whole, in part, resumed, not at all."""
    app = App()

    @app.get("/page")
    async def get_page() -> File:
        return File(page)

    @app.get("/large")
    async def get_large() -> File:
        await trio.lowlevel.checkpoint()
        return File(large, media_type="application/zip", filename="a.zip", download=True)

    @app.get("/thread")
    def get_in_thread() -> tuple[int, File]:
        return 201, File(large)

    async with serve(app) as client:
        assert (await client.get("/page")).text == "<p>page"
        response = await client.get("/large")
        assert response.content == LARGE
        assert response.headers["content-disposition"] == 'attachment; filename="a.zip"'
        tag = response.headers["etag"]
        rest = {"range": f"bytes={PIECE}-", "if-range": tag}
        resumed = await client.get("/large", headers=rest)
        assert (resumed.status_code, resumed.content) == (206, LARGE[PIECE:])
        head = await client.head("/large")
        assert (head.headers["content-length"], head.content) == (str(len(LARGE)), b"")
        assert (await client.get("/large", headers={"if-none-match": tag})).status_code == 304
        assert (await client.get("/large", headers={"if-match": '"x"'})).status_code == 412
        behind = await client.get("/large", headers={"range": "bytes=999999999-"})
        assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(LARGE)}")
        assert behind.headers["content-type"] == "application/problem+json"
        created = await client.get("/thread")
        assert (created.status_code, created.content) == (201, LARGE)
    await closed(large)


async def test_leaving_in_the_middle_closes_the_file(serve: Serve, large: Path) -> None:
    """On every server; the request ends as disconnected."""
    os.truncate(large, 100_000_000)
    app, requests = App(), list[Request]()

    @app.get("/")
    async def handler(request: Request) -> File:
        requests.append(request)
        return File(large)

    async with serve(app) as client:
        async with client.open("GET", "/") as exchange:
            await exchange.receive()
            assert descriptors(large) == 1
            exchange.leave()
        await closed(large)
    assert requests[0].ended == "disconnected"


@both_servers
async def test_dependencies_leave_before_a_file_is_sent(link: bool, tmp_path: Path) -> None:
    """A download, however slow, holds nothing of theirs; what they removed is sent all the same."""
    app, events = App(), list[str]()

    @asynccontextmanager
    async def directory() -> AsyncIterator[Path]:
        with TemporaryDirectory(dir=tmp_path) as name:
            yield Path(name)
        events.append("left")

    @app.get("/")
    async def handler(directory: Annotated[Path, Depends(directory)]) -> File:
        (directory / "report").write_bytes(LARGE)
        return File(directory / "report")

    async with TestClient(app, link=link) as client, client.open("GET", "/") as exchange:
        first = await exchange.receive()
        assert events == ["left"]
        assert descriptors(tmp_path) == 1
        assert (first or b"") + await exchange.read() == LARGE
    assert os.listdir(tmp_path) == []
    await closed(tmp_path)


async def test_a_cleanup_that_fails_is_the_answer(large: Path) -> None:
    """A commit that fails after the file was opened: 500, not 200; and the file is closed."""
    app = App()

    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        yield
        raise HTTPError(503, "not committed")

    @app.get("/", dependencies=[Depends(transaction)])
    async def handler() -> File:
        return File(large)

    async with TestClient(app) as client:
        assert (await client.get("/")).json()["detail"] == "not committed"
        await closed(large)


async def test_middleware_sees_what_is_sent(large: Path, page: Path) -> None:
    """The status and the fields as they go out, which it may change; or it sends another file instead."""
    app, seen = App(), list[int]()

    @app.middleware
    async def middleware(request: Request, call_next: Next) -> Response:
        response = await call_next(request)
        seen.append(response.status)
        response.headers["x-seen"] = "yes"
        return File(page) if "instead" in request.query else response

    @app.get("/")
    async def handler() -> File:
        return File(large)

    async with TestClient(app) as client:
        response = await client.get("/", headers={"range": "bytes=0-9"})
        assert (response.headers["x-seen"], response.content) == ("yes", LARGE[:10])
        assert (await client.get("/")).content == LARGE
        tag = response.headers["etag"]
        assert (await client.get("/", headers={"if-none-match": tag})).headers["x-seen"] == "yes"
        assert (await client.get("/?instead=1")).text == "<p>page"
        await closed(large)
    assert seen == [206, 200, 304, 200]


async def gone_at_once() -> File:
    return File("/there/is/no/such/file")


async def gone_later() -> File:
    await trio.lowlevel.checkpoint()
    return File("/there/is/no/such/file")


gone = pytest.mark.parametrize("handler", [gone_at_once, gone_later])


@gone
async def test_catchers_see_what_cannot_be_sent_and_may_have_a_page(handler: Any, page: Path) -> None:
    """A missing file and a failed precondition are errors with a status; a page is a file like others."""
    app = App()

    @app.catch(404)
    async def missing(request: Request, error: HTTPError, /) -> tuple[int, File]:
        return 404, File(page)

    @app.catch(416)
    async def range_error(request: Request, error: HTTPError, /) -> tuple[int, str]:
        return 416, error.headers["content-range"]

    app.get("/none")(handler)

    @app.get("/page")
    async def get_page() -> File:
        return File(page)

    async with TestClient(app) as client:
        for path in ("/none", "/nowhere"):
            response = await client.get(path, headers={"range": "bytes=0-1", "if-match": '"x"'})
            assert (response.status_code, response.text) == (404, "<p>page")
        response = await client.get("/page", headers={"range": "bytes=99-"})
        assert (response.status_code, response.text) == (416, "bytes */7")


@gone
async def test_a_page_that_is_not_there_either_is_a_mistake(
    handler: Any, page: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No catcher goes round in circles: 500, as for any catcher that fails, and the log says why."""
    app, caught = App(), list[Exception]()

    @app.catch(404)
    async def missing(request: Request, error: HTTPError, /) -> File:
        caught.append(error)
        return File(page.parent / "none")

    app.get("/")(handler)

    async with TestClient(app) as client:
        for path in ("/", "/nowhere"):
            response = await client.get(path)
            assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert len(caught) == 2
    assert "No such file" in caplog.text


async def test_what_a_client_asks_of_a_page_is_no_mistake_of_the_application(page: Path) -> None:
    """A catcher that answers with a plain 200: `Range` and preconditions are the client's."""
    app = App()

    @app.catch(404)
    async def missing(request: Request, error: HTTPError, /) -> File:
        return File(page)

    async with TestClient(app) as client:
        assert (await client.get("/", headers={"range": "bytes=99-"})).status_code == 416
        assert (await client.get("/", headers={"if-match": '"x"'})).status_code == 412
        assert (await client.get("/", headers={"if-match": "x"})).status_code == 400


@gone
async def test_a_page_may_be_large(handler: Any, large: Path) -> None:
    """It is sent bit by bit, with the status of the error."""
    app = App()

    @app.catch(404)
    async def missing(request: Request, error: HTTPError, /) -> tuple[int, File]:
        return error.status, File(large)

    app.get("/")(handler)

    async with TestClient(app) as client:
        response = await client.get("/")
        assert (response.status_code, response.content) == (404, LARGE)
        await closed(large)


@pytest.mark.parametrize(("name", "page_is_sent"), [("page.html", True), ("large", False), ("none", False)])
async def test_a_page_in_the_place_of_a_stream_that_must_not_begin(
    name: str, page_is_sent: bool, page: Path, large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The request has ended when the handler returns one: what fits into a piece is sent, else the plain error."""
    app = App()

    @app.catch(503)
    async def busy(request: Request, error: HTTPError, /) -> tuple[int, File]:
        return 503, File(page.parent / name)

    @app.get("/")
    async def handler(request: Request) -> Stream:
        async def feed(sink: Sink) -> None:
            await sink.send("never")

        request._stop("drained")
        return Stream(feed)

    async with TestClient(app) as client:
        response = await client.get("/")
        assert response.status_code == 503
        assert (response.text == "<p>page") is page_is_sent
        await closed(large)
    assert ("cannot be sent" in caplog.text) is (name == "none")


@both_servers
async def test_a_file_may_be_the_page_for_a_request_that_has_ended(link: bool, page: Path) -> None:
    """A catcher's page for a 503 is read in the grace, although the deadline has passed."""
    app = App(timeout=0.05)

    @app.catch(503)
    async def busy(request: Request, error: HTTPError, /) -> tuple[int, File]:
        return 503, File(page)

    @app.get("/")
    async def handler() -> None:
        await trio.sleep_forever()

    async with TestClient(app, link=link) as client:
        response = await client.get("/")
        assert (response.status_code, response.text) == (503, "<p>page")


@contextmanager
def hanging(
    monkeypatch: pytest.MonkeyPatch, method: str, hang_at: int, asked: threading.Event | None = None
) -> Iterator[Callable[[], None]]:
    """A disk that does not answer the `hang_at`th call of a `Descriptor`, until it is told to."""
    answers = threading.Event()
    calls: list[str] = []
    real: Callable[..., Any] = getattr(Descriptor, method)

    def hang(self: Descriptor, *args: Any, **options: Any) -> Any:
        calls.append(method)
        if len(calls) == hang_at:
            if asked is not None:
                asked.set()
            answers.wait(10)
        return real(self, *args, **options)

    monkeypatch.setattr(Descriptor, method, hang)
    try:
        yield answers.set
    finally:
        answers.set()


@pytest.mark.parametrize("waits", [True, False])
async def test_the_deadline_passes_while_a_disk_hangs(
    waits: bool, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, without waiting for the disk; when it answers, what it opened is closed."""
    app, requests = App(timeout=0.1), list[Request]()

    @app.get("/")
    async def handler(request: Request) -> File:
        requests.append(request)
        if waits:
            await trio.lowlevel.checkpoint()
        return File(large)

    async with TestClient(app) as client:
        with hanging(monkeypatch, "open", 1) as answer:
            assert (await client.get("/")).status_code == 503
            assert app.file_limiter.borrowed_tokens == 1
            answer()
            await closed(large)
            await until(lambda: not app.file_limiter.borrowed_tokens)
        assert descriptors(large) == 0
    assert requests[0].ended == "deadline"


async def test_disks_that_hang_take_no_more_than_their_own_threads(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other files wait for a slot, and have their deadline; handlers in threads go on."""
    app = App()
    app.file_limiter.total_tokens = 1

    @app.get("/file", timeout=0.1)
    async def file() -> File:
        return File(page)

    @app.get("/thread")
    def in_thread() -> str:
        return "fine"

    async with TestClient(app) as client:
        with hanging(monkeypatch, "open", 1):
            assert (await client.get("/file")).status_code == 503
            assert (await client.get("/file")).status_code == 503
            assert (await client.get("/thread")).text == "fine"
        assert (await client.get("/file")).status_code in (200, 503)


@both_servers
async def test_leaving_while_a_disk_hangs_ends_the_request(
    link: bool, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once; the descriptor is closed by the thread that reads, when it is done."""
    app, requests, asked = App(), list[Request](), threading.Event()

    @app.get("/")
    async def handler(request: Request) -> File:
        requests.append(request)
        return File(large)

    async with TestClient(app, link=link) as client:
        with hanging(monkeypatch, "read", 2, asked) as answer:
            async with client.open("GET", "/") as exchange:
                assert await exchange.receive() == LARGE[:PIECE]
                await trio.to_thread.run_sync(asked.wait)
                exchange.leave()
                with trio.fail_after(5):
                    await exchange.wait_returned()
            assert requests[0].ended == "disconnected"
            assert descriptors(large) == 1
            answer()
            await closed(large)


@pytest.mark.parametrize("size", [PIECE, PIECE + 5, 0])
async def test_a_file_that_is_truncated_while_it_is_sent_breaks_the_response(
    size: int, large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Never ended as if it were whole, nor filled up."""
    app = App()

    @app.get("/")
    async def handler() -> File:
        return File(large)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        first = await exchange.receive()
        os.truncate(large, size)
        rest = await exchange.read()
        assert exchange.truncated
        assert LARGE.startswith((first or b"") + rest)
        await exchange.wait_returned()
        await closed(large)
    assert "it was truncated while it was sent" in caplog.text


async def test_a_file_that_grows_while_it_is_sent_ends_where_it_ended(large: Path) -> None:
    """At `Content-Length`, so that the next response begins where the client expects it."""
    app = App()

    @app.get("/")
    async def handler() -> File:
        return File(large)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        first = await exchange.receive()
        with large.open("ab") as more:
            more.write(b"more")
        assert (first or b"") + await exchange.read() == LARGE
        assert not exchange.truncated


async def test_a_file_that_is_replaced_while_it_is_sent_is_sent_as_it_was(large: Path) -> None:
    """What was opened is sent, whatever stands at its path."""
    app = App()

    @app.get("/")
    async def handler() -> File:
        return File(large)

    async with TestClient(app) as client, client.open("GET", "/") as exchange:
        first = await exchange.receive()
        other = large.with_name("other")
        other.write_bytes(b"other")
        os.replace(other, large)
        assert (first or b"") + await exchange.read() == LARGE


async def test_head_opens_the_file_and_does_not_read_it(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the whole application, as in its parts."""
    monkeypatch.delattr(Descriptor, "read")
    app = App()

    @app.get("/")
    async def handler() -> File:
        return File(large)

    async with TestClient(app) as client:
        assert (await client.head("/")).headers["content-length"] == str(len(LARGE))
        assert descriptors(large) == 0


async def test_a_file_that_is_read_to_its_end_is_closed_by_the_thread_that_reads_it(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing can wait for the disk as well; only what was given up is left to the end of the request."""
    monkeypatch.setattr("trivet._app.release", lambda _: None)
    app = App()

    @app.get("/")
    async def handler() -> File:
        return File(large)

    async with TestClient(app) as client:
        assert (await client.get("/")).content == LARGE
        assert (await client.get("/", headers={"range": "bytes=0-9"})).content == LARGE[:10]
        assert (await client.get("/", headers={"if-none-match": "*"})).status_code == 304
        assert (await client.get("/", headers={"if-match": '"x"'})).status_code == 412
        assert (await client.head("/")).status_code == 200
        assert descriptors(large) == 0


# ---- request.check


async def test_check_answers_preconditions_for_any_resource(serve: Serve) -> None:
    """304 for who has it, 412 for who wants to change another version, 400 for who forgot the quotes."""
    app = App()
    notes = {"a": 1}
    changed = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)

    @app.get("/notes/{name}")
    async def read(request: Request, name: str) -> Response:
        tag = f'"{notes[name]}"'
        unchanged = request.check(etag=tag, modified=changed)
        return unchanged or JSON(notes[name], headers={"etag": tag})

    @app.put("/notes/{name}")
    async def write(request: Request, name: str) -> int:
        request.check(etag=f'"{notes[name]}"' if name in notes else None)
        notes[name] = notes.get(name, 0) + 1
        return notes[name]

    async with serve(app) as client:
        put: Callable[..., Any] = partial(client.request, "PUT")
        first = await client.get("/notes/a")
        assert (first.status_code, first.headers["etag"]) == (200, '"1"')
        again = await client.get("/notes/a", headers={"if-none-match": '"1"'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", '"1"')
        assert again.headers["last-modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
        since = {"if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT"}
        assert (await client.head("/notes/a", headers=since)).status_code == 304
        assert (await put("/notes/a", headers={"if-match": '"1"'})).json() == 2
        stale: httpx.Response = await put("/notes/a", headers={"if-match": '"1"'})
        assert (stale.status_code, stale.json()["title"]) == (412, "Precondition Failed")
        quotes: httpx.Response = await put("/notes/a", headers={"if-match": "2"})
        assert (quotes.status_code, quotes.json()["errors"][0]["name"]) == (400, "if-match")
        assert (await put("/notes/a", headers={"if-none-match": "*"})).status_code == 412
        assert (await put("/notes/b", headers={"if-none-match": "*"})).json() == 1
        assert (await put("/notes/c", headers={"if-match": "*"})).status_code == 412
        assert notes == {"a": 2, "b": 1}


async def test_check_of_a_wrong_tag_is_the_applications_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """500, and the log has the remedy."""
    app = App()

    @app.get("/")
    async def handler(request: Request) -> str:
        request.check(etag="v7")
        return "unreachable"

    async with TestClient(app) as client:
        assert (await client.get("/")).status_code == 500
    assert "quotes and all" in caplog.text


def test_a_file_is_no_stream() -> None:
    """Dependencies leave before one is sent, and after the other: whoever asks must be able to tell."""
    assert not issubclass(File, Stream)
