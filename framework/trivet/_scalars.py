"""The canonical texts of scalars: one grammar for path, query, header and cookie.

What lives here: for each scalar type, how a text becomes a value and a value a text. Every `parse_*` takes
the decoded text and raises `ValueError` whose message is a reason that a client may see: it never repeats
the input. Every `format_*` gives the one text that trivet writes and raises `ValueError` for a value that
no text gives back.

What it must not know: annotations (`_convert` does), where a text came from, which texts a route matches.

All of it is linear in the length of the text, and texts that are too long are refused before they are
looked at: these functions read what strangers send. The grammars are by hand because Python's own
constructors accept far more than a canonical text: `int("1_000")`, `int(" 7 ")`, `float("nan")`,
`int("٣")`, `UUID("{...}")`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from uuid import UUID

INT_DIGITS = 18
"""Digits of an `int` that says nothing else: all of them fit 64 bits and most databases' bigint, so that a
long number is no match rather than an overflow somewhere behind the handler."""

INT_LIMIT = 10**INT_DIGITS - 1

# `int(text)` itself refuses more digits than this (CPython's guard against quadratic conversion, gh-95778).
_PYTHON_INT_DIGITS = 4300

FLOAT_LENGTH = 512
"""Longest text of a float: every finite double can be written out in fewer characters to any useful
precision, the largest needs 309 digits."""

# RFC 3339 leaves the number of fractional digits open; nanoseconds are the finest that common clocks write.
_FRACTION_DIGITS = 9

_HEX = "0123456789abcdefABCDEF"


def _is_digits(text: str) -> bool:
    # `isdecimal` alone accepts the digits of every script; a canonical text has ASCII digits only.
    return text.isdecimal() and text.isascii()


def int_parser(low: int = -INT_LIMIT, high: int = INT_LIMIT) -> Callable[[str], int]:
    """A parser of `-?(0|[1-9][0-9]*)` from `low` to `high`, both included.

    `-0` is refused: an integer has one text, so that one resource has one URL.
    """
    width = min(max(len(str(abs(low))), len(str(abs(high)))), _PYTHON_INT_DIGITS)
    too_low = f"must be at least {low}"
    too_high = f"must be at most {high}"
    bounded = (low, high) != (-INT_LIMIT, INT_LIMIT)

    def parse(text: str) -> int:
        if text.isdecimal() and text.isascii() and len(text) <= width and (text[0] != "0" or text == "0"):
            value = int(text)  # nearly all that come: no sign to look at
            if low <= value <= high:
                return value
        digits = text[1:] if text and text[0] == "-" else text
        if len(digits) > width:
            if not bounded:
                raise ValueError(f"must be an integer of at most {width} digits")
            if not (digits.isdecimal() and digits.isascii()) or digits[0] == "0":
                raise ValueError("must be an integer")
            raise ValueError(too_low if text[0] == "-" else too_high)
        if not (digits.isdecimal() and digits.isascii()) or (digits[0] == "0" and len(text) > 1):
            raise ValueError("must be an integer")
        value = int(text)
        if value < low:
            raise ValueError(too_low)
        if value > high:
            raise ValueError(too_high)
        return value

    return parse


def format_int(value: object) -> str:
    """The decimal digits of an `int`; a `bool` is refused, because `true` is not how its text would read."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be an int, not {type(value).__name__}")
    return int.__repr__(value)


def _is_number(text: str) -> bool:
    """Whether `text` is a number of JSON (RFC 8259 section 6)."""
    mantissa, e, exponent = text.replace("E", "e").partition("e")
    whole, dot, fraction = mantissa.partition(".")
    if whole[:1] == "-":
        whole = whole[1:]
    if not _is_digits(whole) or (whole[0] == "0" and len(whole) > 1):
        return False
    if dot and not _is_digits(fraction):
        return False
    return not e or _is_digits(exponent[1:] if exponent[:1] in ("+", "-") else exponent)


def float_parser(
    low: float = -math.inf, high: float = math.inf, *, above: float | None = None, below: float | None = None
) -> Callable[[str], float]:
    """A parser of JSON's numbers (RFC 8259 section 6), finite, from `low` to `high`, both included.

    Where an end stands for one that is open, `above` or `below` is that one, for the message.
    """
    too_low = f"must be at least {low!r}" if above is None else f"must be greater than {above!r}"
    too_high = f"must be at most {high!r}" if below is None else f"must be less than {below!r}"

    def parse(text: str) -> float:
        if len(text) > FLOAT_LENGTH or not _is_number(text):
            raise ValueError("must be a number")
        value = float(text)
        if math.isinf(value):
            raise ValueError("must be a finite number")
        if value < low:
            raise ValueError(too_low)
        if value > high:
            raise ValueError(too_high)
        return value

    return parse


