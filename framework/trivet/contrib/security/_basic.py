"""A name and a password with each request (RFC 7617).

This file owns how the two are read. They are as good as the connection is secret: over TLS only.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trivet import Request

from ._scheme import Scheme, authorization, challenge
from ._secrets import same_secret


@dataclass(frozen=True)
class Credentials:
    """A name and a password, as they came."""

    username: str
    password: str = field(repr=False)

    def matches(self, username: str, password: str) -> bool:
        """Whether they are these. Both are compared, whatever the first gives, in a time that does not tell."""
        name_fits = same_secret(self.username, username)
        return same_secret(self.password, password) and name_fits


@dataclass(frozen=True, kw_only=True)
class Basic(Scheme[Credentials]):
    """`Authorization: Basic ...`. As a provider it gives `Credentials`, which nobody has checked yet.

    Args:
        realm: what the name and the password are for; browsers show it. The RFC wants one.
        scheme_name, description: as for every scheme.
    """

    realm: str | None = "restricted"
    scheme_name: str = "basic"

    def read(self, request: Request) -> Credentials | None:
        """The name and the password of `request`; `None`: there are none.

        Raises:
            HTTPError: 401, what there is cannot be read; 400, there are several.
        """
        encoded = authorization(request, "Basic", self.challenge())
        if encoded is None:
            return None
        found = parse(encoded)
        if found is None:
            raise self.unauthorized("This is not a name and a password.")
        return found

    def challenge(self, **parameters: str) -> str:
        """`Basic`, with the realm, and the wish for UTF-8 (section 2.1)."""
        return challenge("Basic", {"realm": self.realm or "restricted", **parameters, "charset": "UTF-8"})

    def security_scheme(self) -> Mapping[str, Any]:
        """The scheme of HTTP called "basic"."""
        return {"type": "http", "scheme": "basic"}


def parse(encoded: str) -> Credentials | None:
    """What Basic credentials say; `None`: they are malformed.

    The first colon ends the name; neither part may have control characters; all of it is UTF-8, as we ask for.
    """
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    username, colon, password = text.partition(":")
    if not colon or any(character < " " or "\x7f" <= character < "\xa0" for character in text):
        return None
    return Credentials(username, password)
