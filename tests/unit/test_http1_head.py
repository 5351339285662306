"""The heads that trivet's HTTP/1.1 protocol takes, and those that it refuses."""

from __future__ import annotations

import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.server._http1_begun import Begun, find_end, skip
from trivet.server._http1_head import HeadParser, Refused, RequestHead
from trivet.server._http1_refusal import diagnose
from trivet.server._limits import Limits

LIMITS = Limits()
HOST = b"Host: a\r\n"
TIGHT = Limits(request_line=40, head_size=120, head_fields=4)
SHARED = HeadParser(LIMITS)
"""Used by all tests that do not say otherwise: what one leaves behind would show in another."""

FACTS = [
    "method",
    "target",
    "raw_path",
    "query_string",
    "version",
    "headers",
    "keep_alive",
    "length",
    "expect",
    "upgrade",
]


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def line(method: bytes = b"GET", target: bytes = b"/", version: bytes = b"HTTP/1.1") -> bytes:
    return get(line=method + b" " + target + b" " + version)


def read(data: bytes, limits: Limits = LIMITS, parser: HeadParser | None = None) -> RequestHead | int:
    """The head at the beginning of `data`, or the status with which it is refused, as a connection would find it."""
    try:
        end = find_end(data, 0, limits)
        if end < 0:
            return -1
        return (parser or (SHARED if limits is LIMITS else HeadParser(limits))).parse(data[:end])
    except Refused as refused:
        return refused.status


def split(data: bytes, limits: Limits = LIMITS) -> RequestHead | int:
    """As `read`, with the bytes coming one by one."""
    begun = Begun(limits)
    for end in range(1, len(data)):
        try:
            found = begun.find_end(data[:end])
        except Refused as refused:
            return refused.status
        if found >= 0:
            return read(data[:end], limits)
    return read(data, limits)


def facts(head: RequestHead | int) -> object:
    return head if isinstance(head, int) else [getattr(head, name) for name in FACTS]


