"""What `Sessions` refuses at the line that makes one, each with its remedy.

This file owns those messages, but for what a type of contents must be, which `_contents` finds out by trying.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast, get_args

from trivet.contrib._meant import is_redis, redis_named, shown
from trivet.errors import RegistrationError

from ._cookie import SameSite, SessionCookie
from ._store import SessionStore

LONGEST: Final = 400 * 86400
"""Seconds: browsers keep no cookie for longer (6265bis section 5.5)."""

_SHORTEST_KEY: Final = 32
"""Bytes: what SHA-256 gives, and what an HMAC with it asks for (RFC 2104 section 3)."""

_STORE: Final = tuple(name for name in vars(SessionStore) if not name.startswith("_"))

_MAKE_KEY: Final = """Make one, and keep it where other secrets are:

    python -c 'import secrets; print(secrets.token_urlsafe(32))'"""


def checked_keys(secret: object) -> list[str | bytes]:
    """The secrets, the one that signs first.

    Raises:
        RegistrationError: one is too short, or no secret, or there is none.
    """
    keys = [secret] if isinstance(secret, str | bytes) else secret
    if not isinstance(keys, Sequence) or not keys:
        raise RegistrationError(
            f"{_shown(secret)} is no secret, nor a list of them.\n"
            'Write  Sessions(secret=os.environ["SESSION_SECRET"]),  or, to change it,  secret=[new, old]'
        )
    for key in cast("Sequence[object]", keys):
        if not isinstance(key, str | bytes):
            raise RegistrationError(f"a secret is str or bytes, not {type(key).__name__}.\n{_MAKE_KEY}")
        length = len(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key)
        if length < _SHORTEST_KEY:
            raise RegistrationError(
                f"a secret of {length} bytes can be guessed by trying; it needs {_SHORTEST_KEY}.\n{_MAKE_KEY}"
            )
    return list(cast("Sequence[str | bytes]", keys))


def _shown(secret: object) -> str:
    """What came, but nothing that could be the secret."""
    return "an empty list" if secret in ([], ()) else f"an object of {type(secret).__name__}"


def check_place(secret: object, store: object) -> None:
    """Refuse sessions that are nowhere, or in two places.

    Raises:
        RegistrationError: see there.
    """
    if (secret is None) == (store is None):
        came = "neither a secret nor a store" if secret is None else "both a secret and a store"
        raise RegistrationError(
            f"Sessions was given {came}: sessions are in a signed cookie, or on the server.\n"
            'Write  Sessions(secret=os.environ["SESSION_SECRET"])  or  Sessions(store=MemoryStore())'
        )
    missing = [name for name in _STORE if not callable(getattr(store, name, None))]
    if store is not None and (isinstance(store, type) or missing):
        lacks = "" if isinstance(store, type) else f": it has no {' and no '.join(missing)}"
        own = f"RedisSessionStore({redis_named(store)})" if is_redis(store) else "MemoryStore()"
        raise RegistrationError(f"{shown(store)} is no store of sessions{lacks}.\nWrite  Sessions(store={own})")


def check_seconds(name: str, value: object, least: float, most: float, default: str) -> None:
    """Refuse what is no time.

    Raises:
        RegistrationError: see there.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        why = ", the 400 days for which browsers keep a cookie" if most == LONGEST else ""
        raise RegistrationError(
            f"{name}={value!r} is not a number of seconds from {least:g} to {most:.0f}{why}.\nWrite  {name}={default}"
        )


def check_bytes(value: object) -> None:
    """Refuse what is no number of bytes.

    Raises:
        RegistrationError: see there.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RegistrationError(
            f"max_bytes={value!r} is not a whole number from 1 on.\nWrite  Sessions(store=..., max_bytes=65536)"
        )


def check_cookie(cookie: SessionCookie) -> None:
    """Refuse what a browser would drop.

    Raises:
        RegistrationError: see there.
    """
    choices: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("secure", cookie.secure, (None, True, False)),
        ("samesite", cookie.samesite, get_args(SameSite)),
        ("persistent", cookie.persistent, (True, False)),
    )
    for option, value, allowed in choices:
        if not any(value is each or (isinstance(each, str) and value == each) for each in allowed):
            raise RegistrationError(
                f"{option}={value!r} is not a choice.\nWrite {' or '.join(f'{option}={each!r}' for each in allowed)}."
            )
    if cookie.samesite == "none" and cookie.secure is not True:
        raise RegistrationError(
            'samesite="none" asks for Secure, whatever the request came over: browsers drop the cookie otherwise.\n'
            'Write  Sessions(..., samesite="none", secure=True)'
        )
    if isinstance(cookie.name, str) and cookie.name.lower().startswith(("__host-", "__secure-")):
        bare = cookie.name.partition("-")[2]
        raise RegistrationError(
            f"name={cookie.name!r} has a prefix, which is added where the cookie can have it.\n"
            f"Write  Sessions(..., name={bare!r})"
        )
    for secure in (False, True) if cookie.secure is None else (cookie.secure,):
        try:
            cookie.set("x", 1, secure=secure)
        except (TypeError, ValueError) as error:
            raise RegistrationError(str(error)) from None
