"""What a scenario is, what it is told, and what it reports. This file owns when a figure meets its gate."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

MEBIBYTE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value.

    Attributes:
        name: of what.
        value: as measured.
        unit: behind the value and the gate.
        most: the greatest value that passes; `None`: no gate above.
        least: the smallest value that passes; `None`: no gate below.
        counted: it is a count, the same on any machine; the others depend on how fast and how busy this one is.
    """

    name: str
    value: float
    unit: str = ""
    most: float | None = None
    least: float | None = None
    counted: bool = False

    @property
    def gate(self) -> str:
        """The gate in words; empty if there is none."""
        if self.most is not None and self.most == self.least:
            return self._text(self.most)
        if self.most is not None:
            return f"<= {self._text(self.most)}"
        return "" if self.least is None else f">= {self._text(self.least)}"

    @property
    def passed(self) -> bool:
        """Whether the gate is met; always, if there is none."""
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def shown(self) -> str:
        """The value with its unit."""
        return self._text(self.value)

    def _text(self, value: float) -> str:
        if math.isnan(value):
            return "-"
        if math.isinf(value):
            return "never"
        digits = f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2f}"
        return f"{digits} {self.unit}".rstrip()


def at_most(name: str, value: float, gate: float, unit: str = "") -> Figure:
    """A measurement that must not be greater than its gate."""
    return Figure(name, value, unit, most=gate)


def exactly(name: str, value: float, gate: float = 0, unit: str = "") -> Figure:
    """A count that must be right, on any machine and at any size."""
    return Figure(name, value, unit, most=gate, least=gate, counted=True)


def told(name: str, value: float, unit: str = "") -> Figure:
    """A value without a gate."""
    return Figure(name, value, unit)


def absent(tool: str) -> Figure:
    """Says that a tool is not installed, and so not used."""
    return Figure(f"{tool} is not installed: left out", math.nan)


@dataclass(frozen=True, slots=True)
class Setting:
    """How a scenario is to be run.

    Attributes:
        size: how many clients, in each scenario's own sense.
        arguments: further ones for `trivet run`.
        haste: all time limits, of the server and of the gates that follow from them, are this many times shorter.
        tools: use slowhttptest, h2spec and Autobahn's wstest where they are installed.
    """

    size: int
    arguments: tuple[str, ...] = field(default=())
    haste: float = 1.0
    tools: bool = True


Report: TypeAlias = Callable[[Figure], object]
"""Takes a figure as it becomes known."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of L1 to L14.

    Attributes:
        key: its name on the command line.
        title: what happens in it.
        size: that the gates are meant for.
        small: enough to see that it works.
        run: reports the figures as they become known.
    """

    key: str
    title: str
    size: int
    small: int
    run: Callable[[Setting, Report], Awaitable[None]]
