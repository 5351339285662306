"""Percent-encoding of one path segment, strictly (RFC 3986 section 2.1).

What lives here: text to raw and back. What it must not know: patterns, statuses, anything of HTTP beyond
the path.

`urllib.parse.unquote` is lenient where it must not be: it keeps `%zz` as it is and turns bytes that are not
UTF-8 into U+FFFD, so that several raw paths would name one resource.
"""

from __future__ import annotations

from urllib.parse import quote

# pchar of RFC 3986 section 3.3 without the letters, digits and marks that `quote` always keeps.
_SAFE = "!$&'()*+,;=:@"

_BYTES = {
    high + low: bytes([int(high + low, 16)]) for high in "0123456789abcdefABCDEF" for low in "0123456789abcdefABCDEF"
}


def encode(text: str) -> str:
    """The segment that decodes to `text`; a slash becomes `%2F`, so that it stays in its segment.

    Raises:
        ValueError: `text` has a lone surrogate, which UTF-8 cannot carry, or NUL, which no path may carry.
    """
    if "\0" in text:
        raise ValueError("holds NUL, which no path may carry")
    try:
        return quote(text, safe=_SAFE)
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate, which UTF-8 cannot carry") from None


def decode(segment: str) -> str:
    """The text of a raw segment.

    Raises:
        ValueError: an escape that is not two hexadecimal digits, bytes that are not UTF-8, or NUL. The
            message is safe to show to a client.
    """
    head, *escapes = segment.split("%")
    try:
        raw = b"".join([head.encode(), *(_BYTES[part[:2]] + part[2:].encode() for part in escapes)])
        text = raw.decode()
    except KeyError:
        raise ValueError("a percent sign is not followed by two hexadecimal digits") from None
    except UnicodeDecodeError:
        raise ValueError("it does not decode to UTF-8") from None
    if "\0" in text:
        raise ValueError("it holds NUL")
    return text
