"""Where sessions are kept on the server: the protocol by which another store than this process's memory is used.

This file owns the protocol only.
"""

from __future__ import annotations

from typing import Protocol


class SessionStore(Protocol):
    """Keeps bytes under a key, for so long. `MemoryStore` keeps them in this process; one behind several workers shares
    them.

    Each method is one step: no other call for the same key comes in between. In Redis each is one command, or one
    script. One that has to be connected first has an attribute `connected`: a provider, which each application that has
    the sessions enters with the scope `"app"`.

    What a method raises is answered with 503; an attribute `retry_after` of it, in seconds, is what clients are told.
    """

    async def get(self, key: str) -> bytes | None:
        """What is kept under `key`; `None`: nothing, or its time is over.

        Args:
            key: 43 letters, digits, `-` and `_`: a hash of what the browser has, so that who reads the store has
                nothing to send.

        Raises:
            Exception: the store failed; the request is answered with 503.

        Cancellation: the request is going to be cancelled.
        """
        ...

    async def set(self, key: str, value: bytes, ttl: float, *, replace: bool = False) -> bool:
        """Keep `value` under `key`, in the place of what is there, and count its time anew.

        Args:
            key: as above.
            value: what to keep.
            ttl: seconds to keep it, more than 0; afterwards it may be forgotten at any time, and is not given any more.
            replace: only if there is something under `key` (Redis: `SET key value PX ttl XX`). A session that another
                request has ended meanwhile must not come back by one that began before that.

        Returns:
            Whether it is kept; `False` only with `replace`.

        Raises:
            Exception: the store failed; the request is answered with 503.

        Cancellation: it is kept or not, as a whole.
        """
        ...

    async def compare_and_set(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Keep `value` under `key`, and count its time anew, if what is there is still `expected`.

        A session that was only looked at is kept for longer by this: what another request has put in meanwhile, or
        ended, stays so. In SQL it is `UPDATE ... WHERE key = :key AND value = :expected`.

        Args:
            key: as above.
            expected: what `get` gave.
            value: as of `set`.
            ttl: as of `set`.

        Returns:
            Whether it is kept.

        Raises:
            Exception: the store failed; the request is answered with 503.

        Cancellation: it is kept or not, as a whole.
        """
        ...

    async def delete(self, key: str) -> bool:
        """Forget what is under `key`, if there is anything.

        Returns:
            Whether there was: of two that delete the same one only. A session that another request has ended must not
            go on under another identifier.

        Raises:
            Exception: the store failed; the request is answered with 503.

        Cancellation: it is forgotten or not.
        """
        ...
