"""`Range`: what it selects, and what is no range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet._ranges import Unsatisfiable, select

# RFC 9110 section 14.1.2 and its examples, for 10000 bytes and for ten.
SELECTED = [
    ("bytes=0-499", 10_000, (0, 500)),
    ("bytes=500-999", 10_000, (500, 1000)),
    ("bytes=-500", 10_000, (9500, 10_000)),
    ("bytes=9500-", 10_000, (9500, 10_000)),
    ("bytes=0-0", 10_000, (0, 1)),
    ("bytes=9999-9999", 10, None),
    ("bytes=0-", 10, (0, 10)),
    ("bytes=9-", 10, (9, 10)),
    ("bytes=-1", 10, (9, 10)),
    ("bytes=-10", 10, (0, 10)),
    ("bytes=-11", 10, (0, 10)),  # a suffix longer than all of it is all of it
    ("bytes=5-10", 10, (5, 10)),
    ("bytes=5-99999999999999999999999999", 10, (5, 10)),
    ("bytes=-99999999999999999999999999", 10, (0, 10)),
    ("bytes=000000000000000000000000000005-7", 10, (5, 8)),
    ("Bytes=1-2", 10, (1, 3)),  # units are case-insensitive: section 14.1
    ("bytes= 1-2 ,", 10, (1, 3)),  # an empty element of a list: section 5.6.1
]

UNSATISFIABLE = ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=9" + "9" * 5000 + "-", "bytes=11-99"]

IGNORED = [
    "",
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=,",
    "bytes=5-2",
    "bytes=a-b",
    "bytes=1",
    "bytes=1-2-3",
    "bytes=--1",
    "bytes=+1-2",
    "bytes=1_0-",
    "bytes=0x1-",
    "bytes=1 - 2",
    "bytes =1-2",
    "bytes:1-2",
    "bytes=²-",
    "bytes=١-٢",
    "items=1-2",
    "bytes=1-2,4-5",  # several: the whole is an answer as well
    "bytes=0-0,-1",
    "bytes=" + "0-," * 10_000,
    "bytes=1-2;q=1",
]


@pytest.mark.parametrize(("value", "size", "expected"), SELECTED)
def test_one_range_selects_what_is_there_of_it(value: str, size: int, expected: tuple[int, int] | None) -> None:
    """An interval that is cut at the end, or 416 if nothing of it is there."""
    if expected is None:
        with pytest.raises(Unsatisfiable):
            select(value, size)
    else:
        assert select(value, size) == expected


@pytest.mark.parametrize("value", UNSATISFIABLE)
def test_a_range_behind_the_end_is_unsatisfiable(value: str) -> None:
    """However many digits it has."""
    with pytest.raises(Unsatisfiable):
        select(value, 10)


@pytest.mark.parametrize("value", IGNORED, ids=lambda value: value[:20])
def test_what_is_no_single_range_of_bytes_is_ignored(value: str) -> None:
    """The answer is the whole then, which is never wrong."""
    assert select(value, 10) is None


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=3-"])
def test_nothing_can_be_selected_of_an_empty_file(value: str) -> None:
    """It is sent as it is, empty: an error would hit those who bound every download."""
    assert select(value, 0) is None


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 20))
def test_a_range_selects_the_bytes_that_it_names(first: int, last: int, size: int) -> None:
    """As one would do it by hand, byte by byte."""
    named = [at for at in range(size) if first <= at <= last]
    try:
        found = select(f"bytes={first}-{last}", size)
    except Unsatisfiable:
        assert not named
        return
    if first > last:
        assert found is None
    else:
        assert found is not None
        assert list(range(*found)) == named


@given(
    st.one_of(st.text(max_size=30), st.text("0123456789-, =bytes", max_size=30).map("bytes={}".format)),
    st.integers(0, 50),
)
def test_nothing_that_a_client_sends_selects_what_is_not_there(value: str, size: int) -> None:
    """An interval within the file that is not empty, or none, and no other error."""
    try:
        found = select(value, size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found[0] < found[1] <= size
