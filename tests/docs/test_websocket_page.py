"""The reference of WebSockets: its tables are what there is. How each ends is tested in `tests/asgi`."""

from __future__ import annotations

import re

import trivet
from tests.docs.pages import ROOT, Page
from tests.docs.tables import code, table
from trivet import _options

PAGE = Page.read(ROOT / "docs" / "reference" / "websockets.md")


def test_the_table_of_a_websocket_is_what_it_has() -> None:
    """Every public attribute has its place in the table, and no other has."""
    cells = [row["`ws.`"] for row in table(PAGE.text, "`ws.`", "what it does")]
    listed = {re.split(r"\W", name)[0] for cell in cells for name in re.findall(r"`([^`]+)`", cell)} - {"async"}
    assert listed == {name for name in dir(trivet.WebSocket) if not name.startswith("_")}


def test_the_table_of_options_is_what_is_taken() -> None:
    """Every option of a WebSocket has its row; those of the last one are not for others."""
    rows = table(PAGE.text, "option", "default")
    listed = [name for row in rows for name in re.findall(r"`([^`]+)`", row["option"])]
    assert sorted(listed) == sorted(_options.WebSocketOptions.__annotations__)
    own = set(re.findall(r"`([^`]+)`", rows[-1]["option"]))
    assert own == set(_options.WebSocketOptions.__annotations__) - set(_options.CommonOptions.__annotations__)


def test_the_defaults_are_those_of_the_table() -> None:
    """Seconds are what applies where nobody says anything."""
    resolved = _options.resolve([_options.Level()])
    rows = {code(row["option"]): row["default"] for row in table(PAGE.text, "option", "default")}
    assert rows["timeout"] == f"{resolved.timeout:g} s"
    assert rows["send_timeout"] == f"{resolved.send_timeout:g} s"
    assert (rows["idle_timeout"], resolved.idle_timeout) == ("none", None)
    assert (rows["origins"], resolved.origins) == ("none", frozenset())
    assert (rows["on_disconnect"], resolved.on_disconnect) == ("the grace", None)
