"""A file as a response: which head it goes out with, and which of its bytes.

This file owns that decision, from what the file is when it is opened and what the request asks for: RFC 9110's
preconditions, then `Range`. `prepare` is for a worker thread, since to open a file is to wait for a disk. What is read
later, and how a request waits for it, is `_delivery`'s.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Mapping
from typing import Final

from ._conditional import FAILED, SELECTING, evaluate, range_applies
from ._descriptor import Descriptor
from ._disposition import base_name, disposition
from ._headers import MutableHeaders
from ._mediatype import media_type_of
from ._ranges import Unsatisfiable, select
from ._response import Response
from ._response_head import content_type
from ._validators import Validators, checked_tag, format_date, parse_date
from .errors import HTTPError, ResponseError

log = logging.getLogger("trivet")

PIECE: Final = 128 * 1024
"""Bytes that are read at once. A trip to a worker thread costs as much as reading some ten of them; memory is taken for
one piece per download. A file of one piece is read when it is opened, and sent as any whole response."""

TRIES: Final = 3
"""How often a file that changes while it is read is read again."""

# How long after a change a file may change again without being seen to, in nanoseconds: the tick of a kernel, or the
# resolution of a file system that keeps whole seconds (two of them: FAT).
_TICK: Final = 100_000_000
_COARSE: Final = 2_000_000_000

_MISSING: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV}
)
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})

TOLD_MAX: Final = 10
"""How many files that are not there the log tells of, each once."""
_told: Final[set[str]] = set()

# What a 304 leaves away: it is about the content, which the client has (RFC 9110 section 15.4.5).
_OF_CONTENT: Final = ("last-modified", "accept-ranges", "content-disposition", "content-encoding", "content-language")


class File(Response):
    """A file from the disk, in whole or, if the client asks for it, in part.

    It is opened when the handler has returned it, in a worker thread and within `timeout`, and read bit by bit while it
    is sent. It has an `ETag` and `Last-Modified`, from its time and size, unless you set them; `If-None-Match` and the
    other preconditions are answered with 304 or 412, `Range` with 206 or 416. That is for status 200 and GET and HEAD;
    any other just has the content. HEAD opens the file and does not read it.

    Dependencies leave before it is sent, as for any whole response: a slow download holds no connection of a pool. The
    file is open by then, so that a temporary one may be removed.

    What is no regular file, or not there, is a 404; what may not be read is a 403, and a warning in the log. A file
    that gets shorter while it is sent breaks the connection off.

    Args:
        path: of the file, relative to the working directory. It is not checked: for paths that come from clients there
            is `trivet.contrib.static.StaticFiles`.
        filename: what the client should call it, in `Content-Disposition`; with `download` the path's last part by
            default. Any text: what no file can be called is replaced.
        media_type: of the content; by default what the name says. `charset=utf-8` is added to a `text/` type.
        download: the browser is to save it, not to show it.
        status: 200 to 599.
        headers: more header fields: `Cache-Control`, say. `X-Content-Type-Options: nosniff` is there unless you delete
            it.

    Raises:
        TypeError: `path` is no path.
        ResponseError, ValueError: as `Response`.

    Cancellation: when the client leaves, the file is closed at once, or, if the disk does not answer, when it does.
    """

    __slots__ = ("path",)

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        filename: str | None = None,
        media_type: str | None = None,
        download: bool = False,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status=status)
        self.path = _checked_path(path)
        self._type = content_type(media_type or media_type_of(filename or self.path), text=True)
        fields = self.headers
        fields["x-content-type-options"] = "nosniff"
        if filename is not None or download:
            name = filename or base_name(self.path)
            fields["content-disposition"] = disposition("attachment" if download else "inline", name)
        if headers is not None:
            self._update(headers)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}, {self.path!r}>"

    def _acquire(self, descriptor: Descriptor) -> Response | None:
        """Open the file; or return what is to be sent instead. In a worker thread."""
        descriptor.open(self.path)
        return None

    def _missed(self, error: OSError) -> None:
        """Tell the developer where a file was looked for: its name came from the application.

        Only so often, for it may come from a client all the same, and whoever asks must not fill the log.
        """
        if self.path in _told or len(_told) >= TOLD_MAX:
            return
        _told.add(self.path)
        place = "" if os.path.isabs(self.path) else f", looked for in the working directory, {os.getcwd()!r}"
        log.warning("%r is a 404: %s%s", self, error.strerror, place)


def prepare(file: File, method: str, headers: Mapping[str, str], descriptor: Descriptor) -> tuple[Response, int]:
    """What is sent for `file`, and how much of it is still to be read from `descriptor`.

    For a worker thread, inside of `descriptor.used()`.

    Args:
        file: what the handler returned; it may be shared, and stays as it is.
        method: of the request.
        headers: of the request.
        descriptor: what to open it with.

    Returns:
        A response: a whole one, if the number is 0. Otherwise it is the head of one whose body is the next bytes of
        `descriptor`, and has their number in `Content-Length`.

    Raises:
        HTTPError: 403 or 404, the file cannot be sent; 412, 416.
        InvalidInput: as `_conditional.evaluate`.
        ResponseError: the file changes faster than it can be read.
        OSError: the system has no descriptors left, or the disk is broken.
    """
    try:
        instead = file._acquire(descriptor)
    except ValueError:  # NUL, or what the file system's encoding cannot spell
        raise HTTPError(404) from None
    except OSError as error:
        if error.errno in _FORBIDDEN:
            log.warning("%r may not be read: %s", file, error.strerror)
            raise HTTPError(403) from error
        if error.errno in _MISSING or error.errno is None:
            file._missed(error)
            raise HTTPError(404) from error
        raise
    if instead is not None:
        return instead, 0
    for _ in range(TRIES):
        found = descriptor.stat()
        response, start, length = select_part(file, method, headers, found, time.time_ns())
        if not length:
            return response, 0
        descriptor.seek(start)
        if length > PIECE:
            return response, length
        response.body = descriptor.read(length)
        now = descriptor.stat()
        if (now.st_mtime_ns, now.st_size) == (found.st_mtime_ns, found.st_size) and len(response.body) == length:
            return response, 0
    raise ResponseError(
        f"{file!r} changes faster than it can be read.\n"
        "Let whoever writes it write another one and then put that in its place:  os.replace(new, path)"
    )


def select_part(
    file: File, method: str, request: Mapping[str, str], found: os.stat_result, now: int
) -> tuple[Response, int, int]:
    """The head for an open file, where to begin to read it, and how many bytes: 0 if the head is all.

    Args:
        file: what the handler returned.
        method: of the request.
        request: its header fields.
        found: what was opened.
        now: nanoseconds since 1970.
    """
    response = Response(status=file.status)
    fields = response._headers = file.headers.copy()
    start, stop = 0, found.st_size
    if file.status == 200 and method in SELECTING:
        current = _validate(fields, found, now)
        outcome = evaluate(method, request, current)
        if outcome == "failed":
            raise HTTPError(412, FAILED)
        if outcome == "unchanged":
            response.status = 304
            for name in _OF_CONTENT:
                fields.pop(name, None)
            return response, 0, 0
        if method == "GET" and range_applies(request.get("if-range"), current, now // 1_000_000_000):
            selected = _select(request.get("range"), stop)
            if selected is not None:
                response.status = 206
                fields["content-range"] = f"bytes {selected[0]}-{selected[1] - 1}/{stop}"
                start, stop = selected
    fields["content-length"] = str(stop - start)
    return response, start, 0 if method == "HEAD" else stop - start


def entity_tag(found: os.stat_result, now: int) -> str:
    """The entity tag of a file, by its time and size, as nginx has it; not by its inode, which copies do not share.

    It is strong, unless the file has changed so recently that it may do so again with the same time: then who resumes
    a download could join the halves of two versions.
    """
    tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    settled = now - found.st_mtime_ns > (_TICK if found.st_mtime_ns % 1_000_000_000 else _COARSE)
    return tag if settled else f"W/{tag}"


def _validate(fields: MutableHeaders, found: os.stat_result, now: int) -> Validators:
    """Write the file's validators, where the application has set none, and read what stands there."""
    fields.setdefault("accept-ranges", "bytes")
    fields.setdefault("etag", entity_tag(found, now))
    # Not later than now: RFC 9110 section 8.8.2.1.
    fields.setdefault("last-modified", format_date(min(found.st_mtime_ns, now) // 1_000_000_000))
    return Validators(checked_tag(fields["etag"]), parse_date(fields["last-modified"]))


def _select(wanted: str | None, size: int) -> tuple[int, int] | None:
    if wanted is None:
        return None
    try:
        return select(wanted, size)
    except Unsatisfiable:
        detail = f"The range begins behind the end: there are {size} bytes."
        raise HTTPError(416, detail, headers={"content-range": f"bytes */{size}"}) from None


def _checked_path(path: str | os.PathLike[str]) -> str:
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise TypeError(
            f"File takes the path of a file, not {type(path).__name__}.\n"
            "To send what is in memory:  return Response(content, media_type=...)\n"
            "To send what is read elsewhere, bit by bit:  return Stream(feed)"
        )
    return text
