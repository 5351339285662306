"""Security schemes without an application: how credentials are read, compared and asked for."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Collection, Iterable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import Golden
from trivet import Description, HTTPError, Request
from trivet._describe import description_of
from trivet._headers import Headers
from trivet.contrib.security import (
    APIKey,
    Basic,
    Bearer,
    Credentials,
    OAuth2Password,
    PasswordForm,
    Scheme,
    Token,
    find_secret,
    same_secret,
    token_error,
    token_response,
)
from trivet.contrib.security._basic import parse
from trivet.errors import RegistrationError


def request_with(*authorization: str) -> Request:
    raw = [(b"authorization", value.encode("latin-1")) for value in authorization]
    return cast(Request, SimpleNamespace(headers=Headers(raw)))


def challenge_of(error: HTTPError) -> str:
    return error.headers["www-authenticate"]


def basic(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


# ---- Basic

GOOD = [
    ("QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),  # RFC 7617 section 2
    ("dGVzdDoxMjPCow==", "test", "123£"),  # RFC 7617 section 2.1, with charset="UTF-8"
    (basic(":"), "", ""),
    (basic("a:b:c"), "a", "b:c"),
    (basic("ü:ß"), "ü", "ß"),
    (basic("a: b "), "a", " b "),
    (basic("x:" + "y" * 10_000), "x", "y" * 10_000),
]
BAD = [
    "",
    "=",
    "QWxhZGRpbg==",  # no colon
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ",  # no padding
    "QWxhZGRpbjpv cGVuIHNlc2FtZQ==",
    "dGVzdDoxMjPCow==\xa0",
    basic(b"test:123\xa3"),  # latin-1, which the charset parameter rules out
    basic("a:b\x00"),
    basic("a\n:b"),
    basic("a:\x7f"),
    basic("a:\x85"),
]


@pytest.mark.parametrize(("encoded", "username", "password"), GOOD)
def test_basic_credentials_are_read(encoded: str, username: str, password: str) -> None:
    """The RFC's own examples, and what its grammar allows."""
    assert Basic().read(request_with(f"Basic {encoded}")) == Credentials(username, password)


@pytest.mark.parametrize("encoded", BAD)
def test_what_is_not_basic_credentials_is_refused(encoded: str) -> None:
    """401 with a challenge, whatever is wrong with them."""
    with pytest.raises(HTTPError) as caught:
        Basic(realm="Staff").read(request_with(f"Basic {encoded}"))
    assert caught.value.status == 401
    assert challenge_of(caught.value) == 'Basic realm="Staff", charset="UTF-8"'


PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]))


@given(username=PRINTABLE.filter(lambda text: ":" not in text), password=PRINTABLE)
def test_basic_credentials_come_back_as_they_were_sent(username: str, password: str) -> None:
    """Any name without a colon and any password, as RFC 7617 encodes them."""
    assert parse(basic(f"{username}:{password}")) == Credentials(username, password)


@given(st.one_of(st.text(), st.text("QWJj=+/ \n"), st.binary().map(basic)))
def test_parsing_basic_credentials_never_fails_otherwise(encoded: str) -> None:
    """Whatever comes: credentials that would be encoded to the same bytes, or `None`."""
    found = parse(encoded)
    if found is not None:
        assert base64.b64decode(encoded) == f"{found.username}:{found.password}".encode()


def test_a_realm_is_quoted() -> None:
    """A quote in it does not end it (RFC 9110 section 5.6.4)."""
    assert Basic(realm='the "A\\B" club').challenge() == 'Basic realm="the \\"A\\\\B\\" club", charset="UTF-8"'


# ---- Bearer

TOKENS = ["mF_9.B5f-4.1JqM", "a", "AbCdEf123456==", "a+b/c~d", "0" * 5000]  # the first: RFC 6750 section 2.1
NO_TOKENS = ["", "=", "==", "a b", "a=b", "a,b", '"a"', "ä", "a\tb"]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("spelling", ["Bearer {}", "bearer {}", "BEARER   {} "])
def test_a_bearer_token_is_read(token: str, spelling: str) -> None:
    """The scheme's name in any case, one or more blanks (RFC 9110 section 11.4)."""
    assert Bearer().read(request_with(spelling.format(token))) == token


@pytest.mark.parametrize("token", NO_TOKENS)
def test_what_is_not_a_token_is_refused(token: str) -> None:
    """401 and `invalid_token`: "malformed, or invalid for other reasons" (RFC 6750 section 3.1)."""
    with pytest.raises(HTTPError) as caught:
        Bearer().read(request_with(f"Bearer {token}"))
    assert caught.value.status == 401
    assert challenge_of(caught.value).startswith('Bearer error="invalid_token"')


