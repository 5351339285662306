"""A directory of files: what it gives out, and that nothing else gets out."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import Golden, Serve
from tests.harness.files import until
from trivet import App, Depends, File, HTTPError, Request, Router
from trivet._descriptor import Descriptor
from trivet.contrib.static import StaticFiles
from trivet.errors import RegistrationError
from trivet.testing import TestClient

SECRET = "secret"


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A directory with everything in it that should not be given out, beside and below."""
    public = tmp_path / "public"
    for name in ("css", "docs/deep", "empty", ".git", "css/.hidden"):
        (public / name).mkdir(parents=True)
    for name, text in {
        "index.html": "top", "css/site.css": "css", "docs/index.html": "docs", "docs/a b%ü.txt": "odd",
        "docs/deep/x": "deep", "a..b": "dots", "...": "three",
    }.items():  # fmt: skip
        (public / name).write_text(text)
    for name in (".env", ".git/config", "css/.hidden/x", "back\\slash", "C:x", "../outside"):
        (public / name).write_text(SECRET)
    outside = tmp_path / "private"
    outside.mkdir()
    (outside / "x").write_text(SECRET)
    (outside / "index.html").write_text(SECRET)
    (public / "link").symlink_to(outside / "x")
    (public / "linked").symlink_to(outside)
    (public / "relative").symlink_to("../private/x")
    (public / "inside").symlink_to("index.html")
    (public / "loop").symlink_to("loop")
    (public / "root").symlink_to("/")
    os.mkfifo(public / "fifo")
    return public


def site(public: Path, **options: Any) -> App:
    app = App()
    app.mount("/static", StaticFiles(public, **options))
    return app


GIVEN = [
    ("/static/", "top"),
    ("/static/index.html", "top"),
    ("/static/css/site.css", "css"),
    ("/static/%63ss/site.css", "css"),
    ("/static/docs/", "docs"),
    ("/static/docs/a%20b%25%C3%BC.txt", "odd"),
    ("/static/docs/deep/x", "deep"),
    ("/static/a..b", "dots"),
    ("/static/css/site.css?v=2", "css"),
]


async def test_what_is_there_is_given_out(serve: Serve, public: Path) -> None:
    """On every server, with its type; GET and HEAD only."""
    async with serve(site(public, cache_control="public, max-age=60")) as client:
        for path, text in GIVEN:
            response = await client.get(path)
            assert (path, response.status_code, response.text) == (path, 200, text)
        response = await client.get("/static/css/site.css")
        assert response.headers["content-type"] == "text/css; charset=utf-8"
        assert response.headers["cache-control"] == "public, max-age=60"
        assert (await client.head("/static/css/site.css")).headers["content-length"] == "3"
        again = await client.get("/static/css/site.css", headers={"if-none-match": response.headers["etag"]})
        assert (again.status_code, again.headers["cache-control"]) == (304, "public, max-age=60")
        part = await client.get("/static/css/site.css", headers={"range": "bytes=-2"})
        assert (part.status_code, part.text) == (206, "ss")
        assert (await client.post("/static/css/site.css")).status_code == 405
        assert "cache-control" not in (await client.get("/static/none")).headers


NOT_GIVEN = [
    "/static/none",
    "/static/../outside",
    "/static/%2e%2e/outside",
    "/static/..%2foutside",
    "/static/%2e%2e%2foutside",
    "/static/..%5coutside",
    "/static/%252e%252e/outside",
    "/static/css/../../outside",
    "/static/css/%2e%2e/%2e%2e/outside",
    "/static/css%2fsite.css",
    "/static/css%2Fsite.css",
    "/static/./index.html",
    "/static/%2e/index.html",
    "/static//etc/passwd",
    "/static/%2fetc/passwd",
    "//etc/passwd",
    "/static/css//site.css",
    "/static/css/site.css/",
    "/static/css/site.css/x",
    "/static/index.html/",
    "/static/C:/x",
    "/static/C:x",
    "/static/back%5cslash",
    "/static/\\index.html",
    "/static/.env",
    "/static/%2eenv",
    "/static/.git/config",
    "/static/css/.hidden/x",
    "/static/...",
    "/static/link",
    "/static/linked/x",
    "/static/linked/",
    "/static/linked",
    "/static/relative",
    "/static/inside",
    "/static/loop",
    "/static/loop/x",
    "/static/root/etc/passwd",
    "/static/fifo",
    "/static/fifo/x",
    "/static/empty",
    "/static/empty/",
    "/static/" + "x" * 5000,
    "/static/" + "x/" * 2000,
    "/staticindex.html",
]


