"""What goes over the wire: each message is an object whose `type` says which it is. This file owns their shapes.

    page                                    server
      -- {"type": "say", "key", "text"} -->
      <-- {"type": "said", "id", "line"} ----   to everybody in the room, and to who has said it
      <-- {"type": "refused", "key", ...} ---   to who has said it alone

What many get is made JSON once and goes into each message as it is (`msgspec.Raw`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta


class FromPageBase(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower, forbid_unknown_fields=True):
    """What a page sends."""


class Say(FromPageBase, frozen=True):
    """Something is said in the room."""

    key: Annotated[str, Meta(min_length=8, max_length=64)]
    """Made by the page: the message is the same when it is sent again after a connection was lost."""
    text: str


class Typing(FromPageBase, frozen=True):
    """The person has typed something just now."""


class Beat(FromPageBase, frozen=True):
    """The answer to a `Beat`: the page is there."""


FromPage: TypeAlias = Say | Typing | Beat


class Line(msgspec.Struct, frozen=True):
    """What was said, as it is kept."""

    by: str
    """The member's id, for as long as the person stays in the room."""
    name: str
    key: str
    text: str
    at: datetime


class Person(msgspec.Struct, frozen=True):
    """What others know of one who is there."""

    name: str


class Member(msgspec.Struct, frozen=True):
    """One who is there."""

    id: str
    person: msgspec.Raw


class ToPageBase(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """What a page gets."""


class Welcome(ToPageBase, frozen=True):
    """The first message: everything that follows changes this."""

    you: str
    people: list[Member]
    gap: bool
    """Whether something may be missing between what the page has and what it gets now."""
    every: float
    """Seconds after which there is a `Beat` if nothing else."""
    longest: int
    """Characters of a text."""


class Said(ToPageBase, frozen=True):
    """Something was said; the page comes back with the last `id` that it has."""

    id: str | None
    line: msgspec.Raw


class Came(ToPageBase, frozen=True):
    """Somebody has come."""

    id: str
    person: msgspec.Raw


class Went(ToPageBase, frozen=True):
    """Somebody has gone, however that came about."""

    id: str


class Here(ToPageBase, frozen=True):
    """Who is there: too many have come and gone to tell of each."""

    people: list[Member]


class Gap(ToPageBase, frozen=True):
    """Something may be missing between what the page has and what it gets from now on."""


class Types(ToPageBase, frozen=True):
    """Somebody types, or has stopped that."""

    id: str
    on: bool


class Refused(ToPageBase, frozen=True):
    """A message of this page's was not taken; nobody else knows of it."""

    key: str | None
    reason: str


class Beats(ToPageBase, frozen=True, tag="beat"):
    """The server is there. A page's script does not see the pings of the protocol."""
