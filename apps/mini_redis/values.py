"""Any value of RESP2 and RESP3, written and read; this file owns the format of replies, as a client needs it.

The server itself reads requests only (`protocol.py`) and writes replies as it goes (`replies.py`). This is the other
side of the wire: the tests compare what two servers answer with it. Whoever reads what a stranger sends, needs bounds:
on depth, because a value is taken apart without recursion but the one it makes is nested all the same; on the length of
texts, and on the number of items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Value: TypeAlias = Any
"""`None`, bool, int, float, bytes, `Simple`, `Error`, `Push`, list, dict, set; the last three of values."""

LINE: Final = 64 * 1024


class Malformed(ValueError):
    """These bytes are no value, or a larger one than is taken."""


class Simple(bytes):
    """A simple string; plain bytes are a bulk string."""


class Error(bytes):
    """An error: its code, then its text."""


class Push(tuple[Value, ...]):
    """What comes unasked (RESP3)."""

    __slots__ = ()


KINDS: Final[dict[type, bytes]] = {list: b"*", dict: b"%", set: b"~", frozenset: b"~", Push: b">"}


@dataclass(frozen=True, slots=True)
class ValueBounds:
    """How large a value may be."""

    depth: int = 32
    bulk: int = 64 * 1024 * 1024
    count: int = 1024 * 1024
    """Items in all, at whatever depth."""


def encode(value: Value) -> bytes:
    """Write a value. `None`, bool, float, dict, set and `Push` are RESP3's.

    Raises:
        TypeError: it is of another type.
    """
    match value:
        case None:
            return b"_\r\n"
        case bool():
            return b"#t\r\n" if value else b"#f\r\n"
        case int():
            return b":%d\r\n" % value if -(1 << 63) <= value < 1 << 63 else b"(%d\r\n" % value
        case float():
            return b",%b\r\n" % repr(value).encode()
        case Simple():
            return b"+%b\r\n" % value
        case Error():
            return b"-%b\r\n" % value
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case _:
            return _encode_items(value)


def _encode_items(value: Value) -> bytes:
    kind = KINDS.get(value.__class__)
    if kind is None:
        raise TypeError(f"RESP has no value for a {type(value).__name__}")
    items: list[Value] = [each for pair in value.items() for each in pair] if kind == b"%" else list(value)
    return b"%b%d\r\n%b" % (kind, len(value), b"".join(map(encode, items)))


@dataclass(slots=True)
class _Open:
    """An array, map, set or push that lacks items."""

    kind: int
    left: int
    items: list[Value]


class Values:
    """Values, out of bytes however they were split.

    Args:
        bounds: how large one may be.
    """

    def __init__(self, bounds: ValueBounds = ValueBounds()) -> None:
        self._bounds = bounds
        self._buffer = bytearray()
        self._position = 0
        self._scanned = 0
        self._open: list[_Open] = []
        self._length: int | None = None  # of the bulk string that is being read
        self._kind = 0
        self._count = 0

    def feed(self, data: bytes) -> list[Value]:
        """Take what came; return the values that are whole now.

        Raises:
            Malformed: there are no further values in this.
        """
        self._buffer += data
        found: list[Value] = []
        while True:
            whole, value = self._leaf()
            if not whole:
                break
            if isinstance(value, _Open):
                self._open.append(value)
                if value.left:
                    continue
                value = _closed(self._open.pop())
            while self._open:
                inner = self._open[-1]
                inner.items.append(value)
                inner.left -= 1
                if inner.left:
                    break
                value = _closed(self._open.pop())
            else:
                found.append(value)
                self._count = 0
        del self._buffer[: self._position]
        self._scanned = max(0, self._scanned - self._position)
        self._position = 0
        return found

    def _leaf(self) -> tuple[bool, Value]:
        """What stands next: a value without items, or the beginning of one with. False: more must come."""
        if self._length is None:
            line = self._line()
            if line is None:
                return False, None
            self._kind, rest = (line[0] if line else 0), line[1:]
            if self._kind not in b"$=!":
                return True, self._from_line(rest)
            length = _number(rest)
            if length == -1 and self._kind == 0x24:
                return True, None
            if not 0 <= length <= self._bounds.bulk:
                raise Malformed(f"a text of {length} bytes")
            self._length = length
        end = self._position + self._length
        if len(self._buffer) < end + 2:
            return False, None
        text = bytes(self._buffer[self._position : end])
        if not self._buffer.startswith(b"\r\n", end):
            raise Malformed("a text is longer than was said")
        self._position, self._length = end + 2, None
        return True, Error(text) if self._kind == 0x21 else text[4:] if self._kind == 0x3D else text

    def _from_line(self, rest: bytes) -> Value:
        match chr(self._kind):
            case "+":
                return Simple(rest)
            case "-":
                return Error(rest)
            case ":" | "(":
                return _number(rest)
            case "_" if not rest:
                return None
            case "#" if rest in (b"t", b"f"):
                return rest == b"t"
            case ",":
                try:
                    return float(rest)
                except ValueError:
                    raise Malformed(f"no number: {rest!r}") from None
            case "*" | "%" | "~" | ">":
                return self._begin(_number(rest))
            case _:
                raise Malformed(f"no value begins like this: {bytes((self._kind,)) + rest[:40]!r}")

    def _begin(self, count: int) -> Value:
        if count == -1 and self._kind == 0x2A:
            return None
        left = 2 * count if self._kind == 0x25 else count
        self._count += left
        if count < 0 or self._count > self._bounds.count:
            raise Malformed(f"{count} items")
        if len(self._open) >= self._bounds.depth:
            raise Malformed(f"values within values, more than {self._bounds.depth} deep")
        return _Open(self._kind, left, [])

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", max(self._position, self._scanned))
        if (len(self._buffer) if end < 0 else end) - self._position > LINE:
            raise Malformed("a line without end")
        if end < 0:
            self._scanned = max(0, len(self._buffer) - 1)
            return None
        line = bytes(self._buffer[self._position : end])
        self._position = end + 2
        return line


def _number(text: bytes) -> int:
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    if not digits.isdigit() or len(digits) > 4000:  # Python refuses to read longer ones, and says so differently
        raise Malformed(f"no number: {text[:40]!r}")
    return int(text)


def _closed(whole: _Open) -> Value:
    items = whole.items
    if whole.kind == 0x2A:
        return items
    if whole.kind == 0x3E:
        return Push(items)
    try:
        return dict(zip(items[::2], items[1::2], strict=True)) if whole.kind == 0x25 else set(items)
    except TypeError:
        raise Malformed("a key, or a member of a set, that has items itself") from None
