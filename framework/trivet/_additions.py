"""What is added to a response by those who do not see it: providers, whose values the handler uses.

This file owns how added headers and the response's own go together, and the list of what is to be done before a stream
begins. It knows no response: who sends one asks for both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from ._headers import MutableHeaders
from .asgi import RawHeaders

_ADDING_UP: Final = frozenset({b"set-cookie", b"vary", b"link", b"server-timing"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})  # the response's own business, and the server's

Before: TypeAlias = Callable[[], Awaitable[object]]


class Additions:
    """The part of a request that its response is added to by."""

    # Defaults in the class, as `Request` has them.

    _response_headers: MutableHeaders | None = None
    """Made when a provider, or whoever, wants to add to the response."""

    _before_stream: list[Before] | None = None

    @property
    def response_headers(self) -> MutableHeaders:
        """Headers that go out with whatever response this request gets, an error too: for providers, which see none.

        What a response says itself wins; only fields that add up (`Set-Cookie`, `Vary`, `Link`) stand beside its own.
        """
        if self._response_headers is None:
            self._response_headers = MutableHeaders()
        return self._response_headers

    def before_stream(self, fn: Before) -> None:
        """Have `fn` awaited if the response is a stream, before its head goes out: for providers.

        A provider that is a context manager is left before a whole response is sent, but after a stream's last chunk:
        too late to put anything into `response_headers`, or to say that something has failed. With this it can do both
        in time: an error that `fn` raises is answered in the place of the stream.

        Args:
            fn: what to await, once, when the handler and its middleware have returned the stream. Several are awaited
                in the order of these calls.

        Cancellation: `fn` is cancelled as the handler is, at the request's deadline and when the client leaves. If that
        was before it began, it is not called: there will be no stream.
        """
        if self._before_stream is None:
            self._before_stream = []
        self._before_stream.append(fn)

    async def _prepare_stream(self) -> None:
        """Await what has been asked for."""
        for fn in self._before_stream or ():
            await fn()

    def _with_own(self, headers: RawHeaders) -> RawHeaders:
        """The headers of a response, with those that were added here."""
        own = self._response_headers
        if own is None:
            return headers
        taken = {name for name, _ in headers} - _ADDING_UP | _FRAMING
        return [*headers, *((name, value) for name, value in own.raw if name not in taken)]
