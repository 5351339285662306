"""One request on its way to a backend and, where that may be done twice, to another one.

This file owns who is asked next and when. It does not look into what it carries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

import httpx
import trio

from trivet import HTTPError
from trivet.contrib.client import Client, DeadlineExceeded
from trivet.contrib.concurrency import HedgeBudget

from .backends import Backend
from .fields import Fields

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2, of those that are forwarded."""

ELSEWHERE: Final = frozenset({502, 503, 504})
NOT_CONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout)
"""Nobody has seen the request: it can go elsewhere, whatever its method is."""

CONNECT: Final = 1.0
"""Seconds: a backend is near, or it is not there."""


class Upload(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """A request's body on its way: read from the client as fast as the backend takes it.

    An iterator, so that nothing of it is left over where a backend answers before the end (PEP 525).
    """

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts
        self.begun = False
        self.late = False
        """Whether the time was over while it waited for the client."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.begun = True
        try:
            return await anext(self._parts)
        except trio.Cancelled:
            self.late = True
            raise


class Forward:
    """A request to be sent.

    Args:
        method: its method.
        target: path and query, as they came.
        fields: of its head.
        upload: its body; `None`: it has none.
        stall: seconds in which either body must make progress.
    """

    def __init__(self, method: str, target: bytes, fields: Fields, upload: Upload | None, stall: float) -> None:
        self._method = method
        self._target = target
        self._fields = fields
        self._upload = upload
        if upload is not None and not any(name == b"content-length" for name, _ in fields):
            # Of this connection (RFC 9112 section 6.1), as the client's was of the other.
            self._fields = [*fields, (b"transfer-encoding", b"chunked")]
        self._has_host = any(name == b"host" for name, _ in fields)
        """HTTP/1.0 can do without; what we speak cannot (RFC 9112 section 3.2)."""
        self._stall = stall

    async def send(
        self, client: Client, backends: Sequence[Backend], stack: AsyncExitStack, budget: HedgeBudget
    ) -> httpx.Response:
        """Ask the backends in this order until one has an answer or the budget is spent; the last answer is the answer.

        Only what has failed is done again. One that is slow has all of the time: to cut it off would fail what takes
        more than its share, however often it is tried, and load another one with what is to be thrown away.

        Args:
            client: what sends.
            backends: not empty.
            stack: where the response is left open.
            budget: of attempts that load a backend once more; one that was not reached was not loaded.

        Raises:
            DeadlineExceeded: none of them had one in time.
            HTTPError: 408, the client had not sent all of its body by then.
            httpx.TransportError: that is how the last attempt ended.
        """
        budget.earn()
        for backend in backends[:-1]:
            own = AsyncExitStack()
            # Whatever happens to it, it is left with the request.
            await stack.enter_async_context(own)
            try:
                response = await self._attempt(client, backend, own)
                if response.status_code not in ELSEWHERE or not self._repeatable or not budget.spend():
                    return response
            except DeadlineExceeded:
                raise  # there is no time for another one
            except httpx.TransportError as error:
                unseen = self._unsent and isinstance(error, NOT_CONNECTED)
                if not unseen and not (self._repeatable and budget.spend()):
                    raise
            await own.aclose()
        return await self._attempt(client, backends[-1], stack)

    async def _attempt(self, client: Client, backend: Backend, stack: AsyncExitStack) -> httpx.Response:
        stack.enter_context(backend.busy())
        # Until the head it has what time there is, which the request's own deadline says.
        timeout = {"connect": CONNECT, "read": None, "write": self._stall, "pool": self._stall}
        extensions = {"target": self._target, "timeout": timeout}
        # Not built by the client, which would add fields of its own.
        request = httpx.Request(
            self._method,
            backend.url,
            headers=self._fields if self._has_host else [(b"host", backend.host), *self._fields],
            stream=self._upload or httpx.ByteStream(b""),
            extensions=extensions,
        )
        try:
            response = await client.send(request, stream=True)
        except NOT_CONNECTED:
            backend.missed()
            raise
        except DeadlineExceeded as error:
            if self._upload is not None and self._upload.late:
                raise HTTPError(408, "The request's body took too long.") from error
            raise
        stack.push_async_callback(response.aclose)
        backend.reached()
        timeout["read"] = self._stall  # httpcore looks here once more when the body is read
        return response

    @property
    def _unsent(self) -> bool:
        return self._upload is None or not self._upload.begun

    @property
    def _repeatable(self) -> bool:
        """Whether it can be sent again, whatever became of it."""
        return self._method in IDEMPOTENT and self._unsent
