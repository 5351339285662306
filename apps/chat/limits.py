"""How much of everything there may be: names, texts, rooms, people, and messages in a time. This file owns the numbers.

Who comes here has no account: whatever is not bounded, somebody will fill.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Annotated, Final, Self, TypeAlias

import trio
from msgspec import Meta

NAME_MAX: Final = 24
Room: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\Z")]
"""What a room is called, in a path; any other path is no room, and 404."""
UNSEEN: Final = frozenset({"Cc", "Zl", "Zp"})
"""Unicode's categories of what has no place in a line: control characters and separators. Joiners and marks of
direction do: emoji and Hebrew need them, and the page keeps their effect inside of the name."""


@dataclass(frozen=True)
class Limits:
    """What one server bears.

    Attributes:
        rooms: that have people in them, and of how many what was said is kept.
        people: in one room.
        text: characters of one message.
        history: messages of a room that are kept.
        waiting: messages that may wait for one who reads slowly. Less than are kept, so that who has to go for it can
            come back and has lost nothing.
        burst: messages of one person that may come at once; below that, `rate` of them in a second.
        rate: see `burst`.
        patience: messages above that in a row, before a person has to go.
    """

    rooms: int = 100
    people: int = 200
    text: int = 2000
    history: int = 200
    waiting: int = 100
    burst: int = 8
    rate: float = 2.0
    patience: int = 20


class Name(str):
    """What a person is called: said by themselves, and neither proved nor reserved."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it from a query; `ada  lovelace ` is `ada lovelace`."""
        name = " ".join(unicodedata.normalize("NFC", text).split())
        if not 1 <= len(name) <= NAME_MAX or _unseen(name):
            raise ValueError(f"1 to {NAME_MAX} characters")
        return cls(name)


def checked(text: str, most: int) -> str:
    """A message as it may be shown.

    Raises:
        ValueError: it may not; the message is for who has written it.
    """
    text = text.strip()
    if not text:
        raise ValueError("There is nothing in it.")
    if len(text) > most:
        raise ValueError(f"It has {len(text)} characters; {most} is the most.")
    if _unseen(text.replace("\n", "").replace("\t", "")):
        raise ValueError("It has control characters in it.")
    return text


def _unseen(text: str) -> bool:
    return any(unicodedata.category(character) in UNSEEN for character in text)


class Allowance:
    """How many messages somebody may send now: a bucket that fills with time.

    Args:
        burst: what it holds.
        rate: what comes in a second.
    """

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left: float = burst
        self._at = trio.current_time()

    def take(self) -> bool:
        """Whether one more may come."""
        now = trio.current_time()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
