"""When a service is started again, and after which pause: the decision alone, without a service."""

from __future__ import annotations

from typing import Any

import pytest

from trivet._restart import Restart, Row
from trivet.errors import RegistrationError


def rows(options: Any, *runs: tuple[float, bool], chance: float = 1.0) -> list[Any]:
    """What follows each of these runs, (seconds, failed)."""
    row = Row(Restart.of(options), lambda: chance)
    return [row.after(ran, failed=failed) for ran, failed in runs]


FAILS, RETURNS = (0.0, True), (0.0, False)


@pytest.mark.parametrize(
    ("options", "runs", "after"),
    [
        ({}, [RETURNS], ["stopped"]),
        ({}, [FAILS] * 3, [1, 2, 4]),
        ({"restart": "never"}, [RETURNS], ["stopped"]),
        ({"restart": "never"}, [FAILS], ["failed"]),
        ({"restart": "always"}, [RETURNS, FAILS, RETURNS], [1, 2, 4]),
        ({"backoff": 0.25}, [FAILS] * 3, [0.25, 0.5, 1]),
        ({"backoff": 0}, [FAILS] * 3, [0, 0, 0]),
        ({"max_backoff": 3}, [FAILS] * 4, [1, 2, 3, 3]),
        ({"backoff": 100}, [FAILS] * 2, [100, 100]),
        ({"backoff": 100, "max_backoff": 10}, [FAILS], [10]),
        ({"max_restarts": 2}, [FAILS] * 3, [1, 2, "failed"]),
        ({"max_restarts": 0}, [FAILS], ["failed"]),
        ({"max_restarts": 1}, [FAILS, (60, True), (59, True)], [1, 1, "failed"]),
        ({"max_restarts": 1, "reset_after": 5}, [FAILS, (5, True), (4, True)], [1, 1, "failed"]),
        ({"restart": "always", "max_restarts": 2}, [RETURNS] * 3, [1, 2, "failed"]),
        ({"restart": "always", "max_restarts": 2}, [RETURNS, FAILS, RETURNS], [1, 2, "failed"]),
        ({"restart": "always", "max_restarts": 1}, [RETURNS, (60, False), (59, False)], [1, 1, "failed"]),
        ({"restart": "always", "max_restarts": None}, [RETURNS] * 4, [1, 2, 4, 8]),
        ({"restart": "always", "max_restarts": 0}, [RETURNS], ["failed"]),
        ({"max_restarts": 0}, [RETURNS], ["stopped"]),
    ],
)
def test_what_follows_a_run(options: Any, runs: list[tuple[float, bool]], after: list[Any]) -> None:
    """The longest pause that chance can draw, or how the service has ended."""
    assert rows(options, *runs) == after


def test_the_pause_is_drawn_from_all_of_its_length() -> None:
    """Full jitter: those that failed together do not come back together."""
    assert rows({}, FAILS, FAILS, chance=0.0) == [0, 0]
    assert rows({}, FAILS, FAILS, chance=0.5) == [0.5, 1]


def test_a_row_without_end_has_a_bound() -> None:
    """Doubling for years does not overflow."""
    assert rows({"max_restarts": None}, *[FAILS] * 2000)[-1] == 60


@pytest.mark.parametrize(
    "options",
    [
        {"restart": "sometimes"}, {"restart": True}, {"backoff": -1}, {"backoff": float("nan")},
        {"max_backoff": float("inf")}, {"max_backoff": None}, {"max_restarts": -1}, {"max_restarts": 1.5},
        {"max_restarts": True}, {"reset_after": "1"}, {"restarts": 3}, {"when": "always"},
    ],
)  # fmt: skip
def test_options_are_checked(options: Any) -> None:
    """A value that an option does not take is refused, and a name that there is none of."""
    with pytest.raises(RegistrationError):
        Restart.of(options)
