"""Preconditions, in the order of RFC 9110 section 13.2.2."""

from __future__ import annotations

from typing import Any

import pytest

from trivet._conditional import evaluate, range_applies
from trivet._validators import Validators, checked_tag, format_date
from trivet.errors import InvalidInput

THEN = 784111777
NOW = Validators(checked_tag('"now"'), THEN)
WEAK = Validators(checked_tag('W/"now"'), THEN)
NOTHING = Validators()
AT, BEFORE, AFTER = format_date(THEN), format_date(THEN - 1), format_date(THEN + 1)

# method, fields, what is there, outcome
CASES: list[tuple[str, dict[str, str], Validators, str]] = [
    ("GET", {}, NOW, "perform"),
    ("PUT", {}, NOTHING, "perform"),
    # If-Match, which compares strongly
    ("PUT", {"if-match": '"now"'}, NOW, "perform"),
    ("PUT", {"if-match": '"then", "now"'}, NOW, "perform"),
    ("PUT", {"if-match": '"then"'}, NOW, "failed"),
    ("PUT", {"if-match": 'W/"now"'}, NOW, "failed"),
    ("PUT", {"if-match": '"now"'}, WEAK, "failed"),
    ("PUT", {"if-match": "*"}, NOW, "perform"),
    ("PUT", {"if-match": " * "}, WEAK, "perform"),
    ("PUT", {"if-match": "*"}, Validators(None, THEN), "perform"),
    ("PUT", {"if-match": "*"}, NOTHING, "failed"),
    ("PUT", {"if-match": '"now"'}, NOTHING, "failed"),
    ("PUT", {"if-match": '"*"'}, NOW, "failed"),
    ("GET", {"if-match": '"then"'}, NOW, "failed"),
    # If-Unmodified-Since, only without If-Match
    ("PUT", {"if-unmodified-since": AT}, NOW, "perform"),
    ("PUT", {"if-unmodified-since": AFTER}, NOW, "perform"),
    ("PUT", {"if-unmodified-since": BEFORE}, NOW, "failed"),
    ("PUT", {"if-unmodified-since": BEFORE, "if-match": '"now"'}, NOW, "perform"),
    ("PUT", {"if-unmodified-since": "soon"}, NOW, "perform"),
    ("PUT", {"if-unmodified-since": BEFORE}, Validators(checked_tag('"now"')), "perform"),
    # If-None-Match, which compares weakly
    ("GET", {"if-none-match": '"now"'}, NOW, "unchanged"),
    ("HEAD", {"if-none-match": 'W/"now"'}, NOW, "unchanged"),
    ("GET", {"if-none-match": '"now"'}, WEAK, "unchanged"),
    ("GET", {"if-none-match": '"then"'}, NOW, "perform"),
    ("GET", {"if-none-match": "*"}, NOW, "unchanged"),
    ("GET", {"if-none-match": "*"}, NOTHING, "perform"),
    ("PUT", {"if-none-match": "*"}, NOW, "failed"),
    ("PUT", {"if-none-match": "*"}, NOTHING, "perform"),
    ("DELETE", {"if-none-match": '"now"'}, NOW, "failed"),
    ("GET", {"if-none-match": "now"}, NOW, "perform"),
    # If-Modified-Since, only without If-None-Match, and only for GET and HEAD
    ("GET", {"if-modified-since": AT}, NOW, "unchanged"),
    ("HEAD", {"if-modified-since": AFTER}, NOW, "unchanged"),
    ("GET", {"if-modified-since": BEFORE}, NOW, "perform"),
    ("POST", {"if-modified-since": AT}, NOW, "perform"),
    ("GET", {"if-modified-since": "soon"}, NOW, "perform"),
    ("GET", {"if-modified-since": AT}, Validators(checked_tag('"now"')), "perform"),
    ("GET", {"if-none-match": '"then"', "if-modified-since": AT}, NOW, "perform"),
    ("GET", {"if-none-match": '"now"', "if-modified-since": BEFORE}, NOW, "unchanged"),
    # The first pair comes before the second.
    ("GET", {"if-match": '"then"', "if-none-match": '"now"'}, NOW, "failed"),
    ("GET", {"if-match": '"now"', "if-none-match": '"now"'}, NOW, "unchanged"),
    ("GET", {"if-unmodified-since": BEFORE, "if-modified-since": AT}, NOW, "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "fields", "current", "outcome"), CASES)
def test_preconditions_have_an_order(method: str, fields: dict[str, str], current: Validators, outcome: str) -> None:
    """Each alone, and those that hide others."""
    assert evaluate(method, fields, current) == outcome


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("PUT", {"if-match": "now"}),
        ("GET", {"if-match": "now"}),
        ("PUT", {"if-none-match": "now"}),
        ("PUT", {"if-match": ""}),
    ],
)
def test_a_malformed_list_is_the_clients_fault_where_a_guess_could_overwrite(method: str, fields: Any) -> None:
    """400, and which field it is."""
    with pytest.raises(InvalidInput) as raised:
        evaluate(method, fields, NOW)
    assert raised.value.status == 400
    assert [(fault.where, fault.name) for fault in raised.value.faults] == [("header", *fields)]


@pytest.mark.parametrize(
    ("value", "current", "applies"),
    [
        (None, NOW, True),
        ('"now"', NOW, True),
        ('"then"', NOW, False),
        ('W/"now"', NOW, False),
        ('"now"', WEAK, False),
        ('W/"now"', WEAK, False),
        ('"now", "then"', NOW, False),  # it is no list: section 13.1.5
        ("*", NOW, False),
        ("now", NOW, False),
        ("", NOW, False),
        (AT, NOW, True),
        (BEFORE, NOW, False),
        (AFTER, NOW, False),
        (AT, WEAK, False),
        (AT, Validators(checked_tag('"now"')), False),
        ('"now"', NOTHING, False),
    ],
)
def test_a_range_applies_to_the_very_version_that_the_client_has_a_part_of(
    value: str | None, current: Validators, applies: bool
) -> None:
    """Halves of two versions are worse than a download from the start."""
    assert range_applies(value, current, THEN + 60) is applies


def test_a_date_is_no_match_before_its_second_is_over() -> None:
    """Until then there may be another version of the same date; a tag tells them apart."""
    assert [range_applies(AT, NOW, THEN + later) for later in (-1, 0, 1)] == [False, False, True]
    assert [range_applies('"now"', NOW, THEN + later) for later in (-1, 0, 1)] == [True] * 3
