"""Origins: what may be named is what browsers send, whichever way it is spelt."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from trivet._origin import checked_origins, may_open
from trivet.errors import RegistrationError


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("HTTPS://A.Example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("https://a.example:", "https://a.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[0:0:0:0:0:0:0:1]:8000", "http://[::1]:8000"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_an_origin_is_compared_as_browsers_write_it(written: str, sent: str) -> None:
    """Case, the usual port and the spelling of an address make no difference."""
    assert checked_origins([written]) == frozenset([sent])
    assert may_open(sent, None, checked_origins([written]))


@pytest.mark.parametrize(
    "written",
    [
        "", "a.example", "//a.example", "https://", "https:a.example", "https://a.example/", "https://a.example/chat",
        "https://a.example?x", "https://a.example#x", "https://u@a.example", "https://a b.example", " https://a.example",
        "https://a.example\n", "https://a\t.example", "https://*.example", "https://*", "*", "null", "ws://a.example",
        "wss://a.example:8443", "https://bücher.example", "https://ａ.example", "https://a.example:70000",
        "https://a.example:x", "http://127.1", "http://1.2.3.256", "http://[::1", "http://[x]", "https://a,b", 7, None,
    ],
)  # fmt: skip
def test_what_no_browser_sends_is_refused(written: object) -> None:
    """It would let nobody in, and who wrote it would look for the reason elsewhere."""
    with pytest.raises(RegistrationError, match="nothing that browsers send"):
        checked_origins([written])


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://a.example", "a.example", True),
        ("http://a.example", "a.example", True),
        ("HTTPS://A.example", "a.EXAMPLE", True),
        ("https://a.example", "a.example:443", True),
        ("http://a.example", "a.example:80", True),
        ("https://a.example", "a.example:80", False),
        ("http://a.example", "a.example:443", False),
        ("https://a.example:8443", "a.example:8443", True),
        ("https://a.example:8443", "a.example", False),
        ("https://a.example", "a.example:8443", False),
        ("https://[::1]", "[::1]:443", True),
        ("https://[::1]", "[::1]", True),
        ("https://[::1]", "[::1:443]", False),
        ("https://b.example", "a.example:443", False),
        ("evil://a.example", "a.example", False),
        ("evil://a.example", "a.example:443", False),
        ("chrome-extension://abcdef", "abcdef", False),
        ("chrome-extension://known", "a.example", True),
        ("null", "null", False),
        ("null", "", False),
        ("a.example", "a.example", False),
        ("://a.example", "a.example", False),
        ("", "", False),
        ("https://", "", False),
        ("https://", ":443", False),
        ("https://a.example", None, False),
        (None, "a.example", True),
    ],
)
def test_the_same_origin_is_told_by_host_and_port(origin: str | None, host: str | None, same: bool) -> None:
    """The usual port may be written; a scheme that is not the web's is nobody's host."""
    assert may_open(origin, host, checked_origins(["chrome-extension://known"])) == same


@given(st.from_regex(r"[a-z]{1,5}://[a-z0-9.\[\]:*@/ -]{0,12}(:[0-9]{0,5})?", fullmatch=True))
def test_what_is_taken_is_taken_as_it_is_the_next_time(written: str) -> None:
    """Whatever is written: refused, or an origin that is its own canonical form."""
    try:
        once = checked_origins([written])
    except RegistrationError:
        return
    assert once is not None
    assert checked_origins(once) == once