ACCEPTED = [
    # data, what is expected of it
    (get(), {"method": "GET", "raw_path": b"/", "version": "1.1", "keep_alive": True, "length": 0, "expect": False}),
    (b"\r\n" * 8 + get(), {"method": "GET", "target": b"/"}),
    (line(target=b"/a?b?c"), {"raw_path": b"/a", "query_string": b"b?c", "target": b"/a?b?c"}),
    (line(target=b"//a"), {"raw_path": b"//a"}),
    (line(target=b"/%ff%00%"), {"raw_path": b"/%ff%00%"}),
    (line(target=b"http://b/p?q"), {"raw_path": b"/p", "query_string": b"q", "headers": [(b"host", b"b")]}),
    (line(target=b"HTTPS://[::1]:80"), {"raw_path": b"/", "headers": [(b"host", b"[::1]:80")]}),
    (line(target=b"http://b?q/r"), {"raw_path": b"/", "query_string": b"q/r"}),
    (
        get(line=b"GET http://b/ HTTP/1.0", host=b""),
        {"headers": [(b"host", b"b")], "version": "1.0", "target": b"http://b/"},
    ),
    (line(b"OPTIONS", b"*"), {"method": "OPTIONS", "raw_path": b"*", "query_string": b""}),
    (line(b"TRACE"), {"method": "TRACE"}),
    (line(b"QUERY"), {"method": "QUERY"}),
    (line(b"M-SEARCH"), {"method": "M-SEARCH"}),
    (get(b"A:", b"B:c", b"C: \t d\te \t"), {"headers": [(b"host", b"a"), (b"a", b""), (b"b", b"c"), (b"c", b"d\te")]}),
    (get(b"X: 1", b"x: 2"), {"headers": [(b"host", b"a"), (b"x", b"1"), (b"x", b"2")]}),
    (get(b"A: \x80\xff"), {"headers": [(b"host", b"a"), (b"a", b"\x80\xff")]}),
    (get(b"A!#$%&'*+-.^_`|~9: b"), {"headers": [(b"host", b"a"), (b"a!#$%&'*+-.^_`|~9", b"b")]}),
    (get(host=b"Host:\r\n"), {"headers": [(b"host", b"")]}),
    (get(host=b"HOST: a.example:8000 \r\n"), {"headers": [(b"host", b"a.example:8000")]}),
    (get(host=b"Host: [2001:db8::1]:\r\n"), {"headers": [(b"host", b"[2001:db8::1]:")]}),
    (get(host=b"Host: a_b%41~\r\n"), {"headers": [(b"host", b"a_b%41~")]}),
    (get(b"Content-Length: 5"), {"length": 5}),
    (get(b"Content-Length: 05 "), {"length": 5}),
    (get(b"Content-Length: 0"), {"length": 0}),
    (get(b"Content-Length: 999999999999999999"), {"length": 10**18 - 1}),
    (get(b"Transfer-Encoding: Chunked "), {"length": None}),
    (get(b"Connection: keep-alive"), {"keep_alive": True}),
    (get(b"Connection: Close"), {"keep_alive": False}),
    (get(b"Connection: x , CLOSE,,y"), {"keep_alive": False}),
    (get(b"Connection: close", b"Connection: keep-alive"), {"keep_alive": False}),
    (get(b"Connection: closed"), {"keep_alive": True}),
    (get(line=b"GET / HTTP/1.0", host=b""), {"keep_alive": False, "version": "1.0", "headers": []}),
    (get(b"Connection: Keep-Alive", line=b"GET / HTTP/1.0"), {"keep_alive": True}),
    (get(b"Connection: keep-alive, close", line=b"GET / HTTP/1.0"), {"keep_alive": False}),
    (get(b"Expect: 100-Continue", b"Content-Length: 1"), {"expect": True, "length": 1}),
    (get(b"Expect: 100-continue", line=b"GET / HTTP/1.0"), {"expect": False}),
    (get(b"Expect: more"), {"expect": False}),
    (get(b"Connection: Upgrade", b"Upgrade: WebSocket"), {"upgrade": b"websocket", "keep_alive": True, "length": 0}),
    (
        get(b"Connection: upgrade, HTTP2-Settings", b"Upgrade: h2c", b"Content-Length: 3"),
        {"upgrade": b"h2c", "length": 3},
    ),
    (get(b"Upgrade: websocket"), {"upgrade": b""}),
    (get(b"Connection: upgrade"), {"upgrade": b""}),
    (get(b"Connection: upgrade", b"Upgrade: h2c", line=b"GET / HTTP/1.0"), {"upgrade": b""}),
    (get(*[b"A: b"] * 99), {"method": "GET"}),
    (line(target=b"/" + b"a" * 8178), {"method": "GET"}),
    (get(b"A: " + b"b" * 32_736), {"method": "GET"}),
]

