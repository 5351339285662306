"""`Content-Disposition`: whether a browser shows or saves what it gets, and under which name (RFC 6266).

This file owns how a name is written there, since it is often text from a client: nothing in it can end the parameter,
begin another field, or name a directory.
"""

from __future__ import annotations

from string import ascii_letters, digits
from typing import Literal
from urllib.parse import quote

# What a quoted-string carries and all browsers read alike. A backslash and a quote need escapes that some of them take
# literally, and `%41` is decoded by some (RFC 6266 appendix D).
_PLAIN = frozenset(" !#$&'()+,-.;=@[]^_`{}~" + ascii_letters + digits)
_ATTR_SAFE = "!#$&+-.^_`|~"  # attr-char of RFC 8187 section 3.2.1, beside letters and digits

NAMELESS = "download"


def disposition(kind: Literal["inline", "attachment"], name: str) -> str:
    """The value of the field.

    A name outside of plain ASCII goes out twice: `filename*` for all browsers of the last decade, and a likeness for
    what else there is.
    """
    name = base_name(name)
    likeness = "".join(char if char in _PLAIN else "_" for char in name)
    value = f'{kind}; filename="{likeness}"'
    if likeness != name:
        value += f"; filename*=UTF-8''{quote(name, safe=_ATTR_SAFE, errors='replace')}"
    return value


def base_name(name: str) -> str:
    """What is left of a name when it can no longer lead to another directory, nor be a device or nothing at all."""
    last = name.replace("\\", "/").rpartition("/")[2]
    # A lone surrogate stands for a byte that is not UTF-8, in a name that came from the file system.
    kept = "".join(char if char.isprintable() else "_" for char in last).strip(" ")
    return kept if kept.strip(".") else NAMELESS
