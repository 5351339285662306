"""An application as a process: signals, exit statuses, startup failures, and clients that mean harm."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import run_server
from tests.harness.sockets import connect
from tests.live import _attack as attack
from tests.live._server import H2, Running, parse, read_all, running

pytestmark = [pytest.mark.live, pytest.mark.slow]

APP = "tests.live._scoped_app:app"


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def ask(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_a_drain_lets_requests_finish_and_answers_503_to_those_that_do_not() -> None:
    """A hundred slow requests and SIGTERM: whole answers within the drain time, 503 after it, exit status 0."""
    with running("--drain-timeout", "4", app=APP) as server:
        clients = [server.connect() for _ in range(100)]
        for number, client in enumerate(clients):
            client.settimeout(20)
            client.sendall(ask("/slow/2" if number % 2 else "/slow/59"))
        eventually(lambda: server.stats()["started"] == 100)
        server.signal()
        answers = [parse(read_all(client)) for client in clients]
        for client in clients:
            client.close()
        assert [answer for answer in answers[1::2] if answer != (200, b"ok")] == []
        assert {status for status, _ in answers[::2]} == {503}
        assert all(b"application/problem+json" not in body and b'"status":503' in body for _, body in answers[::2])
        assert server.wait(20) == 0


def test_streams_are_told_of_the_drain() -> None:
    """A stream that listens to `request.draining` ends as a whole one, long before the drain time is over."""
    with running("--drain-timeout", "30", app=APP) as server, server.connect() as client:
        client.settimeout(10)
        client.sendall(ask("/patient"))
        received = b""
        while b"begun" not in received:
            received += client.recv(65536)
        server.signal()
        received += read_all(client)
        assert b"-drained" in received
        assert received.endswith(b"0\r\n\r\n")
        assert server.wait(20) == 0


def test_a_second_signal_skips_the_wait() -> None:
    """Those that run are answered with 503 at once; the exit is as clean."""
    with running("--drain-timeout", "60", app=APP) as server, server.connect() as client:
        client.settimeout(10)
        client.sendall(ask("/slow/59"))
        eventually(lambda: server.stats()["started"] == 1)
        server.signal()
        server.wait_for("stopping")
        server.signal()
        received = read_all(client)
        assert parse(received)[0] == 503
        assert b"\r\nretry-after: 1\r\n" in received  # its successor is there, or another one
        assert server.wait(20) == 0


async def test_on_stock_hypercorn_the_503_arrives_too() -> None:
    """Its `graceful_timeout` cancels from outside of the application: the dependency has its grace all the same."""
    async with (
        run_server("hypercorn", APP, "--graceful-timeout", "1") as server,
        connect(server.address) as peer,
    ):
        async with server.client() as client:
            assert (await client.get("/")).status_code == 200
        await peer.send(ask("/slow/59"))
        async with server.client() as client:
            while (await client.get("/stats")).json()["started"] == 0:
                pass
        server.send_signal(signal.SIGTERM)
        assert (await peer.read_until_eof(15)).startswith(b"HTTP/1.1 503")
        assert await server.wait() == 0


BROKEN = {
    "import": "1 / 0\n",
    "registration": "from trivet import App\napp = App()\n@app.get('x')\nasync def f(): ...\n",
    "frozen": (
        "from trivet import App\ndef wrapper(app):\n    raise ValueError('no key')\napp = App()\napp.wrap(wrapper)\n"
    ),
    "lifespan": (
        "from contextlib import asynccontextmanager\nfrom trivet import App\n@asynccontextmanager\n"
        "async def lifespan(app):\n    raise ConnectionRefusedError('no database')\n    yield\n"
        "app = App(lifespan=lifespan)\n"
    ),
}


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("import", "ZeroDivisionError: division by zero"),
        ("registration", "a path begins with a slash"),
        ("frozen", "ValueError: no key"),
        ("lifespan", "ConnectionRefusedError: no database"),
    ],
)
def test_an_application_that_cannot_start_says_why(name: str, said: str, workers: str, tmp_path: Path) -> None:
    """Exit status 1, and the reason in the log with the user's own line: once, however many processes."""
    (tmp_path / "broken.py").write_text(BROKEN[name])
    with running("--workers", workers, app="broken:app", cwd=tmp_path) as server:
        assert server.wait(20) == 1
        assert server.log.count(said) == 1
        assert server.log.count("Traceback") == (0 if name == "registration" else 1)
        assert "broken.py" in server.log


def test_an_application_that_cannot_stop_says_why(tmp_path: Path) -> None:
    """Exit status 1, and the reason once."""
    (tmp_path / "broken.py").write_text(BROKEN["lifespan"].replace("raise", "yield\n    raise"))
    with running(app="broken:app", cwd=tmp_path) as server:
        server.wait_for("Running on")
        server.signal()
        assert server.wait(20) == 1
        assert server.log.count("ConnectionRefusedError: no database") == 1


# --- clients that mean harm: whatever ends stock hypercorn, against an application


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """One server for all attacks: what the first leaves behind, the last would find."""
    with running("--keep-alive", "2", app=APP) as server:
        before = server.stats()
        yield server
        after = server.settled(before, seconds=10)
        assert before["pid"] == after["pid"]
        for key in ("live", "tasks", "fds"):
            # The statistics are asked for by a request, which is live itself.
            assert after[key] <= before[key], key
        server.signal()
        assert server.wait(20) == 0


def still_serves(server: Running) -> bool:
    return server.get("/") == (200, b"%d" % server.process.pid)


# What an application answers differently from the bare one that the table was made for: it has no WebSockets, and
# knows no such path or method; what counts here is that it lives.
@pytest.mark.parametrize("name", attack.RAW)
def test_a_request_costs_at_most_its_own_connection(server: Running, name: str) -> None:
    """The same process serves the next client, whatever was sent and whatever a handler raised."""
    attack.send_raw(server, name)
    assert still_serves(server)


@pytest.mark.parametrize("name", attack.HTTP2)
def test_an_http2_stream_costs_at_most_its_own_connection(server: Running, name: str) -> None:
    """The same over HTTP/2."""
    act, _ = attack.HTTP2[name]
    with server.connect() as sock:
        client = H2(sock)
        act(client)
        client.pump(0.3)
    assert still_serves(server)


def test_random_and_mutated_bytes(server: Running) -> None:
    """Hundreds of connections of rubbish later, the same process answers."""
    for data in attack.mutations(seed=42, count=300):
        attack.throw(server, data)
    assert still_serves(server)
