"""What `deploy/` describes, on this machine: nginx with that very file, and `trivet run` behind it.

This file owns what is changed of these files: addresses, ports and paths, which belong to a machine. A line that is to
be changed and is not there any more is an error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trustme

from tests.harness.processes import free_port
from tests.harness.tools import require
from tests.live._server import ROOT, Running

DEPLOY = ROOT / "deploy"
NAME = "app.example"


def changed(text: str, changes: dict[str, str]) -> str:
    """`text` with each of these replaced, which all have to be in it."""
    for before, after in changes.items():
        assert before in text, f"{before!r} is not in it"
        text = text.replace(before, after)
    return text


def eventually(check: Callable[[], Any], seconds: float = 20) -> Any:
    """What `check` returns, as soon as that is true."""
    until = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)
    return found


def listens(port: int) -> bool:
    """Whether somebody does, at this port."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Backend(Running):
    """`trivet run main:app` in `deploy/`, with its `server.toml`.

    Args:
        directory: for the log.
        place: a socket that listens, and that this process keeps as systemd does; or a port, which the server opens.
        trusted: as the application's environment has it.
    """

    def __init__(self, directory: Path, place: socket.socket | int, trusted: str | None = None) -> None:
        self._kept = [] if isinstance(place, int) else [place.fileno()]
        name = "on_a_port" if isinstance(place, int) else "on_a_socket"
        bind = f"127.0.0.1:{place}" if isinstance(place, int) else f"fd://{place.fileno()}"
        self.access_log = directory / f"{name}.log"
        file = directory / f"{name}.toml"
        changes = {"fd://3": bind, '"-"': f'"{self.access_log}"', "workers = 4": "workers = 1"}
        file.write_text(changed((DEPLOY / "server.toml").read_text(), changes))
        self._environment = {} if trusted is None else {"TRUSTED": trusted}
        self._command = [sys.executable, "-m", "trivet", "run", "main:app", "--config", str(file)]
        self.again()

    def again(self) -> None:
        """Start it, and return when it is ready."""
        self.start(self._command, DEPLOY, self._kept, self._environment)
        try:
            self.wait_for("Running on", 20)
        except AssertionError:
            self.close()
            raise

    def logged(self, path: str) -> list[dict[str, Any]]:
        """What its access log says of requests for this path."""
        text = self.access_log.read_text() if self.access_log.exists() else ""
        whole = text[: text.rfind("\n") + 1].splitlines()  # the last may be half written
        return [entry for entry in map(json.loads, whole) if entry["path"] == path]


class Nginx:
    """Debian's nginx with `deploy/nginx.conf`, in front of two backends.

    Args:
        directory: for everything.
        unix: where the first listens.
        port: where the second does.
    """

    def __init__(self, directory: Path, unix: Path, port: int) -> None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or require("nginx")
        self.http, self.https = free_port(), free_port()
        authority = trustme.CA()
        certificate = authority.issue_cert(NAME)
        certificate.private_key_pem.write_to_path(directory / "key.pem")
        for number, pem in enumerate(certificate.cert_chain_pems):
            pem.write_to_path(directory / "chain.pem", append=number > 0)
        authority.cert_pem.write_to_path(directory / "ca.pem")
        self.ca = directory / "ca.pem"
        self.log = directory / "app.log"
        self.errors = directory / "error.log"
        file = directory / "app.conf"
        file.write_text(
            changed(
                (DEPLOY / "nginx.conf").read_text(),
                {
                    "listen 80;": f"listen 127.0.0.1:{self.http};",
                    "listen [::]:80;": "",
                    "listen 443 ssl http2;": f"listen 127.0.0.1:{self.https} ssl http2;",
                    "listen [::]:443 ssl http2;": "",
                    "/etc/ssl/app/": f"{directory}/",
                    "/var/log/nginx/": f"{directory}/",
                    "unix:/run/app.sock": f"unix:{unix}",
                    "# server 10.0.0.2:8000": f"server 127.0.0.1:{port}",
                },
            )
        )
        places = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy"))
        unused = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in ("fastcgi", "uwsgi", "scgi"))
        main = directory / "nginx.conf"
        main.write_text(
            ("user root;\n" if os.geteuid() == 0 else "")  # who may enter pytest's directories
            + f"daemon off;\npid {directory}/nginx.pid;\nerror_log {self.errors} info;\nworker_processes 1;\n"
            + "events {}\n"
            + f"http {{\naccess_log off;\n{places}{unused}include {file};\n}}\n"
        )
        command = [program, "-p", str(directory), "-e", str(self.errors), "-c", str(main)]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        assert "[warn]" not in tested.stderr, tested.stderr
        self.process = subprocess.Popen(command)
        eventually(partial(listens, self.https))

    def connect(self, port: int | None = None) -> socket.socket:
        """A connection from an address that is not nginx's own."""
        return socket.create_connection(("127.0.0.1", port or self.https), 20, ("127.0.0.2", 0))

    def logged(self, id_: str) -> str | None:
        """The line of its access log about the request with this id."""
        found = re.search(rf".* id={id_}$", self.log.read_text(), re.MULTILINE)
        return None if found is None else found[0]

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(20)