REFUSED = [
    (b"\r\n" * 9 + get(), 400, "single spaces"),
    (b"\n" + get(), 400, "bare CR or LF"),
    (b"\r" + get(), 400, "bare CR or LF"),
    (b" " + get(), 400, "single spaces"),
    (line(b"GET "), 400, "single spaces"),
    (line(target=b"/ "), 400, "single spaces"),
    (line(target=b"/a b"), 400, "single spaces"),
    (line(version=b"HTTP/1.1 "), 400, "single spaces"),
    (line(b"GET\t"), 400, "not a token"),
    (line(b"G(T"), 400, "not a token"),
    (line(b"G\xffT"), 400, "not a token"),
    (line(b"get"), 501, "case-sensitive"),
    (line(b"FOO"), 501, "FOO"),
    (line(b"GETT"), 501, "GETT"),
    (line(b"PLAY"), 501, "PLAY"),
    (line(b"CONNECT", b"a:80"), 501, "CONNECT"),
    (line(b"CONNECT"), 501, "CONNECT"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0"),
    (line(b"PRI", b"*"), 501, "PRI"),
    (get(line=b"GET /"), 400, "HTTP/1.1"),
    (get(line=b"GET /\r\nhttp://b HTTP/1.1"), 400, "HTTP/1.1"),  # HTTP/0.9 with a field, to llhttp
    (get(line=b"GET /\r\na: HTTP/1.1"), 400, "HTTP/1.1"),
    (line(version=b"HTTP/0.9"), 505, "HTTP/0.9"),
    (line(version=b"HTTP/1.2"), 505, "HTTP/1.2"),
    (line(version=b"HTTP/2.0"), 505, "HTTP/2.0"),
    (line(version=b"HTTP/9.9"), 505, "HTTP/9.9"),
    (line(version=b"HTTP/1.10"), 400, "HTTP/1.1"),
    (line(version=b"HTTP/01.1"), 400, "HTTP/1.1"),
    (line(version=b"http/1.1"), 400, "HTTP/1.1"),
    (line(b"DESCRIBE", version=b"RTSP/1.0"), 400, "HTTP/1.1"),
    (line(b"SOURCE", version=b"ICE/1.0"), 400, "HTTP/1.1"),
    (line(target=b"*"), 400, "slash"),
    (line(b"OPTIONS", b"*x"), 400, "slash"),
    (line(b"OPTIONS", b"*?x"), 400, "slash"),
    (line(target=b"p"), 400, "slash"),
    (line(target=b"?q"), 400, "slash"),
    (line(target=b"a:80"), 400, "slash"),
    (line(target=b"foo://h/p"), 400, "slash"),
    (line(target=b"http:/p"), 400, "slash"),
    (line(target=b"http:///p"), 400, "authority"),
    (line(target=b"http://"), 400, "authority"),
    (line(target=b"http://u@h/p"), 400, "authority"),
    (line(target=b"http://a,b/p"), 400, "authority"),
    (line(target=b"http://h:x/p"), 400, "authority"),
    (line(target=b"/#f"), 400, "fragment"),
    (line(target=b"/?a#f"), 400, "fragment"),
    (line(target=b"http://h/#f"), 400, "fragment"),
    *((line(target=b"/" + bytes([byte])), 400, "") for byte in (*range(0x21), *range(0x7F, 0x100))),
    (line(target=b"/\rx"), 400, "bare CR or LF"),
    (get().replace(b"\r\n", b"\n"), 400, "bare CR or LF"),
    (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare CR or LF"),
    (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bare CR or LF"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare CR or LF"),
    (b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, "bare CR or LF"),
    (get(b"A: b\rc"), 400, "bare CR or LF"),
    (get(b"A: b\nC: d"), 400, "bare CR or LF"),
    (get(b"A: b\x00c"), 400, "NUL"),
    (get(b"A\x00: b"), 400, "NUL"),
    *((get(b"A: b" + bytes([byte])), 400, "") for byte in (*range(9), *range(10, 0x20), 0x7F)),
    *((get(b"A" + bytes([byte]) + b"B: c"), 400, "") for byte in b'\t "(),/;<=>?@[\\]{}\x7f\x80\xff'),
    (get(b"A : b"), 400, "whitespace"),
    (get(b"A\t: b"), 400, "whitespace"),
    (get(b" A: b"), 400, "folded"),
    (get(b"A: b", b" c"), 400, "folded"),
    (get(b"A: b", b"\tc"), 400, "folded"),
    (get(b"A:", b" b"), 400, "folded"),
    (get(b"A: b", b" "), 400, "folded"),
    (get(b" x: y", host=b"") + HOST, 400, "folded"),
    (get(b"Content-Length: 5", b" "), 400, "folded"),
    (get(b": b"), 400, "not a token"),
    (get(b":"), 400, "not a token"),
    (get(b"A"), 400, "no colon"),
    (get(host=b""), 400, "must have a Host"),
    (get(HOST[:-2]), 400, "more than one Host"),
    (get(b"hOST: b"), 400, "more than one Host"),
    (get(b"Host:", host=b"Host:\r\n"), 400, "more than one Host"),
    (get(HOST[:-2], line=b"GET / HTTP/1.0"), 400, "more than one Host"),
    *(
        (get(host=b"Host: " + host + b"\r\n"), 400, "host[:port]")
        for host in (
            *(
                b"user@h",
                b"h/p",
                b"h?q",
                b"h#f",
                b"a,b",
                b"a b",
                b"a\tb",
                b"\xff\xfe",
                b"h:x",
                b"h:-1",
                b"h:1:2",
                b":80",
            ),
            *(
                b"[::1",
                b"::1",
                b"[]",
                b"[::1]x",
                b"[g::]",
                b"h%4",
                b"h%zz",
                b"h\\",
                b'"h"',
                b"h|",
                b"http://h",
                b"h:123456",
            ),
        )
    ),
    (get(host=b"Host: h/p\r\n", line=b"GET http://h/ HTTP/1.1"), 400, "host[:port]"),
    (get(b"Content-Length: 5", b"Content-Length: 5"), 400, "more than one Content-Length"),
    (get(b"Content-Length: 5", b"content-length: 6"), 400, "more than one Content-Length"),
    *(
        (get(b"Content-Length: " + length), 400, "decimal")
        for length in (
            *(
                b"",
                b" ",
                b"5,5",
                b"5, 5",
                b"+5",
                b"-1",
                b"-0",
                b"5_0",
                b"0x5",
                b"5 5",
                b"5.0",
                b"1e3",
                b"five",
                b"\xb2",
            ),
            *(b"9" * 30, b"0" * 30 + b"5", b"18446744073709551616", b"1" + b"0" * 18),
        )
    ),
    (get(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400, "both"),
    (get(b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400, "both"),
    (get(b"Transfer-Encoding: chunked", b"Content-Length: 0"), 400, "both"),
    *(
        (get(b"Transfer-Encoding: " + coding), 400, "must be 'chunked'")
        for coding in (
            *(
                b"",
                b"gzip",
                b"identity",
                b"gzip, chunked",
                b"chunked, gzip",
                b"chunked, chunked",
                b"chunked,",
                b",chunked",
            ),
            *(b"xchunked", b"chunkedx", b"chunked;q=1", b'"chunked"', b"chun ked", b"\xa0chunked"),
        )
    ),
    (get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400, "must be 'chunked'"),
    (get(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), 400, "must be 'chunked'"),
    (get(b"Transfer-Encoding: chunked", line=b"GET / HTTP/1.0"), 400, "not defined"),
    (get(b"Transfer-Encoding: chunked\t"), 400, "Transfer-Encoding"),  # llhttp's doing; nobody sends it
    (get(b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: +3"), 400, "decimal"),
    (get(b"Connection: upgrade", b"Upgrade: h2c", host=b""), 400, "must have a Host"),
    (get(*[b"A: b"] * 100), 431, "100 header fields"),
    (get(b"Content-Length: 1", *[b"A: b"] * 100), 431, "100 header fields"),
    (get(b"A: " + b"b" * 32_737), 431, "32768 bytes"),
    (line(target=b"/" + b"a" * 8179), 414, "8192 bytes"),
    (line(target=b"/" + b"a" * 65_000), 414, "8192 bytes"),
    (b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed", 400, "NUL"),
    (b"EHLO a\r\n", 400, "single spaces"),
]


@pytest.mark.parametrize(("data", "expected"), ACCEPTED)
def test_a_valid_head_says_what_it_says(data: bytes, expected: dict[str, object]) -> None:
    """Each fact of a valid head is read, and twice in a row."""
    for _ in range(2):
        head = read(data)
        assert isinstance(head, RequestHead)
        assert {name: getattr(head, name) for name in expected} == expected


@pytest.mark.parametrize(("data", "status", "detail"), REFUSED)
def test_a_bad_head_is_refused_with_its_reason(data: bytes, status: int, detail: str) -> None:
    """A bad head has its status and says what is wrong, and the parser takes the next one as if nothing had been."""
    with pytest.raises(Refused) as caught:  # noqa: PT012 (either may refuse)
        end = find_end(data, 0, LIMITS)
        SHARED.parse(data[:end])
    assert caught.value.status == status
    assert detail in caught.value.detail
    assert caught.value.detail.endswith(".")
    assert caught.value.detail.isprintable()
    assert isinstance(read(get()), RequestHead)


@pytest.mark.parametrize(("data", "status"), [(data, status) for data, status, _ in REFUSED if len(data) < 1000])
def test_a_bad_head_that_comes_byte_by_byte_is_refused_as_well(data: bytes, status: int) -> None:
    """Where the bytes are split does not change what is refused, nor the status."""
    assert split(data) == status


@pytest.mark.parametrize("data", [data for data, _ in ACCEPTED if len(data) < 1000])
def test_a_valid_head_is_not_refused_before_it_is_whole(data: bytes) -> None:
    """No beginning of a valid head is taken for a bad one or for a whole one."""
    assert {find_end(data[:end], 0, LIMITS) for end in range(len(data))} == {-1}
    assert find_end(bytearray(b"xyz" + data + b"rest"), 3, LIMITS) == 3 + len(data)
    assert facts(split(data)) == facts(read(data))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (get(line=b"GET /" + b"a" * 26 + b" HTTP/1.1"), None),
        (get(line=b"GET /" + b"a" * 27 + b" HTTP/1.1"), 414),
        (get(b"A: " + b"b" * 88), None),
        (get(b"A: " + b"b" * 89), 431),
        (get(b"A:", b"B:", b"C:"), None),
        (get(b"A:", b"B:", b"C:", b"D:"), 431),
    ],
)
def test_each_limit_is_met_exactly(data: bytes, status: int | None) -> None:
    """What just fits is served, one more is refused; whole or in pieces."""
    for result in (read(data, TIGHT), split(data, TIGHT)):
        assert isinstance(result, RequestHead) if status is None else result == status


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"G" * 41, 414), (get()[:-2] + b"A: " + b"b" * 200, 431), (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5, 431)],
)
def test_a_head_without_an_end_is_refused_when_it_is_too_large(data: bytes, status: int) -> None:
    """A limit holds for what has come, not only for a whole head."""
    assert read(data, TIGHT) == status


def test_what_is_not_exactly_one_head_is_refused() -> None:
    """The parser takes one whole head; the fields of two never become one request."""
    for data in (
        get() * 2,
        get() + get(line=b"GET / HTTP/1.0", host=b""),
        get() + b"x",
        get()[:-2],
        b"GET / HTTP/1.0\r\nA: b\r\n",
        b"",
        b"GET / ",
        b"GET / HTTP/1.1",
    ):
        with pytest.raises(Refused):
            SHARED.parse(data)
        assert isinstance(SHARED.parse(get()), RequestHead)


def test_each_head_has_headers_of_its_own() -> None:
    """Who changes the headers of one request does not change those of the next."""
    first = SHARED.parse(get())
    first.headers.append((b"x", b"y"))
    assert SHARED.parse(get()).headers == [(b"host", b"a")]
    assert first.headers == [(b"host", b"a"), (b"x", b"y")]


def test_many_hosts_are_all_served() -> None:
    """The memory of known hosts is bounded; a host that is not in it is checked, not refused."""
    parser = HeadParser(LIMITS)
    for number in range(500):
        assert parser.parse(get(host=b"Host: h%d\r\n" % number)).headers == [(b"host", b"h%d" % number)]


names = st.text("abcXYZ019-_~!", min_size=1, max_size=8).map(str.encode)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12)
WORDS = [
    *(b"GET", b"POST", b" ", b"/", b"*", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b":"),
    *(b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Connection: close", b"Connection: upgrade"),
    *(b"Upgrade: x", b"http://b HTTP/1.1", b"\t", b"\xff", b"a", b"http://b", b"GET / HTTP/1.1\r\n", get()),
]
pieces = st.sampled_from(WORDS)


@given(data=st.binary(max_size=80) | st.lists(pieces, max_size=14).map(b"".join))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    """No bytes cause another exception than `Refused`, and none leave a trace in the parser."""
    alone = HeadParser(LIMITS)
    whole = read(data, parser=alone)
    assert facts(read(data, parser=alone)) == facts(whole)
    assert facts(read(data)) == facts(whole)
    assert facts(read(get(), parser=alone)) == facts(read(get()))
    try:
        parsed = alone.parse(data)
    except Refused:
        return
    assert facts(parsed) == facts(whole)
    assert diagnose(data[skip(data, 0) :], LIMITS, "none").detail == "none"


@given(data=st.lists(pieces, max_size=14).map(b"".join))
def test_splitting_never_changes_the_request(data: bytes) -> None:
    """A head that comes byte by byte is the same request as the whole one, or both are refused."""
    whole, parted = read(data), split(data)
    if isinstance(whole, RequestHead) or whole == -1:
        assert facts(parted) == facts(whole)
    else:
        assert isinstance(parted, int)
        assert parted >= 400


@given(
    method=st.sampled_from([b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"]),
    target=st.text("abc/%?=&.-~", max_size=20).map(lambda text: b"/" + text.encode()),
    version=st.sampled_from([b"1.1", b"1.0"]),
    fields=st.lists(st.tuples(names, values.map(lambda text: text.encode("latin-1").strip())), max_size=6),
    framing=st.sampled_from([[], [(b"Content-Length", b"12")], [(b"Transfer-Encoding", b"chunked")]]),
)
def test_what_h11_reads_we_read_alike(
    method: bytes,
    target: bytes,
    version: bytes,
    fields: list[tuple[bytes, bytes]],
    framing: list[tuple[bytes, bytes]],
) -> None:
    """On valid requests, h11 and we agree on method, target, version, headers and the body's framing."""
    if version == b"1.0" and framing == [(b"Transfer-Encoding", b"chunked")]:
        framing = []
    lines = [(b"Host", b"a.example"), *fields, *framing]
    data = method + b" " + target + b" HTTP/" + version + b"\r\n"
    data += b"".join(name + b": " + value + b"\r\n" for name, value in lines) + b"\r\n"
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(data)
    event = peer.next_event()
    head = read(data)
    assert isinstance(head, RequestHead)
    assert isinstance(event, h11.Request)
    assert (head.method.encode(), head.target, head.version.encode()) == (
        event.method,
        event.target,
        event.http_version,
    )
    assert head.headers == list(event.headers)
    after = peer.next_event()
    assert (head.length == 0) == isinstance(after, h11.EndOfMessage)
    assert head.raw_path + (b"?" if b"?" in target else b"") + head.query_string == target


STRICT = re.compile(
    rb"(?:\r\n){0,8}[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21\x22\x24-\x7e]+ HTTP/1\.[01]\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n"
).fullmatch


@given(data=st.data())
def test_what_is_taken_obeys_the_grammar(data: st.DataObject) -> None:
    """No byte put into, or in the place of one of, a valid head gives a request outside of RFC 9112's grammar."""
    good = data.draw(st.sampled_from([good for good, _ in ACCEPTED if len(good) < 200]))
    at = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(
        st.sampled_from([b"\0", b"\r", b"\n", b"\t", b" ", b":", b"\x0b", b"\x7f", b"\x80", b",", b"#", b"\r\n"])
    )
    changed = good[:at] + byte + good[at + data.draw(st.integers(0, 1)) :]
    try:
        SHARED.parse(changed)
    except Refused:
        return
    assert STRICT(changed)


@pytest.mark.parametrize("fields", [[b"A: b"] * 3000, [b"A:"] * 101, [b"A:"] * 8000, [b"A: " + b"b" * 40_000]])
def test_what_is_too_large_is_refused_before_its_fields_are_read(fields: list[bytes]) -> None:
    """The work for a head that will be refused does not grow with the number of its fields."""
    parser = HeadParser(LIMITS)
    head = get(*[field.ljust(20) for field in fields])
    with pytest.raises(Refused) as caught:
        parser.parse(head)
    assert caught.value.status == 431
    assert parser._fields.headers == []


def test_a_large_head_within_the_limits_is_read() -> None:
    """A hundred fields, Host among them, and 32,768 bytes: empty lines before it are not counted."""
    fields = [b"A: " + b"b" * 300] * 99
    head = get(*fields)
    head = get(b"A: " + b"b" * (300 + LIMITS.head_size - len(head)), *fields[1:])
    assert len(head) == LIMITS.head_size
    for data in (head, b"\r\n" + head):
        read_head = HeadParser(LIMITS).parse(data)
        assert len(read_head.headers) == 100
