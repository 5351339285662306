"""Cookies: what is read from a request, and what may be asked of a browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.linear import LINEAR, growth
from trivet._cookies import parse_cookies, serialize_cookie, serialize_removal
from trivet.errors import HTTPError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {}),
        ([""], {}),
        (["a=1"], {"a": "1"}),
        (["a=1; b=2"], {"a": "1", "b": "2"}),
        (["a=1;b=2;"], {"a": "1", "b": "2"}),
        (["a=1", "b=2"], {"a": "1", "b": "2"}),
        (["  a \t=\t 1 ;  b=2"], {"a": "1", "b": "2"}),
        (["a=1; a=2"], {"a": "1"}),
        (["a=1", "a=2"], {"a": "1"}),
        (["a="], {"a": ""}),
        (["a=b=c"], {"a": "b=c"}),
        (['a="x y"'], {"a": "x y"}),
        (['a="'], {"a": '"'}),
        (['a=""'], {"a": ""}),
        ([r'a="b\054c"'], {"a": r"b\054c"}),
        (["A=1; a=2"], {"A": "1", "a": "2"}),
        (["__proto__=x; constructor=y"], {"__proto__": "x", "constructor": "y"}),
        (["a b=1"], {"a b": "1"}),
        (["x=\u00c3\u00a9"], {"x": "é"}),
        (["x=\u00e9"], {"x": "é"}),
    ],
)
def test_cookies_are_read_tolerantly(values: list[str], expected: dict[str, str]) -> None:
    """The first of a name counts, blanks and one pair of quotes go, UTF-8 is tried before latin-1."""
    assert parse_cookies(values) == expected


@pytest.mark.parametrize("value", ["flag", "=secret", " = x", ";;;", "__Host-id", "==x"])
def test_a_piece_without_a_name_or_an_equals_sign_is_no_cookie(value: str) -> None:
    """A cookie without a name can imitate one with a prefix, so it is not read at all."""
    assert parse_cookies([value, "a=1"]) == {"a": "1"}


def test_a_flood_of_cookies_is_431() -> None:
    """RFC 6585 section 5; pieces count, over all fields together, whether or not they are cookies."""
    assert len(parse_cookies(["; ".join(f"c{i}=1" for i in range(1000))])) == 1000
    for values in (["; ".join(f"c{i}=1" for i in range(1001))], [";" * 1000], ["a=1"] * 1001):
        with pytest.raises(HTTPError, match="more than 1000 cookies") as caught:
            parse_cookies(values)
        assert caught.value.status == 431


@pytest.mark.parametrize("piece", [r"\"", '"', ";", " ", "=", "a=1;", "é", "\t;"])
def test_cookies_are_read_in_linear_time(piece: str) -> None:
    """http.cookies takes seconds for 64 KiB of quotes on Python 3.11."""
    assert growth(lambda size: parse_cookies(['a="' + piece * size], max_cookies=10**9), 4096) < LINEAR


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_text_can_be_read_as_cookies(values: list[str]) -> None:
    """Nothing a client sends makes it fail, and no name is empty or has blanks around it."""
    for name, value in parse_cookies(values).items():
        assert name.strip(" \t") == name != ""
        assert ";" not in name + value


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "a=1; Path=/; SameSite=Lax"),
        ({"samesite": None, "path": None}, "a=1"),
        ({"samesite": "strict"}, "a=1; Path=/; SameSite=Strict"),
        ({"samesite": "none", "secure": True}, "a=1; Path=/; Secure; SameSite=None"),
        ({"max_age": 60}, "a=1; Max-Age=60; Path=/; SameSite=Lax"),
        ({"max_age": 1.9}, "a=1; Max-Age=1; Path=/; SameSite=Lax"),
        ({"max_age": timedelta(hours=1)}, "a=1; Max-Age=3600; Path=/; SameSite=Lax"),
        ({"max_age": 0}, "a=1; Max-Age=0; Path=/; SameSite=Lax"),
        (
            {"expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))},
            "a=1; Expires=Wed, 02 Jan 2030 02:04:05 GMT; Path=/; SameSite=Lax",
        ),
        ({"domain": "example.com", "path": "/x"}, "a=1; Domain=example.com; Path=/x; SameSite=Lax"),
        ({"secure": True, "httponly": True}, "a=1; Path=/; Secure; HttpOnly; SameSite=Lax"),
        (
            {"secure": True, "partitioned": True, "samesite": "none"},
            "a=1; Path=/; Secure; SameSite=None; Partitioned",
        ),
    ],
)
def test_a_cookie_is_written_with_its_attributes(options: dict[str, Any], expected: str) -> None:
    """SameSite is Lax unless said otherwise; dates are IMF-fixdate in GMT."""
    assert serialize_cookie("a", "1", **options) == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("__Host-id", {"secure": True}),
        ("__Secure-id", {"secure": True, "domain": "example.com", "path": "/x"}),
        ("__host-id", {"secure": True}),
        ("__Hostess", {}),
    ],
)
def test_a_prefix_whose_rules_are_kept_is_written(name: str, options: dict[str, Any]) -> None:
    """6265bis section 4.1.3."""
    assert serialize_cookie(name, "1", **options).startswith(f"{name}=1; ")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("__Host-id", {}, "the prefix __Host- asks for Secure"),
        ("__HOST-id", {}, "the prefix __Host- asks for Secure"),
        ("__Secure-id", {}, "the prefix __Secure- asks for Secure"),
        ("__Host-id", {"secure": True, "path": "/x"}, "no domain"),
        ("__Host-id", {"secure": True, "path": None}, "no domain"),
        ("__Host-id", {"secure": True, "domain": "example.com"}, "no domain"),
        ("a", {"samesite": "none"}, 'samesite="none" asks for Secure'),
        ("a", {"partitioned": True}, "partitioned=True asks for Secure"),
        ("a", {"samesite": "Lax"}, "samesite='Lax'"),
        ("a", {"samesite": ""}, "samesite=''"),
        ("a", {"path": "x"}, "path='x'"),
        ("a", {"path": ""}, "path=''"),
        ("a", {"path": "/x; Domain=evil"}, "path="),
        ("a", {"path": "/x\r\n"}, "path="),
        ("a", {"path": "/é"}, "percent-encoded"),
        ("a", {"path": "/" + "x" * 1024}, "path="),
        ("a", {"domain": "evil.com; Secure"}, "domain="),
        ("a", {"domain": ""}, "domain="),
        ("a", {"domain": "münchen.de"}, "IDNA"),
        ("a", {"max_age": float("nan")}, "not a number of seconds"),
        ("a", {"max_age": float("inf")}, "not a number of seconds"),
        ("a", {"expires": datetime(2030, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - that is the fault
    ],
)
def test_what_a_browser_would_drop_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    """Browsers drop such cookies, or such attributes, without a word."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared
        serialize_cookie(name, "1", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "a b", "a;", "a=", "a,b", "a\r\n", "é", '"a"', "a\x00", "(a)"])