def format_float(value: object) -> str:
    """The shortest text that gives the same double; an `int` counts as the float it equals."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a float, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("is too large for a float") from None
    if number != value or not math.isfinite(number):
        raise ValueError("must be a finite float")
    return repr(number)


def parse_bool(text: str) -> bool:
    """`true` or `false`, as JSON spells them."""
    if text == "true":
        return True
    if text == "false":
        return False
    raise ValueError("must be true or false")


def format_bool(value: object) -> str:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise ValueError(f"must be a bool, not {type(value).__name__}")
    return "true" if value else "false"


def parse_uuid(text: str) -> UUID:
    """The dashed form of RFC 9562 section 4, in either case."""
    if len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-":
        digits = text.replace("-", "")
        # Not left to `int`: it takes underscores and the prefix 0x.
        if len(digits) == 32 and not digits.strip(_HEX):
            return UUID(int=int(digits, 16))
    raise ValueError("must be a UUID")


def format_uuid(value: object) -> str:
    """The dashed form in lower case (RFC 9562 section 4: output is lower case)."""
    if not isinstance(value, UUID):
        raise ValueError(f"must be a UUID, not {type(value).__name__}")
    return str(value)


def _is_date(text: str) -> bool:
    return (
        len(text) == 10
        and text[4] == text[7] == "-"
        and _is_digits(text[:4])
        and _is_digits(text[5:7])
        and _is_digits(text[8:])
    )


def parse_date(text: str) -> date:
    """`full-date` of RFC 3339 section 5.6: YYYY-MM-DD."""
    if _is_date(text):
        try:
            return date.fromisoformat(text)
        except ValueError:  # the thirtieth of February, the year 0
            pass
    raise ValueError("must be a date (YYYY-MM-DD)")


def format_date(value: object) -> str:
    """YYYY-MM-DD; a `datetime` is refused, because its time would be lost."""
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError(f"must be a date, not {type(value).__name__}")
    return value.isoformat()


def _is_time(text: str) -> bool:
    # The hour is bounded here: `fromisoformat` takes 24:00 from Python 3.13 on, RFC 3339 does not.
    return (
        len(text) == 8 and text[2] == text[5] == ":" and _is_digits(text[:2] + text[3:5] + text[6:]) and text[:2] < "24"
    )


def _is_offset(text: str) -> bool:
    return len(text) == 6 and text[0] in "+-" and text[3] == ":" and _is_digits(text[1:3] + text[4:])


def parse_datetime(text: str) -> datetime:
    """`date-time` of RFC 3339 section 5.6, with at most nine fractional digits; Python keeps six.

    The offset is part of it: a time without one names no instant. A leap second is refused, because
    `datetime` has none.
    """
    # Lower case t and z are allowed by RFC 3339 section 5.6, the space of its note is not part of the
    # grammar.
    upper = text[:36].upper()
    clock, zone = (upper[11:-1], "+00:00") if upper.endswith("Z") else (upper[11:-6], upper[-6:])
    seconds, dot, fraction = clock.partition(".")
    if (
        len(text) <= 35
        and _is_date(upper[:10])
        and upper[10:11] == "T"
        and _is_time(seconds)
        and (not dot or (_is_digits(fraction) and len(fraction) <= _FRACTION_DIGITS))
        and _is_offset(zone)
    ):
        try:
            return datetime.fromisoformat(f"{upper[:10]}T{seconds}.{fraction[:6]:0<6}{zone}")
        except ValueError:  # minute 60, the thirtieth of February, an offset of a day
            pass
    raise ValueError("must be a date and time with an offset (RFC 3339)")


def format_datetime(value: object) -> str:
    """RFC 3339 with the value's own offset, `Z` for UTC; a naive datetime is refused, because it names no
    instant."""
    if not isinstance(value, datetime):
        raise ValueError(f"must be a datetime, not {type(value).__name__}")
    offset = value.utcoffset()
    if offset is None:
        raise ValueError("must be a datetime with a time zone:  datetime.now(timezone.utc)")
    if offset % timedelta(minutes=1):
        raise ValueError("has an offset with seconds, which RFC 3339 cannot spell")
    text = value.isoformat()
    return text[:-6] + "Z" if not offset else text
