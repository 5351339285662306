"""Entity tags and dates: how they are read and compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet._validators import (
    EntityTag,
    checked_date,
    checked_tag,
    format_date,
    parse_date,
    parse_tag,
    parse_tags,
    strong_match,
    weak_match,
)

LISTS = [
    ('"xyzzy"', ['"xyzzy"']),
    ('W/"xyzzy"', ['W/"xyzzy"']),
    ('""', ['""']),
    ('"a", "b"', ['"a"', '"b"']),
    ('"a","b"', ['"a"', '"b"']),
    ('"a" ,\t W/"b"', ['"a"', 'W/"b"']),
    (', "a",, "b",', ['"a"', '"b"']),
    ('"a,b", "c"', ['"a,b"', '"c"']),
    ('"W/"', ['"W/"']),
    ('"\\"', ['"\\"']),  # a backslash is a character like others: section 8.8.3
    ('"é"', ['"é"']),
]

NO_LISTS = [
    "",
    ",",
    "*",
    "xyzzy",
    '"a',
    'a"',
    "'a'",
    'w/"a"',
    'W/ "a"',
    'W"a"',
    '"a" "b"',
    '"a""b"',
    '"a", *',
    '"a", b',
    '"a b"',
    '"a\x7f"',
    '"a\n"',
    '"€"',
]


@pytest.mark.parametrize(("value", "tags"), LISTS)
def test_a_list_of_tags_is_read_tag_by_tag(value: str, tags: list[str]) -> None:
    """Commas within a tag, empty elements and blanks around them are as RFC 9110 has them."""
    found = parse_tags(value)
    assert found is not None
    assert [str(tag) for tag in found] == tags


@pytest.mark.parametrize("value", NO_LISTS)
def test_what_is_no_list_of_tags_is_none(value: str) -> None:
    """All of it is refused, not the part that cannot be read."""
    assert parse_tags(value) is None


def test_a_long_list_is_read_in_one_go() -> None:
    """Time grows with the length, not with its square: this would take minutes."""
    found = parse_tags('W/"a",' * 200_000)
    assert found is not None
    assert len(found) == 200_000
    assert parse_tags('"a" ' + "," * 1_000_000 + "x") is None


TAGS = st.builds(EntityTag, st.text(st.sampled_from("!#,W/\\aé~"), max_size=5).map('"{}"'.format), st.booleans())


@given(st.lists(TAGS, min_size=1), st.sampled_from([",", ", ", " , ", ",,", "\t,"]))
def test_a_list_that_was_written_is_read_again(tags: list[EntityTag], comma: str) -> None:
    """Whatever is in the tags, and between them."""
    assert parse_tags(comma.join(map(str, tags))) == tuple(tags)


@given(st.text())
def test_no_text_fails_to_be_judged(value: str) -> None:
    """Tags, or none."""
    found = parse_tags(value)
    assert found is None or all(parse_tag(str(tag)) == tag for tag in found)


COMPARED = [  # RFC 9110 section 8.8.3.2: the table of examples
    ('W/"1"', 'W/"1"', False, True),
    ('W/"1"', 'W/"2"', False, False),
    ('W/"1"', '"1"', False, True),
    ('"1"', '"1"', True, True),
    ('"1"', 'W/"1"', False, True),
    ('"1"', '"2"', False, False),
]


@pytest.mark.parametrize(("one", "other", "strong", "weak"), COMPARED)
def test_tags_are_compared_strongly_and_weakly(one: str, other: str, strong: bool, weak: bool) -> None:
    """As the table of the RFC has it; and what has no tag matches none."""
    current = checked_tag(one)
    assert strong_match([checked_tag(other)], current) is strong
    assert weak_match([checked_tag(other)], current) is weak
    assert not strong_match([current], None)
    assert not weak_match([current], None)


@pytest.mark.parametrize(
    "value", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_a_date_is_read_in_its_three_forms(value: str) -> None:
    """RFC 9110 section 5.6.7."""
    assert parse_date(value) == 784111777


@pytest.mark.parametrize(
    "value", ["", "soon", "1994", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT",
              "Sun, 06 Nov 99999 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", "0", "-1", "\x00", "Sun, 06 Nov"]
)  # fmt: skip
def test_what_is_no_date_is_none(value: str) -> None:
    """Never an error: a client sends what it likes."""
    assert parse_date(value) is None


@given(st.text())
def test_no_text_fails_to_be_judged_as_a_date(value: str) -> None:
    """Seconds, or none."""
    assert isinstance(parse_date(value), int | None)


@given(st.integers(0, 253402300799))
def test_a_date_that_was_written_is_read_again(seconds: int) -> None:
    """To the second, up to the year 9999."""
    assert parse_date(format_date(seconds)) == seconds


def test_a_point_in_time_counts_in_whole_seconds() -> None:
    """Wherever it was written down; less than a second is cut off."""
    assert checked_date(datetime(1994, 11, 6, 8, 49, 37, 999999, tzinfo=UTC)) == 784111777
    assert checked_date(datetime(1994, 11, 6, 9, 49, 37, tzinfo=timezone(timedelta(hours=1)))) == 784111777


@pytest.mark.parametrize("value", ["v7", '"v 7"', "", '"a", "b"', ' "a"', "*"])
def test_a_tag_without_its_quotes_is_refused(value: str) -> None:
    """It would go out like that, and match nothing that comes back."""
    with pytest.raises(ValueError, match="Write it as it goes out"):
        checked_tag(value)


@pytest.mark.parametrize("value", [7, b'"v7"', None])
def test_a_tag_of_another_type_is_refused(value: Any) -> None:
    """With the remedy."""
    with pytest.raises(TypeError, match="an entity tag is str, not"):
        checked_tag(value)


def test_a_date_without_a_time_zone_is_refused() -> None:
    """It would be another point in time on another machine."""
    with pytest.raises(ValueError, match="has no time zone"):
        checked_date(datetime(2026, 1, 1))  # noqa: DTZ001 - on purpose
    with pytest.raises(TypeError, match="not float"):
        checked_date(1.5)  # type: ignore[arg-type]
