"""What `docs/reference/api.md` says of names, options, paths, results and the request is what they are."""

from __future__ import annotations

import inspect
import re
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from msgspec import Meta

import trivet
from tests.docs.pages import ROOT, Page
from tests.docs.tables import Row, code, table
from trivet import _options
from trivet._convert import converter_for
from trivet.cli import COMMANDS
from trivet.testing import TestClient

PAGE = Page.read(ROOT / "docs" / "reference" / "api.md")
OPTIONS = {code(row["option"]): row for row in table(PAGE.text, "option", "default")}
TYPES = table(PAGE.text, "type", "takes")
RESULTS = table(PAGE.text, "a handler returns", "status")


class Color(Enum):
    RED = "red"
    GREEN = "green"


class Version:
    def __init__(self, major: int, minor: int) -> None:
        self.numbers = (major, minor)

    @classmethod
    def parse(cls, text: str) -> Version:
        major, minor = text.split(".")
        return cls(int(major), int(minor))


NAMES: dict[str, Any] = {
    **{name: getattr(trivet, name) for name in trivet.__all__},
    **{each.__name__: each for each in (UUID, date, datetime, Color, Version, Meta)},
    "Annotated": Annotated,
    "Literal": Literal,
}


def test_the_table_of_names_is_what_is_exported() -> None:
    """Every exported name has its line, and there are not more than a microframework should have."""
    listed = [code(row["name"]) for row in table(PAGE.text, "name", "what it is")]
    assert sorted(listed) == sorted(trivet.__all__)
    assert len(trivet.__all__) <= 40


def test_the_table_of_options_is_what_is_taken() -> None:
    """Every option of apps, routers and routes has its line, which says where it may stand."""
    common = set(_options.CommonOptions.__annotations__)
    sockets = common - set(_options.HTTPOptions.__annotations__)
    route = set(_options.RouteOptions.__annotations__) - common
    app = set(inspect.signature(trivet.App).parameters) - {"options"}
    expected = dict.fromkeys(common, "app, router, route") | dict.fromkeys(route, "route") | dict.fromkeys(app, "app")
    expected |= dict.fromkeys(sockets, "app, router, WebSocket")
    assert {name: row["where"] for name, row in OPTIONS.items()} == expected


def test_the_defaults_of_options_are_those_of_the_table() -> None:
    """A default that is written as code is the one that applies."""
    resolved = _options.resolve([_options.Level()])
    signature = inspect.signature(trivet.App)
    written = {name: eval(code(row["default"])) for name, row in OPTIONS.items() if row["default"].startswith("`")}
    actual = {name: getattr(resolved, name, None) for name in written}
    actual |= {name: signature.parameters[name].default for name in written if name in signature.parameters}
    assert written == actual


@pytest.mark.parametrize("row", TYPES, ids=lambda row: row["type"])
def test_a_type_takes_and_refuses_what_the_table_says(row: Row) -> None:
    """Texts of the second column convert, those of the third do not."""
    converter = converter_for(eval(code(row["type"]), NAMES))
    assert converter is not None
    for text in re.findall(r"`([^`]+)`", row["takes"]):
        converter.parse(text)
    for text in re.findall(r"`([^`]+)`", row["refuses"]):
        with pytest.raises(ValueError, match=r"must|not"):
            converter.parse(text)


@pytest.mark.parametrize("row", RESULTS, ids=lambda row: row["a handler returns"])
async def test_a_result_is_sent_as_the_table_says(row: Row) -> None:
    """Returned by a handler, it has the status, the content type and the body of the table."""
    app = trivet.App()

    async def handler() -> object:
        return eval(code(row["a handler returns"]), NAMES)

    app.get("/")(handler)
    async with TestClient(app) as client:
        response = await client.get("/")
    assert response.status_code == int(row["status"])
    assert response.headers.get("content-type", "") == row["content type"].strip("`")
    assert response.text == row["body"].strip("`")


def test_the_table_of_the_request_is_what_it_has() -> None:
    """Every public attribute of a request has its place in the table, and no other has."""
    rows = table(PAGE.text, "attribute", "what it is")
    listed = {re.sub(r"await |\(.*", "", name) for row in rows for name in re.findall(r"`([^`]+)`", row["attribute"])}
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    request = trivet.Request(None, scope, None, {}, None, None, None, 0.0)  # type: ignore[arg-type]
    public = {name for name in dir(request) if not name.startswith("_")}
    assert listed == public - {"watch", "watcher"}  # the disconnect sweep's, public to it only


def test_the_table_of_commands_is_what_there_is() -> None:
    """Every command of `trivet` has its line."""
    listed = {code(row["command"]).split()[1] for row in table(PAGE.text, "command", "does")}
    assert listed == {module.__name__.rpartition(".")[2] for module in COMMANDS}
