"""The app as it is started, over real sockets, with the clients that people use."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from apps.conftest import Run
from apps.upload.store import PIECE
from apps.upload.test_store import files_below
from tests.harness import ServerProcess
from tests.harness.tools import require

MIB = 1024 * 1024
TOGETHER = 20


@asynccontextmanager
async def serving(run: Run, directory: Path, **settings: str) -> AsyncGenerator[ServerProcess]:
    """The app with its uploads in `directory`; afterwards nothing is on its way, and no file was left open."""
    environment = {"UPLOAD_DIRECTORY": str(directory), **settings}
    async with run("apps.upload:app", environment=environment) as server:
        yield server
        await _until_nothing_is_open(server, directory)
        assert [name for name in files_below(directory) if name.startswith("arriving")] == []


async def curl(server: ServerProcess, path: str, *arguments: str | Path) -> str:
    """Run curl; returns what it prints."""
    program = require("curl")
    host, port = server.address
    command = [program, "--silent", "--show-error", "--max-time", "20", *map(str, arguments)]
    ran = await trio.run_process([*command, f"http://{host}:{port}{path}"], capture_stdout=True)
    return ran.stdout.decode()


async def test_curl_uploads_and_resumes(run: Run, tmp_path: Path) -> None:
    """`curl -T` is taken, chunked and with a length; `curl -C -` fetches the rest of a download, of the same file."""
    file = tmp_path / "film.bin"
    file.write_bytes(os.urandom(3 * MIB + 1))
    content = file.read_bytes()
    code = ("--write-out", "%{http_code}", "--output", tmp_path / "answer")
    async with serving(run, tmp_path / "uploads") as server:
        assert await curl(server, "/uploads/", "-T", file, *code) == "201"
        assert await curl(server, "/uploads/film.bin", "-T", file, *code) == "409"
        assert await curl(server, "/uploads/chunked", "-T", file, "-H", "Transfer-Encoding: chunked", *code) == "201"
        assert await curl(server, "/uploads", "--data-binary", f"@{file}", *code) == "201"
        assert await curl(server, "/uploads", "-F", f"files=@{file}", *code) == "201"
        copy = tmp_path / "copy.bin"
        copy.write_bytes(content[:1_000_000])
        resumed = ("-C", "-", "--output", copy, "--write-out", "%{http_code} %{size_download}")
        assert await curl(server, "/uploads/film.bin/content", *resumed) == f"206 {len(content) - 1_000_000}"
        assert copy.read_bytes() == content
        async with server.client() as client:
            digests = {each["sha256"] for each in (await client.get("/uploads")).json()}
        assert digests == {hashlib.sha256(content).hexdigest()}


async def test_too_large_over_a_socket(run: Run, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """413 reaches a client that goes on sending, in both framings; who asks before sending need not send a byte."""
    file = tmp_path / "large"
    file.write_bytes(bytes(4 * MIB))
    code = ("--write-out", "%{http_code} %{size_upload}", "--output", "/dev/null")
    async with serving(run, tmp_path / "uploads", UPLOAD_MAX_SIZE=str(MIB)) as server:
        put = ("/uploads/a", "-T", file, *code)
        status, sent = (await curl(server, *put, "-H", "Expect: 100-continue")).split()
        assert status == "413"
        if request.node.callspec.params["run"] == "trivet":  # hypercorn says 100 to whoever asks
            assert sent == "0"
        for framing in ("X-Framing: length", "Transfer-Encoding: chunked"):
            status, _ = (await curl(server, *put, "-H", "Expect:", "-H", framing)).split()
            assert status == "413"
    assert files_below(tmp_path / "uploads") == []


@pytest.mark.parametrize("how", ["leave", "reset", "half_close"])
async def test_who_leaves_a_socket_half_way_leaves_nothing(how: str, run: Run, tmp_path: Path) -> None:
    """No file, open or closed, once the server has noticed; the server goes on."""
    directory = tmp_path / "uploads"
    async with serving(run, directory) as server, server.client() as client:
        for headers in ({}, {"content-length": str(100 * MIB)}):
            async with client.open("PUT", "/uploads/a", upload=True, headers=headers) as exchange:
                await exchange.send_body(bytes(2 * PIECE))
                await _until(lambda: sum(path.stat().st_size for path in directory.rglob("data")) >= PIECE)
                getattr(exchange.peer, how)()
                await _until(lambda: files_below(directory) == [])
                with trio.fail_after(10):  # its place is free a moment after its files are gone
                    while (await client.get("/uploads/a")).status_code != 404:  # noqa: ASYNC110 - another process
                        await trio.sleep(0.01)
        assert (await client.put("/uploads/a", content=b"abc")).status_code == 201


@pytest.mark.slow
async def test_slow_clients_over_a_socket(run: Run, tmp_path: Path) -> None:
    """One that stalls and one that drips are told 408, and nothing is left of them."""
    directory = tmp_path / "uploads"
    async with (
        serving(run, directory, UPLOAD_STALL="0.5", UPLOAD_TIMEOUT="1.5") as server,
        server.client() as client,
        trio.open_nursery() as nursery,
    ):

        async def slow(upload_id: str, pause: float) -> None:
            async with (
                client.open("PUT", f"/uploads/{upload_id}", upload=True) as exchange,
                trio.open_nursery() as sending,
            ):

                async def drip() -> None:
                    for _ in range(100):
                        await exchange.send_body(b".")
                        await trio.sleep(pause)

                sending.start_soon(drip)
                with trio.fail_after(10):
                    assert (await exchange.head())[0] == 408
                sending.cancel_scope.cancel()

        nursery.start_soon(slow, "stalls", 60)
        nursery.start_soon(slow, "drips", 0.1)
    assert files_below(directory) == []


@pytest.mark.slow
async def test_many_at_once_in_little_memory(run: Run, tmp_path: Path) -> None:
    """Twenty uploads of 16 MiB at once are all there, and the server has not had them in memory."""
    content = os.urandom(MIB) * 16
    digest = hashlib.sha256(content).hexdigest()
    async with serving(run, tmp_path / "uploads") as server, server.client() as client:
        await client.put("/uploads/first", content=content[:MIB])
        before = _peak(server)
        async with trio.open_nursery() as nursery:

            async def put(number: int) -> None:
                response = await client.put(f"/uploads/{number}", content=content, timeout=60)
                assert response.json()["sha256"] == digest

            for number in range(TOGETHER):
                nursery.start_soon(put, number)
        # A sixth of what came; what is due is twenty times a piece and what the server has read ahead.
        assert _peak(server) - before < TOGETHER * 16 * MIB / 6
        part = await client.get("/uploads/7/content", headers={"range": "bytes=-5"})
        assert (part.status_code, part.content) == (206, content[-5:])


async def _until(true: Callable[[], bool], seconds: float = 10) -> None:
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 - it is another process
            await trio.sleep(0.01)


async def _until_nothing_is_open(server: ServerProcess, directory: Path) -> None:
    """The server closes what a client that left was reading or writing in its own time."""
    if sys.platform == "linux":
        await _until(lambda: not _open_files(server, directory))


def _open_files(server: ServerProcess, directory: Path) -> list[str]:
    """What the server has open below `directory`, but for the directory whose lock each process holds."""
    found: list[str] = []
    for pid in _processes(server):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.append(os.readlink(link))
            except FileNotFoundError:
                pass
    below = f"{directory.resolve()}/"
    return [target for target in found if target.startswith(below) and not Path(target).is_dir()]


def _peak(server: ServerProcess) -> int:
    """The most memory that the server's processes have had, in bytes."""
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in _processes(server)]
    return sum(int(status.partition("VmHWM:")[2].split()[0]) * 1024 for status in statuses)


def _processes(server: ServerProcess) -> list[int]:
    """The server's processes: hypercorn answers in a child. They are of one group, which the first one leads."""
    pids = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]
    return [pid for pid in pids if _group(pid) == server.process.pid]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
