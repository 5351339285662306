"""Sessions on the server: the browser has a random identifier, the store what that stands for.

This file owns the identifier and what becomes of a request when the store fails. The store is asked for a hash of the
identifier: what can be read there, in a backup say, opens no session; and how long a lookup takes tells nothing.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from functools import partial
from math import ceil
from typing import Final, TypeVar, TypeVarTuple

import trio

from trivet import HTTPError
from trivet.contrib._outage import Outage

from ._keeper import Found
from ._record import Record, decoded
from ._session import SessionError
from ._store import SessionStore

log = logging.getLogger("trivet.contrib.sessions")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_BYTES: Final = 32
"""Of an identifier: OWASP asks for at least 8 that cannot be guessed."""

_AWAY: Final = "Sessions cannot be reached now."

_RETURNED: Final = {
    "set": "Return True, or False if replace is asked for and there is nothing.",
    "compare_and_set": "Return True, or False if what is there is not what was expected.",
    "delete": "Return True, or False if there was nothing:  return cursor.rowcount > 0",
}

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")


class StoredSessions:
    """Keeps sessions in a store.

    Args:
        store: where.
        max_bytes: of one session.
        timeout: seconds that the store has for each call.
    """

    def __init__(self, store: SessionStore, max_bytes: int, timeout: float) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._outage = Outage(log, "the store of sessions", "get 503", "got 503")

    async def find(self, value: str) -> Found | None:
        """What the store has for this identifier."""
        if _IDENTIFIER.match(value) is None:
            return None
        data = await self._asked(self._store.get, _key(value))
        record = None if data is None else decoded(data)
        return None if record is None else Found(value, record)

    async def keep(self, record: Record, ttl: float, value: str | None) -> str | None:
        """Put it into the store; the cookie's value is the identifier."""
        data = record.encoded()
        if len(data) > self._max_bytes:
            raise SessionError(
                f"the session takes {len(data)} bytes, and may have {self._max_bytes}: each request reads it.\n"
                "Keep elsewhere what is large, and its key in the session; or allow more:\n\n"
                f"    sessions = Sessions(store=..., max_bytes={1 << len(data).bit_length()})"
            )
        identifier = secrets.token_urlsafe(_BYTES) if value is None else value
        set_ = partial(self._store.set, replace=value is not None)
        kept = self._told("set", await self._asked(set_, _key(identifier), data, ttl))
        return identifier if kept or value is None else None

    async def extend(self, found: Found, record: Record, ttl: float) -> str | None:
        """Put its new time into the store, unless what is there is another one by now."""
        kept = await self._asked(
            self._store.compare_and_set, _key(found.value), found.record.encoded(), record.encoded(), ttl
        )
        return found.value if self._told("compare_and_set", kept) else None

    async def forget(self, value: str) -> bool:
        """Delete it from the store."""
        return self._told("delete", await self._asked(self._store.delete, _key(value)))

    def _told(self, method: str, answer: object) -> bool:
        """What one of the store's methods has returned: without it, changes would be dropped without a word.

        Raises:
            SessionError: nothing.
        """
        if answer is None:
            raise SessionError(
                f"{type(self._store).__name__}.{method} returned None, and so does not say "
                f"{'whether there was anything' if method == 'delete' else 'whether it is kept'}: a session that "
                "another request has ended must stay so.\n"
                f"{_RETURNED[method]}"
            )
        return bool(answer)

    async def _asked(self, fn: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """What the store answers, in time.

        Raises:
            HTTPError: 503, it does not.
        """
        try:
            with trio.fail_after(self._timeout):
                answer = await fn(*args)
        except Exception as error:
            self._outage.met(error)
            seconds = max(1, ceil(getattr(error, "retry_after", 1)))
            raise HTTPError(503, _AWAY, headers={"retry-after": str(seconds)}) from error
        if self._outage.requests:
            self._outage.over()
        return answer


def _key(identifier: str) -> str:
    digest = hashlib.sha256(identifier.encode("ascii")).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
