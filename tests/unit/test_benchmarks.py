"""The benchmarks' own arithmetic and checks: a wrong figure would be believed."""

from __future__ import annotations

import pytest

from benchmarks.cases import CASES, GREETING
from benchmarks.generator import Broken, Sample, parse_head
from benchmarks.report import rows


def test_a_ratio_is_taken_within_its_round() -> None:
    """When a machine slows down tenfold for a round, both halves of that round's ratio do, and the ratio stands."""
    base = [Sample(1000, 1.0, 0.5), Sample(100, 1.0, 0.5), Sample(100, 1.0, 0.5)]
    peer = [Sample(800, 1.0, 0.5), Sample(80, 1.0, 0.5), Sample(90, 1.0, 0.5)]
    row = rows({"bare": base, "trivet": peer})[1]
    assert (row.ratio, row.low, row.high, row.rate) == (0.8, 0.8, 0.9, 90.0)


def test_the_cpu_time_is_per_request_and_over_the_base() -> None:
    """Half a second for a thousand requests is 500 us each; a ratio below one says that the peer needs more."""
    row = rows({"bare": [Sample(1000, 1.0, 0.4)], "trivet": [Sample(1000, 1.0, 0.5)]})[1]
    assert (row.cpu, row.cpu_over, row.cpu_ratio) == pytest.approx((500.0, 100.0, 0.8))


def test_a_system_that_does_not_tell_cpu_time_leaves_it_out() -> None:
    """The rates stand without it."""
    row = rows({"bare": [Sample(10, 1.0, None)], "trivet": [Sample(5, 1.0, None)]})[1]
    assert (row.ratio, row.cpu, row.cpu_over, row.cpu_ratio) == (0.5, None, None, None)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 \r\ncontent-length: 13", (13, False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length:2\r\nConnection: close", (2, True)),
        (b"HTTP/1.1 200 \r\nx-content-length: 9\r\ncontent-length: 13\r\ndate: now", (13, False)),
    ],
)
def test_the_length_and_the_end_of_a_connection_are_read(head: bytes, expected: tuple[int, bool]) -> None:
    """Names are compared without regard to case, and as whole names."""
    assert parse_head(head) == expected


@pytest.mark.parametrize("head", [b"HTTP/1.1 500 \r\ncontent-length: 0", b"HTTP/1.1 200 \r\nserver: h"])
def test_an_answer_that_would_not_count_ends_the_run(head: bytes) -> None:
    """An error that is fast must not win."""
    with pytest.raises(Broken):
        parse_head(head)


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        (404, "text/plain", GREETING.encode()),
        (200, "text/html", GREETING.encode()),
        (200, "text/plain", b"Hello!"),
    ],
)
def test_a_peer_that_answers_otherwise_is_not_measured(status: int, media_type: str, body: bytes) -> None:
    """Status, type and body are those of everybody else, or the comparison says nothing."""
    headers = {"content-type": media_type, "content-length": str(len(body))}
    assert CASES[0].check("/hello", status, headers, body) is not None


def test_a_right_answer_passes_however_its_json_is_spaced() -> None:
    """JSON is compared as a value."""
    body = b'{ "item_id": 123 }\n'
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    assert CASES[1].check("/items/123", 200, headers, body) is None
