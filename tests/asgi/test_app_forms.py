"""Forms: fields and files as parameters, the answers to what does not fit, and that no file outlives its request."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
import trio
import trio.testing

from trivet import App, Depends, Form, HTTPError, Next, Request, Response, Sink, Stream, UploadFile, _app
from trivet._upload import IN_MEMORY, PIECE
from trivet.asgi import ASGIApp, Receive, Scope, Send
from trivet.testing import TestClient

URLENCODED = "application/x-www-form-urlencoded"
NO_INTEGER = "input should be a valid integer, unable to parse string as an integer"
BIG = os.urandom(IN_MEMORY + PIECE // 2)


class Opened:
    """The temporary files that were opened, and whether each is closed."""

    def __init__(self) -> None:
        self.files: list[Any] = []

    @property
    def left(self) -> int:
        return sum(not file.closed for file in self.files)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Counts files on disk; none may be left at the end of a test."""
    found = Opened()
    really = tempfile.TemporaryFile

    def counted(*args: Any, **options: Any) -> Any:
        file = really(*args, **options)
        found.files.append(file)
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", counted)
    yield found
    assert found.left == 0


class Profile(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(max_length=5)]
    age: int | None = None
    tags: list[str] = msgspec.field(default_factory=list[str])


@dataclass
class Post:
    title: str
    photo: UploadFile
    more: list[UploadFile] | None = None


class Login(pydantic.BaseModel):
    user: str
    code: int


def forms() -> App:
    app = App(max_body=None)

    @app.post("/fields")
    async def fields(
        name: Annotated[str, Form()],
        age: Annotated[int | None, Form()] = None,
        tags: Annotated[list[str], Form(alias="tag")] = [],  # noqa: B006
    ) -> str:
        return repr((name, age, tags))

    @app.post("/profile")
    async def profile(profile: Annotated[Profile, Form()]) -> str:
        return repr((profile.name, profile.age, profile.tags))

    @app.post("/login")
    async def login(login: Annotated[Login, Form()]) -> str:
        return repr((login.user, login.code))

    @app.post("/file")
    async def file(photo: UploadFile, note: Annotated[str, Form()] = "") -> str:
        data = await photo.read()
        return f"{photo.filename} {photo.content_type} {photo.size} {len(data)} {note}"

    @app.post("/files")
    async def files(photos: list[UploadFile], other: UploadFile | None = None) -> str:
        return repr(([each.filename for each in photos], other and other.filename))

    @app.post("/renamed")
    async def renamed(photo: Annotated[UploadFile, Form(alias="the-photo", max_file=10)]) -> str:
        return photo.filename

    @app.post("/post")
    async def post(post: Annotated[Post, Form()]) -> str:
        return repr((post.title, post.photo.size, post.more and len(post.more)))

    @app.post("/optional")
    async def optional(name: Annotated[str, Form()] = "nobody") -> str:
        return name

    @app.post("/by-hand")
    async def by_hand(request: Request) -> str:
        form = await request.form()
        assert await request.form() is form
        values = [(name, value if isinstance(value, str) else value.filename) for name, value in form.multi_items()]
        return repr((values, len(form), sorted(form), form.getlist("nothing")))

    return app


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("/fields", {"data": {"name": "a b&ü", "age": "3", "tag": ["x", "y"]}}, "('a b&ü', 3, ['x', 'y'])"),
        ("/fields", {"data": {"name": "", "age": ""}}, "('', None, [])"),
        ("/fields", {"data": {"name": "a"}, "files": {"f": b"x"}}, "('a', None, [])"),
        ("/profile", {"data": {"name": "a", "age": "", "tags": ["1", "2"]}}, "('a', None, ['1', '2'])"),
        ("/login", {"data": {"user": "a", "code": "5"}}, "('a', 5)"),
        (
            "/file",
            {"files": {"photo": ("a.png", b"12345", "image/png")}, "data": {"note": "x"}},
            "a.png image/png 5 5 x",
        ),
        ("/file", {"files": {"photo": ("../a", b"")}}, "a application/octet-stream 0 0 "),
        ("/files", {"files": [("photos", ("a", b"1")), ("photos", ("b", b"2"))]}, "(['a', 'b'], None)"),
        ("/files", {"files": [("photos", ("a", b"1")), ("other", ("b", b"2"))]}, "(['a'], 'b')"),
        ("/renamed", {"files": {"the-photo": ("a", b"0123456789")}}, "a"),
        ("/post", {"data": {"title": "t"}, "files": {"photo": b"abc"}}, "('t', 3, None)"),
        (
            "/post",
            {"data": {"title": "t"}, "files": [("photo", b"abc"), ("more", b"1"), ("more", b"2")]},
            "('t', 3, 2)",
        ),
        ("/optional", {}, "nobody"),
        ("/optional", {"data": {"name": "me"}}, "me"),
        (
            "/by-hand",
            {"data": {"b": ["1", "2"], "a": "3"}},
            "([('b', '1'), ('b', '2'), ('a', '3')], 2, ['a', 'b'], [])",
        ),
        ("/by-hand", {"data": {"a": "3"}, "files": {"f": ("n", b"")}}, "([('a', '3'), ('f', 'n')], 2, ['a', 'f'], [])"),
    ],
)
@pytest.mark.parametrize("link", [True, False], ids=["link", "plain"])
async def test_forms_are_bound(path: str, options: dict[str, Any], expected: str, link: bool) -> None:
    """Fields, lists, models and files, urlencoded or multipart."""
    async with TestClient(forms(), link=link) as client:
        response = await client.post(path, **options)
    assert (response.status_code, response.text) == (200, expected)


