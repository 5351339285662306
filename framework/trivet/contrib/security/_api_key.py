"""A key in a header, in the query, or in a cookie.

This file owns where it is looked for. Prefer a header: what is in a query ends up in histories and in the logs of
proxies, and what is in a cookie is sent by a browser whoever asks it to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trivet import HTTPError, Request
from trivet.errors import RegistrationError

from ._scheme import Scheme, challenge

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def _cookies(request: Request, name: str) -> list[str]:
    """Each cookie of a name. A browser sends two where another path or domain has set one too: it may be an attacker's,
    on a neighbouring host, and which of them comes first is nothing to rely on (RFC 6265 section 4.2.2)."""
    pieces = [piece for field in request.headers.getlist("cookie") for piece in field.split(";") if "=" in piece]
    times = sum(piece.partition("=")[0].strip(" \t") == name for piece in pieces)
    return [request.cookies.get(name, "")] * times


@dataclass(frozen=True)
class APIKey(Scheme[str]):
    """A key under a name of its own: `APIKey("X-API-Key")`. As a provider it gives the key, unchecked.

    Args:
        name: of the header, of the query parameter or of the cookie.
        where: `"header"`, `"query"` or `"cookie"`.
        scheme_name: what it is called in OpenAPI; empty: after its name.
        realm, description: as for every scheme.
    """

    name: str
    where: Literal["header", "query", "cookie"] = "header"
    scheme_name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if self.where not in ("header", "query", "cookie"):
            raise RegistrationError(
                f'where={self.where!r} is no place for a key.\nWrite  APIKey({self.name!r}, where="header"), '
                '"query" or "cookie".'
            )
        if _TOKEN.match(self.name) is None:
            raise RegistrationError(
                f'{self.name!r} cannot be the name of a {self.where}.\nWrite  APIKey("X-API-Key", where={self.where!r})'
            )
        if not self.scheme_name:
            object.__setattr__(self, "scheme_name", re.sub(r"[^A-Za-z0-9._-]", "-", self.name))
        super().__post_init__()

    def read(self, request: Request) -> str | None:
        """The key of `request`; `None`: there is none, or an empty one.

        Raises:
            HTTPError: 400, there are several, or the query is malformed.
        """
        if self.where == "cookie":
            values = _cookies(request, self.name)
        else:
            values = (request.headers if self.where == "header" else request.query).getlist(self.name)
        if len(values) > 1:
            detail = f"There is more than one {self.name} in the {self.where}."
            raise HTTPError(400, detail, headers={"www-authenticate": self.challenge()})
        return (values[0] or None) if values else None

    def challenge(self, **parameters: str) -> str:
        """`ApiKey`, which is no registered scheme, for there is none; HTTP wants a challenge with every 401."""
        return challenge("ApiKey", {"realm": self.realm, "in": self.where, "name": self.name, **parameters})

    def security_scheme(self) -> Mapping[str, Any]:
        """The name, and where it stands."""
        return {"type": "apiKey", "in": self.where, "name": self.name}
