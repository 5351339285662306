"""`trivet run` as a process: signals, exit statuses, workers, reload, TLS."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import h2.events
import pytest

from tests.harness import require
from tests.live._server import HELD, ROOT, Running, hold, parse, read_all, running
from trivet.cli.run import COLLECT_EVERY

pytestmark = [pytest.mark.live, pytest.mark.slow]

HELLO = """
import os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        {lifespan}
        while True:
            message = await receive()
            await send({{"type": message["type"] + ".complete"}})
            if message["type"] == "lifespan.shutdown":
                return
    length = (b"content-length", b"%d" % len("{body}"))
    await send({{"type": "http.response.start", "status": 200, "headers": [length]}})
    await send({{"type": "http.response.body", "body": b"{body}"}})
    {after}
"""


def write(path: Path, *, body: str = "one", lifespan: str = "pass", after: str = "") -> None:
    path.write_text(HELLO.format(body=body, lifespan=lifespan, after=after))


def eventually(check: object, seconds: float = 20) -> None:
    """Wait until `check` returns something true."""
    assert callable(check)
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


COLLECTED = """
import gc
{own}
async def app(scope, receive, send):
    body = b"%d" % gc.get_threshold()[0]
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}})
    await send({{"type": "http.response.body", "body": body}})
"""


@pytest.mark.parametrize(("own", "every"), [("", COLLECT_EVERY), ("gc.set_threshold(900)", 900)])
def test_the_garbage_collector_is_called_less_often_unless_the_application_says_so(
    tmp_path: Path, own: str, every: int
) -> None:
    """What the application sets while it is imported stands."""
    path = tmp_path / "collected.py"
    path.write_text(COLLECTED.format(own=own))
    with running(app=f"{path}:app") as server:
        assert server.get("/") == (200, b"%d" % every)


def test_a_hundred_slow_requests_finish_in_a_drain() -> None:
    """Each gets its answer, and the exit status is 0."""
    with running() as server:
        clients = [server.connect() for _ in range(100)]
        for client in clients:
            client.sendall(b"GET /drained HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: server.stats()["live"] > 100)
        server.signal()
        responses = [read_all(client) for client in clients]
        for client in clients:
            client.close()
        assert [parse(response) for response in responses] == [(200, b"ok")] * 100
        assert all(b"connection: close" in response for response in responses)
        assert server.wait() == 0


def test_requests_that_do_not_finish_get_503() -> None:
    """Told or cancelled, each client has an answer when the drain time is over; the exit status is 0."""
    with running("--drain-timeout", "0.3") as server:
        clients = [server.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            path = "linked" if number % 2 else "sleep"
            client.sendall(f"GET /{path}/60 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: server.stats()["live"] > 20)
        began = time.monotonic()
        server.signal()
        assert {parse(read_all(client))[0] for client in clients} == {503}
        for client in clients:
            client.close()
        assert server.wait() == 0
        assert 0.25 < time.monotonic() - began < 9


def test_a_second_signal_skips_the_wait() -> None:
    """Ctrl-C twice: requests are told at once."""
    with running("--drain-timeout", "60") as server:
        with server.connect() as client:
            client.sendall(b"GET /linked HTTP/1.1\r\nHost: x\r\n\r\n")
            eventually(lambda: server.stats()["live"] > 1)
            server.signal(signal.SIGINT)
            server.wait_for("stopping")
            server.signal(signal.SIGINT)
            assert parse(read_all(client)) == (503, b"drained")
        assert server.wait() == 0
        assert server.log.index("stopping") < server.log.index("stopped")


@pytest.mark.parametrize("handler", ["stubborn", "spin"])
def test_a_handler_that_cannot_be_stopped_does_not_hold_the_exit(handler: str) -> None:
    """It swallows cancellation, or never yields: the process ends all the same, with a failure."""
    code = (
        "import sys, trivet.server._watchdog as watchdog; watchdog.MARGIN = 0.3\n"
        "from trivet.cli import main\n"
        "import tests.live._server_app as it\n"
        "async def do_spin(*_):\n"
        "    print('it spins', file=sys.stderr, flush=True)\n"
        "    while True: pass\n"
        "it.do_spin = do_spin\n"
        "main(['run', 'tests.live._server_app:app', '--bind', '127.0.0.1:0', "
        "'--drain-timeout', '0.2', '--cleanup-grace', '0.2'])"
    )
    server = Running.__new__(Running)
    server.start([sys.executable, "-c", code], ROOT)
    try:
        with server.connect() as client:
            client.sendall(f"GET /{handler} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            if handler == "spin":
                server.wait_for("it spins")
            else:
                eventually(lambda: server.stats()["live"] > 1)
            server.signal()
            assert server.wait(20) == 1
        assert "Timeout: a request cannot be stopped" in server.log
    finally:
        server.close()


def test_an_application_that_does_not_end_is_named_with_its_bound(tmp_path: Path) -> None:
    """A service that swallows its cancellation is no request; how long it is waited for is `shutdown_timeout`'s."""
    (tmp_path / "server.toml").write_text("shutdown_timeout = 0.1\n")
    (tmp_path / "it.py").write_text(
        "import trio, trivet\n"
        "app = trivet.App(cleanup_grace=0.1)\n"
        "@app.service\n"
        "async def stubborn():\n"
        "    while True:\n"
        "        try: await trio.sleep(0.1)\n"
        "        except trio.Cancelled: pass\n"
    )
    code = (
        "import trivet.server._watchdog as watchdog; watchdog.MARGIN = 0.3\n"
        "from trivet.cli import main\n"
        "main(['run', 'it:app', '--bind', '127.0.0.1:0', '--config', 'server.toml', "
        "'--drain-timeout', '0.1', '--cleanup-grace', '0.1'])"
    )
    server = Running.__new__(Running)
    server.start([sys.executable, "-c", code], tmp_path)
    try:
        server.wait_for("Running on")
        server.signal()
        assert server.wait(20) == 1
        assert "the service stubborn has not ended 0.1 s after it was cancelled" in server.log
        assert "Timeout: the application's own shutdown" in server.log
        assert "shutdown_timeout" in server.log
    finally:
        server.close()


