"""What ARCHITECTURE.md says of the floors is what `tests/test_layers.py` enforces."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.test_layers import FLOORS, PACKAGE, TRIO_LINE

PAGE = ROOT / "ARCHITECTURE.md"
MARKED = re.compile(r"(?<=<!-- floors -->\n).*?(?=<!-- /floors -->)", re.DOTALL)


def test_the_table_of_floors_is_what_is_enforced(pytestconfig: pytest.Config) -> None:
    """Each module stands on its floor, highest first, with what its own first sentence says it decides."""
    text = PAGE.read_text()
    if pytestconfig.getoption("--update-golden"):
        text = MARKED.sub(floors().replace("\\", "\\\\"), text)
        PAGE.write_text(text)
    shown = MARKED.search(text)
    assert shown is not None
    assert shown[0] == floors(), "pytest tests/docs --update-golden"


def test_every_module_that_the_page_names_exists() -> None:
    """A module that was renamed is renamed there, too."""
    named = set(re.findall(r"`(_[a-z_]+)(?=[.`])", MARKED.sub("", PAGE.read_text())))
    named -= {"_http", "_handle"}  # functions
    assert len(named) > 15
    assert {name for name in named if not (PACKAGE / f"{name}.py").exists()} == set()


def floors() -> str:
    """The table as Markdown, the highest floor first, with the Trio line."""
    lines = ["| floor | module | what it is |", "|---|---|---|"]
    for floor, modules in reversed(FLOORS):
        present = sorted(name for name in modules if first_sentence(name))
        lines += [
            f"| {floor if index == 0 else ''} | `{name}` | {first_sentence(name)} |"
            for index, name in enumerate(present)
        ]
        if floor == TRIO_LINE:
            lines.append("| | **the Trio line** | **nothing below imports trio** |")
    return "\n".join(lines) + "\n"


def first_sentence(name: str) -> str:
    """How a module or package introduces itself; empty if it does not exist (yet)."""
    for path in (PACKAGE / f"{name}.py", PACKAGE / name / "__init__.py"):
        if path.exists():
            return sentence(path)
    return ""


def sentence(path: Path) -> str:
    """The first sentence of a module's docstring."""
    paragraph = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]
    return re.split(r"(?<=[.])\s", " ".join(paragraph.split()), maxsplit=1)[0].replace("|", "\\|")
