"""A bar chart as plain SVG. This file owns how it looks; the figures come in order and are drawn in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

Tone = Literal["ours", "peer", "limit"]

_COLOURS: Final[dict[Tone, str]] = {"ours": "#0b6e4f", "peer": "#6b7a8f", "limit": "#c9c2b0"}
"""Dark enough on white, told apart without colour by their lightness."""

_LABEL: Final = 190
_BAR: Final = 480
_VALUE: Final = 90
_STEP: Final = 24
_TOP: Final = 44


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is called, how long it is, and whose it is."""

    label: str
    value: float
    tone: Tone = "peer"


def bars(title: str, description: str, drawn: Sequence[Bar], unit: str) -> str:
    """A chart of horizontal bars.

    Args:
        title: its heading, and what a screen reader says first.
        description: what the picture shows, for who does not see it; the figures are added.
        drawn: from top to bottom.
        unit: of the values.
    """
    longest = max((bar.value for bar in drawn), default=1.0) or 1.0
    width, height = _LABEL + _BAR + _VALUE, _TOP + _STEP * len(drawn) + 10
    told = "; ".join(f"{bar.label} {bar.value:,.0f}" for bar in drawn)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" ',
        'role="img" aria-labelledby="title desc" font-family="system-ui, sans-serif" font-size="13">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape(f"{description} In {unit}: {told}.")}</desc>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="24" font-size="15" font-weight="600" fill="#1a1a1a">{escape(title)}, {escape(unit)}</text>',
    ]
    for number, bar in enumerate(drawn):
        top, length = _TOP + _STEP * number, round(_BAR * bar.value / longest, 1)
        style = 'fill="#1a1a1a" font-weight="600"' if bar.tone == "ours" else 'fill="#1a1a1a"'
        lines += [
            f'<text x="{_LABEL - 8}" y="{top + 13}" text-anchor="end" {style}>{escape(bar.label)}</text>',
            f'<rect x="{_LABEL}" y="{top}" width="{length}" height="{_STEP - 6}" fill="{_COLOURS[bar.tone]}"/>',
            f'<text x="{_LABEL + length + 6}" y="{top + 13}" {style}>{bar.value:,.0f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
