"""The request target: its forms, the root path, the other slash, and where a redirect may lead."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet._head import announces_body, expects_body, redirect_target, root_prefix, target_path, toggled_slash
from trivet.errors import InvalidInput


def scope(raw_path: bytes | None, *, path: str = "/", root_path: str = "", method: str = "GET") -> dict[str, Any]:
    found: dict[str, Any] = {"path": path, "root_path": root_path, "method": method}
    return found if raw_path is None else {**found, "raw_path": raw_path}


@pytest.mark.parametrize(
    ("raw", "root", "expected"),
    [
        (b"/a", "", b"/a"),
        (b"/a%2Fb", "", b"/a%2Fb"),
        (b"//a", "", b"//a"),
        (b"/root/a", "/root", b"/a"),
        (b"/root/a", "/root/", b"/a"),
        (b"/root", "/root", b""),
        (b"/root/", "/root", b"/"),
        (b"/a", "/root", b"/a"),
        (b"/rooted", "/root", b"/rooted"),
        (b"/root/root", "/root", b"/root"),
        (b"/a%20b/c", "/a b", b"/c"),
        (b"/%C3%BC/c", "/ü", b"/c"),
        (b"/a", "/", b"/a"),
        (b"http://h/a", "", b"/a"),
        (b"HTTP://h:80/root/a", "/root", b"/a"),
        (b"https://h", "", b"/"),
        (b"http://user@h//a", "", b"//a"),
    ],
)
def test_the_path_less_the_root(raw: bytes, root: str, expected: bytes) -> None:
    """The absolute form has a path; a whole prefix is taken off once, whether or not the server left it in."""
    assert target_path(scope(raw, root_path=root)) == expected


@pytest.mark.parametrize(
    ("raw", "method"),
    [
        (b"*", "GET"),
        (b"h:443", "CONNECT"),
        (b"a", "GET"),
        (b"", "GET"),
        (b"ftp://h/a", "GET"),
        (b"://h/a", "GET"),
        (b"?a", "GET"),
    ],
)
def test_what_is_no_path_is_400(raw: bytes, method: str) -> None:
    """RFC 9112 section 3.2: the asterisk is for OPTIONS, the authority for proxies."""
    with pytest.raises(InvalidInput) as caught:
        target_path(scope(raw, method=method))
    assert caught.value.status == 400


def test_the_asterisk_of_options() -> None:
    """It stands, with a root path too."""
    assert target_path(scope(b"*", method="OPTIONS")) == b"*"
    assert target_path(scope(b"*", method="OPTIONS", root_path="/root")) == b"*"


@pytest.mark.parametrize(
    ("path", "expected"), [("/a b", b"/a%20b"), ("/ü", b"/%C3%BC"), ("/%41", b"/%2541"), ("/a;b:c@d", b"/a;b:c@d")]
)
def test_without_raw_path_the_decoded_one_is_quoted(path: str, expected: bytes) -> None:
    """It has been decoded already, so a percent sign is one."""
    assert target_path(scope(None, path=path)) == expected


@pytest.mark.parametrize(
    ("path", "other"),
    [(b"/a", b"/a/"), (b"/a/", b"/a"), (b"/a//", b"/a/"), (b"/", None), (b"", b"/"), (b"//", b"/")],
)
def test_the_other_slash(path: bytes, other: bytes | None) -> None:
    """With or without the last one; the root has no other, a request for the root path itself has it."""
    assert toggled_slash(path) == other


@pytest.mark.parametrize(("root", "prefix"), [("", ""), ("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a b", "/a%20b")])
def test_root_prefix(root: str, prefix: str) -> None:
    """Encoded, and without a slash at its end."""
    assert root_prefix(root) == prefix


@pytest.mark.parametrize(
    ("root", "path", "query", "expected"),
    [
        ("", b"/a/", b"", "/a/"),
        ("/root", b"/a/", b"", "/root/a/"),
        ("/root/", b"/a", b"", "/root/a"),
        ("", b"/a%2Fb", b"q=%2F&a", "/a%2Fb?q=%2F&a"),
        ("", b"//evil.com/", b"", "/evil.com/"),
        ("", b"///evil.com", b"", "/evil.com"),
        ("/", b"//evil.com/", b"", "/evil.com/"),
        ("", b"/\\evil.com/", b"", "/%5Cevil.com/"),
        ("", b"/\xff\x01/", b"a=\x01\r\nb:\xff&c='?", "/%FF%01/?a=%01%0D%0Ab:%FF&c='?"),
        ("//evil.com", b"/a", b"", "/evil.com/a"),
    ],
)
def test_a_redirect_is_relative_and_stays_here(root: str, path: bytes, query: bytes, expected: str) -> None:
    """It begins with exactly one slash, or a browser would take what follows for a host."""
    assert redirect_target(root, path, query) == expected


@given(
    root=st.sampled_from(["", "/", "/r", "//r", "/\\r"]),
    path=st.text(st.sampled_from("/\\.aé%5C2F:@?#"), max_size=8).map(lambda text: b"/" + text.encode()),
    query=st.binary(max_size=5),
)
def test_no_redirect_ever_leaves_the_site(root: str, path: bytes, query: bytes) -> None:
    """Whatever the path: resolved by a browser, it is on the same host."""
    location = redirect_target(root, path, query)
    assert location.startswith("/")
    for read_as in (location, location.replace("\\", "/")):  # browsers read a backslash as a slash
        assert urlsplit(urljoin("http://here/x", read_as)).hostname == "here"


@pytest.mark.parametrize(
    ("headers", "version", "method", "expected"),
    [
        ([], "1.1", "GET", False),
        ([], "1.1", "POST", False),
        ([(b"content-length", b"0")], "1.1", "POST", False),
        ([(b"content-length", b"5")], "1.1", "GET", True),
        ([(b"transfer-encoding", b"chunked")], "1.1", "GET", True),
        ([(b"x", b"y"), (b"content-length", b"5")], "1.1", "POST", True),
        ([], "2", "POST", True),
        ([], "3", "PUT", True),
        ([], "2", "GET", False),
        ([(b"content-length", b"0")], "2", "POST", False),
    ],
)
def test_whether_a_body_follows(headers: Any, version: str, method: str, expected: bool) -> None:
    """HTTP/1.1 announces it, HTTP/2 and 3 need not."""
    assert expects_body({"headers": headers, "http_version": version, "method": method}) is expected


@pytest.mark.parametrize(
    ("headers", "version", "expected"),
    [
        ([], "1.1", False),
        ([], "1.0", False),
        ([(b"x", b"y"), (b"content-length", b"0")], "1.1", False),
        ([(b"content-length", b"0")], "2", False),
        ([(b"content-length", b"5")], "1.1", True),
        ([(b"content-length", b"5")], "2", True),
        ([(b"x", b"y"), (b"transfer-encoding", b"chunked")], "1.1", None),
        ([(b"x", b"y")], "2", None),
        ([], "3", None),
    ],
)
def test_whether_a_body_is_announced(headers: Any, version: str, expected: bool | None) -> None:
    """A length says it; a transfer coding may hold nothing, and HTTP/2 and 3 need say nothing, whatever the method."""
    for method in ("GET", "DELETE", "POST"):
        assert announces_body({"headers": headers, "http_version": version, "method": method}) is expected
