"""What `docs/reference/server.md` says of the options and of the access log is what they are."""

from __future__ import annotations

import dataclasses
import json
import logging
import re

import pytest

from tests.docs.pages import ROOT
from tests.docs.tables import check_marked, code, table
from trivet.cli._config import RunConfig
from trivet.cli._limits import LIMITS
from trivet.cli._options import GROUPS, Option
from trivet.server._access_format import ATOMS, JSONFormatter
from trivet.server._limits import Limits

PAGE = ROOT / "docs/reference/server.md"


def options() -> str:
    """The table of each group of options, as Markdown."""
    parts: list[str] = []
    for title, group in GROUPS.items():
        lines = [f"### {title[0].upper()}{title[1:]}\n", "| option | in a file | meaning |", "|---|---|---|"]
        lines += [f"| {flags(each)} | `{setting(each)}` | {meaning(each)} |" for each in group]
        parts.append("\n".join(lines) + "\n")
    return "\n" + "\n".join(parts) + "\n"


def flags(option: Option) -> str:
    return ", ".join(f"`{flag}`" for flag in option.flags.split())


def setting(option: Option) -> str:
    """The name in a file: of a limit, ours; hypercorn's is in a table of its own."""
    return next((limit.name for limit in LIMITS if limit.setting == option.field), option.field)


def meaning(option: Option) -> str:
    return option.help.replace("%%", "%").replace("|", "\\|")


def test_the_tables_are_the_options(pytestconfig: pytest.Config) -> None:
    """Each with its flags, its name in a file, and what `--help` says of it."""
    check_marked(PAGE, "options", options(), pytestconfig)


def test_each_name_in_a_file_is_a_setting() -> None:
    """What the second column says can be written into a file."""
    rows = table(PAGE.read_text(), "option", "in a file")
    assert {code(row["in a file"]) for row in rows} <= RunConfig._names


def test_hypercorns_names_of_limits() -> None:
    """The table of names that mean the same."""
    rows = table(PAGE.read_text(), "`trivet run`", "hypercorn's name")
    shown = {code(row["`trivet run`"]): code(row["hypercorn's name"]) for row in rows}
    assert shown == {limit.name: limit.hypercorn for limit in LIMITS if limit.hypercorn}


def test_the_defaults_of_the_limits() -> None:
    """The table of precedents has each limit, in order, with the default that is in force."""
    rows = table(PAGE.read_text(), "limit", "default")
    shown = [(code(row["limit"]), row["default"]) for row in rows]
    defaults = dataclasses.asdict(Limits())
    assert shown == [
        (each.name, "none" if defaults[each.field] is None else f"{defaults[each.field]:.10g}") for each in LIMITS
    ]
    assert all(row["precedent"] for row in rows)


def test_the_fields_of_the_access_log() -> None:
    """Those of JSON, which has all; and each name of hypercorn's formats."""
    text = PAGE.read_text()
    record = logging.makeLogRecord(
        {"client": "-", "method": "-", "path": "-", "http_version": "-", "status": 0, "outcome": "-", "bytes": 0,
         "duration": 0.0, "time_to_head": None, "request_id": "-", "route": None}
    )  # fmt: skip
    shown = {name for row in table(text, "field", "what") for name in re.findall(r"`(\w+)`", row["field"])}
    assert shown == set(json.loads(JSONFormatter().format(record)))
    names = re.search(r"meaning here: (.*?)\. One", text, re.DOTALL)
    assert names is not None
    assert set(re.findall(r"`(\w+)`", names[1])) == set(ATOMS)
