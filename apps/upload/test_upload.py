"""The app in memory: what is taken, what is refused, and what is left when somebody goes in the middle."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from apps.upload.digests import field_of
from apps.upload.main import create_app
from apps.upload.settings import Settings
from apps.upload.store import COST
from apps.upload.test_store import files_below
from trivet.testing import TestClient

DATA = bytes(range(256)) * 4096
DIGEST = field_of(hashlib.sha256(DATA).digest())


@asynccontextmanager
async def uploading(directory: Path, *, link: bool = True, **settings: Any) -> AsyncGenerator[TestClient]:
    """A client of the app with these settings; afterwards nothing is on its way."""
    async with TestClient(create_app(Settings(directory, **settings)), link=link) as client:
        yield client
    assert list((directory / "arriving").iterdir()) == []


async def in_pieces(content: bytes, size: int = 10_000) -> AsyncGenerator[bytes]:
    """A body whose length is not announced."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_echo(tmp_path: Path) -> None:
    """GET / tells the request's method, URI, version and headers, and keeps credentials to itself."""
    async with uploading(tmp_path) as client:
        headers = {"x-seen": "yes", "Cookie": "a=secret", "authorization": "Bearer secret"}
        response = await client.get("/?q=%C3%A9&q=2", headers=headers)
        echo = response.json()
        assert (echo["method"], echo["uri"], echo["version"]) == ("GET", "/?q=%C3%A9&q=2", "HTTP/1.1")
        assert echo["headers"].items() >= {"x-seen": "yes", "host": "testserver", "cookie": "[hidden]"}.items()
        assert "secret" not in response.text
        assert (await client.head("/")).status_code == 200
        assert (await client.post("/")).status_code == 405


@pytest.mark.parametrize("announced", [True, False])
async def test_put_and_get(announced: bool, tmp_path: Path) -> None:
    """What is put under an id is told of, listed, and given back byte for byte."""
    async with uploading(tmp_path) as client:
        content = DATA if announced else in_pieces(DATA)
        headers = {"content-type": "image/png", "repr-digest": DIGEST}
        put = await client.put("/uploads/photo.png?name=f%C3%AAte.png", content=content, headers=headers)
        assert put.status_code == 201
        assert put.headers["location"] == "/uploads/photo.png"
        assert put.headers["repr-digest"] == DIGEST
        about = put.json()
        assert about.items() >= {"id": "photo.png", "name": "fête.png", "size": len(DATA), "state": "complete"}.items()
        assert about["sha256"] == hashlib.sha256(DATA).hexdigest()
        assert (await client.get("/uploads/photo.png")).json() == about
        assert (await client.get("/uploads")).json() == [about]
        whole = await client.get("/uploads/photo.png/content")
        assert (whole.status_code, whole.content) == (200, DATA)
        assert whole.headers["content-type"] == "image/png"
        assert whole.headers["content-disposition"].startswith("attachment; filename")
        assert whole.headers["repr-digest"] == DIGEST
        assert (await client.delete("/uploads/photo.png")).status_code == 204
        for response in (
            await client.get("/uploads/photo.png"),
            await client.get("/uploads/photo.png/content"),
            await client.delete("/uploads/photo.png"),
        ):
            assert response.status_code == 404
    assert files_below(tmp_path) == []


async def test_post_has_an_id_made_for_it(tmp_path: Path) -> None:
    """Two posts are two uploads; curl's type for whatever it sends is not taken for the file's."""
    async with uploading(tmp_path) as client:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        first, second = [await client.post("/uploads?name=a.txt", content=b"a", headers=headers) for _ in range(2)]
        assert first.status_code == second.status_code == 201
        assert first.json()["id"] != second.json()["id"]
        about = await client.get(first.headers["location"])
        assert about.json() == first.json()
        content = await client.get(first.headers["location"] + "/content")
        assert content.headers["content-type"] == "text/plain; charset=utf-8"


