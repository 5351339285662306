"""A response as a value, and its head made final."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet._response import HTML, Response, Text, with_status
from trivet._response_head import content_type
from trivet._results import JSON
from trivet.errors import ResponseError

TEXT = (b"content-type", b"text/plain; charset=utf-8")


def length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % size)


@pytest.mark.parametrize(
    ("response", "fields", "body"),
    [
        (Response(), [length(0)], b""),
        (Response(b""), [length(0)], b""),
        (Response(""), [TEXT, length(0)], b""),
        (Response("é"), [TEXT, length(2)], b"\xc3\xa9"),
        (Response(b"\x00"), [(b"content-type", b"application/octet-stream"), length(1)], b"\x00"),
        (Response(bytearray(b"ab")), [(b"content-type", b"application/octet-stream"), length(2)], b"ab"),  # type: ignore[arg-type]
        (Text("x"), [TEXT, length(1)], b"x"),
        (Text(b"x"), [TEXT, length(1)], b"x"),
        (HTML("<p>"), [(b"content-type", b"text/html; charset=utf-8"), length(3)], b"<p>"),
        (HTML(b"<p>"), [(b"content-type", b"text/html; charset=utf-8"), length(3)], b"<p>"),
        (JSON({"a": 1}), [(b"content-type", b"application/json"), length(7)], b'{"a":1}'),
        (JSON(None), [(b"content-type", b"application/json"), length(4)], b"null"),
        (Response(b"x" * 1023), [(b"content-type", b"application/octet-stream"), length(1023)], b"x" * 1023),
        (Response(b"x" * 1024), [(b"content-type", b"application/octet-stream"), length(1024)], b"x" * 1024),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_head_says_type_and_length(
    response: Response, fields: list[tuple[bytes, bytes]], body: bytes, method: str
) -> None:
    """HEAD has the head of GET."""
    assert response.start(method) == (200, fields)
    assert response.body == body


@pytest.mark.parametrize(
    ("content", "media_type", "expected"),
    [
        ("a", "text/csv", b"text/csv; charset=utf-8"),
        ("a", "TEXT/csv", b"TEXT/csv; charset=utf-8"),
        ("a", "text/csv; charset=latin-1", b"text/csv; charset=latin-1"),
        ("a", "text/csv;Charset=utf-8", b"text/csv;Charset=utf-8"),
        ("{}", "application/json", b"application/json"),
        (b"a", "text/csv", b"text/csv"),
        (b"a", "image/svg+xml", b"image/svg+xml"),
    ],
)
def test_text_has_its_charset_said(content: str | bytes, media_type: str, expected: bytes) -> None:
    """What we encoded we know; of bytes we do not."""
    assert Response(content, media_type=media_type).start("GET")[1][0] == (b"content-type", expected)


@pytest.mark.parametrize("media_type", ["", "json", "/", "text/", "/plain", "; charset=utf-8", " / "])
def test_a_media_type_has_two_parts(media_type: str) -> None:
    """The likely mistake is its second half alone."""
    with pytest.raises(ValueError, match="is not a media type"):
        Response("a", media_type=media_type)


def test_a_media_type_cannot_forge_a_header() -> None:
    """It is a header's value like any other."""
    with pytest.raises(ValueError, match=r"RFC 9110 section 5\.5"):
        content_type("text/plain\r\nset-cookie: a=1")


def test_starting_changes_nothing_and_gives_new_lists() -> None:
    """A response may be shared by requests, and whoever sends it may add to the fields."""
    for response in (Text("x"), Text("x", headers={"x-a": "1"}), Text("x", status=404)):
        first = response.start("GET")
        first[1].append((b"date", b"now"))
        assert (b"date", b"now") not in response.start("GET")[1]


def test_the_type_is_among_the_headers() -> None:
    """Middleware can read, replace and delete it."""
    response = Text("x")
    assert dict(response.headers) == {"content-type": "text/plain; charset=utf-8"}
    response.headers["content-type"] = "text/markdown"
    assert response.start("GET") == (200, [(b"content-type", b"text/markdown"), length(1)])
    del response.headers["content-type"]
    assert response.start("GET") == (200, [length(1)])


def test_a_type_among_the_headers_wins() -> None:
    """Over the class's own and over `media_type`, and there is only one."""
    response = Response("x", media_type="text/csv", headers={"Content-Type": "text/tab-separated-values"})
    assert response.start("GET")[1] == [(b"content-type", b"text/tab-separated-values"), length(1)]


