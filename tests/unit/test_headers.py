"""Header fields: reading them, and what may be written into one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.linear import LINEAR, growth
from trivet._headers import Headers, MutableHeaders, field_name, field_value

RAW = [
    (b"host", b"example.com"),
    (b"accept", b"text/html"),
    (b"accept", b"*/*;q=0.1"),
    (b"cookie", b"a=1"),
    (b"cookie", b"b=2"),
    (b"set-cookie", b"x=1"),
    (b"set-cookie", b"y=2"),
    (b"x-latin", b"caf\xe9"),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("host", "example.com"),
        ("HOST", "example.com"),
        ("accept", "text/html, */*;q=0.1"),
        ("cookie", "a=1; b=2"),
        ("set-cookie", "x=1"),
        ("x-latin", "café"),
    ],
)
def test_a_field_is_found_whatever_its_case_and_repeated_ones_are_joined(name: str, expected: str) -> None:
    """RFC 9110 5.2 joins by a comma; Cookie by a semicolon; Set-Cookie not at all."""
    assert Headers(RAW)[name] == expected


@pytest.mark.parametrize("name", ["accept-language", "", "ho st", "hôst", "日本", "host "])
def test_a_missing_field_is_a_key_error_with_the_name_as_it_was_asked(name: str) -> None:
    """Whatever text is asked for, the answer is KeyError, not a failure to encode it."""
    headers = Headers(RAW)
    with pytest.raises(KeyError) as caught:
        headers[name]
    assert caught.value.args == (name,)
    assert name not in headers
    assert headers.get(name) is None
    assert headers.getlist(name) == []


def test_headers_are_a_mapping_of_distinct_names() -> None:
    """Iteration, length and membership count a repeated name once."""
    headers = Headers(RAW)
    assert list(headers) == ["host", "accept", "cookie", "set-cookie", "x-latin"]
    assert len(headers) == 5
    assert dict(headers)["accept"] == "text/html, */*;q=0.1"
    assert headers.getlist("Set-Cookie") == ["x=1", "y=2"]
    assert headers.raw is RAW
    assert 5 not in headers


def test_credentials_are_not_in_the_repr() -> None:
    """A request that is logged does not put a session into the log."""
    headers = Headers([(b"authorization", b"Bearer s3cret"), (b"cookie", b"s=s3cret"), (b"accept", b"*/*")])
    assert repr(headers) == "Headers([('authorization', '[hidden]'), ('cookie', '[hidden]'), ('accept', '*/*')])"


def test_all_fields_are_read_in_linear_time() -> None:
    """Thousands of fields, all different or all alike, cost in proportion."""
    assert growth(lambda size: dict(Headers([(b"x-%d" % i, b"v") for i in range(size)])), 500) < LINEAR
    assert growth(lambda size: dict(Headers([(b"x", b"v")] * size)), 500) < LINEAR


@given(st.lists(st.tuples(st.binary(max_size=8).map(bytes.lower), st.binary(max_size=8))), st.text(max_size=8))
def test_any_raw_headers_can_be_read(raw: list[tuple[bytes, bytes]], name: str) -> None:
    """Nothing a server hands over makes reading fail, and getlist agrees with the mapping."""
    headers = Headers(raw)
    assert (name in headers) == bool(headers.getlist(name))
    assert all(headers[each] is not None for each in headers)
    assert sum(len(headers.getlist(each)) for each in headers) == len(raw)


def test_setting_replaces_and_adding_does_not() -> None:
    """`[]=` leaves one field, in the first one's place; `add` puts another beside."""
    headers = MutableHeaders()
    headers["X-A"] = "1"
    headers["x-b"] = "2"
    headers.add("x-a", "3")
    assert headers.raw == [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]
    assert headers["x-a"] == "1, 3"
    assert headers.getlist("X-a") == ["1", "3"]
    headers["x-A"] = "4"
    assert headers.raw == [(b"x-a", b"4"), (b"x-b", b"2")]
    assert headers.setdefault("x-b", "5") == "2"
    assert headers.setdefault("x-c", "6") == "6"
    assert (len(headers), list(headers)) == (3, ["x-a", "x-b", "x-c"])


def test_deleting_takes_every_field_of_the_name_and_misses_loudly() -> None:
    """`del` removes all of a name; of a name that is not there it is a KeyError; `pop` has its default."""
    headers = MutableHeaders()
    headers.add("vary", "accept")
    headers.add("vary", "cookie")
    del headers["Vary"]
    assert headers.raw == []
    for name in ("vary", "not a token"):
        with pytest.raises(KeyError):
            del headers[name]
        assert headers.pop(name, None) is None


