"""Security schemes in an application: what clients get, in memory and from both servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

from tests.harness import Serve
from trivet import JSON, App, Depends, Form, HTTPError, Request
from trivet.contrib.security import (
    APIKey,
    Basic,
    Bearer,
    Credentials,
    OAuth2Password,
    PasswordForm,
    Token,
    find_secret,
    token_error,
    token_response,
)
from trivet.testing import TestClient

SCOPES = {"notes:read": "Read notes.", "notes:write": "Write notes."}


@dataclass
class User:
    name: str
    scopes: tuple[str, ...]


USERS = {"reader-token": User("rita", ("notes:read",)), "writer-token": User("will", tuple(SCOPES))}


def secured() -> App:
    app = App()
    oauth2 = OAuth2Password(token_url="/token", scopes=SCOPES)

    async def current_user(token: Annotated[str, Depends(oauth2)]) -> User:
        user = find_secret(token, USERS)
        if user is None:
            raise oauth2.unauthorized()
        return user

    @app.post("/token")
    async def token(form: Annotated[PasswordForm, Form()]) -> JSON[Token]:
        if not Credentials(form.username, form.password).matches("will", "secret"):
            raise token_error("invalid_grant", "Wrong name or password.")
        return token_response("writer-token", expires_in=600)

    @app.get("/notes")
    async def notes(user: Annotated[User, Depends(oauth2.requires(current_user, "notes:read"))]) -> str:
        return user.name

    @app.post("/notes")
    async def write(
        user: Annotated[User, Depends(oauth2.requires(current_user, "notes:read", "notes:write"))], body: dict[str, int]
    ) -> str:
        return user.name

    @app.get("/maybe")
    async def maybe(token: Annotated[str | None, Depends(Bearer().optional)]) -> str:
        return repr(token)

    @app.get("/basic")
    async def basic(user: Annotated[Credentials, Depends(Basic(realm="Staff"))]) -> str:
        return user.username

    for where in ("header", "query", "cookie"):
        key = APIKey("X-Key", where=where)

        @app.get(f"/{where}")
        async def keyed(key: Annotated[str, Depends(key)]) -> str:
            return key

    return app


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_token_is_given_and_used(serve: Serve) -> None:
    """The password flow from the login to a route with scopes, over memory and over sockets."""
    async with serve(secured()) as client:
        form = {"grant_type": "password", "username": "will", "password": "wrong"}
        refused = await client.post("/token", data=form)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        given = await client.post("/token", data=form | {"password": "secret"})
        assert (given.status_code, given.headers["cache-control"]) == (200, "no-store")
        token = given.json()["access_token"]
        assert (await client.post("/notes", json={}, headers=bearer(token))).text == "will"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": "Password"}, "unsupported_grant_type"),
        ({"username": None}, "invalid_request"),
        ({"password": ""}, "invalid_request"),
        ({"client_id": "c", "client_secret": ""}, None),
    ],
)
async def test_a_request_for_a_token_is_refused_in_the_words_of_the_rfc(
    changed: dict[str, str | None], error: str | None
) -> None:
    """RFC 6749 section 5.2: 400 with an `error`, also where something is missing."""
    form = {"grant_type": "password", "username": "will", "password": "secret"} | changed
    async with TestClient(secured()) as client:
        response = await client.post("/token", data={name: value for name, value in form.items() if value is not None})
        assert response.status_code == (400 if error else 200)
        assert response.json().get("error") == error
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("cookie", "status"),
    [
        (["X-Key=a"], 200),
        (["x=X-Key; X-Key ; other=X-Key=b; X-Key=a"], 200),
        (["X-Key="], 401),
        (["x-key=a"], 401),
        (["X-Key=a; X-Key=b"], 400),
        (["X-Key=a", "other=1; X-Key = a"], 400),
    ],
)
async def test_two_cookies_of_one_name_are_no_key(cookie: list[str], status: int) -> None:
    """As two headers are none: a neighbouring host may have set one of them."""
    async with TestClient(secured()) as client:
        response = await client.get("/cookie", headers=[("cookie", each) for each in cookie])
        assert response.status_code == status
        assert status != 200 or response.text == "a"


async def test_each_fault_has_its_status_and_challenge(serve: Serve) -> None:
    """401 without and with an error, 403 with the scopes, each with `WWW-Authenticate`, over memory and sockets."""
    async with serve(secured()) as client:
        nothing = await client.get("/notes")
        assert (nothing.status_code, nothing.headers["www-authenticate"]) == (401, "Bearer")
        assert nothing.headers["content-type"] == "application/problem+json"
        wrong = await client.get("/notes", headers=bearer("nobody"))
        assert wrong.status_code == 401
        assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
        short = await client.post("/notes", json={}, headers=bearer("reader-token"))
        assert short.status_code == 403
        assert 'error="insufficient_scope"' in short.headers["www-authenticate"]
        assert short.headers["www-authenticate"].endswith('scope="notes:read notes:write"')
        assert (await client.get("/notes", headers=bearer("reader-token"))).text == "rita"
        twice = await client.get("/notes", headers=[("authorization", "Bearer a"), ("authorization", "Bearer b")])
        assert twice.status_code == 400


async def test_who_is_unknown_is_told_so_before_the_body_is_read() -> None:
    """401 beats what is wrong with the body, and 413."""
    async with TestClient(secured()) as client:
        assert (await client.post("/notes", content=b"x" * 3_000_000)).status_code == 401
        assert (await client.post("/notes", content=b"{", headers=bearer("reader-token"))).status_code == 403
        broken = {"content-type": "application/json", **bearer("writer-token")}
        assert (await client.post("/notes", content=b"{", headers=broken)).status_code == 400


async def test_optional_credentials_may_be_missing_but_not_wrong() -> None:
    """Nothing, or another scheme, is `None`; a token that is none is refused."""
    async with TestClient(secured()) as client:
        assert (await client.get("/maybe")).text == "None"
        assert (await client.get("/maybe", auth=("a", "b"))).text == "None"
        assert (await client.get("/maybe", headers=bearer("x"))).text == "'x'"
        assert (await client.get("/maybe", headers=bearer("x y"))).status_code == 401


async def test_basic_credentials(serve: Serve) -> None:
    """A browser's dialog: the challenge with realm and charset, then the name and the password, in UTF-8."""
    async with serve(secured()) as client:
        asked = await client.get("/basic")
        assert (asked.status_code, asked.headers["www-authenticate"]) == (401, 'Basic realm="Staff", charset="UTF-8"')
        assert (await client.get("/basic", auth=("ünal", "pw"))).text == "ünal"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/header", {"x-key": "k"}, 200),
        ("/header", {}, 401),
        ("/header", {"x-key": ""}, 401),
        ("/header?X-Key=k", {}, 401),
        ("/query?X-Key=k", {}, 200),
        ("/query?x-key=k", {}, 401),
        ("/query?X-Key=", {}, 401),
        ("/query?X-Key=a&X-Key=b", {}, 400),
        ("/query?X-Key=%ff", {}, 400),
        ("/cookie", {"cookie": "X-Key=k"}, 200),
        ("/cookie", {"cookie": "a=b"}, 401),
        ("/cookie", {"x-key": "k"}, 401),
    ],
)
async def test_an_api_key_is_looked_for_where_it_belongs(path: str, headers: dict[str, str], status: int) -> None:
    """In the header, the query or the cookie, and nowhere else; 401 has a challenge that says where."""
    async with TestClient(secured()) as client:
        response = await client.get(path, headers=headers)
        assert response.status_code == status
        if status == 200:
            assert response.text == "k"
        if status == 401:
            where = path[1:].partition("?")[0]
            assert response.headers["www-authenticate"] == f'ApiKey in="{where}", name="X-Key"'


