"""`deploy/nginx.conf` and `deploy/server.toml` as they are, in Debian's nginx, before `trivet run` on two sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.harness.processes import free_port
from tests.live._deployed import NAME, Backend, Nginx, eventually

pytestmark = [pytest.mark.live, pytest.mark.slow]


@dataclass
class Site:
    """nginx and what is behind it: a backend on a unix socket, and one on TCP."""

    nginx: Nginx
    first: Backend
    second: Backend

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.nginx.ca))

    def client(self, *, http2: bool = True) -> httpx.Client:
        return client_of(self.nginx, http2=http2)


def client_of(nginx: Nginx, *, http2: bool = True) -> httpx.Client:
    """A client at 127.0.0.2."""
    context = ssl.create_default_context(cafile=str(nginx.ca))
    transport = httpx.HTTPTransport(verify=context, http2=http2, local_address="127.0.0.2")
    return httpx.Client(
        transport=Aliased(transport, nginx.https), base_url=f"https://{NAME}", timeout=20, trust_env=False
    )


class Aliased(httpx.BaseTransport):
    """Finds `app.example` here, without a name server."""

    def __init__(self, inner: httpx.BaseTransport, port: int) -> None:
        self._inner = inner
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        request.extensions = {**request.extensions, "sni_hostname": NAME}
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    directory = tmp_path_factory.mktemp("deployed")
    port = free_port()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(directory / "app.sock"))
        unix.listen()
        nginx = Nginx(directory, directory / "app.sock", port)
        try:
            first = Backend(directory, unix)
            try:
                second = Backend(directory, port, trusted="127.0.0.1")
                try:
                    yield Site(nginx, first, second)
                finally:
                    second.close()
            finally:
                first.close()
        finally:
            nginx.close()


FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": "for=6.6.6.6;host=evil.example;proto=http",
    "X-Request-Timeout-Ms": "0",
}


@pytest.mark.parametrize("http2", [True, False], ids=["HTTP/2", "HTTP/1.1"])
def test_the_application_knows_its_client_and_its_own_address(site: Site, http2: bool) -> None:
    """Whatever the client says of itself, and whichever backend answers; and both logs have the id of the request."""
    with site.client(http2=http2) as client:
        answers = [client.get("/", headers=FORGED) for _ in range(4)]
    for answer in answers:
        assert answer.json() == {"client": "127.0.0.2", "url": f"https://{NAME}/"}, answer.text
    ids = {answer.headers["x-request-id"] for answer in answers}

    def logged() -> list[set[str]] | None:
        """What each backend says it has answered, once they have said it of all: a line is written after its answer."""
        by = [{entry["request_id"] for entry in each.logged("/")} & ids for each in (site.first, site.second)]
        return by if by[0] | by[1] == ids else None

    assert all(eventually(logged))
    for each in ids:
        line = eventually(partial(site.nginx.logged, each))
        assert line.startswith('127.0.0.2 "GET /" 200 ')


def test_what_is_not_encrypted_is_sent_elsewhere(site: Site) -> None:
    """To the name that is ours, whatever the client calls us."""
    with site.nginx.connect(site.nginx.http) as sock:
        sock.sendall(b"GET /a?b HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        head = sock.recv(4096).decode()
    assert head.startswith("HTTP/1.1 301 ")
    assert f"\r\nLocation: https://{NAME}/a?b\r\n" in head


@pytest.mark.parametrize("path", ["/ready", "/health"])
def test_readiness_is_nobody_elses_business(site: Site, path: str) -> None:
    """The pages that are for operators end at the proxy."""
    with site.client() as client:
        assert client.get(path).status_code == 404
    assert site.first.logged(path) == site.second.logged(path) == []


def test_a_websocket_echoes(site: Site) -> None:
    """And its origin is what the page has in its address bar."""
    with (
        site.nginx.connect() as sock,
        connect(f"wss://{NAME}/echo", sock=sock, ssl=site.context, origin=Origin(f"https://{NAME}"), proxy=None) as ws,
    ):
        ws.send("hello")
        assert ws.recv(timeout=20) == "hello"


def test_events_arrive_while_the_stream_goes_on(site: Site) -> None:
    """nginx does not keep them until it has a buffer full."""
    with site.client() as client, client.stream("GET", "/ticks") as response:
        assert next(response.iter_lines()) == "data: tick"


def test_a_client_that_leaves_stops_its_handler(site: Site) -> None:
    """nginx closes its connection, and the handler, which had half a minute to go, is cancelled."""

    def left() -> bool:
        with (
            site.nginx.connect() as sock,
            site.context.wrap_socket(sock, server_hostname=NAME) as tls,
        ):
            tls.sendall(f"GET /slow/29 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            tls.settimeout(0.2)  # so that it has arrived, as a rule
            with pytest.raises(TimeoutError):
                tls.recv(1)
        return bool(site.first.logged("/slow/29") + site.second.logged("/slow/29"))

    eventually(left)
    [entry, *_] = site.first.logged("/slow/29") + site.second.logged("/slow/29")
    assert (entry["status"], entry["outcome"]) == (499, "disconnected")


def test_an_upload_as_large_as_it_may_be(site: Site) -> None:
    """The proxy lets through what the application takes."""
    with site.client() as client:
        answer = client.put("/upload", content=bytes(10 * 1024 * 1024))
    assert answer.json() == {"bytes": 10 * 1024 * 1024}


def test_an_upload_that_is_too_large(site: Site) -> None:
    """It is refused at its head, by the proxy."""
    with (
        site.nginx.connect() as sock,
        site.context.wrap_socket(sock, server_hostname=NAME) as tls,
    ):
        tls.sendall(f"PUT /upload HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {10 * 1024 * 1024 + 1}\r\n\r\n".encode())
        assert tls.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_restart_of_each_backend_fails_no_request(site: Site) -> None:
    """Clients never stop asking while one after the other drains, ends and starts again.

    Those of the first wait in its socket, which is kept; those of the second are refused, and nginx goes to the first.
    """
    stop = threading.Event()
    outcomes: Counter[str] = Counter()

    def ask(number: int) -> None:
        with site.client(http2=False) as client:
            while not stop.is_set():
                answer = client.get("/slow/0.01") if number % 2 else client.put("/upload", content=b"x" * 1000)
                outcomes[f"{answer.status_code} {answer.text if answer.is_error else ''}"] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    try:
        for backend in (site.first, site.second):
            eventually(lambda: outcomes["200 "] > 50)
            backend.signal()
            assert backend.wait(20) == 0
            backend.close()
            assert outcomes.keys() == {"200 "}, outcomes
            outcomes.clear()
            if backend is site.second:
                eventually(lambda: outcomes["200 "] > 50)
            backend.again()
            eventually(lambda: outcomes["200 "] > 50)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert outcomes.keys() == {"200 "}, outcomes


def test_a_backend_that_is_back_is_asked_at_once(tmp_path: Path) -> None:
    """That none was there a moment ago is not held against it, as it would be for ten seconds by default."""
    port = free_port()
    nginx = Nginx(tmp_path, tmp_path / "nobody.sock", port)
    try:
        with client_of(nginx) as client:
            assert client.get("/").status_code == 502
            with HTTPServer(("127.0.0.1", port), SimpleHTTPRequestHandler) as server:
                thread = threading.Thread(target=server.handle_request, daemon=True)
                thread.start()
                assert client.head("/").status_code == 200
                thread.join()
    finally:
        nginx.close()
