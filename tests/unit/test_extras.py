"""What users are told to install: it is there by that name, and brings what was missing."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: Final[dict[str, list[str]]] = PROJECT["optional-dependencies"]

SOURCES: Final = chain.from_iterable(
    (ROOT / part).rglob("*.py") for part in ("framework", "apps", "benchmarks", "deploy")
)
TOLD: Final = [
    (str(path.relative_to(ROOT)), *told)
    for path in sorted(SOURCES)
    for told in re.findall(r"(?:[Nn]eeds (\w+):\s+`?)?pip\s+install\s+([^\n]*?)([\w.-]+)\[([^]]*)\]", path.read_text())
]
"""Where, what is missing if it says so, what is before the name (a quote, an option), the name, and the extras."""


def test_what_is_told_was_found() -> None:
    """Of the extras that bring what a part of the framework imports, each is told of somewhere."""
    assert {extra for *_, extra in TOLD} >= set(EXTRAS) - {"all", "dev"}


@pytest.mark.parametrize(("where", "missing", "before", "name", "extras"), TOLD)
def test_what_users_are_told_to_install_is_there(where: str, missing: str, before: str, name: str, extras: str) -> None:
    """The project by its name, or the clone; extras that it has, and that bring what is said to be missing."""
    assert name in (PROJECT["name"], "."), where
    for extra in extras.split(","):
        assert extra in EXTRAS, where
        assert not missing or any(re.match(rf"{missing}\b", each) for each in EXTRAS[extra]), where
    assert before.endswith(("'", '"')), f"{where}: zsh takes the brackets for a pattern"
