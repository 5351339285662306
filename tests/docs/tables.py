"""Reads the tables of a page, and writes those that the code makes: for tests that compare them with what it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

Row = dict[str, str]


def tables(text: str) -> Iterator[list[Row]]:
    """Each table of a Markdown text, as rows by column title; cells have their backticks."""
    for found in re.finditer(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        titles, _, *rows = (cells(line) for line in found[0].splitlines())
        yield [dict(zip(titles, row, strict=True)) for row in rows]


def table(text: str, *titles: str) -> list[Row]:
    """The rows of all tables whose columns begin with `titles`.

    Raises:
        LookupError: there is none; a test over no rows would not be one.
    """
    found = [row for rows in tables(text) for row in rows if tuple(row)[: len(titles)] == titles]
    if not found:
        raise LookupError(f"no table begins with the columns {titles}")
    return found


def cells(line: str) -> list[str]:
    """The cells of one line; a bar within a cell is written as `\\|`."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def code(cell: str) -> str:
    """What a cell has between its first pair of backticks.

    Raises:
        ValueError: it has none.
    """
    found = re.search(r"`([^`]+)`", cell)
    if found is None:
        raise ValueError(f"{cell!r} has no `code`")
    return found[1]


def marked(name: str) -> re.Pattern[str]:
    """Matches what stands between the two marks of that name, `<!-- name -->` and `<!-- /name -->`."""
    return re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)


def check_marked(page: Path, name: str, made: str, config: pytest.Config) -> None:
    """Compare what stands between the marks with what the code makes; with `--update-golden`, write that there first.

    Raises:
        AssertionError: it is something else, or there are no such marks.
    """
    text = page.read_text()
    if config.getoption("--update-golden"):
        text = marked(name).sub(lambda _: made, text)
        page.write_text(text)
    shown = marked(name).search(text)
    assert shown is not None
    assert shown[0] == made, "pytest tests/docs --update-golden"
