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
_SHARING: Final = frozenset({b"public", b"s-maxage", b"must-understand"})
"""What opens a shared cache, the last one by undoing `no-store` (RFC 9111 section 5.2.2.3)."""

Before: TypeAlias = Callable[[], Awaitable[object]]


class Additions:
    """The part of a request that its response is added to by."""

    # Defaults in the class, as `Request` has them.

    _response_headers: MutableHeaders | None = None
    """Made when a provider, or whoever, wants to add to the response."""

    _before_stream: list[Before] | None = None

    _unshared = False
    """Whether what was added is for this visitor only, so that no shared cache may keep the response, whatever it says
    itself: `Set-Cookie` keeps none from that (RFC 9111 section 7.3)."""

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
        together = [*headers, *((name, value) for name, value in own.raw if name not in taken)]
        return _for_one(together) if self._unshared else together


def _for_one(headers: RawHeaders) -> RawHeaders:
    """The headers, but for what lets a shared cache keep the response; for how long the visitor's own may, stays.

    Fields for certain caches only, as `CDN-Cache-Control`, would count more there (RFC 9213 section 2.2).
    """
    said = b",".join(value for name, value in headers if name == b"cache-control").split(b",")
    directives = [each for each in map(bytes.strip, said) if each and each.partition(b"=")[0].lower() not in _SHARING]
    if not any(each.lower() in (b"private", b"no-store") for each in directives):
        directives.insert(0, b"private")
    others = [each for each in headers if not each[0].endswith(b"cache-control") and each[0] != b"surrogate-control"]
    return [*others, (b"cache-control", b", ".join(directives))]
