"""What `docs/how-to/from-fastapi.md` says of both frameworks is what they do."""

from __future__ import annotations

import json
import logging
import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import fastapi
import fastapi.responses
import fastapi.security
import fastapi.sse
import fastapi.staticfiles
import msgspec
import pydantic
import pytest
import trio

import trivet
import trivet.contrib.security
import trivet.contrib.static
from tests.docs.curl import BARE, Curl
from tests.docs.pages import ROOT, Page
from tests.docs.tables import check_marked, code, table
from trivet.errors import RegistrationError
from trivet.testing import TestClient

PATH = ROOT / "docs" / "how-to" / "from-fastapi.md"
PAGE = Page.read(PATH)
NAMES = table(PAGE.text, "FastAPI", "trivet")
PARAMETERS = table(PAGE.text, "parameter", "FastAPI")


class Item(pydantic.BaseModel):
    name: str


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The errors are meant: keep them out of the report."""
    caplog.set_level(logging.CRITICAL + 1)


def test_the_table_of_answers_is_what_both_answer(pytestconfig: pytest.Config) -> None:
    """Status, and what else the row is about."""
    with PAGE._replayed(len(PAGE.blocks) - 1) as module:
        rows = table(PAGE.text, "request", "FastAPI", "trivet")
        commands = [code(row["request"]) for row in rows]
        theirs, ours = (trio.run(partial(_answers, each, commands)) for each in (module.before, module.app))
    lines = [
        f"| {row['request']} | {their} | {our} | {row['why']} |\n"
        for row, their, our in zip(rows, theirs, ours, strict=True)
    ]
    head = "| request | FastAPI | trivet | why |\n|---|---|---|---|\n"
    check_marked(PATH, "answers", head + "".join(lines), pytestconfig)


async def _answers(app: Any, commands: list[str]) -> list[str]:
    async with TestClient(app, base_url="http://127.0.0.1:8000", raise_app_exceptions=False, headers=BARE) as client:
        return [_cell(await Curl.parse(each.replace("curl", "curl -i", 1)).run(client)) for each in commands]


def _cell(output: str) -> str:
    """The status; the faults, or a body that is short; where else to look."""
    head, _, body = output.partition("\n\n")
    status = head.split()[1]
    further = dict(re.findall(r"^(allow|location): (.*)$", head, re.MULTILINE))
    if status == "422":
        parsed = json.loads(body)
        errors = parsed.get("errors") or parsed["detail"]
        further = {"faults": str(len(errors))}
    elif status < "300" and body:
        further = {"body": body.strip()}
    return ", ".join([status, *(f"{name} `{value}`" for name, value in further.items())]).replace("body ", "")


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row["FastAPI"])
def test_each_name_is_there(row: dict[str, str]) -> None:
    """What both columns name exists in its framework."""
    theirs = [fastapi, fastapi.responses, fastapi.security, fastapi.sse, fastapi.staticfiles]
    ours = [trivet, trivet.contrib.security, trivet.contrib.static, SimpleNamespace(msgspec=msgspec)]
    assert _exists(code(row["FastAPI"]), fastapi.FastAPI(), fastapi.Request, theirs)
    assert _exists(code(row["trivet"]), trivet.App(), trivet.Request, ours)


async def test_what_a_form_for_a_token_must_have() -> None:
    """FastAPI does without `grant_type`, trivet does not."""
    assert not fastapi.security.OAuth2PasswordRequestForm(username="ann", password="x").grant_type
    with pytest.raises(trivet.HTTPError) as refused:
        trivet.contrib.security.PasswordForm(username="ann", password="x")
    assert refused.value.status == 400


def _exists(shown: str, app: Any, request: type, modules: list[Any]) -> bool:
    owner, _, rest = re.sub(r"[(\[].*", "", shown.lstrip("@")).partition(".")
    if owner == "app":
        return all(hasattr(app, name) for name in rest.split(".")[:1])
    if owner == "request":
        return hasattr(request, rest)
    return any(hasattr(module, owner) for module in modules)


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: row["parameter"])
def test_a_parameter_comes_from_where_the_table_says(row: dict[str, str]) -> None:
    """As each framework's own OpenAPI document tells it, or not at all."""
    shown = code(row["parameter"]).replace("\\|", "|")
    assert _source(fastapi.FastAPI(), fastapi, shown).startswith(row["FastAPI"].partition(", as")[0])
    assert _source(trivet.App(), trivet, shown).startswith(row["trivet"].partition(":")[0])


def _source(app: Any, framework: Any, shown: str) -> str:
    namespace: dict[str, Any] = {**vars(framework), "Item": Item}
    exec(f"async def handler({shown}): ...", namespace)
    try:
        app.post("/")(namespace["handler"])
    except RegistrationError:
        return "an error"
    operation = app.openapi()["paths"]["/"]["post"]
    if "requestBody" in operation:
        return "the body"
    [parameter] = operation["parameters"]
    where = {"query": "the query", "header": "a header"}[parameter["in"]]
    return f"{where}, {'required' if parameter.get('required') else 'optional'}"
