"""A file as a response: its head and its bytes."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from trivet import File, Response, _file
from trivet._descriptor import Descriptor
from trivet._file import PIECE, entity_tag, prepare
from trivet._results import to_response
from trivet.errors import HTTPError, ResponseError

SECOND = 1_000_000_000
THEN = 784111777 * SECOND + 5
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.txt"
    path.write_bytes(b"0123456789")
    os.utime(path, ns=(THEN, THEN))
    return path


def prepared(file: File, method: str = "GET", **headers: str) -> tuple[Response, int]:
    descriptor = Descriptor()
    try:
        with descriptor.used():
            return prepare(file, method, {name.replace("_", "-"): value for name, value in headers.items()}, descriptor)
    finally:
        descriptor.close()


def tag_of(path: Path) -> str:
    return f'"{THEN:x}-{path.stat().st_size:x}"'


def test_a_file_has_its_length_type_and_validators(path: Path) -> None:
    """All that a client needs to keep it, and to ask for the rest of it."""
    response, rest = prepared(File(path))
    assert rest == 0
    assert response.body == b"0123456789"
    assert dict(response.headers) == {
        "content-type": "text/plain; charset=utf-8",
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": tag_of(path),
        "last-modified": DATE,
        "content-length": "10",
    }


def test_what_the_application_sets_wins(path: Path) -> None:
    """Its own entity tag is the one that is compared, too."""
    file = File(path, media_type="text/x-log", headers={"etag": '"mine"', "cache-control": "no-cache"})
    file.headers["last-modified"] = "Sun, 06 Nov 1994 00:00:00 GMT"
    del file.headers["x-content-type-options"]
    response, _ = prepared(file)
    assert response.headers["etag"] == '"mine"'
    assert response.headers["last-modified"] == "Sun, 06 Nov 1994 00:00:00 GMT"
    assert response.headers["content-type"] == "text/x-log; charset=utf-8"
    assert "x-content-type-options" not in response.headers
    assert prepared(file, if_none_match='"mine"')[0].status == 304
    assert prepared(file, if_none_match=tag_of(path))[0].status == 200


def test_one_that_is_shared_stays_as_it_is(path: Path) -> None:
    """What is found out for one request is not written into it."""
    file = File(path)
    before = dict(file.headers)
    prepared(file, range="bytes=1-2")
    assert (file.status, file.body, dict(file.headers)) == (200, b"", before)


def test_head_is_what_get_has_and_reads_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a byte; and `Range` means nothing to it (RFC 9110 section 14.2)."""
    expected = prepared(File(path))[0].start("GET")
    monkeypatch.delattr(Descriptor, "read")
    assert prepared(File(path), "HEAD")[0].start("HEAD") == expected
    assert prepared(File(path), "HEAD", range="bytes=1-2")[0].start("HEAD") == expected
    assert prepared(File(path), "HEAD", if_none_match=tag_of(path))[0].status == 304


def test_a_304_has_no_more_than_it_should(path: Path) -> None:
    """RFC 9110 section 15.4.5: what guides caches, and nothing about the content."""
    file = File(path, download=True, headers={"cache-control": "max-age=5", "vary": "cookie"})
    response, rest = prepared(file, if_modified_since=DATE)
    status, fields = response.start("GET")
    assert (status, rest) == (304, 0)
    assert {name.decode() for name, _ in fields} == {"etag", "cache-control", "vary", "x-content-type-options"}


