"""The media type of a file, by its name.

This file owns the types that the web is made of: those that Python's table has otherwise, or not at all, in one of the
versions we run on, and those that a system's own table (`/etc/mime.types`, the registry) is known to spoil. A script
that is `text/plain` on one machine runs on none, for it goes out with `nosniff`. All others are `mimetypes`'s.
"""

from __future__ import annotations

import mimetypes
from functools import lru_cache
from posixpath import splitext
from typing import Final

UNKNOWN: Final = "application/octet-stream"

_WEB: Final = {
    ".avif": "image/avif",
    ".css": "text/css",
    ".csv": "text/csv",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}

# `mimetypes` calls these encodings, of whatever is packed. As `Content-Encoding` they would be unpacked by the browser,
# and `backup.tar.gz` saved as a tar of that name.
_PACKED: Final = {
    ".br": UNKNOWN,
    ".bz2": "application/x-bzip2",
    ".gz": "application/gzip",
    ".svgz": "application/gzip",
    ".taz": "application/gzip",
    ".tgz": "application/gzip",
    ".tbz2": "application/x-bzip2",
    ".txz": "application/x-xz",
    ".tz": "application/gzip",
    ".xz": "application/x-xz",
    ".z": "application/x-compress",
    ".zst": "application/zstd",
}

mimetypes.init()  # reads the system's table: now, and not on the event loop at the first request


def media_type_of(name: str) -> str:
    """The media type of a file with this name; `application/octet-stream` if it says nothing."""
    return _of_extension(splitext(name.rpartition("/")[2])[1].lower())


@lru_cache(maxsize=256)
def _of_extension(extension: str) -> str:
    known = _WEB.get(extension) or _PACKED.get(extension)
    if known is not None:
        return known
    # As an extension of some name: given a whole one it would look for a URL's scheme in it.
    return (extension and mimetypes.guess_type(f"x{extension}")[0]) or UNKNOWN
