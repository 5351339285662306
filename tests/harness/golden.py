"""Golden files: texts that a user can meet, kept in `tests/golden/` and reviewed in diffs.

This file owns one decision: what of a message depends on the machine and is taken out before it is compared.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

__all__ = ["DIRECTORY", "Golden", "normalized"]

DIRECTORY = Path(__file__).resolve().parent.parent / "golden"

# Each a pattern and what stands for it: the directory of a file and its line number, an object's address.
REPLACEMENTS = (
    (re.compile(r"(?:[A-Za-z]:)?(?:[\w.~<>-]*[/\\])+([\w.-]+\.py)\b"), r"\1"),
    (re.compile(r"\b([\w.-]+\.py):\d+(?::\d+)?"), r"\1:LINE"),
    (re.compile(r'(\.py", line )\d+'), r"\1LINE"),
    (re.compile(r"\b0x[0-9a-fA-F]{4,}\b"), "0xADDRESS"),
)


def normalized(text: str) -> str:
    """A text without what differs from machine to machine and from edit to edit; ends with one newline."""
    for pattern, replacement in REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()) + "\n"


class Golden:
    """The fixture `golden`: compares a text with its file.

    Args:
        directory: where the files are.
        update: rewrite them instead (`pytest --update-golden`).
    """

    def __init__(self, directory: Path, *, update: bool) -> None:
        self._directory = directory
        self._update = update

    def __call__(self, name: str, text: str) -> None:
        """Compare.

        Args:
            name: the file, without `.txt`; it may hold directories.
            text: what was produced; compared as `normalized` leaves it.
        """
        path = self._directory / f"{name}.txt"
        actual = normalized(text)
        if self._update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(
                f"no golden file {name}.txt for this text (pytest --update-golden):\n{actual}",
                pytrace=False,
            )
        expected = path.read_text(encoding="utf-8")
        if expected != actual:
            lines = difflib.unified_diff(
                expected.splitlines(), actual.splitlines(), f"golden/{name}.txt", "this run", lineterm=""
            )
            pytest.fail("\n".join(["the text has changed (pytest --update-golden):", *lines]), pytrace=False)
