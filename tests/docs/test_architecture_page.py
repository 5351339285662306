"""What ARCHITECTURE.md says of the floors is what `tests/test_layers.py` enforces."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.tables import check_marked, marked
from tests.test_layers import FLOORS, PACKAGE, TRIO_LINE

PAGE = ROOT / "ARCHITECTURE.md"
WING = PACKAGE / "server"


def test_the_table_of_floors_is_what_is_enforced(pytestconfig: pytest.Config) -> None:
    """Each module stands on its floor, highest first, with what its own first sentence says it decides."""
    check_marked(PAGE, "floors", floors(), pytestconfig)


def test_every_module_that_the_page_names_exists() -> None:
    """A module that was renamed is renamed there, too."""
    prose = marked("wing").sub("", marked("floors").sub("", PAGE.read_text()))
    named = set(re.findall(r"`(_[a-z0-9_]+)(?=[.`])", prose))
    named -= {"_http", "_handle"}  # functions
    assert len(named) > 15
    assert {name for name in named if not any((home / f"{name}.py").exists() for home in (PACKAGE, WING))} == set()


def test_the_table_of_the_server_wing_is_what_its_files_say(pytestconfig: pytest.Config) -> None:
    """Each module of the wing, in the order and under the headings of the package's own list."""
    check_marked(PAGE, "wing", wing(), pytestconfig)


def test_the_server_wing_lists_each_of_its_files_once() -> None:
    """A module that is added, renamed or removed is so in the package's docstring, too."""
    listed = [name for _, names in wing_list() for name in names]
    assert sorted(listed) == sorted(path.stem for path in WING.glob("_*.py") if path.stem != "__init__")


def wing_list() -> list[tuple[str, list[str]]]:
    """The headings of the list in the docstring of `trivet.server`, each with the modules under it."""
    _, _, lines = (ast.get_docstring(ast.parse((WING / "__init__.py").read_text())) or "").rpartition("\n\n")
    groups: list[tuple[str, list[str]]] = []
    for line in lines.splitlines():
        if not line.startswith(" "):
            groups.append((line, []))
        else:
            names = re.match(r" +((?:_\w+ )*_\w+)", line)
            assert names is not None, f"no module in {line!r}"
            groups[-1][1].extend(names[1].split())
    return groups


def wing() -> str:
    """The table as Markdown."""
    lines = ["| part | module | what it is |", "|---|---|---|"]
    for part, names in wing_list():
        lines += [
            f"| {part if index == 0 else ''} | `{name}` | {sentence(WING / f'{name}.py')} |"
            for index, name in enumerate(names)
        ]
    return "\n".join(lines) + "\n"


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
