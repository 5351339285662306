"""Services under `trivet run`: the order in which a server leaves, and the exit status of one that gives up."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Callable

import pytest

from tests.live._server import Running, parse, read_all, running

pytestmark = [pytest.mark.live, pytest.mark.slow]

APP = "tests.live._services_app:app"
ORDER = ["second service", "first service", "dependency of a run", "service of the mounted", "app-scoped", "lifespan"]
"""In which all is left when requests and tasks are over, those of mounted applications too."""
protocols = pytest.mark.parametrize("protocol", ["trivet", "hypercorn"])
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
)


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def ask(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()


def over(server: Running) -> list[str]:
    """What is over, in this order."""
    return re.findall(r"over: ([^.]+)\.", server.log)


@protocols
def test_order_of_leaving(protocol: str) -> None:
    """SIGTERM with each kind of thing open: requests, tasks, services in reverse, app-scoped dependencies, lifespan."""
    with (
        running("--protocol", protocol, app=APP) as server,
        server.connect() as slow,
        server.connect() as stream,
        server.connect() as room,
    ):
        slow.sendall(ask("/slow"))
        stream.sendall(ask("/stream"))
        room.sendall(ask("/room", UPGRADE))
        eventually(
            lambda: json.loads(server.get("/open")[1]) == ["request", "stream", "task", "websocket"],
        )
        assert server.get("/inner/order") == (200, b"soon")
        assert over(server) == []
        server.signal()
        assert parse(read_all(slow)) == (200, b"whole")
        room.close()  # the server would wait for its answer to the close
        assert server.wait(20) == 0
        left = over(server)
    assert sorted(left[:3]) == ["request", "stream", "websocket"]
    assert sorted(left[3:5]) == ["task", "task of the mounted"]
    assert left[5:] == ORDER
    assert "cancelling 1 background tasks" in server.log


@pytest.mark.parametrize(
    ("returns", "reason"),
    [("", "ConnectionResetError: the queue is gone"), ("1", "the service second is started again whenever")],
)
@protocols
def test_a_service_that_ends_for_good_ends_the_server(
    protocol: str, returns: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SIGTERM would, requests finished and all the rest left in order, but with status 1 and the reason."""
    monkeypatch.setenv("SERVICE_RETURNS", returns)
    with running("--protocol", protocol, app=APP) as server, server.connect() as slow:
        slow.sendall(ask("/slow"))
        eventually(lambda: json.loads(server.get("/open")[1]) == ["request", "task"])
        assert server.get("/crash") == (200, b"soon")
        assert parse(read_all(slow)) == (200, b"whole")
        assert server.wait(20) == 1
        left = over(server)
    assert left == [
        "second service", "request", "task", "first service", "dependency of a run", "service of the mounted",
        "app-scoped", "lifespan",
    ]  # fmt: skip
    assert server.log.count(reason) == 1
    assert "the service second gave up" in server.log


@protocols
def test_a_second_signal_skips_the_wait_for_tasks_as_well(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are cancelled, and the rest is left in order; it is not the last resort, which would leave nothing."""
    monkeypatch.setenv("TASKS_MAY_TAKE", "50")
    with running("--protocol", protocol, app=APP) as server:
        assert server.get("/order") == server.get("/inner/order") == (200, b"soon")
        eventually(lambda: json.loads(server.get("/open")[1]) == ["task"])
        server.signal()
        server.wait_for("stopping: requests have 50 s")
        server.wait_for("waiting up to 50 s for background tasks: background")
        server.signal()
        assert server.wait(20) == 0
        left = over(server)
    assert sorted(left[:2]) == ["task", "task of the mounted"]
    assert left[2:] == ORDER
    assert "background tasks after" in server.log
