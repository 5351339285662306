"""Redirects: what may stand in Location."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet._redirect import Redirect, location


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_has_a_location_and_no_content(status: int) -> None:
    """303 if nothing is said."""
    assert Redirect("/x", status=status).start("GET") == (
        status,
        [(b"location", b"/x"), (b"content-length", b"0")],
    )
    assert Redirect("/x").status == 303


@pytest.mark.parametrize("status", [200, 300, 304, 305, 306, 400, 100, "303"])
def test_another_status_does_not_redirect(status: Any) -> None:
    """304 is not one, 305 and 306 are no more."""
    with pytest.raises(ValueError, match="does not redirect"):
        Redirect("/x", status=status)


def test_headers_go_along_and_cannot_replace_the_target() -> None:
    """`to` is the target."""
    response = Redirect("/x", headers={"cache-control": "no-store", "location": "/y"})
    assert response.headers["location"] == "/x"
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("to", "sent"),
    [
        ("/", "/"),
        ("/a?b=c&d=e#f", "/a?b=c&d=e#f"),
        ("../x", "../x"),
        ("?page=2", "?page=2"),
        ("#top", "#top"),
        ("/a b", "/a%20b"),
        ("/é", "/%C3%A9"),
        ("/%C3%A9%2F", "/%C3%A9%2F"),
        ("/[x]~(y)", "/[x]~(y)"),
        ('/"<>{}|^`', "/%22%3C%3E%7B%7D%7C%5E%60"),
        ("https://example.com/a?b", "https://example.com/a?b"),
        ("HTTPS://example.com", "HTTPS://example.com"),
        ("http://[::1]:8000/", "http://[::1]:8000/"),
        ("myapp://callback?code=1", "myapp://callback?code=1"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("/javascript:x", "/javascript:x"),
        # Browsers read a backslash as a slash and strip blanks: encoded, they stay on this site.
        ("/\\evil.com", "/%5Cevil.com"),
        ("\\\\evil.com", "%5C%5Cevil.com"),
        (" //evil.com", "%20//evil.com"),
        (" javascript:alert(1)", "%20javascript:alert(1)"),
    ],
)
def test_a_target_is_percent_encoded_once(to: str, sent: str) -> None:
    """What is encoded already stays as it is."""
    assert location(to) == sent
    assert location(sent) == sent


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("", "back to itself"),
        ("/a\r\nset-cookie: x=1", "forges headers"),
        ("/a\nb", "forges headers"),
        ("/a\x00", "cannot be sent"),
        ("/\t/evil.com", "cannot be sent"),
        ("/a\x7f", "cannot be sent"),
        ("//evil.com", "leads to another host"),
        ("///evil.com", "leads to another host"),
        ("https:evil.com", "no host"),
        ("https:/evil.com", "no host"),
        ("https:///evil.com", "no host"),
        ("https:\\\\evil.com", "no host"),
        ("https://", "no host"),
        ("http:", "no host"),
        ("https://\\evil.com", "no host"),
        ("javascript:alert(1)", "javascript: is refused"),
        ("JavaScript:alert(1)", "javascript: is refused"),
        ("data:text/html,x", "data: is refused"),
        ("vbscript:x", "vbscript: is refused"),
    ],
)
def test_a_target_that_is_not_what_it_looks_like_is_refused(to: str, message: str) -> None:
    """`Redirect(request.query["next"])` must not lead to where a browser reads something else."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared
        Redirect(to)
    assert message in str(caught.value)


def test_a_target_is_text() -> None:
    """URL objects of other libraries are spelled by the caller."""
    with pytest.raises(TypeError, match=r"Redirect\(str\(url\)\)"):
        Redirect(b"/x")  # type: ignore[arg-type]


@given(st.text(max_size=30))
def test_a_target_that_begins_with_a_slash_stays_on_this_site(text: str) -> None:
    """Whatever follows the slash, or it is refused."""
    try:
        sent = location("/" + text)
    except ValueError:
        return
    assert urlsplit(sent).netloc == ""
    assert not sent.startswith(("//", "/\\"))
    assert sent.isascii()
    assert sent.isprintable()
    assert " " not in sent
