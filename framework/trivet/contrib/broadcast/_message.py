"""What subscribers are given: messages, and who came and went.

This file owns how a value becomes text: once, when it is published, so that five thousand subscribers share one string
and a store between processes has nothing else to carry. It knows neither queues nor where messages are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Payload:
    data: str
    """The value as it was published, text as it is, anything else as JSON: for `Event(data)` and `ws.send(data)`."""

    @overload
    def json(self, /) -> Any: ...
    @overload
    def json(self, as_type: type[T], /) -> T: ...
    def json(self, as_type: Any = Any, /) -> Any:
        """The value, read from its JSON.

        Raises:
            msgspec.ValidationError: it does not fit the type.
            msgspec.DecodeError: it was published as text, and that is no JSON.
        """
        return msgspec.json.decode(self.data, type=as_type)


@dataclass(frozen=True, slots=True)
class Message(_Payload):
    """A message of a topic; all its subscribers share one object."""

    topic: str
    id: str | None
    """To resume from: `subscribe(topic, after=id)`. `None`: it was not kept, and nobody can resume from it."""
    position: int | None
    """Its place among the messages of its topic: greater than all before it. For backends; `None` if `id` is."""


@dataclass(frozen=True, slots=True)
class Member(_Payload):
    """Somebody who is there: a subscription with what it says about itself."""

    id: str
    """Unique to the subscription: the same person in two tabs is two members."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody has come: from here on they receive."""

    member: Member


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody has gone, however that came about. Where coming is not told of either, nothing was said in between."""

    member: Member


@dataclass(frozen=True, slots=True)
class Present:
    """Who is there, whatever was told before: too many have come and gone to tell of each."""

    members: Mapping[str, Member]
    """All of them by their ids, the subscriber itself too, at the moment when this was taken."""


def encoded(value: Any) -> str:
    """The text that subscribers get.

    Raises:
        TypeError: it cannot be written as JSON; the message shows the remedy.
        ValueError: a text that UTF-8 cannot carry: each subscriber would fail at it, and nobody here.
    """
    if isinstance(value, str):
        if not value.isascii():
            _check_carried(value)
        return value
    kind = type(value).__name__
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(
            f"{kind} cannot be published: a message is text, or a value that is sent as JSON.\n"
            "Decode it:  await broadcast.publish(topic, data.decode())\n"
            "If it is JSON already, wrap it:  msgspec.Raw(data)"
        )
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{kind} cannot be published: {error}.\n"
            "Publish text, or what msgspec writes as JSON: numbers, lists, dicts, Structs, dataclasses, ..."
        ) from error


def _check_carried(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"a message has the lone surrogate {text[error.start]!r}, which UTF-8 cannot carry.\n"
            'Replace it:  text.encode("utf-8", "replace").decode()'
        ) from None
