"""The page `RESULTS.md` and its chart. This file owns what stands on it and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .chart import Bar, Tone, bars
from .report import Row


def write(
    page: Path, machine: Sequence[tuple[str, str]], sections: Sequence[Sequence[str]], typed: Sequence[Row]
) -> None:
    """Write the page, and beside it the chart of one cell (`results.svg` beside `RESULTS.md`).

    Args:
        page: where.
        machine: names and texts.
        sections: the tables, as lines, with their headings.
        typed: the rows that are drawn.
    """
    picture = page.with_name(page.stem.lower() + ".svg")
    lines = [
        "# Results",
        "",
        "Written by `make bench`; [README.md](README.md) says what is measured and what the figures do not say.",
        "Ratios are to be compared, not figures: another machine has others, and so has this one on another day.",
        "",
        "| of this run | |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, text in machine),
        "",
    ]
    if typed:
        picture.write_text(_chart(typed))
        lines += [f"![Requests per second of each server and framework on the typed route]({picture.name})", ""]
    for section in sections:
        lines += [*section, ""]
    page.write_text("\n".join(lines).rstrip() + "\n")


def _chart(typed: Sequence[Row]) -> str:
    drawn = [Bar(row.peer, row.rate, _tone(row.peer)) for row in sorted(typed, key=lambda row: -row.rate)]
    return bars(
        "Typed route, JSON answer, 32 connections, one core",
        "A horizontal bar for each server and framework, the fastest on top.",
        drawn,
        "requests per second",
    )


def _tone(peer: str) -> Tone:
    if peer.startswith("limit"):
        return "limit"
    return "ours" if "trivet" in peer else "peer"