@pytest.mark.parametrize(
    ("path", "options", "status", "faults"),
    [
        ("/fields", {}, 415, []),
        ("/fields", {"json": {"name": "a"}}, 415, []),
        ("/fields", {"data": {}, "headers": {"content-type": URLENCODED}}, 422, [("name", "is required")]),
        (
            "/fields",
            {"data": {"name": ["a", "b"], "age": "x"}},
            422,
            [("name", "is given more than once"), ("age", "must be an integer")],
        ),
        ("/fields", {"files": {"name": b"x"}}, 422, [("name", "must be a text, not a file")]),
        (
            "/profile",
            {"data": {"name": "too long", "age": "x"}},
            422,
            [("name", "must have at most 5 characters"), ("age", "must be an integer")],
        ),
        ("/login", {"data": {"code": "x"}}, 422, [("user", "is required")]),
        ("/login", {"data": {"user": "a", "code": "x"}}, 422, [("code", NO_INTEGER)]),
        ("/file", {"data": {"photo": "x"}}, 422, [("photo", "must be a file")]),
        ("/file", {"data": {"note": "x"}}, 422, [("photo", "is required")]),
        ("/file", {"data": {"photo": ""}}, 422, [("photo", "is required")]),
        ("/file", {"files": [("photo", b"1"), ("photo", b"2")]}, 422, [("photo", "is given more than once")]),
        ("/files", {"files": {"other": b"1"}}, 422, [("photos", "is required")]),
        ("/renamed", {"files": {"the-photo": b"0123456789a"}}, 413, []),
        ("/by-hand", {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=X"}}, 400, []),
        ("/fields", {"content": b"a=%", "headers": {"content-type": URLENCODED}}, 400, []),
        ("/fields", {"content": b"a=1&" * 1001, "headers": {"content-type": URLENCODED}}, 413, []),
    ],
)
async def test_forms_that_do_not_fit_are_refused(
    path: str, options: dict[str, Any], status: int, faults: list[tuple[str, str]]
) -> None:
    """400 malformed, 413 over a limit, 415 no form, 422 with the name of each field and what is wrong with it."""
    async with TestClient(forms()) as client:
        response = await client.post(path, **options)
    problem = response.json()
    assert (response.status_code, [(each["name"], each["reason"]) for each in problem.get("errors", [])]) == (
        status,
        faults,
    )
    assert {each["in"] for each in problem.get("errors", [])} <= {"form"}


async def test_a_form_is_read_once_for_handler_and_providers() -> None:
    """Each names its own fields; a provider that reads no form runs before the form is read."""
    app, log = App(), list[str]()

    async def allowed(request: Request) -> None:
        log.append("allowed")
        if "x-refused" in request.headers:
            raise HTTPError(403)

    async def token(token: Annotated[str, Form(max_text=100)]) -> str:
        log.append("token")
        return token

    @app.post("/", dependencies=[Depends(allowed)])
    async def handler(t: Annotated[str, Depends(token)], name: Annotated[str, Form()]) -> str:
        return t + name

    async with TestClient(app) as client:
        assert (await client.post("/", data={"token": "a", "name": "b"})).text == "ab"
        assert log == ["allowed", "token"]
        assert (await client.post("/", data={"token": "a" * 100, "name": "b"})).status_code == 413
        refused = await client.post("/", content=b"rubbish", headers={"x-refused": "1"})
        assert refused.status_code == 403


async def test_large_files_go_to_disk_and_small_ones_do_not(opened: Opened, tmp_path: Path) -> None:
    """What is read, sought, iterated over and saved is the same."""
    app = App(max_body=None)

    @app.post("/")
    async def upload(files: list[UploadFile]) -> list[int]:
        assert opened.left == 1
        for each, data in zip(files, (b"small", BIG, b"after"), strict=True):
            assert await each.read(3) == data[:3]
            await each.save(tmp_path / "saved")
            assert (tmp_path / "saved").read_bytes() == data
            assert await each.read(2) == data[3:5]
            assert await each.seek(-2, os.SEEK_END) == len(data) - 2
            assert await each.read() == data[-2:]
            assert await each.read() == b""
            assert await each.seek(0) == 0
            assert b"".join([piece async for piece in each]) == data
            with pytest.raises(OSError, match="No such"):
                await each.save(tmp_path / "nowhere" / "saved")
        kept.extend(files)
        return [each.size for each in files]

    kept: list[UploadFile] = []
    async with TestClient(app) as client:
        response = await client.post("/", files=[("files", b"small"), ("files", BIG), ("files", b"after")])
        assert response.json() == [5, len(BIG), 5]
    assert opened.left == 0
    for each in kept:
        with pytest.raises(ValueError, match="is gone: its request has ended"):
            await each.read()
        with pytest.raises(ValueError, match=r"await file.save\(path\)"):
            await each.save(tmp_path / "late")
    assert not (tmp_path / "late").exists()


async def test_a_file_that_cannot_be_saved_whole_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file looks like a whole one."""
    app = App()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    @app.post("/")
    async def upload(photo: UploadFile) -> str:
        with pytest.raises(OSError, match="No space"):
            await photo.save(tmp_path / "x")
        return ""

    monkeypatch.setattr("trivet._upload.shutil.copyfileobj", full)
    async with TestClient(app) as client:
        assert (await client.post("/", files={"photo": b"1"})).status_code == 200
    assert os.listdir(tmp_path) == []


async def test_many_middling_files_share_the_room_in_memory(opened: Opened) -> None:
    """A form of a hundred files just small enough for memory would be a hundred megabytes."""
    app = App(max_body=None)

    @app.post("/")
    async def upload(f: list[UploadFile]) -> int:
        return opened.left

    async with TestClient(app) as client:
        response = await client.post("/", files=[("f", b"x" * (IN_MEMORY // 2))] * 5)
        assert response.json() == 3


@pytest.mark.parametrize(
    ("limits", "detail"),
    [
        ({}, None),
        ({"max_parts": 3, "max_files": 2, "max_text": 6, "max_file": 5}, None),
        ({"max_parts": 2}, "the form has more than 2 fields"),
        ({"max_files": 1}, "the form has more than 1 files"),
        ({"max_text": 5}, "the fields of the form have more than 5 bytes"),
        ({"max_file": 4}, "a file of the form is larger than 4 bytes"),
    ],
)
async def test_limits_hold_whoever_has_read_the_form(limits: dict[str, int], detail: str | None) -> None:
    """A middleware that was first, with limits of its own, does not switch those of the handler off."""
    app = App()

    @app.middleware
    async def first(request: Request, call_next: Next) -> Response:
        form = await request.form(max_parts=10)
        assert len(form) == 3
        return await call_next(request)

    @app.post("/parameter")
    async def parameter(note: Annotated[str, Form(**limits)], a: UploadFile) -> str:
        return note

    @app.post("/by-hand")
    async def by_hand(request: Request) -> Any:
        return (await request.form(**limits))["note"]

    async with TestClient(app) as client:
        for path in ("/parameter", "/by-hand"):
            response = await client.post(path, data={"note": "ü"}, files={"a": b"12345", "b": b"1"})
            if detail is None:
                assert (response.status_code, response.text) == (200, "ü")
            else:
                assert (response.status_code, response.json()["detail"]) == (413, detail)


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), PIECE):
        yield data[at : at + PIECE]


async def halved(data: bytes) -> AsyncIterator[bytes]:
    yield data[: len(data) // 2]
    await trio.sleep_forever()


BOUNDED = {"content-type": "multipart/form-data; boundary=X"}
WHOLE = b'--X\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n' + BIG * 2 + b"\r\n--X--"


def endings() -> App:
    app = App(max_body=None, timeout=5, body_timeout=None)

    @app.post("/returns")
    async def returns(photo: UploadFile) -> str:
        return "ok"

    @app.post("/fails")
    async def fails(photo: UploadFile) -> str:
        raise RuntimeError("x")

    @app.post("/hangs")
    async def hangs(photo: UploadFile) -> None:
        await trio.sleep_forever()

    @app.post("/small", max_body=len(WHOLE) - 1)
    async def small(photo: UploadFile) -> str:
        return "never"

    @app.post("/streams")
    async def streams(photo: UploadFile) -> Stream:
        async def feed(sink: Sink) -> None:
            async for piece in photo:
                await sink.send(piece)

        return Stream(feed)

    @app.post("/leaves", on_disconnect="cancel")
    async def leaves(photo: UploadFile) -> None:
        await trio.sleep_forever()

    return app


@pytest.mark.parametrize(
    ("path", "status"), [("/returns", 200), ("/fails", 500), ("/hangs", 503), ("/small", 413), ("/streams", 200)]
)
async def test_no_file_outlives_its_request(
    path: str, status: int, opened: Opened, autojump_clock: trio.testing.MockClock
) -> None:
    """However that ends; a stream has it to its last byte."""
    async with TestClient(endings(), raise_app_exceptions=False) as client:
        response = await client.post(path, content=in_pieces(WHOLE), headers=BOUNDED)
        assert response.status_code == status
        await trio.sleep(3)  # the answer comes first
        if path == "/streams":
            assert response.content == BIG * 2
        assert (len(opened.files), opened.left) == (1, 0)


async def test_no_file_outlives_a_client_that_leaves(opened: Opened, autojump_clock: trio.testing.MockClock) -> None:
    """In the middle of the upload, or while the handler has it."""
    async with TestClient(endings()) as client:
        with trio.move_on_after(1):
            await client.post("/leaves", content=halved(WHOLE), headers=BOUNDED)
        with trio.move_on_after(1):
            await client.post("/leaves", content=WHOLE, headers=BOUNDED)
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        assert (len(opened.files), opened.left) == (2, 0)


async def test_an_upload_that_stalls_is_408_and_leaves_no_file(
    opened: Opened, autojump_clock: trio.testing.MockClock
) -> None:
    """The deadline passes while the body is what we wait for."""
    async with TestClient(endings()) as client:
        response = await client.post("/returns", content=halved(WHOLE), headers=BOUNDED)
        assert response.status_code == 408
        await trio.sleep(3)
        assert (len(opened.files), opened.left) == (1, 0)


async def test_a_disk_that_hangs_does_not_keep_the_request(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end waits for the deletion for a while only; the thread goes on by itself."""
    monkeypatch.setattr(_app, "DELETE_SECONDS", 0.05)
    disk, close = threading.Event(), UploadFile._close

    def hang(self: UploadFile) -> None:
        disk.wait()
        close(self)

    def told(app: ASGIApp) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)
            if scope["type"] == "http":
                over.set()

        return serve

    monkeypatch.setattr(UploadFile, "_close", hang)
    over, app = trio.Event(), endings()
    app.wrap(told)
    async with TestClient(app) as client:
        response = await client.post("/returns", content=WHOLE, headers=BOUNDED)
        assert response.status_code == 200
        try:
            with trio.fail_after(5):
                await over.wait()
            assert opened.left > 0
        finally:
            disk.set()
        with trio.fail_after(10):
            while opened.left:  # noqa: ASYNC110 - a thread that nobody waits for tells nobody
                await trio.sleep(0.01)


async def test_half_a_form_is_not_a_form() -> None:
    """What was begun otherwise cannot be read as a form, and a form not as a body."""
    app = App()

    @app.post("/begun")
    async def begun(request: Request) -> str:
        async for _ in request.stream():
            break
        with pytest.raises(RuntimeError, match="has been read already"):
            await request.form()
        return "ok"

    @app.post("/kept")
    async def kept(request: Request) -> str:
        await request.body()
        return str((await request.form())["a"])

    @app.post("/after")
    async def after(request: Request) -> str:
        await request.form()
        with pytest.raises(RuntimeError, match="has been read already"):
            await request.body()
        return "ok"

    async with TestClient(app) as client:
        for path in ("/begun", "/kept", "/after"):
            assert (await client.post(path, data={"a": "ok"})).text == "ok"


async def test_a_full_disk_is_our_fault(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, and what was opened is closed."""
    from trivet import _upload

    def full(data: bytes) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_upload, "_to_disk", full)
    async with TestClient(endings()) as client:
        assert (await client.post("/returns", content=WHOLE, headers=BOUNDED)).status_code == 500


async def test_files_that_need_not_be_there_are_as_many_as_came() -> None:
    """An empty list, set or tuple is a default as good as `None`, and each request's own."""
    app = App()

    @app.post("/")
    async def upload(
        a: tuple[UploadFile, ...] = (),
        b: list[UploadFile] = [],  # noqa: B006 - it is what is tested
    ) -> str:
        found = repr((len(a), len(b)))
        b.extend(a)
        return found

    async with TestClient(app) as client:
        for _ in range(2):
            assert (await client.post("/", files=[("a", ("x", b"1"))])).text == "(1, 0)"
        assert (await client.post("/", files=[("b", ("x", b"1"))])).text == "(0, 1)"
