"""Header fields: how they are read, and what may be written into one (RFC 9110 section 5).

This file owns the rule for what a field may hold: a name is a token, a value has no control character but
    HTAB and fits
latin-1. It is applied when a field is set, so that the traceback shows the line that set it, and so that
HTTP/2, where hypercorn passes a CR LF on to the peer, is as safe as HTTP/1.1. It knows no field by its
meaning, but for the few that do not combine like the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from functools import lru_cache
from string import ascii_letters, digits

from .asgi import RawHeaders

_TOKEN = frozenset("!#$%&'*+-.^_`|~" + ascii_letters + digits)  # RFC 9110 section 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # all but HTAB; 0x80 to 0xff is obs-text and may pass
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


@lru_cache(maxsize=1024)
def field_name(name: str) -> bytes:
    """The name of a field as it goes out: lower case, as ASGI and HTTP/2 require.

    Raises:
        ValueError: it is not a token (RFC 9110 section 5.1).
        TypeError: it is not `str`.
    """
    if not isinstance(name, str):
        raise TypeError(f"a header name is str, not {type(name).__name__}: {_short(name)}")
    if not name or not _TOKEN.issuperset(name):
        raise ValueError(
            f"{_short(name)} cannot be the name of a header: a name has only letters, digits and "
            "!#$%&'*+-.^_`|~ (RFC 9110 section 5.1).\n"
            'A colon or a value does not belong into it:  response.headers["x-name"] = "value"'
        )
    return name.lower().encode("ascii")


def field_value(name: str, value: str) -> bytes:
    """The value of a field as it goes out; blanks around it are no part of it (RFC 9110 section 5.5).

    Args:
        name: the field's, for the message.
        value: text that latin-1 can encode, without control characters other than HTAB.

    Raises:
        ValueError: `value` holds a character that cannot be sent.
        TypeError: it is not `str`.
    """
    if not isinstance(value, str):
        raise TypeError(
            f"the value of a header is str; {_short(name)} was given {type(value).__name__}.\n"
            f'Spell it as text:  response.headers["{name}"] = str(value)'
        )
    if value.isascii() and value.isprintable():
        return value.strip(" ").encode("ascii")
    found = _CONTROL.search(value)
    if found is not None:
        raise ValueError(
            f"the value of the header {_short(name)} has {found[0]!r} at position {found.start()}: "
            f"{_short(value)}\n"
            "Control characters cannot be sent (RFC 9110 section 5.5); from a client they are an attack.\n"
            f'Encode such text first:  response.headers["{name}"] = urllib.parse.quote(value)'
        )
    try:
        return value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the value of the header {_short(name)} has {value[error.start]!r} at position {error.start}, "
            "which a header cannot carry: it is sent as latin-1.\n"
            f'Encode such text first:  response.headers["{name}"] = urllib.parse.quote(value)'
        ) from None


class Headers(Mapping[str, str]):
    """The header of a request: a read-only view of what the server handed over.

    Names are compared without regard to case. A field that came more than once reads as one, its values
    joined by a comma and a blank (RFC 9110 section 5.2); `Cookie` is joined by a semicolon (RFC 9113 section
    8.2.3), and of `Set-Cookie`, which cannot be joined, the first is given. `getlist` gives each value on its
    own.

    Args:
        raw: the fields in their order, names in lower case as ASGI promises. Kept, not copied.
    """

    __slots__ = ("_index", "raw")

    def __init__(self, raw: RawHeaders) -> None:
        self.raw = raw
        # Name to value as `raw` has them. Built at the first look-up, so that a request nobody asks costs
        # nothing, and so that `dict(headers)` of a request with thousands of fields is linear.
        self._index: dict[bytes, bytes] | None = None

    def __getitem__(self, name: str) -> str:
        index = self._index
        if index is None:
            index = self._index = _indexed(self.raw)
        try:
            return index[name.encode("latin-1").lower()].decode("latin-1")
        except (KeyError, UnicodeEncodeError):
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in dict(self.raw))

    def __len__(self) -> int:
        return len(dict(self.raw))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name)

    def __repr__(self) -> str:
        return _repr(self, self.raw)

    def getlist(self, name: str) -> list[str]:
        """Each value of the field on its own, in the order they came; empty when there is none."""
        return _values(self.raw, name)


class MutableHeaders(MutableMapping[str, str]):
    """The header of a response: fields in the order they were set.

    `headers["x-a"] = "1"` replaces each field of that name, `add` puts another beside them. What cannot be
    sent is refused when it is set.

    Raises:
        ValueError: a name is not a token, or a value has a control character or one outside latin-1.
        TypeError: a name or a value is not `str`.
    """

    __slots__ = ("raw",)

    def __init__(self) -> None:
        self.raw: RawHeaders = []

    def __getitem__(self, name: str) -> str:
        values = self.getlist(name)
        if not values:
            raise KeyError(name)
        return values[0] if len(values) == 1 or name.lower() == "set-cookie" else ", ".join(values)

    def __setitem__(self, name: str, value: str) -> None:
        key = field_name(name)
        field = (key, field_value(name, value))
        raw = self.raw
        places = [place for place, (other, _) in enumerate(raw) if other == key]
        if not places:
            raw.append(field)
            return
        raw[places[0]] = field
        for place in reversed(places[1:]):
            del raw[place]

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        key = field_name(name)
        self.raw[:] = [field for field in self.raw if field[0] != key]

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in dict(self.raw))

    def __len__(self) -> int:
        return len(dict(self.raw))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.getlist(name))

    def __repr__(self) -> str:
        return _repr(self, self.raw)

    def add(self, name: str, value: str) -> None:
        """Put another field of this name beside those there are, as `Set-Cookie`, `Link` and `Vary` allow."""
        self.raw.append((field_name(name), field_value(name, value)))

    def getlist(self, name: str) -> list[str]:
        """Each value of the field on its own, in the order they were set; empty when there is none."""
        return _values(self.raw, name)

    def copy(self) -> MutableHeaders:
        """A copy that can be changed on its own."""
        copied = MutableHeaders()
        copied.raw.extend(self.raw)
        return copied


def _indexed(raw: RawHeaders) -> dict[bytes, bytes]:
    index = dict(raw)
    if len(index) == len(raw):
        return index
    gathered: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        gathered.setdefault(name, []).append(value)
    return {name: _combined(name, values) for name, values in gathered.items()}


def _combined(name: bytes, values: list[bytes]) -> bytes:
    if len(values) == 1 or name == b"set-cookie":
        return values[0]
    return (b"; " if name == b"cookie" else b", ").join(values)


def _values(raw: RawHeaders, name: str) -> list[str]:
    try:
        key = name.encode("latin-1").lower()
    except UnicodeEncodeError:
        return []
    return [value.decode("latin-1") for other, value in raw if other == key]


def _repr(headers: Mapping[str, str], raw: RawHeaders) -> str:
    # Credentials must not reach a log because somebody logged a request.
    fields = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)
    shown = [(name, "[hidden]" if name in _SECRET else value) for name, value in fields]
    return f"{type(headers).__name__}({shown!r})"


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:76]}...'"
