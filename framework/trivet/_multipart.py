"""Forms as they come over the wire: bytes in, fields and files out, within limits.

This file owns the two syntaxes (urlencoded, by `_query`; multipart, by the package `multipart`), the limits of a form,
and which answer a form gets that breaks a rule: 400 malformed, 413 too much, 415 no form. It is given bytes and reads
none; where the bytes of a file go is `_upload`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from multipart import (  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    MultipartError,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,  # pyright: ignore[reportUnknownVariableType]
)

from ._body import check_coding, media_type
from ._markers import FormLimits
from ._query import parse as parse_query
from .errors import InvalidInput

URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"

MAX_PARTS: Final = 1000
"""As many as a query may have: Werkzeug's and Starlette's bound."""
MAX_FILES: Final = 100
"""Django's `DATA_UPLOAD_MAX_NUMBER_FILES`."""
MAX_TEXT: Final = 1024 * 1024
"""Bytes. Starlette allows that to each field, which with a thousand fields is a gigabyte."""

_BOUNDARY_MAX: Final = 200  # RFC 2046 section 5.1.1 says 70, and some clients did not read it


_QUOTED: Final = (re.compile(r'"(?:\\.|[^"\\])*(?:"|\\?$)', re.DOTALL), re.compile(r'"[^"]*(?:"|$)'))
_BOUNDARY: Final = re.compile(r";\s*boundary\s*=", re.IGNORECASE)


