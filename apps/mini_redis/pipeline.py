"""Pipelines of one command, out of bytes as a table; this file owns when requests are alike, and that it is proved.

Who sends many requests at once, mostly sends one command again and again. Then all of them are cut up by a few calls
into C, where requests one by one would take a dozen each. A table that is not proved to be what the bytes say, is none:
then `protocol.py` reads them. This file knows no command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, overload

SMALL: Final = 4096
"""The longest argument."""

ROWS: Final = 4
"""From so many requests on, a table is worth its making."""

LEAST: Final = ROWS * len(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")

COUNTS: Final = {b"*%d" % number: number for number in range(1, 65)}
LENGTHS: Final = {b"$%d" % number: number for number in range(SMALL + 1)}


class Alike(Sequence[list[bytes]]):
    """Requests with one name and one number of arguments.

    Args:
        columns: their names, their first arguments, and so on. Who can, answers them by column.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: list[list[bytes]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[list[bytes]]:
        return map(list, zip(*self.columns, strict=True))

    @overload
    def __getitem__(self, at: int) -> list[bytes]: ...
    @overload
    def __getitem__(self, at: slice) -> Alike: ...
    def __getitem__(self, at: int | slice) -> list[bytes] | Alike:
        if isinstance(at, slice):
            return Alike([column[at] for column in self.columns])
        return [column[at] for column in self.columns]


def of_one_shape(data: bytes) -> Alike | None:
    """The requests, if each has one or two arguments, and all of them the lengths of the first: ids, mostly.

    All but the arguments is the same bytes then, at which the rest is split. If what is between has the right length
    everywhere, the splits were at the right places.
    """
    if len(data) < LEAST or not data.endswith(b"\r\n"):
        return None
    first = data.split(b"\r\n", 7)
    if len(first) < 8:
        return None
    count, name_length, name, key_length, key, value_length, value, _ = first
    if LENGTHS.get(name_length) != len(name) or LENGTHS.get(key_length) != len(key):
        return None
    begin = len(count) + len(name_length) + len(name) + len(key_length) + 8
    rows = (b"\r\n" + data[:-2]).split(b"\r\n" + data[:begin])
    if len(rows) <= ROWS or rows.pop(0):
        return None
    names = [name] * len(rows)
    if count == b"*2":
        return Alike([names, rows]) if _all(len(key), rows) else None
    middle = b"\r\n" + value_length + b"\r\n"
    end = len(key)
    begin = end + len(middle)
    if count != b"*3" or LENGTHS.get(value_length) != len(value) or not _all(begin + len(value), rows):
        return None
    if [row[end:begin] for row in rows].count(middle) != len(rows):
        return None
    return Alike([names, [row[:end] for row in rows], [row[begin:] for row in rows]])


def _all(length: int, texts: list[bytes]) -> bool:
    return list(map(len, texts)).count(length) == len(texts)


def columns_of(parts: list[bytes]) -> Alike | None:
    """The requests that data was, before it was split at its line ends.

    It is a table, whose columns are looked at as a whole. An argument with a line end in it, does not fit.
    """
    last = len(parts) - 1
    count = COUNTS.get(parts[0])
    if count is None or parts[last]:
        return None
    width = 2 * count + 1
    rows = last // width
    if rows < ROWS or rows * width != last or parts[0:last:width].count(parts[0]) != rows:
        return None
    columns: list[list[bytes]] = []
    for at in range(2, width, 2):
        column, lengths = parts[at:last:width], parts[at - 1 : last : width]
        if lengths.count(lengths[0]) == rows:
            if not _all(LENGTHS.get(lengths[0], -1), column):
                return None
        elif list(map(LENGTHS.get, lengths)) != list(map(len, column)):
            return None
        columns.append(column)
    return Alike(columns) if columns[0].count(columns[0][0]) == rows else None
