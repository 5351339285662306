"""Several processes of the service, and the Redis that they share."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from os import kill
from pathlib import Path

import pytest
import trio

from apps.notes.conftest import CHEAP, PASSWORD
from apps.notes.main import create_app
from apps.notes.settings import Settings, settings
from tests.harness import ServerProcess, connect, run_server
from tests.harness.redis_server import redis_server
from trivet.testing import TestClient

pytestmark = pytest.mark.live


@contextmanager
def stopped(site: ServerProcess, index: int) -> Generator[None]:
    """While one of the workers does nothing, so that the other one has to."""
    found = re.findall(rf"worker {index} \(process (\d+)\) is ready", site.output)
    process = int(found[-1])
    kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        kill(process, signal.SIGCONT)


async def register(site: ServerProcess) -> bytes:
    """The status of an attempt to register, which counts as one although there is nothing in it."""
    async with connect(site.address) as peer:
        await peer.send(b"POST /users HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n")
        await peer.send(b"connection: close\r\n\r\n{}")
        return (await peer.read_until_eof(20))[9:12]


@pytest.mark.slow
async def test_the_limits_hold_for_all_workers(tmp_path: Path) -> None:
    """What one of them has admitted the other one counts, too: of twenty who want to register ten may try."""
    async with (
        redis_server() as redis,
        run_server(
            "trivet",
            "apps.notes:app",
            "--workers",
            "2",
            environment={
                "NOTES_DATABASE_URL": f"sqlite:{tmp_path / 'notes.db'}",
                "NOTES_REDIS_URL": redis.url,
                "NOTES_REDIS_TIMEOUT": "8",  # what is slow here is the machine
            },
        ) as site,
    ):
        statuses: list[bytes] = []
        for index in range(2):
            await site.wait_output(f"worker {index} (")
        for index in range(2):
            with stopped(site, index):
                statuses += [await register(site) for _ in range(6 + 4 * index)]
    assert Counter(statuses) == {b"422": 10, b"429": 6}


async def test_how_long_redis_has_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """In seconds; what is no number of them is refused, with what would be one."""
    monkeypatch.delenv("NOTES_REDIS_TIMEOUT", raising=False)
    assert (await settings()).redis_timeout == 0.5
    monkeypatch.setenv("NOTES_REDIS_TIMEOUT", "2")
    assert (await settings()).redis_timeout == 2
    for text in ("0", "-1", "soon", "inf", "nan"):
        monkeypatch.setenv("NOTES_REDIS_TIMEOUT", text)
        with pytest.raises(ValueError, match=f"NOTES_REDIS_TIMEOUT={text} is no number of seconds; write for example"):
            await settings()


async def test_without_its_redis_nobody_signs_in(tmp_path: Path) -> None:
    """Guesses cannot be counted, so none is taken; what is not guessed is served, without being counted."""
    app = create_app(Settings(f"sqlite:{tmp_path / 'notes.db'}", CHEAP, "redis://127.0.0.1:1"))
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    async with TestClient(app) as client:
        with trio.fail_after(10):
            assert (await client.post("/users", json={"name": "ada", "password": PASSWORD})).status_code == 201
            answer = await client.post("/token", data=form)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