@dataclass
class Claimed:
    """Who is recognized by a JWT, whose claim `scope` is one text."""

    scopes: str


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("notes:read", 200),
        ("profile notes:read", 200),
        ("  notes:read  profile ", 200),
        ("notes:read-own profile", 403),
        ("own-notes:read", 403),
        ("notes: read", 403),
        ("", 403),
    ],
)
async def test_scopes_in_one_text_are_compared_one_by_one(claim: str, status: int, serve: Serve) -> None:
    """What is granted as a JWT says it, in one text, is not searched for what is needed."""
    app = App()
    scheme = Bearer()

    async def current_user(token: Annotated[str, Depends(scheme)]) -> Claimed:
        return Claimed(claim)

    @app.get("/", dependencies=[Depends(scheme.requires(current_user, "notes:read"))])
    async def handler() -> str:
        return "read"

    async with serve(app) as client:
        assert (await client.get("/", headers=bearer("x"))).status_code == status


async def test_a_required_provider_can_be_overridden() -> None:
    """A test that stands in for whoever is recognized needs no token, and the scopes still count."""
    app = App()
    scheme = Bearer()

    async def current_user(token: Annotated[str, Depends(scheme)]) -> User:
        raise HTTPError(500)

    async def rita() -> User:
        return USERS["reader-token"]

    @app.get("/read")
    async def read(user: Annotated[User, Depends(scheme.requires(current_user, "notes:read"))]) -> str:
        return user.name

    @app.get("/write")
    async def write(user: Annotated[User, Depends(scheme.requires(current_user, "notes:write"))]) -> str:
        return user.name

    with app.override(current_user, rita):
        async with TestClient(app) as client:
            assert (await client.get("/read")).text == "rita"
            assert (await client.get("/write")).status_code == 403


async def test_what_a_provider_needs_is_recognized_once() -> None:
    """Two requirements of one route share whom they are about."""
    app = App()
    scheme = Bearer()
    calls: list[str] = []

    async def current_user(request: Request, token: Annotated[str, Depends(scheme)]) -> User:
        calls.append(token)
        return USERS["writer-token"]

    needs_read = Depends(scheme.requires(current_user, "notes:read"))

    @app.get("/", dependencies=[needs_read])
    async def handler(user: Annotated[User, Depends(scheme.requires(current_user, "notes:write"))]) -> str:
        return user.name

    async with TestClient(app) as client:
        assert (await client.get("/", headers=bearer("t"))).text == "will"
    assert calls == ["t"]
