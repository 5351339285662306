"""Options: which there are, which values they take, and how the nearest wins."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trivet import _options
from trivet._option_checks import check_patience
from trivet._options import Level, level, resolve
from trivet.errors import RegistrationError


def levels(*options: dict[str, Any]) -> list[Level]:
    return [level(each) for each in options]


def test_the_defaults_are_the_documented_ones() -> None:
    """DESIGN's table."""
    found = resolve(levels({}))
    assert (found.timeout, found.send_timeout, found.body_timeout) == (30, 10, 10)
    assert found.max_body == 2 * 1024 * 1024
    assert found.on_disconnect is None
    assert (_options.CLEANUP_GRACE, _options.DRAIN_TIMEOUT) == (5, 10)
    assert (found.middleware, found.dependencies, found.tags, found.catchers) == ((), (), (), ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([{"timeout": 1}, {}, {}], 1),
        ([{"timeout": 1}, {"timeout": 2}, {}], 2),
        ([{"timeout": 1}, {"timeout": 2}, {"timeout": 3}], 3),
        ([{}, {}, {"timeout": 3}], 3),
        ([{"timeout": 1}, {"timeout": None}, {}], math.inf),  # None says "no bound", which is a choice
        ([{"timeout": None}, {}, {"timeout": 3}], 3),
        ([{}, {}, {}], 30),
    ],
)
def test_the_nearest_scalar_wins(given: list[dict[str, Any]], expected: float) -> None:
    """Route over router over application."""
    assert resolve(levels(*given)).timeout == expected


@pytest.mark.parametrize("name", ["send_timeout", "body_timeout", "max_body"])
def test_none_is_no_bound(name: str) -> None:
    """It is kept as `None`, and overrides an outer bound."""
    assert getattr(resolve(levels({name: 5}, {name: None})), name) is None
    assert getattr(resolve(levels({name: None}, {name: 5})), name) == 5


def test_lists_add_up_outer_first_and_tags_once() -> None:
    """Middleware, dependencies and tags of all levels apply."""

    async def a(request: Any, call_next: Any) -> Any: ...

    async def b(request: Any, call_next: Any) -> Any: ...

    found = resolve(levels({"middleware": [a], "tags": ["x", "y"]}, {"middleware": [b, a], "tags": ["y", "z"]}))
    assert found.middleware == (a, b, a)
    assert found.tags == ("x", "y", "z")


def test_a_level_that_is_changed_later_counts_when_it_is_resolved() -> None:
    """Decorators append to a level after routes were registered below it."""
    outer, inner = levels({}, {})
    outer.middleware.append(len)  # type: ignore[arg-type]
    inner.catchers[404] = len
    found = resolve([outer, inner])
    assert found.middleware == (len,)
    assert found.catchers == ({404: len},)


@pytest.mark.parametrize(
    ("policy", "cancels"),
    [
        (None, {"GET", "HEAD", "OPTIONS"}),
        ("cancel", {"GET", "HEAD", "OPTIONS", "POST", "PUT", "FOO"}),
        ("finish", set()),
    ],
)
def test_which_methods_are_cancelled_when_the_client_leaves(policy: Any, cancels: set[str]) -> None:
    """Safe methods by default, all or none by choice."""
    found = resolve(levels({} if policy is None else {"on_disconnect": policy}))
    methods = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "FOO"}
    assert {method for method in methods if found.cancels(method)} == cancels


@pytest.mark.parametrize("seconds", [0.001, 1, 30.5, math.inf, None])
def test_seconds(seconds: Any) -> None:
    """A positive number, or none."""
    for name in ("timeout", "send_timeout", "body_timeout"):
        level({name: seconds})


@pytest.mark.parametrize("seconds", [0, -1, -0.0, math.nan, True, "3", [], -math.inf])
def test_no_seconds(seconds: Any) -> None:
    """Anything else is refused, with the remedy."""
    for name in ("timeout", "send_timeout", "body_timeout"):
        with pytest.raises(RegistrationError, match=rf"{name}=2\.5"):
            level({name: seconds})


@pytest.mark.parametrize(
    ("value", "fine"), [(0, True), (5, True), (None, True), (-1, False), (1.5, False), (True, False)]
)
def test_bytes(value: Any, fine: bool) -> None:
    """A whole number from 0; 0 refuses every body."""
    if fine:
        assert level({"max_body": value}).max_body == value
    else:
        with pytest.raises(RegistrationError, match="max_body="):
            level({"max_body": value})


@pytest.mark.parametrize(
    ("value", "fine"),
    [(0, True), (2.5, True), (None, False), (-1, False), (math.inf, False), (math.nan, False), ("1", False)],
)
def test_patience(value: Any, fine: bool) -> None:
    """A grace is bounded: what never ends would hold up all others."""
    if fine:
        check_patience("cleanup_grace", value)
    else:
        with pytest.raises(RegistrationError, match="cleanup_grace="):
            check_patience("cleanup_grace", value)


@pytest.mark.parametrize("value", ["abc", 5, None])
@pytest.mark.parametrize("name", ["middleware", "dependencies", "tags"])
def test_a_list_is_a_list(name: str, value: Any) -> None:
    """A text is not a list of its letters."""
    with pytest.raises(RegistrationError, match="is not a list"):
        level({name: value})


@pytest.mark.parametrize(
    ("name", "owner", "known", "hint"),
    [
        ("timeot", "route", (), "Did you mean 'timeout'"),
        ("sumary", "route", ("summary",), "Did you mean 'summary'"),
        ("debug", "router", (), r"App\(debug=...\)"),
        ("zzz", "router", (), "There are body_timeout, "),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest(
    name: str, owner: str, known: tuple[str, ...], hint: str
) -> None:
    """A typo must not be a silent default."""
    with pytest.raises(RegistrationError, match=rf"(?s)unknown option '{name}' of a {owner}.*{hint}"):
        level({name: 1}, known, owner)
