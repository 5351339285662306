"""What is no HTTP, or could be read in two ways, is refused, costs nobody else anything, and hides no second request.

Two tables face each other: what is refused, and its neighbours that are not. Both are sent in every way there is:
alone, behind a good request, one byte at a time.
"""

from __future__ import annotations

import random
from typing import Any

import h11
import hypothesis.strategies as st
import pytest
import trio
import trio.testing

from tests.live._http1 import LAST, RST, Answer, Site, answers, chunked, for_all, get, read_body, reply, site, sized
from tests.live._server import running

pytestmark = [pytest.mark.live, pytest.mark.slow]

SMUGGLED = get(b"/smuggled")
TE = b"Transfer-Encoding: chunked"


def line(text: bytes, *fields: bytes) -> bytes:
    return b"".join(part + b"\r\n" for part in (text, b"Host: x", *fields)) + b"\r\n"


def host(*values: bytes, version: bytes = b"1.1") -> bytes:
    fields = b"".join(b"Host: " + value + b"\r\n" for value in values)
    return b"GET / HTTP/" + version + b"\r\n" + fields + b"\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return get(b"/", *fields, method=b"POST", version=version) + body


def length(value: bytes) -> bytes:
    return post(b"Content-Length: " + value, body=b"12345")


def coding(value: bytes) -> bytes:
    return post(b"Transfer-Encoding: " + value, body=b"5\r\n12345\r\n0\r\n\r\n")


def chunks(body: bytes) -> bytes:
    return post(TE, body=body)


