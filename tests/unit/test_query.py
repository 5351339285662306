"""The query: from bytes to names and values, strictly."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.linear import LINEAR, growth
from trivet._query import EMPTY, parse
from trivet.errors import InvalidInput


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (b"", []),
        (b"a=1", [("a", "1")]),
        (b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        (b"a", [("a", "")]),
        (b"a=", [("a", "")]),
        (b"=1", [("", "1")]),
        (b"=", [("", "")]),
        (b"&&a=1&&", [("a", "1")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"a=1;b=2", [("a", "1;b=2")]),
        (b"a+b=c+d", [("a b", "c d")]),
        (b"a=%2B", [("a", "+")]),
        (b"a%26b=%3D", [("a&b", "=")]),
        (b"a=%e2%82%ac%C3%A9", [("a", "€é")]),
        ("a=é".encode(), [("a", "é")]),
        (b"a=%00", [("a", "\x00")]),
        (b"a=%25zz", [("a", "%zz")]),
        (b"a=1#b", [("a", "1#b")]),
        (b"__proto__=1", [("__proto__", "1")]),
    ],
)
def test_a_query_is_read_as_a_form_is(query: bytes, fields: list[tuple[str, str]]) -> None:
    """The grammar of WHATWG's urlencoded parser; a semicolon separates nothing."""
    assert parse(query).multi_items() == fields


@pytest.mark.parametrize(
    "query",
    [
        b"%",
        b"a=%",
        b"a=%4",
        b"a=%zz",
        b"a=%2",
        b"a=1&b=%g0",
        b"%%20",
        b"a=%u0041",
        b"a=+%+",
        b"a=%-1",
        b"a=% 1",
    ],
)
def test_a_percent_sign_that_encodes_nothing_is_400(query: bytes) -> None:
    """urllib would let it pass as text, others drop it: they must not differ."""
    with pytest.raises(InvalidInput, match="two hexadecimal digits") as caught:
        parse(query)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "query", [b"a=%ff", b"%c3=1", b"a=%c3&b=%a9", b"a=\xff", b"\xc3", b"a=%ed%a0%80", b"a=%c0%af", b"a=+\xff"]
)
def test_what_is_not_utf_8_is_400(query: bytes) -> None:
    """Encoded or raw, surrogates and overlong forms included; nothing is replaced."""
    with pytest.raises(InvalidInput, match="not UTF-8") as caught:
        parse(query)
    assert caught.value.status == 400


def test_too_many_fields_are_400_before_they_are_read() -> None:
    """The bound is on the pieces, so that a flood of empty ones costs no more."""
    assert len(parse(b"a=1&" * 999 + b"a=1").getlist("a")) == 1000
    for query in (b"a=1&" * 1000 + b"a=1", b"&" * 1000, b"%zz&" * 100_000):
        with pytest.raises(InvalidInput, match="more than 1000 fields") as caught:
            parse(query)
        assert caught.value.status == 400
    with pytest.raises(InvalidInput, match="more than 2 fields"):
        parse(b"a=1&b=2&c=3", max_fields=2)


def test_the_input_is_not_echoed() -> None:
    """What the client sent, names included, is not in the answer."""
    for query in (b"secret=%zz", b"secret=%ff", b"secret&" * 2000):
        with pytest.raises(InvalidInput) as caught:
            parse(query)
        assert "secret" not in caught.value.detail
        assert caught.value.faults == ()


def test_the_first_value_of_a_name_counts_and_all_are_there() -> None:
    """As a mapping it has each name once."""
    query = parse(b"a=1&b=2&a=3")
    assert query["a"] == "1"
    assert query.getlist("a") == ["1", "3"]
    assert query.getlist("c") == []
    assert (list(query), len(query), dict(query)) == (["a", "b"], 2, {"a": "1", "b": "2"})
    assert "c" not in query
    assert repr(query) == "QueryParams([('a', '1'), ('b', '2'), ('a', '3')])"


def test_nothing_a_caller_gets_changes_the_query() -> None:
    """The lists are copies; the empty query is shared."""
    query = parse(b"a=1")
    query.getlist("a").append("2")
    query.multi_items().clear()
    assert query.getlist("a") == ["1"]
    assert parse(b"") is EMPTY


@pytest.mark.parametrize("piece", [b"a&", b"a=1&", b"&", b"%41", b"+", b"=", b"%2", b"a%26=+&"])
def test_a_query_is_read_in_linear_time(piece: bytes) -> None:
    """Also when it is refused."""

    def read(size: int) -> None:
        try:
            dict(parse(piece * size, max_fields=10**9))
        except InvalidInput:
            pass

    assert growth(read, 512) < LINEAR


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8))))
def test_what_urlencode_writes_is_read_back(fields: list[tuple[str, str]]) -> None:
    """The inverse of the standard library's writer."""
    encodable = [(name, value) for name, value in fields if _utf8(name) and _utf8(value)]
    assert parse(urlencode(encodable).encode()).multi_items() == encodable


def _utf8(text: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(query: bytes) -> None:
    """There is no third way."""
    try:
        fields = parse(query).multi_items()
    except InvalidInput:
        assert not query.isascii() or b"%" in query
    else:
        assert len(fields) == sum(1 for piece in query.split(b"&") if piece)


@given(st.lists(st.sampled_from([b"a", b"b", b"=", b"&", b"%", b"41", b"+", b"\xc3", b"\xa9", b"%C3%A9"])))
def test_the_fast_path_and_the_slow_one_agree(pieces: list[bytes]) -> None:
    """A field that has to be decoded does not change how the others are read."""
    query = b"".join(pieces)
    try:
        fields = parse(query).multi_items()
    except InvalidInput:
        with pytest.raises(InvalidInput):
            parse(b"%41&" + query)
    else:
        assert parse(b"%41&" + query).multi_items() == [("A", ""), *fields]