def test_a_set_cookie_is_not_joined_with_another() -> None:
    """Reading it back gives the first; all of them with getlist."""
    headers = MutableHeaders()
    headers.add("set-cookie", "a=1")
    headers.add("set-cookie", "b=2")
    assert headers["Set-Cookie"] == "a=1"
    assert headers.getlist("set-cookie") == ["a=1", "b=2"]


def test_a_copy_is_changed_on_its_own() -> None:
    """The original keeps its fields."""
    headers = MutableHeaders()
    headers["a"] = "1"
    copied = headers.copy()
    copied["a"] = "2"
    assert headers["a"] == "1"


@pytest.mark.parametrize("name", ["x-a", "X", "etag", "!#$%&'*+-.^_`|~09azAZ", "content-type"])
def test_a_token_is_a_name(name: str) -> None:
    """RFC 9110 section 5.6.2."""
    assert field_name(name) == name.lower().encode()


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "x a",
        "x:",
        ":status",
        "x-a:",
        "x\r\n",
        "x\x00",
        "x\t",
        "é",
        "x(",
        "x@",
        "x[",
        "x=",
        '"x"',
        "\x7f",
    ],
)
def test_what_is_not_a_token_is_no_name(name: str) -> None:
    """A colon, a blank or a line break in a name would end it early; a pseudo-header is not ours to set."""
    with pytest.raises(ValueError, match="cannot be the name of a header"):
        MutableHeaders()[name] = "1"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("", b""),
        ("plain text", b"plain text"),
        ("a\tb", b"a\tb"),
        ("  around\t", b"around"),
        ("\u00e9\u00ff\x80\u00a0x", b"\xe9\xff\x80\xa0x"),
        ('"quoted", W/"etag"', b'"quoted", W/"etag"'),
    ],
)
def test_a_value_goes_out_as_latin_1_without_the_blanks_around_it(value: str, sent: bytes) -> None:
    """RFC 9110 section 5.5; HTTP/2 refuses blanks around a value (RFC 9113 section 8.2.1)."""
    assert field_value("x", value) == sent


@pytest.mark.parametrize("control", [chr(code) for code in [*range(0x20), 0x7F] if code != 9])
@pytest.mark.parametrize("around", ["{}", "a{}", "{}b", "é{}b", "a{}\nset-cookie: x=1"])
def test_a_control_character_is_refused_where_it_is_set(control: str, around: str) -> None:
    """CR and LF forge headers, NUL ends strings, the others HTTP/2 peers refuse."""
    headers = MutableHeaders()
    with pytest.raises(ValueError, match=r"RFC 9110 section 5\.5"):
        headers["x-a"] = around.format(control)
    with pytest.raises(ValueError, match=r"RFC 9110 section 5\.5"):
        headers.add("x-a", around.format(control))
    assert headers.raw == []


def test_the_refusal_of_a_value_shows_what_came_and_the_remedy() -> None:
    """What, where, why, and the line to write instead."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        MutableHeaders()["x-note"] = "a\r\nb"
    assert str(caught.value) == (
        "the value of the header 'x-note' has '\\r' at position 1: 'a\\r\\nb'\n"
        "Control characters cannot be sent (RFC 9110 section 5.5); from a client they are an attack.\n"
        'Encode such text first:  response.headers["x-note"] = urllib.parse.quote(value)'
    )


def test_text_outside_latin_1_is_refused_with_the_remedy() -> None:
    """A header cannot say which encoding it has."""
    with pytest.raises(ValueError, match="has '日' at position 1, which a header cannot carry") as caught:
        MutableHeaders()["x-a"] = "1日"
    assert "urllib.parse.quote" in str(caught.value)


@pytest.mark.parametrize("value", [5, None, b"1", 1.5, ["a"]])
def test_a_value_that_is_no_text_is_a_type_error(value: object) -> None:
    """Spelling a number is the caller's: 1.0 or 1?"""
    with pytest.raises(TypeError, match=r"str\(value\)"):
        MutableHeaders()["x-count"] = value  # type: ignore[assignment]


def test_a_name_that_is_no_text_is_a_type_error() -> None:
    """Bytes are what goes out, not what is set."""
    with pytest.raises(TypeError, match="a header name is str, not bytes"):
        MutableHeaders()[b"x-a"] = "1"  # type: ignore[index]


@given(st.text(max_size=20), st.text(max_size=40))
def test_whatever_is_set_can_be_carried_or_is_refused(name: str, value: str) -> None:
    """There is no third way: what is in `raw` is a token and a value without line breaks."""
    headers = MutableHeaders()
    try:
        headers[name] = value
    except ValueError:
        assert headers.raw == []
        return
    ((sent_name, sent_value),) = headers.raw
    assert sent_name == sent_name.strip().lower() != b""
    assert not set(sent_name) & set(b":\r\n\x00 \t")
    assert not set(sent_value) & set(b"\r\n\x00\x7f")
    assert headers[name] == value.strip(" \t")