@pytest.mark.parametrize(
    ("workers", "lifespan", "said"),
    [
        ("1", "await receive(); raise ValueError('no database')", "ValueError: no database"),
        ("2", "await receive(); await send({'type': 'lifespan.startup.failed', 'message': 'no db'})", "no db"),
    ],
)
def test_a_failed_startup_is_a_failed_exit(tmp_path: Path, workers: str, lifespan: str, said: str) -> None:
    """With what went wrong in the log, whether one process or several; nobody retries for ever."""
    write(tmp_path / "it.py", lifespan=lifespan)
    with running("--workers", workers, app="it:app", cwd=tmp_path) as server:
        assert server.wait() == 1
        assert said in server.log
        assert "Running on" not in server.log


def test_an_address_in_use_is_said(tmp_path: Path) -> None:
    """No traceback: which address, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running("--bind", address) as server:
            assert server.wait() == 1
            assert f"cannot listen on 127.0.0.1:0, {address}: Address already in use" in server.log
            assert "Traceback" not in server.log


def test_a_certificate_that_cannot_be_used_is_said_once(tmp_path: Path) -> None:
    """By the supervisor, before there is a worker: status 2, and nobody tries it again."""
    with running("--workers", "2", "--certfile", "gone.pem", "--keyfile", "gone.key", cwd=tmp_path) as server:
        assert server.wait() == 2
        assert server.log.startswith("trivet: --certfile gone.pem cannot be read")
        assert len(server.lines) == 2


WSGI = """
def app(environ, start_response):
    body = b"%d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]
"""


def test_the_body_of_a_wsgi_application_is_bounded_by_its_setting(tmp_path: Path) -> None:
    """`wsgi_max_body_size` is hypercorn's name, and means what it means there: one byte more is a 400."""
    (tmp_path / "it.py").write_text(WSGI)
    (tmp_path / "c.toml").write_text("wsgi_max_body_size = 100_000\n")
    with running("-c", "c.toml", app="wsgi:it:app", cwd=tmp_path) as server:
        assert post(server, b"x" * 100_000) == (200, b"100000")
        assert post(server, b"x" * 100_001)[0] == 400


def post(server: Running, body: bytes) -> tuple[int, bytes]:
    with server.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        sock.sendall(body)
        return parse(read_all(sock))


# Workers ----------------------------------------------------------------------------------------------------------


def ask(server: Running, path: str = "/") -> bytes | None:
    """The body of an answer; None if the worker that took the connection died on it."""
    try:
        status, body = server.get(path)
    except (OSError, ValueError, IndexError):
        return None
    return body if status == 200 else None


