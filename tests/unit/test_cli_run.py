"""What `trivet run` says of what cannot be, from the command line as a user types it."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.golden import Golden
from trivet.cli import main

APP = """
async def app(scope, receive, send): ...
def make(): return app
class Site: ...
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with an application and files of settings, which is the current one; logging stays as it is."""
    (tmp_path / "run_me.py").write_text(APP)
    (tmp_path / "no.ini").write_text("[nothing]\n")
    (tmp_path / "no.json").write_text('{"version": 1, "handlers": {"a": {"class": "nowhere.Handler"}}}')
    (tmp_path / "half.toml").write_text("workers = 1.5\n")
    (tmp_path / "text.toml").write_text('max_requests = "100"\n')
    (tmp_path / "wsgi.toml").write_text("wsgi_max_body_size = -1\n")
    (tmp_path / "directory").mkdir()
    monkeypatch.chdir(tmp_path)
    path, handlers, level = list(sys.path), list(logging.root.handlers), logging.root.level
    ours = logging.getLogger("trivet").level, logging.getLogger("trivet.access").level
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop("run_me", None)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    for name, each in zip(("trivet", "trivet.access"), ours, strict=True):
        logging.getLogger(name).setLevel(each)


CONFIGURATION: list[list[str]] = [
    ["--bind", ""],
    ["--insecure-bind", "127.0.0.1:0"],
    ["--quic-bind", "127.0.0.1:0"],
    ["--workers", "-1"],
    ["--workers", "two"],
    ["-c", "half.toml"],
    ["--backlog", "0"],
    ["--max-requests", "0"],
    ["-c", "text.toml"],
    ["--max-requests-jitter", "-1"],
    ["-c", "wsgi.toml"],
    ["--log-config", "gone.ini"],
    ["--log-config", "no.ini"],
    ["--log-config", "json:no.json"],
    ["--log-config", "toml:gone.toml"],
    ["--log-level", "loud"],
    ["--error-log", "gone/error.log"],
    ["--access-log", "gone/access.log"],
    ["--pid", "gone/pid"],
]
ADDRESSES = ["unix:gone/socket", "fd://77777", "192.0.2.1:8000", "127.0.0.1:{taken}"]
APPLICATIONS = ["run_me:make", "run_me:Site", "run_me:ap", "run_you", "gone.py", "directory/"]


# hypercorn leaves a socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_cannot_be_is_explained(here: Path, golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    """What came, the likely mistake, and the remedy: status 2 for a configuration, 1 for what may be mended outside."""
    said: list[str] = []

    def run(expected: int, application: str, *arguments: str) -> None:
        words = [application, *arguments]
        try:
            status = main(["run", *words, *([] if "--bind" in words else ["--bind", "127.0.0.1:0"])])
        except SystemExit as error:
            status = int(str(error.code))
        assert status == expected, words
        text = capsys.readouterr().err.rpartition("error: ")[2]
        said.append(f"{' '.join(words)}\n{text}".replace(str(here), "/srv/app").replace(port, "8000"))

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments in CONFIGURATION:
            run(2, "run_me", *arguments)
        for address in ADDRESSES:
            run(1, "run_me", "--bind", address.format(taken=port))
        for application in APPLICATIONS:
            run(1, application)
    golden("cli/run", "\n".join(said))
