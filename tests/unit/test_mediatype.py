"""The media type of a file, by its name."""

from __future__ import annotations

import pytest

from trivet._mediatype import media_type_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("index.html", "text/html"),
        ("INDEX.HTML", "text/html"),
        ("/srv/site.d/app.mjs", "text/javascript"),
        ("app.js", "text/javascript"),
        ("mod.wasm", "application/wasm"),
        ("a.webp", "image/webp"),
        ("a.png", "image/png"),
        ("a.pdf", "application/pdf"),
        ("backup.tar.gz", "application/gzip"),
        ("backup.tgz", "application/gzip"),
        ("log.txt.xz", "application/x-xz"),
        ("data:text/html,x.png", "image/png"),
        ("LICENSE", "application/octet-stream"),
        ("a.unknown-to-all", "application/octet-stream"),
        ("dir.html/file", "application/octet-stream"),
        (".html", "application/octet-stream"),
        ("", "application/octet-stream"),
        ("a.", "application/octet-stream"),
    ],
)
def test_a_name_says_its_type(name: str, expected: str) -> None:
    """The same on all machines for what the web is made of; what is packed is not unpacked on the way."""
    assert media_type_of(name) == expected
