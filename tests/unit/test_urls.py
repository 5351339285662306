"""From a handler or a name back to a path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from trivet._pattern import Pattern, parse
from trivet._urls import Urls


@dataclass
class Route:
    pattern: Pattern
    name: str
    handler: Any


def index() -> None: ...


def show() -> None: ...


def urls() -> Urls:
    found = Urls()
    for path, name, handler in [
        ("/", "index", index),
        ("/show/{id:int}", "show", show),
        ("/show/{id:int}/{tab}", "show", show),
        ("/twice/{id}", "twice", index),
        ("/same/{x}", "same", show),
        ("/other/{x}", "same", show),
    ]:
        found.add(Route(parse(path), name, handler))
    return found


@pytest.mark.parametrize(
    ("target", "params", "path"),
    [
        ("index", {}, "/"),
        (index, {}, "/"),
        (index, {"id": "a/b"}, "/twice/a%2Fb"),
        ("show", {"id": 1}, "/show/1"),
        (show, {"id": 1, "tab": "x"}, "/show/1/x"),
        ("twice", {"id": "ü"}, "/twice/%C3%BC"),
    ],
)
def test_a_path_is_built(target: Any, params: dict[str, Any], path: str) -> None:
    """By name or handler; several paths are told apart by their parameters."""
    assert urls().build(target, params) == path


@pytest.mark.parametrize(
    ("target", "params", "error", "message"),
    [
        ("shwo", {}, LookupError, "no route is called 'shwo'; the nearest is 'show'"),
        (len, {}, LookupError, "no route is called 'len'. Known are: index, same, show, twice"),
        ("xxxxxxx", {}, LookupError, "Known are: index, same, show, twice"),
        ("same", {"x": "a"}, LookupError, r"several paths with these parameters: /same/\{x\}, /other/\{x\}"),
        ("show", {}, TypeError, "needs 'id'"),
        ("show", {"id": 1, "tba": "x"}, TypeError, "tba"),
        ("index", {"id": 1}, TypeError, "has no field 'id'"),
        ("show", {"id": "x"}, ValueError, "must be an int"),
    ],
)
def test_what_cannot_be_built(target: Any, params: dict[str, Any], error: type[Exception], message: str) -> None:
    """A link that leads nowhere is an error where it is made."""
    with pytest.raises(error, match=message):
        urls().build(target, params)


def test_without_routes() -> None:
    """The message says that there are none."""
    with pytest.raises(LookupError, match="Known are: none"):
        Urls().build("x", {})