async def test_form(tmp_path: Path) -> None:
    """Each file of a form is an upload; a browser without script is sent back to the page."""
    files = [("files", ("a.txt", b"a", "text/plain")), ("files", ("../../b.bin", DATA, "nonsense"))]
    async with uploading(tmp_path) as client:
        response = await client.post("/uploads", files=files, data={"comment": "two"})
        assert response.status_code == 201
        assert [(each["name"], each["size"], each["media_type"]) for each in response.json()] == [
            ("a.txt", 1, "text/plain"),
            ("b.bin", len(DATA), None),
        ]
        back = await client.post("/uploads", files=files, headers={"accept": "text/html,*/*;q=0.8"})
        assert (back.status_code, back.headers["location"]) == (303, "/page")
        assert len((await client.get("/uploads?limit=3")).json()) == 3
        # What a browser sends for a form in which no file was chosen.
        empty = await client.post("/uploads", files={"files": ("", b"")})
        assert empty.status_code == 422


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"repr-digest": DIGEST}, 201),
        ({"content-digest": DIGEST}, 201),
        ({"content-digest": "md5=:AQ==:"}, 201),
        ({"content-encoding": "identity"}, 201),
        ({"sec-fetch-site": "same-origin", "origin": "http://elsewhere.test"}, 201),
        ({"sec-fetch-site": "none"}, 201),
        ({"origin": "http://testserver"}, 201),
        ({"repr-digest": field_of(bytes(32))}, 400),
        ({"repr-digest": DIGEST, "content-digest": field_of(bytes(32))}, 400),
        ({"content-digest": "sha-256=:AQ==:"}, 400),
        ({"content-digest": "sha-256"}, 400),
        ({"content-range": "bytes 0-9/20"}, 400),
        ({"content-encoding": "gzip"}, 415),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://elsewhere.test"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_heads_that_decide(headers: dict[str, str], status: int, tmp_path: Path) -> None:
    """A digest must fit; a part or an encoding of a file is none; another site's page may not upload."""
    async with uploading(tmp_path) as client:
        response = await client.put("/uploads/a", content=DATA, headers=headers)
    assert response.status_code == status, response.text
    assert (files_below(tmp_path) != []) == (status == 201)


@pytest.mark.parametrize("upload_id", [".hidden", "..%2fa", "a%2f..%2fb", "a%0a", "a%5cb", "%C3%A9", "a" * 101])
async def test_ids_that_are_none(upload_id: str, tmp_path: Path) -> None:
    """What could be another path is none."""
    async with uploading(tmp_path) as client:
        for method in ("PUT", "GET", "DELETE"):
            assert (await client.request(method, f"/uploads/{upload_id}")).status_code == 404
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("announced", [True, False])
async def test_too_large(announced: bool, tmp_path: Path) -> None:
    """One byte more than may come is 413, announced or not; as many as may come are taken."""
    async with uploading(tmp_path, max_size=50_000, quota=50_000 + COST) as client:
        for size, status in [(50_001, 413), (10**9, 413), (50_000, 201)]:
            if size > 10**6 and not announced:
                continue
            content = bytes(size) if size < 10**6 else b""
            headers = {"content-length": str(size)} if size >= 10**6 else {}
            async with client.open(
                "PUT", "/uploads/a", content=(content if announced else in_pieces(content)), headers=headers
            ) as exchange:
                assert (await exchange.head())[0] == status
            assert (files_below(tmp_path) != []) == (status == 201)


@pytest.mark.parametrize("announced", [True, False])
async def test_quota(announced: bool, tmp_path: Path) -> None:
    """What does not fit beside the others is 507, and does when one of them is removed."""
    async with uploading(tmp_path, quota=2 * (COST + 30_000)) as client:
        for name, status in [("a", 201), ("b", 201), ("c", 507)]:
            content = bytes(30_000)
            put = await client.put(f"/uploads/{name}", content=content if announced else in_pieces(content))
            assert put.status_code == status
        assert (await client.get("/uploads/c")).status_code == 404
        await client.delete("/uploads/a")
        assert (await client.put("/uploads/c", content=bytes(30_000))).status_code == 201