def test_status_body_and_headers_can_be_changed_until_it_is_sent() -> None:
    """The head follows."""
    response = Text("x")
    response.status = 202
    response.body = b"xyz"
    response.headers["x-a"] = "1"
    response.headers.add("x-a", "2")
    assert response.start("GET") == (202, [TEXT, (b"x-a", b"1"), (b"x-a", b"2"), length(3)])


@pytest.mark.parametrize("status", [200, 201, 206, 299, 303, 400, 404, 499, 500, 503, 599, HTTPStatus.CREATED])
def test_a_status_that_http_has_is_sent(status: int) -> None:
    """As a plain int: `HTTPStatus` is for people."""
    sent, _ = Text("x", status=status).start("GET")
    assert sent == status
    assert type(sent) is int


@pytest.mark.parametrize("status", [100, 101, 103, 199, 0, -200, 99, 600, 999, "200", 201.0, None, True, "OK"])
def test_any_other_status_is_refused(status: Any) -> None:
    """At the line that gives it, and when it was put in afterwards, before it is sent."""
    with pytest.raises(ResponseError):
        Text("x", status=status)
    response = Text("x")
    response.status = status
    with pytest.raises(ResponseError):
        response.start("GET")


def test_the_refusal_of_1xx_says_whose_it_is() -> None:
    """What came, the reason, the remedy."""
    with pytest.raises(ResponseError) as caught:
        Response(status=103)
    assert str(caught.value) == (
        "103 cannot be the status of a response: 1xx is for the server to send (RFC 9110 section 15).\nUse 200 to 599."
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("status", "fields"), [(204, []), (304, []), (205, [length(0)])])
def test_a_response_without_content_has_neither_type_nor_length(
    status: int, fields: list[tuple[bytes, bytes]], method: str
) -> None:
    """RFC 9110 section 8.6; 205 says that it is empty (section 15.3.6)."""
    assert Response(status=status).start(method) == (status, fields)
    assert Text("", status=status).start(method) == (status, fields)
    assert Text("", status=status, headers={"etag": '"1"'}).start(method) == (
        status,
        [(b"etag", b'"1"'), *fields],
    )


