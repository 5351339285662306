"""A PostgreSQL server for tests, from the system's package: in a temporary directory, on a Unix socket, as long as the
block runs.

This file owns one decision: how it is found, and as whom it runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.harness.tools import require, under_ci

__all__ = ["PostgresServer", "postgres_server"]

START_SECONDS = 30

NAMES = count(1)


class PostgresServer:
    """A server that runs.

    Args:
        directory: where its socket is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def url(self) -> str:
        """The URL of its database."""
        return f"postgresql://trivet@/postgres?host={self._directory}"

    def new_schema(self) -> str:
        """Make an empty schema, and return a URL for which it is the database: nothing else is seen of it.

        A database takes eight megabytes and some time; a schema takes nothing.
        """
        import psycopg

        name = f"test_{next(NAMES)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url()}&options=-csearch_path%3D{name}"


@contextmanager
def postgres_server() -> Generator[PostgresServer]:
    """Start a server; stop it and delete what it kept.

    A test that needs it is skipped where PostgreSQL is not installed, and fails there under CI.
    """
    require("module:psycopg", why="it connects to PostgreSQL")
    programs = _programs()
    # Not pytest's: that directory is closed to the user that the server runs as, and too long for a socket's name.
    directory = Path(tempfile.mkdtemp(prefix="trivet-pg-"))
    user: dict[str, object] = {}
    if os.geteuid() == 0:  # as which it refuses to run
        shutil.chown(directory, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data = directory / "data"
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, "-A", "trust", "-U", "trivet", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=directory,
            **user,  # type: ignore[call-overload]
        )
        command = [programs / "postgres", "-D", data, "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (directory / "log").open("wb") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=directory,
                **user,  # type: ignore[call-overload]
            )
        try:
            server = PostgresServer(directory)
            _wait_until_it_answers(server, process)
            yield server
        finally:
            process.send_signal(2)  # SIGINT: "fast", open connections are closed
            process.wait(START_SECONDS)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path:
    # Debian keeps them out of PATH, by version.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    program = str(found[-1]) if found else shutil.which("postgres")
    if program is not None:
        return Path(program).parent
    if under_ci():
        pytest.fail("PostgreSQL is missing under CI: apt-get install postgresql", pytrace=False)
    pytest.skip("PostgreSQL is missing: apt-get install postgresql")


def _wait_until_it_answers(server: PostgresServer, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    until = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(server.url()).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.05)
