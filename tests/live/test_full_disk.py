"""Uploads on a disk that has no room for the whole of them, in memory and over sockets."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.harness.serving import SERVERS, Server, serving
from trivet import App, UploadFile
from trivet._upload import IN_MEMORY, PIECE

pytestmark = [pytest.mark.live, pytest.mark.parametrize("server", SERVERS)]

ROOM = IN_MEMORY + PIECE + 100_000
"""The bytes that the kernel lets us write to any file. No more than a disk that is nearly full does it refuse the write
that goes beyond: it takes what fits."""


@pytest.fixture(autouse=True)
def _narrow() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_an_upload_is_there_as_a_whole_or_not_at_all(server: Server) -> None:
    """One of which only a part could be written is refused; its handler is not called."""
    app = App(max_body=None)

    @app.post("/")
    async def upload(file: UploadFile) -> list[object]:
        data = await file.read()
        return [file.size, len(data), sha256(data).hexdigest()]

    async with serving(server, app, **({"raise_app_exceptions": False} if server == "memory" else {})) as client:
        for size in (ROOM, ROOM + 1, ROOM + 50_000, ROOM + PIECE):
            data = os.urandom(size)
            answer = await client.post("/", files={"file": data})
            if size <= ROOM:
                assert answer.json() == [size, size, sha256(data).hexdigest()]
            else:
                assert answer.status_code == 500


@pytest.mark.parametrize("beyond", [1, 100, PIECE])
async def test_a_file_that_cannot_be_saved_leaves_nothing(server: Server, tmp_path: Path, beyond: int) -> None:
    """Nor when the disk fails at the very end only: half a file looks like a whole one."""
    app = App(max_body=None)
    target = tmp_path / "saved"

    @app.post("/{limit}")
    async def save(limit: int, file: UploadFile) -> list[str]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            await file.save(target)
        except OSError:
            return os.listdir(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return [str(target.stat().st_size)]

    async with serving(server, app) as client:
        for size in (1_000, PIECE + 3_000):
            data = b"x" * size
            assert (await client.post(f"/{size}", files={"file": data})).json() == [f"{size}"]
            assert (await client.post(f"/{max(0, size - beyond)}", files={"file": data})).json() == []