@pytest.mark.parametrize("status", [204, 205, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_content_where_there_can_be_none_is_refused(status: int, method: str) -> None:
    """For HEAD too, which would otherwise hide the fault of GET."""
    with pytest.raises(ResponseError, match=f"{status} has no content .*has 1 bytes"):
        Text("x", status=status).start(method)


@pytest.mark.parametrize(
    ("response", "method", "fields"),
    [
        (Text("abc", headers={"content-length": "3"}), "GET", [TEXT, length(3)]),
        (Text("abc", headers={"content-length": "3"}), "HEAD", [TEXT, length(3)]),
        (Text("abc", headers={"content-length": "003"}), "GET", [TEXT, length(3)]),
        (Response(headers={"content-length": "1000"}), "HEAD", [length(1000)]),
        (Response(headers={"content-length": "0"}), "GET", [length(0)]),
        (Response(status=204, headers={"content-length": "0"}), "GET", []),
        (Response(status=304, headers={"content-length": "1000"}), "GET", []),
    ],
)
def test_a_length_set_by_hand_is_sent_when_it_is_right(
    response: Response, method: str, fields: list[tuple[bytes, bytes]]
) -> None:
    """Only a handler of its own for HEAD may say a length that we cannot count."""
    assert response.start(method)[1] == fields


@pytest.mark.parametrize(
    ("response", "method", "message"),
    [
        (Text("abc", headers={"content-length": "2"}), "GET", "is 2, but the body has 3 bytes"),
        (Text("abc", headers={"content-length": "4"}), "GET", "is 4, but the body has 3 bytes"),
        (Text("é", headers={"content-length": "1"}), "GET", "is 1, but the body has 2 bytes"),
        (Text("abc", headers={"content-length": "4"}), "HEAD", "is 4, but the body has 3 bytes"),
        (Response(headers={"content-length": "1"}), "GET", "is 1, but the body has 0 bytes"),
        (Response(status=204, headers={"content-length": "1"}), "GET", "is 1, but the body has 0 bytes"),
        (Text("abc", headers={"content-length": "-3"}), "GET", "not a number of bytes"),
        (Text("abc", headers={"content-length": "+3"}), "GET", "not a number of bytes"),
        (Text("abc", headers={"content-length": "3, 3"}), "GET", "not a number of bytes"),
        (Text("abc", headers={"content-length": "0x3"}), "GET", "not a number of bytes"),
        (Text("abc", headers={"content-length": "\u00b3"}), "GET", "not a number of bytes"),
        (Text("abc", headers={"content-length": ""}), "HEAD", "not a number of bytes"),
        (Response(headers={"content-length": "9" * 5000}), "HEAD", "not a number of bytes"),
        (Text("abc", headers={"transfer-encoding": "chunked"}), "GET", "Transfer-Encoding is the server's"),
        (Text("", status=204, headers={"Transfer-Encoding": "chunked"}), "GET", "Transfer-Encoding"),
    ],
)
def test_a_framing_that_is_wrong_is_refused(response: Response, method: str, message: str) -> None:
    """A wrong length is how one response is taken for two."""
    with pytest.raises(ResponseError) as caught:
        response.start(method)
    assert message in str(caught.value)


def test_a_length_set_twice_is_refused() -> None:
    """Even when both are right: intermediaries differ (RFC 9110 section 8.6)."""
    response = Text("abc", headers={"content-length": "3"})
    response.headers.add("content-length", "3")
    with pytest.raises(ResponseError, match="set twice"):
        response.start("GET")


@pytest.mark.parametrize("content", [None, 5, {"a": 1}, ["a"], object()])
def test_content_is_text_or_bytes(content: Any) -> None:
    """A value is for JSON."""
    with pytest.raises(TypeError, match=r"return JSON\(value\)"):
        Response(content)


def test_a_body_replaced_by_text_is_refused_with_the_remedy() -> None:
    """Its length would be counted in characters."""
    response = Text("x")
    response.body = "é"  # type: ignore[assignment]
    with pytest.raises(ResponseError, match=r"replaced by str.*\n.*response.body = text.encode\(\)"):
        response.start("GET")


@pytest.mark.parametrize("headers", [{"x-a": "1\r\n"}, {"x a": "1"}, {"x-a": "\x00"}])
def test_a_bad_header_is_refused_at_the_line_that_makes_the_response(headers: dict[str, str]) -> None:
    """So that the traceback shows it."""
    with pytest.raises(ValueError, match="RFC 9110"):
        Text("x", headers=headers)


def test_cookies_are_fields_of_their_own() -> None:
    """One for each call, in order."""
    response = Text("x")
    response.set_cookie("a", "1", max_age=60, httponly=True)
    response.delete_cookie("b")
    assert response.headers.getlist("set-cookie") == [
        "a=1; Max-Age=60; Path=/; HttpOnly; SameSite=Lax",
        "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax",
    ]
    with pytest.raises(ValueError, match="Secure"):
        response.set_cookie("c", "1", samesite="none")
    assert len(response.headers.getlist("set-cookie")) == 2


def test_every_option_of_a_cookie_arrives() -> None:
    """None of them is lost between the response and the writer."""
    response = Response()
    options: dict[str, Any] = {
        "path": "/x",
        "domain": "example.com",
        "secure": True,
        "httponly": True,
        "samesite": "none",
        "partitioned": True,
    }
    response.set_cookie("a", "1", **options)
    response.delete_cookie("a", **options)
    end = "Domain=example.com; Path=/x; Secure; HttpOnly; SameSite=None; Partitioned"
    assert response.headers.getlist("set-cookie") == [
        f"a=1; {end}",
        f"a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; {end}",
    ]


def test_another_status_is_put_on_a_copy() -> None:
    """The original may be shared by requests."""
    original = Text("x", headers={"x-a": "1"})
    copied = with_status(original, 201, {"x-b": "2"})
    assert type(copied) is Text
    assert copied.start("GET") == (201, [TEXT, (b"x-a", b"1"), (b"x-b", b"2"), length(1)])
    assert original.start("GET") == (200, [TEXT, (b"x-a", b"1"), length(1)])


def test_the_repr_shows_what_it_is_but_not_the_body() -> None:
    """Bodies may be large, and private."""
    assert repr(Text("abc", status=404)) == "<Text 404, 3 bytes>"


@given(
    st.text(max_size=20).filter(lambda text: not any(0xD800 <= ord(c) <= 0xDFFF for c in text)),
    st.integers(200, 599),
    st.dictionaries(st.sampled_from(["x-a", "etag", "vary"]), st.just("1")),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_what_starts_has_one_length_which_is_the_body_s(
    text: str, status: int, headers: dict[str, str], method: str
) -> None:
    """The framing is right for whatever is not refused."""
    response = Text(text, status=status, headers=headers)
    try:
        sent, fields = response.start(method)
    except ResponseError:
        assert status in (204, 205, 304)
        assert text
        return
    lengths = [value for name, value in fields if name == b"content-length"]
    assert lengths == ([] if status in (204, 304) else [b"%d" % len(text.encode())])
    assert sent == status
