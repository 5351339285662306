"""What `docs/reference/errors.md` says of errors is what they are."""

from __future__ import annotations

import ast
import builtins
import inspect
import logging
import re
from functools import partial
from typing import Any

import httpx
import pytest
import trio

from tests.docs.curl import Curl
from tests.docs.pages import ROOT, Page
from tests.docs.tables import Row, code, table
from trivet import App, errors
from trivet.testing import TestClient

PAGE = Page.read(ROOT / "docs" / "reference" / "errors.md")
RAISED = table(PAGE.text, "raised", "status")
REQUESTS = table(PAGE.text, "request", "status")
TREE = next(block.code for block in PAGE.blocks if block.kind == "text")


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The errors are meant: keep them out of the report."""
    caplog.set_level(logging.CRITICAL + 1)


def test_the_page_starts_with_the_tree_of_the_source() -> None:
    """The tree is written once, in errors.py."""
    drawn = ast.get_docstring(ast.parse(inspect.getsource(errors))) or ""
    lines = [line for line in drawn.splitlines() if line.startswith("    ")]
    assert inspect.cleandoc("\n".join(lines)) == TREE.rstrip()


def test_the_tree_is_that_of_the_classes() -> None:
    """Each class of errors.py is in the tree, below its base."""
    drawn: dict[str, str | None] = {}
    above: list[str] = []
    for line in TREE.splitlines():
        found = re.match(r"([│├└─ ]*)(\w+)", line)
        assert found is not None
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        drawn[found[2]] = above[depth - 1] if depth else None
    actual = {
        name: kind.__mro__[1].__name__
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    }
    assert {name: base for name, base in drawn.items() if name not in vars(builtins)} == actual


@pytest.mark.parametrize("row", RAISED, ids=lambda row: row["raised"])
async def test_an_exception_is_answered_as_the_table_says(row: Row) -> None:
    """Raised in a handler, it has the status and the detail of the table."""
    error = eval(code(row["raised"]), {**vars(errors), "trio": trio, "httpx": httpx})
    app = App()

    async def fail() -> None:
        raise error

    app.get("/")(fail)
    async with TestClient(app) as client:
        response = await client.get("/")
    assert response.status_code == int(row["status"])
    if "`detail`" in row:
        assert response.json().get("detail", "") == row["`detail`"]


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row["request"])
async def test_a_request_is_answered_as_the_table_says(row: Row) -> None:
    """Sent to the application of the page, it has the status and the detail of the table."""
    async with TestClient(page_app(), base_url="http://127.0.0.1:8000") as client:
        output = await Curl.parse(code(row["request"]).replace("curl", "curl -i", 1)).run(client)
    head, _, body = output.partition("\n\n")
    assert head.split()[1] == row["status"]
    detail = re.search(r'"detail":"([^"]*)"', body)
    assert (detail[1] if detail else "") == row["`detail`"]


def page_app() -> Any:
    """The application of the page, without its catchers."""
    namespace: dict[str, Any] = {}
    for block in PAGE.blocks:
        if block.kind == "python" and "catch" not in block.code:
            exec(compile(block.code, str(PAGE.path), "exec", dont_inherit=True), namespace)
    return namespace["app"]


def test_a_group_with_an_exit_goes_up_to_the_server() -> None:
    """It is not mapped to a response."""
    app = App()

    async def leave() -> None:
        raise BaseExceptionGroup("", [SystemExit(3), errors.HTTPError(404)])

    app.get("/")(leave)

    async def main() -> None:
        async with TestClient(app) as client:
            await client.get("/")

    with pytest.raises(BaseExceptionGroup) as raised:
        trio.run(partial(main))
    assert raised.value.subgroup(SystemExit) is not None
