"""Clients that we have not written agree with the server: each does all of the list against one process.

GET, HEAD, 404, uploads of a megabyte with a length and in chunks, a download as it comes, leaving in the middle of one,
and fifty requests on one connection. Afterwards no handler lives and no descriptor is left, in the same process.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import h11
import httpx
import pytest

from tests.harness import require
from tests.live._server import Running, running

pytestmark = [pytest.mark.live, pytest.mark.slow]

MEGABYTE = bytes(range(256)) * 4096
PARTS = [MEGABYTE[at : at + 50_000] for at in range(0, len(MEGABYTE), 50_000)]
STREAM = 3 * 2**20


@pytest.fixture(scope="module")
def process() -> Iterator[Running]:
    """One server for all of them."""
    with running("--keep-alive", "2") as server:
        yield server
        server.signal()
        assert server.wait() == 0


@pytest.fixture
def server(process: Running) -> Iterator[Running]:
    """It is as it was when a client has gone."""
    before = process.stats()
    yield process
    after = process.settled(before)
    keys = ("pid", "live", "tasks", "fds")
    assert {key: after[key] for key in keys} == {key: before[key] for key in keys}
    assert "Traceback" not in process.log


class H11:
    """A client of h11 events on a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.http = h11.Connection(h11.CLIENT)

    def send(self, *events: h11.Event) -> None:
        for event in events:
            self.sock.sendall(self.http.send(event) or b"")

    def next(self) -> h11.Event:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(self.sock.recv(65_536))
        assert not isinstance(event, type)
        return event

    def begin(self, method: str, target: str, *headers: tuple[str, str]) -> None:
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        self.send(h11.Request(method=method, target=target, headers=[("Host", "x"), *headers]))

    def response(self) -> tuple[int, bytes]:
        head, body = self.next(), b""
        assert isinstance(head, h11.Response)
        while isinstance(event := self.next(), h11.Data):
            body += event.data
        return head.status_code, body

    def ask(self, method: str, target: str, *parts: bytes, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
        self.begin(method, target, *headers)
        self.send(*[h11.Data(data=part) for part in parts], h11.EndOfMessage())
        status, body = self.response()
        assert status == 200
        return body


def test_h11(server: Running) -> None:
    """An event at a time, all on one connection."""
    chunked, length = ("Transfer-Encoding", "chunked"), ("Content-Length", str(len(MEGABYTE)))
    with server.connect() as sock:
        client = H11(sock)
        pid = client.ask("GET", "/")
        for _ in range(50):
            assert client.ask("GET", "/") == pid
        assert client.ask("HEAD", "/") == b""
        assert client.ask("POST", "/echo", MEGABYTE, headers=(length,)) == MEGABYTE
        assert client.ask("POST", "/echo", *PARTS, headers=(chunked,)) == MEGABYTE
        assert client.ask("POST", "/echo", headers=(chunked,)) == b""
        client.begin("POST", "/echo", ("Content-Length", "5"), ("Expect", "100-continue"))
        early = client.next()
        assert isinstance(early, h11.InformationalResponse)
        assert early.status_code == 100
        client.send(h11.Data(data=b"12345"), h11.EndOfMessage())
        assert client.response() == (200, b"12345")
        client.begin("GET", "/missing")
        client.send(h11.EndOfMessage())
        assert client.response() == (404, b"")
        assert len(client.ask("GET", "/stream/3")) == STREAM
        client.begin("GET", "/stream/100000")
        client.send(h11.EndOfMessage())
        assert isinstance(client.next(), h11.Response)
        assert isinstance(client.next(), h11.Data)


def test_http_client(server: Running) -> None:
    """The standard library's, and urllib on top of it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(50):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"%d" % server.process.pid
    connection.request("HEAD", "/")
    head = connection.getresponse()
    assert (head.status, head.read(), head.headers["content-length"]) == (200, b"", str(len(str(server.process.pid))))
    for sent in (MEGABYTE, iter(PARTS)):
        connection.request("POST", "/echo", sent, encode_chunked=not isinstance(sent, bytes))
        assert connection.getresponse().read() == MEGABYTE
    connection.request("GET", "/missing")
    missing = connection.getresponse()
    assert (missing.status, missing.read()) == (404, b"")
    connection.request("GET", "/stream/3")
    assert len(connection.getresponse().read()) == STREAM
    connection.request("GET", "/stream/100000")
    cut = connection.getresponse()
    assert len(cut.read(100_000)) == 100_000
    cut.close()
    connection.close()
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/missing")
    error.value.close()


def test_httpx(server: Running) -> None:
    """With its pool of one connection."""
    limits = httpx.Limits(max_connections=1)
    base = f"http://127.0.0.1:{server.port}"
    with httpx.Client(base_url=base, trust_env=False, limits=limits) as client:
        for _ in range(50):
            assert client.get("/").text == str(server.process.pid)
        assert client.head("/").content == b""
        assert client.get("/missing").status_code == 404
        assert client.post("/echo", content=MEGABYTE).content == MEGABYTE
        assert client.post("/echo", content=iter(PARTS)).content == MEGABYTE
        assert client.post("/refuse", content=MEGABYTE).status_code == 413
        with client.stream("GET", "/stream/3") as response:
            assert sum(map(len, response.iter_raw())) == STREAM
        with client.stream("GET", "/stream/100000") as response:
            assert next(response.iter_raw())
        assert client.get("/").status_code == 200


def test_aiohttp(server: Running) -> None:
    """On asyncio, fifty at once, and a WebSocket, which is handed over."""

    async def main() -> None:
        async def parts() -> object:
            for part in PARTS:
                yield part

        base = f"http://127.0.0.1:{server.port}"
        async with aiohttp.ClientSession(base) as session:

            async def get() -> str:
                async with session.get("/") as response:
                    return await response.text()

            for _ in range(50):
                assert await get() == str(server.process.pid)
            assert set(await asyncio.gather(*[get() for _ in range(50)])) == {str(server.process.pid)}
            async with session.head("/") as response:
                assert await response.read() == b""
            async with session.get("/missing") as response:
                assert response.status == 404
            async with session.post("/echo", data=MEGABYTE) as response:
                assert await response.read() == MEGABYTE
            async with session.post("/echo", data=parts(), expect100=True) as response:
                assert await response.read() == MEGABYTE
            async with session.get("/stream/3") as response:
                assert len(await response.read()) == STREAM
            async with session.get("/stream/100000") as response:
                assert await response.content.read(1000)
            async with session.ws_connect("/") as websocket:
                for number in range(10):
                    await websocket.send_str(str(number))
                    assert await websocket.receive_str() == str(number)
                await websocket.send_bytes(MEGABYTE)
                assert await websocket.receive_bytes() == MEGABYTE

    asyncio.run(asyncio.wait_for(main(), 30))


def curl(server: Running, *arguments: str, stdin: bytes = b"", codes: tuple[int, ...] = (0,)) -> tuple[bytes, str]:
    """What it received, and what it says of how."""
    command = [require("curl"), "--silent", "--verbose", "--noproxy", "*", "--max-time", "20", *arguments]
    command = [part.replace("BASE", f"http://127.0.0.1:{server.port}") for part in command]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=30)
    assert done.returncode in codes, done.stderr.decode()
    return done.stdout, done.stderr.decode()


CURL: dict[str, list[str]] = {
    "1.1": ["--http1.1"],
    "1.0": ["--http1.0"],
    "h2c-offered": ["--http2"],
    "prior-knowledge": ["--http2-prior-knowledge"],
}


@pytest.mark.parametrize("version", CURL)
def test_curl(server: Running, tmp_path: Path, version: str) -> None:
    """With all versions of HTTP that it speaks in the clear."""
    file = tmp_path / "body"
    file.write_bytes(MEGABYTE)
    options = CURL[version]
    pid = b"%d" % server.process.pid
    count = 1 if version == "prior-knowledge" else 50  # curl 7.88 fails on the second, with any server
    out, said = curl(server, *options, *["BASE/"] * count)
    assert out == pid * count
    if version != "1.0":
        assert len(re.findall("(?i)re-using existing connection", said)) == count - 1
    assert b"content-length" in curl(server, *options, "--head", "BASE/")[0].lower()
    assert " 404" in curl(server, *options, "BASE/missing")[1]
    assert curl(server, *options, "--data-binary", f"@{file}", "BASE/echo")[0] == MEGABYTE
    if version != "1.0":  # which has no chunks
        chunked = ["--request", "POST", "--upload-file", "-"]
        assert curl(server, *options, *chunked, "BASE/echo", stdin=MEGABYTE)[0] == MEGABYTE
    if version != "prior-knowledge":  # where curl 7.88 drops an answer that is followed by RST_STREAM
        assert curl(server, *options, "--data-binary", f"@{file}", "BASE/refuse", codes=(0, 55, 56))[0] == b"too large"
    assert len(curl(server, *options, "BASE/stream/3")[0]) == STREAM
    if version != "prior-knowledge":  # where ASGI 2.1 is spoken, and who never reads is not told
        assert curl(server, *options, "--max-time", "0.5", "BASE/stream/100000", codes=(28,))[0]


def test_curl_waits_for_100(server: Running, tmp_path: Path) -> None:
    """It is told to go on at once, and does not have to give up waiting."""
    file = tmp_path / "body"
    file.write_bytes(MEGABYTE)
    told = ["--http1.1", "--header", "Expect: 100-continue", "--expect100-timeout", "10"]
    out, said = curl(server, *told, "--data-binary", f"@{file}", "BASE/echo")
    assert out == MEGABYTE
    assert "100" in next(line for line in said.splitlines() if line.startswith("< HTTP/1.1"))
    assert "Done waiting for 100-continue" not in said


NODE = """
import http from "node:http";
import http2 from "node:http2";
import assert from "node:assert";
const base = process.argv[1], body = Buffer.alloc(1 << 20, "0123456789abcdef"), seen = [];
const whole = async (stream) => { const parts = []; for await (const part of stream) parts.push(part);
                                  return Buffer.concat(parts); };

// fetch
for (let i = 0; i < 50; i++) seen.push(await (await fetch(base + "/")).text());
assert.equal((await fetch(base + "/missing")).status, 404);
assert.equal((await (await fetch(base + "/", { method: "HEAD" })).text()), "");
let echoed = await fetch(base + "/echo", { method: "POST", body });
assert.ok(body.equals(Buffer.from(await echoed.arrayBuffer())));
const upload = new ReadableStream({ start(controller) {
  for (let i = 0; i < 16; i++) controller.enqueue(body.subarray(i << 16, (i + 1) << 16));
  controller.close(); } });
echoed = await fetch(base + "/echo", { method: "POST", body: upload, duplex: "half" });
assert.ok(body.equals(Buffer.from(await echoed.arrayBuffer())));
assert.equal((await (await fetch(base + "/stream/3")).arrayBuffer()).byteLength, 3 << 20);
const abort = new AbortController();
const endless = await fetch(base + "/stream/100000", { signal: abort.signal });
await endless.body.getReader().read();
abort.abort();

// http, with its own parser, on one connection
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 }), sockets = new Set();
const ask = (path, options = {}, data) => new Promise((resolve, reject) => {
  const request = http.request(base + path, { agent, ...options }, async (response) => {
    sockets.add(response.socket.localPort);
    try { resolve([response.statusCode, await whole(response)]); } catch (error) { reject(error); } });
  request.on("error", reject);
  if (options.headers?.Expect) request.on("continue", () => request.end(data)); else request.end(data); });
for (let i = 0; i < 50; i++) seen.push((await ask("/"))[1].toString());
assert.equal((await ask("/missing"))[0], 404);
assert.ok(body.equals((await ask("/echo", { method: "POST" }, body))[1]));
assert.ok(body.equals((await ask("/echo", { method: "POST", headers: { "Transfer-Encoding": "chunked" } }, body))[1]));
const expect = { "Expect": "100-continue", "Content-Length": body.length };
assert.ok(body.equals((await ask("/echo", { method: "POST", headers: expect }, body))[1]));
assert.equal(sockets.size, 1);
agent.destroy();

// HTTP/2 with prior knowledge
const session = http2.connect(base);
seen.push((await whole(session.request({ ":path": "/" }))).toString());
session.close();
console.log(JSON.stringify([...new Set(seen)]));
process.exit(0);
"""


def test_node(server: Running) -> None:
    """fetch (undici), `http` (llhttp) and `http2`."""
    command = [require("node"), "--input-type=module", "--eval", NODE, f"http://127.0.0.1:{server.port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [str(server.process.pid)]
