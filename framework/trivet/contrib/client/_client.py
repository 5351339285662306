"""`Client`: httpx's, with every transport of it within the surrounding deadline.

This file owns its options. What becomes of a call is `_transport`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import httpx
from httpx import USE_CLIENT_DEFAULT

from trivet.errors import RegistrationError

from ._retry import Retry
from ._transport import UNSAID, WHOLE, DeadlineTransport

if TYPE_CHECKING:
    import ssl

    from httpx import _types as types
    from httpx._client import UseClientDefault

MARGIN: Final = 0.05

_OF_TRANSPORT: Final = ("verify", "cert", "trust_env", "http1", "http2", "limits", "proxy")
"""Options that `httpx.AsyncClient` has for the transport that it makes; here it is given one."""


class Options(TypedDict, total=False):
    """The options of `httpx.AsyncClient`."""

    auth: types.AuthTypes | None
    params: types.QueryParamTypes | None
    headers: types.HeaderTypes | None
    cookies: types.CookieTypes | None
    verify: ssl.SSLContext | str | bool
    cert: types.CertTypes | None
    http1: bool
    http2: bool
    proxy: types.ProxyTypes | None
    mounts: Mapping[str, httpx.AsyncBaseTransport | None] | None
    timeout: types.TimeoutTypes
    follow_redirects: bool
    limits: httpx.Limits
    max_redirects: int
    event_hooks: Mapping[str, list[Callable[..., Any]]] | None
    base_url: httpx.URL | str
    transport: httpx.AsyncBaseTransport | None
    trust_env: bool
    default_encoding: str | Callable[[bytes], str]


class Client(httpx.AsyncClient):
    """An `httpx.AsyncClient` for calls to other services, each within the deadline of whoever makes it.

    A call has what is left of the deadline that surrounds it, the request's or any of Trio's, and says so in
    `X-Request-Timeout-Ms`. A `margin` before the request's own deadline it raises `DeadlineExceeded`; unless it is
    caught, the answer is 504. A scope of the caller's ends the call as it ends all else. Each part of a body that is
    streamed has what surrounds its reader, which is nothing in the feed of a `Stream`.

    Idempotent calls that fail are made again in the same time, and so are those with an `Idempotency-Key`. All calls of
    a request continue its trace, or one that begins with the first of them; an open span of OpenTelemetry is told
    instead.

    One pool of connections is enough for an application: let a dependency with `scope="app"` open it.

    Args:
        margin: seconds before the request's deadline that no call takes, so that whoever makes it can still do without.
            Where a call is no request's, who is called is told of that much less, and nothing else becomes of it.
        retry: which failed calls are made again, how often, and when; `None`: none. For one request:
            `extensions={"retry": False}`.
        propagate: say the time and the trace; `False` for whoever is not your own. Who is asked because a redirect
            leads to another origin is told neither.
        options: as for `httpx.AsyncClient`. Without `timeout` a call within a deadline has five seconds to connect and
            no other limit, and one without a deadline has httpx's. Proxies of the environment are not used: say
            `proxy`.

    Raises:
        RegistrationError: `margin` or `retry` is not what it should be.

    Cancellation: a call that is cancelled closes its connection, so that the upstream sees that we left.
    """

    def __init__(
        self,
        *,
        margin: float = MARGIN,
        retry: Retry | None = Retry(),  # noqa: B008 - it is frozen
        propagate: bool = True,
        **options: Unpack[Options],
    ) -> None:
        if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < math.inf:
            raise RegistrationError(f"margin={margin!r} is not a number of seconds.\nWrite  Client(margin={MARGIN})")
        if retry is not None and not isinstance(retry, Retry):
            raise RegistrationError(
                f"retry={retry!r} is no Retry.\nWrite  Client(retry=Retry(attempts=3)), or  retry=None for none."
            )
        plain: dict[str, Any] = dict(options)
        plain.setdefault("timeout", UNSAID)

        def wrapped(inner: httpx.AsyncBaseTransport) -> DeadlineTransport:
            return DeadlineTransport(inner, margin=margin, retry=retry, propagate=propagate)

        made = {name: plain.pop(name) for name in _OF_TRANSPORT if name in plain}
        inner: httpx.AsyncBaseTransport = plain.pop("transport", None) or httpx.AsyncHTTPTransport(**made)
        mounts: Mapping[str, httpx.AsyncBaseTransport | None] = plain.pop("mounts", None) or {}
        super().__init__(
            transport=wrapped(inner),
            mounts={pattern: None if each is None else wrapped(each) for pattern, each in mounts.items()},
            # Else it would look for certificates of its own, and in the home directory for passwords of the host.
            trust_env=made.get("trust_env", True),
            **plain,
        )

    async def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: types.AuthTypes | UseClientDefault | None = USE_CLIENT_DEFAULT,
        follow_redirects: bool | UseClientDefault = USE_CLIENT_DEFAULT,
    ) -> httpx.Response:
        """As of `httpx.AsyncClient`, which makes all calls by this. Without `stream` the body is a part of the attempt:
        a call whose body breaks off is made again, as one whose head does."""
        request.extensions = {**request.extensions, WHOLE: not stream}
        return await super().send(request, stream=stream, auth=auth, follow_redirects=follow_redirects)