async def test_an_id_is_used_once(tmp_path: Path) -> None:
    """An upload never changes: another under its id is 409, before it is complete and after."""
    async with uploading(tmp_path) as client:
        async with client.open("PUT", "/uploads/a", upload=True) as exchange:
            await exchange.send_body(b"first")
            await trio.testing.wait_all_tasks_blocked()
            assert (await client.put("/uploads/a", content=b"second")).status_code == 409
            assert (await client.delete("/uploads/a")).status_code == 404
            await exchange.end_body()
            assert (await exchange.head())[0] == 201
        assert (await client.put("/uploads/a", content=b"third")).status_code == 409
        assert (await client.get("/uploads/a/content")).content == b"first"


@pytest.mark.parametrize("announced", [True, False])
async def test_progress(announced: bool, tmp_path: Path) -> None:
    """While one comes, it is told how much of it has; a download of it is 404."""
    async with uploading(tmp_path) as client:
        headers = {"content-length": "30000"} if announced else {}
        async with client.open("PUT", "/uploads/a?name=b", upload=True, headers=headers) as exchange:
            for received in (10_000, 20_000):
                await exchange.send_body(bytes(10_000))
                await _until(client, received)
                about = (await client.get("/uploads/a")).json()
                size = 30_000 if announced else None
                assert about == {"state": "arriving", "id": "a", "name": "b", "received": received, "size": size}
                assert (await client.get("/uploads")).json() == [about]
                assert (await client.get("/uploads/a/content")).status_code == 404
            await exchange.send_body(bytes(10_000))
            await exchange.end_body()
            assert (await exchange.head())[0] == 201


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("how", ["leave", "half_close"])
async def test_who_leaves_half_way_leaves_nothing(how: str, link: bool, tmp_path: Path) -> None:
    """No file, no claim on the quota, no task; the id is free."""
    async with uploading(tmp_path, link=link, quota=COST + 2_000_000) as client:
        for headers in ({}, {"content-length": "2000000"}):
            async with client.open("PUT", "/uploads/a", upload=True, headers=headers) as exchange:
                await exchange.send_body(DATA)
                await _until(client, len(DATA))
                assert len(files_below(tmp_path)) == 1
                getattr(exchange, how)()
                await exchange.wait_returned()
            assert files_below(tmp_path) == []
            assert (await client.get("/uploads/a")).status_code == 404
        assert (await client.put("/uploads/a", content=bytes(2_000_000))).status_code == 201


@pytest.mark.parametrize("link", [True, False])
async def test_who_leaves_after_the_last_byte_has_uploaded(link: bool, tmp_path: Path) -> None:
    """All has come: it is kept, whether or not anybody waits for the answer."""
    async with uploading(tmp_path, link=link) as client:
        async with client.open("PUT", "/uploads/a", upload=True) as exchange:
            await exchange.send_body(DATA)
            await exchange.end_body()
            exchange.leave()
            await exchange.wait_returned()
        assert (await client.get("/uploads/a/content")).content == DATA


@pytest.mark.parametrize("link", [True, False])
async def test_who_stops_sending_is_cut_off(link: bool, tmp_path: Path, autojump_clock: MockClock) -> None:
    """408 when nothing more has come for so long, and nothing is left."""
    async with uploading(tmp_path, link=link, stall=5, timeout=600) as client:
        async with client.open("PUT", "/uploads/a", upload=True) as exchange:
            await exchange.send_body(DATA)
            status, headers = await exchange.head()
        assert status == 408
        assert headers["connection"] == "close"
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        assert files_below(tmp_path) == []


