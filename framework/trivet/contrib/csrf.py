"""Requests that another site's page has the browser of its visitor make: cross-site request forgery.

This file owns which requests those are. The browser says so itself, in `Sec-Fetch-Site` (Fetch Metadata, all browsers
since 2023), and an older one in `Origin`: no token is needed, no cookie, no session, and no field in a form. The rules
are those of `http.CrossOriginProtection` in Go 1.25, whose author has written down why they suffice
(https://words.filippo.io/csrf/).

`SameSite=Lax` of a cookie keeps most of these away, too, but what it calls one site are all hosts of a domain, and
which of them is whose browsers do not know. A WebSocket's handshake is a GET, which passes here: the option `origins`
is for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from trivet import Description, HTTPError, Request
from trivet._origin import checked_origins, may_open
from trivet.errors import RegistrationError

__all__ = ["CrossOriginProtection"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""RFC 9110 section 9.2.1: who asks for nothing but to see something. A handler that changes something with one of them
is protected by nobody."""

_OURS: Final = frozenset({"same-origin", "none"})
"""A page of this origin, or nobody but the user, by typing the address, say."""

_DETAIL: Final = "This request was made by a page of another site."


class CrossOriginProtection:
    """A provider that answers with 403 to what a page of another origin has a browser ask for.

    `App(dependencies=[Depends(CrossOriginProtection())])` is for all routes of this application and of the routers that
    it mounts; a router or a route may have it instead. Another application that is mounted has dependencies of its own,
    and needs it as well: `admin = App(dependencies=[...])`. What is no `App` has to bring its own.

    Who is no browser sends neither field, is not meant, and passes: it has no cookies but its own.

    Args:
        origins: pages that may all the same: `["https://admin.example.com"]`.

    Raises:
        RegistrationError: `origins` is no list of origins.
    """

    def __init__(self, *, origins: Iterable[str] = ()) -> None:
        given: object = list(origins) if isinstance(origins, Iterable) and not isinstance(origins, str) else origins
        if given in (None, "*", ["*"]):
            raise RegistrationError(
                f"origins={given!r} would let the pages of all sites in, which is what this is there against.\n"
                "Routes that any page may use do without it: leave it away from the application, and give it to the "
                "others:\n\n    Router(dependencies=[Depends(CrossOriginProtection())])"
            )
        self._origins = checked_origins(given) or frozenset()

    async def __call__(self, request: Request) -> None:
        """Let `request` through.

        Raises:
            HTTPError: 403, it was made by a page of another origin.
        """
        if request.method in _SAFE:
            return
        site = request.headers.get("sec-fetch-site")
        if site in _OURS:
            return
        origin = request.headers.get("origin")
        if site is None:
            # The scheme is not compared: `Host` has none, and behind a proxy ours is not the page's.
            host = request.url.partition("://")[2].partition("/")[0]
            allowed = may_open(origin, host, self._origins)
        else:
            allowed = origin is not None and origin.lower() in self._origins
        if not allowed:
            raise HTTPError(403, _DETAIL)

    def describe(self) -> Description:
        """What OpenAPI shows."""
        return Description(responses={403: _DETAIL})
