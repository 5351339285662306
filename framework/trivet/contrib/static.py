"""A directory of files, to be mounted: `app.mount("/static", StaticFiles("public"))`.

This file owns which file of a directory a path leads to, and that none leads out of it. How a file is sent is `File`'s.

How a path is kept inside
-------------------------
To compare resolved names (`realpath`, `commonpath`) and then to open what was compared is to trust that nobody puts a
link there in between; to compare after opening asks the system for the name of what is open, which only some can tell.
So no name is compared at all. From the directory on, each segment of the path is opened relative to the one before it,
as a directory and not as a link (`openat` with `O_DIRECTORY`, `O_NOFOLLOW`), and the last one as a regular file. What a
segment may be is checked first: with neither `..` nor a slash in it there is no way up, whatever anybody renames in the
meantime. The directory itself may be a link, and may be put in the place of another while requests are served.

A link below it is not there, therefore, wherever it leads; `symlinks=True` follows them all, out of the directory as
well, for those who have put them there.
"""

from __future__ import annotations

import os
from typing import ClassVar, Unpack

from trivet import _options
from trivet._descriptor import Descriptor
from trivet._file import File
from trivet._head import redirect_target
from trivet._request import Request
from trivet._response import Response
from trivet._router import Router
from trivet.errors import HTTPError, RegistrationError

__all__ = ["StaticFiles"]

# A directory that is only passed through need not be readable.
_PASSING: int = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


class StaticFiles(Router):
    """The files of a directory, for GET and HEAD; to be mounted like any router.

    Being a router, it takes a router's options and more: middleware, `dependencies` (only those who are logged in get a
    file), catchers (`@static.catch(404)` has a page of its own). Routes of the application that are more specific win.
    `url_for("static", path="css/site.css")` is the address of a file.

    A path that ends in a slash is that of a directory, and gets its index; one that names a directory with an index is
    sent on to it with a slash. There are no listings. Not found (404) is what is not there; what is no regular file; a
    name that begins with a dot, or holds a backslash, an escaped slash or a drive letter; what is or lies behind a
    symbolic link.

    Args:
        directory: relative to the working directory at the time of this call.
        index: the file that stands for a directory; `None`: there is none.
        cache_control: `Cache-Control` of each file: `"public, max-age=3600"`. Without it browsers guess.
        hidden: give out names that begin with a dot, too.
        symlinks: follow symbolic links, wherever they lead.
        name: what `url_for` knows the files by.
        options: those of `Router`.

    Raises:
        RegistrationError: it is no directory, the index is no file name, or an option is wrong.
    """

    _kind: ClassVar[str] = "static directory"

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        index: str | None = "index.html",
        cache_control: str | None = None,
        hidden: bool = False,
        symlinks: bool = False,
        name: str = "static",
        **options: Unpack[_options.CommonOptions],
    ) -> None:
        super().__init__(**options)
        self.directory: str = os.path.abspath(os.fspath(directory))
        _check(self.directory, index)
        self._index = index
        self._hidden = hidden
        self._symlinks = symlinks
        self._headers = {} if cache_control is None else {"cache-control": cache_control}
        self.get("/{path:path}", name=name)(self._file)
        if index is not None:
            self.get("/", name=name)(self._top)

    async def _top(self, request: Request) -> Response:
        return await self._file(request, "")

    async def _file(self, request: Request, path: str) -> Response:
        raw = request.raw_path
        if b"%2f" in raw.lower():
            raise HTTPError(404)  # a proxy in front that guards a directory would not see the slash
        *parents, last = path.split("/")
        if not last:
            if self._index is None:
                raise HTTPError(404)
            last = self._index
        parts = (*parents, last)
        if not all(self._servable(part) for part in parts):
            raise HTTPError(404)
        query: bytes = request.scope.get("query_string", b"")
        return _Found(self, parts, redirect_target("", raw + b"/", query), self._headers)

    def _servable(self, part: str) -> bool:
        """Whether a segment may name something here."""
        if part in ("", ".", "..") or "\\" in part or "/" in part or "\0" in part or part[1:2] == ":":
            return False
        return self._hidden or part[0] != "."

    def open(self, parts: tuple[str, ...], descriptor: Descriptor) -> bool:
        """Open the file at these segments; in a worker thread.

        Returns:
            `False`: it is a directory that has an index.

        Raises:
            OSError: as `Descriptor.open`; `FileNotFoundError` for what lies behind a link.
        """
        directory = os.open(self.directory, _PASSING)
        try:
            for part in parts[:-1]:
                directory = self._enter(directory, part)
            try:
                descriptor.open(parts[-1], directory=directory, follow=self._symlinks)
            except IsADirectoryError:
                if self._index is None:
                    raise
                directory = self._enter(directory, parts[-1])
                Descriptor.look(self._index, directory=directory, follow=self._symlinks)
                return False
        finally:
            os.close(directory)
        return True

    def _enter(self, directory: int, part: str) -> int:
        """Go on to a directory below `directory`, which is closed; on an error it stays open."""
        inner = os.open(part, _PASSING if self._symlinks else _PASSING | _NOFOLLOW, dir_fd=directory)
        os.close(directory)
        return inner


class _Found(File):
    """What a path leads to."""

    __slots__ = ("_elsewhere", "_parts", "_static")

    def __init__(self, static: StaticFiles, parts: tuple[str, ...], elsewhere: str, headers: dict[str, str]) -> None:
        super().__init__(os.path.join(static.directory, *parts), headers=headers)
        self._static = static
        self._parts = parts
        self._elsewhere = elsewhere

    def _acquire(self, descriptor: Descriptor) -> Response | None:
        if self._static.open(self._parts, descriptor):
            return None
        return Response(status=307, headers={"location": self._elsewhere})

    def _missed(self, error: OSError) -> None:
        """Nothing to tell: the directory is there, and what is asked of it is the client's business."""


def _check(directory: str, index: str | None) -> None:
    if os.open not in os.supports_dir_fd:
        raise RegistrationError(
            "StaticFiles needs a system that opens files relative to a directory (openat); Windows does not.\n"
            'Mount another server of files:  app.mount("/static", starlette.staticfiles.StaticFiles(...))'
        )
    if not os.path.isdir(directory):
        raise RegistrationError(
            f"{directory!r} is not a directory.\n"
            "A relative one starts where the process was started; to start at the module:\n"
            '    StaticFiles(Path(__file__).parent / "public")'
        )
    if index is not None and (not index or "/" in index or "\\" in index or index in (".", "..")):
        raise RegistrationError(
            f"index={index!r} is not the name of a file.\n"
            'Write index="index.html", or index=None: then a directory has no page.'
        )
