"""One call as it goes over the wire: within the deadline that surrounds it, told to whom it asks, and tried again.

This file owns the order of these things. It stands around any transport of httpx, so that redirects, proxies and
connections are httpx's, and each hop of a redirect that may know it is told the time that it has.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, cast

import httpx
import trio

from trivet import Request
from trivet.contrib._response import ClosingResponse
from trivet.contrib._tokens import Tokens

from . import _trace
from ._audience import is_told, origin_of
from ._caller import caller
from ._deadline import Limit, head_within, part_within, shown, tell
from ._retry import Retry, asked_to_wait, repeatable

log = logging.getLogger("trivet.contrib.client")

_BUFFERED: Final = 1000
"""Parts of a body that is left which are looked at for its end, before the rest is thrown away."""

_ORIGINS: Final = 1000
"""Budgets that are kept: whoever calls more origins than that is a crawler, and the oldest start anew."""


WHOLE: Final = "trivet.whole"
"""The extension that says that nobody wants the response before it is whole: then it can be asked for again if it
breaks off midway."""


class _Unsaid(float):
    """Seconds that nobody has said. Whoever says as many is to have them, within a deadline as well, so that the number
    does not tell; httpx hands the object itself on, from the client's timeouts to each of its requests."""


UNSAID: Final = httpx.Timeout(_Unsaid(5.0))
"""The timeouts of a client that is given none, which are httpx's own. Where there is a deadline it takes their place,
except for connecting, after which there may be time for another attempt."""


class DeadlineTransport(httpx.AsyncBaseTransport):
    """Around another transport.

    Args:
        inner: what sends.
        margin: seconds that are kept for the caller.
        retry: `None`: each call is made once.
        propagate: tell whom is called the time and the trace.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        margin: float,
        retry: Retry | None,
        propagate: bool,
    ) -> None:
        self._inner = inner
        self._margin = margin
        self._retry = retry
        self._propagate = propagate
        self._budgets: dict[tuple[str, str, int | None], Tokens] = {}

    async def __aenter__(self) -> DeadlineTransport:
        """Open the connections' pool."""
        await self._inner.__aenter__()
        return self

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, again if need be, and wait for the head of its response.

        Raises:
            DeadlineExceeded: that takes longer than there is time.
            httpx.TransportError: of the last attempt.

        Cancellation: the connection is closed.
        """
        asking = caller()
        began, limit = trio.current_time(), Limit.of(self._margin, asking)
        tells = self._propagate and is_told(request)
        if tells:
            _trace.tell(request.headers, asking)
        timeouts = request.extensions.get("timeout")
        if limit.around < math.inf and timeouts is not None and type(timeouts.get("read")) is _Unsaid:
            only_connecting = {**timeouts, "read": None, "write": None, "pool": None}
            request.extensions = {**request.extensions, "timeout": only_connecting}
        retry = self._retry
        if retry is None:
            response = await self._send(request, limit, began, tells)
        else:
            response = await self._try(request, limit, began, asking, tells, retry)
        body = _Body(cast("httpx.AsyncByteStream", response.stream), self._margin, request, asking)
        extensions = response.extensions
        return ClosingResponse(response.status_code, headers=response.headers, body=body, extensions=extensions)

    async def _send(self, request: httpx.Request, limit: Limit, began: float, tells: bool) -> httpx.Response:
        await limit.check(request, began)
        if tells:
            tell(request.headers, limit.told(trio.current_time()))
        return await head_within(limit, request, began, self._inner.handle_async_request)

    async def _try(
        self, request: httpx.Request, limit: Limit, began: float, asking: Request | None, tells: bool, retry: Retry
    ) -> httpx.Response:
        budget = self._budget(request.url, retry)
        budget.earn()
        again = repeatable(request) and request.extensions.get("retry", True)
        attempt = 1
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = await self._send(request, limit, began, tells)
                if again and request.extensions.get(WHOLE) and not retry.wants(outcome):
                    outcome = await self._read(outcome, request, asking)
            except httpx.TransportError as error:
                outcome = error
            wait = retry.wait(attempt, asked_to_wait(outcome)) if again and retry.wants(outcome) else None
            # An attempt that could not begin in time is not waited for: what came is the answer, and there is time
            # left to make something of it.
            if wait is None or trio.current_time() + wait >= limit.end or not budget.spend():
                if isinstance(outcome, httpx.Response):
                    return outcome
                raise outcome
            what = outcome.status_code if isinstance(outcome, httpx.Response) else repr(outcome)
            log.debug("%s: %s; again in %.3f s", shown(request), what, wait)
            if isinstance(outcome, httpx.Response):
                await outcome.aclose()
            await trio.sleep(wait)
            attempt += 1

    async def _read(self, response: httpx.Response, request: httpx.Request, asking: Request | None) -> httpx.Response:
        """The same, with its body, as it came."""
        body = _Body(cast("httpx.AsyncByteStream", response.stream), self._margin, request, asking)
        try:
            content = b"".join([part async for part in body])
        finally:
            await body.aclose()  # noqa: ASYNC102 - httpx shields it
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=httpx.ByteStream(content),
            extensions=response.extensions,
        )

    def _budget(self, url: httpx.URL, retry: Retry) -> Tokens:
        origin = origin_of(url)
        budget = self._budgets.get(origin)
        if budget is None:
            if len(self._budgets) >= _ORIGINS:
                del self._budgets[next(iter(self._budgets))]
            budget = self._budgets[origin] = Tokens(retry.ratio, retry.reserve)
        return budget


class _Body(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """A response's body: each part is waited for within the deadline that surrounds who reads it.

    That is not always the one of the head: the feed of a stream has left the handler's deadline behind, as its request
    knows. An iterator
    and no generator, so that no scope is open while somebody else's code runs (PEP 789).
    """

    def __init__(
        self, inner: httpx.AsyncByteStream, margin: float, request: httpx.Request, asking: Request | None
    ) -> None:
        self._inner = inner
        self._parts: AsyncIterator[bytes] | None = None
        self._margin = margin
        self._request = request
        self._asking = asking

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._parts is None:
            self._parts = aiter(self._inner)
        try:
            return await part_within(Limit.of(self._margin, self._asking), self._request, self._parts.__anext__)
        except httpx.RequestError as error:
            error.request = self._request  # as where httpx iterates by itself
            raise

    async def aclose(self) -> None:
        """Close the connection, unless all of it was read."""
        parts: object = self._parts
        try:
            if isinstance(parts, AsyncGenerator):  # httpx's own is one; nobody else would finish it
                if type(self._inner).__module__.startswith("httpx."):
                    await _unwind(cast("AsyncGenerator[bytes]", parts))
                await cast("AsyncGenerator[bytes]", parts).aclose()
        finally:
            await self._inner.aclose()  # noqa: ASYNC102 - httpx shields it


async def _unwind(parts: AsyncGenerator[bytes]) -> None:
    """End a body of httpcore's, which is a generator within generators.

    Closing the outermost leaves the others to the garbage collector, of which Trio warns; an error that comes out of
    the innermost goes through all of them. What has come already comes before it.
    """
    with trio.CancelScope(shield=True) as scope:  # it waits for nothing: all behind it is cancelled
        scope.cancel(reason="the response is left")
        for _ in range(_BUFFERED):
            try:
                await anext(parts)
            except (StopAsyncIteration, httpx.HTTPError):
                return