class TextField(NamedTuple):
    """A field that is not a file, whole."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FileStart:
    """Here a file begins; its bytes follow, then `FILE_END`."""

    name: str
    filename: str
    """The last component of what the client said, without control characters: never a path."""
    content_type: str
    headers: Sequence[tuple[bytes, bytes]]


class FileEnd:
    """The type of `FILE_END`."""


FILE_END: Final = FileEnd()

Event: TypeAlias = TextField | FileStart | bytes | FileEnd


class FormReader(Protocol):
    """Reads one form."""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """What `chunk` completes. To be exhausted before the next one.

        Raises:
            InvalidInput: 400 or 413.
        """
        ...

    def end(self) -> Iterator[Event]:
        """What the end of the body completes.

        Raises:
            InvalidInput: 400, it comes too early, or as for `feed`.
        """
        ...


def form_reader(content_type: str | None, content_encoding: str | None, limits: FormLimits) -> FormReader:
    """The reader of a form of this type.

    Raises:
        InvalidInput: 415, it is no form; 400, a multipart form without a boundary.
    """
    check_coding(content_encoding)
    if content_type is None:
        raise InvalidInput(415, f"the body has no Content-Type: send {MULTIPART} or {URLENCODED}")
    media, _ = media_type(content_type)
    if media not in (URLENCODED, MULTIPART):
        raise InvalidInput(415, f"the body is not a form: send Content-Type: {MULTIPART} or {URLENCODED}")
    parameters: dict[str, str] = parse_options_header(content_type)[1]
    if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise InvalidInput(415, "forms are read as UTF-8: send it without another charset")
    if media == URLENCODED:
        return _Urlencoded(_Budget(limits))
    if len(_BOUNDARY.findall(content_type)) > 1:
        raise InvalidInput(400, "the Content-Type of a multipart form names more than one boundary")
    boundary = parameters.get("boundary", "")
    if not boundary or len(boundary) > _BOUNDARY_MAX or not boundary.isascii() or not boundary.isprintable():
        raise InvalidInput(
            400, f"the Content-Type of a multipart form names a boundary of 1 to {_BOUNDARY_MAX} characters"
        )
    return _Multipart(boundary, _Budget(limits))


class _Budget:
    """What a form may still hold."""

    __slots__ = ("_files", "_limits", "_parts", "_text")

    def __init__(self, limits: FormLimits) -> None:
        self._limits = limits
        self._parts = MAX_PARTS if limits.max_parts is None else limits.max_parts
        self._files = MAX_FILES if limits.max_files is None else limits.max_files
        self._text = MAX_TEXT if limits.max_text is None else limits.max_text

    @property
    def parts(self) -> int:
        """How many fields and files there may be."""
        return self._parts

    def part(self, so_far: int) -> None:
        """One more part: this many in all."""
        if so_far > self._parts:
            raise InvalidInput(413, f"the form has more than {self._parts} fields")

    def file(self, so_far: int) -> None:
        """One more file: this many in all."""
        if so_far > self._files:
            raise InvalidInput(413, f"the form has more than {self._files} files")

    def text(self, so_far: int) -> None:
        """More text: this many bytes in all."""
        if so_far > self._text:
            raise InvalidInput(413, f"the fields of the form have more than {self._text} bytes")

    def size(self, so_far: int) -> None:
        """More of a file: this many bytes of it."""
        most = self._limits.max_file
        if most is not None and so_far > most:
            raise InvalidInput(413, f"a file of the form is larger than {most} bytes")


def check_again(limits: FormLimits, *, parts: int, files: int, text: int, largest: int) -> None:
    """Hold a form that has been read already against the limits that somebody says now.

    Raises:
        InvalidInput: 413.
    """
    budget = _Budget(limits)
    if limits.max_parts is not None:
        budget.part(parts)
    if limits.max_files is not None:
        budget.file(files)
    if limits.max_text is not None:
        budget.text(text)
    budget.size(largest)


class _Urlencoded:
    def __init__(self, budget: _Budget) -> None:
        self._budget = budget
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        self._size += len(chunk)
        self._budget.text(self._size)
        self._chunks.append(chunk)
        return iter(())

    def end(self) -> Iterator[Event]:
        raw = b"".join(self._chunks)
        self._budget.part(raw.count(b"&") + bool(raw))
        for name, value in parse_query(raw, self._budget.parts + 1, what="form").multi_items():
            yield TextField(name, value)


class _Multipart:
    def __init__(self, boundary: str, budget: _Budget) -> None:
        self._parser = PushMultipartParser(boundary)
        self._budget = budget
        self._parts = self._files = self._text = 0
        # What the part that is being read is: a file that was announced, one that may still turn out to be none (an
        # input left empty has no name and no bytes), or the text of a field so far.
        self._size = 0
        self._waiting: FileStart | None = None
        self._name = ""
        self._chunks: list[bytes] | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        try:
            for event in self._parser.parse(chunk):
                if event is None:
                    yield from self._ended()
                elif isinstance(event, (bytes, bytearray)):
                    yield from self._data(bytes(event))
                else:
                    yield from self._began(event)
        except ParserLimitReached:
            raise InvalidInput(400, "the head of a part of the form is too long") from None
        except MultipartError as error:
            raise _malformed(error) from None

    def end(self) -> Iterator[Event]:
        try:
            self._parser.close()
        except MultipartError:
            raise InvalidInput(400, "the multipart form has no end: its last boundary is missing") from None
        return iter(())

    def _began(self, segment: Any) -> Iterator[Event]:
        self._parts += 1
        self._budget.part(self._parts)
        if not segment.name:
            raise InvalidInput(400, "a part of the form has no name")
        self._size = 0
        _check_disposition([value for name, value in segment.headerlist if name == "Content-Disposition"])
        if segment.filename is None:
            if (segment.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
                raise InvalidInput(415, "forms are read as UTF-8: send their fields without another charset")
            self._name, self._chunks = segment.name, []
            self._count(segment.name.encode())
            return
        self._chunks = None
        headers = [(name.lower().encode(), value.encode()) for name, value in segment.headerlist]
        content_type: str = segment.header("Content-Type", "application/octet-stream")
        start = FileStart(segment.name, plain_name(segment.filename), content_type, headers)
        if segment.filename:
            yield self._counted(start)
        else:
            self._waiting = start

    def _counted(self, start: FileStart) -> FileStart:
        self._waiting = None
        self._files += 1
        self._budget.file(self._files)
        return start

    def _data(self, data: bytes) -> Iterator[Event]:
        if self._chunks is not None:
            self._count(data)
            self._chunks.append(data)
            return
        if self._waiting is not None:
            yield self._counted(self._waiting)
        self._size += len(data)
        self._budget.size(self._size)
        yield data

    def _count(self, text: bytes) -> None:
        self._text += len(text)
        self._budget.text(self._text)

    def _ended(self) -> Iterator[Event]:
        if self._chunks is not None:
            try:
                value = b"".join(self._chunks).decode()
            except UnicodeDecodeError:
                raise InvalidInput(400, "a field of the form is not UTF-8") from None
            yield TextField(self._name, value)
        elif self._waiting is not None:
            self._waiting = None
        else:
            yield FILE_END


def _check_disposition(values: Sequence[str]) -> None:
    """Refuse a part that says twice what it is: a filter in front of us may have believed the other one.

    A name in `filename*` alone would make a text of a file; RFC 7578 section 4.2 forbids it. Beside `filename`, as .NET
    sends it, it says nothing new.
    """
    if len(values) > 1:
        raise InvalidInput(400, "a part of the form has more than one Content-Disposition")
    for quoted in _QUOTED:  # whether a backslash is an escape is disputed: it must not matter
        pieces = quoted.sub("", "".join(values)).split(";")[1:]
        names = [name.strip().lower() for name, equals, _ in (piece.partition("=") for piece in pieces) if equals]
        if len(names) > len(set(names)):
            raise InvalidInput(400, "the Content-Disposition of a part of the form has a parameter twice")
        if "filename*" in names and "filename" not in names:
            raise InvalidInput(400, "a part of the form has a filename* alone: send filename, in UTF-8")


def _malformed(error: MultipartError) -> InvalidInput:
    # Its texts are constants, but for one that holds the header that did not decode.
    reason = str(error.args[0]) if error.args else "it cannot be read"
    return InvalidInput(400, f"the multipart form is malformed: {reason[:1].lower()}{reason[1:]}")


def plain_name(filename: str) -> str:
    """The last component of a file's name, without control characters; empty if nothing is left.

    RFC 7578 section 4.2: what comes before it must not be used, and `..` names no file. Old browsers sent whole paths,
    an attacker sends `../../etc/passwd`.
    """
    last = filename.replace("\\", "/").rpartition("/")[2]
    kept = "".join(character for character in last if character.isprintable()).strip()
    return "" if not kept.strip(".") else kept[:255]
