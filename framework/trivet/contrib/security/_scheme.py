"""What all schemes have in common: credentials that are there, or not, or wrong.

This file owns how a scheme is used as a provider, how it can be optional, and how a challenge is spelt (RFC 9110
section 11.6.1). Where credentials stand, and their form, is each scheme's own.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from trivet import Description, HTTPError, Request
from trivet.errors import RegistrationError

C_co = TypeVar("C_co", covariant=True)

_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")
"""What a key of OpenAPI's `components` may be."""


@dataclass(frozen=True, kw_only=True)
class Scheme(ABC, Generic[C_co]):
    """A way to send credentials. As a provider it gives them, or answers with 401.

    Args:
        realm: what the credentials are for, as a browser may show it; `None`: not said.
        scheme_name: what it is called in OpenAPI.
        description: one or two sentences for OpenAPI.
    """

    realm: str | None = None
    scheme_name: str
    description: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.realm is not None and not (self.realm.isascii() and self.realm.isprintable()):
            raise RegistrationError(
                f"realm={self.realm!r} cannot be sent in a header.\n"
                f'Write it in ASCII:  {type(self).__name__}(realm="Staff only")'
            )
        if _NAME.match(self.scheme_name) is None:
            raise RegistrationError(
                f'scheme_name={self.scheme_name!r} cannot be a name in OpenAPI: there are letters, digits, ".", "_" '
                f'and "-" in one.\nWrite  {type(self).__name__}(scheme_name="staff-key")'
            )

    async def __call__(self, request: Request) -> C_co:
        """The credentials of `request`.

        Raises:
            HTTPError: 401, there are none, or what there is cannot be any; 400, there are several.
        """
        found = self.read(request)
        if found is None:
            raise self._challenged(401, "Credentials are required.")
        return found

    @property
    def optional(self) -> OptionalScheme[C_co]:
        """The same for those who may stay anonymous: `Annotated[str | None, Depends(bearer.optional)]`."""
        return OptionalScheme(self)

    @abstractmethod
    def read(self, request: Request) -> C_co | None:
        """The credentials of `request`; `None`: it has none of this scheme.

        Raises:
            HTTPError: what there is cannot be credentials.
        """

    @abstractmethod
    def challenge(self, **parameters: str) -> str:
        """What `WWW-Authenticate` has to ask for credentials in this way."""

    @abstractmethod
    def security_scheme(self) -> Mapping[str, Any]:
        """The Security Scheme Object of OpenAPI, without its description."""

    def unauthorized(self, detail: str = "The credentials are not valid.") -> HTTPError:
        """The error for credentials that are wrong: `raise basic.unauthorized()`.

        Say the same whatever is wrong with them: who learns that a name exists needs only its password.
        """
        return self._challenged(401, detail)

    def describe(self) -> Description:
        """What OpenAPI shows."""
        scheme = dict(self.security_scheme())
        if self.description is not None:
            scheme["description"] = self.description
        return Description(
            security={self.scheme_name: scheme},
            responses={400: "The credentials are sent more than once.", 401: "The credentials are missing or wrong."},
            response_headers={401: {"WWW-Authenticate": "How to send credentials."}},
        )

    def _challenged(self, status: int, detail: str, **parameters: str) -> HTTPError:
        return HTTPError(status, detail, headers={"www-authenticate": self.challenge(**parameters)})


@dataclass(frozen=True)
class OptionalScheme(Generic[C_co]):
    """A scheme whose credentials may be missing. Wrong ones are refused all the same: a client must not think that it
    is known when it is not.

    Args:
        scheme: how credentials are sent.
    """

    scheme: Scheme[C_co]

    async def __call__(self, request: Request) -> C_co | None:
        """The credentials of `request`; `None`: there are none.

        Raises:
            HTTPError: what there is cannot be credentials.
        """
        return self.scheme.read(request)

    def describe(self) -> Description:
        """What OpenAPI shows."""
        return replace(self.scheme.describe(), optional=True)


def authorization(request: Request, scheme: str, challenge: str) -> str | None:
    """What `Authorization` has after the name of `scheme`; `None`: nothing for this scheme.

    Raises:
        HTTPError: 400, there are several such fields, of which a proxy and we might believe different ones.
    """
    fields = request.headers.getlist("authorization")
    if not fields:
        return None
    if len(fields) > 1:
        detail = "There is more than one Authorization field."
        raise HTTPError(400, detail, headers={"www-authenticate": challenge})
    # RFC 9110 section 11.1: the name in any case, one or more blanks.
    name, _, credentials = fields[0].partition(" ")
    return credentials.strip(" ") if name.lower() == scheme.lower() else None


def challenge(scheme: str, parameters: Mapping[str, str | None]) -> str:
    """A challenge: the scheme's name and its parameters, those that are `None` left out."""
    said = [f"{name}={_quoted(value)}" for name, value in parameters.items() if value is not None]
    return f"{scheme} {', '.join(said)}" if said else scheme


def _quoted(value: str) -> str:
    """A quoted-string (RFC 9110 section 5.6.4)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
