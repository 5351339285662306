"""Which of several errors decides the response."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from trivet._groups import choose, fatal, leaves
from trivet._problem import ErrorMap
from trivet.errors import HTTPError, RequestCancelled


class Cancelled(BaseException):
    """Stands for trio.Cancelled, which this floor must not know."""


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("", errors)


def status_of(error: BaseException) -> int | None:
    """The rule as a whole, as the application applies it; None when nothing but cancellation is left."""
    errors = ErrorMap()
    outcomes: list[tuple[bool, int, int]] = []
    for leaf in leaves(error, (Cancelled,)):
        known = errors.http_error(leaf)
        status = 500 if known is None else known.status
        outcomes.append((known is None, status, status))
    return choose(outcomes) if outcomes else None


BUG = ValueError("a bug")


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([HTTPError(404)], 404),
        ([BUG], 500),
        ([group(HTTPError(404))], 404),
        ([group(group(group(HTTPError(403))))], 403),
        ([HTTPError(404), HTTPError(404)], 404),
        ([HTTPError(404), HTTPError(403)], 403),
        ([HTTPError(422), HTTPError(401), HTTPError(413)], 401),
        ([HTTPError(404), BUG], 500),
        ([HTTPError(404), HTTPError(502)], 502),
        ([HTTPError(504), HTTPError(502)], 502),
        ([HTTPError(503), BUG], 500),
        ([HTTPError(404), Cancelled()], 404),
        ([Cancelled(), BUG, Cancelled()], 500),
        ([Cancelled(), group(Cancelled(), HTTPError(409))], 409),
        ([RequestCancelled("deadline"), HTTPError(404)], 503),
        ([RequestCancelled("disconnected"), HTTPError(404)], 404),
        ([group(HTTPError(404), group(BUG)), HTTPError(502)], 500),
        ([Cancelled()], None),
        ([Cancelled(), group(Cancelled())], None),
    ],
)
def test_a_group_answers_as_its_worst_leaf_whatever_the_order(errors: list[BaseException], status: int | None) -> None:
    """A bug beats 5xx beats 4xx, the lowest first, in any order; Trio's order is random within a tick."""
    for order in permutations(errors):
        assert status_of(group(*order)) == status


def test_an_error_by_itself_is_its_own_leaf() -> None:
    """So that one path serves both."""
    error = HTTPError(404)
    assert leaves(error, (Cancelled,)) == [error]
    assert leaves(Cancelled(), (Cancelled,)) == []


def test_leaves_come_in_the_order_of_the_group_each_once() -> None:
    """Each leaf meets its catcher once, even one that two groups hold."""
    first, second, third = ValueError("1"), KeyError("2"), OSError("3")
    assert leaves(group(first, group(second, first), third)) == [first, second, third]


def test_errors_that_are_equal_but_not_the_same_are_all_leaves() -> None:
    """Both are logged."""
    assert len(leaves(group(HTTPError(404), HTTPError(404)))) == 2


def test_a_group_may_be_nested_deeper_than_the_interpreter_recurses() -> None:
    """A nursery in a nursery in a nursery."""
    error: BaseException = HTTPError(404)
    for _ in range(5000):
        error = group(error)
    assert [type(leaf) for leaf in leaves(error)] == [HTTPError]
    assert not fatal(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (group(KeyboardInterrupt()), True),
        (group(HTTPError(404), group(SystemExit(1))), True),
        (group(Cancelled(), KeyboardInterrupt()), True),
        (KeyboardInterrupt(), False),
        (SystemExit(1), False),
        (group(HTTPError(404), BUG), False),
        (group(Cancelled()), False),
        (group(GeneratorExit()), False),
    ],
)
def test_only_a_group_with_an_exit_in_it_is_fatal(error: BaseException, expected: bool) -> None:
    """A handler's own SystemExit is a bug like any other; in a group it may be the interpreter's."""
    assert fatal(error) is expected


@pytest.mark.parametrize(
    ("outcomes", "chosen"),
    [
        ([(False, 404, "a")], "a"),
        ([(False, 404, "a"), (False, 404, "b")], "a"),
        ([(False, 404, "a"), (False, 400, "b")], "b"),
        ([(False, 500, "caught"), (True, 500, "bug")], "bug"),
        ([(True, 500, "a"), (True, 500, "b")], "a"),
        ([(False, 502, "a"), (False, 400, "b")], "a"),
        ([(False, 200, "a"), (False, 404, "b")], "b"),
        ([(False, 303, "a"), (False, 202, "b")], "b"),
        ([(False, 200, "a"), (False, 500, "b"), (False, 404, "c")], "b"),
    ],
)
def test_choosing_among_answers(outcomes: Any, chosen: str) -> None:
    """An uncaught bug beats a caught one; a catcher's success comes last; among equals the first."""
    assert choose(outcomes) == chosen


def test_choosing_among_nothing_is_the_caller_s_error() -> None:
    """A group of nothing but cancellation is no failure, and is not brought here."""
    with pytest.raises(ValueError, match="at least one outcome"):
        choose([])
