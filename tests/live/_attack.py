"""Inputs that end, or hang, stock hypercorn, and their neighbours: what a client may send to the server."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

import h2.events
import h2.exceptions

from tests.live._server import H2, Running, read_at_least, read_some

WEBSOCKET = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def get(path: bytes) -> bytes:
    return GET % path


def websocket(extra: bytes = b"", path: bytes = b"/") -> bytes:
    return WEBSOCKET % path + extra + b"\r\n"


def h2c(settings: bytes) -> bytes:
    connection = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + connection + b"HTTP2-Settings: " + settings + b"\r\n\r\n"


def text_frame(payload: bytes) -> bytes:
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def post(path: bytes, headers: bytes, body: bytes = b"") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"

# What is sent, and how the answer starts; None: whatever, the connection may simply end.
RAW: dict[str, tuple[bytes, bytes | None]] = {
    "ws-subprotocol-not-ascii": (websocket(b"Sec-WebSocket-Protocol: \xff\r\n"), b"HTTP/1.1 400"),
    "ws-extension-not-ascii": (websocket(b"Sec-WebSocket-Extensions: \xff\r\n"), b"HTTP/1.1 400"),
    "ws-extension-bad-parameter": (
        websocket(b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=abc\r\n"),
        b"HTTP/1.1 101",
    ),
    "ws-connection-not-ascii": (websocket().replace(b": Upgrade", b": Upgrade, \xff"), b"HTTP/1.1 400"),
    "ws-version": (websocket().replace(b"Version: 13", b"Version: 12"), b"HTTP/1.1 4"),
    "ws-subprotocol-not-offered": (websocket(path=b"/badsub"), b"HTTP/1.1 500"),
    "ws-accept-with-bad-header": (websocket(path=b"/badheader"), b"HTTP/1.1 500"),
    "ws-data-before-accept": (websocket(path=b"/slowaccept") + text_frame(b"hi"), None),
    "ws-application-exits": (websocket(path=b"/raise"), b"HTTP/1.1 101"),
    "ws-unread-messages": (websocket(path=b"/unread"), b"HTTP/1.1 101"),
    "ws-text-not-utf8": (websocket(), b"HTTP/1.1 101"),
    "h2c-settings-one-character": (h2c(b"A"), b"HTTP/1.1 200"),
    "h2c-settings-truncated-frame": (h2c(b"AAAA"), b"HTTP/1.1 200"),
    "h2c-without-settings": (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n", b"HTTP/1.1 200"),
    "h2-preface-then-garbage": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64, None),
    "h2-preface-cut": (b"PRI * HTTP/2.0\r\n\r\nS", None),
    "target-not-ascii": (get(b"/\xff"), b"HTTP/1.1 400"),
    "header-without-colon": (b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"HTTP/1.1 400"),
    "header-too-long": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000, b"HTTP/1.1 431"),
    "version-unknown": (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"HTTP/1.1 505"),
    "length-and-chunked": (post(b"/echo", b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"), b"HTTP/1.1 400"),
    "chunked-in-1.0": (b"POST /echo HTTP/1.0\r\nHost: x\r\n" + CHUNKED + b"\r\n\r\n0\r\n\r\n", b"HTTP/1.1 400"),
    "chunk-malformed": (post(b"/refuse/0.1", CHUNKED, b"ZZ\r\n"), b"HTTP/1.1 400"),
    "chunk-malformed-while-read": (post(b"/echo", CHUNKED, b"5\r\nabcde\r\nZZ\r\n"), b"HTTP/1.1 400"),
    "connect": (b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 501"),
    "nothing": (b"", b""),
    "pipelined-then-left": (get(b"/sleep/0.2") + b"G", b""),
    "application-raises": (get(b"/raise/value"), b"HTTP/1.1 500"),
    "application-exits": (get(b"/raise/exit"), b"HTTP/1.1 500"),
    "application-interrupts": (get(b"/raise/interrupt"), b"HTTP/1.1 500"),
    "application-closes-generator": (get(b"/raise/generator"), b"HTTP/1.1 500"),
    "application-raises-group": (get(b"/raise/group"), b"HTTP/1.1 500"),
    "application-interrupts-in-nursery": (get(b"/nested"), b"HTTP/1.1 500"),
    "application-answers-101": (get(b"/status/101"), b"HTTP/1.1 500"),
    "application-answers-103": (get(b"/status/103"), b"HTTP/1.1 500"),
    "application-answers-99999": (get(b"/status/99999"), b"HTTP/1.1 500"),
    "application-header-injects": (get(b"/header"), b"HTTP/1.1 500"),
    "application-body-too-long": (get(b"/toolong"), None),
    "application-body-too-short": (get(b"/tooshort"), None),
    "application-says-nothing": (get(b"/silent"), b"HTTP/1.1 500"),
    "application-fails-after-head": (get(b"/late"), b"HTTP/1.1 200"),
    "application-raises-on-upload": (
        post(b"/raise/value/0.1", b"Content-Length: 3000000", b"a" * 1_000_000),
        b"HTTP/1.1 500",
    ),
    "application-refuses-upload": (
        post(b"/refuse/0.1", b"Content-Length: 3000000", b"a" * 3_000_000),
        b"HTTP/1.1 413",
    ),
}
AFTER_101: dict[str, bytes] = {
    "ws-unread-messages": text_frame(b"x") * 30,
    "ws-text-not-utf8": text_frame(b"\xff\xfe"),
}


def send_raw(server: Running, name: str) -> bytes:
    """Send one of `RAW`, and return what comes back: all that is expected, or what comes in a moment."""
    data, expected = RAW[name]
    with server.connect() as sock:
        try:
            sock.sendall(data)
        except OSError:
            pass  # it answered early and closed
        if name in AFTER_101:
            head = read_at_least(sock, 12, 3)
            sock.sendall(AFTER_101[name])
            return head + read_some(sock, 0.4)
        if expected:
            return read_at_least(sock, len(expected), 3)
        return read_some(sock, 0.05 if expected == b"" else 0.2)


def path_not_ascii(client: H2) -> None:
    client.request(path=b"/\xff")


def method_not_ascii(client: H2) -> None:
    client.request(method=b"G\xff")


def plain_connect(client: H2) -> None:
    client.request(method=b"CONNECT", path=None)


def no_method(client: H2) -> None:
    client.request(method=None)


def websocket_bad_subprotocol(client: H2) -> None:
    extra = [(b":protocol", b"websocket"), (b"sec-websocket-protocol", b"\xff"), (b"sec-websocket-version", b"13")]
    client.request(method=b"CONNECT", headers=extra)


def data_after_answer(client: H2) -> None:
    client.request(method=b"POST", path=b"/refuse", end=False)
    client.pump(0.1, until=h2.events.StreamReset)
    try:
        client.data(1, b"x" * 10)
    except h2.exceptions.ProtocolError:
        client.sock.sendall(b"\x00\x00\x0a\x00\x00\x00\x00\x00\x01" + b"x" * 10)  # the frame, whatever h2 thinks


def fails_after_head(client: H2) -> None:
    client.request(path=b"/late")


def interrupted(client: H2) -> None:
    client.request(path=b"/raise/interrupt")


def injects(client: H2) -> None:
    client.request(path=b"/header")


def status_101(client: H2) -> None:
    client.request(path=b"/status/101")


def rapid_reset(client: H2) -> None:
    for stream in range(1, 401, 2):
        client.request(stream, path=b"/sleep/0.3")
        client.h2.reset_stream(stream)
    client.flush()


def leaves_mid_response(client: H2) -> None:
    client.request(path=b"/stream/4")
    client.pump(3, until=h2.events.ResponseReceived)


HTTP2: dict[str, tuple[Callable[[H2], None], int | None]] = {
    "path-not-ascii": (path_not_ascii, 400),
    "method-not-ascii": (method_not_ascii, 400),
    "plain-connect": (plain_connect, 501),
    "no-method": (no_method, None),
    "websocket-bad-subprotocol": (websocket_bad_subprotocol, 400),
    "data-after-answer": (data_after_answer, 413),
    "fails-after-head": (fails_after_head, 200),
    "interrupted": (interrupted, 500),
    "injects": (injects, 500),
    "status-101": (status_101, 500),
    "rapid-reset": (rapid_reset, None),
    "leaves-mid-response": (leaves_mid_response, 200),
}


def mutations(seed: int, count: int) -> list[bytes]:
    """Random bytes, and valid requests with one byte replaced or cut short."""
    rng = random.Random(seed)
    valid = [RAW[name][0][:400] for name in sorted(RAW) if RAW[name][0]]
    made = [rng.randbytes(rng.randint(1, 600)) for _ in range(count // 4)]
    while len(made) < count:
        data = bytearray(rng.choice(valid))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        made.append(bytes(data[: rng.randint(1, len(data))] if rng.random() < 0.3 else data))
    return made


def throw(server: Running, data: bytes) -> None:
    """Send and leave, half the time after a look at the answer."""
    with server.connect() as sock:
        try:
            sock.sendall(data)
            if len(data) % 2:
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(0.02)
                sock.recv(4096)
        except OSError:
            pass
