"""One server-sent event, as a value and as it goes over the wire (WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6).

This file owns how an event is written so that each client reads it back the same, and what no client could read. It
knows neither requests nor streams.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, Final, TypeVar, final, overload

import msgspec

from ._encode import encode
from ._results import UNENCODABLE, explain
from .errors import ResponseError

T = TypeVar("T")

# The three ends of a line, and no others: `str.splitlines` knows eight more, at which no browser breaks.
_BREAK: Final = re.compile(r"\r\n|\r|\n")
_FORBIDDEN: Final = re.compile(r"[\r\n\0]")

RETRY_MAX: Final = 2_147_483.0
"""Seconds: timers of browsers count milliseconds in 31 bits, and one that is longer runs off at once."""

_SHOWN: Final = 60
"""Characters of a wrong value in a message."""


@final
class Event:
    """One server-sent event. It cannot be changed: one can be sent to any number of clients, and is written once.

    Args:
        data: text, which is sent as it is; any other value is sent as JSON. A line break of whatever kind reads as LF.
            `None`: no data, and so nothing that a page's listeners would be told of: `""` is told.
        event: its type, what a page gives to `addEventListener`; without one it is `message`.
        id: what a client that comes back says in `Last-Event-ID`; a number is written as one. `""`: forget the former.
        retry: seconds that the client waits before it comes back, from now on.
        comment: text that each client ignores.

    Raises:
        ValueError: `event` or `id` holds CR, LF or NUL; a text has a lone surrogate; `retry` is negative, or more than
            browsers can wait for (24 days); nothing was given.
        TypeError: `data` is bytes, or something else has a wrong type.
        ResponseError: msgspec cannot encode `data`.
    """

    __slots__ = ("comment", "data", "event", "id", "retry", "wire")

    data: str | None
    """The text that is sent; of another value, its JSON."""

    event: str | None
    id: str | None
    retry: float | None
    comment: str | None

    wire: bytes
    """As it is sent."""

    def __init__(
        self,
        data: object = None,
        *,
        event: str | None = None,
        id: str | int | None = None,  # noqa: A002 - the field's name
        retry: float | None = None,
        comment: str | None = None,
    ) -> None:
        lines: list[str] = []
        if comment is not None:
            lines += [f": {line}" for line in _BREAK.split(_text("comment", comment))]
        if id is not None:
            if isinstance(id, int) and not isinstance(id, bool):
                id = str(id)  # noqa: A001
            lines.append(f"id: {_line('id', id)}")
        if event is not None and (name := _line("event", event)):
            lines.append(f"event: {name}")
        if retry is not None:
            lines.append(f"retry: {_milliseconds(retry)}")
        text = None if data is None else str.__str__(data) if isinstance(data, str) else _as_json(data)
        if text is not None:
            lines += [f"data: {line}" for line in _BREAK.split(text)]
        if not lines:
            raise ValueError('an event has nothing in it.\nGive it data, if only none:  Event("")')
        lines.append("\n")
        put = object.__setattr__
        put(self, "data", text)
        put(self, "event", event or None)
        put(self, "id", id)
        put(self, "retry", retry)
        put(self, "comment", comment)
        put(self, "wire", _octets("\n".join(lines)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an event cannot be changed: it is sent as it was made.\nMake another one:  Event(...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("an event cannot be changed")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and self.wire == other.wire

    def __hash__(self) -> int:
        return hash(self.wire)

    def __repr__(self) -> str:
        given = {"event": self.event, "id": self.id, "retry": self.retry, "comment": self.comment}
        fields = [f"{name}={value!r}" for name, value in given.items() if value is not None]
        return f"Event({', '.join([repr(self.data), *fields])})"

    @overload
    def json(self, /) -> Any: ...
    @overload
    def json(self, as_type: type[T], /) -> T: ...
    def json(self, as_type: Any = Any, /) -> Any:
        """The data as what its JSON says: for who receives one.

        Raises:
            msgspec.DecodeError: it has no data, or that is not JSON, or (`msgspec.ValidationError`) not of this type.
        """
        return msgspec.json.decode("" if self.data is None else self.data, type=as_type)


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        wanted = "text or a whole number" if field == "id" else "text"
        remedy = "value.decode()" if isinstance(value, bytes | bytearray) else "str(value)"
        raise TypeError(
            f"`{field}` of an event is {wanted}, not {type(value).__name__}.\nWrite  Event({field}={remedy})"
        )
    return str.__str__(value)


def _line(field: str, value: object) -> str:
    text = _text(field, value)
    found = _FORBIDDEN.search(text)
    if found is not None:
        shown = repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
        raise ValueError(
            f"`{field}` of an event has {found[0]!r} at position {found.start()}: {shown}\n"
            "It is one line: what follows would be read as another field, or another event.\n"
            f"Text from outside goes into the data, or is encoded first:  Event({field}=urllib.parse.quote(value))"
        )
    return text


def _milliseconds(seconds: object) -> int:
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"`retry` of an event is seconds, not {type(seconds).__name__}.\nWrite  Event(retry=2.5)")
    if not 0 <= seconds <= RETRY_MAX:
        shown = repr(seconds) if isinstance(seconds, float) or abs(seconds) < 10**20 else "one of more than 20 digits"
        raise ValueError(
            f"`retry` of an event is the seconds until the client comes back, 0 to 24 days; not {shown}.\n"
            "Write  Event(retry=2.5)\n"
            "To send a client away for good, answer it with None (204):  return None"
        )
    return round(seconds * 1000)


def _as_json(data: object) -> str:
    kind = type(data).__name__
    if isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(
            f"`data` of an event is text, or a value for JSON, not {kind}.\n"
            "Decode it:  Event(data.decode())\n"
            "If it is JSON already, wrap it:  Event(msgspec.Raw(data))"
        )
    try:
        return encode(data).decode()
    except UNENCODABLE as error:
        called = inspect.iscoroutine(data)
        what, _, _ = explain(data, error).partition("\n")
        remedy = (
            "An async function was called but not awaited:  Event(await function())"
            if called
            else 'Give it what msgspec encodes, or say what of it is sent:  Event({"name": value.name})'
        )
        raise ResponseError(f"{what}\n{remedy}") from error


def _octets(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"an event has the lone surrogate {text[error.start]!r}, which UTF-8 cannot carry.\n"
            'Replace it:  text.encode("utf-8", "replace").decode()'
        ) from None
