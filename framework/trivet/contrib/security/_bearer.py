"""Bearer tokens (RFC 6750), and the password flow of OAuth 2.0 that hands them out (RFC 6749 section 4.3).

This file owns what a token may look like, the three errors of RFC 6750 section 3.1, and which scopes a route needs. It
does not know what is in a token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field, replace
from string import ascii_letters, digits
from typing import Annotated, Any, Protocol, TypeVar, get_type_hints, overload

from trivet import Depends, Description, HTTPError, Request
from trivet.contrib._composed import Composed
from trivet.errors import RegistrationError

from ._scheme import Scheme, authorization, challenge
from ._token import one_by_one

_TOKEN = frozenset(ascii_letters + digits + "-._~+/")
_TEXT = frozenset(map(chr, range(0x20, 0x7F))) - {'"', "\\"}
"""RFC 6750 section 3: what `error_description` may have."""
_SCOPE = _TEXT - {" "}
"""RFC 6749 section 3.3: what a scope may have."""


class HasScopes(Protocol):
    """Who was recognized, as far as scopes are concerned."""

    @property
    def scopes(self) -> Collection[str]:
        """What was granted; a text, as a JWT has it, has blanks between them."""
        ...


P = TypeVar("P", bound=HasScopes)


@dataclass(frozen=True, kw_only=True)
class Bearer(Scheme[str]):
    """`Authorization: Bearer TOKEN`. As a provider it gives the token, which nobody has checked yet.

    Args:
        bearer_format: what the token is, for readers of OpenAPI: `"JWT"`.
        realm, scheme_name, description: as for every scheme.
    """

    scheme_name: str = "bearer"
    bearer_format: str | None = None

    def read(self, request: Request) -> str | None:
        """The token of `request`; `None`: there is none.

        Raises:
            HTTPError: 401, it cannot be a token; 400, there are several.
        """
        token = authorization(request, "Bearer", self.challenge(error="invalid_request"))
        if token is None:
            return None
        # b64token: what it is made of, then any number of "=".
        made_of = token.rstrip("=")
        if not made_of or not _TOKEN.issuperset(made_of):
            raise self.unauthorized("This is not a token.")
        return token

    def challenge(self, **parameters: str) -> str:
        """`Bearer`, with a realm if it has one, and what went wrong if something did."""
        return challenge("Bearer", {"realm": self.realm, **parameters})

    def security_scheme(self) -> Mapping[str, Any]:
        """The scheme of HTTP called "bearer"."""
        scheme = {"type": "http", "scheme": "bearer"}
        return scheme if self.bearer_format is None else {**scheme, "bearerFormat": self.bearer_format}

    def unauthorized(self, detail: str = "The token is not valid.") -> HTTPError:
        """The error for a token that is unknown, expired or revoked: 401, `invalid_token`."""
        return self._challenged(401, detail, error="invalid_token", error_description=_ascii(detail))

    def forbidden(self, *scopes: str, detail: str = "The token does not grant this.") -> HTTPError:
        """The error for a token that does not reach so far: 403, `insufficient_scope`.

        Args:
            scopes: what would be needed.
            detail: for the client.
        """
        needed = {"scope": " ".join(scopes)} if scopes else {}
        return self._challenged(403, detail, error="insufficient_scope", error_description=_ascii(detail), **needed)

    @overload
    def requires(self, provider: Callable[..., Awaitable[P]], /, *scopes: str) -> Required[P]: ...
    @overload
    def requires(self, provider: Callable[..., AbstractAsyncContextManager[P]], /, *scopes: str) -> Required[P]: ...
    @overload
    def requires(self, provider: Callable[..., AbstractContextManager[P]], /, *scopes: str) -> Required[P]: ...
    @overload
    def requires(self, provider: Callable[..., P], /, *scopes: str) -> Required[P]: ...
    def requires(self, provider: Callable[..., Any], /, *scopes: str) -> Required[Any]:
        """A provider that gives what `provider` does, if that has all of `scopes`, and answers with 403 if not.

        Args:
            provider: gives who was recognized by this scheme: an object whose `scopes` are what was granted.
            scopes: what is needed.

        Raises:
            RegistrationError: a scope is not one, or not one of this scheme; or what `provider` gives has none.
        """
        for scope in scopes:
            self._check_scope(scope)
        _check_provider(provider)
        return Required(self, provider, scopes)

    def _check_scope(self, scope: str) -> None:
        if not scope or not _SCOPE.issuperset(scope):
            raise RegistrationError(
                f"{scope!r} cannot be a scope: one has printable ASCII without blanks, quotes and backslashes "
                '(RFC 6749 section 3.3).\nPass each on its own:  requires(current_user, "notes:read", "notes:write")'
            )


@dataclass(frozen=True, kw_only=True)
class OAuth2Password(Bearer):
    """Bearer tokens that are given for a name and a password, at an address that OpenAPI tells: the password flow.

    For a first party's own pages and scripts. OAuth 2.1 has dropped this flow, since it shows the password to the
    client: for anybody else's client let a server of its own hand out the tokens, and use `Bearer`.

    Args:
        token_url: where tokens are given, relative to the OpenAPI document or absolute.
        scopes: each scope that there is, and what it grants.
        refresh_url: where a new token is given for a refresh token.
        realm, scheme_name, description: as for every scheme.
    """

    token_url: str
    scopes: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    refresh_url: str | None = None
    scheme_name: str = "oauth2"

    def __post_init__(self) -> None:
        super().__post_init__()
        for scope in self.scopes:
            super()._check_scope(scope)

    def security_scheme(self) -> Mapping[str, Any]:
        """The flow, and where it begins."""
        flow: dict[str, Any] = {"tokenUrl": self.token_url, "scopes": dict(self.scopes)}
        if self.refresh_url is not None:
            flow["refreshUrl"] = self.refresh_url
        return {"type": "oauth2", "flows": {"password": flow}}

    def _check_scope(self, scope: str) -> None:
        super()._check_scope(scope)
        if scope not in self.scopes:
            known = ", ".join(map(repr, self.scopes)) or "none"
            raise RegistrationError(
                f"{scope!r} is not a scope of {self.scheme_name!r}, whose scopes are: {known}.\n"
                f'Add it:  OAuth2Password(token_url={self.token_url!r}, scopes={{{scope!r}: "what it grants", ...}})'
            )


class Required(Composed[P]):
    """A provider that lets through whom enough was granted. Made by `Bearer.requires`."""

    def __init__(self, scheme: Bearer, provider: Callable[..., Any], scopes: tuple[str, ...]) -> None:
        async def required(principal: P) -> P:
            granted = one_by_one(principal.scopes)
            if not all(scope in granted for scope in scopes):
                raise scheme.forbidden(*scopes)
            return principal

        super().__init__(required, principal=Annotated[Any, Depends(provider)])
        self.scheme = scheme
        self.scopes = scopes

    def describe(self) -> Description:
        """What OpenAPI shows: the scheme again, now with scopes."""
        found = self.scheme.describe()
        return replace(
            found,
            scopes=self.scopes,
            responses={**found.responses, 403: "What was granted does not suffice."},
            response_headers={**found.response_headers, 403: {"WWW-Authenticate": "Which scopes are needed."}},
        )


def _check_provider(provider: Callable[..., Any]) -> None:
    """Refuse a provider whose annotation says that what it gives has no scopes: with a request it would be a 500."""
    try:
        given = get_type_hints(provider).get("return")
    except (NameError, TypeError):  # names that are resolved later, or nothing that has annotations
        return
    # Of a built-in class it is certain; an object of another may have attributes that its class does not tell.
    if isinstance(given, type) and given.__module__ == "builtins" and given is not object:
        name = getattr(provider, "__name__", "provider")
        raise RegistrationError(
            f"{name}() gives {given.__name__}, which has no scopes to compare with those that are required.\n"
            "Let it give who was recognized, with what was granted:\n\n"
            "    @dataclass\n    class User:\n        name: str\n        scopes: Collection[str]\n\n"
            f"    async def {name}(token: Annotated[str, Depends(oauth2)]) -> User: ..."
        )


def _ascii(text: str) -> str:
    return "".join(character if character in _TEXT else "?" for character in text)