async def raw_get(app: App, path: str) -> tuple[int, str]:
    """Ask for a path as it is: httpx would tidy it up."""
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode("latin-1"), "query_string": b"",
        "headers": [], "http_version": "1.1", "root_path": "", "scheme": "http",
    }  # fmt: skip

    async def receive() -> Any:
        await trio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode(errors="replace")


@pytest.mark.parametrize("path", NOT_GIVEN, ids=lambda path: path[:40])
async def test_nothing_else_is_given_out(path: str, public: Path) -> None:
    """404 for all that is not there, or is not to be seen; never 500, and nothing waits."""
    with trio.fail_after(5):
        status, body = await raw_get(site(public), path)
    assert status == 404
    assert SECRET not in body
    assert "root:" not in body


@pytest.mark.parametrize("path", ["/static/%00", "/static/index.html%00.txt", "/static/%ff", "/static/%zz"])
async def test_what_no_path_can_hold_is_malformed(path: str, public: Path) -> None:
    """As everywhere else: 400."""
    assert (await raw_get(site(public), path))[0] == 400


async def test_a_socket_is_nothing_to_be_read(public: Path) -> None:
    """Nor is anything else that is no file."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(public / "socket"))
        assert (await raw_get(site(public), "/static/socket"))[0] == 404


SEGMENTS = st.one_of(
    st.sampled_from(
        ["..", ".", "", "css", "docs", "link", "linked", "root", "private", "public", "outside", "x", "index.html",
         "etc", "passwd", ".env", ".git", "config", "%2e%2e", "%2f", "..%2f", "%5c", "C:", "inside", "~"]
    ),
    st.text("./\\%25cef:~\0", max_size=6).map(lambda text: quote(text, safe="%.\\:~")),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(SEGMENTS, max_size=8), st.sampled_from(["/", "%2f", "%5c", "\\", "//"]), st.booleans())
def test_no_path_leads_out(public: Path, segments: list[str], separator: str, hidden: bool) -> None:
    """Whatever it is made of; with `hidden` only what is hidden inside is added."""
    status, body = trio.run(raw_get, site(public, hidden=hidden), "/static/" + separator.join(segments))
    assert status in (200, 307, 400, 404)
    if status == 200:
        assert SECRET not in body or (hidden and any(each.startswith(".") for each in segments))
        assert "root:" not in body


async def test_a_link_that_comes_after_the_look_is_not_followed(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file nor a directory that is replaced by one while a request is on its way."""
    look, app = Descriptor.look, site(public)

    def swap(path: str, **options: Any) -> None:
        look(path, **options)
        (public / "css" / "site.css").unlink()
        (public / "css" / "site.css").symlink_to(public.parent / "private" / "x")

    monkeypatch.setattr(Descriptor, "look", staticmethod(swap))
    assert (await raw_get(app, "/static/css/site.css"))[0] == 404


