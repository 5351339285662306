"""The bucket of tokens that pays for second tries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trivet.contrib._tokens import Tokens


@given(st.floats(0, 2), st.floats(0, 20), st.lists(st.booleans(), max_size=200))
def test_it_is_never_overdrawn(share: float, most: float, asks: list[bool]) -> None:
    """Whatever the order of calls and second tries: never more than was there at first and came since."""
    tokens, spent, earned = Tokens(share, most), 0, 0
    for ask in asks:
        if ask:
            spent += tokens.spend()
        else:
            tokens.earn()
            earned += 1
        assert spent <= most + earned * share + 1e-6


def test_it_does_not_grow_in_good_times() -> None:
    """Or a long one would pay for a storm of second tries."""
    tokens = Tokens(0.5, 3)
    for _ in range(100):
        tokens.earn()
    assert [tokens.spend() for _ in range(5)] == [True, True, True, False, False]


def test_ten_calls_of_a_tenth_are_one() -> None:
    """Although that is a little less in binary."""
    tokens = Tokens(0.1, 1)
    assert tokens.spend()
    for _ in range(10):
        tokens.earn()
    assert tokens.spend()