@pytest.mark.parametrize("header", ["Basic YTpi", "Bear er", "Bearertoken", "Negotiate", "bearer,x"])
def test_another_scheme_is_no_token(header: str) -> None:
    """What is for somebody else is as good as nothing."""
    assert Bearer().read(request_with(header)) is None


@pytest.mark.parametrize("scheme", [Bearer(), Basic(), OAuth2Password(token_url="/token")])
def test_two_authorization_fields_are_refused(scheme: Scheme[object]) -> None:
    """400: a proxy in front may have looked at the other one."""
    with pytest.raises(HTTPError) as caught:
        scheme.read(request_with("Bearer a", "Basic YTpi"))
    assert caught.value.status == 400
    if isinstance(scheme, Bearer):
        assert challenge_of(caught.value) == 'Bearer error="invalid_request"'


async def test_a_challenge_says_no_error_where_nothing_was_sent() -> None:
    """RFC 6750 section 3.1: "SHOULD NOT include an error code" for a request without any authentication."""
    with pytest.raises(HTTPError) as caught:
        await Bearer(realm="example")(request_with())
    assert (caught.value.status, challenge_of(caught.value)) == (401, 'Bearer realm="example"')


def test_errors_of_a_token_are_those_of_the_rfc() -> None:
    """RFC 6750 section 3.1: `invalid_token` with 401, `insufficient_scope` with 403 and what would be needed."""
    wrong = Bearer(realm="example").unauthorized("The access token expired")
    assert wrong.status == 401
    # The example of section 3, but for its line breaks.
    assert challenge_of(wrong) == (
        'Bearer realm="example", error="invalid_token", error_description="The access token expired"'
    )
    short = Bearer().forbidden("notes:read", "notes:write", detail="no")
    assert short.status == 403
    assert challenge_of(short) == (
        'Bearer error="insufficient_scope", error_description="no", scope="notes:read notes:write"'
    )


@given(st.text())
def test_any_detail_makes_a_description_that_can_be_sent(detail: str) -> None:
    """RFC 6750 section 3 has printable ASCII without quotes and backslashes there."""
    text = challenge_of(Bearer().unauthorized(detail))
    description = text.removeprefix('Bearer error="invalid_token", error_description="').removesuffix('"')
    assert len(description) == len(detail)
    assert all(" " <= character <= "~" and character not in '"\\' for character in description)


