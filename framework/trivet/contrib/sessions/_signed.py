"""Sessions in the browser, in a cookie that is signed: it can be read there, but not changed.

This file owns the cookie's text, `BASE64(record).BASE64(HMAC-SHA256)`, and which keys are believed. The signing is
itsdangerous's; its own timestamps are not used, since they refuse a cookie from a machine whose clock is ahead by the
smallest bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from ._keeper import Found
from ._record import Record, decoded
from ._session import SessionError

MAX_COOKIE: Final = 4096
"""Bytes of name and value together: browsers ignore a longer one (6265bis section 5.6)."""


class SignedCookies:
    """Keeps sessions in the cookie itself.

    Args:
        keys: secrets, each believed; the first one signs.
        name: of the cookie. What was signed for one name is not good under another.
        length: of the longest name that it is sent under.
    """

    def __init__(self, keys: Sequence[str | bytes], name: str, length: int) -> None:
        salt = f"trivet.sessions:{name}"
        self._signers = [Signer(key, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256) for key in keys]
        self._room = MAX_COOKIE - length

    async def find(self, value: str) -> Found | None:
        """What the cookie says, if one of our keys has signed it."""
        for place, signer in enumerate(self._signers):
            try:
                payload = signer.unsign(value)
                signature = value.rpartition(signer.sep.decode())[2]
                if base64_encode(base64_decode(signature)).decode() != signature:
                    return None  # one cookie has one text: the decoder looks neither at bits left over nor at padding
                record = decoded(base64_decode(payload))
            except BadData:
                continue
            return None if record is None else Found(value, record, stale=place > 0)
        return None

    async def keep(self, record: Record, ttl: float, value: str | None) -> str:
        """The cookie's value; nothing else keeps it."""
        signed = self._signers[0].sign(base64_encode(record.encoded())).decode("ascii")
        if len(signed) > self._room:
            raise SessionError(
                f"the session takes {MAX_COOKIE - self._room + len(signed)} bytes as a cookie, with its name, and "
                f"browsers ignore one of more than {MAX_COOKIE}.\n"
                "Keep on the server what is large, and its key in the session; or all of it:\n\n"
                "    sessions = Sessions(store=MemoryStore())"
            )
        return signed

    async def extend(self, found: Found, record: Record, ttl: float) -> str:
        """The cookie's value; what other requests have written meanwhile only the browser knows."""
        return await self.keep(record, ttl, found.value)

    async def forget(self, value: str) -> bool:
        """There is nothing to be forgotten here, nor does anybody know what has been."""
        return True