@pytest.mark.parametrize(
    ("headers", "status", "body", "content_range"),
    [
        ({"range": "bytes=2-4"}, 206, b"234", "bytes 2-4/10"),
        ({"range": "bytes=-3"}, 206, b"789", "bytes 7-9/10"),
        ({"range": "bytes=-30"}, 206, b"0123456789", "bytes 0-9/10"),
        ({"range": "bytes=9-"}, 206, b"9", "bytes 9-9/10"),
        ({"range": "bytes=1-2,4-5"}, 200, b"0123456789", None),
        ({"range": "bytes=1-2", "if_range": "TAG"}, 206, b"12", "bytes 1-2/10"),
        ({"range": "bytes=1-2", "if_range": DATE}, 206, b"12", "bytes 1-2/10"),
        ({"range": "bytes=1-2", "if_range": "W/TAG"}, 200, b"0123456789", None),
        ({"range": "bytes=1-2", "if_range": '"other"'}, 200, b"0123456789", None),
        ({"range": "bytes=99-", "if_range": '"other"'}, 200, b"0123456789", None),
        ({"range": "bytes=1-2", "if_match": "TAG"}, 206, b"12", "bytes 1-2/10"),
        ({"range": "bytes=1-2", "if_none_match": '"other"'}, 206, b"12", "bytes 1-2/10"),
        ({"range": "bytes=1-2", "if_none_match": "TAG"}, 304, b"", None),
        ({"range": "bytes=99-", "if_none_match": "TAG"}, 304, b"", None),
    ],
)
def test_a_part_is_sent_after_the_preconditions(
    headers: dict[str, str], status: int, body: bytes, content_range: str | None, path: Path
) -> None:
    """In RFC 9110's order: preconditions, `If-Range`, `Range`."""
    fields = {name: value.replace("TAG", tag_of(path)) for name, value in headers.items()}
    response, _ = prepared(File(path), **fields)
    assert (response.status, response.body) == (status, body)
    assert response.headers.get("content-range") == content_range


def test_a_date_is_no_match_while_the_file_may_change_within_its_second(path: Path) -> None:
    """The whole is sent, as with our weak tag of the same moment: two halves of two versions would be worse."""
    os.utime(path)
    date = prepared(File(path))[0].headers["last-modified"]
    response, _ = prepared(File(path), range="bytes=1-2", if_range=date)
    assert (response.status, response.body) == (200, b"0123456789")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"range": "bytes=10-"}, 416), ({"if_match": '"other"'}, 412), ({"range": "bytes=99-", "if_match": '"x"'}, 412)],
)
def test_what_cannot_be_had_is_an_error(headers: dict[str, str], status: int, path: Path) -> None:
    """One that catchers see; a 416 says how long the file is (RFC 9110 section 15.5.17)."""
    with pytest.raises(HTTPError) as raised:
        prepared(File(path), **headers)
    assert raised.value.status == status
    assert raised.value.headers == ({"content-range": "bytes */10"} if status == 416 else {})


@pytest.mark.parametrize(("status", "method"), [(404, "GET"), (200, "POST"), (206, "GET")])
def test_only_the_file_itself_is_compared(status: int, method: str, path: Path) -> None:
    """A page that explains an error, or the result of a POST, is not the resource (RFC 9110 section 13.2.1)."""
    file = to_response((status, File(path)))
    assert isinstance(file, File)
    response, _ = prepared(file, method, if_none_match="*", range="bytes=1-2", if_match='"other"')
    assert (response.status, response.body) == (status, b"0123456789")
    assert not {"etag", "last-modified", "accept-ranges", "content-range"} & set(response.headers)


def test_a_large_file_is_left_to_be_read(path: Path) -> None:
    """What is more than a piece; of a range, what is asked for."""
    path.write_bytes(bytes(PIECE) + b"end")
    response, rest = prepared(File(path))
    assert (response.body, rest, response.headers["content-length"]) == (b"", PIECE + 3, str(PIECE + 3))
    response, rest = prepared(File(path), range=f"bytes={PIECE}-")
    assert (response.body, rest, response.headers["content-length"]) == (b"end", 0, "3")


def test_an_empty_file_is_sent(path: Path) -> None:
    """With a length of zero, whatever part of it is asked for."""
    path.write_bytes(b"")
    response, rest = prepared(File(path), range="bytes=0-5")
    assert (response.start("GET")[0], response.headers["content-length"], rest) == (200, "0", 0)


