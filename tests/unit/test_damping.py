"""How often the log is told of the same."""

from __future__ import annotations

from trivet._damping import QUIET, REMEMBERED, Damper


def test_the_same_passes_once_in_a_while() -> None:
    """With how many did not; whatever else is told of meanwhile. A clock may begin anew."""
    damper = Damper()
    at = [("a", 100.0), ("a", 101.0), ("b", 101.0), ("a", 99.9 + QUIET), ("a", 100.0 + QUIET), ("a", 100.5 + QUIET)]
    again = "; 2 more like it since the last line"
    assert [damper.passes(what, now) for what, now in at] == ["", None, "", None, again, None]
    assert damper.passes("a", 5.0) == "; 1 more like it since the last line"
    assert damper.passes("a", 6.0) is None


def test_what_is_remembered_is_bounded() -> None:
    """Whoever has so much to tell may tell some of it again."""
    damper = Damper()
    for number in range(REMEMBERED):
        assert damper.passes(number, 0.0) == ""
    assert damper.passes(0, 1.0) is None
    assert damper.passes("one more", 1.0) == ""
    assert damper.passes(0, 1.0) == ""
