"""Where request bodies end, and which framing is refused."""

from __future__ import annotations

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.server._http1_body import JOINED, TRAILER_SIZE, Chunked, Sized
from trivet.server._http1_refusal import Refused


def read(body: Sized | Chunked, *pieces: bytes) -> tuple[bytes, bytes, bool]:
    """The content, what follows the body, and whether it has ended."""
    content, rest = b"", b""
    for piece in pieces:
        if body.complete:
            rest += piece
            continue
        parts, rest = body.feed(piece)
        assert all(parts)
        content += b"".join(parts)
        assert body.complete or not rest
    return content, rest, body.complete


def split(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def encode(chunks: list[bytes], trailers: bytes = b"") -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return framed + b"0\r\n" + trailers + b"\r\n"


CHUNKED = [
    # what comes, content, what follows
    (b"0\r\n\r\n", b"", b""),
    (b"3\r\nabc\r\n0\r\n\r\nGET /", b"abc", b"GET /"),
    (b"0000000000000003\r\nabc\r\n00\r\n\r\n", b"abc", b""),
    (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, b""),
    (b"4\r\n\r\n\r\n\r\n0\r\n\r\n\r\n", b"\r\n\r\n", b"\r\n"),
    (b"0\r\nA: b\r\nContent-Length: 5\r\n\r\nx", b"", b"x"),
    (b"0\r\nA:\r\n\r\n\r\n", b"", b"\r\n"),
    (b"0\r\nA: " + b"b" * (TRAILER_SIZE - 5) + b"\r\n\r\n", b"", b""),
]

REFUSED = [
    (b"\r\n", 400, "size"),
    (b"0\n\n", 400, "size"),
    (b"3\nabc\r\n0\r\n\r\n", 400, "size"),
    (b"3\rabc", 400, "size"),
    (b"g\r\n", 400, "size"),
    (b"0x3\r\nabc\r\n", 400, "size"),
    (b"+3\r\nabc\r\n", 400, "size"),
    (b"-3\r\nabc\r\n", 400, "size"),
    (b"1_0\r\n", 400, "size"),
    (b" 3\r\nabc\r\n", 400, "size"),
    (b"3 \r\nabc\r\n", 400, "size"),
    (b"3\t\r\nabc\r\n", 400, "size"),
    (b"00000000000000003\r\nabc\r\n", 400, "size"),
    (b"f" * 17, 400, "size"),
    (b"f" * 5000, 400, "size"),
    (b"3;a=b\r\nabc\r\n0\r\n\r\n", 400, "xtension"),
    (b"3;\r\nabc\r\n0\r\n\r\n", 400, "xtension"),
    (b"3 ;a\r\nabc\r\n0\r\n\r\n", 400, "xtension"),
    (b"3;" + b"a" * 20_000, 400, "xtension"),
    (b"3\r\nabc\r\n0;a\r\n\r\n", 400, "xtension"),
    (b"3\r\nabcd\r\n0\r\n\r\n", 400, "longer"),
    (b"3\r\nab\r\n0\r\n\r\n", 400, "longer"),
    (b"3\r\nabc0\r\n\r\n", 400, "longer"),
    (b"3\r\nabc\n0\r\n\r\n", 400, "longer"),
    (b"3\r\nabc\r0\r\n\r\n", 400, "longer"),
    (b"3\r\nabc\r\n\r\n0\r\n\r\n", 400, "size"),
    (b"0\r\nA\r\n\r\n", 400, "trailer"),
    (b"0\r\nA : b\r\n\r\n", 400, "trailer"),
    (b"0\r\n: b\r\n\r\n", 400, "trailer"),
    (b"0\r\nA: b\r\n c\r\n\r\n", 400, "trailer"),
    (b"0\r\nA: b\nC: d\r\n\r\n", 400, "bare"),
    (b"0\r\nA: b\rc\r\n\r\n", 400, "bare"),
    (b"0\r\n\n", 400, "bare"),
    (b"0\r\nA: \0\r\n\r\n", 400, "NUL"),
    (b"0\r\nA: \x01\r\n\r\n", 400, "trailer"),
    (b"0\r\nGET / HTTP/1.1\r\n\r\n", 400, "trailer"),
    (b"0\r\nA: " + b"b" * (TRAILER_SIZE - 4) + b"\r\n\r\n", 431, "larger"),
    (b"0\r\n" + b"A: b\r\n" * 2000, 431, "larger"),
]


@pytest.mark.parametrize(("data", "content", "rest"), CHUNKED)
def test_a_chunked_body_is_decoded(data: bytes, content: bytes, rest: bytes) -> None:
    """The content and what follows the body are found, whole or byte by byte."""
    assert read(Chunked(None), data) == (content, rest, True)
    assert read(Chunked(None), *split(data)) == (content, rest, True)


@pytest.mark.parametrize(("data", "status", "detail"), REFUSED)
def test_odd_chunked_framing_is_refused(data: bytes, status: int, detail: str) -> None:
    """Framing that another recipient might read otherwise is refused, and says why."""
    with pytest.raises(Refused) as caught:
        read(Chunked(None), data)
    assert caught.value.status == status
    assert detail in caught.value.detail


@pytest.mark.parametrize(("data", "status"), [(data, status) for data, status, _ in REFUSED])
def test_odd_chunked_framing_byte_by_byte_is_refused(data: bytes, status: int) -> None:
    """Where the bytes are split does not change the status."""
    with pytest.raises(Refused) as caught:
        read(Chunked(None), *split(data))
    assert caught.value.status == status


@pytest.mark.parametrize("cut", range(len(encode([b"abc", b"d"], b"A: b\r\n"))))
def test_an_unfinished_chunked_body_waits(cut: int) -> None:
    """No beginning of a body is taken for the whole."""
    _, rest, complete = read(Chunked(None), encode([b"abc", b"d"], b"A: b\r\n")[:cut])
    assert not complete
    assert not rest


def test_the_limit_of_a_chunked_body_counts_its_content() -> None:
    """As many bytes as allowed are taken; a chunk that announces more is refused before its data comes."""
    assert read(Chunked(6), encode([b"abc", b"def"])) == (b"abcdef", b"", True)
    for data in (b"7\r\n", b"3\r\nabc\r\n4\r\n", b"ffffffffffffffff\r\n"):
        with pytest.raises(Refused) as caught:
            Chunked(6).feed(data)
        assert caught.value.status == 413


def test_small_chunks_are_joined_and_large_ones_are_not() -> None:
    """One read of many chunks gives one part; a large read is not copied twice."""
    assert Chunked(None).feed(encode([b"a"] * 1000)) == ([b"a" * 1000], b"")
    large = [b"a" * JOINED, b"b"]
    assert Chunked(None).feed(encode(large)) == (large, b"")


def test_a_complete_body_takes_no_more() -> None:
    """What comes after the end belongs to the next request."""
    for body in (Sized(0, None), Sized(1, None), Chunked(None)):
        body.feed(b"a" if isinstance(body, Sized) and not body.complete else b"0\r\n\r\n")
        assert body.complete
        assert body.feed(b"next") == ([], b"next")


def test_a_sized_body_ends_at_its_length() -> None:
    """Its length is all that counts, and pieces are handed on as they are."""
    assert read(Sized(5, None), b"ab", b"", b"cdeGET") == (b"abcde", b"GET", True)
    assert read(Sized(5, None), b"abcd") == (b"abcd", b"", False)
    assert read(Sized(0, 0), b"GET") == (b"", b"GET", True)
    for length in (6, 10):
        piece = b"abcdef"
        parts, rest = Sized(length, None).feed(piece)
        assert parts[0] is piece
        assert rest == b""


def test_a_sized_body_over_the_limit_is_refused_at_once() -> None:
    """Its length is known before its first byte."""
    Sized(5, 5)
    with pytest.raises(Refused) as caught:
        Sized(6, 5)
    assert caught.value.status == 413


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    trailers=st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC:\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    after=st.binary(max_size=10),
)
def test_a_chunked_round_trip(chunks: list[bytes], trailers: bytes, cuts: list[int], after: bytes) -> None:
    """What a client encodes is decoded, wherever the network cuts it, and h11 agrees."""
    data = encode(chunks, trailers) + after
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(bounds)]
    assert read(Chunked(None), *pieces) == (b"".join(chunks), after, True)
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + encode(chunks, trailers))
    assert isinstance(peer.next_event(), h11.Request)
    content = b""
    while isinstance(event := peer.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert content == b"".join(chunks)


tokens = [
    b"0",
    b"3",
    b"a",
    b"\r\n",
    b"\r",
    b"\n",
    b"abc",
    b";",
    b" ",
    b"\0",
    b"A: b",
    b":",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
]


@given(data=st.binary(max_size=60) | st.lists(st.sampled_from(tokens), max_size=14).map(b"".join))
def test_any_bytes_are_framed_or_refused_however_they_are_split(data: bytes) -> None:
    """No bytes cause another exception than `Refused`; whole and byte by byte agree."""
    results: list[object] = []
    for pieces in ([data], split(data)):
        try:
            results.append(read(Chunked(30), *pieces))
        except Refused as refused:
            results.append(refused.status)
    assert results[0] == results[1]
