"""Sets of texts, as data that can be compared: what a field or a whole segment accepts.

What lives here: the kinds of sets, and for each whether it accepts a text, how long its texts are, and a
few of them to show in messages. How two sets relate is `_relate`'s. What it must not know: annotations,
patterns, routes.

    Finite      literals, bool, Enum, Literal
    Text        any text with a length in a range
    Integers    the canonical texts of the integers of an interval
    Floats      JSON's numbers whose double lies in an interval
    Shape       the texts of one fixed grammar: UUID, date, datetime
    Opaque      what a program decides (a class with `parse`, a regular expression), within a set we know
    Affixed     a literal prefix and suffix around texts of another set

The empty text belongs to a set where its grammar has it (a query may carry it); `segment` takes it out,
because a field never matches an empty segment.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from . import _scalars

Lengths: TypeAlias = tuple[int, int | None]
"""Shortest and longest text; `None`: no bound. No text lies outside, but not every length between need
occur."""

FLOAT_MAX = sys.float_info.max


def _accepts(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Finite:
    """Exactly these texts."""

    texts: frozenset[str]

    @property
    def size(self) -> int | None:
        """How many texts, where that can be told; `None`: unknown or without end."""
        return len(self.texts)

    @property
    def lengths(self) -> Lengths:
        """Bounds of the texts' lengths."""
        return min(map(len, self.texts), default=0), max(map(len, self.texts), default=0)

    def accepts(self, text: str) -> bool:
        """Whether `text` belongs to the set."""
        return text in self.texts

    def samples(self) -> list[str]:
        """A few texts of the set, plainest first."""
        return sorted(self.texts, key=lambda text: (len(text), text))[:64]


@dataclass(frozen=True, slots=True)
class Text:
    """Every text whose length lies in a range."""

    shortest: int = 0
    longest: int | None = None

    @property
    def size(self) -> int | None:
        return 0 if self.longest is not None and self.longest < self.shortest else None

    @property
    def lengths(self) -> Lengths:
        return self.shortest, self.longest

    def accepts(self, text: str) -> bool:
        return self.shortest <= len(text) and (self.longest is None or len(text) <= self.longest)

    def admits(self, prefix: str, suffix: str, *, more: bool) -> bool:
        """Whether some text may start with `prefix` and end with `suffix`, with more between them if so said.

        At most one of the two is given, and that is one character, where `more` is not said.
        """
        return self.longest is None or len(prefix) + len(suffix) + more <= self.longest

    def samples(self) -> list[str]:
        return [text for text in ("x", "x" * self.shortest) if self.accepts(text)]


@dataclass(frozen=True, slots=True)
class Integers:
    """The canonical texts of the integers from `low` to `high`, both included."""

    low: int = -_scalars.INT_LIMIT
    high: int = _scalars.INT_LIMIT

    @property
    def size(self) -> int | None:
        return max(0, self.high - self.low + 1)

    @property
    def lengths(self) -> Lengths:
        # The shortest text belongs to the integer nearest to 0, the longest to one of the ends.
        near = min(max(0, self.low), self.high)
        return len(str(near)), max(len(str(self.low)), len(str(self.high)))

    def accepts(self, text: str) -> bool:
        return _accepts(_scalars.int_parser(self.low, self.high), text)

    def admits(self, prefix: str, suffix: str, *, more: bool) -> bool:
        if prefix == "0" and not more:
            return self.low <= 0 <= self.high
        digits = prefix.removeprefix("-")
        return (
            (not suffix or (suffix.isdecimal() and suffix.isascii()))
            and (not digits or (digits.isdecimal() and digits.isascii() and digits[0] != "0"))
            and (digits == prefix or self.low < 0)
        )

    def samples(self) -> list[str]:
        # One integer of each length as well, so that a text is found in common with a `Text` of bounded
        # length.
        powers = [sign * 10**digits for digits in range(20) for sign in (1, -1)]
        return [str(n) for n in (0, *powers, self.low, self.high) if self.low <= n <= self.high]


