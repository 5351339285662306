"""Requests as a person types them, in one line; this file owns how a line is cut into arguments.

The rules are those of redis-server's `sdssplitargs`: words, `"double quotes"` with escapes, `'single quotes'` in which
only `\\'` is one.
"""

from __future__ import annotations

import re
from typing import Final

# A word is made of pieces, of which a quote ends the word: behind it stands a space, or the line is wrong.
PLAIN: Final = re.compile(rb"""[^\s\0"']*""")
SPACE: Final = re.compile(rb"\s*")
DOUBLE: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"(?=\s|\Z)', re.DOTALL)
SINGLE: Final = re.compile(rb"'((?:[^'\\]|\\.)*?)'(?=\s|\Z)", re.DOTALL)
ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
LETTERS: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


class UnbalancedQuotes(ValueError):
    """A quote that does not end, or is followed by something else than a space."""


def split_line(line: bytes) -> list[bytes]:
    """The arguments of a line, without its end.

    Raises:
        UnbalancedQuotes: as it says.
    """
    words: list[bytes] = []
    at = _after(SPACE, line, 0)
    while at < len(line):
        word = b""
        while at < len(line) and not line[at : at + 1].isspace() and line[at]:
            quote = {0x22: DOUBLE, 0x27: SINGLE}.get(line[at])
            found = (quote or PLAIN).match(line, at)
            if found is None:
                raise UnbalancedQuotes
            at = found.end()
            if quote is None:
                word += found[0]
            elif quote is DOUBLE:
                word += ESCAPE.sub(_escaped, found[1])
            else:
                word += found[1].replace(b"\\'", b"'")
        words.append(word)
        if at < len(line) and not line[at]:
            break  # a zero byte ends it, as it ends a string in C
        at = _after(SPACE, line, at)
    return words


def _after(pattern: re.Pattern[bytes], line: bytes, at: int) -> int:
    found = pattern.match(line, at)
    return found.end() if found else at


def _escaped(found: re.Match[bytes]) -> bytes:
    letter = found[1]
    return bytes.fromhex(letter[1:].decode()) if len(letter) == 3 else LETTERS.get(letter, letter)
