"""Forms as bytes: what is read, whatever the chunks; what is refused, and how; which names files may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet._markers import FormLimits
from trivet._multipart import FILE_END, Event, FileEnd, FileStart, TextField, form_reader, plain_name
from trivet.errors import InvalidInput, RegistrationError

MULTIPART = "multipart/form-data; boundary=X"
URLENCODED = "application/x-www-form-urlencoded"
NO_LIMITS = FormLimits()


def part(name: str, data: str, rest: str = "", header: str = "") -> str:
    return f'--X\r\nContent-Disposition: form-data; name="{name}"{rest}\r\n{header}\r\n{data}\r\n'


def multipart(*parts: str) -> bytes:
    return "".join([*parts, "--X--\r\n"]).encode()


def read(raw: bytes, content_type: str | None = MULTIPART, limits: FormLimits = NO_LIMITS, *, by: int = 0) -> list[Any]:
    """Texts as pairs, files as (name, filename, type, data), in order."""
    reader = form_reader(content_type, None, limits)
    found: list[Any] = []
    start: FileStart | None = None
    data = b""
    chunks = [raw[at : at + by] for at in range(0, len(raw), by)] if by else [raw] if raw else []

    def events() -> Iterator[Event]:
        for chunk in chunks:
            yield from reader.feed(chunk)
        yield from reader.end()

    for event in events():
        if isinstance(event, TextField):
            found.append(tuple(event))
        elif isinstance(event, FileStart):
            start, data = event, b""
        elif isinstance(event, FileEnd):
            assert start is not None
            found.append((start.name, start.filename, start.content_type, data))
        else:
            data += event
    return found


FORM = multipart(
    part("a", "1"),
    part("f", "line --X\r\n--not\r\n", '; filename="C:\\\\dir\\\\ü.txt"', "Content-Type: text/plain\r\n"),
    part("empty", "", '; filename=""', "Content-Type: application/octet-stream\r\n"),
    part("a", "ü"),
    part("n", "", '; filename="zero"'),
)
FOUND = [("a", "1"), ("f", "ü.txt", "text/plain", b"line --X\r\n--not\r\n"), ("a", "ü")]
FOUND_ALL: list[Any] = [*FOUND, ("n", "zero", "application/octet-stream", b"")]


@pytest.mark.parametrize("by", [0, 1, 2, 3, 7, 50])
def test_a_multipart_form_is_the_same_however_it_is_cut(by: int) -> None:
    """Fields, files, an input that was left empty and is none, a file of no bytes that is one."""
    assert read(FORM, by=by) == FOUND_ALL


@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(1, 40))
def test_any_bytes_come_back(files: list[bytes], by: int) -> None:
    """Whatever a file holds, short of the boundary itself, wherever the chunks end."""
    files = [data for data in files if b"--X" not in data]
    raw = b"".join(
        b'--X\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + data + b"\r\n" for data in files
    )
    assert [each[3] for each in read(raw + b"--X--", by=by)] == files


@given(st.lists(st.tuples(st.text(min_size=1, max_size=10), st.text(max_size=10)), max_size=5), st.integers(1, 9))
def test_an_urlencoded_form_is_a_query(fields: list[tuple[str, str]], by: int) -> None:
    """As browsers write it."""
    fields = [(name, value) for name, value in fields if not any(0xD800 <= ord(each) < 0xE000 for each in name + value)]
    assert read(urlencode(fields).encode(), URLENCODED, by=by) == fields


@given(st.binary(max_size=300), st.integers(1, 50))
def test_rubbish_is_read_or_refused(raw: bytes, by: int) -> None:
    """With 400 or 413, never another error."""
    for content_type in (MULTIPART, URLENCODED):
        try:
            read(raw, content_type, by=by)
            status = 400
        except InvalidInput as error:
            status = error.status
        assert status in (400, 413)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("text/plain", 415),
        ("application/json", 415),
        ("multipart/mixed; boundary=X", 415),
        ("multipart/form-data; boundary=X; boundary=Y", 400),
        ("multipart/form-data; boundary=X;Boundary =X", 400),
        ("multipart/form-data; boundary=X; charset=latin-1", 415),
        ("application/x-www-form-urlencoded; charset=utf-16", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        (f"multipart/form-data; boundary={'x' * 201}", 400),
        ('multipart/form-data; boundary="a\tb"', 400),
        ("multipart/form-data; boundary=\xfc", 400),
    ],
)
def test_what_is_no_form_is_refused(content_type: str | None, status: int) -> None:
    """415, or 400 if it is one whose boundary is missing."""
    with pytest.raises(InvalidInput) as caught:
        form_reader(content_type, None, NO_LIMITS)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/form-data; boundary="X"',
        "Multipart/Form-Data; charset=UTF-8; BOUNDARY=X",
        f"multipart/form-data; boundary={'x' * 200}",
        "application/x-www-form-urlencoded; charset=utf-8",
        " application/x-www-form-urlencoded",
    ],
)
def test_forms_by_other_spellings(content_type: str) -> None:
    """A media type has no case, a parameter may be quoted."""
    form_reader(content_type, "identity", NO_LIMITS)
    with pytest.raises(InvalidInput, match="content coding"):
        form_reader(content_type, "gzip", NO_LIMITS)


def twice(rest: bytes) -> bytes:
    return b"--X\r\nContent-Disposition: form-data; " + rest + b"\r\n\r\n1\r\n--X--"


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        (b'name="a; name=b"', ("a; name=b", "1")),
        (b'name="a\\"b"', ('a"b', "1")),
        (b'name="a"; filename="C:\\d\\"', ("a", "", "application/octet-stream", b"1")),
        (b"name=a; filename=b; filename*=UTF-8''c", ("a", "b", "application/octet-stream", b"1")),
        (b"name=a; size=1; filename=b", ("a", "b", "application/octet-stream", b"1")),
    ],
)
def test_what_a_part_says_once_is_read(rest: bytes, found: Any) -> None:
    """Quoted text is no parameter; of a name in two forms, as .NET sends it, the one that RFC 7578 knows counts."""
    assert read(twice(rest)) == [found]


def named(data: bytes) -> bytes:
    return b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + data


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"rubbish",
        b"--X",
        named(b"1"),
        named(b"1\r\n--X"),
        named(b"1\r\n--X\r\n"),
        named(b"\xff\r\n--X--"),
        b"--X\r\n\r\n1\r\n--X--",
        b"--X\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--X--",
        b"--X\r\nContent-Disposition: form-data\r\n\r\n1\r\n--X--",
        b'--X\r\nContent-Disposition: form-data; name=""\r\n\r\n1\r\n--X--',
        b"--X\r\nno colon\r\n\r\n1\r\n--X--",
        twice(b'name="a"\r\nContent-Disposition: form-data; name="b"'),
        twice(b'name="a"; name="b"'),
        twice(b"name=a; NAME =a"),
        twice(b'name="a"; filename="a"; filename="b"'),
        twice(b'name="a\\"; name="b"'),
        twice(b"name=a; filename*=UTF-8''b"),
        b"--X\nContent-Disposition: form-data; name=a\n\n1\n--X--",
        b'--X\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n1\r\n--X--',
        b"--X\r\nA: " + b"a" * 5000 + b"\r\n\r\n1\r\n--X--",
        b"--X\r\n" + b"A: b\r\n" * 20 + b"\r\n1\r\n--X--",
        b"--X\r\n" + b"a" * 5000,
    ],
)
def test_a_malformed_multipart_form_is_refused(raw: bytes) -> None:
    """400, at any cut, and the answer holds nothing of what was sent."""
    for by in (0, 1):
        with pytest.raises(InvalidInput) as caught:
            read(raw, by=by)
        assert caught.value.status == 400
        assert "aaaa" not in caught.value.detail
        assert "no colon" not in caught.value.detail


@pytest.mark.parametrize("raw", [b"a=%", b"a=%zz", b"a=\xff", b"a=%ff"])
def test_a_malformed_urlencoded_form_is_refused(raw: bytes) -> None:
    """400, as for a query, and the message says that it is the form."""
    with pytest.raises(InvalidInput, match="form") as caught:
        read(raw, URLENCODED)
    assert caught.value.status == 400


FILES = [part("f", "12345", '; filename="f"')] * 3
TEXTS = [part("t", "12345")] * 3


@pytest.mark.parametrize(
    ("raw", "content_type", "limits", "what"),
    [
        (multipart(*FILES, *TEXTS), MULTIPART, FormLimits(max_parts=5), "more than 5 fields"),
        (multipart(*FILES, *TEXTS), MULTIPART, FormLimits(max_files=2), "more than 2 files"),
        (multipart(*FILES), MULTIPART, FormLimits(max_file=4), "larger than 4 bytes"),
        (multipart(*TEXTS), MULTIPART, FormLimits(max_text=17), "more than 17 bytes"),
        (multipart(*[part("t", "")] * 1001), MULTIPART, NO_LIMITS, "more than 1000 fields"),
        (multipart(*[part("t", "", '; filename="f"')] * 101), MULTIPART, NO_LIMITS, "more than 100 files"),
        (multipart(part("t", "x" * 1024 * 1024)), MULTIPART, NO_LIMITS, "more than 1048576 bytes"),
        (b"a=1&b=2&c=3", URLENCODED, FormLimits(max_parts=2), "more than 2 fields"),
        (b"a=1&b=2&c=3", URLENCODED, FormLimits(max_text=10), "more than 10 bytes"),
        (b"a=1&" * 1001, URLENCODED, NO_LIMITS, "more than 1000 fields"),
        (b"a" * (1024 * 1024 + 1), URLENCODED, NO_LIMITS, "more than 1048576 bytes"),
    ],
)
def test_a_form_that_breaks_a_limit_is_refused(raw: bytes, content_type: str, limits: FormLimits, what: str) -> None:
    """413, with the limit."""
    with pytest.raises(InvalidInput, match=what) as caught:
        read(raw, content_type, limits)
    assert caught.value.status == 413


def test_a_form_at_its_limits_is_read() -> None:
    """The bounds are what may be, not what may not."""
    limits = FormLimits(max_parts=6, max_files=3, max_text=18, max_file=5)
    assert len(read(multipart(*FILES, *TEXTS), MULTIPART, limits)) == 6
    assert len(read(b"a=1&b=2&c=3", URLENCODED, FormLimits(max_parts=3, max_text=11))) == 3
    assert read(b"", URLENCODED, FormLimits(max_parts=0)) == []


@pytest.mark.parametrize("value", [-1, 1.5, "1", True])
def test_limits_are_numbers(value: Any) -> None:
    """Anything else is refused where it is written."""
    with pytest.raises(RegistrationError, match="max_files"):
        FormLimits(max_files=value)


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("..", ""),
        ("...", ""),
        (".", ""),
        ("/", ""),
        ("a/..", ""),
        ("a\x00b\r\n.txt", "ab.txt"),
        (".profile", ".profile"),
        ("\u202egpj.exe", "gpj.exe"),
        ("ü" * 300, "ü" * 255),
    ],
)
def test_the_name_of_a_file_is_never_a_path(given_name: str, kept: str) -> None:
    """Its last component, without what does not show."""
    assert plain_name(given_name) == kept
    assert FILE_END is not None
