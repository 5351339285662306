"""Heads that come bit by bit: the same verdicts as at one look, and no byte looked at twice."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.linear import LINEAR, growth
from trivet.server._http1_begun import EMPTY_LINES, Begun, find_end
from trivet.server._http1_head import Refused
from trivet.server._limits import Limits

LOOSE = Limits()
LIMITS = [LOOSE, Limits(request_line=20, head_size=60, head_fields=2), Limits(request_line=40, head_size=24)]

WORDS = [
    *(b"GET / HTTP/1.1\r\n", b"GET /", b" ", b" HTTP/1.1", b"HTTP/1.0", b"get", b"\r\n", b"\r\n\r\n", b"\r", b"\n"),
    *(b"\0", b"Host: a\r\n", b"A: b\r\n", b"A", b":", b"\xff", b"x" * 15, b"\r\n" * EMPTY_LINES),
]
heads = st.lists(st.sampled_from(WORDS), max_size=16).map(b"".join)
Verdict = int | tuple[int, str]


def at_one_look(buffer: bytes | bytearray, limits: Limits, start: int = 0) -> Verdict:
    try:
        return find_end(buffer, start, limits)
    except Refused as refused:
        return refused.status, refused.detail


def bit_by_bit(begun: Begun, buffer: bytes) -> Verdict:
    try:
        return begun.find_end(buffer)
    except Refused as refused:
        return refused.status, refused.detail


@given(data=heads, cuts=st.lists(st.integers(0, 200)), limits=st.sampled_from(LIMITS))
@example(data=b"\r\n" * 9 + b"\r\n", cuts=list(range(20)), limits=LOOSE)
@example(data=b"GET / HTTP/1.1\r\nA: b\r\r", cuts=list(range(24)), limits=LOOSE)
@example(data=b"GET / HTTP/1.1\r\nA: b\r\n\r\n", cuts=[22, 23, 24], limits=LOOSE)
def test_a_head_in_pieces_is_judged_as_at_one_look(data: bytes, cuts: list[int], limits: Limits) -> None:
    """After each piece, wherever the cuts are, there is the verdict of who looks at all of it: status and words."""
    begun = Begun(limits)
    for end in sorted({*(cut for cut in cuts if cut < len(data)), len(data)}):
        verdict = at_one_look(data[:end], limits)
        assert bit_by_bit(begun, data[:end]) == verdict
        if verdict != -1:
            return


@given(data=heads, before=st.binary(max_size=5))
def test_a_head_may_stand_behind_something_else(data: bytes, before: bytes) -> None:
    """What is before `start` does not matter."""
    verdict = at_one_look(data, LOOSE)
    found = at_one_look(bytearray(before + data), LOOSE, len(before))
    assert found == (verdict + len(before) if isinstance(verdict, int) and verdict >= 0 else verdict)


@pytest.mark.parametrize(
    "piece",
    [b"\r\n" * EMPTY_LINES + b"GET / HTTP/1.1\r\nA: " + b"b" * 200_000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 40_000],
    ids=["one field", "many fields"],
)
def test_a_head_that_comes_by_the_byte_is_looked_at_once(piece: bytes) -> None:
    """The work is linear, however small the pieces are."""
    limits = Limits(request_line=10**6, head_size=10**6, head_fields=10**6)

    def drip(size: int) -> None:
        begun, buffer = Begun(limits), bytearray()
        for byte in piece[:size]:
            buffer.append(byte)
            assert begun.find_end(buffer) == -1

    assert growth(drip, 4000) < LINEAR
