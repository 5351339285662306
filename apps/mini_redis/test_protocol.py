"""The wire: whatever is written is read again, however it is split; whatever comes does no harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.mini_redis.aof import written
from apps.mini_redis.inline import UnbalancedQuotes, split_line
from apps.mini_redis.protocol import Bounds, Requests, number_of
from apps.mini_redis.values import Error, Malformed, Push, Simple, ValueBounds, Values, encode

words = st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"$1\r\n", b"x" * 5000]), min_size=1, max_size=6)
texts = st.binary(max_size=20).filter(lambda text: b"\r" not in text and b"\n" not in text)
numbers = st.floats(allow_nan=False).map(lambda value: value + 0.0)
leaves = (
    st.none() | st.booleans() | st.integers(-(1 << 80), 1 << 80) | numbers | st.binary(max_size=30)
    | texts.map(Simple) | texts.map(Error)
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(Push)
        | st.dictionaries(st.binary(max_size=5), inner, max_size=3)
        | st.sets(st.binary(max_size=5), max_size=3)
    ),
    max_leaves=12,
)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(st.lists(words, max_size=5), st.integers(1, 100))
def test_requests_are_read_however_they_are_split(requests: list[list[bytes]], size: int) -> None:
    """In pieces of any size, or whole: what was written is read."""
    data = b"".join(map(written, requests))
    for pieces in (_pieces(data, size), [data]):
        parser = Requests()
        assert [found for piece in pieces for found in parser.feed(piece)] == requests
        assert parser.error is None
        assert not parser.begun


@given(st.lists(words, min_size=1, max_size=3))
def test_requests_are_read_split_at_every_byte(requests: list[list[bytes]]) -> None:
    """Each place is one at which a packet may end, of small requests in particular."""
    small = [[word[:20] for word in request] for request in requests]
    data = b"".join(map(written, small))
    for cut in range(len(data) + 1):
        parser = Requests()
        assert parser.feed(data[:cut]) + parser.feed(data[cut:]) == small


ONE = written([b"GET", b"a"])


@pytest.mark.parametrize(
    "other",
    [
        ONE,
        written([b"SET", b"a"]),
        written([b"SETEX", b"abc"]),
        written([b"GET", b"\r\n"]),
        ONE.replace(b"*2", b"*3"),
        ONE.replace(b"\r\na", b"\r\naa"),
        ONE.replace(b"GET", b"GE"),
        ONE.replace(b"$3", b"$03"),
        ONE.replace(b"$1\r\na", b"$5000\r\na"),
        ONE.replace(b"$1\r\na", b"$2\r\na"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 4])
def test_a_pipeline_of_one_command_is_read_as_its_requests_are(other: bytes, place: int) -> None:
    """A shorter way, the same result, errors included; also where one of them is different."""
    data = b"".join([ONE] * place + [other] + [ONE] * (4 - place))
    whole, drip = Requests(), Requests()
    found = whole.feed(data)
    assert found == [request for at in range(len(data)) for request in drip.feed(data[at : at + 1])]
    assert (whole.error, whole.begun) == (drip.error, drip.begun)


@given(st.binary(max_size=200) | st.text("*$:+-0123456789\r\n\"'\\x ", max_size=100).map(str.encode))
@example(b"*1\r\n$99999999999999999999\r\n")
@example(b"*-1\r\n*2\r\n$-1\r\n")
def test_no_bytes_break_the_parser(data: bytes) -> None:
    """They are requests, or there is an error; and whole or in pieces, it is the same."""
    whole, drip = Requests(), Requests()
    found = whole.feed(data)
    assert [request for at in range(len(data)) for request in drip.feed(data[at : at + 1])] == found
    assert whole.error == drip.error
    assert all(found)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*9\r\n", "invalid multibulk length"),
        (b"*2\r\n$11\r\n", "invalid bulk length"),
        (b"*3\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$8\r\n", "too big request"),
        (b"*1\r\n$2\r\nabc\r\n", "expected CRLF after a bulk string"),
    ],
)
def test_bounds_of_a_request(data: bytes, error: str) -> None:
    """What is too large is refused as soon as it is announced; nothing is taken after it."""
    parser = Requests(Bounds(bulk=10, count=8, request=2 * 72 + 10))
    assert parser.feed(b"*1\r\n$4\r\nPING\r\n" + data) == [[b"PING"]]
    assert parser.error == error
    assert parser.feed(b"PING\r\n") == []


def test_a_large_value_in_small_pieces_is_read_in_one_pass() -> None:
    """What waits grows in place, and nobody looks for line ends in a value."""
    parser = Requests()
    request = [b"SET", b"k", b"\r\n" * 500_000]
    *pieces, last = _pieces(written(request), 1000)
    for piece in pieces:
        assert parser.feed(piece) == []
        assert parser._scanned <= 64
    assert parser.feed(last) == [request]


@given(values, st.integers(1, 50))
def test_values_are_read_as_they_were_written(value: Any, size: int) -> None:
    """Of RESP3 and RESP2, nested, in pieces."""
    parser = Values()
    data = encode(value)
    found = [each for piece in _pieces(data, size) for each in parser.feed(piece)]
    assert len(found) == 1
    assert (type(found[0]), found[0]) == (type(value), value)


@given(st.binary(max_size=200) | st.text("*%~>$=:,#_(+-0123456789tf\r\n", max_size=100).map(str.encode))
def test_no_bytes_break_the_reader_of_values(data: bytes) -> None:
    """It reads them, or refuses them by its one error."""
    parser = Values(ValueBounds(depth=5, bulk=100, count=50))
    try:
        parser.feed(data)
    except Malformed:
        pass


@pytest.mark.parametrize("data", [b"*1\r\n" * 6, b"$101\r\n", b"*51\r\n", b"*26\r\n" * 2, b"+" + b"x" * 70_000])
def test_bounds_of_a_value(data: bytes) -> None:
    """Depth, length and the number of all items together are bounded; a little less is taken."""
    with pytest.raises(Malformed):
        Values(ValueBounds(depth=5, bulk=100, count=50)).feed(data)
    inside = b"*1\r\n" * 4 + b"$100\r\n" + b"x" * 100 + b"\r\n"
    assert Values(ValueBounds(depth=5, bulk=100, count=50)).feed(inside) == [[[[[b"x" * 100]]]]]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"a  b\tc\r", [b"a", b"b", b"c"]),
        (b'"a b" c', [b"a b", b"c"]),
        (b"", []),
        (b"\"\\x41\\n\\\"\" '\\''", [b'A\n"', b"'"]),
    ],
)
def test_lines_of_people(line: bytes, found: list[bytes]) -> None:
    """Words, and both kinds of quotes."""
    assert split_line(line) == found


@pytest.mark.parametrize("line", [b'"a', b"'a", b'"a"b', b"'", b'"\\"'])
def test_lines_with_a_quote_too_many(line: bytes) -> None:
    """Nobody guesses what was meant."""
    with pytest.raises(UnbalancedQuotes):
        split_line(line)


@pytest.mark.parametrize("text", [b"0", b"-1", b"9223372036854775807", b"-9223372036854775808"])
def test_numbers(text: bytes) -> None:
    """Of 64 bits, with a sign."""
    assert number_of(text) == int(text)


@pytest.mark.parametrize("text", [b"", b"-", b"+1", b"01", b"-0", b" 1", b"1_0", b"9223372036854775808", b"1" * 5000])
def test_what_is_no_number(text: bytes) -> None:
    """One number is written in one way."""
    assert number_of(text) is None
