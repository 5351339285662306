"""`deploy/` beside nginx: the unit as systemd reads it, the image's commands run as its first process, and whether the
times and sizes in these files agree with each other and with the server's."""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import namespaces
from tests.harness.processes import free_port
from tests.harness.tools import require
from tests.live._deployed import DEPLOY, changed, eventually, listens
from tests.live._server import ROOT
from trivet._options import TIMEOUT
from trivet.server._serve import CLEANUP_GRACE, DRAIN_TIMEOUT

pytestmark = [pytest.mark.live, pytest.mark.slow]

SERVER = tomllib.loads((DEPLOY / "server.toml").read_text())
NGINX = (DEPLOY / "nginx.conf").read_text()


def unit(name: str) -> configparser.ConfigParser:
    """A unit file; none of ours sets a key twice."""
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(DEPLOY / name)
    return parser


def seconds(directive: str) -> int:
    """What nginx.conf says of a time, the only one of its name."""
    [found] = re.findall(rf"^ *{directive} (\d+)s;", NGINX, re.MULTILINE)
    return int(found)


# systemd ----------------------------------------------------------------------------------------------------------


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """As they are, but for the program, which has to exist. It is silent, and would not be on what it does not know."""
    program = require("systemd-analyze")
    changes = {"/srv/app/venv/bin/trivet": sys.executable, "WorkingDirectory=/srv/app": f"WorkingDirectory={DEPLOY}"}
    (tmp_path / "app.service").write_text(changed((DEPLOY / "app.service").read_text(), changes))
    (tmp_path / "app.socket").write_text((DEPLOY / "app.socket").read_text())
    beside = tmp_path / "app.service.d" / "settings.conf"
    beside.parent.mkdir()
    beside.write_text((DEPLOY / "settings.conf").read_text())
    command = [program, "verify", "--man=no", "./app.socket", "./app.service"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for file, wrong in [(tmp_path / "app.service", "TimeoutStop=60\n"), (beside, "LoadSecret=a:/b\n")]:
        file.write_text(file.read_text() + wrong)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "TimeoutStop" in done.stderr
    assert "LoadSecret" in done.stderr


def test_the_service_takes_the_socket_of_its_socket_unit() -> None:
    """systemd hands the first one over as descriptor 3, and the server listens there."""
    assert SERVER["bind"] == ["fd://3"]
    assert unit("app.service")["Unit"]["Requires"] == "app.socket"
    assert f"unix:{unit('app.socket')['Socket']['ListenStream']}" in re.findall(r"server (\S+)", NGINX)


def test_systemd_waits_for_longer_than_a_stop_can_take() -> None:
    """Requests have their drain and a grace; then tasks the same drain, the rest `shutdown_timeout`, and a grace."""
    longest = 2 * SERVER["drain_timeout"] + 2 * SERVER["cleanup_grace"] + SERVER["shutdown_timeout"]
    assert longest < int(unit("app.service")["Service"]["TimeoutStopSec"])
    assert (SERVER["drain_timeout"], SERVER["cleanup_grace"]) == (DRAIN_TIMEOUT, CLEANUP_GRACE)


# Times ------------------------------------------------------------------------------------------------------------


def test_nginx_closes_a_connection_that_it_keeps_before_we_do() -> None:
    """Else a request may be on its way when we close, and one that is not idempotent is not repeated."""
    assert seconds("keepalive_timeout") < SERVER["limit_idle_timeout"]


def test_nginx_waits_for_longer_than_a_request_may_take() -> None:
    """Else its 504 comes before our 503; and longer than a stream or a WebSocket is silent."""
    assert seconds("proxy_read_timeout") > TIMEOUT
    assert seconds("proxy_read_timeout") > 2 * 20  # `websocket_ping_interval` and the pong; `heartbeat` is less


# The container ----------------------------------------------------------------------------------------------------

Instructions = list[tuple[str, str]]


def instructions(stage: int) -> Instructions:
    """The instructions of one stage of the Containerfile, in order."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    lines = [tuple(line.split(" ", 1)) for line in text.splitlines() if line and not line.startswith("#")]
    starts = [number for number, (name, _) in enumerate(lines) if name == "FROM"] + [len(lines)]
    return lines[starts[stage] : starts[stage + 1]]  # type: ignore[return-value]


def only(name: str) -> str:
    """The value of an instruction that stands in the last stage once."""
    [value] = [value for each, value in instructions(-2) if each == name]
    return value


def test_the_image_is_what_the_page_says() -> None:
    """Exec form, so that SIGTERM reaches the server; no root; versions that are pinned; no compiler, no sources."""
    for name in ("ENTRYPOINT", "CMD"):
        assert all(isinstance(word, str) for word in json.loads(only(name))), name
    assert only("STOPSIGNAL") == "SIGTERM"
    user, _, group = only("USER").partition(":")
    assert int(user) > 0  # by number: Kubernetes cannot tell whether a name is root's
    assert int(group) > 0
    names = [name for name, _ in instructions(-2)]
    assert "RUN" not in names
    assert names.index("USER") > max(number for number, name in enumerate(names) if name == "COPY")
    for name, value in [*instructions(0), *instructions(-2)]:
        if name == "FROM":
            assert re.search(r":\d+\.\d+", value), value
        if name == "COPY" and not value.startswith("--from"):
            *sources, _ = value.split()
            assert all((ROOT / source).exists() for source in sources), value
    [install] = [value for name, value in instructions(0) if name == "RUN" and "pip install" in value]
    assert "--constraint /src/constraints.txt" in install


def test_the_health_of_the_image_is_its_readiness() -> None:
    """Asked by what the image has, at the port that it serves, for less time than the asking may take."""
    options, _, command = only("HEALTHCHECK").partition(" CMD ")
    limit = int(dict(re.findall(r"--([\w-]+)=(\d+)s", options))["timeout"])
    program, flag, code = json.loads(command)
    assert (program, flag) == ("python", "-c")
    assert f"http://127.0.0.1:{only('EXPOSE')}/ready" in code
    assert f"0.0.0.0:{only('EXPOSE')}" in json.loads(only("CMD"))
    assert int(re.findall(r"timeout=(\d+)", code)[0]) < limit


def first_of(unshare: subprocess.Popen[Any]) -> int:
    """The id of the first process in the namespaces, as we see it."""
    path = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    return int(eventually(lambda: path.read_text().split())[0])


class Container:
    """The image's command in namespaces of its own: process 1, no root, next to nothing to write to."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            namespaces.as_user(only("USER"), ["-m", *json.loads(only("ENTRYPOINT")), *arguments]),
            cwd=DEPLOY,
            env={**os.environ, "PYTHONPATH": str(ROOT / "framework"), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def first(self) -> int:
        """The id of its first process, as we see it."""
        return first_of(self.process)

    def end(self) -> tuple[int, str]:
        """Its exit status and its output."""
        output, _ = self.process.communicate(timeout=20)
        return self.process.returncode, output


@contextmanager
def container(*arguments: str) -> Generator[Container]:
    it = Container(*arguments)
    try:
        yield it
    finally:
        it.process.kill()  # unshare takes its child with it
        it.process.communicate()


@pytest.mark.namespaces
def test_the_image_serves_as_the_first_process_and_drains() -> None:
    """Without root, on a file system that it cannot write; its health check finds it; SIGTERM ends it with status 0."""
    port = free_port()
    arguments = [word.replace("0.0.0.0:8000", f"127.0.0.1:{port}") for word in json.loads(only("CMD"))]
    check = json.loads(only("HEALTHCHECK").partition(" CMD ")[2])
    check = [sys.executable, *(word.replace(":8000", f":{port}") for word in check[1:])]
    with container(*arguments) as it:
        eventually(partial(listens, port))
        assert subprocess.run(check, capture_output=True, check=False).returncode == 0
        status = Path(f"/proc/{it.first}/status").read_text()
        assert re.search(r"^NSpid:.*\t1$", status, re.MULTILINE)
        if not os.geteuid():
            assert re.search(rf"^Uid:\t{only('USER').partition(':')[0]}\t", status, re.MULTILINE)
        assert httpx.put(f"http://127.0.0.1:{port}/upload", content=b"x").json() == {"bytes": 1}
        os.kill(it.first, signal.SIGTERM)
        code, output = it.end()
    assert (code, "stopped" in output) == (0, True), output
    assert '"path":"/upload"' in output.replace(" ", "")
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0


@pytest.mark.namespaces
def test_a_first_process_can_be_stopped_before_it_serves(tmp_path: Path) -> None:
    """The kernel keeps a signal from it that it does not handle; so it does, while its application is imported too."""
    journal, slow = tmp_path / "journal", tmp_path / "slow"
    slow.touch()
    command = [*namespaces.command(), sys.executable, "-m", "trivet", "run", "tests.live._journal_app:app"]
    process = subprocess.Popen(
        [*command, "--bind", f"127.0.0.1:{free_port()}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'framework'}", "JOURNAL": str(journal), "SLOW_IMPORT": str(slow)},
    )
    try:
        eventually(journal.exists)
        os.kill(first_of(process), signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
    finally:
        process.kill()  # unshare takes its child with it
        process.wait()
