"""How callables are shown in messages. Annotations are values here: no `from __future__ import annotations`."""

import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest

from trivet import Depends, Query, Request
from trivet._source import locate, show


class Model: ...


def day() -> str:
    return "2024-02-29"


def test_annotations_are_shown_as_they_were_written() -> None:
    """Without the modules that the author has imported from, or is in; with those of others, and quotes untouched."""

    async def handler(
        request: Request,
        model: Annotated[Model, Depends(day)],
        models: list[Model],
        name: Annotated[str, Query(alias="typing.name")],
        when: "date | None" = None,
    ) -> AsyncIterator[date]: ...  # type: ignore[empty-body]

    assert show(handler).splitlines()[0] == (
        "    async def handler(request: Request, model: Annotated[Model, Depends(day)], models: list[Model], "
        "name: Annotated[str, Query(alias='typing.name')], when: date | None = None) -> AsyncIterator[datetime.date]"
    )


def test_a_provider_that_was_called_shows_its_value() -> None:
    """As Python writes it, in quotes."""
    assert repr(Depends(day())) == "Depends('2024-02-29')"  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_class_in_a_file_that_is_not_python_has_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page, a notebook or a template may define one; Python looks for it by parsing the file."""
    file = tmp_path / "page.md"
    file.write_text("Not Python: it's a page.\n")
    module = ModuleType("page")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "page", module)
    exec(compile("class Defined: ...", str(file), "exec"), module.__dict__)
    assert locate(module.__dict__["Defined"]).line == 0
