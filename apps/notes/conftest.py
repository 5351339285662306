"""Fixtures of the notes service: each database that it runs on, fresh, and the service on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from apps.notes.buckets import BUCKETS
from apps.notes.main import create_app
from apps.notes.settings import Settings
from tests.harness.postgres import PostgresServer, postgres_server
from tests.harness.serving import SERVERS, Client, Server, serving
from trivet import App
from trivet.contrib.ratelimit import MemoryBackend

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""A password in no time."""

PASSWORD = "correct horse"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server, for all tests."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.live)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of this test's own, once for each kind."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'notes.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_schema()


@pytest.fixture
def app(database_url: str) -> App:
    """The service."""
    return create_app(Settings(database_url, CHEAP))


@pytest.fixture(autouse=True)
def full_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked anything yet."""
    monkeypatch.setattr(BUCKETS, "store", MemoryBackend())


@dataclass
class Service:
    """The service, served, with somebody who is signed in."""

    client: Client
    ada: dict[str, str]
    """The headers of a request of hers."""


async def sign_in(client: Client, name: str) -> dict[str, str]:
    """Register somebody, sign them in, and return the headers of a request of theirs."""
    registered = await client.post("/users", json={"name": name, "password": PASSWORD})
    assert registered.status_code == 201, registered.text
    answer = await client.post("/token", data={"grant_type": "password", "username": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


@asynccontextmanager
async def _running(server: Server, app: App) -> AsyncGenerator[Service]:
    async with serving(server, app) as client:
        yield Service(client, await sign_in(client, "ada"))


Running = Callable[[App], AbstractAsyncContextManager[Service]]


@pytest.fixture(params=["memory", *(pytest.param(server, marks=pytest.mark.live) for server in SERVERS[1:])])
def running(request: pytest.FixtureRequest) -> Running:
    """`async with running(app) as service`: in memory, under stock hypercorn, and under trivet's server."""
    return partial(_running, request.param)