@pytest.mark.parametrize("link", [True, False])
async def test_who_drips_is_cut_off_at_the_deadline(link: bool, tmp_path: Path, autojump_clock: MockClock) -> None:
    """A byte a second is progress, but not for ever: 408 at the deadline, and nothing is left."""
    async with (
        uploading(tmp_path, link=link, stall=10, timeout=60) as client,
        client.open("PUT", "/uploads/a", upload=True) as exchange,
        trio.open_nursery() as nursery,
    ):

        async def drip() -> None:
            for _ in range(100):
                await exchange.send_body(b".")
                await trio.sleep(1)

        nursery.start_soon(drip)
        status, _ = await exchange.head()
        assert status == 408
        assert trio.current_time() == pytest.approx(60, abs=0.1)
        nursery.cancel_scope.cancel()
    assert files_below(tmp_path) == []


async def test_download_in_part(tmp_path: Path) -> None:
    """A part is a part of what the whole's digest is of; the tag is the content's own, and decides on the rest."""
    async with uploading(tmp_path) as client:
        await client.put("/uploads/a", content=DATA)
        part = await client.get("/uploads/a/content", headers={"range": "bytes=1000000-"})
        assert (part.status_code, part.content) == (206, DATA[1_000_000:])
        assert part.headers["repr-digest"] == DIGEST
        tag = part.headers["etag"]
        assert tag == f'"{hashlib.sha256(DATA).hexdigest()}"'
        await client.delete("/uploads/a")
        await client.put("/uploads/a", content=DATA[::-1])
        headers = {"range": "bytes=1000000-", "if-range": tag}
        assert (await client.get("/uploads/a/content", headers=headers)).status_code == 200
        headers = {"range": "bytes=2000000-"}
        assert (await client.get("/uploads/a/content", headers=headers)).status_code == 416


async def test_page(tmp_path: Path) -> None:
    """The page and what it needs are there, and it may load nothing from elsewhere."""
    async with uploading(tmp_path) as client:
        page = await client.get("/page")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["content-security-policy"].startswith("default-src 'self';")
        for name in ("page.js", "page.css", "page.svg"):
            assert f'"static/{name}"' in page.text
            assert (await client.get(f"/static/{name}")).status_code == 200


async def test_without_a_directory_nothing_stays() -> None:
    """Where none is configured, the uploads go with the server."""
    made: list[Path] = []
    async with TestClient(create_app(Settings())) as client:
        assert (await client.put("/uploads/a", content=b"abc")).status_code == 201
        made.append(client.state["uploads"].data("a"))
        assert made[0].exists()
    assert not made[0].parent.parent.parent.exists()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("UPLOAD_MAX_SIZE", "1e6", Settings(max_size=1_000_000)),
        ("UPLOAD_DIRECTORY", "/srv/up", Settings(directory=Path("/srv/up"))),
        ("UPLOAD_TIMEOUT", "0.5", Settings(timeout=0.5)),
        ("UPLOAD_STALL", "", Settings()),
        ("UPLOAD_QUOTA", "much", None),
        ("UPLOAD_QUOTA", "0", None),
        ("UPLOAD_MAX_SIZE", "-1", None),
        ("UPLOAD_MAX_SIZE", "0.5", None),
        ("UPLOAD_TIMEOUT", "inf", None),
        ("UPLOAD_STALL", "nan", None),
    ],
)
def test_settings(name: str, text: str, expected: Settings | None) -> None:
    """What is said in the environment is taken, or refused by name before anything is served."""
    if expected is not None:
        assert Settings.read({name: text}) == expected
        return
    with pytest.raises(ValueError, match=f"{name}='{text}' is not a positive number"):
        Settings.read({name: text})


async def _until(client: httpx.AsyncClient, received: int) -> None:
    """Ask until so much has come: the app learns of it in its own time."""
    while True:
        about = (await client.get("/uploads/a")).json()
        if about.get("received") == received:
            return
        await trio.sleep(0.01)
