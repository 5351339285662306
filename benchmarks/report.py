"""From samples to figures and to the table that is printed.

This file owns the statistics. A ratio is taken within a round, where both slices met the same machine, and the median
is taken over the rounds: a machine that slows down for a while then moves both halves of a ratio, or one ratio of many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from .comparison import Samples
from .generator import Sample


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one peer in one cell.

    Attributes:
        peer: its name.
        rate: requests per second, the median.
        ratio: of its rate to the base's, the median of the rounds; 1 is the base's own speed.
        low: the lowest ratio of any round.
        high: the highest.
        cpu: microseconds of the server's CPU time for a request, the median; `None`: not known.
        cpu_over: microseconds over the base's in the same round, the median: what the framework itself costs.
        cpu_ratio: the base's CPU time by the peer's, the median; the ratio of rates if nothing else ran.
    """

    peer: str
    rate: float
    ratio: float
    low: float
    high: float
    cpu: float | None
    cpu_over: float | None
    cpu_ratio: float | None


def rows(samples: Samples, base: str) -> list[Row]:
    """A row for each peer, in the order given; the ratios are to `base`. None at all if that one is missing."""
    return [_row(peer, own, samples[base]) for peer, own in samples.items()] if base in samples else []


def _row(peer: str, own: Sequence[Sample], base: Sequence[Sample]) -> Row:
    ratios = [_rate(a) / _rate(b) for a, b in zip(own, base, strict=True)]
    pairs = [(a, b) for a, b in zip(map(_cpu, own), map(_cpu, base), strict=True) if a is not None and b is not None]
    return Row(
        peer=peer,
        rate=median(map(_rate, own)),
        ratio=median(ratios),
        low=min(ratios),
        high=max(ratios),
        cpu=median(a for a, _ in pairs) if pairs else None,
        cpu_over=median(a - b for a, b in pairs) if pairs else None,
        cpu_ratio=median(b / a for a, b in pairs) if pairs else None,
    )


def _rate(sample: Sample) -> float:
    return sample.answers / sample.elapsed


def _cpu(sample: Sample) -> float | None:
    return None if sample.cpu is None else sample.cpu / sample.answers * 1e6


def table(title: str, figures: Sequence[Row], base: str) -> Iterator[str]:
    """The lines of a cell's table, as Markdown, so that it can be pasted where it is quoted."""
    width = max([len("peer"), *(len(row.peer) for row in figures)])
    yield f"### {title}"
    yield ""
    yield f"| {'peer':{width}} |  req/s | of {base} | min..max     | CPU us/req | over {base} | CPU, of {base} |"
    yield (
        f"|{'-' * (width + 2)}|{'-' * 7}:|{'-' * (len(base) + 4)}:|{'-' * 14}|{'-' * 11}:"
        f"|{'-' * (len(base) + 6)}:|{'-' * (len(base) + 9)}:|"
    )
    for row in figures:
        spread = f"{row.low:.2f}..{row.high:.2f}"
        yield (
            f"| {row.peer:{width}} | {row.rate:6.0f} | {row.ratio:{len(base) + 3}.3f} | {spread:12}"
            f" | {number(row.cpu, '.1f'):>10} | {number(row.cpu_over, '+.1f'):>{len(base) + 5}}"
            f" | {number(row.cpu_ratio, '.3f'):>{len(base) + 8}} |"
        )


def number(value: float | None, form: str) -> str:
    """A figure, or a dash for one that is not known."""
    return "-" if value is None else format(value, form)
