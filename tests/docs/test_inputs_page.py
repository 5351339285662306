"""What `docs/reference/inputs.md` says of markers, limits and refusals is what they are."""

from __future__ import annotations

import inspect
import json
import re
from functools import partial
from typing import Any, get_args

import pytest
import trio

import trivet
from tests.docs.curl import Curl
from tests.docs.pages import ROOT, Page
from tests.docs.tables import check_marked, code, table
from trivet import UploadFile, _markers, _multipart, _options, _upload
from trivet.testing import TestClient

PATH = ROOT / "docs" / "reference" / "inputs.md"
PAGE = Page.read(PATH)


@pytest.mark.parametrize("row", table(PAGE.text, "marker", "reads"), ids=lambda row: row["marker"])
def test_a_marker_takes_what_the_page_says(row: dict[str, str]) -> None:
    """The arguments and their defaults."""
    name, _, shown = code(row["marker"]).partition("(")
    actual = inspect.signature(getattr(trivet, name))
    parameters = [each.replace(annotation=each.empty) for each in actual.parameters.values()]
    assert f"({shown}" == str(actual.replace(parameters=parameters, return_annotation=actual.empty)).replace("'", '"')


def test_every_marker_and_scope_is_there() -> None:
    """One row each."""
    named = {code(row["marker"]).partition("(")[0] for row in table(PAGE.text, "marker", "reads")}
    assert named == {each.__name__ for each in [*_markers.Marker.__subclasses__(), _markers.Depends]}
    scopes = {code(row["`scope`"]).strip('"') for row in table(PAGE.text, "`scope`", "held")}
    assert scopes == set(get_args(_markers.Scope))


def test_the_limits_of_a_form_are_those_of_the_table() -> None:
    """Each with its default, as far as it has one."""
    defaults = {
        "max_body": _options.resolve([_options.Level()]).max_body,
        "max_parts": _multipart.MAX_PARTS,
        "max_files": _multipart.MAX_FILES,
        "max_text": _multipart.MAX_TEXT,
        "max_file": None,
    }
    shown: dict[str, Any] = {}
    for row in table(PAGE.text, "limit", "default"):
        starts_with_number = row["default"].startswith("`")
        shown[code(row["limit"])] = int(code(row["default"])) if starts_with_number else None
        assert row["over it"] == "413"
    assert shown == defaults
    assert set(defaults) - {"max_body"} == set(_markers.FormLimits.__slots__)


def test_what_a_file_has_is_what_the_table_says() -> None:
    """Every public name, and no other."""
    cells = [row["of an `UploadFile`"] for row in table(PAGE.text, "of an `UploadFile`", "what it is")]
    shown = {found for cell in cells for found in re.findall(r"`(?:await )?(\w+)(?:\(.*?\))?`", cell)}
    file = UploadFile("field", "", "", (), _upload.Room())
    assert shown == {name for name in dir(file) if not name.startswith("_")}


def test_the_table_of_refusals_is_what_is_answered(pytestconfig: pytest.Config) -> None:
    """Status, detail and every fault of each request."""
    rows = [row["request"] for row in table(PAGE.text, "request", "status")]
    answers = trio.run(partial(_answers, [code(row) for row in rows]))
    lines = [f"| {row} | {answer} |\n" for row, answer in zip(rows, answers, strict=True)]
    head = "| request | status | `detail` | faults: in, name, reason |\n|---|---|---|---|\n"
    check_marked(PATH, "refused", head + "".join(lines), pytestconfig)


async def _answers(commands: list[str]) -> list[str]:
    namespace: dict[str, Any] = {}
    for block in PAGE.blocks:
        if block.kind == "python":
            exec(compile(block.code, str(PATH), "exec", dont_inherit=True), namespace)
    async with TestClient(namespace["app"], base_url="http://127.0.0.1:8000") as client:
        return [_cells(await Curl.parse(each.replace("curl", "curl -i", 1)).run(client)) for each in commands]


def _cells(output: str) -> str:
    head, _, body = output.partition("\n\n")
    status = int(head.split()[1])
    assert status >= 400
    problem = json.loads(body)
    faults = "; ".join(f"{each['in']} `{each['name']}` {each['reason']}" for each in problem.get("errors", []))
    return f"{status} | {problem['detail']} | {faults}"