def pids(server: Running, count: int = 2) -> set[int]:
    """The workers that answer now, once there are that many."""
    seen: set[int] = set()

    def enough() -> bool:
        answers: list[bytes | None] = []
        threads = [threading.Thread(target=lambda: answers.append(ask(server))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen.clear()
        seen.update(int(answer) for answer in answers if answer)
        return len(seen) >= count

    eventually(enough, 10)
    return seen


def test_workers_share_are_replaced_and_drain() -> None:
    """Two processes answer on one address. One that is killed is replaced; on SIGHUP both are, and no request is lost;
    on SIGTERM both drain fully, and the exit status is 0.
    """
    with running("--workers", "2") as server:
        first = pids(server)
        os.kill(min(first), signal.SIGKILL)
        server.wait_for("died by SIGKILL")
        second = pids(server)
        assert max(first) in second
        assert min(first) not in second

        with server.connect() as client:
            hold(client)
            server.signal(signal.SIGHUP)
            client.settimeout(40)  # the next worker starts first
            assert read_all(client) == HELD
        eventually(lambda: second.isdisjoint(pids(server)))

        clients = [server.connect() for _ in range(20)]
        for client in clients:
            hold(client)
        server.signal()
        assert [read_all(client) for client in clients] == [HELD] * 20
        for client in clients:
            client.close()
        assert server.wait() == 0
        assert server.log.count("Running on") == 1


def test_max_requests_replaces_the_process() -> None:
    """After its requests a worker drains and another takes over; no request fails.

    When the supervisor is killed, the worker drains too, rather than hold the address for ever.
    """
    with running("--max-requests", "5") as server:
        seen = {server.get("/") for _ in range(12)}

        def replaced() -> bool:
            # The old one serves until the new one is ready, however long that takes to import everything.
            seen.add(server.get("/"))
            return len(seen) >= 2

        eventually(replaced, 20)
        assert {status for status, _ in seen} == {200}
        server.process.kill()
        server.process.wait()

        def refused() -> bool:
            try:
                server.connect().close()
            except OSError:
                return True
            return False

        eventually(refused)


def test_workers_that_die_again_and_again_end_the_server(tmp_path: Path) -> None:
    """After repeated quick deaths the supervisor gives up, with a failure."""
    write(tmp_path / "it.py", after="os._exit(7)")
    shorter = "import trivet.server._supervisor as it; it.QUICK_DEATHS = 2; it.BACKOFF_SECONDS = 0.01\n"
    code = f"{shorter}import sys; from trivet.cli import main; sys.exit(main({{}}))"
    arguments = ["run", "it:app", "--bind", "127.0.0.1:0", "--max-requests", "1000"]
    server = Running.__new__(Running)
    server.start([sys.executable, "-c", code.format(arguments)], tmp_path)
    try:
        assert server.port
        until = time.monotonic() + 10
        while server.process.poll() is None and time.monotonic() < until:
            ask(server)
            time.sleep(0.05)
        assert server.wait() == 1
        assert "giving up: worker 0 died 2 times in a row, the last time with status 7" in server.log
    finally:
        server.close()


# Reload -----------------------------------------------------------------------------------------------------------


def test_reload(tmp_path: Path) -> None:
    """A change is served; a syntax error is said, and mending it is enough."""
    source = tmp_path / "it.py"
    write(source, body="one")
    with running("--reload", app="it:app", cwd=tmp_path) as server:

        def serves(body: bytes) -> bool:
            return (ask(server) or b"").startswith(body)

        assert serves(b"one")
        time.sleep(0.2)
        write(source, body="two, longer")
        eventually(lambda: serves(b"two"))
        source.write_text("async def app(:\n")
        server.wait_for("SyntaxError")
        assert server.process.poll() is None
        time.sleep(0.2)
        write(source, body="three")
        eventually(lambda: serves(b"three"))
        server.signal()
        assert server.wait() == 0


# TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate and its key."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = str(directory / "cert.pem"), str(directory / "key.pem")
    command = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([require("openssl"), *command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def test_tls_serves_drains_and_survives(certificate: tuple[str, str]) -> None:
    """Over HTTP/1.1 and HTTP/2; what is not TLS, and half a handshake, cost their connections only."""
    import ssl

    from tests.live._server import H2

    cert, key = certificate
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    h2_context = ssl.create_default_context()
    h2_context.check_hostname, h2_context.verify_mode = False, ssl.CERT_NONE
    h2_context.set_alpn_protocols(["h2"])
    with running("--certfile", cert, "--keyfile", key) as server:
        assert server.wait_for("Running on https://")
        for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b""):
            with server.connect() as sock:
                sock.sendall(rubbish)
        with context.wrap_socket(server.connect()) as sock:
            sock.sendall(b"GET /whole/3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            status, body = parse(read_all(sock))
            assert (status, len(body)) == (200, 3 * 2**20)
        with h2_context.wrap_socket(server.connect()) as sock:
            assert sock.selected_alpn_protocol() == "h2"
            client = H2(sock)
            client.request()
            client.pump(9, until=h2.events.ResponseReceived)
            assert client.status() == 200
        half = server.connect()
        half.sendall(b"\x16\x03\x01\x02\x00")
        with context.wrap_socket(server.connect()) as sock:
            hold(sock)
            server.signal()
            assert read_all(sock) == HELD
        half.close()
        assert server.wait(9) == 0
