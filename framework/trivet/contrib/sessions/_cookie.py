"""The cookie that a session is known by: its name, its attributes, and which of several is believed.

This file owns all three. It does not know what the value stands for.

Where the request came over TLS the cookie is `Secure`, and its name begins with `__Host-`, which binds a browser to
take it from this very host, and over TLS, only: no neighbouring host, nor anybody on the wire of a request without TLS,
can put one there (6265bis section 4.1.3.2). Under another path or for a whole domain it can only be `__Secure-`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from trivet import Request, Response

SameSite = Literal["lax", "strict", "none"]


@dataclass(frozen=True)
class SessionCookie:
    """How the cookie is sent.

    Args:
        name: without a prefix.
        secure: over TLS only; `None`: if the request came that way.
        samesite: which requests of other sites' pages it goes along with.
        domain: to all hosts of a domain; `None`: to this one only.
        path: to this part of the site only.
        persistent: keep it when the browser is closed.
    """

    name: str
    secure: bool | None
    samesite: SameSite
    domain: str | None
    path: str
    persistent: bool

    def is_secure(self, request: Request) -> bool:
        """Whether it is `Secure` in the answer to this request."""
        return request.url.partition(":")[0] in ("https", "wss") if self.secure is None else self.secure

    def sent_as(self, *, secure: bool) -> str:
        """Its name, with the prefix that it can have."""
        if not secure:
            return self.name
        return f"__Host-{self.name}" if self.domain is None and self.path == "/" else f"__Secure-{self.name}"

    def read(self, request: Request) -> str | None:
        """Its value in a request; `None`: there is none, or there are several.

        One with a prefix is there once. Of others somebody on a neighbouring host may have set a second, and which of
        them comes first is nothing to rely on (RFC 6265 section 4.2.2): neither is believed.
        """
        name = self.sent_as(secure=self.is_secure(request))
        values = {
            value.strip(" \t")
            for field in request.headers.getlist("cookie")
            for key, equals, value in (piece.partition("=") for piece in field.split(";"))
            if equals and key.strip(" \t") == name
        }
        return values.pop() if len(values) == 1 else None

    def set(self, value: str, ttl: float, *, secure: bool) -> str:
        """The `Set-Cookie` that has the browser keep it for so many seconds."""
        response = Response()
        response.set_cookie(
            self.sent_as(secure=secure),
            value,
            max_age=ceil(ttl) if self.persistent else None,
            path=self.path,
            domain=self.domain,
            secure=secure,
            httponly=True,
            samesite=self.samesite,
        )
        return response.headers["set-cookie"]

    def removal(self, *, secure: bool) -> str:
        """The `Set-Cookie` that has the browser forget it."""
        response = Response()
        response.delete_cookie(
            self.sent_as(secure=secure),
            path=self.path,
            domain=self.domain,
            secure=secure,
            httponly=True,
            samesite=self.samesite,
        )
        return response.headers["set-cookie"]
