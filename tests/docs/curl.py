"""The commands of console blocks: `curl`, as far as the pages use it, and `trivet`.

This file owns which options of curl a page may use and what is printed for them. It is no curl: it exists so that a
session that a reader types is run by the suite without a port, without curl, and, under the mock clock, without
waiting. `date`, which a real server adds, is left out on the pages.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import httpx
import trio

from trivet._problem import reason_phrase
from trivet.cli import main
from trivet.testing import TestClient

JSON_TOOL = "python -m json.tool"
BASE = "http://127.0.0.1:8000"
BOUNDARY = "------------------------d74496d66958873e"


@dataclass
class Curl:
    """A command line of curl."""

    url: str = ""
    method: str | None = None
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    data: str | None = None
    parts: list[str] = field(default_factory=list[str])
    """Of a multipart form: `name=value`, or `name=content;filename=name` for a file."""
    show_head: bool = False
    head_only: bool = False
    max_time: float = float("inf")
    reads_jar: bool = False
    writes_jar: bool = False

    @classmethod
    def parse(cls, command: str) -> Curl:
        """Read a command line.

        Raises:
            ValueError: an option that pages do not use; add it here if they should.
        """
        words = iter(shlex.split(command)[1:])
        self = cls()
        kind = ""
        for word in words:
            if word == "-i":
                self.show_head = True
            elif word in ("-I", "--head"):
                self.method, self.head_only = "HEAD", True
            elif word == "-X":
                self.method = next(words)
            elif word == "-H":
                name, _, value = next(words).partition(":")
                self.headers.append((name, value.strip()))
            elif word == "-u":
                self.headers.append(("authorization", f"Basic {b64encode(next(words).encode()).decode()}"))
            elif word in ("-d", "--data"):
                self.data = next(words)
                kind = "application/x-www-form-urlencoded"
            elif word == "-F":
                self.parts.append(next(words))
            elif word == "--json":
                self.data = next(words)
                kind = "application/json"
            elif word == "--max-time":
                self.max_time = float(next(words))
            elif word in ("-b", "-c"):
                self.reads_jar |= word == "-b"
                self.writes_jar |= word == "-c"
                next(words)  # there is one jar
            elif word in ("-s", "-N", "--path-as-is"):
                pass  # no progress bar, no buffer: there is neither here
            elif word.startswith("-"):
                raise ValueError(f"the pages' curl has no option {word}")
            else:
                self.url = word.removeprefix(BASE)
        if self.parts:
            self.data = "".join(f"--{BOUNDARY}\r\n{_part(each)}\r\n" for each in self.parts) + f"--{BOUNDARY}--\r\n"
            kind = f"multipart/form-data; boundary={BOUNDARY}"
        if kind and not any(name.lower() == "content-type" for name, _ in self.headers):
            self.headers.append(("content-type", kind))
        return self

    async def run(self, client: TestClient) -> str:
        """Make the request; returns what curl prints."""
        method = self.method or ("GET" if self.data is None else "POST")
        body = ""
        with trio.move_on_after(self.max_time) as patience:
            async with client.stream(method, self.url, headers=self.headers, content=self.data) as response:
                try:
                    async for chunk in response.aiter_text():
                        body += chunk
                except httpx.RemoteProtocolError:
                    body += "\ncurl: (18) transfer closed with outstanding read data remaining"
            status = response.status_code
            # As `trivet run` sends it, with the phrase; stock hypercorn leaves that out.
            head = f"HTTP/1.1 {status} {reason_phrase(status)}\n"
            head += "".join(f"{k}: {v}\n" for k, v in response.headers.items())
            if self.head_only:
                return head
            return f"{head}\n{body}" if self.show_head else body
        if patience.cancelled_caught:
            milliseconds = f"{self.max_time * 1000:.0f}"
            body += (
                f"\ncurl: (28) Operation timed out after {milliseconds} milliseconds with {len(body)} bytes received"
            )
        return body.lstrip("\n")


def _part(text: str) -> str:
    name, _, value = text.partition("=")
    value, _, filename = value.partition(";filename=")
    file = f'; filename="{filename}"\r\nContent-Type: application/octet-stream' if filename else ""
    return f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n{value}'


async def run_session(app: Any, session: str) -> str:
    """Run the commands of a console block; returns the block as it should be.

    Args:
        app: the application.
        session: lines that begin with `$ ` are commands, a backslash at the end continues them; the rest is output,
            and ignored.
    """
    commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", session, re.MULTILINE)
    shown: list[str] = []
    jar = httpx.Cookies()
    async with TestClient(app, base_url=BASE, raise_app_exceptions=False, headers=BARE) as client:
        for command in commands:
            if command.startswith("trivet "):
                shown.append(f"$ {command}\n{run_trivet(command)}\n")
                continue
            plain, _, pipe = command.replace("\\\n", " ").partition("|")
            curl = Curl.parse(plain)
            client.cookies = jar if curl.reads_jar else httpx.Cookies()
            output = await curl.run(client)
            if curl.writes_jar:
                jar = client.cookies
            if pipe.strip() == JSON_TOOL:
                output = json.dumps(json.loads(output), indent=4)
            elif pipe:
                raise ValueError(f"pages pipe into {JSON_TOOL} only, not into{pipe}")
            printed = f"{output.rstrip()}\n" if output.strip() else ""
            shown.append(f"$ {command}\n{printed}".replace("\n\n\n", "\n\n"))
    return "".join(shown)


def run_trivet(command: str) -> str:
    """Run a `trivet` command that ends by itself; returns what it prints. `main:app` is the page's."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(shlex.split(command)[1:])
    return printed.getvalue().rstrip()


BARE = {"user-agent": "curl/8.0", "accept": "*/*", "accept-encoding": "identity"}
