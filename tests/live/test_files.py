"""Downloads by clients that we have not written, on each protocol: resumed, given up, cut short."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import require
from tests.live._server import ROOT, Running, read_all, read_at_least, running

pytestmark = [pytest.mark.live, pytest.mark.slow]

CONTENT = os.urandom(1_000_003)
HUGE = 300_000_000
"""More than all buffers between the file and a client that does not read."""


@pytest.fixture(scope="module", params=["trivet", "hypercorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One process for all tests of this module, in a directory with files."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "content").write_bytes(CONTENT)
    (directory / "site.css").write_text("css")
    for name in ("huge", "shrinking"):
        with (directory / name).open("wb") as file:
            file.truncate(HUGE)
    for path in directory.iterdir():
        os.utime(path, ns=(784111777000000005, 784111777000000005))
    with running("--protocol", request.param, app="tests.live._files_app:app", cwd=directory) as process:
        process.directory = directory  # type: ignore[attr-defined]
        yield process
        process.signal()
        assert process.wait() == 0


def directory(server: Running) -> Path:
    found: Path = server.directory  # type: ignore[attr-defined]
    return found


def open_in(server: Running, name: str) -> int:
    """How many descriptors of the server lead to a file."""
    found, table = 0, f"/proc/{server.process.pid}/fd"
    for each in os.listdir(table):
        try:
            found += os.readlink(f"{table}/{each}") == str(directory(server) / name)
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "not within its time"
        time.sleep(0.01)


def curl(server: Running, *arguments: str, codes: tuple[int, ...] = (0,)) -> bytes:
    command = [require("curl"), "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments[:-1]]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{arguments[-1]}"], capture_output=True, check=False
    )
    assert done.returncode in codes, done.stderr.decode()
    return done.stdout


VERSIONS = pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])


@VERSIONS
def test_curl_resumes_a_download(server: Running, version: str, tmp_path: Path) -> None:
    """What is there already is not sent again."""
    half = tmp_path / "half"
    half.write_bytes(CONTENT[:400_000])
    resume = ("--continue-at", "-", "--output", str(half), "--write-out", "%{http_code} %{size_download}")
    said = curl(server, version, *resume, "/content")
    assert said == b"206 600003"
    assert half.read_bytes() == CONTENT


@VERSIONS
def test_curl_has_each_part_and_keeps_what_has_not_changed(server: Running, version: str, tmp_path: Path) -> None:
    """Ranges, a file that is not newer, an entity tag that is kept, the head alone."""
    assert curl(server, version, "--range", "5-9", "/content") == CONTENT[5:10]
    assert curl(server, version, "--range", "-7", "/content") == CONTENT[-7:]
    assert curl(server, version, "--range", "0-0,-1", "/content") == CONTENT
    code = ("--output", os.devnull, "--write-out", "%{http_code}")
    assert curl(server, version, *code, "--range", "2000000-", "/content") == b"416"
    assert curl(server, version, *code, "--time-cond", "Sun, 06 Nov 1994 08:49:37 GMT", "/content") == b"304"
    kept = str(tmp_path / "etag")
    assert curl(server, version, "--etag-save", kept, "/site.css") == b"css"
    assert curl(server, version, *code, "--etag-compare", kept, "/site.css") == b"304"
    assert b"content-length: 1000003" in curl(server, version, "--head", "/content").lower()
    assert curl(server, version, *code, "--path-as-is", "/../../../../etc/passwd") == b"404"


@VERSIONS
def test_a_client_that_leaves_in_the_middle_closes_the_file(server: Running, version: str) -> None:
    """A process that is killed says nothing: the kernel does."""
    command = [require("curl"), "--silent", "--noproxy", "*", version, "--limit-rate", "10k", "--output", os.devnull]
    client = subprocess.Popen([*command, f"http://127.0.0.1:{server.port}/huge"])
    try:
        wait_until(lambda: open_in(server, "huge") == 1)
    finally:
        client.kill()
        client.wait()
    wait_until(lambda: open_in(server, "huge") == 0)


def test_a_connection_goes_on_after_each_kind_of_answer(server: Running) -> None:
    """The framing of 200, 206, 304, 404, 412, 416 and HEAD is right: the next answer is where it should be."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        tag = client.get("/content").headers["etag"]
        asked = [
            ("GET", {}, 200, CONTENT),
            ("GET", {"range": "bytes=500000-"}, 206, CONTENT[500_000:]),
            ("GET", {"range": "bytes=5-", "if-range": tag}, 206, CONTENT[5:]),
            ("GET", {"range": "bytes=5-", "if-range": '"other"'}, 200, CONTENT),
            ("GET", {"if-none-match": tag}, 304, b""),
            ("HEAD", {}, 200, b""),
            ("HEAD", {"if-none-match": tag}, 304, b""),
            ("GET", {"if-match": '"other"'}, 412, None),
            ("GET", {"range": "bytes=9999999-"}, 416, None),
        ]
        for method, headers, status, body in asked * 2:
            response = client.request(method, "/content", headers=headers)
            assert response.status_code == status
            assert body is None or response.content == body
    wait_until(lambda: open_in(server, "content") == 0)


def test_a_file_that_is_truncated_breaks_the_connection(server: Running) -> None:
    """Half of a body is not ended as if it were whole, and the next answer is not taken for its rest."""
    with server.connect(receive_buffer=4096) as sock:
        sock.sendall(b"GET /shrinking HTTP/1.1\r\nHost: x\r\n\r\nGET /site.css HTTP/1.1\r\nHost: x\r\n\r\n")
        begun = read_at_least(sock, 1000, 5)
        os.truncate(directory(server) / "shrinking", 0)
        rest = read_all(sock)
    assert b"content-length: 300000000" in begun.lower()
    assert not rest.endswith(b"<OPEN>")
    assert len(begun + rest) < HUGE
    assert b"css" not in rest
    wait_until(lambda: open_in(server, "shrinking") == 0)
    with (directory(server) / "shrinking").open("wb") as file:
        file.truncate(HUGE)


def test_many_downloads_at_once_are_each_whole(server: Running) -> None:
    """More than there are slots for threads that read."""
    command = [require("curl"), "--silent", "--noproxy", "*", "--parallel", "--parallel-max", "60"]
    urls = [word for _ in range(60) for word in ("--output", "-", f"http://127.0.0.1:{server.port}/site.css")]
    done = subprocess.run([*command, *urls], capture_output=True, check=False, timeout=30)
    assert done.stdout == b"css" * 60
    assert str(ROOT).encode() not in done.stderr