# ---- secrets


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `hmac.compare_digest`, on bytes, and all of a table whichever key fits."""
    compared: list[tuple[object, object]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert same_secret("ä", "ä".encode())
    assert not same_secret("ä", "a")
    assert compared == [(b"\xc3\xa4", b"\xc3\xa4"), (b"\xc3\xa4", b"a")]
    compared.clear()
    assert find_secret("one", {"one": 1, "two": 2, "three": 3}) == 1
    assert find_secret("four", {"one": 1, "two": 2, "three": 3}) is None
    assert len(compared) == 6
    compared.clear()
    assert not Credentials("a", "b").matches("x", "b")
    assert not Credentials("a", "b").matches("a", "x")
    assert Credentials("a", "b").matches("a", "b")
    assert len(compared) == 6


def test_secrets_are_not_shown() -> None:
    """What is logged or shown in a traceback has no password and no token."""
    shown = [
        Credentials("ann", "hidden"),
        PasswordForm("password", "ann", "hidden", client_id="c", client_secret="hidden"),
        Token(access_token="hidden", refresh_token="hidden"),
    ]
    assert "hidden" not in repr(shown)
    assert "ann" in repr(shown)


# ---- OpenAPI


class User:
    scopes = ("notes:read",)


async def current_user() -> User:
    return User()


oauth2 = OAuth2Password(token_url="/token", scopes={"notes:read": "Read notes."}, refresh_url="/refresh")

DESCRIBED: list[tuple[Callable[..., object], str, dict[str, Any]]] = [
    (Bearer(), "bearer", {"type": "http", "scheme": "bearer"}),
    (Bearer(bearer_format="JWT"), "bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
    (Basic(description="Staff."), "basic", {"type": "http", "scheme": "basic", "description": "Staff."}),
    (APIKey("X-API-Key"), "X-API-Key", {"type": "apiKey", "in": "header", "name": "X-API-Key"}),
    (APIKey("key", "query", scheme_name="k"), "k", {"type": "apiKey", "in": "query", "name": "key"}),
    (APIKey("a!b", where="cookie"), "a-b", {"type": "apiKey", "in": "cookie", "name": "a!b"}),
    (
        oauth2,
        "oauth2",
        {
            "type": "oauth2",
            "flows": {
                "password": {
                    "tokenUrl": "/token",
                    "scopes": {"notes:read": "Read notes."},
                    "refreshUrl": "/refresh",
                }
            },
        },
    ),
]


@pytest.mark.parametrize(("scheme", "name", "expected"), DESCRIBED)
def test_a_scheme_describes_itself(scheme: Callable[..., object], name: str, expected: dict[str, Any]) -> None:
    """As a Security Scheme Object of OpenAPI 3.1, with the statuses that it may answer with."""
    found = description_of(scheme)
    assert found is not None
    assert found.security == {name: expected}
    assert set(found.responses) == {400, 401}
    assert found.scopes == ()
    assert not found.optional


def test_an_optional_scheme_says_so() -> None:
    """Its credentials may be missing."""
    found = description_of(Bearer().optional)
    assert found is not None
    assert found.optional
    assert set(found.security) == {"bearer"}


def test_required_scopes_are_described() -> None:
    """The same scheme, the scopes, and 403."""
    found = description_of(oauth2.requires(current_user, "notes:read"))
    assert isinstance(found, Description)
    assert found.security == oauth2.describe().security
    assert found.scopes == ("notes:read",)
    assert set(found.responses) == {400, 401, 403}


def test_equal_schemes_are_one_dependency() -> None:
    """So that one is read once a request, wherever it was written."""
    assert Bearer() == Bearer()
    assert len({Bearer(), Bearer(), Bearer(realm="x"), Bearer().optional, Bearer().optional}) == 3
    assert len({APIKey("a"), APIKey("a"), APIKey("a", where="query")}) == 2
    assert hash(oauth2) == hash(OAuth2Password(token_url="/token", scopes={}, refresh_url="/refresh"))
    assert oauth2 != OAuth2Password(token_url="/token", scopes={}, refresh_url="/refresh")


# ---- the token endpoint


def test_a_token_is_answered_as_the_rfc_has_it() -> None:
    """RFC 6749 section 5.1: the members that there are, and nobody may store them."""
    response = token_response("2YotnFZFEjr1zCsicMWpAA", expires_in=3600, refresh_token="tGz", scopes=["a", "b"])
    assert msgspec.json.decode(response.body) == {
        "access_token": "2YotnFZFEjr1zCsicMWpAA",
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": "tGz",
        "scope": "a b",
    }
    assert response.headers["cache-control"] == "no-store"
    assert msgspec.json.decode(token_response("x").body) == {"access_token": "x", "token_type": "Bearer"}


@pytest.mark.parametrize("scopes", [["a:read", "b"], "a:read b", " a:read  b ", ("a:read", "b")])
def test_a_token_says_what_it_grants(scopes: Collection[str]) -> None:
    """Scopes as a form or a JWT has them, in one text, are not taken apart into letters."""
    assert msgspec.json.decode(token_response("x", scopes=scopes).body)["scope"] == "a:read b"


def test_an_error_of_the_token_endpoint_has_the_members_of_the_rfc() -> None:
    """RFC 6749 section 5.2, within a problem."""
    error = token_error("invalid_grant", "Wrong name or password.")
    assert (error.status, error.headers) == (400, {"cache-control": "no-store"})
    assert error.members == {"error": "invalid_grant", "error_description": "Wrong name or password."}
    assert token_error("invalid_client", status=401).status == 401


def test_the_form_has_scopes() -> None:
    """They are separated by blanks, each counts once, and none is nothing."""
    assert PasswordForm("password", "a", "b", scope=" x  y x").scopes == ("x", "y")
    assert PasswordForm("password", "a", "b").scopes == ()


# ---- what is refused when it is made

WRONG: dict[str, Callable[[], object]] = {
    "realm": lambda: Basic(realm="Büro"),
    "scheme_name": lambda: Bearer(scheme_name="my scheme"),
    "api_key_where": lambda: APIKey("x", where="body"),  # type: ignore[arg-type]
    "api_key_name": lambda: APIKey("x key"),
    "scope": lambda: Bearer().requires(current_user, "notes:read notes:write"),
    "scope_unknown": lambda: oauth2.requires(current_user, "notes:wrte"),
    "scope_of_scheme": lambda: OAuth2Password(token_url="/token", scopes={"": "everything"}),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_when_it_is_made(name: str, golden: Golden) -> None:
    """With what came, and the remedy."""
    with pytest.raises(RegistrationError) as caught:
        WRONG[name]()
    golden(f"contrib/security_{name}", str(caught.value))


def test_all_that_is_exported_is_there() -> None:
    """Each package exports what it says, under names that are its own to keep."""
    import trivet.contrib.ratelimit
    import trivet.contrib.security

    packages: Iterable[Any] = (trivet.contrib.security, trivet.contrib.ratelimit)
    for package in packages:
        assert set(package.__all__) == {
            name for name, value in vars(package).items() if not name.startswith("_") and callable(value)
        }
