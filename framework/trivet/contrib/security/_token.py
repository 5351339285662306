"""What a token endpoint takes and gives (RFC 6749 sections 4.3 and 5).

This file owns the names in the form, in the answer and in the errors. What a token is, and who may have one, is the
application's to say.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

import msgspec

from trivet import JSON, HTTPError

TokenError: TypeAlias = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
]

_REQUIRED = msgspec.Meta(description="Required.")
_GRANT_TYPE = msgspec.Meta(description="Required.", extra_json_schema={"enum": ["password"]})

_NOT_STORED = {"cache-control": "no-store"}


@dataclass(frozen=True)
class PasswordForm:
    """What a client sends for a token in the password flow: `form: Annotated[PasswordForm, Form()]`.

    Raises:
        HTTPError: as `token_error`: "invalid_request", the grant type, the name or the password is missing, or empty,
            which is the same to RFC 6749 (section 3.2); "unsupported_grant_type", it asks for another flow.
    """

    # Not required as fields of the form are, by which their absence would be a 422 without the RFC's `error`.
    grant_type: Annotated[str, _GRANT_TYPE] = field(default_factory=str)
    username: Annotated[str, _REQUIRED] = field(default_factory=str)
    password: Annotated[str, _REQUIRED] = field(default_factory=str, repr=False)
    scope: str = ""
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("grant_type", "username", "password"):
            if not getattr(self, name):
                raise token_error("invalid_request", f"{name} is missing.")
        if self.grant_type != "password":
            raise token_error("unsupported_grant_type", "Send grant_type=password.")

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it asks for, each once."""
        return tuple(dict.fromkeys(self.scope.split()))


def one_by_one(scopes: Collection[str]) -> Collection[str]:
    """The scopes of a collection, or of one text as forms (RFC 6749 section 3.3) and JWTs (RFC 8693 section 4.2) have
    it. A text is a collection of texts as well: in "notes:read-own" there is "notes:read"."""
    return scopes.split() if isinstance(scopes, str) else scopes


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is given: the body of the answer."""

    access_token: str
    token_type: str = "Bearer"
    expires_in: int | msgspec.UnsetType = msgspec.UNSET
    """Seconds."""
    refresh_token: str | msgspec.UnsetType = msgspec.UNSET
    scope: str | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        return f"Token(token_type={self.token_type!r}, ...)"


def token_response(
    access_token: str,
    *,
    expires_in: int | None = None,
    refresh_token: str | None = None,
    scopes: Collection[str] | None = None,
) -> JSON[Token]:
    """The answer that carries a token, which nobody may store on the way.

    Args:
        access_token: what is sent as `Authorization: Bearer ...` from now on.
        expires_in: seconds for which it is good.
        refresh_token: what a new one is given for.
        scopes: what it grants, where that is not what was asked for; one text has blanks between them.
    """
    unset = msgspec.UNSET
    token = Token(
        access_token=access_token,
        expires_in=unset if expires_in is None else expires_in,
        refresh_token=unset if refresh_token is None else refresh_token,
        scope=unset if scopes is None else " ".join(one_by_one(scopes)),
    )
    return JSON(token, headers=_NOT_STORED)


def token_error(error: TokenError, detail: str = "", *, status: int = 400) -> HTTPError:
    """The error of a token endpoint: `raise token_error("invalid_grant", "Wrong name or password.")`.

    It goes out as a problem that has the members of RFC 6749 section 5.2 too.

    Args:
        error: what is wrong, in the RFC's words.
        detail: for the client. Say the same for a wrong name as for a wrong password.
        status: 400, or 401 for `"invalid_client"`.
    """
    members = {"error_description": detail} if detail else {}
    return HTTPError(status, detail, headers=_NOT_STORED, error=error, **members)