@dataclass(frozen=True, slots=True)
class Floats:
    """JSON's numbers whose nearest double lies between `low` and `high`, both included and finite."""

    low: float = -FLOAT_MAX
    high: float = FLOAT_MAX

    @property
    def size(self) -> int | None:
        return 0 if self.low > self.high else None

    @property
    def lengths(self) -> Lengths:
        return 1, _scalars.FLOAT_LENGTH

    def accepts(self, text: str) -> bool:
        return _accepts(_scalars.float_parser(self.low, self.high), text)

    def admits(self, prefix: str, suffix: str, *, more: bool) -> bool:
        return not (prefix + suffix).strip("-+.eE0123456789")

    def samples(self) -> list[str]:
        whole = (str(math.ceil(self.low)), str(math.floor(self.high)))
        return [t for t in ("0.5", "0", "1", repr(self.low), repr(self.high), *whole) if self.accepts(t)]


@dataclass(frozen=True, slots=True)
class Shape:
    """The texts of one fixed grammar, disjoint from numbers and from every other `Shape`."""

    name: str
    sample: str
    alphabet: str
    lengths: Lengths
    parse: Callable[[str], object] = field(compare=False)

    @property
    def size(self) -> int | None:
        return None

    def accepts(self, text: str) -> bool:
        return _accepts(self.parse, text)

    def admits(self, prefix: str, suffix: str, *, more: bool) -> bool:
        return not (prefix + suffix).strip(self.alphabet)

    def samples(self) -> list[str]:
        return [self.sample]


@dataclass(frozen=True, slots=True)
class Opaque:
    """A set that only its parser knows, inside a set that we know.

    Two of them are the same set when their keys are equal; otherwise nothing is known of how they relate.
    """

    key: Hashable
    within: Text | Integers | Floats
    parse: Callable[[str], object] = field(compare=False)

    @property
    def size(self) -> int | None:
        return 0 if self.within.size == 0 else None

    @property
    def lengths(self) -> Lengths:
        return self.within.lengths

    def accepts(self, text: str) -> bool:
        return self.within.accepts(text) and _accepts(self.parse, text)

    def admits(self, prefix: str, suffix: str, *, more: bool) -> bool:
        return self.within.admits(prefix, suffix, more=more)

    def samples(self) -> list[str]:
        return [text for text in (*self.within.samples(), "0", "1", "2", "a", "A", "A1") if self.accepts(text)]


Inner: TypeAlias = Finite | Text | Integers | Floats | Shape | Opaque


@dataclass(frozen=True, slots=True)
class Affixed:
    """`prefix`, then a text of `inner`, then `suffix`."""

    prefix: str
    inner: Text | Integers | Floats | Shape | Opaque
    suffix: str

    @property
    def size(self) -> int | None:
        return self.inner.size

    @property
    def lengths(self) -> Lengths:
        around = len(self.prefix) + len(self.suffix)
        shortest, longest = self.inner.lengths
        return shortest + around, None if longest is None else longest + around

    def accepts(self, text: str) -> bool:
        inner = len(text) - len(self.prefix) - len(self.suffix)
        return (
            inner > 0
            and text.startswith(self.prefix)
            and text.endswith(self.suffix)
            and self.inner.accepts(text[len(self.prefix) : len(self.prefix) + inner])
        )

    def samples(self) -> list[str]:
        return [f"{self.prefix}{text}{self.suffix}" for text in self.inner.samples()]


Language: TypeAlias = Inner | Affixed

TEXT = Text()
UUIDS = Shape("UUID", "00000000-0000-4000-8000-000000000000", "0123456789abcdefABCDEF-", (36, 36), _scalars.parse_uuid)
DATES = Shape("date", "2024-01-01", "0123456789-", (10, 10), _scalars.parse_date)
DATETIMES = Shape("datetime", "2024-01-01T00:00:00Z", "0123456789-:.+TtZz", (20, 35), _scalars.parse_datetime)


def segment(inner: Inner, prefix: str = "", suffix: str = "") -> Language:
    """The set of segments that a field accepts, given what its converter accepts and the literals around
    it."""
    if isinstance(inner, Finite):
        return Finite(frozenset(f"{prefix}{text}{suffix}" for text in inner.texts if text))
    if isinstance(inner, Text) and inner.shortest == 0:
        inner = replace(inner, shortest=1)
    elif isinstance(inner, Opaque) and isinstance(inner.within, Text) and inner.within.shortest == 0:
        inner = replace(inner, within=replace(inner.within, shortest=1))
    return Affixed(prefix, inner, suffix) if prefix or suffix else inner
