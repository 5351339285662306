"""What is sent. This file owns the grammar of requests, what each must be answered with, and how one is corrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.simulation.site import digest, pattern

SIZES = (0, 1, 17, 900, 900, 5000, 70_000, 150_000)


@dataclass
class Asked:
    """One request, and what must come of it."""

    name: str
    method: str
    path: str
    old: bool
    closes: bool
    head: bytes
    wire_body: bytes
    """As framed."""
    body: bytes
    expect: bool
    status: int
    answer: bytes | None
    """The body of the response; None: not looked at."""
    may_close: bool
    """It is answered before its body is read, so that the connection may have to close."""
    breaks: bool
    """The response is cut in the middle."""
    seconds: float
    """How long its handler takes, at most."""

    @property
    def wire(self) -> bytes:
        return self.head + self.wire_body


Made = tuple[str, int, Callable[[str], bytes | None], float]


def _get(random: Random) -> Made:
    pick = random.randrange(9)
    if pick < 3:
        return "/now", 200, lambda _: b"now", 0
    if pick < 5:
        seconds = random.choice((0.001, 0.4, 3, 12))
        return f"/sleep/{seconds}", 200, lambda _: b"slept", seconds
    if pick == 5:
        return (*random.choice((("/missing", 404), ("/teapot", 418))), lambda _: None, 0)
    if pick == 6:
        seconds = random.choice((0, 0.3))
        return f"/raise/{seconds}", 500, lambda _: None, seconds
    parts, size = random.choice(((1, 10), (3, 2000), (6, 20_000), (2, 90_000)))
    pause = random.choice((0, 0, 0.1, 2))
    return f"/stream/{parts}/{size}/{pause}", 200, lambda name: pattern(name, parts * size), parts * pause


def _post(random: Random, body: Callable[[str], bytes]) -> Made:
    pick = random.randrange(8)
    if pick < 4:
        pause = random.choice((0, 0, 0.02, 0.5))
        return f"/echo/{pause}", 200, lambda name: digest(body(name)), 5
    if pick == 4:
        return "/both", 200, body, 1
    if pick == 5:
        seconds = random.choice((0, 0.2, 2))
        return f"/early/{seconds}", 200, lambda _: b"early", seconds
    if pick == 6:
        return (*random.choice((("/missing", 404), ("/teapot", 418))), lambda _: None, 0)
    seconds = random.choice((0, 0.3))
    return f"/raise/{seconds}", 500, lambda _: None, seconds


def ask(random: Random, name: str, *, heads: bool, barely: bool) -> Asked:
    """A valid request.

    Args:
        random: chooses.
        name: of the request.
        heads: whether HEAD may be among them.
        barely: whether `/bare` is served.
    """
    old = random.random() < 0.12
    method = random.choice(("GET", "GET", "POST", "POST", "HEAD" if heads else "GET"))
    size = random.choice(SIZES)
    body = pattern(name, size) if method == "POST" else b""
    if barely and random.random() < 0.4:
        path, status, seconds = "/bare", 200, 0.5
        answer: bytes | None = digest(body)
    elif random.random() < 0.04:
        path, status, answer, seconds = "/late", 200 if method != "POST" else 405, None, 0.5
    else:
        path, status, make, seconds = _post(random, lambda name: body) if method == "POST" else _get(random)
        answer = make(name)
    fields = [b"Host: sim", b"X-Id: " + name.encode()]
    closes = old
    if random.random() < 0.15:
        fields.append(b"Connection: close")
        closes = True
    elif old and random.random() < 0.5:
        fields.append(b"Connection: keep-alive")
        closes = False
    expect, framed = False, body
    if method == "POST":
        if old or random.random() < 0.6:
            fields.append(b"Content-Length: %d" % size)
        else:
            fields.append(b"Transfer-Encoding: chunked")
            framed = _chunks(random, body)
        if not old and random.random() < 0.15:
            expect = True
            fields.append(b"Expect: 100-continue")
    random.shuffle(fields)
    line = b"%s %s HTTP/1.%d\r\n" % (method.encode(), path.encode(), not old)
    head = line + b"".join(field + b"\r\n" for field in fields) + b"\r\n"
    # An answer of HTTP/1.0 that is streamed ends with the connection.
    may_close = (method == "POST" and not path.startswith(("/echo", "/bare"))) or (old and path.startswith("/stream"))
    may_close = may_close or (old and path in ("/both", "/bare", "/late"))
    breaks = path == "/late" and method == "GET"
    return Asked(
        name, method, path, old, closes, head, framed, body, expect, status,
        None if method == "HEAD" else answer, may_close, breaks, seconds,
    )  # fmt: skip


def _chunks(random: Random, body: bytes) -> bytes:
    framed, at = [], 0
    while at < len(body):
        part = body[at : at + random.choice((3, 500, 5000, 60_000))]
        at += len(part)
        framed.append(b"%x\r\n%b\r\n" % (len(part), part))
        if len(framed) > 60:
            framed.append(b"%X\r\n%b\r\n" % (len(body) - at, body[at:]) if at < len(body) else b"")
            break
    trailers = b"X-Sum: 1\r\n" if random.random() < 0.2 else b""
    return b"".join(framed) + b"0\r\n" + trailers + b"\r\n"


def corrupt(random: Random, wire: bytes) -> bytes:
    """Something in it is not as it was."""
    at = random.randrange(min(len(wire), 250))
    pick = random.randrange(4)
    if pick == 0:
        return wire[:at] + bytes([random.randrange(256)]) + wire[at + 1 :]
    if pick == 1:
        return wire[:at] + wire[at + 1 + random.randrange(4) :]
    if pick == 2:
        return wire[:at] + random.choice((b"\r\n", b"\n", b"\0", b" ", b"\xff", b"GET / HTTP/1.1\r\n\r\n")) + wire[at:]
    line = random.choice(
        (b"Content-Length: 5", b"Transfer-Encoding: gzip", b"Host: b", b"X: " + b"a" * 40_000, b" folded", b"x : y")
    )
    return wire.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)
