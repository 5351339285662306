"""L12: every probe that ever ended a server, then h2spec and Autobahn where they are installed, on one server.

The probes and the application that they ask are the live tests'.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import h2.events
import trio

from tests.live import _attack as attack
from tests.live._server import H2, Running

from ._figures import MEBIBYTE, Figure, Report, Scenario, Setting, absent, at_most, exactly, told
from ._server import memory_of

MEMORY_MIB: Final = 10
TOOL_SECONDS: Final = 300.0
AUTOBAHN_CASES: Final = 247
"""Those of version 25.10.1 without 9 (limits), 12 and 13 (compression, which is off): fewer have not all been run."""


async def run(setting: Setting, report: Report) -> None:
    """The probes, random bytes, the tools; then what is left of it all."""
    server = await trio.to_thread.run_sync(_start, setting)
    try:
        for figure in await trio.to_thread.run_sync(lambda: list(_attack(server, setting))):
            report(figure)
    finally:
        server.close()


def _start(setting: Setting) -> Running:
    server = Running("--keep-alive", "2", *setting.arguments)
    server.wait_for("Running on")
    return server


def _attack(server: Running, setting: Setting) -> Iterator[Figure]:
    for _ in range(50):
        server.get("/")
    before, memory = server.stats(), memory_of(server.process.pid)
    wrong = [*_http1(server), *_http2(server)]
    for data in attack.mutations(seed=20261120, count=setting.size):
        attack.throw(server, data)
    yield told("probes", len(attack.RAW) + len(attack.HTTP2))
    yield exactly(" ".join(["probes answered otherwise than expected", *wrong]), len(wrong))
    if setting.tools:
        yield from _tools(server)
    after = server.settled(before)
    yield exactly("the same process", int(after["pid"] == before["pid"] == server.process.pid), 1)
    yield exactly("live handlers", after["live"] - before["live"])
    yield exactly("tasks left", max(0, after["tasks"] - before["tasks"]))
    yield exactly("descriptors left", max(0, after["fds"] - before["fds"]))
    yield at_most("memory over the start", (memory_of(server.process.pid) - memory) / MEBIBYTE, MEMORY_MIB, "MiB")
    server.signal()
    yield exactly("exit code", server.wait())


def _http1(server: Running) -> Iterator[str]:
    for name, (_, expected) in attack.RAW.items():
        answer = attack.send_raw(server, name)
        if expected is not None and not answer.startswith(expected):
            yield name


def _http2(server: Running) -> Iterator[str]:
    for name, (act, status) in attack.HTTP2.items():
        with server.connect() as sock:
            client = H2(sock)
            act(client)
            if status is None:
                client.pump(0.2)
            elif client.status() is None:
                client.pump(3, until=h2.events.ResponseReceived)
            if status is not None and client.status() != status:
                yield f"h2-{name}"


def _tools(server: Running) -> Iterator[Figure]:
    if shutil.which("h2spec") is None:
        yield absent("h2spec")
    else:
        command = ["h2spec", "-h", "127.0.0.1", "-p", str(server.port), "-P", "/"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False).stdout
        counts = {name: int(number) for number, name in re.findall(r"(\d+) (tests|passed|skipped|failed)", said)}
        yield told("h2spec: tests", counts.get("tests", 0))
        yield told("h2spec: failed", counts.get("failed", 0))
    if shutil.which("wstest") is None:
        yield absent("Autobahn's wstest")
    else:
        yield from _autobahn(server)


def _autobahn(server: Running) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        specification = Path(directory, "fc.json")
        url = f"ws://127.0.0.1:{server.port}/"
        cases = {"cases": ["*"], "exclude-cases": ["9.*", "12.*", "13.*"]}
        servers = {"servers": [{"agent": "trivet", "url": url, "options": {"version": 18}}]}
        # With a closing handshake where a case fails, so that what the server says of it is seen.
        ways = {"options": {"failByDrop": False}, "outdir": f"{directory}/out"}
        specification.write_text(json.dumps({**cases, **servers, **ways}))
        command = ["wstest", "-m", "fuzzingclient", "-s", str(specification)]
        subprocess.run(command, capture_output=True, timeout=TOOL_SECONDS, check=False, cwd=directory)
        results = json.loads(Path(directory, "out", "index.json").read_text())["trivet"]
    failed = sum("FAILED" in (case["behavior"], case["behaviorClose"]) for case in results.values())
    yield exactly("Autobahn: cases", len(results), AUTOBAHN_CASES)
    yield exactly("Autobahn: failed", failed)


SCENARIO = Scenario("L12", "the attack probes, all on one server", 1000, 50, run)
