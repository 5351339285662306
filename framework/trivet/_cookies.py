"""Cookies: reading them tolerantly, writing them strictly (RFC 6265 and its successor draft, "6265bis").

This file owns both grammars. It is our own because `http.cookies` is quadratic on Python 3.11 (64 KiB of
quotes block the loop for seconds) and lets through what browsers drop. It knows text, not requests or
responses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from string import ascii_letters, digits
from typing import Literal

from .errors import HTTPError

SameSite = Literal["lax", "strict", "none"]

MAX_COOKIES = 1000
"""More are a flood, not a browser: Chrome keeps 180 for a site, Firefox 150."""

_MAX_PAIR = 4096  # 6265bis section 5.6: a browser ignores a cookie whose name and value are longer together
_MAX_ATTRIBUTE = 1024  # 6265bis section 5.6: an attribute whose value is longer is ignored

_NAME = frozenset("!#$%&'*+-.^_`|~" + ascii_letters + digits)
_VALUE = frozenset(map(chr, range(0x21, 0x7F))) - frozenset('",;\\')  # cookie-octet, RFC 6265 section 4.1.1
_PATH = frozenset(map(chr, range(0x20, 0x7F))) - frozenset(";")
_DOMAIN = frozenset("-." + ascii_letters + digits)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_cookies(values: Iterable[str], max_cookies: int = MAX_COOKIES) -> dict[str, str]:
    """The cookies of a request, in time linear in their length.

    Of two cookies of one name the first counts: browsers send the one with the longest path, which is the
        most
    specific, first (RFC 6265 section 5.4). A piece without `=` or without a name is skipped, since it may be
    a cookie without a name that imitates one with a prefix. A pair of double quotes around a value is taken
    off, and nothing is unescaped, as Go does it.

    Args:
        values: each value of the `Cookie` field, decoded as latin-1; HTTP/2 may split it (RFC 9113 section
            8.2.3).
        max_cookies: how many there may be.

    Returns:
        Name to value. Text that is not ASCII is read as UTF-8, as browsers write it, else as latin-1.

    Raises:
        HTTPError: 431, there are more than `max_cookies`.
    """
    cookies: dict[str, str] = {}
    count = 0
    for value in values:
        count += value.count(";") + 1
        if count > max_cookies:
            raise HTTPError(431, f"There are more than {max_cookies} cookies.")
        for piece in _text(value).split(";"):
            name, equals, text = piece.partition("=")
            name = name.strip(" \t")
            if not equals or not name or name in cookies:
                continue
            text = text.strip(" \t")
            if len(text) >= 2 and text[0] == text[-1] == '"':
                text = text[1:-1]
            cookies[name] = text
    return cookies


class CookieValues(dict[str, str]):
    """Cookies as parameters are read from them: each name has one value, or none."""

    __slots__ = ()

    def getlist(self, name: str) -> list[str]:
        """The value of `name`, if there is one."""
        value = self.get(name)
        return [] if value is None else [value]


def serialize_cookie(
    name: str,
    value: str = "",
    *,
    max_age: float | timedelta | None = None,
    expires: datetime | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> str:
    """The value of one `Set-Cookie` field; the arguments are those of `Response.set_cookie`.

    Raises:
        ValueError: a browser would drop the cookie, or HTTP cannot carry it.
    """
    _check_pair(name, value)
    _check_rules(name, secure=secure, path=path, domain=domain, samesite=samesite, partitioned=partitioned)
    parts = [f"{name}={value}"]
    if expires is not None:
        parts.append(f"Expires={_date(name, expires)}")
    if max_age is not None:
        parts.append(f"Max-Age={_seconds(name, max_age)}")
    if domain is not None:
        parts.append(f"Domain={_attribute(name, 'domain', domain, _DOMAIN)}")
    if path is not None:
        parts.append(f"Path={_attribute(name, 'path', path, _PATH)}")
    if secure:
        parts.append("Secure")
    if httponly:
        parts.append("HttpOnly")
    if samesite is not None:
        parts.append(f"SameSite={samesite.capitalize()}")
    if partitioned:
        parts.append("Partitioned")
    return "; ".join(parts)


def serialize_removal(
    name: str,
    *,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> str:
    """The value of a `Set-Cookie` field that makes the browser forget a cookie.

    Path, domain and partitioning must be those it was set with: they are part of its identity. A name whose
        prefix asks
    for `Secure` has it by itself.

    Raises:
        ValueError: as `serialize_cookie`.
    """
    return serialize_cookie(
        name,
        max_age=0,
        expires=_EPOCH,
        path=path,
        domain=domain,
        secure=secure or _prefix(name) is not None,
        httponly=httponly,
        samesite=samesite,
        partitioned=partitioned,
    )


def _text(value: str) -> str:
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _prefix(name: str) -> str | None:
    """The prefix that binds a browser to rules of its own; case does not matter (6265bis section 4.1.3)."""
    lower = name.lower()
    return next((prefix for prefix in ("__Host-", "__Secure-") if lower.startswith(prefix.lower())), None)


def _check_pair(name: str, value: str) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(
            f"a cookie's name and value are str, not {type(name).__name__} and {type(value).__name__}.\n"
            "Spell the value as text:  response.set_cookie(name, str(value))"
        )
    if not name or not _NAME.issuperset(name):
        raise ValueError(
            f"{name[:80]!r} cannot be the name of a cookie: a name has only letters, digits and "
            "!#$%&'*+-.^_`|~ (RFC 6265 section 4.1.1)."
        )
    if not _VALUE.issuperset(value):
        bad = next(character for character in value if character not in _VALUE)
        raise ValueError(
            f"the value of the cookie {name!r} has {bad!r}: a cookie cannot carry blanks, quotes, commas, "
            "semicolons, backslashes, control characters or text outside ASCII (RFC 6265 section 4.1.1).\n"
            f'Encode it first, and decode it when it comes back:  response.set_cookie("{name}", '
            "urllib.parse.quote(value))"
        )
    if len(name) + len(value) > _MAX_PAIR:
        raise ValueError(
            f"the cookie {name[:80]!r} has {len(name) + len(value)} bytes; "
            f"browsers ignore one over {_MAX_PAIR}.\n"
            "Keep the data on the server and put its key into the cookie."
        )


def _check_rules(
    name: str, *, secure: bool, path: str | None, domain: str | None, samesite: str | None, partitioned: bool
) -> None:
    """Refuse what a browser would drop without a word (6265bis sections 4.1.3 and 5.7, CHIPS)."""
    if samesite not in ("lax", "strict", "none", None):
        raise ValueError(f'samesite={samesite!r} of the cookie {name!r} is not "lax", "strict", "none" or None.')
    prefix = _prefix(name)
    needs = {
        f"the prefix {prefix}": prefix is not None,
        'samesite="none"': samesite == "none",
        "partitioned=True": partitioned,
    }
    reason = next((what for what, holds in needs.items() if holds), None)
    if reason is not None and not secure:
        raise ValueError(
            f"browsers drop the cookie {name!r}: {reason} asks for Secure.\n"
            f'Add it:  response.set_cookie("{name}", value, secure=True, ...)'
        )
    if prefix == "__Host-" and (path != "/" or domain is not None):
        raise ValueError(
            f'browsers drop the cookie {name!r}: the prefix __Host- asks for path="/" and no domain.\n'
            "Leave path and domain away, or use the prefix __Secure-."
        )


def _attribute(name: str, attribute: str, text: str, allowed: frozenset[str]) -> str:
    # A path that does not begin with a slash is ignored by browsers, which then put in one of their own
    # (6265bis 5.6.4).
    wrong_start = attribute == "path" and not text.startswith("/")
    if not text or wrong_start or len(text) > _MAX_ATTRIBUTE or not allowed.issuperset(text):
        remedy = 'path="/account" (percent-encoded)' if attribute == "path" else 'domain="example.com" (IDNA)'
        raise ValueError(f"{attribute}={text[:80]!r} of the cookie {name!r} cannot be sent.\nWrite it as:  {remedy}")
    return text


def _seconds(name: str, max_age: float | timedelta) -> int:
    seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
    if not math.isfinite(seconds):
        raise ValueError(f"max_age={seconds} of the cookie {name!r} is not a number of seconds.")
    return int(seconds)


def _date(name: str, expires: datetime) -> str:
    if expires.tzinfo is None:
        raise ValueError(
            f"expires={expires!r} of the cookie {name!r} has no time zone.\n"
            "Say which:  datetime.now(UTC) + timedelta(days=1)"
        )
    return format_datetime(expires.astimezone(UTC), usegmt=True)