# Each refused with this status, before the application is asked.
HEADS: dict[str, tuple[int, bytes]] = {
    # The request line.
    "no-method": (400, line(b" / HTTP/1.1")),
    "no-target": (400, line(b"GET HTTP/1.1")),
    "no-version": (400, line(b"GET /")),
    "two-spaces": (400, line(b"GET  / HTTP/1.1")),
    "two-spaces-before-version": (400, line(b"GET /  HTTP/1.1")),
    "space-after-version": (400, line(b"GET / HTTP/1.1 ")),
    "tabs": (400, line(b"GET\t/\tHTTP/1.1")),
    "space-first": (400, line(b" GET / HTTP/1.1")),
    "space-in-target": (400, line(b"GET /a b HTTP/1.1")),
    "nul-in-target": (400, line(b"GET /\x00 HTTP/1.1")),
    "delete-in-target": (400, line(b"GET /\x7f HTTP/1.1")),
    "high-byte-in-target": (400, line(b"GET /\xff HTTP/1.1")),
    "high-byte-in-query": (400, line(b"GET /?\xc3\xa9 HTTP/1.1")),
    "fragment": (400, line(b"GET /a#b HTTP/1.1")),
    "relative-target": (400, line(b"GET a HTTP/1.1")),
    "query-alone": (400, line(b"GET ?q HTTP/1.1")),
    "star-with-get": (400, line(b"GET * HTTP/1.1")),
    "absolute-without-host": (400, line(b"GET http:///a HTTP/1.1")),
    "absolute-with-user": (400, line(b"GET http://u:p@x/a HTTP/1.1")),
    "absolute-with-bad-port": (400, line(b"GET http://x:y/a HTTP/1.1")),
    "lower-case-version": (400, line(b"GET / http/1.1")),
    "other-protocol": (400, line(b"GET / HTCPCP/1.1")),
    "version-cut": (400, line(b"GET / HTTP/1.")),
    "version-without-dot": (400, line(b"GET / HTTP/11")),
    "version-long": (400, line(b"GET / HTTP/1.10")),
    "version-9.9": (505, line(b"GET / HTTP/9.9")),
    "version-2.0": (505, line(b"GET / HTTP/2.0")),
    "version-0.9": (505, line(b"GET / HTTP/0.9")),
    "method-unknown": (501, line(b"BREW / HTTP/1.1")),
    "method-lower-case": (501, line(b"get / HTTP/1.1")),
    "method-cut": (501, line(b"GE / HTTP/1.1")),
    "method-longer": (501, line(b"GETT / HTTP/1.1")),
    "method-no-token": (400, line(b"G@T / HTTP/1.1")),
    "method-nul": (400, line(b"GE\x00T / HTTP/1.1")),
    "method-high": (400, line(b"G\xff / HTTP/1.1")),
    "connect": (501, line(b"CONNECT x:1 HTTP/1.1")),
    "tls-hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + b"\r\n\r\n"),
    # Line ends.
    "line-feeds": (400, get().replace(b"\r\n", b"\n")),
    "line-feed-after-line": (400, get().replace(b"1.1\r\n", b"1.1\n")),
    "line-feed-after-field": (400, get(b"/", b"A: b\nB: c")),
    "line-feed-at-end": (400, get()[:-2] + b"\n\r\n\r\n"),
    "return-in-line": (400, line(b"GET /\r HTTP/1.1")),
    "return-in-field": (400, get(b"/", b"A: b\rB: c")),
    "return-in-name": (400, get(b"/", b"A\r: b")),
    "two-returns": (400, get(b"/", b"A: b\r")),
    # Fields.
    "no-colon": (400, get(b"/", b"A")),
    "empty-name": (400, get(b"/", b": b")),
    "space-before-colon": (400, get(b"/", b"A : b")),
    "tab-before-colon": (400, get(b"/", b"A\t: b")),
    "space-before-colon-of-length": (400, post(b"Content-Length : 5", body=b"12345")),
    "space-before-colon-of-coding": (400, post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    "space-in-name": (400, get(b"/", b"A B: c")),
    "folded": (400, get(b"/", b"A: b", b" c")),
    "folded-by-tab": (400, get(b"/", b"A: b", b"\tc")),
    "folded-empty": (400, get(b"/", b"A: b", b" ")),
    "folded-coding": (400, post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n")),
    "folded-first": (400, b"GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
    "nul-in-value": (400, get(b"/", b"A: b\x00c")),
    "nul-in-name": (400, get(b"/", b"A\x00: b")),
    "control-in-value": (400, get(b"/", b"A: b\x01c")),
    "escape-in-value": (400, get(b"/", b"A: \x1b[31m")),
    "delete-in-value": (400, get(b"/", b"A: b\x7f")),
    "high-byte-in-name": (400, get(b"/", b"\xc3\x84: b")),
    "parenthesis-in-name": (400, get(b"/", b"A(b): c")),
    "slash-in-name": (400, get(b"/", b"A/b: c")),
    "quote-in-name": (400, get(b"/", b'"A": c')),
    # Host.
    "host-missing": (400, host()),
    "host-twice": (400, host(b"x", b"y")),
    "host-twice-the-same": (400, host(b"x", b"x")),
    "host-with-user": (400, host(b"user@x")),
    "host-with-path": (400, host(b"x/p")),
    "host-with-query": (400, host(b"x?p")),
    "host-with-fragment": (400, host(b"x#p")),
    "host-with-backslash": (400, host(b"x\\p")),
    "host-list": (400, host(b"a,b")),
    "host-with-space": (400, host(b"a b")),
    "host-with-scheme": (400, host(b"http://x")),
    "host-not-ascii": (400, host(b"\xff\xfe")),
    "host-port-not-a-number": (400, host(b"x:y")),
    "host-port-negative": (400, host(b"x:-1")),
    "host-two-ports": (400, host(b"x:1:2")),
    "host-bracket-open": (400, host(b"[::1")),
    "host-bracket-then-text": (400, host(b"[::1]x")),
    "host-not-ipv6": (400, host(b"[x]")),
    "host-bad-on-1.0": (400, host(b"a,b", version=b"1.0")),
    "host-twice-on-1.0": (400, host(b"x", b"y", version=b"1.0")),
    # Framing.
    "length-and-coding": (400, post(b"Content-Length: 5", TE, body=b"0\r\n\r\n")),
    "coding-and-length": (400, post(TE, b"Content-Length: 5", body=b"0\r\n\r\n")),
    "coding-and-length-0": (400, post(TE, b"Content-Length: 0", body=b"0\r\n\r\n")),
    "length-twice": (400, post(b"Content-Length: 5", b"Content-Length: 6", body=b"123456")),
    "length-0-and-5": (400, post(b"Content-Length: 0", b"Content-Length: 5", body=b"12345")),
    "length-list": (400, length(b"5, 5")),
    "length-list-differing": (400, length(b"5, 6")),
    "length-negative": (400, length(b"-1")),
    "length-plus": (400, length(b"+5")),
    "length-underscore": (400, length(b"5_0")),
    "length-hexadecimal": (400, length(b"0x5")),
    "length-letters": (400, length(b"five")),
    "length-spaces": (400, length(b"5 5")),
    "length-decimal-point": (400, length(b"5.0")),
    "length-semicolon": (400, length(b"5;")),
    "length-empty": (400, length(b"")),
    "length-of-30-digits": (400, length(b"9" * 30)),
    "length-above-64-bits": (400, length(b"18446744073709551621")),  # 2**64 + 5
    "length-other-digits": (400, length("٥".encode())),
    "length-vertical-tab": (400, length(b"\x0b5")),
    "coding-unknown": (400, coding(b"gzip")),
    "coding-list": (400, coding(b"gzip, chunked")),
    "coding-list-other-way": (400, coding(b"chunked, gzip")),
    "coding-identity": (400, coding(b"identity")),
    "coding-identity-too": (400, coding(b"chunked, identity")),
    "coding-twice": (400, post(TE, TE, body=b"0\r\n\r\n")),
    "coding-twice-in-one": (400, coding(b"chunked, chunked")),
    "coding-comma": (400, coding(b"chunked,")),
    "coding-parameter": (400, coding(b"chunked;q=1")),
    "coding-empty": (400, coding(b"")),
    "coding-prefixed": (400, coding(b"xchunked")),
    "coding-longer": (400, coding(b"chunkedx")),
    "coding-quoted": (400, coding(b'"chunked"')),
    "coding-vertical-tab": (400, coding(b"\x0bchunked")),
    "coding-other-letter": (400, coding("chun\u212aed".encode())),  # the sign of the kelvin, whose lower case is a k
    "coding-on-1.0": (400, post(TE, body=b"0\r\n\r\n", version=b"1.0")),
    "coding-on-get": (400, get(b"/", b"Transfer-Encoding: gzip")),
}

# Each refused with 400 while the application reads.
BODIES: dict[str, bytes] = {
    "size-no-number": chunks(b"ZZ\r\n12345\r\n0\r\n\r\n"),
    "size-empty": chunks(b"\r\n12345\r\n0\r\n\r\n"),
    "size-negative": chunks(b"-5\r\n12345\r\n0\r\n\r\n"),
    "size-plus": chunks(b"+5\r\n12345\r\n0\r\n\r\n"),
    "size-prefixed": chunks(b"0x5\r\n12345\r\n0\r\n\r\n"),
    "size-underscore": chunks(b"0_5\r\n12345\r\n0\r\n\r\n"),
    "size-space-before": chunks(b" 5\r\n12345\r\n0\r\n\r\n"),
    "size-space-after": chunks(b"5 \r\n12345\r\n0\r\n\r\n"),
    "size-tab-after": chunks(b"5\t\r\n12345\r\n0\r\n\r\n"),
    "size-above-64-bits": chunks(b"10000000000000005\r\n12345\r\n0\r\n\r\n"),
    "size-of-40-digits": chunks(b"f" * 40 + b"\r\n12345\r\n0\r\n\r\n"),
    "extension": chunks(b"5;a=b\r\n12345\r\n0\r\n\r\n"),
    "extension-empty": chunks(b"5;\r\n12345\r\n0\r\n\r\n"),
    "extension-of-the-last": chunks(b"5\r\n12345\r\n0;a\r\n\r\n"),
    "extension-quoted": chunks(b'5;a="\r\n"\r\n12345\r\n0\r\n\r\n'),
    "extension-long": chunks(b"5;" + b"a" * 20_000 + b"\r\n12345\r\n0\r\n\r\n"),
    "extension-with-line-feed": chunks(b"5;\n\r\n12345\r\n0\r\n\r\n"),
    "line-feed-after-size": chunks(b"5\n12345\r\n0\r\n\r\n"),
    "return-after-size": chunks(b"5\r12345\r\n0\r\n\r\n"),
    "two-returns-after-size": chunks(b"5\r\r\n12345\r\n0\r\n\r\n"),
    "line-feed-after-data": chunks(b"5\r\n12345\n0\r\n\r\n"),
    "nothing-after-data": chunks(b"5\r\n123450\r\n\r\n"),
    "more-data-than-said": chunks(b"5\r\n123456\r\n0\r\n\r\n"),
    "less-data-than-said": chunks(b"5\r\n1234\r\n0\r\n\r\nGET"),
    "line-feed-after-last": chunks(b"5\r\n12345\r\n0\n\r\n"),
    "line-feed-at-end": chunks(b"5\r\n12345\r\n0\r\n\n"),
    "return-at-end": chunks(b"5\r\n12345\r\n0\r\n\rG"),
    "trailer-line-feed": chunks(b"0\r\nA: b\n\r\n"),
    "trailer-nul": chunks(b"0\r\nA: \x00\r\n\r\n"),
    "trailer-return": chunks(b"0\r\nA: b\rc\r\n\r\n"),
}

# Each answered, and what the application has to see of it.
ACCEPTED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (get(), {"method": "GET", "path": "/", "body": ""}),
    "empty-line-first": (b"\r\n" + get(), {"path": "/"}),
    "percent": (get(b"/%61%2F%zz?%41"), {"raw_path": "/%61%2F%zz", "query_string": "%41"}),
    "two-slashes": (get(b"//x/a"), {"raw_path": "//x/a"}),
    "query-with-question": (get(b"/?a?b"), {"raw_path": "/", "query_string": "a?b"}),
    "odd-characters": (get(b"/!$&'()*+,;=:@~-._[]{}|\\^`\"<>"), {"query_string": ""}),
    "absolute": (get(b"http://x/a?b"), {"raw_path": "/a", "query_string": "b"}),
    "absolute-upper-case": (get(b"HTTP://X:80/a"), {"raw_path": "/a"}),
    "absolute-without-path": (get(b"http://x"), {"raw_path": "/", "path": "/"}),
    "absolute-query-only": (get(b"http://x?b"), {"raw_path": "/", "query_string": "b"}),
    "star": (get(b"*", method=b"OPTIONS"), {"method": "OPTIONS", "raw_path": "*"}),
    "delete": (get(method=b"DELETE"), {"method": "DELETE"}),
    "trace": (get(method=b"TRACE"), {"method": "TRACE"}),
    "propfind": (get(method=b"PROPFIND"), {"method": "PROPFIND"}),
    "1.0": (b"GET / HTTP/1.0\r\n\r\n", {"http_version": "1.0", "headers": []}),
    "host-on-1.0": (host(b"x", version=b"1.0"), {"http_version": "1.0", "headers": [["host", "x"]]}),
    "host-port": (host(b"x:80"), {"headers": [["host", "x:80"]]}),
    "host-port-empty": (host(b"x:"), {"headers": [["host", "x:"]]}),
    "host-empty": (host(b""), {"headers": [["host", ""]]}),
    "host-ipv4": (host(b"127.0.0.1:80"), {"headers": [["host", "127.0.0.1:80"]]}),
    "host-ipv6": (host(b"[2001:db8::1]:80"), {"headers": [["host", "[2001:db8::1]:80"]]}),
    "host-underscore": (host(b"a_b.example"), {"headers": [["host", "a_b.example"]]}),
    "host-percent": (host(b"a%20b"), {"headers": [["host", "a%20b"]]}),
    "host-last": (b"GET / HTTP/1.1\r\nA: b\r\nhOST: x\r\n\r\n", {"headers": [["a", "b"], ["host", "x"]]}),
    "no-space-after-colon": (get(b"/", b"A:b"), {"headers": [["host", "x"], ["a", "b"]]}),
    "spaces-round-value": (get(b"/", b"A: \t b c \t"), {"headers": [["host", "x"], ["a", "b c"]]}),
    "empty-value": (get(b"/", b"A:"), {"headers": [["host", "x"], ["a", ""]]}),
    "colon-in-value": (get(b"/", b"A: b:c"), {"headers": [["host", "x"], ["a", "b:c"]]}),
    "tab-in-value": (get(b"/", b"A: b\tc"), {"headers": [["host", "x"], ["a", "b\tc"]]}),
    "high-bytes-in-value": (get(b"/", b"A: \xc3\xa9"), {"headers": [["host", "x"], ["a", "Ã©"]]}),
    "name-of-all-characters": (get(b"/", b"!#$%&'*+-.^_`|~0aZ: b"), {"body": ""}),
    "field-twice": (get(b"/", b"A: b", b"A: c"), {"headers": [["host", "x"], ["a", "b"], ["a", "c"]]}),
    "long-value": (get(b"/", b"A: " + b"b" * 16_000), {"body": ""}),
    "99-fields": (get(b"/", *[b"A: b"] * 99), {"headers": [["host", "x"], *[["a", "b"]] * 99]}),
    "length": (length(b"5"), {"body": "12345"}),
    "length-0": (post(b"Content-Length: 0"), {"body": ""}),
    "length-zeros": (length(b"0005"), {"body": "12345"}),
    "length-tabs": (length(b"\t5\t"), {"body": "12345"}),
    "length-on-get": (get(b"/", b"Content-Length: 5") + b"12345", {"method": "GET", "body": "12345"}),
    "post-without-body": (post(), {"method": "POST", "body": ""}),
    "coding": (coding(b"chunked"), {"body": "12345"}),
    "coding-spaces": (coding(b"  chunked "), {"body": "12345"}),
    "coding-on-get": (get(b"/", TE) + b"1\r\nx\r\n0\r\n\r\n", {"method": "GET", "body": "x"}),
    "te-is-not-transfer-encoding": (get(b"/", b"TE: gzip, chunked"), {"body": ""}),
    "size-zeros": (chunks(b"005\r\n12345\r\n000\r\n\r\n"), {"body": "12345"}),
    "size-upper-case": (chunks(b"A\r\n1234567890\r\n0\r\n\r\n"), {"body": "1234567890"}),
    "size-lower-case": (chunks(b"a\r\n1234567890\r\n0\r\n\r\n"), {"body": "1234567890"}),
    "no-chunk": (chunks(b"0\r\n\r\n"), {"body": ""}),
    "chunk-of-line-ends": (chunks(b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"), {"body": "0\r\n\r\n\r\n"}),
    "chunk-of-a-request": (chunked(SMUGGLED), {"body": SMUGGLED.decode()}),
    "sized-request": (sized(SMUGGLED), {"body": SMUGGLED.decode()}),
    "trailers": (chunked(b"12345", trailers=b"A: b\r\nContent-Length: 7\r\n"), {"body": "12345"}),
    "trailer-host": (chunked(b"12345", trailers=b"Host: evil\r\n"), {"body": "12345"}),
    "unknown-upgrade": (get(b"/", b"Connection: Upgrade", b"Upgrade: tea/1.0"), {"body": ""}),
    "websocket-version-only": (get(b"/", b"Sec-WebSocket-Version: 13"), {"body": ""}),
}


def split_all(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def ways(data: bytes) -> dict[str, list[bytes]]:
    """How one request may arrive; long ones are not sent by the byte."""
    parts = split_all(data) if len(data) < 1000 else [data[at : at + 999] for at in range(0, len(data), 999)]
    return {"alone": [data], "behind-another": [get(b"/first") + data], "in-parts": parts}


async def check_refused(served: Site, data: bytes, status: int) -> list[bytes]:
    """Check each way; returns the paths that the application was asked for."""
    asked: list[bytes] = []
    await trio.testing.wait_all_tasks_blocked()
    for way, parts in ways(data).items():
        served.paths.clear()
        raw = await served.exchange(*parts, SMUGGLED)
        found = answers(raw)
        if way == "behind-another":
            first, *found = found
            assert first.seen["path"] == "/first", way
        assert [answer.status for answer in found] == [status], (way, raw)
        assert found[0].closes, way
        assert b"/smuggled" not in served.paths, way
        asked += [path for path in served.paths if path != b"/first"]
    return asked


@pytest.mark.parametrize("name", HEADS)
async def test_a_malformed_head_is_refused(name: str) -> None:
    """With its status, without asking the application, and with the connection's end."""
    status, data = HEADS[name]
    async with site() as served, served.connect() as other:
        await other.send(get())
        await other.answer()
        await other.send(sized(b"1234", claim=5))
        assert await check_refused(served, data, status) == []
        await other.send(b"5")
        assert (await other.answer()).seen["body"] == "12345"


@pytest.mark.parametrize("name", BODIES)
async def test_a_malformed_body_is_refused(name: str) -> None:
    """With 400 in the place of the application's answer; what it has read of the body never looks whole."""
    async with site() as served:
        await check_refused(served, BODIES[name], 400)


@pytest.mark.parametrize("name", ACCEPTED)
async def test_the_neighbours_are_accepted(name: str) -> None:
    """Whole, by the byte and pipelined, with the same reading, and the request behind it is answered too."""
    data, expected = ACCEPTED[name]
    keeps = b"HTTP/1.0" not in data
    async with site() as served:
        for way, parts in ways(data).items():
            raw = await served.exchange(*parts, *([LAST] if keeps else []))
            found = answers(raw)
            if way == "behind-another":
                first, *found = found
                assert first.seen["path"] == "/first"
            assert {key: found[0].seen[key] for key in expected} == expected, way
            assert [answer.seen["path"] for answer in found[1:]] == (["/last"] if keeps else []), way


@pytest.mark.parametrize("name", ["line-feeds", "host-missing", "length-and-coding", "version-9.9"])
async def test_a_refusal_arrives_though_the_client_goes_on_sending(name: str) -> None:
    """A megabyte behind the malformed request does not turn the answer into a reset."""
    status, data = HEADS[name]
    async with site() as served, served.connect() as wire:
        async with trio.open_nursery() as nursery:
            # It raises if the connection is reset, which would destroy an answer that is still on its way.
            nursery.start_soon(wire.stream.send_all, data + b"x" * 1_000_000)
            raw = await wire.rest()
        assert not raw.endswith(RST)
        [answer] = answers(raw)
        assert answer.status in (status, 414)  # without a line end it is also a long line


async def test_a_malformed_body_after_the_answer_ends_the_connection() -> None:
    """An answer that was out already stays the only one, and what follows the bad chunk is not a request."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await reply(send, b"early")

    async with site(handler) as served:
        found = answers(await served.exchange(chunks(b""), b"ZZ\r\n", SMUGGLED))
        assert [answer.body for answer in found] == [b"early"]
        assert served.paths == [b"/"]


UPGRADE = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
HANDED_OVER: dict[str, bytes] = {
    "h2c": get(b"/", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAA"),
    "websocket-denied": get(b"/", *UPGRADE, b"Sec-WebSocket-Version: 13"),
    "websocket-wrong-version": get(b"/", *UPGRADE, b"Sec-WebSocket-Version: 12"),
    "websocket-without-key": get(b"/", *UPGRADE[:2], b"Sec-WebSocket-Version: 13"),
    "websocket-by-post": sized(b"12345", *UPGRADE, b"Sec-WebSocket-Version: 13"),
    "websocket-with-body": get(b"/", *UPGRADE, b"Sec-WebSocket-Version: 13", b"Content-Length: 5") + b"12345",
}
AFTERWARDS = ["folded", "line-feeds", "host-list", "control-in-value", "length-list", "coding-list", "fragment"]


@pytest.mark.parametrize("opening", HANDED_OVER)
async def test_another_protocol_is_no_way_round_the_rules(opening: str) -> None:
    """An upgrade that comes to nothing does not leave the connection with a parser that takes more."""

    async def handler(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await read_body(receive)
            await reply(send)

    malformed = [*[HEADS[name][1] for name in AFTERWARDS], BODIES["extension"]]
    async with site(handler) as served:
        for data in malformed:
            for parts in ([HANDED_OVER[opening], data + SMUGGLED], [HANDED_OVER[opening] + data + SMUGGLED]):
                served.paths.clear()
                raw = await served.exchange(*parts)
                assert b"/smuggled" not in served.paths, data
                statuses = [answer.status for answer in answers(raw)]
                assert len(statuses) == 1 or statuses[1:] == [400], (data, raw)
                assert len(served.paths) <= (2 if data == BODIES["extension"] else 1), data


async def test_a_preface_behind_a_request_is_no_preface() -> None:
    """Whoever shares a connection with others, through a proxy, cannot turn it into HTTP/2 under them."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    async with site() as served:
        for parts in ([get(b"/first") + preface], [get(b"/first"), preface]):
            found = answers(await served.exchange(*parts))
            assert [answer.status for answer in found] == [200, 505]


# No wrong answer: h11 agrees -----------------------------------------------------------------------------------------


def h11_reads(data: bytes) -> list[tuple[str, str, str]]:
    """Method, target and body of each request that h11 reads out of `data`, up to the first that it refuses."""
    found: list[tuple[str, str, str]] = []
    while True:
        while data.startswith(b"\r\n"):  # RFC 9112 section 2.2 tolerates them, h11 does not
            data = data[2:]
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=65_536)
        server.receive_data(data)
        server.receive_data(b"")
        try:
            head, body = server.next_event(), b""
            while isinstance(event := server.next_event(), h11.Data):
                body += event.data
        except h11.RemoteProtocolError:
            return found
        if not isinstance(head, h11.Request) or not isinstance(event, h11.EndOfMessage):
            return found
        found.append((head.method.decode(), head.target.decode("latin-1"), body.decode("latin-1")))
        server.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        server.send(h11.EndOfMessage())
        if server.our_state is not h11.DONE:
            return found
        data = server.trailing_data[0]


VALID = [sized(b"12345", b"A: b", path=b"/a?b"), chunked(b"12345", b"678", trailers=b"T: u\r\n"), get(b"/x", b"A: b")]
BYTES = sorted({0, 1, 9, 10, 11, 13, 32, 34, 43, 44, 45, 47, 48, 53, 58, 59, 65, 95, 97, 127, 128, 0x85, 0xA0, 255})


def reading(answer: Answer) -> tuple[str, str, str]:
    seen = answer.seen
    query = "?" + seen["query_string"] if seen["query_string"] else ""
    return seen["method"], seen["raw_path"] + query, seen["body"]


async def check_agreement(served: Site, data: bytes) -> None:
    """What is answered with 200 is what h11 reads; all else is refused, or unanswered because it is incomplete."""
    async with served.connect() as wire:
        await wire.send(data)
        wire.stream.socket.shutdown(trio.socket.SHUT_WR)
        raw = await wire.rest()
    found = answers(raw)
    refused = [answer.status for answer in found if answer.status != 200]
    assert len(refused) <= 1, raw
    assert set(refused) <= {400, 408, 413, 414, 431, 501, 505}, raw
    accepted = [reading(answer) for answer in found if answer.status == 200]
    expected = [(method, target.removesuffix("?"), body) for method, target, body in h11_reads(data)]
    assert accepted == expected[: len(accepted)], (data, raw)


@pytest.mark.parametrize("name", range(len(VALID)))
async def test_every_byte_replaced_in_turn(name: int) -> None:
    """Each byte of a valid request becomes another: refused, or read as h11 reads it."""
    data = VALID[name]
    async with site() as served:
        for at in range(len(data)):
            for byte in BYTES:
                await check_agreement(served, data[:at] + bytes([byte]) + data[at + 1 :] + LAST)
            await check_agreement(served, data[:at] + data[at + 1 :] + LAST)
            await check_agreement(served, data[:at] + data[at : at + 1] + data[at:] + LAST)


PIECES = [
    *[b"GET ", b"POST ", b"/", b"/a", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: x\r\n", b"\r\n", b"\n", b"\r", b" "],
    *[b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"],
    *[b"Connection: keep-alive\r\n", b"Connection: upgrade\r\nUpgrade: tea\r\n", b"A: ", b"b", b":", b"\x00", b"\xff"],
    *[b"5\r\n12345\r\n", b"0\r\n\r\n", b"0\r\n", b";x", b"12345", get(), sized(b"12345"), chunked(b"12345")],
]


async def test_random_pieces_of_http() -> None:
    """Whatever is put together from the pieces of requests: refused, or read as h11 reads it."""
    async with site() as served:

        async def check(parts: list[bytes]) -> None:
            await check_agreement(served, b"".join(parts))

        await for_all(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12), check, 500)


async def test_random_bytes() -> None:
    """Rubbish is refused with one answer or none."""
    rng = random.Random(20261121)
    async with site() as served:
        for _ in range(500):
            raw = await served.exchange(rng.randbytes(rng.randint(64, 4096)) + b"\r\n\r\n")
            assert [answer.status for answer in answers(raw)] in ([400], [414], [431]), raw
        assert served.paths == []


def test_all_of_it_on_one_process() -> None:
    """After everything above, the same process serves, without a request, a task or a descriptor left over."""
    with running("--keep-alive", "2") as server:
        before = server.stats()
        for data in [*[data for _, data in HEADS.values()], *BODIES.values(), *[data for data, _ in ACCEPTED.values()]]:
            for cut in (len(data), len(data) // 2, len(data) - 1):
                with server.connect() as sock:
                    try:
                        sock.sendall(data[:cut])
                    except OSError:
                        pass
        after = server.settled(before)
        assert {key: after[key] for key in ("pid", "live", "tasks", "fds")} == {
            key: before[key] for key in ("pid", "live", "tasks", "fds")
        }
        server.signal()
        assert server.wait() == 0