async def test_a_directory_that_moves_while_it_is_entered_leads_nowhere_else(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened is gone on from, not what stands at its name by now."""
    enter, app = StaticFiles._enter, site(public)

    def swap(self: StaticFiles, directory: int, part: str) -> int:
        inner = enter(self, directory, part)
        if part == "docs":
            os.rename(public / "docs", public / "moved")
            (public / "docs").symlink_to(public.parent / "private")
        return inner

    monkeypatch.setattr(StaticFiles, "_enter", swap)
    assert await raw_get(app, "/static/docs/index.html") == (200, "docs")


async def test_no_directory_stays_open(public: Path) -> None:
    """Whatever becomes of a path."""
    app = site(public)
    before = len(os.listdir("/proc/self/fd"))
    for path in (*(path for path, _ in GIVEN), *NOT_GIVEN, "/static/docs"):
        await raw_get(app, path.partition("?")[0])
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/static", "/static/"),
        ("/static/docs", "/static/docs/"),
        ("/static/docs?a=b", "/static/docs/?a=b"),
        ("/app/static/docs", "/app/static/docs/"),
        ("/static/%64ocs", "/static/%64ocs/"),
    ],
)
async def test_a_directory_is_sent_on_to_its_slash(path: str, location: str, public: Path) -> None:
    """Else the relative links of its page would lead beside it."""
    app = site(public)
    root = "/app" if path.startswith("/app") else ""
    async with TestClient(app, root_path=root) as client:
        response = await client.get(path)
        assert (response.status_code, response.headers["location"]) == (307, location)


async def test_a_mount_at_the_root_cannot_send_to_another_host(public: Path) -> None:
    """`//docs` is no path of ours, and `/` with a slash more would be a host."""
    (public / "example.com").mkdir()
    (public / "example.com" / "index.html").write_text("page")
    app = App()
    app.mount("", StaticFiles(public))
    assert (await raw_get(app, "//example.com"))[0] == 404
    async with TestClient(app) as client:
        assert (await client.get("/")).text == "top"
        assert (await client.get("/example.com")).headers["location"] == "/example.com/"


@pytest.mark.parametrize(
    ("options", "given", "kept"),
    [
        ({"hidden": True}, ["/static/.env", "/static/.git/config", "/static/..."], ["/static/../outside"]),
        ({"symlinks": True}, ["/static/link", "/static/linked/x", "/static/linked/"], ["/static/.env"]),
        ({"index": None}, ["/static/index.html"], ["/static/", "/static/docs/", "/static/docs"]),
        ({"index": "x"}, ["/static/docs/deep/"], ["/static/docs/"]),
    ],
)  # fmt: skip
async def test_options_add_what_they_say(
    options: dict[str, Any], given: list[str], kept: list[str], public: Path
) -> None:
    """And no more."""
    app = site(public, **options)
    assert {path: (await raw_get(app, path))[0] for path in given} == dict.fromkeys(given, 200)
    assert {path: (await raw_get(app, path))[0] for path in kept} == dict.fromkeys(kept, 404)


async def test_the_directory_may_be_replaced_while_requests_are_served(public: Path, tmp_path: Path) -> None:
    """A deployment puts a link in the place of another: the next request sees it."""
    current = tmp_path / "current"
    current.symlink_to(public)
    app = site(current)
    assert await raw_get(app, "/static/") == (200, "top")
    other = tmp_path / "next"
    other.symlink_to(tmp_path / "private")
    os.replace(other, current)
    assert await raw_get(app, "/static/") == (200, SECRET)


async def test_it_is_a_router_like_others(public: Path) -> None:
    """Routes win that are more specific; dependencies guard it, catchers have its pages, names have addresses."""
    app = App()

    async def member(key: str = "") -> None:
        if key != "mine":
            raise HTTPError(401)

    guarded = StaticFiles(public, name="files", dependencies=[Depends(member)])

    @guarded.catch(404)
    async def missing(request: Request, error: HTTPError, /) -> tuple[int, File]:
        return 404, File(public / "docs" / "index.html")

    outer = Router()
    outer.mount("/files", guarded)
    app.mount("/api", outer)

    @app.get("/api/files/css/made.css")
    async def made(limit: Annotated[int, Depends(lambda: 3)]) -> str:
        return f"made {limit}"

    assert app.url_for("files", path="css/a b.css") == "/api/files/css/a%20b.css"
    assert app.url_for("files") == "/api/files/"
    async with TestClient(app) as client:
        assert (await client.get("/api/files/css/site.css")).status_code == 401
        assert (await client.get("/api/files/css/site.css?key=mine")).text == "css"
        assert (await client.get("/api/files/css/made.css")).text == "made 3"
        page = await client.get("/api/files/none?key=mine")
        assert (page.status_code, page.text) == (404, "docs")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that the messages can name."""
    monkeypatch.setattr(os.path, "abspath", lambda path: f"/srv/app/{path}")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("name", "options"),
    [("no_directory", {"directory": "publik"}), ("no_index", {"directory": "publik", "index": "docs/index.html"})],
)
def test_a_mistake_is_refused_where_it_is_made(
    name: str, options: dict[str, Any], golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At import, with the remedy."""
    if name == "no_index":
        monkeypatch.setattr(os.path, "isdir", lambda path: True)
    with pytest.raises(RegistrationError) as raised:
        StaticFiles(**options)
    golden(f"registration/static_{name}", str(raised.value))


def test_a_system_without_openat_is_told(public: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    """Rather than to be served by names that are compared."""
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(RegistrationError) as raised:
        StaticFiles(public)
    golden("registration/static_no_openat", str(raised.value))


def test_an_unknown_option_names_its_owner(public: Path) -> None:
    """A static directory's."""
    with pytest.raises(RegistrationError, match="of a static directory"):
        StaticFiles(public, timeot=3)  # type: ignore[call-arg]
