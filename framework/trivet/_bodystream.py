"""The body of a request as an iterator, within its bounds: `max_body` bytes, and progress within `body_timeout`.

This file owns those two refusals (413 before a byte is read, where the length is announced; 408). Who reads `receive`
is `_inbound`'s business.
"""

from __future__ import annotations

import trio

from ._inbound import Inbound, too_large
from ._scope import TooLate, bounded
from .errors import HTTPError


class BodyStream:
    """The body, chunk by chunk; an iterator and no generator, so that nothing is left to finalise (PEP 525)."""

    __slots__ = ("_body_timeout", "_content_length", "_inbound", "_kept", "_max_body")

    def __init__(
        self,
        inbound: Inbound,
        content_length: str | None,
        max_body: int | None,
        body_timeout: float | None,
        kept: bytes | None = None,
    ) -> None:
        self._inbound = inbound
        self._content_length = content_length
        self._max_body = max_body
        self._body_timeout = body_timeout
        # The whole body, if it was read before: by a middleware that checks its signature, say.
        self._kept = kept

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        if self._kept:
            chunk, self._kept = self._kept, None
            await trio.lowlevel.checkpoint()
            return chunk
        if self._inbound.untouched:
            self._check_length()
        try:
            taken = await bounded(self._body_timeout, self._inbound.read)
        except TooLate:
            raise self._stuck() from None
        if taken is None:
            raise StopAsyncIteration
        return taken

    async def peek(self) -> bool:
        """Whether there is more: waits for it, and leaves it where it is."""
        if self._kept is not None:
            return bool(self._kept)
        try:
            return await bounded(self._body_timeout, self._inbound.peek)
        except TooLate:
            raise self._stuck() from None

    def _stuck(self) -> HTTPError:
        detail = f"the body made no progress for {self._body_timeout:g} seconds"
        return HTTPError(408, detail, headers={"connection": "close"})

    def _check_length(self) -> None:
        """Refuse a body that says that it is too large before any of it is read."""
        length = self._content_length
        if self._max_body is None or length is None or not length.isdecimal():
            return
        if len(length) > 18 or int(length) > self._max_body:
            raise too_large(self._max_body)