@pytest.mark.parametrize("name", ["none", "file.txt/below", "a\0b", "\ud83d", "x" * 5000, ".", "fifo", "loop"])
def test_what_is_not_there_is_not_found(name: str, path: Path) -> None:
    """Nor is what could never be there, or is no file."""
    os.mkfifo(path.parent / "fifo")
    (path.parent / "loop").symlink_to("loop")
    with pytest.raises(HTTPError) as raised:
        prepared(File(os.path.join(path.parent, name)))
    assert (raised.value.status, raised.value.detail) == (404, "")


@pytest.mark.parametrize(("number", "status"), [(errno.EACCES, 403), (errno.EPERM, 403), (errno.EMFILE, None)])
def test_an_operators_mistake_is_logged_and_trouble_is_no_404(
    number: int, status: int | None, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What may not be read is a 403 and a warning; a system without descriptors is an error like others."""

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    if status is None:
        with pytest.raises(OSError, match="Too many open files"):
            prepared(File(path))
        return
    with pytest.raises(HTTPError) as raised:
        prepared(File(path))
    assert raised.value.status == status
    assert f"{str(path)!r}> may not be read" in caplog.text


def test_a_file_that_changes_while_it_is_read_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Body and entity tag belong together; one that never rests is an error."""
    read, left = Descriptor.read, [1]

    def change(self: Descriptor, size: int) -> bytes:
        data = read(self, size)
        if left.pop():
            path.write_bytes(b"shorter")
            os.utime(path, ns=(THEN + len(left), THEN + len(left)))
        return data

    monkeypatch.setattr(Descriptor, "read", change)
    left[:] = [0, 1]
    response, _ = prepared(File(path))
    assert (response.body, response.headers["content-length"]) == (b"shorter", "7")
    left[:] = [1, 1, 1]
    with pytest.raises(ResponseError, match="changes faster than it can be read"):
        prepared(File(path))


@pytest.mark.parametrize(
    ("modified", "now", "strong"),
    [
        (THEN, THEN + SECOND, True),
        (THEN, THEN + 50_000_000, False),
        (THEN, THEN - SECOND, False),
        (THEN - 5, THEN + SECOND, False),  # a file system of whole seconds
        (THEN - 5, THEN + 3 * SECOND, True),
    ],
)
def test_a_tag_is_strong_once_the_file_cannot_change_unseen(modified: int, now: int, strong: bool, path: Path) -> None:
    """Within the tick of the clock that its time is taken from, two versions have the same tag."""
    os.utime(path, ns=(modified, modified))
    tag = entity_tag(path.stat(), now)
    assert tag.removeprefix("W/") == f'"{modified:x}-a"'
    assert tag.startswith('"') is strong


def test_a_file_from_the_future_was_changed_now(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 section 8.8.2.1: no `Last-Modified` after `Date`."""
    monkeypatch.setattr(_file.time, "time_ns", lambda: THEN - 500 * SECOND)
    assert prepared(File(path))[0].headers["last-modified"] == "Sun, 06 Nov 1994 08:41:17 GMT"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"download": True}, 'attachment; filename="file.txt"'),
        ({"filename": "a.txt"}, 'inline; filename="a.txt"'),
        ({"filename": "a.txt", "download": True}, 'attachment; filename="a.txt"'),
    ],
)
def test_a_name_and_whether_to_save(options: dict[str, Any], expected: str | None, path: Path) -> None:
    """`download` takes the file's own name if there is no other."""
    assert File(path, **options).headers.get("content-disposition") == expected


def test_the_name_that_the_client_sees_says_the_type(tmp_path: Path) -> None:
    """A store of files by number, say."""
    assert File(tmp_path / "4711", filename="a.png").headers["content-type"] == "image/png"


@pytest.mark.parametrize("value", [b"/bytes", 3, None, open])
def test_what_is_no_path_is_refused(value: Any) -> None:
    """With the remedy for what is probably meant."""
    with pytest.raises(TypeError, match=r"File takes the path of a file, not"):
        File(value)