def test_a_cookie_name_is_a_token(name: str) -> None:
    """RFC 6265 section 4.1.1."""
    with pytest.raises(ValueError, match="cannot be the name of a cookie"):
        serialize_cookie(name, "1")


@pytest.mark.parametrize("value", [" ", "a b", "a;b", "a,b", '"a"', "a\\b", "a\r\nb", "é", "\x00", "\x7f", "a\tb"])
def test_a_cookie_value_is_sent_as_it_is_or_refused(value: str) -> None:
    """Nothing is encoded behind the caller's back; the message shows how to."""
    with pytest.raises(ValueError, match=r"urllib\.parse\.quote\(value\)"):
        serialize_cookie("a", value)


def test_a_cookie_that_is_too_long_is_refused() -> None:
    """Browsers ignore more than 4096 bytes of name and value."""
    assert serialize_cookie("a", "x" * 4095)
    with pytest.raises(ValueError, match="has 4097 bytes; browsers ignore one over 4096"):
        serialize_cookie("a", "x" * 4096)


def test_a_value_that_is_no_text_is_a_type_error() -> None:
    """Spelling a number is the caller's."""
    with pytest.raises(TypeError, match=r"str\(value\)"):
        serialize_cookie("visits", 5)  # type: ignore[arg-type]


def test_a_removal_is_in_the_past_and_has_the_identity_of_the_cookie() -> None:
    """Max-Age and Expires both, for what reads only one; a prefixed name is Secure by itself."""
    assert serialize_removal("a", path="/x", domain="example.com", samesite=None) == (
        "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Domain=example.com; Path=/x"
    )
    assert "; Secure; " in serialize_removal("__Host-id")


@given(st.text(min_size=1, max_size=12), st.text(max_size=30))
def test_what_is_written_is_read_back(name: str, value: str) -> None:
    """A pair that is not refused comes back as it was; nothing can add an attribute."""
    try:
        written = serialize_cookie(name, value, path=None, samesite=None)
    except ValueError:
        return
    assert parse_cookies([written]) == {name: value}


@given(
    st.from_regex(r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}\Z"),
    st.text(st.sampled_from([chr(c) for c in range(0x21, 0x7F) if chr(c) not in '",;\\']), max_size=30),
)
def test_every_pair_of_the_grammar_makes_the_round_trip(name: str, value: str) -> None:
    """The grammar of RFC 6265 is accepted whole."""
    options: dict[str, Any] = {"secure": True}
    assert serialize_cookie(name, value, **options).startswith(f"{name}={value}; ")
    assert parse_cookies([f"{name}={value}"]) == {name: value}


def test_the_date_is_right_at_the_turn_of_a_year() -> None:
    """A zone east of Greenwich may be a year ahead."""
    expires = datetime(2030, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert "Expires=Mon, 31 Dec 2029 22:30:00 GMT" in serialize_cookie("a", expires=expires)
    assert "Expires=Tue, 01 Jan 2030 00:30:00 GMT" in serialize_cookie("a", expires=expires.replace(tzinfo=UTC))
