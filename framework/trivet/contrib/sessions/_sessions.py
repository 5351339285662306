"""Sessions as a dependency: `Annotated[Session, Depends(sessions)]`.

This file owns the options. What they lead to is in the files that they are handed to: `_cookie` and `_signed` or
`_stored` for where a session is, `_record` for how long it is good, `_contents` for what is in it; `_visit` brings them
together in a request.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Final

from trivet import Depends, Description, Request

from ._checks import LONGEST, check_bytes, check_cookie, check_place, check_seconds, checked_keys
from ._contents import Contents
from ._cookie import SameSite, SessionCookie
from ._keeper import Keeper
from ._record import Span
from ._store import SessionStore
from ._stored import StoredSessions
from ._visit import Rules, Visit

DAY: Final = 86400


class Sessions:
    """A provider of the session that a request belongs to, or of a new one.

    As the value of a parameter it is a `Session`, a mapping; with a type of contents a `TypedSession` of that. Where it
    is asked for twice on the way to one handler it is the same one.

    Args:
        contents: the type of what a session holds; `dict` (or `dict[str, int]`) for a mapping. Called without arguments
            it gives what a new one holds.
        secret: keeps sessions in the cookie, signed with this; at least 32 bytes. Of a list each is believed and the
            first one signs: to change the secret, put the new one before the old, which can go after `lifetime`.
        store: keeps sessions on the server, and a random identifier in the cookie.
        name: of the cookie, without the prefix that it has over TLS.
        idle: seconds after a request looked at it last at which a session is over, or up to a tenth earlier; `None`:
            never for that.
        lifetime: seconds after which it is over, however it is used, since it began or `rotate` was called.
        persistent: whether the browser keeps the cookie when it is closed.
        secure: send the cookie over TLS only, and with a prefix; `None`: if the request came over TLS, as far as the
            server and the proxies that the application trusts can tell.
        samesite: which requests that other sites' pages make the cookie goes along with.
        domain: the domain that shares the cookie with all its hosts; `None`: this host only.
        path: the part of the site that has it.
        max_bytes: how large a session in a store may be.
        timeout: seconds that the store has for each call; 503 if it takes longer, or fails.
        clock: seconds since 1970, on each machine the same; a test may have another.

    Raises:
        RegistrationError: an option is not what it should be.
        ImportError: the extra `sessions` is not installed, which a signed cookie needs.
    """

    def __init__(
        self,
        contents: Callable[[], Any] = dict,
        *,
        secret: str | bytes | Sequence[str | bytes] | None = None,
        store: SessionStore | None = None,
        name: str = "session",
        idle: float | None = 7 * DAY,
        lifetime: float = 30 * DAY,
        persistent: bool = True,
        secure: bool | None = None,
        samesite: SameSite = "lax",
        domain: str | None = None,
        path: str = "/",
        max_bytes: int = 65536,
        timeout: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        kept = Contents[Any](contents)
        check_place(secret, store)
        if idle is not None:
            check_seconds("idle", idle, 1, LONGEST, "7 * 86400")
        check_seconds("lifetime", lifetime, 1, LONGEST, "30 * 86400")
        check_seconds("timeout", timeout, 0.001, 60, "1.0")
        check_bytes(max_bytes)
        cookie = SessionCookie(name, secure, samesite, domain, path, persistent)
        check_cookie(cookie)
        keeper: Keeper = (
            _signed(checked_keys(secret), cookie) if store is None else StoredSessions(store, max_bytes, timeout)
        )
        rules = Rules(kept, cookie, keeper, Span(lifetime, idle), clock)
        self._on_server = store is not None
        # What a provider takes is read from its signature, and that of `__call__` is written once for all instances.
        self.__wrapped__ = _provider(rules, getattr(store, "connected", None))

    def __call__(self, *args: Any, **kwargs: Any) -> AbstractAsyncContextManager[Any]:
        """The session of a request; called as what it wraps is.

        Raises:
            HTTPError: 503, the store does not answer.
            SessionError: the session has changed and cannot be kept, or it is too late.
        """
        return self.__wrapped__(*args, **kwargs)

    def describe(self) -> Description:
        """What OpenAPI shows: that a store may not answer."""
        if not self._on_server:
            return Description()
        return Description(
            responses={503: "Sessions cannot be reached now."},
            response_headers={503: {"Retry-After": "Seconds to wait."}},
        )


def _provider(rules: Rules[Any], connect: Callable[..., Any] | None) -> Callable[..., AbstractAsyncContextManager[Any]]:
    """What is bound and called: one whose store has to be connected asks the application for that as well."""

    async def session(request: Request) -> AsyncGenerator[Any]:  # noqa: ASYNC900 - it becomes a context manager below
        visit = Visit(rules, request)
        yield await visit.begin()
        await visit.finish()

    if connect is None:
        return asynccontextmanager(session)

    # Likewise, but only when it has the annotation that cannot be written here: a decorator would hide it.
    async def session_with_store(request: Request, store: object) -> AsyncGenerator[Any]:  # noqa: ASYNC900
        visit = Visit(rules, request)
        yield await visit.begin()
        await visit.finish()

    session_with_store.__annotations__ = {"request": Request, "store": Annotated[Any, Depends(connect, scope="app")]}
    return asynccontextmanager(session_with_store)


def _signed(keys: list[str | bytes], cookie: SessionCookie) -> Keeper:
    try:
        from ._signed import SignedCookies
    except ModuleNotFoundError as error:
        raise ImportError(
            "sessions in a signed cookie need itsdangerous, which is not installed.\n"
            'Write  pip install "trivet[sessions]",  or keep them on the server:  Sessions(store=MemoryStore())',
            name=error.name,
        ) from error
    return SignedCookies(keys, cookie.name, len(cookie.sent_as(secure=cookie.secure is not False)))
